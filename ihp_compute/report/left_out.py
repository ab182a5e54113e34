"""What did not count: members excluded, and the fate of every line and dollar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ihp_compute.ledger import CLAIM_TABLES, LINE_FATES, IngestFate, RunFate
from ihp_compute.report import numbers
from ihp_compute.report.charts import Bar, Chart, waterfall
from ihp_compute.report.rows import Row
from ihp_compute.results import is_small


def exclusion_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows by year and dollars; dollars of a held-back count are held back with it."""
    ordered = sorted(rows, key=lambda row: (row["year"], -row["paid_cents"], row["reason"]))
    return [
        {
            **row,
            "members": numbers.held_back(row["n_members"]),
            "months": "held back"
            if is_small(row["n_members"])
            else numbers.count(row["member_months"]),
            "dollars": "held back"
            if is_small(row["n_members"])
            else numbers.usd(row["paid_cents"]),
        }
        for row in ordered
    ]


def ledger_section(rows: Sequence[Row]) -> Row:
    """Lines and dollars by stage, fate and table, and whether the two stages meet."""
    names = [t for t in CLAIM_TABLES if any(row["source_table"] == t for row in rows)]
    rows = [row for row in rows if row["source_table"] in names]  # other tables carry no claim
    stages: list[Row] = []
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    by_table: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        for cell in (
            totals[row["stage"], row["fate"]],
            by_table[row["stage"], row["fate"], row["source_table"]],
        ):
            cell[0] += row["lines"]
            cell[1] += row["paid_cents"]
    for stage, fates in (
        ("ingest", [fate.label for fate in IngestFate]),
        ("run", [fate.label for fate in LINE_FATES]),
    ):
        stages.append(
            {
                "stage": stage,
                "fates": [
                    {
                        "fate": fate,
                        "total": totals[stage, fate],
                        "tables": [by_table[stage, fate, name] for name in names],
                    }
                    for fate in fates
                ],
                "total": [sum(totals[stage, fate][i] for fate in fates) for i in (0, 1)],
                "tables": [
                    [sum(by_table[stage, fate, name][i] for fate in fates) for i in (0, 1)]
                    for name in names
                ],
            }
        )
    retained = totals["ingest", IngestFate.RETAINED.label]
    met = stages[1]["total"]
    counted = totals["run", RunFate.COUNTED.label]
    above = totals["run", RunFate.ABOVE_CAP.label][1]
    floored = totals["run", RunFate.FLOORED.label][1]
    return {
        "names": names,
        "stages": stages,
        "retained": retained,
        "met": met,
        "balanced": list(retained) == list(met),
        "lines_off": met[0] - retained[0],
        "cents_off": met[1] - retained[1],
        "counted": counted,
        "above_cap": above,
        "floored": floored,
        "cost": counted[1] - above + floored,
        "chart": _ledger_chart(stages, counted, above, floored),
    }


def _ledger_chart(stages: Sequence[Row], counted: list[int], above: int, floored: int) -> Chart:
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
    here = counted[1]
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
