"""What did not count: members excluded, and the fate of every line and dollar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ihp_compute.ledger import CLAIM_TABLES, LINE_FATES, IngestFate, RunFate
from ihp_compute.report import numbers
from ihp_compute.report.charts import Bar, Chart, waterfall
from ihp_compute.report.rows import Row

Cell = tuple[int | None, int | None]
"""Lines and cents; None where hidden."""


def exclusion_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows by year and dollars, hidden ones last."""
    ordered = sorted(rows, key=lambda row: (row["year"], -(row["paid_cents"] or 0), row["reason"]))
    return [
        {
            **row,
            "members": numbers.held_back(row["n_members"]),
            "months": numbers.held_back(row["member_months"]),
            "dollars": numbers.HELD
            if row["paid_cents"] is None
            else numbers.usd(row["paid_cents"]),
        }
        for row in ordered
    ]


def ledger_section(rows: Sequence[Row]) -> Row:
    """Lines and dollars by stage, fate and table, and whether the two stages meet.

    A sum of which a part is hidden is hidden, and with it the chart.
    """
    names = [t for t in CLAIM_TABLES if any(row["source_table"] == t for row in rows)]
    rows = [row for row in rows if row["source_table"] in names]  # other tables carry no claim
    by_table: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_table[row["stage"], row["fate"], row["source_table"]].append(row)

    def cell(stage: str, fates: Sequence[str], tables: Sequence[str]) -> Cell:
        of = [row for fate in fates for name in tables for row in by_table[stage, fate, name]]
        lines, cents = (numbers.summed(row[c] for row in of) for c in ("lines", "paid_cents"))
        return lines, cents

    stages: list[Row] = [
        {
            "stage": stage,
            "fates": [
                {
                    "fate": fate,
                    "total": cell(stage, [fate], names),
                    "tables": [cell(stage, [fate], [name]) for name in names],
                }
                for fate in fates
            ],
            "total": cell(stage, fates, names),
            "tables": [cell(stage, fates, [name]) for name in names],
        }
        for stage, fates in (
            ("ingest", [fate.label for fate in IngestFate]),
            ("run", [fate.label for fate in LINE_FATES]),
        )
    ]
    retained = cell("ingest", [IngestFate.RETAINED.label], names)
    met = stages[1]["total"]
    counted = cell("run", [RunFate.COUNTED.label], names)
    above = cell("run", [RunFate.ABOVE_CAP.label], names)[1]
    floored = cell("run", [RunFate.FLOORED.label], names)[1]
    less = None if above is None else -above
    off = [
        numbers.summed([a, None if b is None else -b]) for a, b in zip(met, retained, strict=True)
    ]
    told = [*(row["total"][1] for stage in stages for row in stage["fates"]), above, floored]
    return {
        "names": names,
        "stages": stages,
        "retained": retained,
        "met": met,
        "balanced": not any(off),  # a run whose ledger does not balance is not written
        "lines_off": off[0],
        "cents_off": off[1],
        "counted": counted,
        "less_above_cap": less,
        "floored": floored,
        "cost": numbers.summed([counted[1], less, floored]),
        "chart": None if None in told else _ledger_chart(stages, counted[1], above, floored),
    }


def _ledger_chart(stages: Sequence[Row], counted: Any, above: Any, floored: Any) -> Chart:
    """From every dollar read down to the cost that settles."""
    here = stages[0]["total"][1]
    bars = [Bar("read", here, here, outcome=True)]
    for stage, last in ((stages[0], IngestFate.RETAINED.label), (stages[1], RunFate.COUNTED.label)):
        for row in stage["fates"]:
            cents = row["total"][1]
            if row["fate"] == last:
                here = cents
                bars.append(Bar(numbers.label(last), here, here, outcome=True))
            elif cents:
                bars.append(Bar(numbers.label(row["fate"]), -cents, here - cents, here))
                here -= cents
    here = counted
    if above:
        bars.append(Bar("above cap", -above, here - above, here))
        here -= above
    if floored:
        bars.append(Bar("floored", floored, here + floored, here))
        here += floored
    bars.append(Bar("cost that settles", here, here, outcome=True))
    words = "; ".join(f"{bar.name} {numbers.usd(bar.amount)}" for bar in bars)
    return waterfall(
        bars, title="Paid dollars from reading to cost", description=f"{words}.", from_zero=True
    )
