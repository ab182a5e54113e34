"""The page of an appeal pack: what a partnership is paid or owes, and everything behind it.

    the result -> steps -> formulas by rate cell -> from paid to counted
        -> who counts, came and went -> above the cap -> the people

For a provider's finance office: the pages before the people stand by themselves. It is for the
partnership alone and shows its people; nothing is held back.

Not here: where the rows come from (`explain`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import DRAFT_BASES, Agreement
from ihp_compute.report import numbers
from ihp_compute.report.about import draft, facts
from ihp_compute.report.attribution import attribution_sums
from ihp_compute.report.frame import template
from ihp_compute.report.review import marks
from ihp_compute.report.rows import Row
from ihp_compute.report.walks import drawn, is_idle
from ihp_compute.settlement import Step

PAGE: Final = "pack.html"
_WORDS: Final = {
    "paid": "Paid for all their lines of the year",
    "less_paid_after_cutoff": "Less: paid after the cutoff",
    "less_outside_eligibility": "Less: on days without enrolment",
    "less_capitation": "Less: capitation",
    "less_excluded_member": "Less: in months that do not count",
    "less_not_attributed": "Less: not attributed",
    "less_excluded_service": "Less: services that are not cost under the contract",
    "amount_rule": "Other amounts than paid, by the contract's rule",
    "floored": "Negative yearly totals raised to zero",
    "above_cap": "Less: above the cap of a member's year",
    "completed_by_run": "Claims still to come, by payer",
    "population_based_payment": "Population-based payments, which are cost under the contract",
    "completion_of_contract": "Claims still to come, as the contract states",
    "observed": "Cost that is counted",
}
_SHOWN: Final = 0.95


@dataclass(frozen=True)
class PackPage:
    """What the page shows.

    Attributes
    ----------
    manifest : mapping
        Of the run.
    partnership : mapping
        Its row of `settlement`.
    walk : sequence of Step
    intervals : sequence of mapping
        Its rows of `intervals`.
    agreement : Agreement
        Its contract in the performance year.
    attribution : sequence of mapping
        Its rows of `attribution`.
    tables : mapping of name to rows
        The tables of the pack.
    """

    manifest: Mapping[str, Any]
    partnership: Mapping[str, Any]
    walk: Sequence[Step]
    intervals: Sequence[Row]
    agreement: Agreement
    attribution: Sequence[Row]
    tables: Mapping[str, Sequence[Row]]


def write_pack_page(page: PackPage, out: Path) -> Path:
    """Write the page; it has no script and refers to the files beside it alone."""
    out.write_text(render(page), encoding="utf-8")
    return out


def render(page: PackPage) -> str:
    """The page as HTML text."""
    years = page.manifest["base_year"], page.manifest["performance_year"]
    terms = draft(page.manifest)
    return template(PAGE).render(
        row=page.partnership,
        years=years,
        marks=marks(page.manifest, terms["weak"]),
        running=f"RESTRICTED · {page.partnership['partnership_id']}: settlement of {years[1]}",
        interim=page.manifest.get("completion", {}).get("lines", ()),
        facts=facts(page.manifest),
        contract=page.agreement.contract,
        charts=drawn(page.walk, page.partnership["partnership_id"]),
        walk=[step for step in page.walk if not is_idle(step)],
        idle=[step.step for step in page.walk if is_idle(step)],
        intervals=_intervals(page.intervals),
        cells=_cells(page.tables["trace"]),
        totals=[line for line in page.tables["trace"] if not line["rate_cell"]],
        reconciliation=_reconciliation(page.tables["reconciliation"], years),
        attribution=_attribution(page.attribution, years),
        over_cap=_over_cap(page.tables["over_cap"], years),
        people=_people(page.tables["people"]),
        tables={name: len(rows) for name, rows in page.tables.items()},
        sources=list(dict.fromkeys(s.citation for s in page.walk if s.citation and not is_idle(s))),
        weak_bases=DRAFT_BASES,
        dash=numbers.DASH,
    )


def _intervals(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The 95 % intervals of savings and payment, in words; none of a run without draws."""
    found = {
        (row["measure"], row["conditioning"]): row
        for row in rows
        if row["method"] == "percentile" and row["level"] == _SHOWN
    }
    shown = []
    for measure in ("savings_cents", "payment_cents"):
        row = found.get((measure, "target_resampled"))
        if row is not None:
            name = numbers.label(measure.removesuffix("_cents")).capitalize()
            shown.append((name, f"{numbers.usd(row['low'])} to {numbers.usd(row['high'])}"))
    return shown


def _cells(trace: Sequence[Row]) -> list[Row]:
    """Lines of the formulas by rate cell: a row each, quantities side by side."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for line in trace:
        if line["rate_cell"]:
            found[line["rate_cell"]][line["quantity"]] = line
    return [{"name": numbers.label(cell), **lines} for cell, lines in found.items()]


def _reconciliation(rows: Sequence[Row], years: tuple[int, int]) -> list[Row]:
    by_line: dict[str, dict[int, int]] = defaultdict(dict)
    for row in rows:
        by_line[row["line"]][row["year"]] = row["cents"]
    return [
        {
            "words": _WORDS.get(line, numbers.label(line)),
            "cents": [of[year] for year in years],
            "last": line == "observed",
        }
        for line, of in by_line.items()
    ]


def _attribution(rows: Sequence[Row], years: tuple[int, int]) -> Row:
    sums = attribution_sums(rows, years)
    return {
        "members": sums["members"],
        "steps": [(numbers.label(step), of) for step, of in sums["steps"].items()],
        "moves": [(numbers.label(name), n) for name, n in sums["moves"].items()],
    }


def _over_cap(rows: Sequence[Row], years: tuple[int, int]) -> list[Row]:
    found = []
    for year in years:
        own = [row for row in rows if row["year"] == year]
        found.append(
            {
                "year": year,
                "n": len(own),
                "above": sum(row["above_cap_cents"] for row in own),
                "cost": sum(row["cost_cents"] for row in own),
            }
        )
    return found


def _people(rows: Sequence[Row]) -> list[Row]:
    """A row a person: both years side by side."""
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        found[row["member_id"]][row["year"]] = row
    return [{"member_id": name, "years": of} for name, of in sorted(found.items())]
