"""Control totals: what a sender states that was sent, beside what was read.

Decides: the layout of the file of control totals, and what a total of it is compared with. Rows are
counted as they were delivered, whatever their fate; a month is the month of service. Not here: how
much may differ (`data_quality.GATES`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from ihp_compute.data_quality import Noticed
from ihp_compute.errors import DataError
from ihp_compute.ingest.findings import Delivered, Tally
from ihp_compute.ingest.input_files import InputFolder
from ihp_compute.input_columns import INPUT_TABLES
from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.table_files import read_table
from ihp_compute.units import cents_of, dollars, month_of

_COLUMNS: Final = ("table", "file", "month", "plan", "lines", "dollars")
_OTHER_NAME: Final = {"source_table": "table"}
_MONTH: Final = re.compile(r"(\d{4})-?(0[1-9]|1[0-2])(?:-\d\d)?")


@dataclass(frozen=True)
class ControlTotal:
    """Lines and cents stated of a table, or of a file, month or plan of it; None: not stated."""

    table: str
    file: str
    month: str
    plan: str
    lines: int | None
    cents: int | None

    @property
    def subject(self) -> str:
        """Plan and month, where the total is of one."""
        return ", ".join(filter(None, (self.plan, self.month)))


def read_control(path: Path) -> list[ControlTotal]:
    """Control totals of a table with columns `table, file, month, plan, lines, dollars`.

    `table` (or `source_table`) and one of `lines` and `dollars` must be there; months are YYYY-MM.

    Raises
    ------
    DataError
        Naming the row that cannot be read, or the columns that are missing or unknown.
    """
    table = read_table(path)
    names = [
        _OTHER_NAME.get(name, name) for name in (n.strip().lower() for n in table.column_names)
    ]
    wrong = [name for name in names if name not in _COLUMNS]
    if wrong or "table" not in names or not {"lines", "dollars"} & set(names):
        raise DataError(
            f"{path.name}: expected columns table and lines or dollars, and any of file, month and "
            f"plan, got {', '.join(table.column_names)}"
        )
    rows = table.rename_columns(names).to_pylist()
    return [
        _total(
            {k: "" if v is None else str(v).strip() for k, v in row.items()},
            f"{path.name}, row {n:,}",
        )
        for n, row in enumerate(rows, 1)
    ]


def _total(row: Mapping[str, str], where: str) -> ControlTotal:
    table, month, plan = row["table"].lower(), row.get("month", ""), row.get("plan", "")
    if table not in INPUT_TABLES:
        raise DataError(
            f"{where}: table: expected one of {', '.join(INPUT_TABLES)}, got {table or 'nothing'}"
        )
    if table not in CLAIM_TABLES and (month or plan or row.get("dollars")):
        raise DataError(
            f"{where}: {table} has lines by table and file; months, plans and dollars are of "
            f"{' and '.join(CLAIM_TABLES)}"
        )
    if month:
        found = _MONTH.fullmatch(month[:10])
        if found is None:
            raise DataError(f"{where}: month: expected YYYY-MM, got {month}")
        month = f"{found[1]}-{found[2]}"
    lines, usd = row.get("lines", ""), row.get("dollars", "")
    if not lines and not usd:
        raise DataError(f"{where}: expected lines or dollars, got neither")
    return ControlTotal(
        table, row.get("file", ""), month, plan, _count(lines, where), _cents(usd, where)
    )


def _count(text: str, where: str) -> int | None:
    plain = text.replace(",", "").removesuffix(".0")
    if plain and not re.fullmatch(r"\d+", plain):
        raise DataError(f"{where}: lines: expected a whole number, got {text}")
    return int(plain) if plain else None


def _cents(text: str, where: str) -> int | None:
    if not text:
        return None
    try:
        return cents_of(Decimal(text.replace(",", "").replace("$", "")))
    except (InvalidOperation, ValueError):
        raise DataError(f"{where}: dollars: expected an amount, got {text}") from None


def differences(
    totals: list[ControlTotal],
    folder: InputFolder,
    tallies: Mapping[int, Tally],
    delivered: Mapping[int, Delivered],
) -> Iterator[Noticed]:
    """Control totals that what was read does not meet; of a delivery, what came with it."""
    for total in totals:
        of = [
            index
            for index, file in folder.of(total.table)
            if file.delivery == folder.delivery
            and (not total.file or f"/{file.name}".endswith(f"/{total.file}"))
        ]
        lines, cents = _read(total, of, tallies, delivered)
        parts = [
            (found, stated)
            for found, stated in ((lines, total.lines), (cents, total.cents))
            if stated is not None
        ]
        if all(found == stated for found, stated in parts):
            continue
        stated_as = [
            *([f"{total.lines:,} lines"] if total.lines is not None else []),
            *([dollars(total.cents)] if total.cents is not None else []),
        ]
        subject = f"{total.subject}: " if total.subject else ""
        yield Noticed(
            "control_total",
            total.table,
            file=total.file,
            subject=f"{subject}stated {' and '.join(stated_as)}, "
            f"read {lines:,} lines and {dollars(cents)}",
            lines=0 if total.lines is None else lines - total.lines,
            paid_cents=0 if total.cents is None else cents - total.cents,
            share=max(abs(found - stated) / abs(stated) if stated else 1.0
                      for found, stated in parts if found != stated),
            size=lines,
        )  # fmt: skip


def _read(
    total: ControlTotal,
    of: list[int],
    tallies: Mapping[int, Tally],
    delivered: Mapping[int, Delivered],
) -> tuple[int, int]:
    """Lines and cents that were read of what a total is of."""
    if not (total.month or total.plan):
        found = [tallies.get(index, Tally()) for index in of]
        return sum(tally.rows for tally in found), sum(tally.paid_cents for tally in found)
    month = month_of(*map(int, total.month.split("-"))) if total.month else None
    lines = cents = 0
    for index in of:
        counts = delivered.get(index, Delivered())
        for cell, n in counts.lines.items():
            plan, at = cell
            if month in (None, at) and total.plan in ("", plan):
                lines += n
                cents += counts.cents[cell]
    return lines, cents
