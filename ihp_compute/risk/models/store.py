"""Where models come from by name: built in, imported into a store, or a model file.

    STORE/models/<sha256>.json      the model, content-addressed
    STORE/names/<name>.json         which digest a name stands for, and what it was imported from

The store is the folder in `IHP_MODEL_STORE`, else the user's data folder. Importing under a name
that is taken moves the name; the earlier model stays under its digest, and `sha256:<digest>` finds
it.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.errors import InfrastructureError, RiskModelError
from ihp_compute.publishing import whole
from ihp_compute.risk.models import cms_hcc
from ihp_compute.risk.models.schema import Model, decode, digest, encode, read_json

VARIABLE: Final = "IHP_MODEL_STORE"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BUILT_IN: Final = (*cms_hcc.NAMES, cms_hcc.BLEND)
RESERVED: Final = (*BUILT_IN, "none", "supplied")


def default_store() -> Path:
    """The model store's folder; it may not exist yet."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "ihp-compute" / "models"


def save(model: Model, name: str, *, store: Path | None = None, about: dict[str, Any]) -> str:
    """Keep a model under its digest and point the name at it; returns the digest.

    Raises
    ------
    RiskModelError
        If the name is reserved or not a plain name.
    """
    sha256 = digest(model)
    keep(encode(model), sha256, name, store=store, about={"kind": "model", **about})
    return sha256


def check_name(name: str) -> None:
    """Refuse names that cannot be kept.

    Raises
    ------
    RiskModelError
        If the name is reserved or not a plain name.
    """
    if name.lower() in RESERVED or not NAME.fullmatch(name):
        raise RiskModelError(
            f"model name {name!r}: expected letters, digits, dots, dashes and underscores, and "
            f"not one of {', '.join(RESERVED)}"
        )


def keep(
    text: bytes, sha256: str, name: str, *, store: Path | None = None, about: dict[str, Any]
) -> None:
    """Keep content under its digest and point the name at it.

    Raises
    ------
    RiskModelError
        If the name is reserved or not a plain name.
    """
    check_name(name)
    folder = store or default_store()
    _write(folder / "models" / f"{sha256}.json", text)
    pointer = {"name": name, "sha256": sha256, **about}
    _write(folder / "names" / f"{name}.json", msgspec.json.encode(pointer))


def _write(path: Path, text: bytes) -> None:
    try:
        with whole(path) as draft:
            draft.write_bytes(text)
    except OSError as problem:
        raise InfrastructureError(
            f"the model store {path.parent.parent} cannot be written ({problem.strerror}); set "
            f"{VARIABLE} to a folder that can"
        ) from problem


def names(*, store: Path | None = None) -> list[str]:
    """Names that can be loaded: built in, then imported."""
    folder = (store or default_store()) / "names"
    return [*BUILT_IN, *sorted(path.stem for path in folder.glob("*.json"))]


def payment_year_of(name: str) -> int | None:
    """The payment year that a built-in model's name fixes, as in cms-hcc-v28@2026.

    Raises
    ------
    RiskModelError
        If what stands after the @ is no year.
    """
    base, at, year = name.partition("@")
    if base not in BUILT_IN or not at:
        return None
    if not year.isdigit():
        raise RiskModelError(f"{name!r}: expected a payment year after @, as in {base}@2026")
    return int(year)


def shares(name: str, payment_year: int | None) -> dict[str, Decimal]:
    """The models that a name stands for in a payment year, with their shares, which make up 1.

    One for every name but the blend of CMS-HCC.

    Raises
    ------
    RiskModelError
        If the blend has no such year, or none is known.
    """
    if not is_blend(name):
        return {name: Decimal(1)}
    year = payment_year_of(name) or payment_year
    if year is None:
        raise RiskModelError(
            f"{name}: no row has a service date, so that no payment year follows from them; name "
            f"one, as in {cms_hcc.BLEND}@2025"
        )
    return cms_hcc.blend_shares(year)


def follows_payment_year(name: str) -> bool:
    """Whether a model has another map and other factors in each payment year: CMS-HCC alone."""
    return name.partition("@")[0] in BUILT_IN


def load(name: str, *, store: Path | None = None, payment_year: int | None = None) -> Model:
    """The model of that name.

    Parameters
    ----------
    name : str
        "cms-hcc-v24", "cms-hcc-v28" (with "@2026": of that payment year), an imported name,
        "sha256:<digest>", or the path of a model file.
    store : Path, optional
        Model store; None takes `default_store`.
    payment_year : int, optional
        Of CMS-HCC: whose map and factors; codes of year Y are those of payment year Y + 1. None
        takes the last full year that the model was paid on. Other models have one map.

    Raises
    ------
    RiskModelError
        If there is no such model, or none of that payment year, or its file was changed after it
        was stored, or the name is the blend's, which stands for several (`shares`).
    """
    base = name.partition("@")[0]
    if base in cms_hcc.NAMES:
        return cms_hcc.build(base, payment_year_of(name) or payment_year)
    if is_blend(name):
        raise RiskModelError(
            f"{name!r} blends the scores of several models, and has no weights of its own; take "
            f"one of {', '.join(cms_hcc.NAMES)}"
        )
    folder = store or default_store()
    if name.startswith("sha256:"):
        return _stored(folder, name.removeprefix("sha256:"))
    pointer = folder / "names" / f"{name}.json"
    if NAME.fullmatch(name) and pointer.is_file():
        return _stored(folder, str(read_json(pointer, dict[str, Any])["sha256"]))
    if Path(name).is_file():
        return decode(Path(name).read_bytes(), where=Path(name).name)
    cms_hcc.refuse_unsupported(name)
    raise RiskModelError(
        f"no risk model {name!r}; have {', '.join(names(store=store))}; import others with "
        "`ihp risk import`"
    )


def check_code_year(name: str, code_year: int) -> None:
    """Refuse codes of a year that the maps of CMS-HCC do not reach; any other map serves every one.

    Raises
    ------
    RiskModelError
        Which says from which year on the maps serve.
    """
    if follows_payment_year(name):
        cms_hcc.check_code_year(name, code_year)


def is_blend(name: str) -> bool:
    """Whether a name stands for several models and their shares (`shares`)."""
    return name.partition("@")[0] == cms_hcc.BLEND


def stated(name: str, *, store: Path | None = None) -> Model:
    """The model that states how a name scores; of the blend one of its models, which state alike.

    Raises
    ------
    RiskModelError
        As `load`.
    """
    if is_blend(name):
        return cms_hcc.build(next(reversed(cms_hcc.NAMES)))
    return load(name, store=store)


def is_file(name: str, *, store: Path | None = None) -> bool:
    """Whether `load` takes a name for the path of a file: no model bears it."""
    pointer = (store or default_store()) / "names" / f"{name}.json"
    return (
        not (
            follows_payment_year(name)
            or name.startswith("sha256:")
            or (NAME.fullmatch(name) and pointer.is_file())
        )
        and Path(name).is_file()
    )


def _stored(folder: Path, sha256: str) -> Model:
    path = folder / "models" / f"{sha256}.json"
    if not path.is_file():
        raise RiskModelError(f"the model store has no model {sha256}; import it again")
    model = decode(path.read_bytes(), where=path.name)
    if digest(model) != sha256:
        raise RiskModelError(f"{path.name} was changed after it was stored; import it again")
    return model
