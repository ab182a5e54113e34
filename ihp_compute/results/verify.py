"""Digests of a run's tables recomputed from its files and compared with its manifest."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute import METHOD_VERSION
from ihp_compute.errors import ResultsDamagedError, RunError
from ihp_compute.folders import MANIFEST, check_seal, file_sha256, sha256_known
from ihp_compute.results.certification import read_certification
from ihp_compute.results.digest import digest_over, result_digest, totals_digest
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import RUN
from ihp_compute.results.tables import TABLES
from ihp_compute.uncertainty import read_totals, totals_file, totals_names


def check_undamaged(run_dir: Path, digest: str) -> None:
    """Refuse a finished run any of whose files is not the one that it wrote.

    Cheap enough to ask before anything of it is shown: a process reads a file once for as long as
    it is the same file (`folders.sha256_known`).

    Raises
    ------
    ResultsDamagedError
        If the folder or a file is gone, cut, changed or another's, or its manifest is.
    """
    damaged = MANIFEST
    try:
        manifest = _sealed(run_dir, sha256_known(run_dir / MANIFEST))
        if manifest["digest"] == digest:
            held = manifest.get("files", {})
            damaged = next((name for name in held if not _is(run_dir / name, held[name])), "")
    except (OSError, RunError):
        pass
    if damaged:
        raise ResultsDamagedError(
            f"{damaged}: is gone, or not what the run wrote, so nothing of the run is shown; "
            "restore it from a backup, or run it again"
        )


@lru_cache(maxsize=64)
def _sealed(run_dir: Path, _sha256: str) -> dict[str, Any]:
    manifest = read_manifest(run_dir)
    if manifest.get("method_version") == METHOD_VERSION:  # runs of others may have no seal
        check_seal(run_dir, manifest, RUN)
    return manifest


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_known(path) == sha256
    except OSError:
        return False


def verify_run(run_dir: Path) -> str:
    """Recompute the digests of a run's tables and of the run; compare them with the manifest.

    Returns
    -------
    str
        The digest.

    Raises
    ------
    RunError
        If another method version made the run, a table is missing, unreadable or another (all
        are named), the manifest or a file of the run is not the one that was written, or the run
        bears a certification that was changed or is of another.
    """
    manifest = read_manifest(run_dir, go_on=True)
    try:
        tables = {
            name: pq.read_table(run_dir / f"{name}.parquet")
            for name, declared in TABLES.items()
            if declared.in_digest
        }
        totals = {
            name: read_totals(run_dir / totals_file(name))
            for name in totals_names(len(manifest["completion"]["measurements"]))
        }
    except (OSError, pa.ArrowException, AttributeError, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: cannot be read back: {error}; run it again") from error
    terms = manifest["terms"]
    other = [name for name, value in terms.items() if manifest.get(name, value) != value]
    other = [name for name in other if name not in ("contracts", "programme", "risk_model")]
    if other:
        raise RunError(
            f"{run_dir}: its manifest says two things of {', '.join(other)}: it was edited; "
            "run it again"
        )
    try:
        found = {name: result_digest(TABLES[name], table) for name, table in tables.items()}
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: cannot be read back: {error}; run it again") from error
    found |= {name: totals_digest(of) for name, of in totals.items()}
    held = manifest["table_digests"]
    changed = [name for name in (*found, *held) if found.get(name) != held.get(name)]
    if changed:
        raise RunError(
            f"{run_dir}: {', '.join(dict.fromkeys(changed))}: another digest of what is there than "
            "in the manifest: the results were changed after the run; run it again"
        )
    digest = digest_over(found, terms)
    if digest != manifest["digest"]:
        raise RunError(
            f"{run_dir}: digest {digest[:12]}… of tables and terms, {manifest['digest'][:12]}… in "
            "the manifest: it was changed after the run; run it again"
        )
    check_seal(run_dir, manifest, RUN)
    for name, sha256 in manifest["files"].items():
        if not (run_dir / name).is_file() or file_sha256(run_dir / name) != sha256:
            raise RunError(f"{run_dir / name}: missing or changed after the run; run it again")
    read_certification(run_dir)
    return digest
