"""Facts about members beside a model's own terms: their group of aid, what they live with.

    months by aid group -> the group of most months -> a term for each group but one
    member_factors -> flags on the last day of the codes' year -> a term for each flag asked for

The state's group of most months is the reference, which has no term: others say what they cost
beside it. The model that is written asks for the same facts, so that a run scores with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ihp_compute.calibration.sums import Rows
from ihp_compute.codes import AID_GROUPS, MEMBER_FACTORS
from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models import Coefficient, Condition, Feature, Flag, Model, Step

AID_GROUP: Final = "aid_group"
PREDICTORS: Final = (AID_GROUP, *MEMBER_FACTORS)
MOST_FLAGS: Final = 31


@dataclass(frozen=True)
class Predictors:
    """What is added to a model's terms.

    Attributes
    ----------
    terms : tuple of str
        New ones, in order.
    signed : frozenset of str
        Terms that may weigh less than nothing: they say how a group differs from the reference.
    reference : str
        The aid group without a term; empty without aid groups.
    factors : tuple of str
        Of `MEMBER_FACTORS`, new or in the model before: a term of the same name each.
    """

    terms: tuple[str, ...] = ()
    signed: frozenset[str] = frozenset()
    reference: str = ""
    factors: tuple[str, ...] = ()


def aid_term(group: str) -> str:
    """The term of an aid group.

    >>> aid_term("adult")
    'aid_adult'
    """
    return f"aid_{group}"


def predictors_of(asked: Sequence[str], full: Model, rows: Sequence[Rows]) -> Predictors:
    """What was asked for, over a state's members.

    A model that was calibrated with aid groups has their terms already, and keeps its reference.

    Raises
    ------
    RiskModelError
        If there is no such predictor.
    """
    for name in asked:
        if name not in PREDICTORS:
            raise RiskModelError(f"no predictor {name!r}; there are {', '.join(PREDICTORS)}")
    have = {feature.name for feature in full.features}
    factors = tuple(name for name in MEMBER_FACTORS if name in asked or name in have)
    fresh = tuple(name for name in factors if name not in have)
    signed = frozenset((*map(aid_term, AID_GROUPS), *factors))
    left = [group for group in AID_GROUPS if aid_term(group) not in have]
    if len(left) < len(AID_GROUPS):
        return Predictors(fresh, signed, left[0] if left else "", factors)
    if AID_GROUP not in asked:
        return Predictors(fresh, signed, "", factors)
    months = np.zeros(len(AID_GROUPS), np.int64)
    for one in rows:
        months += np.bincount(one.aid_group, one.months, len(AID_GROUPS)).astype(np.int64)
    reference = AID_GROUPS[int(months.argmax())]
    terms = tuple(aid_term(group) for group in AID_GROUPS if group != reference)
    return Predictors((*terms, *fresh), signed, reference, factors)


def with_predictors(full: Model, predictors: Predictors) -> Model:
    """The model with the new terms, of weight 0 as yet, and the steps that set them.

    Raises
    ------
    RiskModelError
        If the model has no room for the facts that they ask for.
    """
    if not predictors.terms:
        return full
    tests = {aid_term(group): Condition(aid_groups=(group,)) for group in AID_GROUPS}
    tests |= {name: Condition(factors=(name,)) for name in MEMBER_FACTORS}
    if len(full.flags) + len(predictors.terms) > MOST_FLAGS:
        raise RiskModelError(
            f"{full.name}: {len(full.flags)} flags and {len(predictors.terms)} predictors, at most "
            f"{MOST_FLAGS} together"
        )
    return msgspec.structs.replace(
        full,
        features=(*full.features, *(Feature(term, "TERM") for term in predictors.terms)),
        flags=(
            *full.flags,
            *(Flag(f"IS_{term}", (tests[term],)) for term in predictors.terms),
        ),
        steps=(
            *full.steps,
            *(Step("RANK", flags=(f"IS_{term}",), default=term) for term in predictors.terms),
        ),
        coefficients=(
            *full.coefficients,
            *(
                Coefficient(segment.name, column, term, "0")
                for segment in full.segments
                for column in full.columns
                for term in predictors.terms
            ),
        ),
    )


def with_bits(rows: Rows, predictors: Predictors) -> Rows:
    """The rows with a word more, whose first bits are the new terms in order."""
    if not predictors.terms:
        return rows
    holds = {aid_term(name): rows.aid_group == k for k, name in enumerate(AID_GROUPS)}
    holds |= {
        name: (rows.factors >> k & 1).astype(np.bool_) for k, name in enumerate(MEMBER_FACTORS)
    }
    word: NDArray[np.uint64] = np.zeros(len(rows.months), np.uint64)
    for bit, term in enumerate(predictors.terms):
        word |= holds[term].astype(np.uint64) << np.uint64(bit)
    return replace(rows, terms=np.column_stack([rows.terms, word]))
