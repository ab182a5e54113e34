"""Targets and payments of a run, from its table `cells` and the contract alone.

    python docs/method/recompute.py RUN CONTRACT

Prints each partnership's target, observed cost and payment. The rule in words: `target.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute import contracts
from ihp_compute.settlement import settle_table

Cell = Mapping[str, Any]


def target_cents(base: Sequence[Cell], perf: Sequence[Cell], terms: contracts.Agreement) -> int:
    """Target of one partnership: its rows of the base year and of the performance year."""

    def normed(cell: Cell, whose: str) -> float:
        return cell[f"{whose}_risk_mean"] / cell["norm"] if cell["norm"] else 0.0

    def carried(months: int, term: str) -> float:
        return min(1.0, sqrt(months / float(terms[term])))

    m = [c["member_months"] for c in base]
    r = [normed(c, "own") for c in base]
    s = [normed(c, "state") for c in base]
    u = [
        c["state_cost_cents"] / c["state_member_months"] / x if x else 0.0
        for c, x in zip(base, s, strict=True)
    ]
    w = [n * x for n, x in zip(m, r, strict=True)]
    own = [c["cost_cents"] / x if x else 0.0 for c, x in zip(base, w, strict=True)]
    expected = sum(x * y for x, y in zip(w, u, strict=True))
    if terms["target.cell_credibility"] == "months":
        least = terms["target.cell_least_months"]
        z = [carried(n, "target.cell_full_months") if n >= least else 0.0 for n in m]
        whole = carried(sum(m), "target.base_full_months")
    else:
        z, whole = [1.0 if x else 0.0 for x in w], 1.0
    total = whole * sum(c["cost_cents"] for c in base) + (1 - whole) * expected
    if terms["target.base_pmpm_fixed"] is not None:
        total = 100 * float(terms["target.base_pmpm_fixed"]) * sum(m)
    level = total / expected if expected else 1.0
    units = [k * o + (1 - k) * level * x for k, o, x in zip(z, own, u, strict=True)]
    scale = total / sum(x * y for x, y in zip(w, units, strict=True)) if expected else 1.0
    factor = scale / float(terms["target.completion"] or 1)
    for policy in terms.policies:
        factor *= float(policy.value)
    at_one = [
        c["member_months"] * x * c["trend_factor"] * factor
        for c, x in zip(perf, units, strict=True)
    ]
    before = sum(x * (a or b) for x, a, b in zip(at_one, r, s, strict=True))
    after = sum(x * normed(c, "own") for x, c in zip(at_one, perf, strict=True))
    up, down = (terms[f"target.risk_ratio_cap_{way}"] for way in ("up", "down"))
    after = min(after, before * (1 + float(up))) if up is not None else after
    after = max(after, before * (1 - float(down))) if down is not None else after
    return round(after)


def settle(run: Path, contract: str) -> pa.Table:
    """Every partnership of a run under one contract, settled again."""
    cells = pq.read_table(run / "cells.parquet").to_pylist()
    quality = json.loads((run / "contracts.json").read_text())["quality"]
    rows = []
    for known in pq.read_table(run / "settlement.parquet").to_pylist():
        name, year = known["partnership_id"], known["performance_year"]
        own = [c for c in cells if c["partnership_id"] == name]
        perf = [c for c in own if c["year"] == year]
        terms = contracts.load(contract).at(year)
        cost = sum(c["cost_cents"] for c in perf)
        before_cap = sum(c["paid_cents"] for c in perf)
        core = {"settlement.core_cost_usd": before_cap / 100}
        rests_on_core = any(terms[f"settlement.{s}.cap_of_core_cost"] for s in ("gain", "loss"))
        rows.append(
            {
                "partnership_id": name,
                "performance_year": year,
                "n_members": known["n_members"],
                "target_usd": target_cents([c for c in own if c["year"] < year], perf, terms) / 100,
                "observed_usd": round(cost / float(terms["observed.completion"] or 1)) / 100,
                "quality_score": quality.get(name),
                **(core if rests_on_core and terms["settlement.core_cost_usd"] is None else {}),
            }
        )
    return settle_table(pa.Table.from_pylist(rows), contract).table


if __name__ == "__main__":
    for row in settle(Path(sys.argv[1]), sys.argv[2]).to_pylist():
        print(*(row[k] for k in ("partnership_id", "target_usd", "observed_usd", "payment_usd")))
