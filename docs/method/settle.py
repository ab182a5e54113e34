"""Payments of a run from its table `cells` and the contract: python settle.py RUN CONTRACT.

A cap by core cost needs one column more: see `recompute.py`, which makes the columns again too.
"""

import json
import math
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute import contracts
from ihp_compute.settlement import settle_table


def settle(run: Path, contract: str) -> pa.Table:
    """Each partnership's target is what its rate cells say, times the contract's own factors."""
    quality, rows = json.loads((run / "contracts.json").read_text())["quality"], []
    for known in pq.read_table(run / "settlement.parquet").to_pylist():
        who, year = known["partnership_id"], known["performance_year"]
        here = [("partnership_id", "==", who), ("year", "==", year)]
        cells = pq.read_table(run / "cells.parquet", filters=here).to_pylist()
        terms, months = contracts.load(contract).at(year), sum(c["member_months"] for c in cells)
        factors = ("member_months", "base_pmpm_usd", "trend_factor", "risk_ratio")
        target = sum(math.prod(cell[name] for name in factors) for cell in cells)
        target *= math.prod(float(policy.value) for policy in terms.policies)
        target /= float(terms["target.completion"] or 1)
        if terms["target.rounding"] == "cents":
            target = round(target / months, 2) * months
        cost = sum(c["cost_cents"] for c in cells) / float(terms["observed.completion"] or 1)
        dollars = {"target_usd": round(target, 2), "observed_usd": round(cost) / 100}
        columns = {
            name: known[name] for name in ("partnership_id", "performance_year", "n_members")
        }
        rows.append({**columns, **dollars, "quality_score": quality.get(who)})
    return settle_table(pa.Table.from_pylist(rows), contract).table


if __name__ == "__main__":
    for row in settle(Path(sys.argv[1]), sys.argv[2]).to_pylist():
        print(*(row[k] for k in ("partnership_id", "target_usd", "observed_usd", "payment_usd")))
