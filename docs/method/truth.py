"""True savings rates of a synthetic state under a contract, from its `truth.json`.

    python docs/method/truth.py RAW CONTRACT

1 - expected cost / expected target of each partnership. The target is the rule of `target.md` at
expected cost, with months and scores as the tables hold them. Nothing of the engine but the reading
of a contract is used.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from math import sqrt
from pathlib import Path
from typing import Any

from ihp_compute import contracts

Sums = dict[str, float]


def by_cell(truth: Mapping[str, Any], terms: contracts.Agreement) -> dict[tuple[str, str], Any]:
    """Months, risk and expected cost in dollars by group ("state": everybody) and base or perf.

    A list by rate cell of the contract, for each.
    """
    cells = [cell.split("+") for cell in terms["target.rate_cells"]]
    cap = terms["cost.claim_cap"]
    known = "none" if cap is None else f"{cap:f}"
    scored = terms["risk.model"] is not None
    found: dict[tuple[str, str], list[Sums]] = defaultdict(
        lambda: [{"m": 0.0, "risk": 0.0, "cost": 0.0} for _ in cells]
    )
    for row in truth["cells"]:
        year = "base" if row["year"] == truth["base_year"] else "perf"
        (place,) = (c for c, parts in enumerate(cells) if row["rate_cell"] in parts)
        for group in (row["group_id"], "state"):
            sums = found[group, year][place]
            sums["m"] += row["member_months"]
            sums["risk"] += row["risk"] if scored else row["member_months"]
            sums["cost"] += row["expected_usd"][known]
    return found


def norms(found: Mapping[Any, Any], terms: contracts.Agreement) -> dict[str, list[float]]:
    """What mean risk is divided by, by year and rate cell."""
    mean = {
        year: [c["risk"] / c["m"] if c["m"] else 0.0 for c in found["state", year]]
        for year in ("base", "perf")
    }
    rule = terms["risk.normalise"] if terms["risk.model"] is not None else None
    n_cells = len(mean["base"])
    if rule is None:
        return {year: [1.0] * n_cells for year in mean}
    if rule == "mix_neutral":
        both = [c for c in range(n_cells) if mean["base"][c] * mean["perf"][c]]
        state = found["state", "perf"]
        now = sum(state[c]["risk"] for c in both)
        then = sum(state[c]["m"] * mean["base"][c] for c in both)
        return {"base": [1.0] * n_cells, "perf": [now / then] * n_cells}
    return mean


def growth(
    found: Mapping[Any, Any],
    norm: Mapping[str, list[float]],
    terms: contracts.Agreement,
    years: range,
) -> list[float]:
    """Trend from base to performance year by rate cell: prescribed, else the market's, else 1."""
    market = 1.0
    if terms["target.market"] is not None:
        now = then = 0.0
        for c, (a, b) in enumerate(
            zip(found["COMPARISON", "base"], found["COMPARISON", "perf"], strict=True)
        ):
            if a["risk"] and b["risk"]:
                now += b["m"] * b["cost"] / (b["risk"] / norm["perf"][c])
                then += b["m"] * a["cost"] / (a["risk"] / norm["base"][c])
        market = now / then
    factors = []
    for cell in terms["target.rate_cells"]:
        rates = [terms.contract.trend(year, cell).value for year in years]
        factor = 1.0
        for rate in rates:
            factor *= 1 + float(rate or 0)
        factors.append(market if all(rate is None for rate in rates) else factor)
    return factors


def ruled(
    found: Mapping[Any, Any],
    perf: list[Sums],
    terms: contracts.Agreement,
    before: float,
    after: float,
) -> float:
    """Dollars after risk, with corridor and credibility of the ratio."""
    state_ratio = 1.0
    if terms["risk.normalise"] is None:
        years = list(zip(found["state", "base"], found["state", "perf"], strict=True))
        both = [(a, b) for a, b in years if a["risk"] and b["risk"]]
        now = sum(b["risk"] for _, b in both)
        then = sum(b["m"] * a["risk"] / a["m"] for a, b in both)
        state_ratio = now / then if then else 1.0
        corridor = terms["risk.growth_corridor"]
        if corridor is not None:
            held = min(max(state_ratio, 1 - float(corridor)), 1 + float(corridor))
            after, state_ratio = after * held / state_ratio, held
    full = terms["risk.credibility"]
    if full is None:
        return after
    z = min(1.0, sqrt(sum(s["m"] for s in perf) / float(full)))
    return z * after + (1 - z) * state_ratio * before


def target_usd(
    base: list[Sums],
    perf: list[Sums],
    found: Mapping[Any, Any],
    norm: Mapping[str, list[float]],
    grown: list[float],
    terms: contracts.Agreement,
) -> float:
    """Expected target of one partnership."""

    def z(months: float, full: str) -> float:
        return min(1.0, sqrt(months / float(terms[full])))

    cells = range(len(base))
    state = found["state", "base"]
    weight = [base[c]["risk"] / norm["base"][c] if norm["base"][c] else 0.0 for c in cells]
    units = [s["cost"] / (s["risk"] / norm["base"][c]) if s["risk"] else 0.0
             for c, s in enumerate(state)]  # fmt: skip
    own = [base[c]["cost"] / weight[c] if weight[c] else 0.0 for c in cells]
    least = terms["target.cell_least_months"]
    credible = [
        z(base[c]["m"], "target.cell_full_months") if base[c]["m"] >= least else 0.0
        for c in cells
    ]  # fmt: skip
    whole = z(sum(s["m"] for s in base), "target.base_full_months")
    if terms["target.cell_credibility"] is None:
        credible, whole = [float(w > 0) for w in weight], 1.0
    as_state = sum(w * u for w, u in zip(weight, units, strict=True))
    total = whole * sum(s["cost"] for s in base) + (1 - whole) * as_state
    level = total / as_state if as_state else 1.0
    blended = [credible[c] * own[c] + (1 - credible[c]) * level * units[c] for c in cells]
    summed = sum(w * b for w, b in zip(weight, blended, strict=True))
    scale = total / summed if summed else 1.0
    factor = 1.0 / float(terms["target.completion"] or 1)
    for policy in terms.policies:
        factor *= float(policy.value)
    before = after = 0.0
    for c in cells:
        unit = scale * blended[c] * grown[c] * factor
        risk_of_base = base[c] if base[c]["risk"] else state[c]
        if perf[c]["m"]:
            mean = risk_of_base["risk"] / risk_of_base["m"]
            before += perf[c]["m"] * unit * mean / norm["base"][c]
            after += perf[c]["risk"] / norm["perf"][c] * unit
    if terms["risk.model"] is not None:
        after = ruled(found, perf, terms, before, after)
    up, down = (terms[f"target.risk_ratio_cap_{way}"] for way in ("up", "down"))
    after = min(after, before * (1 + float(up))) if up is not None else after
    return max(after, before * (1 - float(down))) if down is not None else after


def true_savings(truth: Mapping[str, Any], terms: contracts.Agreement) -> dict[str, float]:
    """True savings rate of every partnership with members in the performance year."""
    found = by_cell(truth, terms)
    norm = norms(found, terms)
    grown = growth(found, norm, terms, range(truth["base_year"] + 1, truth["performance_year"] + 1))
    rates = {}
    for partnership in (row["partnership_id"] for row in truth["partnerships"]):
        base, perf = found[partnership, "base"], found[partnership, "perf"]
        if sum(s["m"] for s in perf):
            target = target_usd(base, perf, found, norm, grown, terms)
            observed = sum(s["cost"] for s in perf) / float(terms["observed.completion"] or 1)
            rates[partnership] = 1 - observed / target
    return rates


if __name__ == "__main__":
    answers = json.loads((Path(sys.argv[1]) / "truth.json").read_text(encoding="utf-8"))
    agreed = contracts.load(sys.argv[2]).at(answers["performance_year"])
    for name, rate in true_savings(answers, agreed).items():
        print(f"{name} {rate:+.6f}")
