"""The formula of a payment with the numbers of one partnership put in, line by line.

    each rate cell: own base -> base used -> risk ratio -> target a month -> target
        -> target of all -> observed -> savings -> the contract's steps -> payment

A line of a rate cell is written only where the numbers put in give what the run wrote; where a rule
of the contract makes it otherwise (an agreed base, a cell without months), the line gives the run's
number and says by which rule of the page *target*.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ihp_compute.contracts import Agreement
from ihp_compute.settlement import Step
from ihp_compute.units import CENTS_PER_USD, dollars

PAGE: Final = "docs/method/target.md"
FORMULAS: Final[Mapping[str, str]] = {
    "recomputed_base": "base cost ÷ base months × performance months",
    "credibility": "blend of own and state's base, less the own base",
    "agreed_base": "base used × performance months",
    "trend": "base × (trend − 1)",
    "policy": "base × (factor − 1)",
    "completion": "base × (1 ÷ completion − 1)",
    "rate_mix": "base at the performance year's rate cells, less at the base year's",
    "risk": "Σ over rate cells: before × (risk ratio − 1)",
    "target": "Σ over rate cells: months × target per member month",
    "observed": "cost of the performance year after floor and cap ÷ completion",
    "savings": "target − observed",
    "gate": "gate's rate × target",
    "share": "share × savings that count",
    "quality": "share × weight × (score − 1)",
    "withhold": "− rate × amount",
    "cap": "the limit less the amount above it",
    "adjustments": "amounts stated beside the settlement",
    "payment": "share and every change after it, to the cent, half to even",
}
"""Of lines of the walk, in words; a line that is not here is told by its own detail."""
_CLOSE: Final = 1e-6


def trace(
    agreement: Agreement, cells: Sequence[Mapping[str, Any]], walk: Sequence[Step]
) -> list[dict[str, Any]]:
    """Every formula with its numbers, result, unit, citation and basis.

    Parameters
    ----------
    agreement : Agreement
        The contract in the performance year.
    cells : sequence of mapping
        The partnership's rows of the table `cells`, both years.
    walk : sequence of Step

    Returns
    -------
    list of dict
        position, rate_cell (empty of the whole), quantity, formula, numbers, result, unit,
        citation, basis.
    """
    base_year, year = (pick(row["year"] for row in cells) for pick in (min, max))
    before = {row["rate_cell"]: row for row in cells if row["year"] == base_year}
    rows: list[dict[str, Any]] = []
    for now in (row for row in cells if row["year"] == year and row["member_months"]):
        rows += _Cell(agreement, before[now["rate_cell"]], now).rows()
    for step in walk:
        rows.append(
            {
                "rate_cell": "",
                "quantity": step.step,
                "formula": FORMULAS.get(step.step, step.detail),
                "numbers": step.detail,
                "result": dollars(step.amount_cents, plus="" if step.before_cents is None else "+"),
                "unit": "USD",
                "citation": step.citation,
                "basis": step.basis,
            }
        )
    return [{"position": position, **row} for position, row in enumerate(rows)]


class _Cell:
    """One rate cell of both years."""

    def __init__(
        self, agreement: Agreement, before: Mapping[str, Any], now: Mapping[str, Any]
    ) -> None:
        self.agreement = agreement
        self.before = before
        self.now = now

    def rows(self) -> Iterator[dict[str, Any]]:
        before, now = self.before, self.now
        own = before["cost_cents"] / CENTS_PER_USD
        months = before["member_months"]
        if months:
            yield self._row(
                "own_base", "base cost ÷ base months", f"{own:,.2f} ÷ {months:,}",
                own / months, "USD per member month", "cost.amount", "cost.claim_cap",
            )  # fmt: skip
        yield self._base()
        yield self._ratio()
        at_month = now["target_pmpm_usd"]
        policies = math.prod(float(policy.value) for policy in self.agreement.policies)
        completion = float(self.agreement["target.completion"] or 1)
        formula, numbers = (
            "base used × trend × risk ratio",
            (f"{now['base_pmpm_usd']:,.4f} × {now['trend_factor']:.6f} × {now['risk_ratio']:.6f}"),
        )
        made = now["base_pmpm_usd"] * now["trend_factor"] * now["risk_ratio"]
        if self.agreement.policies:
            formula, numbers = f"{formula} × policies", f"{numbers} × {policies:.6f}"
        if completion != 1:
            formula, numbers = f"{formula} ÷ completion", f"{numbers} ÷ {completion:.6f}"
        if not _same(made * policies / completion, at_month):
            formula, numbers = "as rounded by the contract", "rule 12"
        yield self._row(
            "target_pmpm", formula, numbers, at_month, "USD per member month", "target.trend",
            *(policy.path for policy in self.agreement.policies),
        )  # fmt: skip
        yield self._row(
            "target", "months × target per member month",
            f"{now['member_months']:,} × {at_month:,.4f}",
            now["target_cents"] / CENTS_PER_USD, "USD", "target.rate_cells",
        )  # fmt: skip

    def _base(self) -> dict[str, Any]:
        """K (z × own + (1 − z) × L × the state's at the own risk), where that is what was used."""
        before, now = self.before, self.now
        z, level, scale = now["credibility"], now["level"], now["scale"]
        months, norm = before["member_months"], before["norm"]
        risk = before["own_risk_mean"] if months else before["state_risk_mean"]
        state = _over(before["state_cost_cents"], before["state_member_months"]) / CENTS_PER_USD
        state = _over(state, before["state_risk_mean"]) * risk
        own = _over(before["cost_cents"], months) / CENTS_PER_USD
        made = scale * (z * own + (1 - z) * level * state)
        formula = "k × (z × own base + (1 − z) × L × state's base at own risk)"
        numbers = f"{scale:.6f} × ({z:.4f} × {own:,.2f} + {1 - z:.4f} × {level:.6f} × {state:,.2f})"
        if not norm or not _same(made, now["base_pmpm_usd"]):
            formula, numbers = "by the contract's rule for this base", "rules 1 to 4"
        return self._row(
            "base_used", formula, numbers, now["base_pmpm_usd"], "USD per member month",
            "target.base_pmpm_fixed", "target.cell_credibility", "target.empty_cell",
        )  # fmt: skip

    def _ratio(self) -> dict[str, Any]:
        """Own mean over the norm, of the performance year over the base year."""
        before, now = self.before, self.now
        then = before["own_risk_mean"] if before["member_months"] else before["state_risk_mean"]
        made = _over(_over(now["own_risk_mean"], now["norm"]), _over(then, before["norm"]))
        formula = "(own mean ÷ norm) ÷ (base year's own mean ÷ norm)"
        numbers = (
            f"({now['own_risk_mean']:.6f} ÷ {now['norm']:.6f}) ÷ "
            f"({then:.6f} ÷ {before['norm']:.6f})"
        )
        if not _same(made, now["risk_ratio"]):
            formula, numbers = "moved by corridor, credibility or cap", "rules 9 to 11"
        return self._row(
            "risk_ratio", formula, numbers, now["risk_ratio"], "ratio", "risk.model",
            "risk.normalise",
        )  # fmt: skip

    def _row(
        self, quantity: str, formula: str, numbers: str, result: float, unit: str, *paths: str
    ) -> dict[str, Any]:
        held = [self.agreement.value(path) for path in paths if path in self.agreement.values]
        binding = [value for value in held if value.value is not None]
        places = 2 if unit == "USD" else 4 if unit.startswith("USD") else 6
        return {
            "rate_cell": self.now["rate_cell"],
            "quantity": quantity,
            "formula": formula,
            "numbers": numbers,
            "result": f"{result:,.{places}f}",
            "unit": unit,
            "citation": "; ".join(dict.fromkeys([PAGE, *(value.citation for value in binding)])),
            "basis": "; ".join(dict.fromkeys(value.basis for value in binding)),
        }


def _over(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _same(made: float, held: float) -> bool:
    return abs(made - held) <= _CLOSE * max(1.0, abs(held))
