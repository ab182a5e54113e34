"""Importing a model under a name: read, audited, stored by content, with what it came from.

A folder of HHS-HCC tables goes to `hhs_hcc`, a folder with a `model.toml` to `licensed`, a CSV
file is a table of cell weights (`cell_weights`), and a JSON file is a model as this package writes
it (a calibrated one, say).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ihp_compute.errors import RiskModelError
from ihp_compute.risk import cell_weights
from ihp_compute.risk.models import compile_model, decode, hhs_hcc, licensed, store


def import_model(
    source: Path,
    name: str,
    *,
    diagnosis_map: Path | None = None,
    program: Path | None = None,
    year: int | None = None,
    model_store: Path | None = None,
) -> dict[str, Any]:
    """Import a model and return name, version, sha256 and counts.

    Raises
    ------
    RiskModelError
        If the tables cannot be read, or the audit of the model finds anything.
    """
    store.check_name(name)
    if not source.exists():
        raise RiskModelError(f"{source}: no such file or folder")
    counts: dict[str, int] = {}
    if source.suffix.lower() == ".csv":
        table = cell_weights.read(source)
        sha256 = cell_weights.save(table, name, store=model_store)
        counts["cell_weights"] = len(table.weights)
        return {"name": name, "version": "cell weights", "sha256": sha256, "counts": counts}
    if source.is_file():
        model = decode(source.read_bytes(), where=source.name)
    elif (source / licensed.DESCRIPTION).is_file():
        model = licensed.read(source, name)
    else:
        found = hhs_hcc.import_folder(
            source, name, diagnosis_map=diagnosis_map, program=program, year=year
        )
        model, counts = found.model, found.counts
    compile_model(model)
    about = {"imported_from": source.resolve().name, "version": model.version}
    sha256 = store.save(model, name, store=model_store, about=about)
    return {"name": name, "version": model.version, "sha256": sha256, "counts": counts}
