"""What the observed data would settle to under other terms, one change at a time.

    totals as observed + agreement with one change -> program -> target, savings, payment

Each scenario is exact: the same totals by the same program. A change that reaches below the totals,
as another claim cap does, needs the claims and is none of these; a run of it answers.

Not here: grids of terms over draws (`sweeps`), what a term does (`target`, `steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

import numpy as np

from ihp_compute.contracts import Agreement, Contract, ContractSet, Own, QualityScores
from ihp_compute.settlement.program import Compiled
from ihp_compute.settlement.settle import SharedPrograms, run_program
from ihp_compute.settlement.state import Sources, StateSums, sources, state_sums
from ihp_compute.settlement.steps import QUALITY_SCORE
from ihp_compute.uncertainty import Totals

Score = Decimal | None
_POINT: Final = Decimal("0.01")
_TOLD: Final = ("target", "savings", "payment")


@dataclass(frozen=True)
class Change:
    """One change of the terms, or of the quality score.

    Attributes
    ----------
    meaning : str
        In a line.
    contract : callable
        The contract so changed; None where it changes nothing.
    score : callable
        The score so changed.
    """

    meaning: str
    contract: Callable[[Contract], Contract | None] = lambda contract: contract
    score: Callable[[Score], Score] = lambda score: score


def _trend(contract: Contract, more: Decimal) -> Contract | None:
    """The contract with each year's trend higher by `more`; None where it states none."""
    term = contract.terms["target.trend"]
    if all(entry.value is None for entry in term.entries):
        return None
    entries = tuple(
        entry if entry.value is None else replace(entry, value=entry.value + more)
        for entry in term.entries
    )
    return replace(contract, terms={**contract.terms, term.path: replace(term, entries=entries)})


_OTHER_NORM: Final = {"statewide_rate_cell": "mix_neutral", "mix_neutral": "statewide_rate_cell"}


def _norm(contract: Contract) -> Contract | None:
    values = {entry.value for entry in contract.terms["risk.normalise"].entries}
    other = _OTHER_NORM.get(str(values.pop())) if len(values) == 1 else None
    return None if other is None else contract.override({"risk.normalise": other})


def _own_base(contract: Contract) -> Contract | None:
    path = "target.cell_credibility"
    if all(entry.value is None for entry in contract.terms[path].entries):
        return None
    return contract.override({path: "none"})


CHANGES: Final[Mapping[str, Change]] = {
    "trend_up": Change("trend one point a year higher", lambda c: _trend(c, _POINT)),
    "trend_down": Change("trend one point a year lower", lambda c: _trend(c, -_POINT)),
    "other_norm": Change("the norm of risk mix-neutral in place of by rate cell, or back", _norm),
    "own_base": Change("the own base carries wholly, whatever its months", _own_base),
    "quality_lost": Change("quality score 0", score=lambda _: Decimal(0)),
    "quality_full": Change("quality score 1", score=lambda _: Decimal(1)),
}
"""Scenarios by name, in the order in which they are shown."""


def sensitivities(
    totals: Totals,
    contract_set: ContractSet,
    *,
    base_year: int,
    performance_year: int,
    quality: Mapping[str, Own],
) -> Iterator[dict[str, Any]]:
    """Each partnership under each change that touches its contract.

    Parameters
    ----------
    totals, contract_set, base_year, performance_year, quality
        As for `settle`; only the observed replicate is read.

    Yields
    ------
    dict
        partnership_id, scenario, target_cents, savings_cents, payment_cents.

    Raises
    ------
    ContractError
        As `settle`.
    """
    observed = replace(totals, values=totals.values[:, :, :1])
    rule_sets = contract_set.rule_sets(performance_year)
    programs = SharedPrograms(
        partial(run_program, base_year=base_year, performance_year=performance_year)
    )
    sums: dict[tuple[int, tuple[str, ...]], StateSums] = {}
    changed: dict[tuple[str, str], Agreement | None] = {}
    agreements = contract_set.at(performance_year)
    scores = QualityScores.of(quality, agreements, totals.without_members)
    rows: list[dict[str, Any]] = []
    alike: dict[tuple[int, int], _Alike] = {}
    for partnership, own in agreements.items():
        contract = own.contract
        key = rule_sets.index(own.cost), own["target.rate_cells"]
        if key not in sums:
            sums[key] = state_sums(observed, own, key[0])
        given = sources(sums[key], partnership)
        score_used = scores.used(partnership, own)
        n_members = int(totals.n_members[totals.groups.index(partnership)])
        for name, change in CHANGES.items():
            if (contract.sha256, name) not in changed:
                other = change.contract(contract)
                changed[contract.sha256, name] = (
                    None if other is None else other.at(performance_year)
                )
            agreement = changed[contract.sha256, name]
            if agreement is None:
                continue
            score = change.score(score_used)
            program = programs.shared(agreement, n_members=n_members, quality=score)
            row = {"partnership_id": partnership, "scenario": name}
            rows.append(row)
            of_program = alike.setdefault((id(program), id(sums[key])), _Alike(program))
            of_program.add(row, given, score)
    for of_program in alike.values():
        of_program.settle()
    yield from rows


@dataclass
class _Alike:
    """Partnerships whose scenario is one program: settled as rows of one table."""

    program: Compiled
    rows: list[dict[str, Any]] = field(default_factory=list)
    given: list[Sources] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)

    def add(self, row: dict[str, Any], given: Sources, score: Score) -> None:
        """One more, with its sources as observed."""
        self.rows.append(row)
        self.given.append(given)
        self.scores.append(score)

    def settle(self) -> None:
        """Give each row its dollars."""
        together = {
            name: np.concatenate([one[name] for one in self.given]) for name in self.program.sources
        }
        if self.scores[0] is not None:  # those of one program have a score, or none has
            together[QUALITY_SCORE] = np.array(self.scores, np.float64)
        found = self.program.only(_TOLD).run(together)
        for place, row in enumerate(self.rows):
            row.update({f"{what}_cents": int(found[what][place]) for what in _TOLD})
