"""The sheets of data: which tables and columns they show, cents as dollars.

A sheet has one row of names and then rows. A column of cents, `X_cents`, is one of dollars,
`X_usd`. What is hidden of an open form is an empty cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ihp_compute.results import TABLES, reconcile
from ihp_compute.settlement import term_rows
from ihp_compute.units import CENTS_PER_USD
from ihp_compute.workbook.run import RunRead

CENTS: Final = "_cents"
USD: Final = "_usd"


@dataclass(frozen=True)
class Column:
    """A column of a sheet: its name, and its unit where it is of numbers."""

    name: str
    unit: str = ""


@dataclass(frozen=True)
class Sheet:
    """A sheet of data.

    Attributes
    ----------
    name, meaning : str
    read : callable
        Columns and rows of a run.
    needs : str
        A table without whose rows there is no such sheet.
    """

    name: str
    meaning: str
    read: Callable[[RunRead], tuple[Sequence[Column], list[list[Any]]]]
    needs: str = ""

    def is_of(self, run: RunRead) -> bool:
        """Whether a run's workbook has it."""
        return not self.needs or run.table(self.needs).num_rows > 0


def _of_table(
    name: str, columns: Sequence[str] = (), without: tuple[str, str] | None = None
) -> Callable[[RunRead], tuple[Sequence[Column], list[list[Any]]]]:
    """A result table, or these of its columns, without rows that say this in a column."""

    def read(run: RunRead) -> tuple[Sequence[Column], list[list[Any]]]:
        units = {column.name: column.unit for column in TABLES[name].columns}
        table = run.table(name)
        if without is not None:
            column, said = without
            table = table.filter(pc.not_equal(table.column(column), said))
        names = list(columns or table.column_names)
        return in_dollars([Column(n, units.get(n, "")) for n in names], table.select(names))

    return read


def in_dollars(columns: Sequence[Column], table: pa.Table) -> tuple[list[Column], list[list[Any]]]:
    """Columns and rows with cents as dollars."""
    shown, values = [], []
    for column, array in zip(columns, table.columns, strict=True):
        cells = array.to_pylist()
        if column.name.endswith(CENTS):
            shown.append(Column(column.name.removesuffix(CENTS) + USD, "USD"))
            values.append([None if v is None else v / CENTS_PER_USD for v in cells])
        else:
            shown.append(column)
            values.append(cells)
    return shown, [list(row) for row in zip(*values, strict=True)]


_ENDS: Final = (
    "point", "low", "high", "std_error", "low_monte_carlo_error", "high_monte_carlo_error",
)  # fmt: skip


def _intervals(run: RunRead) -> tuple[Sequence[Column], list[list[Any]]]:
    """Intervals; a measure in cents is one in dollars."""
    rows = run.rows("intervals")
    for row in rows:
        if str(row["measure"]).endswith(CENTS):
            row["measure"] = row["measure"].removesuffix(CENTS) + USD
            row |= {end: row[end] / CENTS_PER_USD for end in _ENDS if row[end] is not None}
    columns = [Column(c.name, c.unit) for c in TABLES["intervals"].columns]
    return columns, [[row[c.name] for c in columns] for row in rows]


_STEPS: Final = (
    "counted_cents", "above_cap_cents", "floored_cents", "completed_cents", "cost_cents",
    "added_cents", "observed_cents", "off_cents",
)  # fmt: skip


def _tied(run: RunRead) -> tuple[Sequence[Column], list[list[Any]]]:
    """Each partnership and year from counted to observed; then all, the ledger, the difference."""
    found = reconcile(run.run_dir, run.form)
    columns = [
        Column("partnership_id"), Column("year", "year"),
        *(Column(name.removesuffix(CENTS) + USD, "USD") for name in _STEPS), Column("tied"),
    ]  # fmt: skip

    def line(name: str, year: int | None, cents: Mapping[str, int | None], off: int | None) -> Any:
        usd = [None if (c := cents.get(n)) is None else c / CENTS_PER_USD for n in _STEPS]
        return [name, year, *usd, None if off is None else "ties" if off == 0 else "off"]

    rows = [line(one.partnership_id, one.year, vars(one), one.off_cents) for one in found.years]
    for name, of in (("all", "cents"), ("ledger", "ledger_cents"), ("difference", "off_cents")):
        sums = {f"{total.name}{CENTS}": getattr(total, of) for total in found.totals}
        rows.append(line(name, None, sums, None))
    return columns, rows


_TERM: Final = ("path", "meaning", "value", "unit", "holds", "basis", "document", "at", "note")


def _assumptions(run: RunRead) -> tuple[Sequence[Column], list[list[Any]]]:
    """Every dated value of every contract, with its page."""
    rows: list[list[Any]] = []
    contracts = {one.sha256: one for one in run.terms.contracts.contracts.values()}
    for contract in contracts.values():
        rows += [
            [contract.name, *(row[name] for name in _TERM)] for row in term_rows(contract, ("",))
        ]
    return [Column(n) for n in ("contract", *_TERM)], rows


def _change_log(run: RunRead) -> tuple[Sequence[Column], list[list[Any]]]:
    """What is otherwise than in the contracts as shipped, or was decided or settled before."""
    manifest = run.manifest
    rows: list[list[Any]] = [
        ["method version", "", str(manifest["method_version"]), None],
        ["engine version", "", str(manifest["engine_version"]), None],
    ]
    contracts = {one.sha256: one for one in run.terms.contracts.contracts.values()}
    for contract in contracts.values():
        rows += [
            ["override", f"{contract.name} {path}", str(value), None]
            for path, value in contract.overrides.items()
        ]
    rows += [
        ["gate accepted", gate, reason, None]
        for gate, reason in (manifest.get("accept") or {}).items()
    ]
    rows += [
        [
            "earlier settlement" if row["run_digest"] else "this settlement",
            row["partnership_id"],
            f"paid through {row['paid_through']}, {row['status']}; {row['run_digest'] or 'now'}",
            None if row["moved_cents"] is None else row["moved_cents"] / CENTS_PER_USD,
        ]
        for row in run.rows("netted")
    ]
    if run.certification is not None:
        said = run.certification
        rows.append(
            ["certified", str(said["certified_at"]),
             f"by {said['certified_by']}, submitted by {said['submitted_by']}", None]
        )  # fmt: skip
    return [Column("change"), Column("subject"), Column("detail"), Column("moved_usd", "USD")], rows


_AFTERWARDS: Final = ("files", "manifest_digest", "statement")
"""Entries that are made once the pages are, or that another statement moves."""


def _manifest(run: RunRead) -> tuple[Sequence[Column], list[list[Any]]]:
    """The manifest, an entry a row."""
    said = {name: value for name, value in run.manifest.items() if name not in _AFTERWARDS}
    return [Column("entry"), Column("value")], [list(pair) for pair in _flat("", said)]


def _flat(at: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{at}.{name}" if at else str(name), inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _flat(f"{at}[{i}]", inner)
    else:
        yield at, value if isinstance(value, bool | int | float) else str(value)


def _unit(name: str) -> str:
    units = {"year": "year", "member_months": "member months", "savings_rate": "ratio"}
    return "USD" if name.endswith(USD) else units.get(name, "")


_RISK: Final = (
    "contract", "partnership_id", "year", "rate_cell", "member_months", "own_risk_mean",
    "state_risk_mean", "norm", "risk_ratio", "risk_corridor_cents", "risk_credibility_cents",
)  # fmt: skip


def _further(sheet: str, name: str, without: tuple[str, str] | None = None) -> Sheet:
    """A sheet of a table that not every run has rows of."""
    meaning = TABLES[name].meaning
    if without is not None:
        meaning += f"; rows of {without[1]} stand in the table alone"
    return Sheet(sheet, meaning, _of_table(name, without=without), needs=name)


_COUNTIES: Final = ("dimension", "county_fips")

BEFORE_WALK: Final = (
    Sheet("Settlement", TABLES["settlement"].meaning, _of_table("settlement")),
    Sheet("Cells", TABLES["cells"].meaning, _of_table("cells")),
)
AFTER_WALK: Final = (
    Sheet("Intervals", TABLES["intervals"].meaning, _intervals),
    Sheet("Corridor", TABLES["corridor"].meaning, _of_table("corridor")),
    Sheet("Sensitivity", TABLES["sensitivities"].meaning, _of_table("sensitivities")),
    _further("Chances", "chances"),
    _further("Draws", "distribution"),
    Sheet("Risk", "mean risk, norm and ratio by rate cell", _of_table("cells", _RISK)),
    _further("Score changes", "score_changes"),
    Sheet("Caps", TABLES["caps"].meaning, _of_table("caps")),
    Sheet("Utilisation", TABLES["utilisation"].meaning, _of_table("utilisation")),
    _further("Outcomes", "outcomes", _COUNTIES),
    _further("Outcome changes", "outcome_changes", _COUNTIES),
    _further("Quality", "quality"),
    _further("Quality measures", "quality_measures"),
    _further("Cost index", "cost_index"),
    _further("Cost drivers", "cost_drivers"),
    _further("Trend", "comparison"),
    _further("Attribution", "attribution"),
    _further("Exclusions", "exclusions"),
    Sheet("Payers", TABLES["payments"].meaning, _of_table("payments")),
    Sheet("Ledger", TABLES["ledger"].meaning, _of_table("ledger")),
    Sheet("Tied", "the ledger tied to the settlement, by partnership and year", _tied),
    Sheet("Data quality", TABLES["data_quality"].meaning, _of_table("data_quality")),
    _further("Data review", "data_review"),
    Sheet("Assumptions", "every dated value of every contract, with its source", _assumptions),
    Sheet("Change log", "overrides, accepted gates, earlier settlements, certification",
          _change_log),
    Sheet("Manifest", "what the run rests on", _manifest),
)  # fmt: skip
