"""Second pass of an ingest of everything: a shard's spilled rows, built and written.

    pieces of a shard -> its rows -> tables (`shard`) -> files, stamps, sums, rows put aside

What a delivery does otherwise, `onto` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.folders import write_arrow
from ihp_compute.ingest.counted import write_counts
from ihp_compute.ingest.handover import Rules, ShardContent
from ihp_compute.ingest.quarantine import Quarantine
from ihp_compute.ingest.shard import ShardRows, build
from ihp_compute.ingest.spill import Spill
from ihp_compute.ingest.spill_layout import Pieces, Scratch
from ihp_compute.input_columns import SPILLED
from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.population import digest as population_digest
from ihp_compute.population import write_record

_SELDOM_READ: Final = "line_detail"
"""The table of a shard that few runs read, half of its bytes; none reads its cold record."""

Stamps: TypeAlias = dict[str, dict[str, Any]]
Made: TypeAlias = tuple[ShardContent, NDArray[np.uint64], Stamps]
"""A shard's content, its sums, and the stamps of its files."""
PiecesByTable: TypeAlias = Mapping[str, Sequence[Pieces]]


@dataclass(frozen=True)
class Site:
    """Where shards are made, and by what.

    scratch : a worker's own
    npis : NPIs by their number
    """

    staging: Path
    spill: Spill
    quarantine: Quarantine
    n_files: int
    rules: Rules
    code_words: population_digest.CodeWords
    npis: pa.Array
    scratch: Callable[[], Scratch]


class Fresh:
    """Makes shards of what was spilled."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def made(self, index: int) -> Made:
        """Build and write a shard; its tables are let go."""
        content = self._built({table: [own] for table, own in self._spilled(index).items()})
        return self._written(index, content, content.sums(self._site.code_words))

    def _spilled(self, index: int) -> dict[str, Pieces]:
        return {table: self._site.spill.pieces(table, index) for table in SPILLED}

    def _rows(self, label: str, pieces: PiecesByTable, *of: str) -> ShardRows:
        every = [own for table in of for own in pieces[table]]
        return ShardRows(label, every, SPILLED[of[0]], self._site.scratch())

    def _built(self, pieces: PiecesByTable) -> ShardContent:
        return build(
            self._rows("eligibility", pieces, "eligibility"),
            self._rows("claims", pieces, *CLAIM_TABLES),
            n_rows(pieces["medical_claim"]),
            self._rows("scores", pieces, "risk_score"),
            self._site.rules,
            self._site.n_files,
            self._site.scratch(),
        )

    def _written(
        self, index: int, content: ShardContent, sums: NDArray[np.uint64], delivery: int = 1
    ) -> Made:
        """Write a shard, the record of its claims as a piece that a delivery adds, if it does."""
        site = self._site
        folder = site.staging / "shards" / f"{index:05d}"
        folder.mkdir()
        stamps = {
            f"shards/{index:05d}/{name}.arrow": write_arrow(folder / f"{name}.arrow", batch)
            for name, batch in content.tables.items()
        }
        recorded = dict(
            write_record(site.staging, name, index, rows, delivery if name == "claims" else 1)
            for name, rows in content.records.items()
        )
        stamps = self._as_they_stand(stamps | recorded)
        site.spill.let_go([folder / f"{_SELDOM_READ}.arrow", *map(site.staging.joinpath, recorded)])
        stamps |= [write_counts(site.staging, index, content, sums, site.npis)]
        site.quarantine.keep(index, content.quarantine)
        content.tables, content.quarantine, content.hashes, content.records = {}, {}, {}, {}
        site.spill.made(index)
        return content, sums, stamps

    def _as_they_stand(self, stamps: Stamps) -> Stamps:
        """The stamps of files that were written, once they stand as they shall."""
        return stamps


def n_rows(pieces: Sequence[Pieces]) -> int:
    """How many rows pieces have."""
    return sum(own.n for own in pieces)
