"""What the passes of ingest hand on: rules of the whole input, and a shard's content on its way.

`Rules` need every file read and go to every shard; a `ShardContent` goes to who writes it and who
accounts for it. Not here: rows on their way (`spill_layout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.findings import Findings, OffRoster
from ihp_compute.ingest.service_categories import CodeFacts
from ihp_compute.population import digest as population_digest
from ihp_compute.population import text_hashes


@dataclass(frozen=True)
class Rules:
    """What all shards share once every file has been read.

    first_month : first month of service, or 0
    horizon_month : last month of any claim, which an open-ended span reaches
    final_code : final number of each provisional code, by system
    record_code : its number in the cold record
    facts, spilled_facts : what the codes say, by final and by provisional number
    choices : what histories of claims leave open, decided
    rostered : bool by final number of an NPI, whether the roster names it
    snapshots : the latest snapshot of each data source of enrolment that has any
    """

    first_month: int
    horizon_month: int
    final_code: Mapping[str, NDArray[np.int32]]
    record_code: Mapping[str, NDArray[np.int32]]
    facts: CodeFacts
    spilled_facts: CodeFacts
    choices: Choices
    rostered: NDArray[np.bool_]
    snapshots: Mapping[str, int]


@dataclass
class ShardContent:
    """Tables of one shard, its share of the ledger, and the rows put aside.

    hashes : uint64 a row, `population.text_hashes` of some text columns, by table and name
    records : rows of each cold record (`population.RECORDS`), each batch made when it is asked for
    ledger : int64[len(LEDGER_TABLES), n_files, len(IngestFate), 2], lines and paid cents
    covered_months : calendar months in which somebody is enrolled
    findings : what was found once all rows of a member stood together, by table
    off_roster : lines that could be visits, and those of them of providers off the roster
    service_days : first and last day of enrolled members' services, or None
    payment_days : when lines were paid, by month (`population.payment_days`)
    newest_file_day : the latest `file_date` of a claim row, or `NO_DAY`
    """

    tables: dict[str, pa.RecordBatch]
    hashes: dict[tuple[str, str], NDArray[np.uint64]]
    records: dict[str, Iterator[pa.RecordBatch]]
    ledger: NDArray[np.int64]
    quarantine: dict[str, pa.Table]
    member_months: int
    open_end_months: int
    covered_months: frozenset[int]
    service_days: tuple[int, int] | None
    payment_days: pa.Table
    newest_file_day: int
    notes: dict[str, int]
    findings: dict[str, Findings]
    off_roster: OffRoster

    def sums(self, code_words: population_digest.CodeWords) -> NDArray[np.uint64]:
        """`population.digest.shard_sums` of tables that are still in memory."""
        return sums_of(self.tables, self.hashes, code_words)


def sums_of(
    made: Mapping[str, pa.RecordBatch],
    known: Mapping[tuple[str, str], NDArray[np.uint64]],
    code_words: population_digest.CodeWords,
) -> NDArray[np.uint64]:
    """`population.digest.shard_sums` of those tables that are there; 0 of others.

    `made` has members and offsets, `known` the hashes of columns of texts as `ShardContent` has.
    """
    key = made["members"].column("member_key").to_numpy()
    offsets = made["offsets"]

    def column(table: str, name: str) -> NDArray[Any]:
        found = made[table].column(name).to_numpy(zero_copy_only=True)
        if (table, name) == population_digest.STAY_COLUMN:
            starts = (offsets.column(of).to_numpy() for of in ("lines", "stays"))
            return population_digest.stay_places(found, *starts)
        return found

    def hashes(table: str, name: str) -> NDArray[np.uint64]:
        found = known.get((table, name))
        return text_hashes(made[table].column(name)) if found is None else found

    return np.stack(
        [
            population_digest.table_sums(
                names,
                key
                if names[0] in ("members", "identity")
                else np.repeat(key, np.diff(offsets.column(names[0]).to_numpy())),
                column,
                hashes,
                code_words,
            )
            if names[0] in made
            else np.zeros(3, np.uint64)
            for names in population_digest.HASHED_TABLES
        ]
    )
