"""The steps of a settlement: the operations of each, and the words of its line in the walk.

    target, observed -> savings -> [the contract's steps, in the contract's order] -> payment

    gate         a gain or loss settles from its least rate on; below it nothing, or a reduced share
    counting     from the first dollar once past the gate, or only the excess over it
    share        marginal bands, times the share; gains and losses each their own
    quality      part of a gain rests on the score; a loss may shrink with it
    withhold     a withheld or sequestered part
    cap          of target, of revenue, of core cost, in dollars; the least binds
    adjustments  disaster relief reduces a loss, to nothing at most; then what else was agreed
    shadow       everything is shown and nothing is paid

Gain and loss are carried apart, never negative, one of them zero. What stands before `share` works
on the dollars that are shared, what stands after it on the dollars that are paid: the order is the
contract's, and changes results.

Which terms a step has, where it may stand and which dollars of the result it moves is declared in
`contracts.steps`. `OPERATIONS` has for each step a function that writes its arithmetic, and one
that words its line of the walk once the arithmetic is done.

Rounding: amounts stay unrounded between steps; the level after each step is rounded to cents, half
to even. Changes and payment are differences of such levels, so that they add up exactly.
Not here: how the target comes about (`target`), the walk as a whole (`walk`), draws (`settle`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Final

from ihp_compute.contracts import MOVED_BY, SIDES, SIZE_TABLE, Agreement, Band, text_of
from ihp_compute.errors import ContractError
from ihp_compute.settlement.program import Node, Program
from ihp_compute.units import CENTS_PER_USD, dollars

QUALITY_SCORE: Final = "quality_score"
"""Source name of a score given per row."""
NO_GATE: Final = -1
"""`gate_rate` where nothing settles on that side."""


def gate_by_size(table: tuple[tuple[int, Decimal], ...], n_members: int) -> Decimal:
    """Gate of a size table: linear between its rows, its ends beyond them.

    >>> gate_by_size(((5000, Decimal("0.039")), (6000, Decimal("0.036"))), 5500)
    Decimal('0.0375')
    """
    if n_members <= table[0][0]:
        return table[0][1]
    for (n, rate), (next_n, next_rate) in pairwise(table):
        if n_members <= next_n:
            return rate + (next_rate - rate) * (n_members - n) / (next_n - n)
    return table[-1][1]


@dataclass
class Settlement:
    """A settlement being written: its terms, and what has become of gain and loss so far.

    `core` is the cost before the claims cap, None where nobody knows it.
    `amount` holds gain and loss as they stand, in cents. `by_row` are paths whose values are
    sources of their own name, not constants. `gates`, `passed` and `missed_by` are filled by the
    gate, `shareable` by the share.
    """

    program: Program
    agreement: Agreement
    target: Node
    observed: Node
    core: Node | None
    n_members: int | None
    score: Node | None
    by_row: frozenset[str]
    amount: dict[str, Node]
    gates: dict[str, Node] = field(default_factory=dict)
    passed: dict[str, Node] = field(default_factory=dict)
    missed_by: dict[str, Node] = field(default_factory=dict)
    shareable: Node | None = None

    def term(self, path: str, scale: int = 1) -> Node | None:
        """A number of the agreement, None for `none`. `scale` turns dollars into cents."""
        if path in self.by_row:
            return self.program.source(path)
        value = self.agreement[path]
        return None if value is None else self.program.term(path, Decimal(value) * scale)

    def usd(self, path: str) -> Node | None:
        """Dollars of the agreement, in cents."""
        return self.term(path, CENTS_PER_USD)

    def level(self) -> Node:
        """What would be paid now, in whole cents: positive to the partnership."""
        gain, loss = (self.program.round(self.amount[side]) for side in SIDES)
        if self.agreement["settlement.direction"] == "corridor":
            return loss - gain
        return gain - loss


@dataclass(frozen=True)
class Outcome:
    """A settlement of the data as observed, done: what lines of the walk are written from.

    `first` has the outputs of the program, dollars in cents, and `core_cost` where claims are
    known; `score` is the quality score used,
    `fill` the policy by which it stands in for a missing one, empty where none is needed.
    """

    agreement: Agreement
    first: Mapping[str, float]
    score: Decimal | None
    fill: str = ""

    @property
    def side(self) -> str:
        """Gain or loss."""
        return "loss" if self.first["savings"] < 0 else "gain"

    @property
    def core(self) -> str:
        """The dollars that a cap of core cost refers to where the contract states none."""
        if "core_cost" not in self.first:
            return "the observed cost"
        return f"cost before the claims cap, {dollars(self.cents('core_cost'))},"

    def cents(self, name: str) -> int:
        """An amount of the program, in whole cents."""
        return int(self.first[name])


@dataclass(frozen=True)
class Line:
    """A step's line of the walk: dollars, words, and the paths of the terms that it rests on."""

    amount_cents: int
    detail: str
    paths: tuple[str, ...]


def write_settlement(
    program: Program,
    agreement: Agreement,
    target: Node,
    observed: Node,
    *,
    core: Node | None = None,
    n_members: int | None = None,
    quality: Decimal | None = None,
    by_row: frozenset[str] = frozenset(),
    told: Callable[[str, Settlement], object] | None = None,
) -> dict[str, Node]:
    """Write a settlement into a program.

    Parameters
    ----------
    program : Program
    agreement : Agreement
    target, observed : Node
        Cents of the performance year.
    core : Node, optional
        Cents before the claims cap, for a cap of core cost whose contract states none; without it
        the observed cost stands in.
    n_members : int, optional
        Observed members, for a gate by size.
    quality : Decimal, optional
        Score from 0 to 1; None leaves the share alone.
    by_row : frozenset of str
        Paths (and `quality_score`) whose values are sources of that name, dollars in cents.
    told : callable, optional
        Called after each step with its name and the settlement as it stands then.

    Returns
    -------
    dict of name to Node
        Whole cents: each of `contracts.AMOUNTS` (share is after quality, and quality the part of
        it that the score moved), missed_by; passed (1 or 0); savings_rate and gate_rate (`NO_GATE`
        where nothing settles on that side).

    Raises
    ------
    ContractError
        If a gate is by size and no size is known.
    """
    p = program
    zero = p.number(0)
    savings = target - observed
    score = p.source(QUALITY_SCORE) if QUALITY_SCORE in by_row else None
    if score is None and quality is not None:
        score = p.term(QUALITY_SCORE, quality)
    amount = {"gain": p.maximum(savings, zero), "loss": p.maximum(zero - savings, zero)}
    settlement = Settlement(p, agreement, target, observed, core, n_members, score, by_row, amount)
    level = zero
    changes: dict[str, Node] = {}
    for step in agreement.steps:
        OPERATIONS[step].write(settlement)
        if told is not None:
            told(step, settlement)
        if settlement.shareable is not None:
            changes[step] = settlement.level() - level
            level = settlement.level()
    changes = {step: p.round(change) for step, change in changes.items()}

    def moved_by(steps: Sequence[str]) -> Node:
        total = zero
        for step in steps:
            if step in changes:
                total = total + changes[step]
        return p.round(total)

    is_loss = savings < zero
    return {
        "savings": p.round(savings),
        "shareable": p.round(settlement.shareable or zero),
        **{amount: moved_by(steps) for amount, steps in MOVED_BY.items()},
        "payment": p.round(level),
        "missed_by": p.round(
            p.select(is_loss, settlement.missed_by["loss"], settlement.missed_by["gain"])
        ),
        "passed": p.round(p.select(is_loss, settlement.passed["loss"], settlement.passed["gain"])),
        "savings_rate": savings / target,
        "gate_rate": p.select(is_loss, settlement.gates["loss"], settlement.gates["gain"]),
    }


def _gate(settlement: Settlement) -> None:
    p = settlement.program
    zero = p.number(0)
    for side in SIDES:
        path = f"settlement.gate.{side}_rate"
        gate = _gate_rate(settlement, path)
        amount = settlement.amount[side]
        if gate is None:
            settlement.amount[side] = zero
            settlement.gates[side], settlement.passed[side] = p.number(NO_GATE), zero
            settlement.missed_by[side] = zero
            continue
        passed = gate <= amount / settlement.target
        settlement.gates[side], settlement.passed[side] = gate, passed
        settlement.missed_by[side] = p.select(passed, zero, gate * settlement.target - amount)
        if side == "loss" or settlement.term("settlement.gate.below_gate_share") is None:
            settlement.amount[side] = p.select(passed, amount, zero)


def gates_by_size(agreement: Agreement) -> list[str]:
    """Paths of the gates that go by the number of members."""
    paths = [f"settlement.gate.{side}_rate" for side in SIDES]
    return [path for path in paths if agreement[path] == SIZE_TABLE]


def _gate_rate(settlement: Settlement, path: str) -> Node | None:
    if path in settlement.by_row or settlement.agreement[path] != SIZE_TABLE:
        return settlement.term(path)
    if settlement.n_members is None:
        raise ContractError(
            f"{settlement.agreement.name}: {path}: a gate by size needs the members"
        )
    rate = gate_by_size(settlement.agreement["settlement.gate.size_table"], settlement.n_members)
    return settlement.program.term(path, rate)


def gate_words(*, passed: bool, missed_by_cents: int, savings_cents: int, target_cents: int) -> str:
    """What the gate came to, in words; dollars are missed only where something settles.

    >>> gate_words(passed=False, missed_by_cents=0, savings_cents=-5, target_cents=100)
    'no loss settles'
    """
    if passed:
        return "passed"
    if not target_cents:
        return "no target"
    if missed_by_cents:
        return f"missed by {dollars(missed_by_cents)}"
    return f"no {'loss' if savings_cents < 0 else 'gain'} settles"


def _gate_line(outcome: Outcome) -> Line:
    """The dollars to be reached."""
    side, rate = outcome.side, outcome.first["gate_rate"]
    path = f"settlement.gate.{side}_rate"
    word = gate_words(
        passed=bool(outcome.first["passed"]),
        missed_by_cents=outcome.cents("missed_by"),
        savings_cents=outcome.cents("savings"),
        target_cents=outcome.cents("target"),
    )
    by_size = " by size" if outcome.agreement[path] == SIZE_TABLE else ""
    return Line(
        round(max(rate, 0) * outcome.cents("target")),
        f"{rate:.4%} of target{by_size}: {word}" if rate >= 0 else word,
        (path, f"settlement.{side}.counting"),
    )


def _counting(settlement: Settlement) -> None:
    p = settlement.program
    for side in SIDES:
        if settlement.agreement[f"settlement.{side}.counting"] == "excess":
            excess = settlement.amount[side] - settlement.gates[side] * settlement.target
            settled = p.maximum(excess, p.number(0))
            settlement.amount[side] = p.select(
                settlement.passed[side], settled, settlement.amount[side]
            )


def _share(settlement: Settlement) -> None:
    """From here on the amounts are dollars that are paid."""
    p = settlement.program
    gain, loss = (settlement.amount[side] for side in SIDES)
    settlement.shareable = p.round(gain) + p.round(loss)
    for side in SIDES:
        amount = _banded(settlement, side) * _side_share(settlement, side)
        below = settlement.term("settlement.gate.below_gate_share") if side == "gain" else None
        if below is not None:
            amount = p.select(settlement.passed[side], amount, amount * below)
        settlement.amount[side] = amount


def _side_share(settlement: Settlement, side: str) -> Node:
    """Share of a side; a loss share of `none` is one less the final gain share, between bounds."""
    share = settlement.term(f"settlement.{side}.share")
    if share is not None:
        return share
    gain_share = settlement.term("settlement.gain.share")
    factor = quality_factor(settlement)
    if gain_share is None:  # the gain share is never none: its kind refuses it
        raise ContractError(f"{settlement.agreement.name}: settlement.gain.share: found none")
    final = gain_share if factor is None else gain_share * factor
    floor = settlement.term("settlement.loss.share_floor")
    ceiling = settlement.term("settlement.loss.share_ceiling")
    return settlement.program.clip(settlement.program.number(1) - final, floor, ceiling)


def _banded(settlement: Settlement, side: str) -> Node:
    """The amount through the marginal bands of its side; `none` is one band from zero."""
    path = f"settlement.{side}.bands"
    bands: tuple[Band, ...] | None = settlement.agreement[path]
    amount = settlement.amount[side]
    if bands is None:
        return amount
    p = settlement.program
    zero = p.number(0)
    total: Node | None = None
    lower = _edge(settlement, f"{path}.{bands[0].name}.above", bands[0].above)
    for band in bands:
        upper = None
        top = amount
        if band.below is not None:
            upper = _edge(settlement, f"{path}.{band.name}.below", band.below)
            top = p.minimum(amount, upper * settlement.target)
        inside = p.maximum(top - lower * settlement.target, zero)
        share = _edge(settlement, f"{path}.{band.name}.share", band.share)
        total = inside * share if total is None else total + inside * share
        lower = lower if upper is None else upper
    return total if total is not None else amount


def _edge(settlement: Settlement, path: str, value: Decimal) -> Node:
    return settlement.program.term(path, value)


def _share_line(outcome: Outcome) -> Line:
    """The shared dollars before quality."""
    agreement, at = outcome.agreement, f"settlement.{outcome.side}"
    share, bands = agreement[f"{at}.share"], agreement[f"{at}.bands"]
    words = [
        "one less the final gain share" if share is None else f"{share:%}",
        f"of {dollars(outcome.cents('shareable'))}",
        str(agreement[f"{at}.counting"]).replace("_", " "),
    ]
    if bands is not None:
        words.append(f"through bands {text_of(bands)}")
    return Line(
        outcome.cents("share") - outcome.cents("quality"),
        ", ".join(words),
        (f"{at}.share", f"{at}.bands"),
    )


def quality_factor(settlement: Settlement) -> Node | None:
    """What the score leaves of a gain, None if it leaves all."""
    p = settlement.program
    weight = settlement.term("settlement.quality.weight")
    floor = settlement.term("settlement.quality.floor")
    if settlement.score is None or (weight is None and floor is None):
        return None
    one = p.number(1)
    factor = one if weight is None else (one - weight) + weight * settlement.score
    if floor is not None:
        factor = p.select(settlement.score < floor, p.number(0), factor)
    return factor


def _quality(settlement: Settlement) -> None:
    factor = quality_factor(settlement)
    if factor is not None:
        settlement.amount["gain"] = settlement.amount["gain"] * factor
    if (
        settlement.score is not None
        and settlement.agreement["settlement.quality.loss"] == "one_less_score"
    ):
        settlement.amount["loss"] = settlement.amount["loss"] * (
            settlement.program.number(1) - settlement.score
        )


def _quality_line(outcome: Outcome) -> Line:
    weight = outcome.agreement["settlement.quality.weight"]
    score = "no score supplied" if outcome.score is None else f"score {outcome.score}"
    paths = ["settlement.quality.weight"]
    if outcome.fill:
        stands_in = "share whole" if outcome.score is None else score
        score = f"no score supplied: {stands_in}, as {outcome.fill} is the rule for a missing one"
        paths.append("settlement.quality.missing")
    none = "no part of the gain rests on it"
    words = none if weight is None else f"weight {weight}"
    return Line(
        outcome.cents("quality"),
        words if weight is None and not outcome.fill else f"{words}, {score}",
        tuple(paths),
    )


def _withhold(settlement: Settlement) -> None:
    rate = settlement.term("settlement.withhold.rate")
    if rate is None:
        return
    kept = settlement.program.number(1) - rate
    both = settlement.agreement["settlement.withhold.applies_to"] == "both"
    for side in SIDES if both else ("gain",):
        settlement.amount[side] = settlement.amount[side] * kept


def _withhold_line(outcome: Outcome) -> Line:
    path = "settlement.withhold.rate"
    return Line(outcome.cents("withhold"), text_of(outcome.agreement[path]), (path,))


def _cap(settlement: Settlement) -> None:
    for side in SIDES:
        for limit in _limits(settlement, side):
            settlement.amount[side] = settlement.program.minimum(settlement.amount[side], limit)


def _limits(settlement: Settlement, side: str) -> list[Node]:
    at = f"settlement.{side}"
    of_target = settlement.term(f"{at}.cap_of_target")
    of_revenue, revenue = (
        settlement.term(f"{at}.cap_of_revenue"),
        settlement.usd("settlement.revenue_usd"),
    )
    of_core = settlement.term(f"{at}.cap_of_core_cost")
    core = settlement.usd("settlement.core_cost_usd") or settlement.core or settlement.observed
    limits = [
        settlement.usd(f"{at}.cap_usd"),
        None if of_target is None else of_target * settlement.target,
        None if of_revenue is None or revenue is None else of_revenue * revenue,
        None if of_core is None else of_core * core,
    ]
    return [limit for limit in limits if limit is not None]


_CAP_BASES: Final = (
    (
        "cap_of_revenue", "settlement.revenue_usd",
        "revenue not given: its cap cannot bind", "the cap of revenue cannot bind",
    ),
    (
        "cap_of_core_cost", "settlement.core_cost_usd",
        "core cost not given: {core} stands for it", "the observed cost stands in",
    ),
)  # fmt: skip
"""A cap, the dollars that it is a part of, and what is said where these are not given: in the walk,
and of rows of given aggregates."""


def caps_without_base(agreement: Agreement, given: Container[str]) -> list[str]:
    """What is said of rows whose caps lack their base; `given` are the paths that the rows give."""
    return [
        f"{agreement.name}: {base} is not given for some rows: {what}"
        for cap, base, _, what in _CAP_BASES
        if any(agreement[f"settlement.{side}.{cap}"] is not None for side in SIDES)
        and agreement[base] is None
        and base not in given
    ]


def _cap_line(outcome: Outcome) -> Line:
    agreement, at = outcome.agreement, f"settlement.{outcome.side}"
    paths = [f"{at}.cap_{of}" for of in ("of_target", "usd", "of_revenue", "of_core_cost")]
    words = [
        f"{text_of(agreement[path])} {agreement.value(path).unit}"
        for path in paths
        if agreement[path] is not None
    ]
    words += [
        said.format(core=outcome.core)
        for cap, base, said, _ in _CAP_BASES
        if agreement[f"{at}.{cap}"] is not None and agreement[base] is None
    ]
    return Line(outcome.cents("cap"), "; ".join(words) or "none", tuple(paths))


def _adjustments(settlement: Settlement) -> None:
    p = settlement.program
    zero = p.number(0)
    relief = settlement.usd("settlement.adjustments.disaster_usd")
    if relief is not None:
        size = p.maximum(relief, zero - relief)
        settlement.amount["loss"] = p.maximum(settlement.amount["loss"] - size, zero)
    other = settlement.usd("settlement.adjustments.other_usd")
    if other is not None:
        toward = "loss" if settlement.agreement["settlement.direction"] == "corridor" else "gain"
        settlement.amount[toward] = settlement.amount[toward] + other


def _shadow(settlement: Settlement) -> None:
    for side in SIDES:
        settlement.amount[side] = settlement.program.number(0)


def _adjustments_line(outcome: Outcome) -> Line | None:
    """What else was agreed; a shadow settlement says it in its own line."""
    return None if "shadow" in outcome.agreement.steps else _adjusted(outcome)


def _shadow_line(outcome: Outcome) -> Line:
    return _adjusted(outcome, "shadow settlement: nothing is paid", cites=("settlement.steps",))


def _adjusted(outcome: Outcome, *more: str, cites: tuple[str, ...] = ()) -> Line:
    agreement = outcome.agreement
    paths = [f"settlement.adjustments.{what}_usd" for what in ("disaster", "other")]
    words = [
        f"{path.rsplit('.', 1)[1].removesuffix('_usd')} {agreement[path]}"
        for path in paths
        if agreement[path] is not None
    ]
    return Line(outcome.cents("adjustment"), "; ".join([*words, *more]) or "none", (*paths, *cites))


@dataclass(frozen=True)
class Operation:
    """A step in functions: `write` adds its arithmetic, `line` words its line of the walk.

    `line` gives None where another step's line tells it; a step without a line has no `line`.
    """

    write: Callable[[Settlement], None]
    line: Callable[[Outcome], Line | None] = lambda _: None


OPERATIONS: Final[Mapping[str, Operation]] = {
    "gate": Operation(_gate, _gate_line),
    "counting": Operation(_counting),
    "share": Operation(_share, _share_line),
    "quality": Operation(_quality, _quality_line),
    "withhold": Operation(_withhold, _withhold_line),
    "cap": Operation(_cap, _cap_line),
    "adjustments": Operation(_adjustments, _adjustments_line),
    "shadow": Operation(_shadow, _shadow_line),
}
"""What each step of `contracts.SETTLEMENT_STEPS` does, and how it says so."""
