"""The programme in a few figures over several runs: one page for who reads no other.

    marks and status -> the headline -> savings by year -> every figure -> use of care
        -> what the figures show and do not show -> the runs

Every figure is of `results.summary`, which holds small counts back; here it gets its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ihp_compute.publishing import whole
from ihp_compute.report import numbers
from ihp_compute.report.about import draft, facts
from ihp_compute.report.charts import Chart, Whisker, YearBar, year_bars
from ihp_compute.report.frame import template
from ihp_compute.report.review import marks
from ihp_compute.report.rows import Row
from ihp_compute.results import LEVEL, Figure, Summary, UseChange, YearSummary

PAGE: Final = "summary.html"
SAVINGS: Final = "savings_cents"
COUNTS: Final = ("people_served", "partnerships", "practitioners", "provider_locations")
MONEY: Final = (SAVINGS, "shared_cents", "owed_cents", "kept_cents")
_USE: Final = {
    "ed_visits_per_1000": "Emergency visits per 1,000 member years",
    "stays_per_1000": "Hospital stays per 1,000 member years",
    "readmission_rate": "Readmitted in 30 days, of index stays",
}


def write_summary(summary: Summary, out: Path) -> Path:
    """Write the page; it has no script and refers to nothing outside itself."""
    page = render(summary)
    with whole(out) as path:
        path.write_text(page, encoding="utf-8")
    return out


def render(summary: Summary) -> str:
    """The summary as HTML text."""
    years = summary.years
    manifests = [one.manifest for one in years]
    said = [marks(manifest, draft(manifest)["weak"]) for manifest in manifests]
    return template(PAGE).render(
        summary=summary,
        first=years[0].year,
        last=years[-1].year,
        marks=list(dict.fromkeys(mark for one in said for mark in one)),
        running=f"The programme, {years[0].year} to {years[-1].year}",
        all=_by_name(summary.over_all),
        years=[_year(one) for one in years],
        money_names=MONEY,
        chart=_chart(years),
        use=[_use(one, summary.suppressed) for one in years],
        comparators=list(
            dict.fromkeys(c.comparator for one in years for c in one.use if c.comparator)
        ),
        level=numbers.percent(LEVEL, places=0),
        runs=[
            (one.year, facts(one.manifest), one.manifest["population"]["digest"]) for one in years
        ],
        held=numbers.HELD,
        dash=numbers.DASH,
    )


def _by_name(figures: Sequence[Figure]) -> dict[str, Figure]:
    return {figure.figure: figure for figure in figures}


def _year(one: YearSummary) -> Row:
    found = _by_name(one.figures)
    counts = [
        numbers.DASH if name not in found else numbers.held_back(found[name].value)
        for name in COUNTS
    ]
    return {
        "year": one.year,
        "base_year": one.manifest["base_year"],
        "counts": counts,
        **{name: found[name] for name in MONEY},
    }


def _chart(years: Sequence[YearSummary]) -> Chart:
    bars = []
    for one in years:
        savings = _by_name(one.figures)[SAVINGS]
        amount = None
        if savings.value is not None:
            ends = None
            if savings.low is not None and savings.high is not None:
                ends = (savings.low, savings.high)
            amount = Whisker(savings.value, outer=ends)
        bars.append(YearBar(str(one.year), amount))
    return year_bars(
        bars,
        title="Savings against the target by year",
        description=(
            f"{len(bars)} year{'s' if len(bars) != 1 else ''}, a bar each from zero; the line is "
            "the 95 % interval. All values stand in the table that follows."
        ),
    )


def _use(one: YearSummary, suppressed: bool) -> Row:
    rows = []
    missing = numbers.HELD if suppressed else numbers.DASH
    for change in one.use:
        words = _share if change.measure == "readmission_rate" else _per_thousand
        before, after = (
            missing if rate is None else words(rate) for rate in (change.base_rate, change.rate)
        )
        moved = (
            numbers.DASH
            if change.change is None
            else numbers.percent(change.change, places=1, plus=True)
        )
        rows.append((_USE[change.measure], before, after, moved, *_against(change)))
    return {"year": one.year, "base_year": one.manifest["base_year"], "rows": rows}


def _against(change: UseChange) -> tuple[str, str, str]:
    """The comparator's change, the change against it, and its interval."""
    shown = (change.comparator_change, change.relative_change, change.low, change.high)
    moved = [
        numbers.DASH if value is None else numbers.percent(value, places=1, plus=True)
        for value in shown
    ]
    ends = "no interval" if change.low is None else f"{moved[2]} to {moved[3]}"
    return moved[0], moved[1], ends


def _per_thousand(rate: float) -> str:
    return f"{rate:,.1f}"


def _share(rate: float) -> str:
    return numbers.percent(rate, places=1)
