"""The steps of a settlement, declared: their order, their terms, what each shows.

Not here: the operations of a step (`settlement.steps`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from ihp_compute.contracts.kinds import Kind, choice, ratio, usd

AMOUNTS: Final = (
    "savings", "shareable", "share", "quality", "withhold", "cap", "adjustment", "payment",
)  # fmt: skip
"""Dollar columns of the result, in order; `<amount>_usd`."""

STEP_TERMS: Final = {
    "gate": ("settlement.gate.",),
    "counting": ("settlement.gain.counting", "settlement.loss.counting"),
    "share": (
        "settlement.gain.share", "settlement.gain.bands",
        "settlement.loss.share", "settlement.loss.share_floor", "settlement.loss.share_ceiling",
        "settlement.loss.bands",
    ),
    "quality": ("settlement.quality.",),
    "withhold": ("settlement.withhold.",),
    "cap": (
        "settlement.gain.cap_", "settlement.loss.cap_", "settlement.revenue_usd",
        "settlement.core_cost_usd",
    ),
    "adjustments": ("settlement.adjustments.",),
    "shadow": (),
}  # fmt: skip
"""Which terms a step reads, by the start of their path."""

CHANGES: Final = frozenset(
    {
        "trend", "policy", "completion", "rate_mix", "risk",
        "quality", "withhold", "cap", "adjustments",
    }
)  # fmt: skip
"""Steps of a walk whose amount is a change; every other step's amount is a level."""

SIZE_TABLE: Final = "size_table"

STEPS: Final = (
    "gate", "counting", "share", "quality", "withhold", "cap", "adjustments", "shadow",
)  # fmt: skip
"""Steps of a settlement; a contract orders them, each at most once, gate first and share always."""

SIDES: Final = ("gain", "loss")


def side_terms(side: str, *, gain: bool) -> dict[str, Kind]:
    """Terms of gains or of losses, by path."""
    at = f"settlement.{side}"
    whose = "gains" if gain else "losses"
    return {
        f"{at}.counting": choice(
            f"{whose} count from the first dollar once past the gate, or the excess over it",
            "first_dollar",
            "excess",
        ),
        f"{at}.share": Kind(
            f"partnership's share of {whose}"
            + ("" if gain else "; none: one less the final gain share, between floor and ceiling"),
            "ratio",
            low=Decimal(0),
            high=Decimal(1),
            optional=not gain,
        ),
        f"{at}.bands": Kind(
            f"marginal shares of {whose} by their ratio to target; times the share above",
            "ratio of target",
            "bands",
            optional=True,
        ),
        f"{at}.cap_of_target": ratio(f"most of the target that {whose} may pay", "ratio of target"),
        f"{at}.cap_usd": usd(f"most dollars that {whose} may pay"),
        f"{at}.cap_of_revenue": ratio(f"most of revenue that {whose} may pay", "ratio of revenue"),
        f"{at}.cap_of_core_cost": ratio(
            f"most of core cost that {whose} may pay", "ratio of core cost"
        ),
    }
