"""Terms, target, settlement and payers, written from docs/method alone; imports nothing of ours."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from math import inf, sqrt
from pathlib import Path
from typing import Any

Terms = dict[str, Any]
Sums = dict[tuple[str, int, str], Counter[str]]


def terms_of(folder: Path, name: str, overrides: Terms) -> Callable[[int], Terms]:
    """The terms of each year of a contract shipped, with values by path beside it."""
    given: dict[str, Any] = {}
    files = []
    while name:
        files.append(tomllib.loads((folder / f"{name}.toml").read_text(), parse_float=Decimal))
        name = files[-1].get("extends", "")
    for file in reversed(files):
        given |= dict(_leaves({k: v for k, v in file.items() if k != "sources"}, ""))

    def at(year: int) -> Terms:
        first = overrides.get("agreement.first_performance_year")
        first = first or given["agreement.first_performance_year"]["value"]
        found = {path: _value(term, year, first) for path, term in given.items()} | overrides
        return {path: None if value == "none" else value for path, value in found.items()}

    return at


def _leaves(tree: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            here = f"{path}{name}"
            yield from [(here, value)] if "unit" in value else _leaves(value, f"{here}.")


def _value(term: dict[str, Any], year: int, first: Any) -> Any:
    rows = [term | row for row in term.get("values", [{}])]
    rows = [row for row in rows if row["from"].year <= year]
    if first != "none":
        rows = [row for row in rows if row.get("contract_year", 1) <= year - first + 1]
    held = [row for row in rows if "until" not in row or row["until"].year >= year]
    if not held:
        last = max((row["until"] for row in rows), default=None)
        held = [row for row in rows if row["until"] == last]
    return max(held, key=lambda row: row.get("contract_year", 0), default={"value": "none"})[
        "value"
    ]


def _ratio(above: float, below: float) -> float:
    return above / below if below else 0.0


def target_of(group: str, sums: Sums, at: Callable[[int], Terms], base: int, year: int) -> Terms:
    """Cents of the target, in all and by rate cell, and the ratio of risk."""
    terms = at(year)
    cells = terms["target.rate_cells"]

    def of(who: str, when: int, cell: str, name: str) -> int:
        return sums.get((who, when, cell), Counter())[name]

    def mean(who: str, when: int, cell: str) -> float:
        return _ratio(of(who, when, cell, "risk"), of(who, when, cell, "months"))

    def risk(who: str, when: int, cell: str) -> float:
        return _ratio(mean(who, when, cell), mean("STATE", when, cell))

    def unit(who: str, when: int, cell: str) -> float:
        cost, months = of(who, when, cell, "cost") / 100, of(who, when, cell, "months")
        return _ratio(_ratio(cost, months), risk(who, when, cell))

    m = {c: of(group, base, c, "months") for c in cells}
    n = {c: of(group, year, c, "months") for c in cells}
    cost = {c: of(group, base, c, "cost") / 100 for c in cells}
    r = {c: risk(group, base, c) for c in cells}
    state = {c: unit("STATE", base, c) for c in cells}
    own = {c: _ratio(cost[c], m[c] * r[c]) for c in cells}
    agreed, months = terms["target.base_pmpm_fixed"], sum(m.values())
    if terms["target.cell_credibility"] is None:
        units = {c: own[c] if m[c] else state[c] for c in cells}
    else:
        expected = sum(m[c] * r[c] * state[c] for c in cells)
        whole = min(1.0, sqrt(months / terms["target.base_full_months"]))
        total = whole * sum(cost.values()) + (1 - whole) * expected
        total = total if agreed is None else float(agreed) * months
        level = total / expected if expected else 1.0
        blended = {}
        for c in cells:
            z = min(1.0, sqrt(m[c] / terms["target.cell_full_months"]))
            z = z if m[c] >= terms["target.cell_least_months"] else 0.0
            blended[c] = z * own[c] + (1 - z) * level * state[c]
        scale = _ratio(total, sum(m[c] * r[c] * blended[c] for c in cells)) or 1.0
        units = {c: scale * blended[c] for c in cells}
    growth = Decimal(1)
    trends = [at(y)["target.trend"] for y in range(base + 1, year + 1)]
    for trend in trends:
        growth *= 1 + (trend or 0)
    if terms["target.market"] == "comparison" and not any(t is not None for t in trends):
        pairs = [(c, unit("COMPARISON", base, c), unit("COMPARISON", year, c)) for c in cells]
        mix = [(of("COMPARISON", year, c, "months"), a, b) for c, a, b in pairs if a and b]
        growth = Decimal(sum(k * b for k, _, b in mix) / sum(k * a for k, a, _ in mix))
    at_one = {c: n[c] * units[c] * float(growth) for c in cells}
    before = sum(at_one[c] * (r[c] if m[c] else 1.0) for c in cells)
    after = {c: at_one[c] * risk(group, year, c) for c in cells}
    ratio = _ratio(sum(after.values()), before) or 1.0
    up, down = terms["target.risk_ratio_cap_up"], terms["target.risk_ratio_cap_down"]
    held = max(
        min(ratio, inf if up is None else 1 + float(up)), 0 if down is None else 1 - float(down)
    )
    after = {c: value * (held / ratio) for c, value in after.items()}
    found = round(sum(after.values()) * 100)
    if terms["target.rounding"] == "cents":
        found = round(_ratio(sum(after.values()), sum(n.values())) * 100) * sum(n.values())
    by_cell, running, last = {}, 0.0, 0
    for c in cells:
        running += after[c]
        by_cell[c], last = round(running * 100) - last, round(running * 100)
    by_cell[cells[-1]] += found - last
    return {"target": found, "cells": by_cell, "ratio": held}


def payment_of(
    terms: Terms, target: float, observed: float, core: int, members: int, score: float
) -> int:
    """Cents of the payment, positive to the partnership; `core` is cost before floor and cap."""
    gain, loss = max(target - observed, 0.0), max(observed - target, 0.0)
    for step in terms["settlement.steps"]:
        if step == "gate":
            rates = [_gate(terms, side, members) for side in ("gain", "loss")]
            gain, loss = (
                0.0 if rate is None or _ratio(amount, target) < rate else amount
                for amount, rate in zip((gain, loss), rates, strict=True)
            )
        elif step == "share":
            gain = _banded(gain, target, terms["settlement.gain.bands"])
            gain *= float(terms["settlement.gain.share"])
            loss = _banded(loss, target, terms["settlement.loss.bands"])
            loss *= _loss_share(terms, score)
        elif step == "quality":
            weight = float(terms["settlement.quality.weight"] or 0)
            gain *= (1 - weight) + weight * score
            if terms["settlement.quality.loss"] == "one_less_score":
                loss *= 1 - score
        elif step == "withhold":
            gain *= 1 - float(terms["settlement.withhold.rate"] or 0)
        elif step == "cap":
            gain = min(gain, _cap(terms, "gain", target, core))
            loss = min(loss, _cap(terms, "loss", target, core))
    return round(gain) - round(loss)


def _gate(terms: Terms, side: str, members: int) -> float | None:
    rate = terms[f"settlement.gate.{side}_rate"]
    if rate != "size_table":
        return None if rate is None else float(rate)
    rows = [(float(size), float(value)) for size, value in terms["settlement.gate.size_table"]]
    low = max((row for row in rows if row[0] <= members), default=rows[0])
    high = min((row for row in rows if row[0] >= members), default=rows[-1])
    part = _ratio(members - low[0], high[0] - low[0])
    return low[1] + part * (high[1] - low[1])


def _banded(amount: float, target: float, bands: dict[str, Terms] | None) -> float:
    if bands is None:
        return amount
    edges = [
        (float(b["above"]), inf if b["below"] == "none" else float(b["below"]), float(b["share"]))
        for b in bands.values()
    ]
    parts = [(min(amount, high * target) - low * target, share) for low, high, share in edges]
    return sum(max(part, 0.0) * share for part, share in parts)


def _loss_share(terms: Terms, score: float) -> float:
    if terms["settlement.loss.share"] is not None:
        return float(terms["settlement.loss.share"])
    weight = float(terms["settlement.quality.weight"] or 0)
    final = float(terms["settlement.gain.share"]) * ((1 - weight) + weight * score)
    floor, ceiling = (terms[f"settlement.loss.share_{end}"] for end in ("floor", "ceiling"))
    return min(max(1 - final, float(floor or 0)), 1.0 if ceiling is None else float(ceiling))


def _cap(terms: Terms, side: str, target: float, core: int) -> float:
    limits = (("cap_usd", 100), ("cap_of_target", target), ("cap_of_core_cost", core))
    given = ((terms[f"settlement.{side}.{name}"], of) for name, of in limits)
    return min((float(value) * of for value, of in given if value is not None), default=inf)


def split(payment: int, weights: dict[str, int]) -> dict[str, int]:
    """Whole cents by payer; what is left goes to the largest remainders."""
    if not sum(weights.values()):
        return {"all": payment}
    exact = {k: Fraction(abs(payment) * w, sum(weights.values())) for k, w in weights.items()}
    parts = {k: int(share) for k, share in exact.items()}
    left = abs(payment) - sum(parts.values())
    for k in sorted(exact, key=lambda k: (parts[k] - exact[k], k))[:left]:
        parts[k] += 1
    return {k: part if payment > 0 else -part for k, part in parts.items()}
