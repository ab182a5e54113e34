"""A month added to a population beside an ingest of everything, in one process, in turn.

    python -m benchmarks.deliveries MEMBERS FOLDER [SHARDS]

`FOLDER` gets a synthetic state whose claims are paid through 2024, cut by day of payment into what
came before December 2024 and that month, and what is prepared of both; a state that stands there is
taken again. SHARDS is 64 where nothing is said: fewer make the shards of few members as large as
those of many are, whose cost a row does not hang on how many tables there are. Both ways must come
to the same digest. Prints seconds, wall and processor, and whose
rows the month touches: what is done anew for these people is most of the work.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ihp_compute.ingest import ingest
from ihp_compute.population import member_keys, open_population
from ihp_compute.synth import synth

MONTH = dt.date(2024, 12, 1)
SEED = 5
CUT = ("medical_claim", "pharmacy_claim")


def cut(raw: Path, folder: Path) -> None:
    """What came before the month, the month, and links to both in one folder."""
    for path in sorted(raw.rglob("*.parquet")):
        inside = path.relative_to(raw)
        if inside.parts[0] not in CUT or path.stem == "unreadable":
            _put(path, folder / "before" / inside)
        else:
            source = pq.ParquetFile(path)
            for name in ("before", "month"):
                place = folder / name / inside.with_stem(f"{inside.stem}-{name}")
                place.parent.mkdir(parents=True, exist_ok=True)
                with pq.ParquetWriter(place, source.schema_arrow) as writer:
                    for k in range(source.num_row_groups):
                        rows = source.read_row_group(k)
                        late = pc.greater_equal(rows["paid_date"], pa.scalar(MONTH))
                        late = pc.fill_null(late, fill_value=False)
                        writer.write_table(
                            rows.filter(late if name == "month" else pc.invert(late))
                        )
    for name in ("before", "month"):
        for path in sorted((folder / name).rglob("*.parquet")):
            _put(path, folder / "all" / path.relative_to(folder / name))


def _put(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    os.link(path, place)


def timed(what: str, source: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Ingest, and say how long it took."""
    shutil.rmtree(out, ignore_errors=True)
    wall, processor = time.perf_counter(), time.process_time()
    document = ingest(source, out, **options)
    took = time.perf_counter() - wall, time.process_time() - processor
    rows = sum(table["rows_read"] for table in document["tables"].values())
    print(f"{what}: {rows:,} rows, {took[0]:.1f} s, {took[1]:.1f} s of processor time", flush=True)
    return {**document, "took": took}


def touched(month: Path, before: Path) -> tuple[float, float]:
    """Part of a population's members that have a row in the month, and their part of its lines."""
    found = pa.concat_arrays(
        [
            pq.read_table(path, columns=["person_id"])["person_id"]
            .cast(pa.string())
            .combine_chunks()
            for path in sorted(month.rglob("*.parquet"))
        ]
    ).unique()
    keys, sums = member_keys(found.drop_null()), np.zeros(4, np.int64)
    for shard in open_population(before).shards:
        lines = np.diff(shard.offsets("lines"))
        has = np.isin(shard.column("members", "member_key"), keys)
        sums += [has.sum(), has.size, lines[has].sum(), lines.sum()]
    return float(sums[0] / sums[1]), float(sums[2] / sums[3])


def main(members: int, folder: Path, shards: int = 64) -> None:
    """Make what is missing in the folder, then time both ways."""
    if not (folder / "all").is_dir():
        synth(members, SEED, folder / "raw", paid_through=MONTH + dt.timedelta(30))
        cut(folder / "raw", folder)
    before = folder / f"population-{shards}"
    if not before.is_dir():
        timed("what came before", folder / "before", before, shards=shards)
    people, lines = touched(folder / "month", before)
    print(f"the month has rows of {people:.0%} of members, whose are {lines:.0%} of earlier lines")
    whole = timed("everything", folder / "all", folder / "population-whole", shards=shards)
    joined = timed("the month onto it", folder / "month", folder / "population-joined", onto=before)
    same = whole["population_digest"] == joined["population_digest"]
    ratios = [one / other for one, other in zip(joined["took"], whole["took"], strict=True)]
    print(f"digests {'equal' if same else 'DIFFER'}; {ratios[0]:.2f} of the time, "
          f"{ratios[1]:.2f} of the processor time")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
