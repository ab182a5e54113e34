"""First pass: every file read, its rows spilled by shard, and what it was found to hold.

    find -> check headers -> read in parts (`door`) -> spilled; codes, members, tallies
    an earlier population -> codes, members and tallies, as if its files had just been read

Left to others: how values are typed (`door`), how rows lie between the passes (`spill`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.folders import write_arrow
from ihp_compute.ingest.door import (
    CodeBook,
    Column,
    DateOrders,
    MemberBook,
    Part,
    Rows,
    Words,
    batches,
    by_shard,
    check_columns,
    column_names,
    converting,
    count_delivered,
    parts_of,
    read_eligibility,
    read_lines,
    read_reference,
    read_scores,
)
from ihp_compute.ingest.earlier import Earlier
from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.findings import NO_DAYS, Delivered, Tally
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.input_files import InputFolder
from ihp_compute.ingest.recalled import SECOND_HASH
from ihp_compute.ingest.service_categories import facts_of
from ihp_compute.ingest.spill import Spill
from ihp_compute.ingest.spill_layout import Scratch, Spilled
from ihp_compute.input_columns import INPUT_TABLES, SPILLED
from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.population import text_hashes
from ihp_compute.units import months_of_days


class Own(threading.local):
    """What each worker has for itself."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self.words: dict[str, dict[str, Words]] = {}


class Reading:
    """What is read of the files of a folder, and of an earlier population that it is added to.

    tallies, delivered : by place of the file
    unknown_columns : of each file
    """

    def __init__(
        self,
        folder: InputFolder,
        staging: Path,
        spill: Spill,
        n_shards: int,
        own: Own,
        earlier: Earlier | None,
    ) -> None:
        self.folder = folder
        self.staging = staging
        self.spill = spill
        self.n_shards = n_shards
        self.earlier = earlier
        self.members = MemberBook()
        self.codes = CodeBook()
        self.tallies: dict[int, Tally] = {}
        self.delivered: dict[int, Delivered] = {}
        self.unknown_columns: list[list[str]] = [[] for _ in folder.files]
        self._date_orders = DateOrders()
        self._lock = threading.Lock()
        self._own = own

    def opened(self, index: int) -> list[Part]:
        """Check the header of a file; its parts, if its table is sharded."""
        file = self.folder.files[index]
        _, self.unknown_columns[index] = check_columns(
            INPUT_TABLES[file.table],
            column_names(file),
            file.name,
            [name for name, _ in file.stated],
        )
        return parts_of(file, index) if file.table in SPILLED else []

    def read_part(self, part: Part) -> list[Spilled]:
        """Read a part of a file, and spill its rows."""
        total, delivered = Tally(), Delivered()
        table = part.file.table
        spilled = [
            self.spill.write(
                table, by_shard(columns, SPILLED[table], self.n_shards, self._own.scratch)
            )
            for columns in self._batches(part, total, delivered)
        ]
        # eight bytes a claim, which would stand there throughout the second pass
        total.claim_hashes = self.spill.set_aside(total.claim_hashes)
        with self._lock:
            self.tallies.setdefault(part.file_index, Tally()).add(total)
            self.delivered.setdefault(part.file_index, Delivered()).add(delivered)
        return spilled

    def _batches(
        self, part: Part, total: Tally, delivered: Delivered
    ) -> Iterator[dict[str, Column]]:
        # files have many dictionaries in common, above all those of one value
        known = self._own.words.setdefault(part.file.table, {})
        for first_row, columns in batches(part, INPUT_TABLES[part.file.table]):
            rows = Rows(
                part.file.table, columns, first_row, known, part.file.name,
                partial(self._date_orders.of, part.file),
            )  # fmt: skip
            if rows.n:
                with converting(part.file, first_row):
                    read = self._read_batch(part, rows)
                if self.earlier is not None and "hash_2" in read:
                    read["hash_2"] = read[SECOND_HASH]
                if part.file.table in CLAIM_TABLES:
                    count_delivered(delivered, rows, read)
                yield read
                total.add(rows.tally)

    def _read_batch(self, part: Part, rows: Rows) -> dict[str, Column]:
        table, index = part.file.table, part.file_index
        if table == "eligibility":
            return read_eligibility(rows, index, self.members, self.codes)
        if table == "risk_score":
            return read_scores(rows, part.file.name, self.members, self.codes)
        return read_lines(rows, table, index, self.members, self.codes)

    def reference(self, name: str) -> pa.Table:
        """Read a table that is not sharded, and write it down."""
        table, tallies = read_reference(self.folder, name, self._date_orders.of)
        with self._lock:
            self.tallies.update(tallies)
        for batch in table.combine_chunks().to_batches():
            write_arrow(self.staging / "reference" / f"{name}.arrow", batch)
        return table

    def take_over(self, earlier: Earlier) -> None:
        """What was counted of the files that stay, the codes, and everybody's id."""
        for index, place in earlier.places(self.folder):
            self.tallies[index] = earlier.counts.tallies[place]
            self.delivered[index] = earlier.counts.delivered[place]
            self.unknown_columns[index] = earlier.counts.unknown_columns[place]
        self.codes = CodeBook(earlier.codes(), earlier.counts.lone_codes)
        for keys, ids in earlier.ids():
            self.members.know(keys, ids)
        for table, rows in earlier.unread.items():
            if table in CLAIM_TABLES:
                self.count_claims(table, text_hashes(rows.column("claim_id").combine_chunks()))

    def count_claims(self, table: str, words: NDArray[np.uint64]) -> None:
        """Take note of the claims of rows that came before, by the hashes of their numbers."""
        found = Tally()
        found.see_claims(words)
        if found.claim_hashes:
            with self._lock:
                self.tallies[self.folder.of(table)[0][0]].add(found)

    def kept_reference(self, earlier: Earlier, name: str) -> pa.Table:
        """A table that is not sharded and that the delivery lacks, put where it belongs."""
        file = f"reference/{name}.arrow"
        if file in earlier.manifest["files"]:
            earlier.link(file, self.staging)
        return earlier.reference(name)

    def rules(self, rostered: list[str], choices: Choices) -> tuple[dict[str, pa.Array], Rules]:
        """What needs every file read: sorted codes, and the months between which spans reach."""
        sorted_codes, final = self.codes.sort()
        facts = facts_of(
            *(
                sorted_codes[system].to_pylist()
                for system in ("hcpcs", "revenue", "bill_type", "place_of_service", "dx")
            )
        )
        first, last = self._service_months()
        named = set(rostered) - {""}
        return sorted_codes, Rules(
            first, last, final,
            final if self.earlier is None else {
                system: np.arange(len(number), dtype=np.int32) for system, number in final.items()
            },
            facts, facts.renumbered(final), choices,
            np.array([npi in named for npi in sorted_codes["npi"].to_pylist()], np.bool_),
            self._whole("eligibility").snapshots,
        )  # fmt: skip

    def _service_months(self) -> tuple[int, int]:
        """First month of service, last of any claim; of none, 0 and the last stated of enrolment.

        Lines with a day of payment say it, where there are any: no day of a claim is after it.
        """
        whole = self._whole(*CLAIM_TABLES)
        days = next((days for days in (whole.days, whole.unpaid_days) if days != NO_DAYS), NO_DAYS)
        if days != NO_DAYS:
            first, last = months_of_days(np.array(days, np.int32)).tolist()
            return first, last
        enrolled = self._whole("eligibility")
        if enrolled.days == NO_DAYS:
            return 0, 0
        return 0, int(months_of_days(np.array([enrolled.days[1]], np.int32))[0])

    def _whole(self, *tables: str) -> Tally:
        """What the files of some tables were found to hold, together."""
        whole = Tally()
        for table in tables:
            for index, _ in self.folder.of(table):
                whole.add(self.tallies.get(index, Tally()))
        return whole
