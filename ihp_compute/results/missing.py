"""What is missing of a run and counts all the same, with its count and dollars.

    quality scores filled · months without a risk score · encounters without a payment
    managed months without a plan · partnerships and rate cells without members
    rate cells that a contract does not list · the unattributed

What a filled risk score moves is the partnership's target less the target at which those members
took, in that year, the mean of the scored members of the same group and rate cell instead: a group
and cell without scored members keeps the fill. What a filled quality score moves is said in
`contracts.quality_scores`.

Not here: what a finding means and when one stops the run (`data_quality`), how things are counted
(`measure.missing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.data_quality import Noticed
from ihp_compute.measure import PLAN_NOT_STATED, Measured, Plan, payer_weights
from ihp_compute.risk import LEFT_OUT_REASONS
from ihp_compute.settlement import Settled, settle, split
from ihp_compute.uncertainty import Totals
from ihp_compute.units import MICRO, half_even

_YEARS = ("base", "perf")
_NO_PLAN = ""
_MARKET = "comparison"
_MEANS = {
    "group_average": "the state's mean of the rate cell",
    "demographic_cell": "the state's mean of age band and sex",
}


def missing_of(
    plan: Plan, measured: Measured, settled: Sequence[Settled], *, with_state: bool
) -> list[Noticed]:
    """Everything that is told of a measurement once its partnerships are settled.

    `with_state` tells of the state too, which all measurements of a run have alike.
    """
    return [
        *_quality(settled),
        *_unscored(plan, measured, settled),
        *_unpaid(plan, measured, settled),
        *_without_plan(plan, measured, settled),
        *_without_members(plan, measured, settled),
        *_cells_without_members(plan, measured),
        *_cells_not_listed(plan, measured, settled),
        *_without_market(plan, measured, settled),
        *(
            (
                *_codes(plan, measured),
                *_unattributed(measured),
                *_services(measured),
                *(found for one in measured.paid_ahead for found in one.noticed),
            )
            if with_state
            else ()
        ),
    ]


def _quality(settled: Sequence[Settled]) -> Iterator[Noticed]:
    for one in settled:
        if one.quality_fill:
            yield Noticed(
                "quality_filled",
                subject=one.partnership_id,
                detail=f"{one.contract}: {one.quality_fill}",
                lines=1,
                paid_cents=one.quality_moved_cents,
            )


def _unscored(plan: Plan, measured: Measured, settled: Sequence[Settled]) -> Iterator[Noticed]:
    totals = measured.totals
    whose = _MEANS.get(plan.contracts.risk(plan.performance_year).missing, "")
    for y, year in enumerate(plan.years):
        members, months, risk = _cut(measured, y)
        if not months.any():
            continue
        beside = {
            one.partnership_id: one.target_cents
            for one in settle(
                _scored_alone(totals, _YEARS[y], measured, y),
                plan.contracts,
                base_year=plan.base_year,
                performance_year=plan.performance_year,
                quality=plan.quality,
            )
        }
        all_months = totals.column(f"{_YEARS[y]}_months")[:, :, 0].sum(axis=1)
        for one in settled:
            g = totals.groups.index(one.partnership_id)
            n = int(months[g].sum())
            if n:
                mean = half_even(int(risk[g].sum()), n) / MICRO
                moved = one.target_cents - beside[one.partnership_id]
                yield Noticed(
                    "unscored_months",
                    subject=f"{one.partnership_id}, {year}",
                    detail=f"of {all_months[g]:,}, at {mean:.4f} on average, {whose}"
                    + ("" if moved else "; moves nothing"),
                    lines=n,
                    members=int(members[g]),
                    paid_cents=moved,
                    share=n / int(all_months[g]),
                    size=int(all_months[g]),
                )


def _cut(
    measured: Measured, y: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of filled scores: members by group; months and risk by group and rate cell."""
    counted = measured.unscored[y]
    n_cells = len(measured.totals.strata)
    return counted[:, 0], counted[:, 1 : 1 + n_cells], counted[:, 1 + n_cells :]


def _scored_alone(totals: Totals, of: str, measured: Measured, y: int) -> Totals:
    """The totals as observed, had members without a score the mean of the scored in their place."""
    values = totals.values[:, :, :1].copy()
    months_at, risk_at = (totals.columns.index(f"{of}_{what}") for what in ("months", "risk"))
    _, months, risk = _cut(measured, y)
    for g, c in zip(*np.nonzero(months), strict=True):
        every = int(values[g, c, 0, months_at])
        scored = every - int(months[g, c])
        if scored:
            own = int(values[g, c, 0, risk_at]) - int(risk[g, c])
            values[g, c, 0, risk_at] = half_even(own * every, scored)
    return replace(totals, values=values)


def _unpaid(plan: Plan, measured: Measured, settled: Sequence[Settled]) -> Iterator[Noticed]:
    agreements = plan.contracts.at(plan.performance_year)
    for y, year in enumerate(plan.years):
        for one in settled:
            by_plan = measured.unpaid[y, measured.totals.groups.index(one.partnership_id)]
            cost = agreements[one.partnership_id].cost
            allowed = "allowed" in (cost.amount, cost.zero_paid_encounter)
            encounters = int(by_plan[0, 0])
            for p in np.flatnonzero(by_plan[:, 1]):
                lines, cents, members = (int(n) for n in by_plan[p, 1:])
                yield Noticed(
                    "unpaid_encounters",
                    subject=f"{one.partnership_id}, {year}, plan {plan.plans[p] or 'not stated'}",
                    detail=f"of {encounters:,} encounter lines that count; counted "
                    + ("as allowed" if allowed else "as $0.00"),
                    lines=lines,
                    members=members,
                    paid_cents=cents,
                    share=lines / encounters,
                    size=encounters,
                )


def _without_plan(plan: Plan, measured: Measured, settled: Sequence[Settled]) -> Iterator[Noticed]:
    if _NO_PLAN not in plan.plans:
        return
    agreements = plan.contracts.at(plan.performance_year)
    column = 1 + plan.plans.index(_NO_PLAN)
    for one in settled:
        by_payer = measured.payer_months[measured.totals.groups.index(one.partnership_id)]
        months = int(by_payer[column])
        if not months:
            continue
        cents = 0
        if agreements[one.partnership_id]["payers.split"] == "member_months":
            weights = payer_weights(by_payer, list(plan.plans))
            cents = split(one.payment_cents, weights)[PLAN_NOT_STATED]
        yield Noticed(
            "plan_not_stated",
            subject=one.partnership_id,
            lines=months,
            paid_cents=cents,
            share=months / int(by_payer.sum()),
        )


def _without_members(
    plan: Plan, measured: Measured, settled: Sequence[Settled]
) -> Iterator[Noticed]:
    totals = measured.totals
    for y, year in enumerate(plan.years):
        months = totals.column(f"{_YEARS[y]}_months")[:, :, 0].sum(axis=1)
        for one in settled:
            if not months[totals.groups.index(one.partnership_id)]:
                yield Noticed(
                    "partnership_without_members",
                    subject=f"{one.partnership_id}, {year}",
                    detail="its base is the state's" if _YEARS[y] == "base" else "nothing settles",
                    lines=1,
                    paid_cents=one.target_cents,
                )


def _cells_without_members(plan: Plan, measured: Measured) -> Iterator[Noticed]:
    totals = measured.totals
    base, perf = (totals.column(f"{of}_months")[:, :, 0].sum(axis=0) for of in _YEARS)
    months = base + perf
    distinct = {a.name: a for a in plan.contracts.at(plan.performance_year).values()}
    for name, agreement in distinct.items():
        empty = [
            cell
            for cell in agreement["target.rate_cells"]
            if not any(months[totals.strata.index(part)] for part in cell.split("+"))
        ]
        if empty:
            yield Noticed(
                "cells_without_members", subject=name, detail=", ".join(empty), lines=len(empty)
            )


def _cells_not_listed(
    plan: Plan, measured: Measured, settled: Sequence[Settled]
) -> Iterator[Noticed]:
    """Months of the performance year that are of no target; a partnership has none of them."""
    totals = measured.totals
    months = totals.column("perf_months")[:, :, 0].sum(axis=0)
    agreements = plan.contracts.at(plan.performance_year)
    under = {agreements[one.partnership_id].name: one.partnership_id for one in settled}
    for name, group in under.items():
        agreement = agreements[group]
        listed = "+".join(agreement["target.rate_cells"]).split("+")
        rule_set = plan.rule_sets.index(agreement.cost)
        cost = totals.column(f"perf_cost_r{rule_set}")[:, :, 0].sum(axis=0)
        left = [c for c, cell in enumerate(totals.strata) if cell not in listed and months[c]]
        if left:
            yield Noticed(
                "cells_not_listed",
                subject=name,
                detail=", ".join(totals.strata[c] for c in left),
                lines=int(months[left].sum()),
                paid_cents=int(cost[left].sum()),
                share=int(months[left].sum()) / int(months.sum()),
            )


def _without_market(
    plan: Plan, measured: Measured, settled: Sequence[Settled]
) -> Iterator[Noticed]:
    """Trends against a comparison population that has no months in one of the years."""
    if plan.programme is None or _MARKET not in plan.programme["comparison.comparators"]:
        return
    totals = measured.totals
    g = totals.groups.index(COMPARISON)
    for of, year in zip(_YEARS, plan.years, strict=True):
        if settled and not totals.column(f"{of}_months")[g, :, 0].any():
            yield Noticed(
                "comparison_without_base",
                subject=f"{COMPARISON}, {year}",
                detail="nobody is held against the market",
                lines=len(settled),
            )


def _codes(plan: Plan, measured: Measured) -> Iterator[Noticed]:
    """Of a model over diagnoses: codes that its map does not have, and who has too few months."""
    scoring = plan.scores.about(plan.years)
    for of in scoring.get("years", ()):
        year, counts = of["year"], measured.counts
        for model in of.get("models", ("",)):
            prefix = f"{year}:{model}_icd10_" if model else f"{year}:icd10_"
            unmapped = counts[f"{prefix}unmapped"]
            if unmapped:
                rows = sum(n for what, n in counts.items() if what.startswith(prefix))
                yield Noticed(
                    "codes_without_category",
                    subject=f"codes of {of['codes_of']}, scoring {year}"
                    + (f", by {model}" if model else ""),
                    lines=unmapped,
                    share=unmapped / rows,
                )
        unborn = counts[f"{year}:n_newborns_without_birth_code"]
        if unborn:
            yield Noticed(
                "newborns_without_birth_code",
                subject=str(year),
                detail="without a score"
                if scoring["newborn"] == "missing"
                else "scored as the model's tables have it",
                lines=unborn,
                members=unborn,
            )
        short = counts[f"{year}:n_under_minimum_months"]
        if short:
            yield Noticed(
                "under_minimum_months",
                subject=f"{of['codes_of']}, scoring {year}",
                detail=f"fewer than {scoring['minimum_months']} months",
                lines=short,
                members=short,
            )
        yield from _diagnoses(counts, year, f"codes of {of['codes_of']}, scoring {year}")


def _diagnoses(counts: Mapping[str, int], year: int, subject: str) -> Iterator[Noticed]:
    """Diagnoses of everybody eligible that do not score, by reason; those without a bill type."""
    for reason in LEFT_OUT_REASONS:
        n = counts.get(f"{year}:n_diagnoses_left_out_{reason}", 0)
        if n:
            yield Noticed(
                "diagnoses_left_out",
                subject=f"{reason.replace('_', ' ')}: {subject}",
                lines=n,
                paid_cents=counts.get(f"{year}:left_out_{reason}_cents", 0),
            )
    n = counts.get(f"{year}:n_diagnoses_without_bill_type", 0)
    if n:
        yield Noticed(
            "diagnoses_without_bill_type",
            subject=subject,
            detail="counted as those of stays or of outpatient care",
            lines=n,
            paid_cents=counts.get(f"{year}:without_bill_type_cents", 0),
        )


def _unattributed(measured: Measured) -> Iterator[Noticed]:
    totals = measured.totals
    g = totals.groups.index(UNATTRIBUTED)
    people = int(totals.n_members[g])
    if people:
        cost = totals.columns.index(next(c for c in totals.columns if c.startswith("perf_cost")))
        yield Noticed(
            "unattributed",
            subject="performance year",
            lines=people,
            members=people,
            paid_cents=int(totals.values[g, :, 0, cost].sum()),
            share=people / int(totals.n_members.sum()),
        )


def _services(measured: Measured) -> Iterator[Noticed]:
    """What the scale of resources goes without."""
    index = measured.programme.get("cost_index")
    if index is None:
        return
    with_rate, without_units = index.scale.unit_lines
    claims, without_drg = index.scale.claims.tolist()
    for finding, n, of in (
        ("services_without_units", without_units, with_rate),
        ("stays_without_drg", without_drg, claims),
    ):
        if n:
            yield Noticed(finding, lines=n, share=n / of, size=of, detail=f"of {of:,}")
