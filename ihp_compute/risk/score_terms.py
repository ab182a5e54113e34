"""How a model scores a population: what a contract says of it, and else what the model states.

    contract's terms -> score terms -> (model) -> score terms with nothing left to the model

A year is scored by codes of a year: its own where the model is concurrent, the one before where it
is prospective. A model that states no timing is read as concurrent, which is told. Supplied scores
and cells have none: they score the year that they bear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from ihp_compute.contracts import (
    AS_MODEL,
    COUNT,
    EVERY_CLAIM,
    NEWBORNS,
    NONE,
    TIMINGS,
    RiskTerms,
)
from ihp_compute.errors import RiskModelError
from ihp_compute.risk import cell_weights
from ihp_compute.risk.models import Model
from ihp_compute.risk.models import store as model_store
from ihp_compute.units import date_of, day_of

CONCURRENT, PROSPECTIVE = TIMINGS
AS_PUBLISHED: Final = NEWBORNS[0]


@dataclass(frozen=True)
class ScoreTerms:
    """How a population is scored; None: what the model states.

    Attributes
    ----------
    timing : str or None
        One of `TIMINGS`.
    min_months : int or None
        Members with fewer enrolled months in the year of the codes are without a score.
    newborn : str or None
        One of `NEWBORNS`: what a newborn without a birth code is.
    column : str
        Of the model's columns; empty: its default.
    code_edits : bool
        Whether the code editor's ages are tested.
    payment_year : int or None
        Whose map and factor score every year, of models that have one for each; None: each its own.
    diagnoses_from : str or None
        `EVERY_CLAIM`, `RISK_ADJUSTABLE`, or the path of a list of procedures.
    without_bill_type : str
        Whether an institution's diagnoses count where its claim has no bill type.
    runout_months : int or None
        Months after the year of the codes by which they are paid; None: by the year's cutoff alone.
    """

    timing: str | None = None
    min_months: int | None = None
    newborn: str | None = None
    column: str = ""
    code_edits: bool = True
    payment_year: int | None = None
    diagnoses_from: str | None = None
    without_bill_type: str = COUNT
    runout_months: int | None = None

    def __post_init__(self) -> None:
        """Refuse words that are none."""
        if self.timing not in (None, *TIMINGS) or self.newborn not in (None, *NEWBORNS):
            raise RiskModelError(
                f"timing must be one of {', '.join(TIMINGS)}, newborn one of {', '.join(NEWBORNS)}"
            )

    @classmethod
    def of(cls, risk: RiskTerms) -> ScoreTerms:
        """What a contract's terms of risk say of its model."""
        return cls(
            timing=None if risk.timing == AS_MODEL else risk.timing,
            min_months=risk.minimum_months,
            newborn=risk.newborn,
            code_edits=risk.code_edits,
            payment_year=risk.payment_year,
            diagnoses_from=None if risk.diagnoses_from == AS_MODEL else risk.diagnoses_from,
            without_bill_type=risk.without_bill_type,
            runout_months=risk.runout_months,
        )

    def by(self, model: Model) -> ScoreTerms:
        """The same with what a model states where nothing is said."""
        return replace(
            self,
            timing=self.timing or model.timing or CONCURRENT,
            min_months=model.minimum_months if self.min_months is None else self.min_months,
            newborn=self.newborn or model.newborn or AS_PUBLISHED,
            diagnoses_from=self.diagnoses_from or model.diagnoses_from or EVERY_CLAIM,
        )

    def code_year(self, year: int) -> int:
        """The year whose codes score `year`; the timing must be known."""
        return year - 1 if self.timing == PROSPECTIVE else year

    def known_by(self, year: int, cutoff_day: int) -> int:
        """The day by which codes that score `year` must be paid."""
        if self.runout_months is None:
            return cutoff_day
        return min(cutoff_day, self._run_out(year, self.runout_months))

    def check_run_out(self, year: int, cutoff_day: int) -> None:
        """Refuse a run-out that the codes of `year`, known by this day, do not have.

        Raises
        ------
        RiskModelError
            Which names the longest that they have.
        """
        if self.runout_months is None or self._run_out(year, self.runout_months) <= cutoff_day:
            return
        most = sum(self._run_out(year, n) <= cutoff_day for n in range(self.runout_months))
        raise RiskModelError(
            f"risk.runout_months is {self.runout_months}: codes of {self.code_year(year)} are "
            f"known by claims paid through {date_of(cutoff_day)}, which is "
            + (f"at most {most - 1} months after" if most else "before the end of")
            + " their year; give fewer months or none, or settle when more is paid"
        )

    def _run_out(self, year: int, months: int) -> int:
        """Last day of so many months after the year of the codes."""
        month = 12 * (self.code_year(year) + 1) + months
        return day_of(date(month // 12, month % 12 + 1, 1)) - 1


@dataclass(frozen=True)
class Scoring:
    """A contract's model and the terms by which it scores.

    Attributes
    ----------
    model : str
        As the contract names it; its own name where that is the path of a file.
    stated : str
        The timing that the model states; empty: none.
    asked : str or None
        The timing that the contract asks for; None: the model's.
    terms : ScoreTerms
        Nothing left to the model.
    """

    model: str
    stated: str
    asked: str | None
    terms: ScoreTerms

    @property
    def differs(self) -> bool:
        """Whether the contract asks for another timing than the model states."""
        return bool(self.asked and self.stated and self.asked != self.stated)


def scoring_of(risk: RiskTerms, *, store: Path | None = None) -> Scoring | None:
    """How a contract has its model score; None where no model scores from diagnoses.

    Raises
    ------
    RiskModelError
        If there is no such model.
    """
    if not scores_from_codes(risk.model, store=store):
        return None
    terms = ScoreTerms.of(risk)
    model = model_store.stated(risk.model, store=store)
    name = model.name if model_store.is_file(risk.model, store=store) else risk.model
    return Scoring(name, model.timing, terms.timing, terms.by(model))


def scores_from_codes(name: str, *, store: Path | None = None) -> bool:
    """Whether a name stands for a model over diagnoses: no supplied scores, no cells, not none."""
    given = name == NONE or name.partition(":")[0] == "supplied"
    return not (given or cell_weights.is_cells(name, store=store))


def idle_terms(risk: RiskTerms, scoring: Scoring | None) -> Iterator[str]:
    """What terms say that says nothing here, and what a model leaves open, in words.

    `scoring` is that of the terms (`scoring_of`).
    """
    if risk.model == NONE:
        return
    if scoring is None:
        if risk.timing != AS_MODEL:
            yield (
                f"risk.timing = {risk.timing} has no effect beside {risk.model}: given scores and "
                "cells score the year that they bear"
            )
    elif not scoring.stated and scoring.asked is None:
        yield (
            f"{scoring.model} states no timing: each year is scored by its own codes "
            f"({CONCURRENT}); risk.timing says otherwise"
        )
    fixed = model_store.payment_year_of(risk.model)
    if risk.payment_year is None or (
        fixed is None and model_store.follows_payment_year(risk.model)
    ):
        return
    why = (
        f"its name fixes {fixed}"
        if fixed
        else "only a published CMS-HCC model has a map and a factor for each payment year"
    )
    beside = scoring.model if scoring else risk.model
    yield f"risk.payment_year = {risk.payment_year} has no effect beside {beside}: {why}"
