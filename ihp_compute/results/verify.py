"""Digests of a run's tables recomputed from its files and compared with its manifest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import RunError
from ihp_compute.folders import check_seal, file_sha256
from ihp_compute.results.digest import digest_over, result_digest, totals_digest
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import RUN
from ihp_compute.results.tables import TABLES
from ihp_compute.uncertainty import read_totals, totals_file, totals_names


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
        are named), or the manifest or a file of the run is not the one that was written.
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
    return digest
