"""A population hashed and counted again, files and rows; all must equal its manifest."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ihp_compute.errors import PopulationError
from ihp_compute.folders import check_seal
from ihp_compute.ledger import IngestFate
from ihp_compute.population.digest import population_digest
from ihp_compute.population.payment_days import FILE as PAYMENT_DAYS_FILE
from ihp_compute.population.payment_days import payment_days, summed
from ihp_compute.population.record import SUMMED, Sums, record_sums
from ihp_compute.population.shards import POPULATION, Population, check_file, found_at
from ihp_compute.storage import Folder


def verify(path: Path) -> dict[str, Any]:
    """Hash every file again, and the content from its rows; both must equal the manifest.

    So must the lines and dollars of the cold record, by table, file and fate, equal the ledger's,
    and the days of payment those of the lines.

    Returns
    -------
    dict
        `files` checked, `bytes` read and the `population_digest`, recomputed.

    Raises
    ------
    PopulationError
        Naming the first file, digest or sum that differs, or the manifest if it was edited.
    """
    path, manifest, files = found_at(path)
    for name, stamp in manifest["files"].items():
        if isinstance(files, Folder):
            check_file(path, name, stamp, always_hash=True)
        else:
            files.refetch(name)
    population = Population(path, manifest, files)
    digest = population_digest(population)
    if digest != population.digest:
        raise PopulationError(
            f"{path}: the rows hash to {digest[:16]}…, the manifest says "
            f"{population.digest[:16]}…. Prepare it again with `ihp ingest`."
        )
    counted = {
        "members": sum(shard.n_members for shard in population.shards),
        "member_months": sum(
            int(shard.column("spans", "n_months").sum(dtype=np.int64))
            for shard in population.shards
        ),
    }
    for name, count in counted.items():
        if manifest[name] != count:
            raise PopulationError(
                f"{path}: the rows hold {count:,} {name}, the manifest says {manifest[name]}. "
                "Prepare it again with `ihp ingest`."
            )
    _foot(population)
    made = summed(payment_days(partial(shard.column, "lines")) for shard in population.shards)
    if population.payment_days() != pa.Table.from_batches([made]):
        raise PopulationError(
            f"{path / PAYMENT_DAYS_FILE}: the lines were paid on other days. "
            "Prepare it again with `ihp ingest`."
        )
    check_seal(path, manifest, POPULATION)
    return {
        "files": len(manifest["files"]),
        "bytes": sum(int(stamp["bytes"]) for stamp in manifest["files"].values()),
        "population_digest": digest,
    }


def _foot(population: Population) -> None:
    """Refuse a cold record that does not sum to the ledger, but for what cannot be read."""
    found: Sums = Counter()
    for shard in population.shards:
        for name in SUMMED:
            found.update(record_sums(shard.record(name, SUMMED[name])))
    files = [(entry["delivery"], entry["file"]) for entry in population.manifest["inputs"]]
    stated: Sums = Counter()
    for row in population.manifest["ledger"]:
        if row["fate"] != IngestFate.UNREADABLE.label:
            of = row["source_table"], files.index((row["delivery"], row["file"])), row["fate"]
            stated.update({(*of, unit): row[unit] for unit in ("lines", "paid_cents")})
    for key in sorted(found.keys() | stated.keys()):
        table, file, fate, unit = key
        if found[key] != stated[key]:
            raise PopulationError(
                f"{population.path}: the record holds {found[key]:,} {unit} {fate} of {table} in "
                f"{files[file][1]}, the ledger {stated[key]:,}. Prepare it again with `ihp ingest`."
            )
