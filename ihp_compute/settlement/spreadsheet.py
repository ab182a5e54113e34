"""A settlement as formulas of a spreadsheet, line by line of its walk, and what other costs pay.

    target, observed (numbers) -> savings -> gain and loss after each step -> lines -> payment

The formulas are the program itself, written out: whatever a contract's steps are, they follow. A
line's formula reads lines above it, so that another observed cost flows through to the payment.
Gain and loss stand beside each step in cents before rounding, as the program carries them; a
spreadsheet rounds half a cent up and the program to even, which is all that may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import (
    SETTLEMENT_STEPS,
    SIDES,
    Agreement,
    ContractSet,
    Own,
    QualityScores,
)
from ihp_compute.errors import RunError
from ihp_compute.settlement.program import Compiled, Node, Program
from ihp_compute.settlement.settle import SharedPrograms
from ihp_compute.settlement.state import state_sums
from ihp_compute.settlement.steps import Settlement, write_settlement
from ihp_compute.settlement.walk import Step
from ihp_compute.uncertainty import Totals
from ihp_compute.units import CENTS_PER_USD
from kernels.settle.settle_grid import Op

Place = Callable[[int, str], str]
"""The address of a cell, by the place of its line in the walk and its column."""
Payoff = Callable[[int, NDArray[np.int64]], Mapping[str, NDArray[Any]]]
LADDER: Final = ("savings", "passed", "shareable", "share", "payment")
COLUMNS: Final = ("amount", "cents", *SIDES)
_SIGNS: Final = {
    Op.ADD: "+", Op.SUBTRACT: "-", Op.MULTIPLY: "*", Op.LESS: "<", Op.AT_MOST: "<=", Op.EQUAL: "=",
}  # fmt: skip
_TESTS: Final = (Op.LESS, Op.AT_MOST, Op.EQUAL)


@dataclass(frozen=True)
class Case:
    """What a settlement rests on beside target and observed cost.

    Attributes
    ----------
    agreement : Agreement
    n_members : int
    quality : Decimal or None
        The score used; None: the share stands whole.
    core_cents : int
        Cost before the claims cap.
    """

    agreement: Agreement
    n_members: int
    quality: Decimal | None
    core_cents: int


@dataclass(frozen=True)
class Formula:
    """A formula without its sign of equality, and what it comes to."""

    text: str
    value: float


@dataclass
class _Written:
    """A settlement written into a program, with what stood after each step."""

    program: Program
    target: Node
    observed: Node
    outputs: Mapping[str, Node] = field(default_factory=dict)
    after: dict[str, dict[str, Node]] = field(default_factory=dict)
    levels: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def of(cls, case: Case) -> _Written:
        program = Program()
        written = cls(program, program.source("target"), program.source("observed"))

        def told(step: str, settlement: Settlement) -> None:
            written.after[step] = dict(settlement.amount)
            if settlement.shareable is not None:
                written.levels[step] = settlement.level()

        written.outputs = write_settlement(
            program, case.agreement, written.target, written.observed,
            core=program.source("core_cost"), n_members=case.n_members, quality=case.quality,
            told=told,
        )  # fmt: skip
        return written

    def amount(self, line: str) -> Node | None:
        """What a line of the walk shows; None where its steps shape the shared dollars."""
        if line == "gate":
            rate = self.program.maximum(self.outputs["gate_rate"], self.program.number(0))
            return self.program.round(rate * self.target)
        total: Node | None = None
        before: Node | None = None
        for step, level in self.levels.items():
            if SETTLEMENT_STEPS[step].line == line:
                change = level if before is None else level - before
                total = change if total is None else total + change
            before = level
        return total

    def values(
        self, nodes: Mapping[tuple[int, str], Node], walk: Sequence[Step], case: Case
    ) -> dict[tuple[int, str], float]:
        """What expressions come to at the walk's target and observed cost."""
        amounts = {step.step: step.amount_cents for step in walk}
        given = {name: np.array([amounts[name]], np.int64) for name in ("target", "observed")}
        given["core_cost"] = np.array([case.core_cents], np.int64)
        names = {f"{i} {column}": (i, column) for i, column in nodes}
        compiled = self.program.compile({name: nodes[key] for name, key in names.items()})
        return {names[name]: float(array[0]) for name, array in compiled.run(given).items()}


def payoffs(cases: Mapping[str, Case]) -> dict[str, Payoff]:
    """The settlement of observed costs under a target: columns of `LADDER`, whole cents, 1 or 0.

    Returns
    -------
    dict of name to callable
        (target_cents, int64[n] observed cents) to name to int64[n].
    """

    def ladder(agreement: Agreement, **of: Any) -> Compiled:
        written = _Written.of(Case(agreement, core_cents=0, **of))
        return written.program.compile({name: written.outputs[name] for name in LADDER})

    programs = SharedPrograms(ladder)
    return {
        name: _payoff(
            programs.of(case.agreement, n_members=case.n_members, quality=case.quality), case
        )
        for name, case in cases.items()
    }


def _payoff(compiled: Compiled, case: Case) -> Payoff:
    core = np.array([case.core_cents])

    def settled(target_cents: int, observed: NDArray[np.int64]) -> Mapping[str, NDArray[Any]]:
        return compiled.run(
            {
                "observed": observed,
                "target": np.full_like(observed, target_cents),
                "core_cost": core,
            }
        )

    return settled


def cases_of(
    totals: Totals, contracts: ContractSet, year: int, quality: Mapping[str, Own]
) -> Iterator[tuple[str, Case]]:
    """What each partnership's settlement rests on beside target and observed cost, by name."""
    agreements, rule_sets = contracts.at(year), contracts.rule_sets(year)
    scores = QualityScores.of(quality, agreements, totals.without_members)
    core: dict[tuple[int, tuple[str, ...]], NDArray[np.int64]] = {}
    for name, agreement in agreements.items():
        key = rule_sets.index(agreement.cost), agreement["target.rate_cells"]
        if key not in core:
            core[key] = state_sums(totals, agreement, key[0]).core_cents
        place = totals.groups.index(name)
        yield (
            name,
            Case(
                agreement,
                int(totals.n_members[place]),
                scores.used(name, agreement),
                int(core[key][place]),
            ),
        )


def walk_formulas(
    case: Case, walk: Sequence[Step], place: Place, *, tells_core: bool = True
) -> list[dict[str, Formula]]:
    """Formulas of a walk's lines by `COLUMNS`; amounts in dollars, the others in cents.

    Parameters
    ----------
    case : Case
    walk : sequence of Step
        In order, as the run wrote it.
    place : callable
    tells_core : bool
        Whether cost before the claims cap may be read. If not, its value stands in place of a
        formula that rests on it: less observed cost it is what the cap took, of how few soever.

    Returns
    -------
    list of dict
        For each line the columns that are formulas; one without `amount` is a number.

    Raises
    ------
    RunError
        If a formula comes to another amount than the walk.
    """
    at = {step.step: i for i, step in enumerate(walk)}
    written = _Written.of(case)
    known: dict[int, str] = {}
    write = _writer(written.program, known, {"core_cost": case.core_cents})
    texts: dict[tuple[int, str], str] = {}
    nodes: dict[tuple[int, str], Node] = {}

    def keep(name: str, column: str, node: Node, text: str = "") -> None:
        nodes[at[name], column] = node
        if tells_core or not _rests_on(written.program, node, "core_cost", known):
            texts[at[name], column] = text or write(node)

    for name, node in (("target", written.target), ("observed", written.observed)):
        keep(name, "cents", node, f"ROUND({place(at[name], 'amount')}*100,0)")
        known[node.index] = place(at[name], "cents")
    savings = written.target - written.observed
    keep("savings", "cents", savings)
    known[savings.index] = place(at["savings"], "cents")
    keep("savings", "amount", savings)
    last = {SETTLEMENT_STEPS[step].line: step for step in case.agreement.steps}
    for step in case.agreement.steps:
        line = SETTLEMENT_STEPS[step].line
        if line not in at or last[line] != step:
            continue
        for side, node in written.after[step].items():
            keep(line, side, node)
        for side, node in written.after[step].items():
            if written.program.operation(node) is not None:
                known[node.index] = place(at[line], side)
        amount = written.amount(line)
        if amount is not None:
            keep(line, "amount", amount)
    values = written.values(nodes, walk, case)
    found: list[dict[str, Formula]] = [{} for _ in walk]
    for i, column in nodes:
        text = texts.get((i, column), repr(values[i, column]))
        if column == "amount":
            if int(values[i, column]) != walk[i].amount_cents:
                raise RunError(
                    f"{case.agreement.name}: {walk[i].step} comes to {values[i, column]:.0f} cents "
                    f"by its formula, expected {walk[i].amount_cents} as in the walk; run it again"
                )
            found[i][column] = Formula(f"{text}/100", walk[i].amount_cents / CENTS_PER_USD)
        else:
            found[i][column] = Formula(text, values[i, column])
    for name in ("target", "payment"):
        first = _level_before(walk, at[name])
        if first is not None:
            ends = place(first, "amount"), place(at[name] - 1, "amount")
            value = walk[at[name]].amount_cents / CENTS_PER_USD
            found[at[name]]["amount"] = Formula(f"ROUND(SUM({':'.join(ends)}),2)", value)
    return found


def _level_before(walk: Sequence[Step], end: int) -> int | None:
    """The line from which lines add up to that of `end`; None where they do not."""
    levels = [i for i in range(end) if walk[i].before_cents is None]
    first = levels[-1] if levels else end
    total = sum(step.amount_cents for step in walk[first:end])
    return first if first < end and total == walk[end].amount_cents else None


def _rests_on(program: Program, node: Node, source: str, known: Mapping[int, str]) -> bool:
    """Whether an expression, down to what stands in cells already, reads a source."""
    if node.index in known:
        return False
    operation = program.operation(node)
    if operation is None:
        return program.given(node) == source
    return any(_rests_on(program, operand, source, known) for operand in operation[1])


def _writer(
    program: Program, known: Mapping[int, str], sources: Mapping[str, int]
) -> Callable[[Node], str]:
    """What writes an expression, down to what stands in cells already."""

    def write(node: Node) -> str:
        if node.index in known:
            return known[node.index]
        operation = program.operation(node)
        if operation is None:
            given = program.given(node)
            value = sources[given] if isinstance(given, str) else given
            text = str(value) if value == int(value) else repr(float(value))
            return f"({text})" if value < 0 else text
        op, operands = operation
        if op is Op.SELECT:
            return f"IF({test(operands[0])},{write(operands[1])},{write(operands[2])})"
        if op in _TESTS:
            return f"IF({test(node)},1,0)"
        words = [write(operand) for operand in operands]
        if op is Op.DIVIDE:
            return f"IF({words[1]}=0,0,{words[0]}/{words[1]})"
        if op is Op.ROUND:
            return f"ROUND({words[0]},0)"
        if op in _SIGNS:
            return f"({words[0]}{_SIGNS[op]}{words[1]})"
        return f"{'MIN' if op is Op.MINIMUM else 'MAX'}({words[0]},{words[1]})"

    def test(node: Node) -> str:
        operation = program.operation(node)
        if operation is None or operation[0] not in _TESTS or node.index in known:
            return f"{write(node)}<>0"
        op, (a, b) = operation
        return f"{write(a)}{_SIGNS[op]}{write(b)}"

    return write
