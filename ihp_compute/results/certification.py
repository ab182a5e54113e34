"""That a second person stands behind a finished run: a file beside its manifest.

    digest of the run + who submitted, who certifies, when + statement -> certification.json

The file stands outside digest and manifest, which say what was computed and are never written
again. It names the digest that it is of, and bears a seal over all that it says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import RunError
from ihp_compute.folders import MANIFEST
from ihp_compute.publishing import whole
from ihp_compute.results.manifest import read_manifest

CERTIFICATION: Final = "certification.json"
_SEAL: Final = "certification_digest"
_ENTRIES: Final = ("digest", "submitted_by", "certified_by", "certified_at", "statement")


def certification_of(
    digest: str,
    *,
    submitted_by: str,
    certified_by: str,
    certified_at: str,
    statement: Mapping[str, str],
) -> dict[str, Any]:
    """What a certification says, sealed.

    Parameters
    ----------
    digest : str
        Of the run.
    submitted_by, certified_by : str
        Two persons.
    certified_at : str
        Date and time, ISO 8601.
    statement : mapping
        Fields of a statement, those that a report needs among them.
    """
    values = (digest, submitted_by, certified_by, certified_at, dict(statement))
    said = {"kind": "certification", **dict(zip(_ENTRIES, values, strict=True))}
    return {**said, _SEAL: _seal_of(said)}


def write_certification(run_dir: Path, certification: Mapping[str, Any]) -> None:
    """Put a certification beside the manifest of the run that it is of; whole or not at all.

    Raises
    ------
    RunError
        If the folder is no finished run, or one of another digest.
    """
    _check(run_dir, certification)
    with whole(run_dir / CERTIFICATION) as draft:
        draft.write_text(json.dumps(certification, indent=2) + "\n", encoding="utf-8")


def read_certification(run_dir: Path) -> dict[str, Any] | None:
    """The certification of a run; None where nobody certified it.

    Raises
    ------
    RunError
        If the file cannot be read, says other things than it was written with, or is of a run of
        another digest.
    """
    path = run_dir / CERTIFICATION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); have the run certified again") from error
    if not isinstance(found, dict) or found.get(_SEAL) != _seal_of(found):
        raise RunError(
            f"{path}: says other things than it was written with; have the run certified again"
        )
    _check(run_dir, found)
    return found


def _check(run_dir: Path, certification: Mapping[str, Any]) -> None:
    digest = read_manifest(run_dir)["digest"]
    missing = [name for name in _ENTRIES if name not in certification]
    if missing or certification["digest"] != digest:
        of = ", ".join(missing) or f"digest {certification['digest']}"
        raise RunError(
            f"{run_dir / CERTIFICATION}: found {'no ' if missing else ''}{of}, expected a "
            f"certification of the run in {MANIFEST}, digest {digest}"
        )


def _seal_of(certification: Mapping[str, Any]) -> str:
    said = {name: value for name, value in certification.items() if name != _SEAL}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
