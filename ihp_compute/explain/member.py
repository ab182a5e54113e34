"""What a run made of one member: two years and every line, measured again by its terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from ihp_compute.codes import (
    LINE_KINDS,
    RATE_CELLS,
    SERVICE_CATEGORIES,
    VISIT_ED,
    VISIT_INPATIENT,
    VISIT_PAYMENT,
)
from ihp_compute.contracts import INCURRED_BY, incurred_by
from ihp_compute.errors import RunError
from ihp_compute.explain.origin import check_run, plans_of
from ihp_compute.ledger import CLAIM_TABLES, RunFate
from ihp_compute.measure import (
    EXCLUSION_REASONS,
    VISIT_STEPS,
    Plan,
    completed,
    costs,
    counted_visits,
    member_line_fates,
)
from ihp_compute.population import Population, Shard, member_keys, open_population, shard_of
from ihp_compute.units import date_text


@dataclass(frozen=True)
class MemberExplained:
    """One member's two years and every claim line, with its fate.

    `years` have year, group_id, exclusion, step, n_visits, tied, months by rate cell, score and
    what is behind it (`scoring`, as `ScoreProvider.explain` has it), and cost before and after the
    cap in cents. `lines` are the retained ones with their run fate, the
    day by which the contract incurs them and, where a line counted as a visit, of which partnership
    and step and by whose entry of the roster; then those put aside at ingest with theirs, each by
    date.
    """

    member_id: str
    years: list[dict[str, Any]]
    lines: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {"member_id": self.member_id, "years": self.years, "lines": self.lines}


def explain_member(run_dir: Path, member_id: str) -> MemberExplained:
    """What a run made of one member. Restricted: it shows a person's claims.

    The member is measured again from the population, by the terms that the manifest names; where
    the run measured more than once, as for the contract of the member's partnership.

    Parameters
    ----------
    run_dir : Path
    member_id : str
        As in the raw tables: the person's id, else the member's.

    Returns
    -------
    MemberExplained

    Raises
    ------
    RunError
        If the folder is a population or no finished run, another method version made the run, or
        its population changed, moved or has no such member.
    """
    check_run(run_dir, "--member")
    plans = plans_of(run_dir)
    plan = plans[0]
    key = member_keys([member_id])[0]
    shard = plan.shards[int(shard_of(key, len(plan.shards)))]
    member = int(np.searchsorted(shard.column("members", "member_key"), key))
    if (
        member >= shard.n_members
        or str(shard.strings("identity", "member_id")[member]) != member_id
    ):
        raise RunError(
            f"{plan.request.population}: has no member of this id; ids are text, so leading zeros "
            "count"
        )
    plan = _of_member(plans, shard, member)
    attributions = plan.attributed(shard)
    seen = plan.seen(shard)
    cost = completed(
        seen, plan, attributions,
        costs(seen, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=attributions),
    )  # fmt: skip
    population = open_population(plan.origin.path)
    years = []
    for attribution, under, cutoff_day in zip(attributions, cost, plan.cutoff_days, strict=True):
        scores = plan.scores.score(
            shard, year=attribution.year, cutoff_day=cutoff_day, months=attribution.months
        )
        group = int(attribution.group[member])
        own = under[plan.group_rule_set[group]]
        years.append(
            {
                "year": attribution.year,
                "group_id": plan.roster.groups[group] if group >= 0 else "",
                "exclusion": EXCLUSION_REASONS[attribution.reason[member]],
                "step": VISIT_STEPS[attribution.step[member]],
                "n_visits": int(attribution.n_visits[member]),
                "tied": bool(attribution.tied[member]),
                "months": {
                    cell: int(months)
                    for cell, months in zip(RATE_CELLS, attribution.months[:, member], strict=True)
                    if months
                },
                "score_micro": int(scores.score_micro[member]),
                "score_missing": bool(scores.missing[member]),
                "scoring": plan.scores.explain(
                    population,
                    shard,
                    member,
                    year=attribution.year,
                    cutoff_day=cutoff_day,
                    months=attribution.months,
                ),
                "uncapped_cents": int(own.uncapped_cents[member]),
                "above_cap_cents": int(own.above_cap_cents[member]),
                "floored_cents": int(own.floored_cents[member]),
                "cost_cents": int(own.capped_cents[member]),
            }
        )
    fates, rows = member_line_fates(
        seen,
        member,
        plan.rule_sets,
        cutoff_day=plan.cutoff_day,
        attributions=attributions,
        group_rule_set=plan.group_rule_set,
        n_partnerships=plan.roster.n_partnerships,
    )
    incurred_day = INCURRED_BY[incurred_by(plan.rule_sets)]
    visited = _Visited(plan, shard, member)
    lines = [
        _line(shard, row, int(fate), incurred_day) | visited.of_line(row)
        for row, fate in zip(_positions(rows), fates, strict=True)
    ]
    return MemberExplained(member_id, years, lines + _put_aside(population, member_id))


def _of_member(plans: Sequence[Plan], shard: Shard, member: int) -> Plan:
    """The plan of the partnership that has a member in the performance year; else the first."""
    if len(plans) == 1:
        return plans[0]
    group = int(plans[0].attributed(shard)[1].group[member])
    name = plans[0].contracts.settles(plans[0].roster.groups[group]) if group >= 0 else ""
    return next((plan for plan in plans if name in plan.contracts.contracts), plans[0])


_NO_VISIT: Final = {"visit_of": "", "visit_step": "", "visit_npi": ""}


class _Visited:
    """Visits of a member that counted, found by the lines that they are."""

    def __init__(self, plan: Plan, shard: Shard, member: int) -> None:
        population = open_population(plan.origin.path)
        npi = population.codes("npi")
        self._shard = shard
        self._places = population.codes("place_of_service").to_pylist()
        self._found = {
            tuple(
                self._value("visits", name, visit.row) for name in ("day", *_SAME, "place", "marks")
            ): {
                "visit_of": plan.roster.groups[visit.group],
                "visit_step": visit.step,
                "visit_npi": npi[visit.npi].as_py(),
            }
            for year in plan.years
            for visit in counted_visits(
                shard, member, plan.roster, plan.visits, plan.attribution, year=year,
                cutoff_day=plan.cutoff_day,
            )
        }  # fmt: skip

    def of_line(self, row: int) -> dict[str, str]:
        """What a line counted for: partnership, step and provider; each empty if it did not."""
        place = self._places[self._value("line_detail", "place_of_service", row)]
        kind = LINE_KINDS[self._value("lines", "kind", row)]
        marks = self._value("lines", "flags", row) & (VISIT_ED | VISIT_INPATIENT)
        if kind in ("capitation", "supplemental"):
            marks |= VISIT_PAYMENT
        first, *rest = _SAME
        key = (
            self._value("lines", "service_day", row),
            self._value("lines", first, row),
            *(self._value("line_detail", name, row) for name in rest),
            int(place) if place.isdecimal() and len(place) < 3 else 0,
            marks,
        )
        return self._found.get(key, _NO_VISIT)

    def _value(self, table: str, name: str, row: int) -> int:
        return int(self._shard.column(table, name)[row])


_SAME: Final = ("paid_day", "rendering_npi", "billing_npi", "hcpcs")
"""Columns that a visit has of its line."""


def _positions(rows: slice) -> range:
    return range(rows.start, rows.stop)


def _line(shard: Shard, row: int, fate: int, incurred_day: str) -> dict[str, Any]:
    def value(name: str) -> int:
        return int(shard.column("lines", name)[row])

    return {
        "stage": "run",
        "fate": RunFate(fate).label,
        "source_table": CLAIM_TABLES[value("source_table")],
        "claim_id": str(shard.strings("line_detail", "claim_id")[row]),
        "claim_line_number": str(shard.strings("line_detail", "claim_line_number")[row]),
        "service_date": date_text(value("service_day")),
        "incurred_date": date_text(value(incurred_day)),
        "paid_date": date_text(value("paid_day")),
        "category": SERVICE_CATEGORIES[value("category")],
        "kind": LINE_KINDS[value("kind")],
        "paid_cents": value("paid_cents"),
    }


def _put_aside(population: Population, member_id: str) -> list[dict[str, Any]]:
    """The member's rows that did not pass the door."""
    found = []
    for name in CLAIM_TABLES:
        aside = population.put_aside(name)
        if aside is None:
            continue
        rows = aside.filter(pc.equal(aside.column("member_id"), member_id))
        found += [
            {
                "stage": "ingest",
                "fate": row["fate"],
                "source_table": name,
                "claim_id": row["claim_id"],
                "claim_line_number": row["claim_line_number"],
                "service_date": str(row["service_date"] or ""),
                "incurred_date": "",
                "paid_date": str(row["paid_date"] or ""),
                "category": "",
                "kind": "",
                "paid_cents": row["paid_cents"],
                **_NO_VISIT,
            }
            for row in rows.sort_by("service_date").to_pylist()
        ]
    return found
