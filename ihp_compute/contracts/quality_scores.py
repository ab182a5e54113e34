"""Which quality score a partnership settles by: its own, or what its contract says of none.

    own score | settlement.quality.missing: refuse · full · none · average -> score, or nothing
    in an interim settlement | settlement.quality.interim: missing · prior · full · none

`full`: as if nothing rested on a score: gains stay whole and no loss is reduced. `none`: score 0,
so that nothing of what rests on the score is earned. `average`: the mean of the scores that
partnerships under the same contract have, each counted once, to six places, half to even. What a
fill moves is the payment under it less the payment at score 0; of `none`, less that under `full`.

Not here: how measures become a score (`quality_measures`, `measure.quality`), what a score does to
a payment (`settlement.steps`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from ihp_compute.contracts.contract import Agreement
from ihp_compute.contracts.steps import REFUSE
from ihp_compute.errors import ContractError, MissingQualityError
from ihp_compute.units import six_places

_AT: Final = "settlement.quality."
MISSING_QUALITY_TERM: Final = f"{_AT}missing"
INTERIM_QUALITY_TERM: Final = f"{_AT}interim"
FILLED: Final = ("full", "none")
"""What may stand in the place of a score that there is not yet."""
Own = Decimal | str | None
"""A partnership's score, what stands in for it until there is one (`FILLED`), or nothing."""
SHOWN: Final = 10
"""Names in a message; it says how many more there are."""


@dataclass(frozen=True)
class QualityFill:
    """What stands in for a score that nobody gave.

    Attributes
    ----------
    policy : str
        full, none or average.
    score : Decimal or None
        None: the share stays whole.
    """

    policy: str
    score: Decimal | None

    @property
    def compared_with(self) -> Decimal | None:
        """The score at which the settlement is made again to tell what the fill moves."""
        return None if self.policy == "none" else Decimal(0)


def rests_on_quality(agreement: Agreement, given: Mapping[str, Decimal] | None = None) -> bool:
    """Whether a score can move the payment of an agreement, or its population-based one.

    Parameters
    ----------
    agreement : Agreement
    given : mapping of path to Decimal, optional
        Numbers that a row gives in place of the agreement's; of such a row nothing is paid in
        advance.
    """

    def number(path: str) -> Decimal | None:
        found: Decimal | None = (given or {}).get(path, agreement[path])
        return found

    of_gain = bool(number(f"{_AT}weight")) or bool(number(f"{_AT}floor"))
    follows = number("settlement.loss.share") is None  # one less the final gain share
    is_step = "quality" in agreement.steps
    if (of_gain and (is_step or follows)) or (is_step and agreement[f"{_AT}loss"] is not None):
        return True
    ahead = agreement.population_based
    return given is None and ahead.rate_usd is not None and ahead.at_stake > 0


def quality_fill(agreement: Agreement, present: Iterable[Decimal], who: str) -> QualityFill:
    """What the contract says of a missing score.

    Parameters
    ----------
    agreement : Agreement
        Whose `settlement.quality.missing` is not to refuse.
    present : iterable of Decimal
        Scores of those under the same contract who have one.
    who : str
        Whose score is missing, for a message.

    Raises
    ------
    ContractError
        If the mean is asked for and nobody has a score.
    """
    policy: str = agreement[MISSING_QUALITY_TERM]
    if policy != "average":
        return QualityFill(policy, None if policy == "full" else Decimal(0))
    scores = [Fraction(score) for score in present]
    if not scores:
        raise ContractError(
            f"{agreement.name}: {MISSING_QUALITY_TERM}: found average, and no partnership under "
            f"the contract has a quality score, so {who} has none to take; "
            "expected a score of one at least: supply it, or let the term say full or none"
        )
    return QualityFill(policy, six_places(sum(scores, Fraction(0)) / len(scores)))


@dataclass(frozen=True)
class QualityScores:
    """Scores of a run's partnerships, and under which contract each stands.

    Attributes
    ----------
    own : mapping of partnership id to Decimal, str or None
        None, or not there: no score; a text: one of `FILLED`, until there is one.
    contract_of : mapping of partnership id to str
        Name of its contract.
    without_members : collection of str
        Partnerships with nobody in the performance year: nothing settles, so no score is needed.
    """

    own: Mapping[str, Own]
    contract_of: Mapping[str, str]
    without_members: Collection[str] = ()

    @classmethod
    def of(
        cls,
        own: Mapping[str, Own],
        agreements: Mapping[str, Agreement],
        without_members: Collection[str],
    ) -> QualityScores:
        """Scores of partnerships under their agreements."""
        names = {p: agreement.name for p, agreement in agreements.items()}
        return cls(own, names, frozenset(without_members))

    def _needs(self, partnership: str, agreement: Agreement) -> bool:
        """Whether a partnership's settlement rests on a score that it has not."""
        return (
            not isinstance(self.own.get(partnership), Decimal)
            and partnership not in self.without_members
            and rests_on_quality(agreement)
        )

    def fill(self, partnership: str, agreement: Agreement) -> QualityFill | None:
        """What stands in for a partnership's missing score; None where none is needed.

        Raises
        ------
        MissingQualityError
            If the contract rests on a score, there is none, and nothing may stand in.
        ContractError
            As `quality_fill`.
        """
        own = self.own.get(partnership)
        if not self._needs(partnership, agreement):
            return None
        if isinstance(own, str):
            return QualityFill(own, None if own == "full" else Decimal(0))
        if agreement[MISSING_QUALITY_TERM] == REFUSE:
            raise MissingQualityError(missing_text([(partnership, agreement.name)]))
        present = (
            score
            for other, score in self.own.items()
            if isinstance(score, Decimal) and self.contract_of.get(other) == agreement.name
        )
        return quality_fill(agreement, present, partnership)

    def used(self, partnership: str, agreement: Agreement) -> Decimal | None:
        """The score that a partnership settles by; None: share whole. Errors as `fill`."""
        own = self.own.get(partnership)
        if isinstance(own, Decimal):
            return own
        found = self.fill(partnership, agreement)
        return None if found is None else found.score

    def refuse_missing(
        self, agreements: Mapping[str, Agreement], what_is: Callable[[], str] = str
    ) -> None:
        """Refuse partnerships whose contract rests on a score, where there is none to settle by.

        Parameters
        ----------
        agreements : mapping of partnership id to Agreement
        what_is : callable
            What was given instead, for the message.

        Raises
        ------
        MissingQualityError
            Naming all for whom nothing may stand in.
        ContractError
            As `quality_fill`.
        """
        missing = [
            (partnership, agreement.name)
            for partnership, agreement in agreements.items()
            if self.own.get(partnership) is None
            and agreement[MISSING_QUALITY_TERM] == REFUSE
            and self._needs(partnership, agreement)
        ]
        if missing:
            raise MissingQualityError(missing_text(missing, what_is()))
        for partnership, agreement in agreements.items():
            self.fill(partnership, agreement)


def missing_text(missing: Collection[tuple[str, str]], what_is: str = "") -> str:
    """Whose score is missing, under which contract, and what to do.

    `what_is` says what was given instead.
    """
    by_contract: dict[str, list[str]] = {}
    for partnership, contract in missing:
        by_contract.setdefault(contract, []).append(partnership)
    whose = "; ".join(f"{listed(names)} ({contract})" for contract, names in by_contract.items())
    return (
        f"found no quality score of {whose}, expected one, as a part of the payment rests on it"
        f"{f'; {what_is}' if what_is else ''}. Supply the score, or let "
        f"{MISSING_QUALITY_TERM} say what its absence is: full, none or average"
    )


def listed(names: Collection[str]) -> str:
    """Names in a message, the first of many."""
    shown = list(names)[:SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
