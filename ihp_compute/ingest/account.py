"""What an ingest reports: a ledger that foots, what was noticed, and the manifest.

Decides: that rows and dollars read equal those that met a fate, file by file, and which years count
as full. Not here: what was counted (`door`, `shard`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute import METHOD_VERSION, __version__
from ihp_compute.codes import SERVICE_CATEGORY_VERSION
from ihp_compute.data_quality import DATA_QUALITY
from ihp_compute.errors import UnbalancedLedgerError
from ihp_compute.folders import library_versions
from ihp_compute.ingest.findings import BLANK_SCORES, UNMATCHED_SCORES, Findings, OffRoster, Tally
from ihp_compute.ingest.handover import Rules, ShardContent
from ihp_compute.ingest.input_files import InputFolder
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES, IngestFate
from ihp_compute.population import INCURRED_DAYS, LAYOUT_VERSION, summed
from ihp_compute.units import NO_DAY, months_of_days

_PAID_PER_THOUSAND: Final = 999
"""Lines that are paid through the last day that counts, where no file says its day."""


@dataclass(frozen=True)
class Account:
    """What was counted on the way, file by file and shard by shard.

    Attributes
    ----------
    folder : InputFolder
    tallies : mapping of file index to Tally
    unknown_columns : sequence of list of str
        Columns of each file that no declaration knows.
    rules : Rules
    contents : sequence of ShardContent
        Their tables may be gone.
    """

    folder: InputFolder
    tallies: Mapping[int, Tally]
    unknown_columns: Sequence[list[str]]
    rules: Rules
    contents: Sequence[ShardContent]

    def table(self, name: str) -> Tally:
        """What the files of a table were found to hold."""
        whole = Tally()
        for index, _ in self.folder.of(name):
            whole.add(self.tally(index))
        return whole

    def tally(self, index: int) -> Tally:
        """What a file was found to hold."""
        return self.tallies.get(index, Tally())

    def of_delivery(self) -> Account:
        """The same of the files of the delivery alone; days of payment are those of all claims."""
        of = self.folder.delivered
        return replace(
            self,
            folder=replace(self.folder, files=tuple(self.folder.files[k] for k in of)),
            tallies={place: self.tally(index) for place, index in enumerate(of)},
            unknown_columns=[self.unknown_columns[index] for index in of],
            contents=[replace(one, ledger=one.ledger[:, list(of)]) for one in self.contents],
        )

    def off_roster(self) -> OffRoster:
        """Lines that could be visits, of all shards, and those of providers off the roster."""
        whole = OffRoster()
        for content in self.contents:
            whole.add(content.off_roster)
        return whole

    def by_fate(self) -> tuple[Counter[tuple[str, IngestFate]], Counter[tuple[str, IngestFate]]]:
        """Lines and cents by table and fate, of all files."""
        lines: Counter[tuple[str, IngestFate]] = Counter()
        cents: Counter[tuple[str, IngestFate]] = Counter()
        for content in self.contents:
            of_table = content.ledger.sum(axis=1)
            for t, table in enumerate(LEDGER_TABLES):
                for fate in IngestFate:
                    lines[table, fate] += int(of_table[t, fate, 0])
                    cents[table, fate] += int(of_table[t, fate, 1])
        return lines, cents

    def together(self, table: str) -> Findings:
        """What was found once all rows of a member stood together."""
        whole = Findings()
        for content in self.contents:
            whole.add(content.findings.get(table, Findings()))
        return whole

    def unmatched_scores(self) -> int:
        """Rows of risk scores whose member is not enrolled."""
        return sum(content.notes.get(UNMATCHED_SCORES, 0) for content in self.contents)

    def blank_scores(self) -> int:
        """Rows of risk scores, of enrolled members, with neither score nor cell."""
        return sum(content.notes.get(BLANK_SCORES, 0) for content in self.contents)

    @cached_property
    def payment_days(self) -> pa.RecordBatch:
        """When lines were paid, by the month that incurs them."""
        return summed(content.payment_days for content in self.contents)

    def paid_lines(self) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """Days on which lines were paid, in order, with lines and cents."""
        table = pa.Table.from_batches([self.payment_days])
        here = pc.and_(
            pc.equal(table.column("incurred_by"), INCURRED_DAYS[0]),
            pc.not_equal(table.column("paid_day"), NO_DAY),
        )
        by_day = table.filter(here).group_by("paid_day").aggregate(
            [("lines", "sum"), ("paid_cents", "sum")]
        ).sort_by("paid_day")  # fmt: skip
        day, lines, cents = (
            by_day.column(name).to_numpy() for name in ("paid_day", "lines_sum", "paid_cents_sum")
        )
        return day, lines, cents

    @cached_property
    def last_paid_day(self) -> int:
        """The day through which claims are paid, unless a run is told another; or `NO_DAY`.

        The last day of payment that is not behind the newest day of a file; where no file says its
        day, the day by which 99.9 % of the lines are paid. So a stray date moves no cutoff.
        """
        day, lines, _ = self.paid_lines()
        if not len(day):
            return NO_DAY
        newest = max(content.newest_file_day for content in self.contents)
        if day[0] <= newest:
            return int(day[np.searchsorted(day, newest, side="right") - 1])
        paid = np.cumsum(lines)
        enough = -(-int(paid[-1]) * _PAID_PER_THOUSAND // 1000)
        return int(day[np.searchsorted(paid, enough)])

    def document(self, *, digest: str, members: int, claims: Mapping[str, int]) -> dict[str, Any]:
        """The JSON document of an ingest but what was noticed; `claims` are distinct by table.

        Raises
        ------
        UnbalancedLedgerError
            If rows or dollars of a file were lost or counted twice.
        """
        wholes = {name: self.table(name) for name in LEDGER_TABLES}
        return {
            "tables": {
                name: {
                    "rows_read": whole.rows,
                    "claims": claims[name],
                    "paid_cents": whole.paid_cents,
                }
                for name, whole in wholes.items()
            },
            "members": members,
            "member_months": sum(content.member_months for content in self.contents),
            "ledger": self._ledger(),
            "balanced": True,
            "population_digest": digest,
            "left_out": {
                "files": list(self.folder.left_out),
                "columns": {
                    name: names
                    for name, names in zip(self.folder.names, self.unknown_columns, strict=True)
                    if names
                },
            },
            "amounts": {
                name: {"blank": wholes[name].blank_amounts, "sub_cent": wholes[name].sub_cents}
                for name in CLAIM_TABLES
            },
            "choices": asdict(self.rules.choices),
            "notes": self._notes(),
        }

    def manifest(
        self,
        document: Mapping[str, Any],
        *,
        inputs: Sequence[Mapping[str, Any]],
        codes: Mapping[str, int],
        files: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The document and what a reader of the population needs.

        `inputs` are stamps of the input files, `codes` the codes of each system, and `files` the
        stamps of what was written.
        """
        years, full_years, _ = self._years()
        return {
            "kind": "population",
            "layout_version": LAYOUT_VERSION,
            "engine_version": __version__,
            "method_version": METHOD_VERSION,
            "libraries": library_versions(),
            "service_category_version": SERVICE_CATEGORY_VERSION,
            **{name: of for name, of in document.items() if name != DATA_QUALITY.name},
            "inputs": [
                {
                    "source_table": file.table,
                    "file": file.name,
                    "delivery": file.delivery,
                    **stamp,
                    "rows": self.tally(index).rows,
                }
                for index, (file, stamp) in enumerate(zip(self.folder.files, inputs, strict=True))
            ],
            "n_shards": len(self.contents),
            "codes": dict(codes),
            "service_years": years,
            "full_years": full_years,
            "last_paid_day": self.last_paid_day,
            "horizon_month": self.rules.horizon_month,
            "files": dict(files),
        }

    def _ledger(self) -> list[dict[str, Any]]:
        """Rows of the ledger that are not empty, after checking that every file foots."""
        total = np.zeros_like(self.contents[0].ledger)
        for content in self.contents:
            total += content.ledger
        rows = []
        for t, table in enumerate(LEDGER_TABLES):
            for index, file in self.folder.of(table):
                read = self.tally(index)
                lines, cents = (int(x) for x in total[t, index].sum(axis=0))
                if (lines, cents) != (read.rows, read.paid_cents):
                    raise UnbalancedLedgerError(
                        f"{self.folder.names[index]}: {read.rows:,} rows and {read.paid_cents} "
                        f"cents were read, {lines:,} rows and {cents} cents met a fate. This is a "
                        "defect of the program: keep the file and report it."
                    )
                rows += [
                    {
                        "source_table": table,
                        "file": file.name,
                        "delivery": file.delivery,
                        "fate": fate.label,
                        "lines": int(total[t, index, fate, 0]),
                        "paid_cents": int(total[t, index, fate, 1]),
                    }
                    for fate in IngestFate
                    if total[t, index, fate, 0] or fate is IngestFate.RETAINED
                ]
        return rows

    def _notes(self) -> list[str]:
        counted = Tally()
        for index in sorted(self.tallies):
            counted.add(self.tallies[index])
        for content in self.contents:
            counted.notes.update(content.notes)
        for told in (UNMATCHED_SCORES, BLANK_SCORES):
            counted.notes.pop(told, None)
        notes = [f"{count:,} {what}" for what, count in sorted(counted.notes.items()) if count]
        open_months = sum(content.open_end_months for content in self.contents)
        if open_months:
            notes.append(
                f"{open_months:,} member months stand in open-ended spans, which end with the last "
                "month of any claim"
            )
        if not self._years()[2]:
            notes.append("no calendar year is full; the years of service stand for full years")
        return [*notes, *self.folder.notes]

    def _years(self) -> tuple[list[int], list[int], bool]:
        days = [content.service_days for content in self.contents if content.service_days]
        return _full_years(
            min((first for first, _ in days), default=NO_DAY),
            max((last for _, last in days), default=NO_DAY),
            frozenset[int]().union(*(content.covered_months for content in self.contents)),
        )


def _full_years(
    first_day: int, last_day: int, covered: frozenset[int]
) -> tuple[list[int], list[int], bool]:
    """Years of service, and the first and last full one.

    A year is full when somebody is enrolled in each of its months and service begins by the end of
    its first quarter and goes on into its last. Without any, the years of service stand for them.
    """
    if first_day == NO_DAY:
        return [0, 0], [0, 0], False
    first, last = (int(months_of_days(np.array([d], np.int32))[0]) for d in (first_day, last_day))
    years = [first // 12, last // 12]
    full = [
        year
        for year in range(years[0], years[1] + 1)
        if all(month in covered for month in range(12 * year, 12 * year + 12))
        and first <= 12 * year + 2
        and last >= 12 * year + 9
    ]
    return years, ([full[0], full[-1]] if full else years), bool(full)
