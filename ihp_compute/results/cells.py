"""The middle of each target as a table: what every rate cell rests on, and what it brings.

A partnership has its rows under its contract; the comparison population and the unattributed have
theirs under each contract, because cost follows a contract's rules. The state that a target is held
against stands on every row, so that nobody has to add it up.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.contracts import Agreement
from ihp_compute.measure import Measured, Plan
from ihp_compute.settlement import Settled, SettledCell, StateSums, state_sums
from ihp_compute.units import MICRO

_YEARS = ("base", "perf")


@dataclass(frozen=True)
class _Rules:
    """What rows under one contract have alike: its sums as observed, and places in `CellSums`."""

    label: str
    agreement: Agreement
    rule_set: int
    sums: StateSums
    members: NDArray[np.int64]
    taken_cents: NDArray[np.int64]


def cell_rows(
    plan: Plan, measured: Measured, settled: Sequence[Settled], labels: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Rows of `tables.CELLS` of one measurement, from the data as observed.

    `labels` are those of the whole run (`contract_labels`).
    """
    agreements = plan.contracts.at(plan.performance_year)
    cells_of = {one.partnership_id: one.cells for one in settled}
    seen: set[str] = set()
    for partnership, agreement in agreements.items():
        rules = _rules(plan, measured, agreement, labels[partnership])
        cells = cells_of[partnership]
        yield from _rows(plan, rules, partnership, cells, settles=True)
        if rules.label not in seen:
            seen.add(rules.label)
            for group in (COMPARISON, UNATTRIBUTED):
                if group in measured.totals.groups:
                    yield from _rows(plan, rules, group, cells, settles=False)


def contract_labels(plan: Plan) -> dict[str, str]:
    """The name of each partnership's contract; with the partnership where sums differ under it.

    Contracts of one name may differ in values given beside them. Where these are rules of cost,
    rate cells, the norm or which claims are measured, the comparison population's rows differ too;
    those who have the contract as it is written have its bare name, and so have all where nobody's
    sums differ.
    """
    agreements = plan.contracts.at(plan.performance_year)
    measurement = {p: k for k, one in enumerate(plan.to_come) for p in one.methods}
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for partnership, agreement in agreements.items():
        rules = (
            agreement.cost,
            agreement["target.rate_cells"],
            agreement.risk,
            measurement[partnership],
        )
        alike[agreement.name, *rules].append(partnership)
    kinds = Counter(name for name, *_ in alike)
    labels: dict[str, str] = {}
    for (name, *_), together in alike.items():
        own = all(agreements[p].contract.overrides for p in together) and kinds[name] > 1
        labels |= dict.fromkeys(together, f"{name} ({together[0]})" if own else name)
    return labels


def _rules(plan: Plan, measured: Measured, agreement: Agreement, label: str) -> _Rules:
    rule_set = plan.rule_sets.index(agreement.cost)
    cells: tuple[str, ...] = agreement["target.rate_cells"]
    observed = replace(measured.totals, values=measured.totals.values[:, :, :1])
    taken = measured.cells.taken_cents[:, rule_set]
    places = [[measured.totals.strata.index(part) for part in cell.split("+")] for cell in cells]
    return _Rules(
        label=label,
        agreement=agreement,
        rule_set=rule_set,
        sums=state_sums(observed, agreement, rule_set),
        members=measured.cells.members[plan.rate_cells.index(cells)],
        taken_cents=np.stack([taken[:, :, place].sum(axis=2) for place in places], axis=2),
    )


def _rows(
    plan: Plan, rules: _Rules, group: str, cells: tuple[SettledCell, ...], *, settles: bool
) -> Iterator[dict[str, Any]]:
    sums, g = rules.sums, rules.sums.totals.groups.index(group)
    for i, cell in enumerate(cells):
        own = {name: int(sums.by_cell[g, i, 0, k]) for name, k in sums.columns.items()}
        # a difference of rounding may stand in a cell that nobody is in
        if not any(own.values()) and not (settles and cell.target_cents):
            continue
        for y, year in enumerate(_YEARS):
            months, cost = own[f"{year}_months"], own[f"{year}_cost"]
            state = {
                what: int(sums.shared[f"state_{year}_{what}_{i}"][0])
                for what in ("months", "risk", "cost")
            }
            now = settles and year == "perf"
            yield {
                "contract": rules.label,
                "partnership_id": group,
                "year": plan.years[y],
                "rate_cell": cell.rate_cell,
                "n_members": int(rules.members[y, g, i]),
                "member_months": months,
                "paid_cents": cost + int(rules.taken_cents[y, g, i]),
                "cost_cents": cost,
                "base_pmpm_usd": cell.base_pmpm_usd if settles else 0.0,
                "credibility": cell.credibility if settles else 0.0,
                "level": cell.level if settles else 0.0,
                "scale": cell.scale if settles else 0.0,
                "own_risk_mean": _mean(own[f"{year}_risk"], months),
                "state_risk_mean": _mean(state["risk"], state["months"]),
                "norm": cell.base_norm if year == "base" else cell.perf_norm,
                "risk_ratio": cell.risk_ratio if now else 0.0,
                "trend_factor": cell.trend_factor if now else 0.0,
                "target_pmpm_usd": cell.target_pmpm_usd if now else 0.0,
                "risk_corridor_cents": cell.corridor_cents if now else 0,
                "risk_credibility_cents": cell.risk_credibility_cents if now else 0,
                "target_cents": cell.target_cents if now else 0,
                "state_member_months": state["months"],
                "state_cost_cents": state["cost"],
            }


def _mean(risk: int, months: int) -> float:
    return risk / months / MICRO if months else 0.0
