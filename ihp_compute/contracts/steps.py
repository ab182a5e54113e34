"""The steps of a settlement, each declared once: its terms, its place, what it shows.

What contracts accept, what `ihp contracts show` and `paths` print, the dollar columns of a result
and the lines of a walk follow from `SETTLEMENT_STEPS`. A new step is one more entry here, and its
operations and words in `settlement.steps`.

Not here: what a step does to the money, how its line of the walk is worded (`settlement.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from ihp_compute.contracts.kinds import Kind, choice, ratio, usd

SIZE_TABLE: Final = "size_table"
"""Value of a gate that goes by the number of members."""

SIDES: Final = ("gain", "loss")

REFUSE: Final = "refuse"
MISSING_QUALITY: Final = (REFUSE, "full", "none", "average")
"""What a contract may say of a partnership without a quality score."""
INTERIM_QUALITY: Final = ("missing", "prior", "full", "none")
"""What it may say of one that has none yet."""


def _of_no_side(side: str) -> Mapping[str, Kind]:  # noqa: ARG001 - stands in for a step's own
    return {}


@dataclass(frozen=True)
class Step:
    """What is known of a step besides its operations.

    Attributes
    ----------
    name : str
        As contracts write it in `settlement.steps`.
    terms : mapping of path to Kind
        Terms that only this step reads.
    side_terms : callable
        Of "gain" or "loss": terms that both have, by the end of their path,
        `settlement.<side>.<end>`.
    modifies : mapping of path to path
        Terms that say something only where another term, the value, is not none.
    first : bool
        Whether every contract begins with the step.
    always : bool
        Whether every contract has it somewhere.
    before, after : str
        The step that it must precede or follow; empty: any place.
    moves : tuple of str
        Dollar columns of the result to which the step's change of the payment is added. The first
        is a part of the payment; others say how much of that part this step is. Empty for a step
        that shapes the shared dollars, before `share`.
    line : str
        The step's line of the walk; empty: it has none. Two steps may share a line.
    shows : {"level", "change"}
        Whether the amount of that line stands by itself or changes what stands before it.
    missed : bool
        Whether the walk of a contract without the step says so.
    """

    name: str
    terms: Mapping[str, Kind] = field(default_factory=dict)
    side_terms: Callable[[str], Mapping[str, Kind]] = _of_no_side
    modifies: Mapping[str, str] = field(default_factory=dict)
    first: bool = False
    always: bool = False
    before: str = ""
    after: str = ""
    moves: tuple[str, ...] = ()
    line: str = ""
    shows: Literal["level", "change"] = "change"
    missed: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of every term that the step reads."""
        return (*(p for side in SIDES for p in self.paths_of(side)), *self.terms)

    def paths_of(self, side: str) -> dict[str, Kind]:
        """Terms of gains or of losses, by path."""
        return {f"settlement.{side}.{end}": kind for end, kind in self.side_terms(side).items()}


def _counting_of(side: str) -> Mapping[str, Kind]:
    return {
        "counting": choice(
            f"{_whose(side)} count from the first dollar once past the gate, or the excess over it",
            "first_dollar",
            "excess",
        )
    }


def _share_of(side: str) -> Mapping[str, Kind]:
    whose, gain = _whose(side), side == "gain"
    return {
        "share": Kind(
            f"partnership's share of {whose}"
            + ("" if gain else "; none: one less the final gain share, between floor and ceiling"),
            "ratio",
            low=Decimal(0),
            high=Decimal(1),
            optional=not gain,
        ),
        "bands": Kind(
            f"marginal shares of {whose} by their ratio to target; times the share above",
            "ratio of target",
            "bands",
            optional=True,
        ),
    }


def _cap_of(side: str) -> Mapping[str, Kind]:
    whose = _whose(side)
    return {
        "cap_of_target": ratio(f"most of the target that {whose} may pay", "ratio of target"),
        "cap_usd": usd(f"most dollars that {whose} may pay"),
        "cap_of_revenue": ratio(f"most of revenue that {whose} may pay", "ratio of revenue"),
        "cap_of_core_cost": ratio(f"most of core cost that {whose} may pay", "ratio of core cost"),
    }


def _whose(side: str) -> str:
    return "gains" if side == "gain" else "losses"


def _gate_rate(meaning: str) -> Kind:
    return Kind(
        meaning,
        "ratio of target",
        low=Decimal(0),
        high=Decimal(1),
        optional=True,
        choices=(SIZE_TABLE,),
    )


_DECLARED: Final = (
    Step(
        "gate",
        terms={
            "settlement.gate.gain_rate": _gate_rate(
                "least savings rate that settles a gain; none: gains do not settle"
            ),
            "settlement.gate.loss_rate": _gate_rate(
                "least loss rate that settles a loss; none: losses do not settle"
            ),
            "settlement.gate.size_table": Kind(
                "gate by number of members, linear between rows",
                "ratio of target",
                "size table",
                optional=True,
            ),
            "settlement.gate.below_gate_share": ratio(
                "part of the gain share that a gain below the gate still earns"
            ),
        },
        first=True,
        line="gate",
        shows="level",
    ),
    Step(
        "counting",
        side_terms=_counting_of,
        modifies={
            "settlement.gain.counting": "settlement.gate.gain_rate",
            "settlement.loss.counting": "settlement.gate.loss_rate",
        },
        before="share",
    ),
    Step(
        "share",
        side_terms=_share_of,
        terms={
            "settlement.loss.share_floor": ratio(
                "least loss share where it follows the gain share"
            ),
            "settlement.loss.share_ceiling": ratio(
                "most loss share where it follows the gain share"
            ),
        },
        always=True,
        moves=("share",),
        line="share",
        shows="level",
    ),
    Step(
        "quality",
        terms={
            "settlement.quality.weight": ratio("part of a gain that the quality score earns"),
            "settlement.quality.floor": ratio("a lower score earns no gain"),
            "settlement.quality.loss": choice(
                "how the score reduces a loss", "one_less_score", optional=True
            ),
            "settlement.quality.missing": choice(
                "a partnership without a score: no settlement; as if nothing rested on it; "
                "score 0; the mean of the scores under its contract",
                *MISSING_QUALITY,
            ),
            "settlement.quality.interim": choice(
                "a partnership without a score of a year that is settled for the interim: as one "
                "without a score; the last earlier score; as if nothing rested on it; score 0",
                *INTERIM_QUALITY,
            ),
        },
        modifies={
            "settlement.quality.missing": "settlement.quality.weight",
            "settlement.quality.interim": "settlement.quality.weight",
        },
        after="share",
        moves=("share", "quality"),
        line="quality",
        missed=True,
    ),
    Step(
        "withhold",
        terms={
            "settlement.withhold.rate": ratio("withheld or sequestered part of a payment"),
            "settlement.withhold.applies_to": choice(
                "payments that are withheld from", "gains", "both"
            ),
        },
        modifies={"settlement.withhold.applies_to": "settlement.withhold.rate"},
        after="share",
        moves=("withhold",),
        line="withhold",
        missed=True,
    ),
    Step(
        "cap",
        side_terms=_cap_of,
        terms={
            "settlement.revenue_usd": usd("revenue that a cap of revenue refers to"),
            "settlement.core_cost_usd": usd(
                "core cost that a cap refers to; none: the cost before the claims cap"
            ),
        },
        moves=("cap",),
        line="cap",
        missed=True,
    ),
    Step(
        "adjustments",
        terms={
            "settlement.adjustments.disaster_usd": Kind(
                "reduces a loss after the cap, to zero at most; nothing to a gain; either sign",
                "USD",
                optional=True,
            ),
            "settlement.adjustments.other_usd": Kind(
                "added to the payment, positive to the partnership", "USD", optional=True
            ),
        },
        after="share",
        moves=("adjustment",),
        line="adjustments",
    ),
    Step(
        "shadow",
        after="share",
        moves=("adjustment",),
        line="adjustments",
    ),
)

SETTLEMENT_STEPS: Final[Mapping[str, Step]] = {step.name: step for step in _DECLARED}
"""Every step that a contract may have, by name; a contract orders those that it has."""

STEPS: Final = tuple(SETTLEMENT_STEPS)

MOVED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    amount: tuple(step.name for step in _DECLARED if amount in step.moves)
    for amount in dict.fromkeys(amount for step in _DECLARED for amount in step.moves)
}
"""Which steps move each dollar column that a step moves."""

AMOUNTS: Final = ("savings", "shareable", *MOVED_BY, "payment")
"""Dollar columns of the result, in order; `<amount>_usd`."""

STEP_MODIFIERS: Final[Mapping[str, str]] = {
    path: owner for step in _DECLARED for path, owner in step.modifies.items()
}
"""Terms of steps that say something only where another binds."""


def step_kinds() -> dict[str, Kind]:
    """Terms of all steps by path, in the order in which they are shown.

    Steps in their order; terms that gains and losses both have stand together, gains first.
    """
    of_sides = {
        path: kind
        for side in SIDES
        for step in _DECLARED
        for path, kind in step.paths_of(side).items()
    }
    found: dict[str, Kind] = {}
    for step in _DECLARED:
        if step.paths_of(SIDES[0]):
            found |= of_sides
        found |= step.terms
    return found


def fault_of(names: Sequence[str]) -> str:
    """What is wrong with an order of steps: found and expected; empty if nothing is.

    >>> fault_of(["gate", "quality", "share"])
    'found quality before share; expected it after'
    """
    for step in _DECLARED:
        if step.first and (not names or names[0] != step.name):
            return f"found {', '.join(names)}; expected {step.name} as the first step"
        if step.always and step.name not in names:
            return f"found {', '.join(names)}; expected a step {step.name}"
    place = {name: i for i, name in enumerate(names)}
    for step in _DECLARED:
        if step.name not in place:
            continue
        if step.before in place and place[step.name] > place[step.before]:
            return f"found {step.name} after {step.before}; expected it before"
        if step.after in place and place[step.name] < place[step.after]:
            return f"found {step.name} before {step.after}; expected it after"
    return ""
