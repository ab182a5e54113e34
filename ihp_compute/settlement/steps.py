"""The steps of a settlement, each a function that writes its operations.

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

Rounding: amounts stay unrounded between steps; the level after each step is rounded to cents, half
to even. Changes and payment are differences of such levels, so that they add up exactly.
Not here: how the target comes about (`target`), walks and draws (`settlement`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Final

from ihp_compute.contracts import SIDES, SIZE_TABLE, Agreement, Band
from ihp_compute.errors import ContractError
from ihp_compute.settlement.program import Node, Program
from ihp_compute.units import CENTS_PER_USD

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
class Book:
    """A settlement being written: its terms, and what has become of gain and loss so far.

    `by_row` are paths whose values are sources of their own name, not constants. `gates`,
    `passed` and `missed_by` are filled by the gate; `changes` by the steps from `share` on.
    """

    program: Program
    agreement: Agreement
    target: Node
    observed: Node
    n_members: int | None
    score: Node | None
    by_row: frozenset[str]
    amount: dict[str, Node]
    gates: dict[str, Node] = field(default_factory=dict)
    passed: dict[str, Node] = field(default_factory=dict)
    missed_by: dict[str, Node] = field(default_factory=dict)
    changes: dict[str, Node] = field(default_factory=dict)
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


def write_settlement(
    program: Program,
    agreement: Agreement,
    target: Node,
    observed: Node,
    *,
    n_members: int | None = None,
    quality: Decimal | None = None,
    by_row: frozenset[str] = frozenset(),
) -> dict[str, Node]:
    """Write a settlement into a program.

    Parameters
    ----------
    program : Program
    agreement : Agreement
    target, observed : Node
        Cents of the performance year.
    n_members : int, optional
        Observed members, for a gate by size.
    quality : Decimal, optional
        Score from 0 to 1; None leaves the share alone.
    by_row : frozenset of str
        Paths (and `quality_score`) whose values are sources of that name, dollars in cents.

    Returns
    -------
    dict of name to Node
        Whole cents: savings, shareable, share (after quality), quality (inside share), withhold,
        cap, adjustment, payment, missed_by; passed (1 or 0); savings_rate and gate_rate (`NO_GATE`
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
    book = Book(p, agreement, target, observed, n_members, score, by_row, amount)
    level = zero
    for step in agreement.steps:
        if step == "share":
            book.shareable = p.round(book.amount["gain"]) + p.round(book.amount["loss"])
        WRITERS[step](book)
        if book.shareable is not None:
            book.changes[step] = book.level() - level
            level = book.level()
    changes = {step: p.round(change) for step, change in book.changes.items()}

    def change(*steps: str) -> Node:
        total = zero
        for step in steps:
            if step in changes:
                total = total + changes[step]
        return p.round(total)

    is_loss = savings < zero
    return {
        "savings": p.round(savings),
        "shareable": p.round(book.shareable or zero),
        "share": change("share", "quality"),
        "quality": change("quality"),
        "withhold": change("withhold"),
        "cap": change("cap"),
        "adjustment": change("adjustments", "shadow"),
        "payment": p.round(level),
        "missed_by": p.round(p.select(is_loss, book.missed_by["loss"], book.missed_by["gain"])),
        "passed": p.round(p.select(is_loss, book.passed["loss"], book.passed["gain"])),
        "savings_rate": savings / target,
        "gate_rate": p.select(is_loss, book.gates["loss"], book.gates["gain"]),
    }


def _gate(book: Book) -> None:
    p = book.program
    zero = p.number(0)
    for side in SIDES:
        path = f"settlement.gate.{side}_rate"
        gate = _gate_rate(book, path)
        amount = book.amount[side]
        if gate is None:
            book.amount[side] = zero
            book.gates[side], book.passed[side] = p.number(NO_GATE), zero
            book.missed_by[side] = zero
            continue
        passed = gate <= amount / book.target
        book.gates[side], book.passed[side] = gate, passed
        book.missed_by[side] = p.select(passed, zero, gate * book.target - amount)
        if side == "loss" or book.term("settlement.gate.below_gate_share") is None:
            book.amount[side] = p.select(passed, amount, zero)


def gated_by_size(agreement: Agreement) -> bool:
    """Whether a gate goes by the number of members."""
    return any(agreement[f"settlement.gate.{side}_rate"] == SIZE_TABLE for side in SIDES)


def _gate_rate(book: Book, path: str) -> Node | None:
    if path in book.by_row or book.agreement[path] != SIZE_TABLE:
        return book.term(path)
    if book.n_members is None:
        raise ContractError(f"{book.agreement.name}: {path}: a gate by size needs the members")
    rate = gate_by_size(book.agreement["settlement.gate.size_table"], book.n_members)
    return book.program.term(path, rate)


def _counting(book: Book) -> None:
    p = book.program
    for side in SIDES:
        if book.agreement[f"settlement.{side}.counting"] == "excess":
            excess = book.amount[side] - book.gates[side] * book.target
            settled = p.maximum(excess, p.number(0))
            book.amount[side] = p.select(book.passed[side], settled, book.amount[side])


def _share(book: Book) -> None:
    p = book.program
    for side in SIDES:
        amount = _banded(book, side) * _side_share(book, side)
        below = book.term("settlement.gate.below_gate_share") if side == "gain" else None
        if below is not None:
            amount = p.select(book.passed[side], amount, amount * below)
        book.amount[side] = amount


def _side_share(book: Book, side: str) -> Node:
    """Share of a side; a loss share of `none` is one less the final gain share, between bounds."""
    share = book.term(f"settlement.{side}.share")
    if share is not None:
        return share
    gain_share = book.term("settlement.gain.share")
    factor = quality_factor(book)
    if gain_share is None:  # the gain share is never none: its kind refuses it
        raise ContractError(f"{book.agreement.name}: settlement.gain.share: found none")
    final = gain_share if factor is None else gain_share * factor
    floor = book.term("settlement.loss.share_floor")
    ceiling = book.term("settlement.loss.share_ceiling")
    return book.program.clip(book.program.number(1) - final, floor, ceiling)


def _banded(book: Book, side: str) -> Node:
    """The amount through the marginal bands of its side; `none` is one band from zero."""
    path = f"settlement.{side}.bands"
    bands: tuple[Band, ...] | None = book.agreement[path]
    amount = book.amount[side]
    if bands is None:
        return amount
    p = book.program
    zero = p.number(0)
    total: Node | None = None
    lower = _edge(book, f"{path}.{bands[0].name}.above", bands[0].above)
    for band in bands:
        upper = None
        top = amount
        if band.below is not None:
            upper = _edge(book, f"{path}.{band.name}.below", band.below)
            top = p.minimum(amount, upper * book.target)
        inside = p.maximum(top - lower * book.target, zero)
        share = _edge(book, f"{path}.{band.name}.share", band.share)
        total = inside * share if total is None else total + inside * share
        lower = lower if upper is None else upper
    return total if total is not None else amount


def _edge(book: Book, path: str, value: Decimal) -> Node:
    return book.program.term(path, value)


def quality_factor(book: Book) -> Node | None:
    """What the score leaves of a gain, None if it leaves all."""
    p = book.program
    weight = book.term("settlement.quality.weight")
    floor = book.term("settlement.quality.floor")
    if book.score is None or (weight is None and floor is None):
        return None
    one = p.number(1)
    factor = one if weight is None else (one - weight) + weight * book.score
    if floor is not None:
        factor = p.select(book.score < floor, p.number(0), factor)
    return factor


def _quality(book: Book) -> None:
    factor = quality_factor(book)
    if factor is not None:
        book.amount["gain"] = book.amount["gain"] * factor
    if book.score is not None and book.agreement["settlement.quality.loss"] == "one_less_score":
        book.amount["loss"] = book.amount["loss"] * (book.program.number(1) - book.score)


def _withhold(book: Book) -> None:
    rate = book.term("settlement.withhold.rate")
    if rate is None:
        return
    kept = book.program.number(1) - rate
    both = book.agreement["settlement.withhold.applies_to"] == "both"
    for side in SIDES if both else ("gain",):
        book.amount[side] = book.amount[side] * kept


def _cap(book: Book) -> None:
    for side in SIDES:
        for limit in _limits(book, side):
            book.amount[side] = book.program.minimum(book.amount[side], limit)


def _limits(book: Book, side: str) -> list[Node]:
    at = f"settlement.{side}"
    of_target = book.term(f"{at}.cap_of_target")
    of_revenue, revenue = book.term(f"{at}.cap_of_revenue"), book.usd("settlement.revenue_usd")
    of_core, core = book.term(f"{at}.cap_of_core_cost"), book.usd("settlement.core_cost_usd")
    limits = [
        book.usd(f"{at}.cap_usd"),
        None if of_target is None else of_target * book.target,
        None if of_revenue is None or revenue is None else of_revenue * revenue,
        None if of_core is None else of_core * (book.observed if core is None else core),
    ]
    return [limit for limit in limits if limit is not None]


def _adjustments(book: Book) -> None:
    p = book.program
    zero = p.number(0)
    relief = book.usd("settlement.adjustments.disaster_usd")
    if relief is not None:
        size = p.maximum(relief, zero - relief)
        book.amount["loss"] = p.maximum(book.amount["loss"] - size, zero)
    other = book.usd("settlement.adjustments.other_usd")
    if other is not None:
        toward = "loss" if book.agreement["settlement.direction"] == "corridor" else "gain"
        book.amount[toward] = book.amount[toward] + other


def _shadow(book: Book) -> None:
    for side in SIDES:
        book.amount[side] = book.program.number(0)


WRITERS: Final[Mapping[str, Callable[[Book], None]]] = {
    "gate": _gate,
    "counting": _counting,
    "share": _share,
    "quality": _quality,
    "withhold": _withhold,
    "cap": _cap,
    "adjustments": _adjustments,
    "shadow": _shadow,
}
"""What each step of `terms.STEPS` does."""
