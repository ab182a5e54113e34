"""Lines of synthetic claims with their dollars and diagnoses: a clean set, without any damage.

    claims -> lines -> dollars

A member-year's included dollars are given (`People.cost_cents`) and split over the included lines
by relative price, to the cent. Services that contracts leave out, capitation and supplemental
payments, encounters paid nothing, and services in the margins of the window carry dollars of their
own. Not here: what is planted among them (`planting`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.synth.codes import (
    ASSESSMENT,
    CONDITIONS,
    DELIVERY_CODES,
    EMERGENCY,
    EMERGENCY_CODES,
    NEWBORN_CODES,
    PHYSICIAN,
    PREMATURE_CODES,
    PRINCIPAL_CODES,
    TEMPLATES,
    VOIDED_VISIT,
    WELL_CODES,
)
from ihp_compute.synth.columns import Array
from ihp_compute.synth.member_years import Claims, MemberYears, conditions_of
from ihp_compute.synth.payment import payment_lags
from ihp_compute.synth.people import MANAGED, MONTHS_BEFORE
from ihp_compute.synth.shapes import MOST_DAYS, N_DX_SLOTS, N_QUANTITIES, SHAPES

_NIGHTS: Final = np.array(
    [0] + [SHAPES.quantities.index(str(days)) for days in range(1, MOST_DAYS + 1)], np.int32
)
ZERO_PAID_SHARE: Final = 0.03
"""Of managed members' services, those that the plan pays in another way."""

_DX: Final = [code for condition in CONDITIONS for code in condition.codes]
_DX_FIRST: Final = np.cumsum([0] + [len(condition.codes) for condition in CONDITIONS])
_DX_COUNT: Final = np.array([len(condition.codes) for condition in CONDITIONS])
_CODES: Final = [
    *_DX, *WELL_CODES, *DELIVERY_CODES, *NEWBORN_CODES, *PREMATURE_CODES, *PRINCIPAL_CODES,
]  # fmt: skip
ALL_DX: Final = pa.array(_CODES)
_WELL, _PREMATURE = len(_DX), _CODES.index(PREMATURE_CODES[0])
_LIVE_BIRTH: Final = _CODES.index("Z370")
_EMERGENCY_DX: Final = np.array([_CODES.index(code) for code, _ in EMERGENCY_CODES], np.int32)
_EMERGENCY_EDGES: Final = np.cumsum([share for _, share in EMERGENCY_CODES])[:-1]
_NAMES: Final = [condition.name for condition in CONDITIONS]
_CONDITION_OF: Final = np.array(
    [_NAMES.index(t.condition) if t.condition else -1 for t in TEMPLATES] + [-1] * SHAPES.n_drugs
)
_PRINCIPAL: Final = np.array(
    [[_CODES.index(codes[k % len(codes)]) if codes else -1 for k in range(2)]
     for codes in (*(t.principal for t in TEMPLATES), *[()] * SHAPES.n_drugs)]
)  # fmt: skip
_ASSESSMENT_LAG: Final = 20
"""Days until an assessment is paid: before any run-out ends."""


class Lines:
    """Lines of a block's claims with their dollars.

    Arrays by claim: `number` (digits of its number), `member`, `managed`, `plan` (0: none),
    `start_day`, `paid_day`, `diagnoses` ([n_claims, N_DX_SLOTS], -1 none). By line: `claim`, `line`
    (from 0), `shape_line`, `quantity` (place in `SHAPES.quantities`), `paid_cents`,
    `allowed_cents`, `charge_cents`, `third_party_cents`, `blank` (no amount is stated), `included`
    (part of the member-year's dollars).
    """

    def __init__(
        self, rng: np.random.Generator, years: MemberYears, claims: Claims, block: int
    ) -> None:
        self.rng, self.years, self.claims = rng, years, claims
        self.people = years.people
        self.number = block * 10**7 + np.arange(len(claims))
        n_lines = SHAPES.n_lines[claims.template]
        self.claim = np.repeat(np.arange(len(claims)), n_lines)
        self.line = np.arange(len(self.claim)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines)
        self.shape_line = SHAPES.first_line[claims.template[self.claim]] + self.line
        self.member = years.member[claims.row]
        self.managed = self.people.kind[self.member, claims.column] == MANAGED
        plan = self.people.plan[self.member, claims.row % 2]
        self.plan = np.where(self.managed, plan, 0).astype(np.int32)
        self.start_day = self.people.calendar.first_days[claims.column] + claims.day.astype(
            np.int32
        )
        lag = payment_lags(
            rng,
            is_drug=SHAPES.is_drug[claims.template],
            is_institutional=(SHAPES.form == SHAPES.forms.index("institutional"))[claims.template],
            is_managed=self.managed,
        )
        is_assessment = (SHAPES.role == ASSESSMENT)[claims.template]
        lag = np.where(is_assessment, np.int32(_ASSESSMENT_LAG), lag)
        self.paid_day = self.start_day + claims.length.astype(np.int32) + lag
        self.diagnoses = self._diagnoses()
        drawn = rng.integers(0, N_QUANTITIES, len(self.claim))
        self.quantity = SHAPES.line_quantity[self.shape_line, drawn]
        self._price(SHAPES.line_size[self.shape_line, drawn])
        nights = np.clip(claims.length[self.claim], 1, MOST_DAYS)
        is_room = SHAPES.is_room[self.shape_line]
        self.quantity = np.where(is_room, _NIGHTS[nights], self.quantity)

    def _price(self, size: Array) -> None:
        """Included lines share the member-year's dollars exactly; others carry their own price.

        size : float64 a line, its quantity over the mean of its kind
        """
        claims, rng = self.claims, self.rng
        row, column = claims.row[self.claim], claims.column[self.claim]
        price = SHAPES.line_price[self.shape_line] * size
        price *= np.exp(0.35 * rng.standard_normal(len(self.claim)) - 0.06)
        template = claims.template[self.claim]
        calendar = self.people.calendar
        in_year = (column >= MONTHS_BEFORE) & (column < MONTHS_BEFORE + 24)
        included = SHAPES.included[template] & in_year
        # encounters paid nothing, at a price: a plan's own arrangement with the provider
        may_be = np.isin(SHAPES.role, ["other", "extra"])
        quiet = self.managed[self.claim] & may_be[template]
        quiet &= rng.random(len(price)) < ZERO_PAID_SHARE
        included &= ~quiet
        weight = np.where(included, price, 0.0)
        running = np.concatenate([[0.0], np.cumsum(weight)])
        edges = np.searchsorted(row, np.arange(len(self.years.member) + 1))
        begin, end = running[edges[:-1]], running[edges[1:]]
        width = np.where(end > begin, end - begin, 1.0)
        total = self.people.cost_cents[self.years.member, self.years.year].astype(np.float64)
        upto = np.rint((running[1:] - begin[row]) / width[row] * total[row]).astype(np.int64)
        before = np.rint((running[:-1] - begin[row]) / width[row] * total[row]).astype(np.int64)
        growth = np.where(column >= MONTHS_BEFORE + 12, calendar.trend, 1.0)
        growth = growth * self.years.changes.price[row]
        own = np.rint(price * growth * 100).astype(np.int64)
        self.paid_cents = np.where(included, upto - before, own)
        self.included = included
        allowed = np.maximum(self.paid_cents, 0) + np.where(rng.random(len(price)) < 0.06, 300, 0)
        self.paid_cents = np.where(quiet, 0, self.paid_cents)
        self.blank = quiet & (rng.random(len(price)) < 0.3)
        self.allowed_cents = allowed
        self.charge_cents = np.rint(allowed * (1.4 + rng.random(len(price)))).astype(np.int64)
        third = (rng.random(len(price)) < 0.004) & (self.paid_cents > 0)
        third &= SHAPES.role[template] != VOIDED_VISIT
        self.third_party_cents = np.where(third, self.paid_cents // 10, 0)

    def _diagnoses(self) -> NDArray[np.int32]:
        """Codes of every claim, [n_claims, N_DX_SLOTS], -1 where none.

        The member-year's conditions go round over its claims, so that each is stated if there are
        claims enough; likewise over its assessments, of which there always are. Stays, emergency
        visits and preventive ones have the diagnosis that they are for before them.
        """
        claims, years = self.claims, self.years
        carries = SHAPES.carries_dx[claims.template]
        edges = np.searchsorted(claims.row, np.arange(len(years.member)))
        who, which = np.nonzero(conditions_of(years))
        counts = np.bincount(who, minlength=len(years.member))
        first = np.cumsum(counts) - counts
        n = counts[claims.row]
        member = self.member
        out = np.full((len(claims), N_DX_SLOTS), -1, np.int32)
        for states in (carries, (SHAPES.role == ASSESSMENT)[claims.template]):
            running = np.cumsum(states)
            at = np.concatenate([[0], running])[edges]
            rank = running - 1 - at[claims.row]
            for slot in range(N_DX_SLOTS):
                some = np.flatnonzero(states & (slot < n))
                place = first[claims.row[some]] + (N_DX_SLOTS * rank[some] + slot) % n[some]
                condition = which[place]
                variant = (member[some] + condition) % _DX_COUNT[condition]
                out[some, slot] = _DX_FIRST[condition] + variant
        well = carries & (n == 0)
        adult = years.mix[claims.row] > 0
        out[well, 0] = np.where(adult, _WELL + 1, _WELL)[well]
        principal = self._principal()
        some = np.flatnonzero(principal >= 0)
        after = np.minimum(n, N_DX_SLOTS - 1)
        out[some, after[some]] = out[some, 0]
        out[some, 0] = principal[some]
        births, newborns = ((SHAPES.role == role)[claims.template] for role in ("birth", "newborn"))
        out[births, np.minimum(after + 1, N_DX_SLOTS - 1)[births]] = _LIVE_BIRTH
        early = newborns & self.people.premature[member]
        out[early, 1] = _PREMATURE
        return out

    def _principal(self) -> NDArray[np.int32]:
        """What each claim is for, a place in `ALL_DX`, or -1 where it is for what the member has.

        Both claims of an emergency visit are for one diagnosis, a matter of member and day.
        """
        template = self.claims.template
        mixed = self.member * 2_654_435_761 + self.start_day * 40_503
        found = _PRINCIPAL[template, mixed % _PRINCIPAL.shape[1]]
        condition = _CONDITION_OF[template]
        variant = (self.member + condition) % _DX_COUNT[condition]
        found = np.where(condition >= 0, _DX_FIRST[condition] + variant, found)
        urgent = np.isin(SHAPES.role, [EMERGENCY, PHYSICIAN])[template]
        drawn = np.searchsorted(_EMERGENCY_EDGES, (mixed >> 7) % 1009 / 1009, side="right")
        return np.where(urgent, _EMERGENCY_DX[drawn], found).astype(np.int32)
