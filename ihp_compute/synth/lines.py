"""Synthetic claims as raw tables: dollars on lines, adjustments, planted errors, Arrow columns.

    claims -> lines -> dollars -> planted rows -> columns

A member-year's included dollars are given (`People.cost_cents`) and split over the included lines
by relative price, to the cent. Services that contracts leave out, capitation and supplemental
payments, encounters paid nothing, and services in the margins of the window carry dollars of their
own.

Planted rows are added to a clean set, so each has exactly one reason and is counted where it is
made:

    duplicate            a line copied whole
    voided               an original and its reversal; such a pair before a replacement that stays
    superseded           an earlier version of a claim: same number, or named by the later one
    denied               a claim paid nothing, flagged
    unknown_member       a claim of somebody without eligibility
    outside_eligibility  a claim in a month without enrolment
    unreadable           a line whose date or amount is no date or amount (text; a file of its own)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.ledger import IngestFate
from ihp_compute.synth.claims import (
    SHAPES,
    STAY_ROLES,
    Claims,
    MemberYears,
    draw_claims,
)
from ihp_compute.synth.codes import (
    CONDITIONS,
    DELIVERY_CODES,
    DRUGS,
    NEWBORN_CODES,
    PREMATURE_CODES,
    WELL_CODES,
)
from ihp_compute.synth.columns import (
    Array,
    Ints,
    dates,
    decimals,
    dictionary,
    ids,
    raw_table,
    some_ids,
    spoil,
)
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import MANAGED, MONTHS_BEFORE, PLANS, People, generator

DENIED_MARKS: Final = ("N", "Y")
"""Letters, because 0 means denied in some extracts and paid in others."""
_VERSIONS: Final = "CVDUOXLGH"
"""First letter of claim ids: clean and its versions, voided, denied, unknown member, outside
eligibility, unreadable, replaced under another number, gross credit and gross debit."""
_MARKS: Final = ("0", "1", "4", "5", "6")
_ORIGINAL, _VOID, _REPLACEMENT, _CREDIT, _DEBIT = range(len(_MARKS))
"""Adjustment indicators, by position."""
SHARES: Final = {
    "duplicate": 0.0015,
    "superseded": 0.003,
    "voided": 0.001,
    "replaced": 0.001,
    "linked": 0.001,
    "denied": 0.008,
    "unknown": 0.0005,
    "outside": 0.004,
    "unreadable": 0.0001,
}
"""Planted errors per clean claim. `replaced` is a voided pair before a replacement; `linked` a
claim superseded by one of another number, which names it. As many claims again carry a gross debit
and a gross credit of one amount: lines that stay."""


_DX: Final = [code for condition in CONDITIONS for code in condition.codes]
_DX_FIRST: Final = np.cumsum([0] + [len(condition.codes) for condition in CONDITIONS])
_DX_COUNT: Final = np.array([len(condition.codes) for condition in CONDITIONS])
_EXTRA_DX: Final = [*WELL_CODES, *DELIVERY_CODES, *NEWBORN_CODES, *PREMATURE_CODES]
_WELL, _DELIVERY = len(_DX), len(_DX) + len(WELL_CODES)
_NEWBORN_DX = _DELIVERY + len(DELIVERY_CODES)
_PREMATURE = _NEWBORN_DX + len(NEWBORN_CODES)
_ALL_DX: Final = pa.array([*_DX, *_EXTRA_DX])
N_DX_SLOTS: Final = 4


@dataclass(frozen=True)
class Block:
    """What one block of members gives."""

    medical: pa.Table
    pharmacy: pa.Table
    unreadable_medical: pa.Table  # all text
    unreadable_pharmacy: pa.Table
    errors: Mapping[str, int]  # lines by ingest fate, both tables
    retained_lines: int


def claims_block(
    people: People, net: Network, seed: int, block: int, first: int, stop: int
) -> Block:
    """Claims of members `first` to `stop`: a function of its arguments alone."""
    rng = generator(seed, 4, block)
    years = MemberYears.of(people, first, stop)
    claims = draw_claims(rng, years, net).sorted()
    return Lines(rng, years, net, claims, block).tables()


class Lines:
    """Lines of a block's claims with their dollars, the planted rows, and the tables they make.

    A planted row is the position of the clean line behind it and the marks that tell it apart.
    """

    def __init__(
        self, rng: np.random.Generator, years: MemberYears, net: Network, claims: Claims, block: int
    ) -> None:
        self.rng, self.years, self.net, self.claims = rng, years, net, claims
        self.people = years.people
        self.number = block * 10**7 + np.arange(len(claims))
        n_lines = SHAPES.n_lines[claims.template]
        self.claim = np.repeat(np.arange(len(claims)), n_lines)
        self.line = np.arange(len(self.claim)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines)
        self.shape_line = SHAPES.first_line[claims.template[self.claim]] + self.line
        self.member = years.member[claims.row]
        self.managed = self.people.kind[self.member, claims.column] == MANAGED
        self.start_day = self.people.calendar.first_days[claims.column] + claims.day.astype(
            np.int32
        )
        lag = 15 + np.minimum(rng.exponential(22.0, len(claims)), 150).astype(np.int32)
        self.paid_day = self.start_day + claims.length.astype(np.int32) + lag
        self.diagnoses = self._diagnoses()
        self._price()
        self._plant()

    def _price(self) -> None:
        """Included lines share the member-year's dollars exactly; others carry their own price."""
        claims, rng = self.claims, self.rng
        row, column = claims.row[self.claim], claims.column[self.claim]
        price = SHAPES.line_price[self.shape_line] * np.exp(
            0.35 * rng.standard_normal(len(self.claim)) - 0.06
        )
        template = claims.template[self.claim]
        calendar = self.people.calendar
        in_year = (column >= MONTHS_BEFORE) & (column < MONTHS_BEFORE + 24)
        included = SHAPES.included[template] & in_year
        # encounters paid nothing, at a price: a plan's own arrangement with the provider
        role = SHAPES.role[template]
        quiet = self.managed[self.claim] & np.isin(role, ["other", "extra"])
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
        own = np.rint(price * growth * 100).astype(np.int64)
        self.paid_cents = np.where(included, upto - before, own)
        self.included = included
        allowed = np.maximum(self.paid_cents, 0) + np.where(rng.random(len(price)) < 0.06, 300, 0)
        self.paid_cents = np.where(quiet, 0, self.paid_cents)
        self.blank = quiet & (rng.random(len(price)) < 0.3)
        self.allowed_cents = allowed
        self.charge_cents = np.rint(allowed * (1.4 + rng.random(len(price)))).astype(np.int64)
        third = (rng.random(len(price)) < 0.004) & (self.paid_cents > 0)
        self.third_party_cents = np.where(third, self.paid_cents // 10, 0)

    def _plant(self) -> None:
        rng, claims = self.rng, self.claims
        n_claims, n_lines = len(claims), len(self.claim)
        first = np.searchsorted(self.claim, np.arange(n_claims + 1))
        draw = rng.random(n_claims)
        edges = np.cumsum(
            [
                SHARES[k]
                for k in (
                    "superseded",
                    "voided",
                    "replaced",
                    "denied",
                    "unknown",
                    "linked",
                    "linked",
                )
            ]
        )
        what = np.searchsorted(edges, draw, side="right")  # 7: none of them
        self.picks: list[Array] = [np.arange(n_lines)]
        self.marks: list[dict[str, Any]] = [{}]
        self.errors = {fate.label: 0 for fate in IngestFate if fate is not IngestFate.RETAINED}
        # a clean version that replaces another says so
        self.replaces = np.isin(what, [0, 2, 5])
        self.linked = what == 5
        self.beside = 0

        def lines_of(chosen: Array) -> Ints:
            counts = first[chosen + 1] - first[chosen]
            begin = np.repeat(first[chosen], counts)
            return begin + np.arange(len(begin)) - np.repeat(np.cumsum(counts) - counts, counts)

        def plant(fate: IngestFate, pick: Ints, **marks: Any) -> None:
            self.picks.append(pick)
            self.marks.append(marks)
            if fate is IngestFate.RETAINED:
                self.beside += len(pick)
            else:
                self.errors[fate.label] += len(pick)

        plant(
            IngestFate.DUPLICATE,
            np.flatnonzero(rng.random(n_lines) < SHARES["duplicate"]),
            copy=True,
        )
        pick = lines_of(np.flatnonzero(what == 0))
        factor = 0.6 + 0.3 * rng.random(len(pick))
        plant(
            IngestFate.SUPERSEDED,
            pick,
            paid=np.rint(self.paid_cents[pick] * factor).astype(np.int64),
            later=-10,
        )
        pick = lines_of(np.flatnonzero(what == 1))
        plant(IngestFate.VOIDED, pick, letter="V")
        # some reversals say what they are only by their amount
        silent = (self.paid_cents[pick] > 0) & (self.number[self.claim[pick]] % 2 == 0)
        mark = np.where(silent, -1, _VOID)
        plant(IngestFate.VOIDED, pick, letter="V", reverse=True, mark=mark, later=20)
        pick = lines_of(np.flatnonzero(what == 2))
        paid = self.paid_cents[pick] + 1_250
        plant(IngestFate.VOIDED, pick, paid=paid, later=-13)
        plant(IngestFate.VOIDED, pick, paid=paid, reverse=True, mark=_VOID, later=-7)
        pick = lines_of(np.flatnonzero(what == 5))
        plant(IngestFate.SUPERSEDED, pick, letter="L", later=-12)
        inpatient = np.isin(SHAPES.role[claims.template], STAY_ROLES)
        pick = first[np.flatnonzero((what == 6) & ~inpatient)]
        paid = np.full(len(pick), 2_500)
        plant(IngestFate.RETAINED, pick, letter="G", paid=-paid, mark=_CREDIT, later=30)
        plant(IngestFate.RETAINED, pick, letter="H", paid=paid, mark=_DEBIT, later=30)
        plant(IngestFate.DENIED, lines_of(np.flatnonzero(what == 3)), letter="D", denied=True)
        plant(
            IngestFate.UNKNOWN_MEMBER, lines_of(np.flatnonzero(what == 4)), letter="U",
            stranger=True,
        )  # fmt: skip
        self._plant_outside(lines_of, plant)
        chosen = np.flatnonzero(rng.random(n_claims) < SHARES["unreadable"])
        self.unreadable = first[chosen]  # the first line of each
        self.errors[IngestFate.UNREADABLE.label] += len(chosen)

    def _plant_outside(self, lines_of: Callable[[Array], Ints], plant: Callable[..., None]) -> None:
        """Claims moved into a month of the window in which the member is not enrolled."""
        enrolled = self.people.enrolled[self.member]
        draw = self.rng.random(len(self.claims))
        away = ~enrolled.all(1)
        share = SHARES["outside"] / max(float(away.mean()), 1e-9)
        chosen = np.flatnonzero(away & (draw < min(share, 0.5)))
        u = self.rng.random((len(chosen), enrolled.shape[1]))
        column = np.where(enrolled[chosen], -1.0, u).argmax(1)
        shift = self.people.calendar.first_days[column] + 9 - self.start_day[chosen]
        by_claim = np.zeros(len(self.claims), np.int32)
        by_claim[chosen] = shift
        pick = lines_of(chosen)
        plant(IngestFate.OUTSIDE_ELIGIBILITY, pick, letter="O", shift=by_claim[self.claim[pick]])

    # -- columns

    def tables(self) -> Block:
        """Clean and planted rows as raw tables."""
        pick = np.concatenate(self.picks)
        n = len(pick)
        sizes = [len(part) for part in self.picks]
        paid = self.paid_cents[pick]
        allowed = self.allowed_cents[pick]
        paid_day = self.paid_day[self.claim[pick]]
        shift = np.zeros(n, np.int32)
        letter = np.zeros(n, np.int32)
        adjusted = np.where(self.replaces[self.claim[pick]], _REPLACEMENT, 0).astype(np.int32)
        denied = np.zeros(n, bool)
        stranger = np.zeros(n, bool)
        blank = self.blank[pick]
        begin = 0
        for size, marks in zip(sizes, self.marks, strict=True):
            part = slice(begin, begin + size)
            begin += size
            if not marks or "copy" in marks:
                continue
            adjusted[part] = marks.get("mark", _ORIGINAL)
            letter[part] = _VERSIONS.index(marks.get("letter", "C"))
            paid[part] = marks.get("paid", paid[part])
            if "paid" in marks or marks.get("reverse"):
                blank[part] = False
            if "reverse" in marks:
                paid[part], allowed[part] = -paid[part], -allowed[part]
            if "denied" in marks:
                paid[part], denied[part] = 0, True
            stranger[part] = "stranger" in marks
            shift[part] = marks.get("shift", 0)
            paid_day[part] += marks.get("later", 0)
        out = _Output(
            pick, letter, adjusted, denied, stranger, blank, shift, paid, allowed, paid_day + shift
        )
        drug = SHAPES.role[self.claims.template[self.claim[pick]]] == "drug"
        wrong = _Output.clean(self, self.unreadable, _VERSIONS.index("X"))
        wrong_drug = SHAPES.role[self.claims.template[self.claim[self.unreadable]]] == "drug"
        return Block(
            self._medical(out.take(np.flatnonzero(~drug))),
            self._pharmacy(out.take(np.flatnonzero(drug))),
            spoil(self._medical(wrong.take(np.flatnonzero(~wrong_drug))), "claim_start_date"),
            spoil(self._pharmacy(wrong.take(np.flatnonzero(wrong_drug))), "dispensing_date"),
            self.errors,
            len(self.claim) + self.beside,
        )

    def _shared(self, out: _Output) -> dict[str, pa.Array]:
        claim = self.claim[out.pick]
        member = self.member[claim]
        plan = np.where(
            self.managed[claim], self.people.plan[member, self.claims.row[claim] % 2], 0
        ).astype(np.int32)
        role = SHAPES.role[self.claims.template]
        kind = np.where(self.managed, 2, 0)
        kind = np.where(role == "capitation", 1, np.where(role == "supplement", 3, kind))
        number = self.number[claim]
        letters = np.frombuffer(_VERSIONS.encode(), np.uint8)
        first, stop = int(self.years.member[0]), int(self.years.member[-1]) + 1
        known = np.arange(first, stop)
        persons = pa.concat_arrays(
            [ids(np.full(len(known), ord(c), np.uint8), known) for c in "PX"]
        )
        is_adjusted = (out.adjusted == _VOID) | (out.adjusted == _REPLACEMENT)
        replaced = np.where(self.linked[claim] & is_adjusted, _VERSIONS.index("L"), out.letter)
        return {
            "claim_id": ids(letters[out.letter], number),
            "claim_line_number": dictionary(
                self.line[out.pick], pa.array([str(k) for k in range(1, 11)])
            ),
            "person_id": dictionary(member - first + len(known) * out.stranger, persons),
            "payer": dictionary(claim * 0, pa.array(["STATE"])),
            "plan": dictionary(plan, pa.array(["FFS", *PLANS[1:]])),
            "paid_date": dates(out.paid_day),
            "paid_amount": decimals(out.paid_cents, ~out.blank),
            "allowed_amount": decimals(out.allowed_cents),
            "charge_amount": decimals(self.charge_cents[out.pick]),
            "data_source": dictionary(claim * 0, pa.array(["synthetic"])),
            "x_mc_plan_id": dictionary(plan - 1, pa.array(PLANS[1:])),
            "x_clm_type_cd": dictionary(kind[claim], pa.array(["1", "2", "3", "4"])),
            "x_adjstmt_ind": dictionary(out.adjusted, pa.array(_MARKS)),
            "x_orgnl_clm_num": some_ids(is_adjusted, letters[replaced], number),
            "x_adjstmt_clm_num": some_ids(
                is_adjusted, np.full(len(claim), ord("A"), np.uint8), number
            ),
            "x_clm_dnd_ind": dictionary(out.denied, pa.array(DENIED_MARKS)),
            "x_tpl_amt": decimals(self.third_party_cents[out.pick]),
        }

    def _medical(self, out: _Output) -> pa.Table:
        claims, net = self.claims, self.net
        claim = self.claim[out.pick]
        template = claims.template[claim]
        start = self.start_day[claim] + out.shift
        end = start + claims.length[claim].astype(np.int32)
        inpatient = np.isin(SHAPES.role[template], STAY_ROLES)
        rendering, billing = claims.rendering[claim], claims.billing[claim]
        institutional = SHAPES.form[template] == 1
        shared = self._shared(out)
        diagnoses = self.diagnoses[claim]
        line_dates = self.number[claim] % 5 != 0  # one claim in five states dates once, for all
        columns = {
            "claim_id": shared.pop("claim_id"),
            "claim_line_number": shared.pop("claim_line_number"),
            "claim_type": dictionary(SHAPES.form[template], pa.array(SHAPES.forms)),
            "person_id": shared.pop("person_id"),
            "claim_start_date": dates(start),
            "claim_end_date": dates(end),
            "claim_line_start_date": dates(start, line_dates),
            "claim_line_end_date": dates(end, line_dates),
            "admission_date": dates(start, inpatient),
            "discharge_date": dates(end, inpatient),
            "discharge_disposition_code": dictionary(
                np.where(inpatient, (self.number[claim] % 11 == 0) * 1, -1),
                pa.array(["01", "06"]),
            ),
            "place_of_service_code": dictionary(SHAPES.place[template], pa.array(SHAPES.places)),
            "bill_type_code": dictionary(SHAPES.bill[template], pa.array(SHAPES.bills)),
            "drg_code_type": dictionary(
                np.where(SHAPES.drg[template] >= 0, 0, -1), pa.array(["ms-drg"])
            ),
            "drg_code": dictionary(SHAPES.drg[template], pa.array(SHAPES.drgs)),
            "revenue_center_code": dictionary(
                SHAPES.line_revenue[self.shape_line[out.pick]], pa.array(SHAPES.revenues)
            ),
            "service_unit_quantity": dictionary(claim * 0, pa.array(["1"])),
            "hcpcs_code": dictionary(
                SHAPES.line_hcpcs[self.shape_line[out.pick]], pa.array(SHAPES.hcpcs)
            ),
            "rendering_npi": dictionary(np.where(institutional, -1, rendering), net.npis),
            "billing_npi": dictionary(billing, net.npis),
            "billing_tin": dictionary(net.tin_of_npi[billing], net.tins),
            "facility_npi": dictionary(np.where(institutional, billing, -1), net.npis),
            "diagnosis_code_type": dictionary(
                np.where(diagnoses[:, 0] >= 0, 0, -1), pa.array(["icd-10-cm"])
            ),
        }
        for slot in range(N_DX_SLOTS):
            columns[f"diagnosis_code_{slot + 1}"] = dictionary(diagnoses[:, slot], _ALL_DX)
        return raw_table("medical_claim", {**columns, **shared})

    def _pharmacy(self, out: _Output) -> pa.Table:
        claims, net = self.claims, self.net
        claim = self.claim[out.pick]
        product = (claims.template[claim] - SHAPES.n_templates).astype(np.int32)
        shared = self._shared(out)
        supply = np.array([drug.days_supply for drug in DRUGS])[product]
        supplies = sorted({drug.days_supply for drug in DRUGS})
        known = pa.array([str(days) for days in supplies])
        position = np.searchsorted(supplies, supply)
        return raw_table(
            "pharmacy_claim",
            {
                "claim_id": shared.pop("claim_id"),
                "claim_line_number": shared.pop("claim_line_number"),
                "person_id": shared.pop("person_id"),
                "prescribing_provider_npi": dictionary(claims.rendering[claim], net.npis),
                "dispensing_provider_npi": dictionary(claims.billing[claim], net.npis),
                "dispensing_date": dates(self.start_day[claim] + out.shift),
                "ndc_code": dictionary(product, pa.array([drug.ndc for drug in DRUGS])),
                "quantity": dictionary(position, known),
                "days_supply": dictionary(position, known),
                **shared,
            },
        )

    def _diagnoses(self) -> NDArray[np.int32]:
        """Codes of every claim, [n_claims, N_DX_SLOTS], -1 where none.

        The member-year's conditions go round over its claims, so that each is stated if there are
        claims enough.
        """
        claims, years = self.claims, self.years
        carries = SHAPES.carries_dx[claims.template]
        running = np.cumsum(carries)
        edges = np.searchsorted(claims.row, np.arange(len(years.member)))
        at = np.concatenate([[0], running])[edges]
        rank = running - 1 - at[claims.row]
        bits = self.people.conditions[years.member, years.year]
        have = (bits[:, None] >> np.arange(len(CONDITIONS), dtype=np.uint64)) & np.uint64(1)
        who, which = np.nonzero(have)
        counts = np.bincount(who, minlength=len(years.member))
        first = np.cumsum(counts) - counts
        n = counts[claims.row]
        member = self.member
        out = np.full((len(claims), N_DX_SLOTS), -1, np.int32)
        for slot in range(N_DX_SLOTS):
            some = np.flatnonzero(carries & (slot < n))
            place = first[claims.row[some]] + (N_DX_SLOTS * rank[some] + slot) % n[some]
            condition = which[place]
            variant = (member[some] + condition) % _DX_COUNT[condition]
            out[some, slot] = _DX_FIRST[condition] + variant
        role = SHAPES.role[claims.template]
        well = carries & (n == 0)
        adult = years.mix[claims.row] > 0
        out[well, 0] = np.where(adult, _WELL + 1, _WELL)[well]
        out[role == "birth", 0] = _DELIVERY
        out[role == "newborn", 0] = _NEWBORN_DX
        early = (role == "newborn") & self.people.premature[member]
        out[early, 1] = _PREMATURE
        return out


@dataclass(frozen=True)
class _Output:
    """What distinguishes output lines from the clean lines behind them."""

    pick: Ints
    letter: NDArray[np.int32]
    adjusted: NDArray[np.int32]  # position in `_MARKS`; -1 not stated
    denied: NDArray[np.bool_]
    stranger: NDArray[np.bool_]
    blank: NDArray[np.bool_]
    shift: NDArray[np.int32]  # days
    paid_cents: Ints
    allowed_cents: Ints
    paid_day: NDArray[np.int32]

    @classmethod
    def clean(cls, lines: Lines, pick: Ints, letter: int) -> _Output:
        n = len(pick)
        off = np.zeros(n, bool)
        zero = np.zeros(n, np.int32)
        return cls(
            pick, np.full(n, letter, np.int32), zero, off, off, off, zero,
            lines.paid_cents[pick], lines.allowed_cents[pick], lines.paid_day[lines.claim[pick]],
        )  # fmt: skip

    def take(self, order: Array) -> _Output:
        return _Output(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


ZERO_PAID_SHARE: Final = 0.03
