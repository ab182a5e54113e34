"""Targets and payments of a run, from its table `cells` and the contract alone.

    python docs/method/recompute.py RUN CONTRACT

Prints each partnership's target, observed cost and payment. The rule in words: `target.md`. Every
option of target and settlement is covered. What lies below `cells` is not made again: who is whose,
what counts as cost, the claim cap, `computed` and `equal_runout` completion (in its costs), norm
and trend (in its columns). A set's own values of one partnership need a contract file of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute import contracts
from ihp_compute.settlement import settle_table

Cells = Mapping[str, np.ndarray]


def over(a: Any, b: Any) -> Any:
    """Quotients; 0 where there is nothing to divide by."""
    return np.divide(a, b, out=np.zeros(len(b)), where=b != 0)


def state_rows(
    cells: Cells, when: np.ndarray, own: np.ndarray, terms: contracts.Agreement
) -> Cells:
    """One row of a year for each rate cell that anybody has: the state's columns are alike in all.

    Those of the partnership's contract come first; where only others' people are, theirs serve.
    """
    listed = np.isin(cells["rate_cell"], terms["target.rate_cells"])
    order = np.argsort(~np.isin(cells["contract"], own), kind="stable")
    order = order[(when & listed)[order]]
    first = np.unique(cells["rate_cell"][order], return_index=True)[1]
    return {column: values[order[first]] for column, values in cells.items()}


def growth(then: Cells, now: Cells) -> float:
    """Growth of the state's mean risk at one mix: columns of every rate cell that anybody has."""
    both = then["state_risk_mean"] * now["state_risk_mean"] > 0
    months = now["state_member_months"] * both
    at_base = months @ then["state_risk_mean"]
    return float(months @ now["state_risk_mean"] / at_base) if at_base else 1.0


def target_cents(
    base: Cells, perf: Cells, terms: contracts.Agreement, state_growth: float
) -> int:  # fmt: skip
    """Target of one partnership: columns of its rate cells, base year and performance year."""
    term = {path.removeprefix("target."): value.value for path, value in terms.values.items()}
    m, n, cost = base["member_months"], perf["member_months"], base["cost_cents"]
    r, q = (over(year["own_risk_mean"], year["norm"]) for year in (base, perf))
    s = over(base["state_risk_mean"], base["norm"])
    state = over(over(base["state_cost_cents"], base["state_member_months"]), s)
    own, expected, agreed = over(cost, m * r), m * r @ state, term["base_pmpm_fixed"]
    z, whole = (m * r > 0).astype(float), 1.0
    if term["cell_credibility"] == "months":
        z *= np.minimum(1, np.sqrt(m / float(term["cell_full_months"])))
        z *= m >= float(term["cell_least_months"])
        whole = min(1.0, np.sqrt(m.sum() / float(term["base_full_months"])))
    used = whole * cost.sum() + (1 - whole) * expected
    used = used if agreed is None else 100 * float(agreed) * m.sum()
    borrowed = state * (used / expected if expected else 1.0)
    if term["cell_credibility"] is None:
        mean = cost.sum() / (m @ r) if term["empty_cell"] == "partnership" and m @ r else state
        borrowed = np.full(len(m), mean)
    unit = z * own + (1 - z) * borrowed
    if agreed is not None and not m @ r:
        unit = 100 * float(agreed) * state / (n @ state / n.sum())
    elif m * r @ unit:
        unit = unit * used / (m * r @ unit)
    policies = np.prod([float(policy.value) for policy in terms.policies])
    at_one = n * unit * perf["trend_factor"] * policies / float(term["completion"] or 1)
    before, after = at_one * np.where(r > 0, r, s), at_one * q
    if terms["risk.model"] is not None:
        state_ratio = state_growth if terms["risk.normalise"] is None else 1.0
        if (corridor := terms["risk.growth_corridor"]) is not None:
            held = min(max(state_ratio, 1 - float(corridor)), 1 + float(corridor))
            after, state_ratio = after * held / state_ratio, held
        if (full := terms["risk.credibility"]) is not None:
            z = min(1.0, np.sqrt(n.sum() / float(full)))
            after = z * after + (1 - z) * state_ratio * before
    if term["risk_ratio_cap_by"] == "partnership":
        before, after = before.sum(keepdims=True), after.sum(keepdims=True)
    for way, sign, bound in (("up", 1, np.minimum), ("down", -1, np.maximum)):
        if (cap := term[f"risk_ratio_cap_{way}"]) is not None:
            after = bound(after, before * (1 + sign * float(cap)))
    total = float(after.sum())
    return round(total / n.sum()) * int(n.sum()) if term["rounding"] == "cents" else round(total)


def settle(run: Path, contract: str) -> pa.Table:
    """Every partnership of a run under one contract, settled again."""
    table, rows = pq.read_table(run / "cells.parquet"), []
    cells = {name: table[name].to_numpy() for name in table.column_names}
    quality = json.loads((run / "contracts.json").read_text())["quality"]
    for known in pq.read_table(run / "settlement.parquet").to_pylist():
        name, year = known["partnership_id"], known["performance_year"]
        terms, of = contracts.load(contract).at(year), cells["partnership_id"] == name
        years = cells["year"] < year, cells["year"] == year
        base, perf = ({column: values[of & when] for column, values in cells.items()}
                      for when in years)  # fmt: skip
        state = [state_rows(cells, when, cells["contract"][of], terms) for when in years]
        observed = perf["cost_cents"].sum() / float(terms["observed.completion"] or 1)
        row = {
            "partnership_id": name,
            "performance_year": year,
            "n_members": known["n_members"],
            "target_usd": target_cents(base, perf, terms, growth(*state)) / 100,
            "observed_usd": round(observed) / 100,
            "quality_score": quality.get(name),
        }
        caps = (terms[f"settlement.{side}.cap_of_core_cost"] for side in ("gain", "loss"))
        if any(caps) and terms["settlement.core_cost_usd"] is None:
            row["settlement.core_cost_usd"] = perf["paid_cents"].sum() / 100
        rows.append(row)
    return settle_table(pa.Table.from_pylist(rows), contract).table


if __name__ == "__main__":
    for row in settle(Path(sys.argv[1]), sys.argv[2]).to_pylist():
        print(*(row[k] for k in ("partnership_id", "target_usd", "observed_usd", "payment_usd")))
