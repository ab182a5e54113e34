"""Facts about members, as a model may ask of them, and whether a condition holds.

A condition looks at a few facts only, so each distinct combination of what the conditions of a
model can tell apart is one *profile*: a stand-in that is tested once, for all members like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS, MEMBER_FACTORS, RATE_CELLS
from ihp_compute.risk.models.schema import Condition, Model
from ihp_compute.units import NO_DAY

NOT_STATED: Final = 255
SEX_CODES: Final = {"": 0, "F": 1, "M": 2}
FACTS: Final = ("medicaid", "institutional", "new_enrollee", "special_needs")
GROUPS: Final = {
    "aid_groups": ("aid_group", AID_GROUPS),
    "rate_cells": ("rate_cell", RATE_CELLS),
    "factors": ("factors", MEMBER_FACTORS),
}
"""Conditions on lists of names: the members' field that they test, and its names in order."""
SETS: Final = ("factors",)
"""Those of which a member may have several, a bit each, and must have all that are named."""
OLDEST: Final = 128


@dataclass(frozen=True)
class Members:
    """What a model may ask of members; every array has n_members entries.

    age int16 (completed years, -1 unknown), sex uint8 (0 unknown, 1 female, 2 male), birth_day
    int32 (`NO_DAY` unknown), months uint8, original_reason uint8 (0-3, 255 not stated),
    dual_status uint8 (0-10, 255 not stated), medicaid, institutional, new_enrollee,
    special_needs bool, column int16 (of the model's columns), csr int16 (index into the model's
    CSR factors, -1 none), segment int16 (assigned from outside, -1: by the model), aid_group uint8
    (`codes.AID_GROUPS`, 255 not stated), rate_cell uint8 (`codes.RATE_CELLS`, 255 not stated): of
    most months of the year; factors uint8 (bit i: `codes.MEMBER_FACTORS[i]` holds on the last day
    of the codes' year); None where the model does not ask (`asks`).
    """

    age: NDArray[np.int16]
    sex: NDArray[np.uint8]
    birth_day: NDArray[np.int32]
    months: NDArray[np.uint8]
    original_reason: NDArray[np.uint8]
    dual_status: NDArray[np.uint8]
    medicaid: NDArray[np.bool_]
    institutional: NDArray[np.bool_]
    new_enrollee: NDArray[np.bool_]
    special_needs: NDArray[np.bool_]
    column: NDArray[np.int16]
    csr: NDArray[np.int16]
    segment: NDArray[np.int16]
    aid_group: NDArray[np.uint8] | None = None
    rate_cell: NDArray[np.uint8] | None = None
    factors: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Number of members."""
        return len(self.age)

    def take(self, places: NDArray[np.int64]) -> Members:
        """The members at these places, in their order."""
        columns = ((field.name, getattr(self, field.name)) for field in fields(self))
        return replace(self, **{name: of[places] for name, of in columns if of is not None})


def tests_of(model: Model) -> list[Condition]:
    """All conditions of a model: of its flags, then of its segments."""
    return [t for flag in model.flags for t in flag.any_of] + [s.test for s in model.segments]


def asks(model: Model) -> tuple[str, ...]:
    """Fields of `Members` by name, of those in `GROUPS`, that the model's conditions test."""
    return tuple(
        name
        for wanted, (name, _) in GROUPS.items()
        if any(getattr(test, wanted) is not None for test in tests_of(model))
    )


def holds(test: Condition, members: Members) -> NDArray[np.bool_]:
    """Whether the test holds of each member."""
    result = np.ones(len(members), np.bool_)
    if test.age is not None:
        low, high = test.age
        result &= (members.age >= low) & (members.age < high)
    if test.sex:
        result &= members.sex == SEX_CODES[test.sex]
    for wanted, have in (
        (test.original_reason, members.original_reason), (test.dual_status, members.dual_status),
        *((_numbers(test, group), _stated(members, name)) for group, (name, _) in GROUPS.items()),
    ):  # fmt: skip
        if wanted is not None:
            table = np.zeros(256, np.bool_)
            table[list(wanted)] = True
            result &= table[have]
    for fact in FACTS:
        want, is_so = getattr(test, fact), getattr(members, fact)
        if want is not None:
            result &= is_so if want else ~is_so
    return result


def _numbers(test: Condition, group: str) -> tuple[int, ...] | None:
    """A condition on names as one on their places."""
    wanted = getattr(test, group)
    if wanted is None:
        return None
    places = tuple(GROUPS[group][1].index(name) for name in wanted)
    if group not in SETS:
        return places
    bits = sum(1 << place for place in places)
    return tuple(value for value in range(256) if value & bits == bits)


def _stated(members: Members, name: str) -> NDArray[np.uint8]:
    have: NDArray[np.uint8] | None = getattr(members, name)
    if have is not None:
        return have
    return np.full(len(members), 0 if name in SETS else NOT_STATED, np.uint8)


class Profiles:
    """One stand-in for each combination of facts that tests tell apart.

    Attributes
    ----------
    stand_ins : Members
        Each distinct profile once.
    """

    def __init__(self, tests: Sequence[Condition]) -> None:
        """Number the classes of each fact; a fact with one class costs nothing."""
        edges = sorted({0, *(edge for t in tests if t.age is not None for edge in t.age)})
        ages = np.array([-1, *(edge for edge in edges if edge < OLDEST)], np.int16)
        age_class = np.searchsorted(ages, np.arange(-1, OLDEST), side="right") - 1
        reasons, reason_class = _classes([t.original_reason for t in tests])
        duals, dual_class = _classes([t.dual_status for t in tests])
        self._parts: list[tuple[str, NDArray[Any], NDArray[np.int32] | None]] = [
            ("age", ages, age_class.astype(np.int32)),
            ("sex", np.arange(3, dtype=np.uint8), None),
            ("original_reason", reasons, reason_class),
            ("dual_status", duals, dual_class),
            *((fact, np.array([False, True]), None) for fact in FACTS),
        ]
        for group, (name, _) in GROUPS.items():
            wanted = [_numbers(test, group) for test in tests]
            if any(one is not None for one in wanted):
                self._parts.append((name, *_classes(wanted)))
        names = [name for name, _, _ in self._parts]
        grid: tuple[NDArray[Any], ...] = np.meshgrid(
            *(values for _, values, _ in self._parts), indexing="ij"
        )
        facts = {name: values.ravel() for name, values in zip(names, grid, strict=True)}
        none = np.zeros(len(facts["age"]), np.int16)
        self.stand_ins = Members(
            birth_day=np.full(len(none), NO_DAY, np.int32), months=none.astype(np.uint8),
            column=none, csr=none, segment=none - 1, **facts,
        )  # fmt: skip

    def of(self, members: Members) -> NDArray[np.int32]:
        """Place of each member's profile in `stand_ins`: int32[n_members]."""
        number = np.zeros(len(members), np.int32)
        for name, values, classes in self._parts:
            number *= len(values)
            if name == "age" and classes is not None:
                number += classes[members.age.astype(np.intp) + 1]
            elif name in FACTS:
                number += getattr(members, name).view(np.uint8)
            elif classes is None:
                number += members.sex.astype(np.int32)
            else:
                number += classes[_stated(members, name)]
        return number


def _classes(
    lists: Sequence[tuple[int, ...] | None],
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A value of each class that the lists tell apart, and the class of all 256 values."""
    inside = np.zeros((256, 1 + sum(one is not None for one in lists)), np.bool_)
    for column, wanted in enumerate(one for one in lists if one is not None):
        inside[list(wanted), column] = True
    _, first, of_value = np.unique(inside, axis=0, return_index=True, return_inverse=True)
    return first.astype(np.uint8), of_value.astype(np.int32).ravel()
