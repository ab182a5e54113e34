"""Which lines are visits under a contract, and which step of attribution a visit serves.

    possible visits of a population -> a code of the contract's -> marks and place -> step

A line is a visit when its procedure is one of the contract's visit codes, its place is none that
the contract excludes, and it is no payment and no part of a stay or an emergency visit, each as the
contract says. Care coordination is a visit in any place, at any entry of the roster. Whether a
visit's month counts stands in `attribution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import VISIT_ED, VISIT_INPATIENT, VISIT_PAYMENT, range_of
from ihp_compute.contracts import SPECIALTIES, AttributionTerms
from ihp_compute.population import ShardColumns

_NONE, _COORDINATION, _EVALUATION = range(3)
"""Classes of a visit."""
_ELSEWHERE: Final = 8
"""Mark of a visit in a place that the contract excludes; others are those of `visits.marks`."""
_MARKS: Final = {
    "payment_line": VISIT_PAYMENT, "inpatient": VISIT_INPATIENT, "emergency": VISIT_ED,
}  # fmt: skip
N_KINDS: Final = 2 * len(SPECIALTIES)
"""Kinds of roster entries: a specialty, twice, first those flagged as health care homes."""


@dataclass(frozen=True)
class VisitRule:
    """A contract's visits in a population's codes, as `kernels.roster_match` takes them.

    Attributes
    ----------
    class_of : uint8[n_procedures]
    place_marks : uint8[256]
    barred : uint8[3]
    step_of : uint8[3, N_KINDS]
        Position in the contract's steps, from 1; 0 for none.
    """

    class_of: NDArray[np.uint8]
    place_marks: NDArray[np.uint8]
    barred: NDArray[np.uint8]
    step_of: NDArray[np.uint8]


def compile_visits(terms: AttributionTerms, procedures: Sequence[str]) -> VisitRule:
    """The visits of a contract.

    Parameters
    ----------
    terms : AttributionTerms
    procedures : sequence of str
        The population's code table "hcpcs".

    Returns
    -------
    VisitRule
    """
    class_of = np.full(len(procedures), _NONE, np.uint8)
    for codes, kind in (
        (terms.visit_codes, _EVALUATION),
        (terms.care_coordination_codes, _COORDINATION),
    ):
        class_of[among(procedures, codes)] = kind
    place_marks = np.zeros(256, np.uint8)
    place_marks[[int(place) for place in terms.excluded_places]] = _ELSEWHERE
    barred = np.zeros(3, np.uint8)
    barred[_EVALUATION] = _ELSEWHERE
    for name, mark in _MARKS.items():
        if name in terms.no_visit:
            barred[_EVALUATION] |= mark
    barred[_COORDINATION] = barred[_EVALUATION] & VISIT_PAYMENT
    return VisitRule(class_of, place_marks, barred, _step_of(terms))


def is_visit(
    shard: ShardColumns, rule: VisitRule, rows: NDArray[np.integer[Any]]
) -> NDArray[np.bool_]:
    """Which possible visits are visits of the contract, at whatever provider.

    Care coordination is none here: nobody need be seen for it. Month, payment and roster are not
    asked.

    Parameters
    ----------
    shard : Shard
    rule : VisitRule
    rows : int[k]
        Rows of "visits".
    """
    marks = (
        shard.column("visits", "marks")[rows]
        | rule.place_marks[shard.column("visits", "place")[rows]]
    )
    evaluated: NDArray[np.bool_] = (
        rule.class_of[shard.column("visits", "hcpcs")[rows]] == _EVALUATION
    )
    return evaluated & ((marks & rule.barred[_EVALUATION]) == 0)


def among(procedures: Sequence[str], codes: Sequence[str]) -> NDArray[np.bool_]:
    """Which procedures are among codes and ranges of codes: bool[n_procedures].

    >>> among(["", "S0280", "S0285", "99213"], ["S0280-S0281", "99213"]).tolist()
    [False, True, False, True]
    """
    letter, number = _parts(procedures)
    found = np.zeros(len(procedures), np.bool_)
    for code in codes:
        sign, low, high = range_of(code)
        found |= (letter == ord(sign or "0")) & (low <= number) & (number <= high)
    return found


def _parts(codes: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Letter of each procedure code, "0" for CPT, and its number; 0 and 0 of anything else."""
    whole = [code if len(code) == 5 and code.isascii() else "?????" for code in codes]
    signs = np.array(whole, "U5").view(np.uint32).reshape(len(codes), 5)
    digit = (ord("0") <= signs) & (signs <= ord("9"))
    upper = (ord("A") <= signs[:, 0]) & (signs[:, 0] <= ord("Z"))
    fits = digit[:, 1:].all(axis=1) & (digit[:, 0] | upper)
    values = np.where(digit, signs - np.uint32(ord("0")), 0).astype(np.int64)
    letter = np.where(digit[:, 0], ord("0"), signs[:, 0])
    number = values @ np.array([10_000, 1_000, 100, 10, 1])
    return np.where(fits, letter, 0).astype(np.uint32), np.where(fits, number, 0)


def _step_of(terms: AttributionTerms) -> NDArray[np.uint8]:
    """Position in the contract's steps (from 1) that a class serves under a kind; 0 for none."""
    table = np.zeros((3, N_KINDS), np.uint8)
    homes = terms.health_care_home == "or_flagged_entry"
    for kind in range(N_KINDS):
        flagged, specialty = kind < len(SPECIALTIES), SPECIALTIES[kind % len(SPECIALTIES)]
        serves = {
            "health_care_home": homes
            and flagged
            and specialty in terms.health_care_home_specialties,
            "primary_care": specialty in terms.primary_care_specialties,
            "specialist": specialty in terms.specialist_specialties,
        }
        places = [i for i, step in enumerate(terms.steps, start=1) if serves[step]]
        table[_EVALUATION, kind] = min(places, default=0)
        if "health_care_home" in terms.steps:
            table[_COORDINATION, kind] = terms.steps.index("health_care_home") + 1
    return table
