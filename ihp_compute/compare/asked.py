"""What two runs were asked otherwise: request, inputs, versions, and terms of each contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import names_a_file, text_of
from ihp_compute.ledger import file_of
from ihp_compute.results import kept_terms, read_manifest

_ASKED: Final = (
    "performance_year", "base_year", "paid_through", "replicates", "seed", "accept", "statement",
    "programme", "risk_model", "population", "device", "method_version",
    "engine_version", "contracts",
)  # fmt: skip
"""Entries of a manifest that are held against each other, in the order in which they are told."""
_BESIDE: Final = {"population": "digest", "programme": "sha256", "risk_model": "sha256"}
"""Of an entry with more beside it, what makes it another."""


@dataclass(frozen=True)
class Change:
    """One thing that two runs say otherwise; None where one does not say it."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class TermChange:
    """A term that settles partnerships otherwise; values as text, None where nobody settles by it.

    Attributes
    ----------
    path : str
    a, b : str or None
    partnerships : tuple of str
        Whose settlement has it.
    """

    path: str
    a: str | None
    b: str | None
    partnerships: tuple[str, ...]


def asked_otherwise(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """What the manifests of two runs say otherwise of what was asked for and of their inputs.

    Input files are compared by table, name and content; a file is told by its digest.
    """
    found = []
    for name in _ASKED:
        one, other = (_plain(name, manifest.get(name)) for manifest in (a, b))
        if one != other:
            found.append(Change(name, one, other))
    files = [
        {f"{of['source_table']}/{file_of(of)}": of["sha256"] for of in manifest.get("inputs") or ()}
        for manifest in (a, b)
    ]
    for file in sorted({*files[0], *files[1]}):
        one, other = files[0].get(file), files[1].get(file)
        if one != other:
            found.append(Change(f"inputs/{file}", one, other))
    return found


def _plain(name: str, value: Any) -> Any:
    key = _BESIDE.get(name)
    if key is None or not isinstance(value, Mapping):
        return value
    return {"name": value["name"], key: value.get(key)} if "name" in value else value.get(key)


def terms_otherwise(a: Path, b: Path) -> list[TermChange]:
    """Terms by which partnerships of two runs settle otherwise, as they stand in their years.

    Parameters
    ----------
    a, b : Path
        Folders of finished runs.

    Raises
    ------
    RunError
        If a run was made by another method version, or its terms were changed after it.
    """
    one, other = _terms(a), _terms(b)
    changed: dict[tuple[str, str | None, str | None], list[str]] = {}
    for partnership in sorted({*one, *other}):
        left, right = one.get(partnership, {}), other.get(partnership, {})
        for path in sorted({*left, *right}):
            if left.get(path) != right.get(path):
                key = (path, left.get(path), right.get(path))
                changed.setdefault(key, []).append(partnership)
    return [
        TermChange(path, left, right, tuple(partnerships))
        for (path, left, right), partnerships in sorted(
            changed.items(), key=lambda item: (item[0][0], item[1])
        )
    ]


def _terms(run_dir: Path) -> dict[str, dict[str, str]]:
    """Each partnership's terms in the performance year, as text by path."""
    kept = kept_terms.read(run_dir)
    year = read_manifest(run_dir)["performance_year"]
    made: dict[int, dict[str, str]] = {}
    agreements = kept.contracts.at(year)
    for agreement in agreements.values():
        if id(agreement) not in made:
            made[id(agreement)] = {value.path: _text(value.value) for value in agreement.terms()}
    return {partnership: made[id(agreement)] for partnership, agreement in agreements.items()}


def _text(value: Any) -> str:
    """A value as a contract prints it; of a file its name, wherever it lies."""
    if isinstance(value, str) and names_a_file(value):
        return Path(value).name
    return text_of(value)
