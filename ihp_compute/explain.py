"""Why a number is what it is: one partnership's walk, one member's lines, one claim's history.

    run folder -> settlement row + walk + intervals -> PartnershipExplained
    run folder + population -> one member's years and lines -> MemberExplained
    population -> rows of a claim and of those tied to it, with their fates -> ClaimExplained

A walk is a list of levels and changes. A level stands by itself (base, target, observed, payment);
a change leads from the level before it to the next (trend, policy, quality, withhold). Which is
which is decided once, in `settlement.walk`, so that terminal and report draw the same steps.

Not here: how a step is calculated (`settlement`), which fate a line meets (`measure`, `ingest`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ihp_compute.codes import (
    LINE_KINDS,
    RATE_CELLS,
    SERVICE_CATEGORIES,
    VISIT_ED,
    VISIT_INPATIENT,
    VISIT_PAYMENT,
)
from ihp_compute.contracts import INCURRED_BY, incurred_by
from ihp_compute.errors import PopulationError, RunError
from ihp_compute.folders import kind_of
from ihp_compute.ledger import CLAIM_TABLES, RunFate
from ihp_compute.measure import (
    EXCLUSION_REASONS,
    VISIT_STEPS,
    Plan,
    attribute,
    completed,
    costs,
    counted_visits,
    make_plan,
    member_line_fates,
    payer_names,
)
from ihp_compute.population import Population, Shard, member_keys, open_population, shard_of
from ihp_compute.results import (
    CELLS,
    INTERVALS,
    RUN,
    SETTLEMENT,
    WALK,
    read_manifest,
    request_of,
    result,
)
from ihp_compute.settlement import Step, steps
from ihp_compute.units import NO_DAY, date_of
from kernels.members.history_fates import BESIDE, REPLACES, VOID


@dataclass(frozen=True)
class PartnershipExplained:
    """A partnership's settlement, walk and intervals, as the run wrote them.

    `cells` has the risk step by rate cell, from which the ratio of the walk follows: in each year
    the partnership's mean risk, the state's, and the norm by which it is divided; the ratio;
    dollars before and after it. Their sums after over before are the ratio of the walk. Empty for
    a run that kept no rate cells.
    """

    settlement: dict[str, Any]
    walk: list[Step]
    intervals: list[dict[str, Any]]
    cells: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {
            "settlement": self.settlement,
            "walk": [
                {
                    "step": step.step,
                    "amount_cents": step.amount_cents,
                    "kind": "level" if step.before_cents is None else "change",
                    "detail": step.detail,
                    "citation": step.citation,
                    "basis": step.basis,
                }
                for step in self.walk
            ],
            "intervals": self.intervals,
            "cells": self.cells,
        }


def explain_partnership(run_dir: Path, partnership_id: str) -> PartnershipExplained:
    """The walk from base to payment of one partnership, every step with dollars and source.

    Parameters
    ----------
    run_dir : Path
    partnership_id : str

    Returns
    -------
    PartnershipExplained

    Raises
    ------
    RunError
        If the folder is not a finished run or the partnership is not in it.
    """
    settlement = result(run_dir, SETTLEMENT)
    row = settlement.filter(pc.equal(settlement.column("partnership_id"), partnership_id))
    if row.num_rows == 0:
        known = settlement.column("partnership_id").to_pylist()
        some = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise RunError(f"{run_dir}: no partnership {partnership_id!r}; the run has {some}")
    walk = result(run_dir, WALK)
    intervals = result(run_dir, INTERVALS)
    return PartnershipExplained(
        row.to_pylist()[0],
        steps(walk.filter(pc.equal(walk.column("partnership_id"), partnership_id)).to_pylist()),
        intervals.filter(pc.equal(intervals.column("partnership_id"), partnership_id)).to_pylist(),
        _risk_by_cell(run_dir, partnership_id),
    )


def _risk_by_cell(run_dir: Path, partnership_id: str) -> list[dict[str, Any]]:
    """The risk step of each rate cell with months in the performance year."""
    if not (run_dir / f"{CELLS.name}.parquet").is_file():
        return []
    cells = result(run_dir, CELLS)
    rows = cells.filter(pc.equal(cells.column("partnership_id"), partnership_id)).to_pylist()
    by_year: dict[int, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_year.setdefault(row["year"], {})[row["rate_cell"]] = row
    if not by_year:
        return []
    before, after = by_year[min(by_year)], by_year[max(by_year)]
    return [
        {
            "rate_cell": name,
            "member_months": now["member_months"],
            **{
                f"{year}_{what}": row[column]
                for year, row in (("base", before[name]), ("performance", now))
                for what, column in (
                    ("risk_mean", "own_risk_mean"), ("norm", "norm"),
                    ("state_risk_mean", "state_risk_mean"),
                )
            },
            "risk_ratio": now["risk_ratio"],
            "before_cents": round(now["target_cents"] / now["risk_ratio"])
            if now["risk_ratio"] else now["target_cents"],
            "target_cents": now["target_cents"],
        }
        for name, now in after.items()
        if now["member_months"]
    ]  # fmt: skip


@dataclass(frozen=True)
class MemberExplained:
    """One member's two years and every claim line, with its fate.

    `years` have year, group_id, exclusion, step, n_visits, tied, months by rate cell, score, and
    cost before and after the cap in cents. `lines` are the retained ones with their run fate, the
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

    The member is measured again from the population, by the terms that the manifest names.

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
        If another method version made the run, or its population changed, moved or has no such
        member.
    """
    plan = _plan_of(run_dir)
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
    attributions = [
        attribute(
            shard, plan.roster, plan.visits, plan.attribution, year=year, cutoff_day=cutoff_day
        )
        for year, cutoff_day in zip(plan.years, plan.cutoff_days, strict=True)
    ]
    seen = plan.seen(shard)
    cost = completed(
        seen, plan, attributions,
        costs(seen, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=attributions),
    )  # fmt: skip
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
    return MemberExplained(member_id, years, lines + _put_aside(plan, member_id))


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


@dataclass(frozen=True)
class ClaimExplained:
    """A claim's rows and those of claims tied to it, by payment, with what became of each.

    `rows` have member_id (empty where the member is not enrolled), source_table, claim_id,
    claim_line_number, data_source, payer, plan, says (what the row does to its claim), indicator,
    names (the claims that it names), service_date, paid_date, file_date, paid_cents, fate, file
    and row.
    """

    claim_id: str
    rows: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {"claim_id": self.claim_id, "rows": self.rows}


def explain_claim(folder: Path, claim_id: str) -> ClaimExplained:
    """What ingest made of one claim. Restricted: it shows a person's claims.

    Rows come from the population's cold record, the retained ones with those put aside. Claims of
    the same member are tied where one names the other, or where a stated void or replacement names
    the same number.

    Parameters
    ----------
    folder : Path
        A population, or a run, whose population is then asked.
    claim_id : str
        As in the raw tables.

    Returns
    -------
    ClaimExplained

    Raises
    ------
    PopulationError
        If no row of such a claim could be read, or a file is damaged.
    RunError
        If the population changed or moved since the run.
    """
    if kind_of(folder) == RUN.name:
        population = _population_of(folder, read_manifest(folder))
    else:
        population = open_population(folder)
    rows = []
    for shard in population.shards:
        bearing = shard.record(columns=["member_key"], where=pc.field("claim_id") == claim_id)
        for key in sorted(set(bearing.column("member_key").to_pylist())):
            of_member = pc.field("member_key") == pa.scalar(key, pa.uint64())
            found = shard.record(columns=_SHOWN, where=of_member).to_pylist()
            rows += [
                _recorded_row(row, _member_id(shard, key), population.manifest["inputs"])
                for row in _tied(found, claim_id)
            ]
    if not rows:
        raise PopulationError(
            f"{population.path}: has no readable row of this claim number; numbers are text, so "
            "leading zeros count. Rows that cannot be read stand in its folder quarantine/"
        )
    return ClaimExplained(claim_id, rows)


_SHOWN: Final = (
    "source_table", "fate", "file", "row", "claim_id", "claim_line_number", "data_source", "payer",
    "payer_plan", "action", "indicator", "original_claim", "adjustment_claim", "service_day",
    "paid_day", "file_day", "paid_cents",
)  # fmt: skip
_SAYS: Final = {REPLACES: "replaces", VOID: "voids", BESIDE: "money beside"}


def _tied(rows: list[dict[str, Any]], claim_id: str) -> list[dict[str, Any]]:
    """Rows of one member's claims that are tied to a claim, by payment."""
    here = {row["claim_id"] for row in rows}

    def named(row: dict[str, Any]) -> set[str]:
        stated = row["action"] in (REPLACES, VOID)
        links = {row["original_claim"], row["adjustment_claim"]} - {None}
        return {row["claim_id"], *(links if stated else links & here)}

    of_row = [named(row) for row in rows]
    found, known = {claim_id}, 0
    while len(found) > known:
        known = len(found)
        found = found.union(*(names for names in of_row if names & found))
    tied = [row for row, names in zip(rows, of_row, strict=True) if names & found]
    order = ("paid_day", "file_day", "claim_id", "claim_line_number", "file", "row")
    return sorted(tied, key=lambda row: tuple(row[name] for name in order))


def _member_id(shard: Shard, key: int) -> str:
    keys = shard.column("members", "member_key")
    at = int(np.searchsorted(keys, np.uint64(key)))
    if at == len(keys) or int(keys[at]) != key:
        return ""
    return str(shard.strings("identity", "member_id")[at])


def _recorded_row(
    row: dict[str, Any], member_id: str, inputs: list[dict[str, Any]]
) -> dict[str, Any]:
    given = ("claim_id", "claim_line_number", "data_source", "payer")
    links = dict.fromkeys((row["original_claim"], row["adjustment_claim"]))
    return {
        "member_id": member_id,
        "source_table": row["source_table"],
        **{name: row[name] for name in given},
        "plan": row["payer_plan"],
        "says": _SAYS.get(row["action"], ""),
        "indicator": row["indicator"],
        "names": [name for name in links if name not in (None, row["claim_id"])],
        **{f"{name}_date": _day(row[f"{name}_day"]) for name in ("service", "paid", "file")},
        "paid_cents": row["paid_cents"],
        "fate": row["fate"],
        "file": inputs[row["file"]]["file"],
        "row": row["row"],
    }


def _population_of(run_dir: Path, manifest: dict[str, Any]) -> Population:
    """The population that a run was made from, if it is still the same."""
    path = Path(manifest["population"]["path"])
    population = open_population(path)
    if population.digest != manifest["population"]["digest"]:
        raise RunError(
            f"{path}: is no longer the population that {run_dir} was made from; run again"
        )
    return population


def _plan_of(run_dir: Path) -> Plan:
    manifest = read_manifest(run_dir, go_on=True)
    _population_of(run_dir, manifest)
    request = replace(request_of(manifest), replicates=0, device="cpu")
    plan = make_plan(request)
    if plan.contracts.hashes() != {c["name"]: c["sha256"] for c in manifest["contracts"]}:
        raise RunError(f"{run_dir}: the contract has changed since this run; run again")
    if plan.scores.model_sha256 != manifest["risk_model"]["sha256"]:
        raise RunError(f"{run_dir}: the risk model has changed since this run; run again")
    names, years = payer_names(list(plan.plans)), list(plan.years)
    return plan.completed_by(
        {
            (part["rule_set"], years.index(part["year"]), names.index(part["payer"])): Fraction(
                part["completion"]
            )
            for part in manifest["completion"]["parts"]
        }
    )


def _positions(rows: slice) -> range:
    return range(rows.start, rows.stop)


def _day(day: int) -> str:
    return "" if day == NO_DAY else date_of(day).isoformat()


def _line(shard: Shard, row: int, fate: int, incurred_day: str) -> dict[str, Any]:
    def value(name: str) -> int:
        return int(shard.column("lines", name)[row])

    return {
        "stage": "run",
        "fate": RunFate(fate).label,
        "source_table": CLAIM_TABLES[value("source_table")],
        "claim_id": str(shard.strings("line_detail", "claim_id")[row]),
        "claim_line_number": str(shard.strings("line_detail", "claim_line_number")[row]),
        "service_date": _day(value("service_day")),
        "incurred_date": _day(value(incurred_day)),
        "paid_date": _day(value("paid_day")),
        "category": SERVICE_CATEGORIES[value("category")],
        "kind": LINE_KINDS[value("kind")],
        "paid_cents": value("paid_cents"),
    }


def _put_aside(plan: Plan, member_id: str) -> list[dict[str, Any]]:
    """The member's rows that did not pass the door."""
    found = []
    for name in CLAIM_TABLES:
        path = plan.request.population / "quarantine" / f"{name}.parquet"
        if not path.is_file():
            continue
        rows = pq.read_table(path, filters=[("member_id", "=", member_id)])
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
