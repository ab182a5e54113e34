"""A run's digest recomputed from its files and compared with its manifest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import RunError
from ihp_compute.folders import file_sha256
from ihp_compute.results.digest import digest_of
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.tables import TABLES
from ihp_compute.uncertainty import TOTALS, read_totals


def verify_run(run_dir: Path) -> str:
    """Recompute a run's digest from its files and compare it with the manifest.

    Returns
    -------
    str
        The digest.

    Raises
    ------
    RunError
        If a table is missing or unreadable, the digests differ, or the terms, the report or a
        table that the digest does not cover are not those that were written.
    """
    manifest = read_manifest(run_dir)
    try:
        tables = {
            name: pq.read_table(run_dir / f"{name}.parquet")
            for name, declared in TABLES.items()
            if declared.in_digest
        }
        totals = read_totals(run_dir / TOTALS)
    except (OSError, pa.ArrowException, AttributeError, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: cannot be read back: {error}; run it again") from error
    terms = manifest["terms"]
    other = [name for name, value in terms.items() if manifest.get(name, value) != value]
    other = [name for name in other if name not in ("contracts", "risk_model")]
    if other:
        raise RunError(
            f"{run_dir}: its manifest says two things of {', '.join(other)}: it was edited; "
            "run it again"
        )
    try:
        found = digest_of(tables, totals, terms)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: cannot be read back: {error}; run it again") from error
    if found != manifest["digest"]:
        raise RunError(
            f"{run_dir}: digest {found[:12]}… of the files, {manifest['digest'][:12]}… in the "
            "manifest: the results were changed after the run; run it again"
        )
    for name, sha256 in manifest.get("files", {}).items():
        if not (run_dir / name).is_file() or file_sha256(run_dir / name) != sha256:
            raise RunError(f"{run_dir / name}: missing or changed after the run; run it again")
    return found
