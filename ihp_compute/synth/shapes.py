"""Claim templates and drugs as arrays, and which of them stand for what.

A drug is a template of one line.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.synth.codes import (
    ANTEPARTUM,
    ASSESSMENT,
    DRUGS,
    EMERGENCY,
    EMERGENCY_VISIT,
    PHYSICIAN,
    PLACES_ELSEWHERE,
    PREVENTIVE,
    PREVENTIVE_AGES,
    STAY_VISIT,
    STAYS_FOR,
    TEMPLATES,
    UNITS,
    stay_for,
    visit_in,
)
from ihp_compute.synth.columns import Array, Ints

_STAY_ROLES: Final = (
    "stay", *map(stay_for, STAYS_FOR), ANTEPARTUM, "birth", "newborn", STAY_VISIT,
)  # fmt: skip
_SEEN_ROLES: Final = (
    "office", PREVENTIVE, "clinic", *_STAY_ROLES, "other", EMERGENCY, PHYSICIAN, EMERGENCY_VISIT,
    *map(visit_in, PLACES_ELSEWHERE),
)  # fmt: skip
_INCLUDED_ROLES: Final = (*_SEEN_ROLES, ASSESSMENT, "drug")
N_DX_SLOTS: Final = 4
"""Diagnoses that a claim can state."""
N_QUANTITIES: Final = 12
"""A line has one of so many quantities, each as often; those of a procedure or drug go round."""
MOST_DAYS: Final = 12
"""Of a stay."""
_DAYS: Final = tuple(str(days) for days in range(1, MOST_DAYS + 1))
_ROOM_AND_BOARD: Final = ("0112", "0120", "0124", "0170", "0171", "0200")


class _Shapes:
    """Templates and drugs as arrays.

    `quantities` are units of service and of drugs as text; `line_quantity` has for every line the
    places there of its `N_QUANTITIES` choices, `line_size` each over their mean. `preventive` has
    the templates of `PREVENTIVE_AGES`.
    """

    def __init__(self) -> None:
        roles = [template.role for template in TEMPLATES] + ["drug"] * len(DRUGS)
        self.n_templates, self.n_drugs = len(TEMPLATES), len(DRUGS)
        self.role = np.array(roles)
        self.is_drug = self.role == "drug"
        self.is_stay = np.isin(self.role, _STAY_ROLES)
        self.included = np.isin(self.role, _INCLUDED_ROLES)
        self.carries_dx = np.isin(self.role, [*_SEEN_ROLES, "extra", "coordination"])
        self.forms = ["professional", "institutional", "dental"]
        self.form = _index([t.form for t in TEMPLATES], self.forms, len(DRUGS))
        self.bills = sorted({t.bill_type for t in TEMPLATES} - {""})
        self.bill = _index([t.bill_type for t in TEMPLATES], self.bills, len(DRUGS))
        self.places = sorted({t.place for t in TEMPLATES} - {""})
        self.place = _index([t.place for t in TEMPLATES], self.places, len(DRUGS))
        self.drgs = sorted({t.drg for t in TEMPLATES} - {""})
        self.drg = _index([t.drg for t in TEMPLATES], self.drgs, len(DRUGS))
        lines = [line for t in TEMPLATES for line in t.lines]
        self.revenues = sorted({line[0] for line in lines} - {""})
        self.hcpcs = sorted({line[1] for line in lines} - {""})
        self.line_revenue = _index([line[0] for line in lines], self.revenues, len(DRUGS))
        self.line_hcpcs = _index([line[1] for line in lines], self.hcpcs, len(DRUGS))
        self.line_price = np.array([line[2] for line in lines] + [d.price for d in DRUGS])
        self.n_lines = np.array([len(t.lines) for t in TEMPLATES] + [1] * len(DRUGS))
        self.first_line = np.concatenate([[0], np.cumsum(self.n_lines)[:-1]])
        mixes = np.array([t.mix for t in TEMPLATES] + [d.mix for d in DRUGS])
        self.cumulative = {}
        self.choices = {}
        for role in sorted(set(roles)):
            chosen = np.flatnonzero(self.role == role)
            weights = mixes[chosen]
            self.choices[role] = chosen
            self.cumulative[role] = np.cumsum(weights / weights.sum(0), axis=0).T  # [3, k]
        self.days_supply = np.array([0] * len(TEMPLATES) + [d.days_supply for d in DRUGS])
        self.is_room = np.array(
            [line[0] in _ROOM_AND_BOARD for line in lines] + [False] * len(DRUGS)
        )
        self.quantities, self.line_quantity = _quantities(
            [*(tuple(map(str, UNITS.get(line[1], (1,)))) for line in lines),
             *(drug.quantities for drug in DRUGS)]
        )  # fmt: skip
        numbers = np.array([float(text) for text in self.quantities])
        self.line_size = numbers[self.line_quantity]
        self.line_size /= self.line_size.mean(axis=1, keepdims=True)
        self.preventive = np.array([self._billing(code) for _, code in PREVENTIVE_AGES])

    def _billing(self, procedure: str) -> int:
        """The template whose first line is of a procedure."""
        return int(np.flatnonzero(self.first_hcpcs() == self.hcpcs.index(procedure))[0])

    def first_hcpcs(self) -> NDArray[np.int32]:
        """Of each template its first line's place in `hcpcs`, or -1."""
        return self.line_hcpcs[self.first_line]

    def draw(self, rng: np.random.Generator, role: str, mix: Array) -> Ints:
        """One template of a role for each entry of `mix` (0 child, 1 adult, 2 disabled)."""
        edges = self.cumulative[role][mix]
        k = (rng.random(len(mix))[:, None] >= edges[:, :-1]).sum(1)
        return self.choices[role][k]


def _quantities(choices: list[tuple[str, ...]]) -> tuple[list[str], NDArray[np.int32]]:
    """Distinct quantities, and of each shape's line `N_QUANTITIES` places among them."""
    known = sorted({*_DAYS, *(text for some in choices for text in some)}, key=float)
    places = {text: place for place, text in enumerate(known)}
    tiled = [[places[some[k % len(some)]] for k in range(N_QUANTITIES)] for some in choices]
    return known, np.array(tiled, np.int32)


def _index(values: list[str], known: list[str], padding: int) -> NDArray[np.int32]:
    places = {value: position for position, value in enumerate(known)}
    return np.array([places.get(value, -1) for value in values] + [-1] * padding, np.int32)


SHAPES: Final = _Shapes()
