"""Claims of a block of members as raw tables: rows, clean and planted, as columns.

    claims and decoys -> lines -> planting -> columns

Which columns a file may have, and of which types, is declared in `input_columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.synth.answers import Answers
from ihp_compute.synth.claims import draw_claims
from ihp_compute.synth.codes import CAPITATION_VISIT, DRUGS, SUPPLEMENT_VISIT
from ihp_compute.synth.columns import (
    dates,
    decimals,
    dictionary,
    filled,
    ids,
    raw_table,
    some_ids,
    spoil,
)
from ihp_compute.synth.decoys import with_decoys
from ihp_compute.synth.histories import (
    ADJUSTMENT_LETTER,
    FILLERS,
    FREQUENCIES,
    LETTERS,
    MARKS,
    SPELLINGS,
)
from ihp_compute.synth.lines import ALL_DX, Lines
from ihp_compute.synth.member_years import DISPOSITIONS, MemberYears
from ihp_compute.synth.network import Network
from ihp_compute.synth.people import PLANS, People, generator
from ihp_compute.synth.planting import DATES, LINE_HEADER, NONE, Rows, plant
from ihp_compute.synth.shapes import N_DX_SLOTS, SHAPES

DENIED_MARKS: Final = ("N", "Y")
"""Letters, because 0 means denied in some extracts and paid in others."""
_MOST_LINES: Final = 10
_LINES: Final = pa.array(
    [spelling.format(k + 1) for spelling in SPELLINGS for k in range(_MOST_LINES)] + ["0"]
)
_LETTERS: Final = np.frombuffer(LETTERS.encode(), np.uint8)
_BILLS: Final = pa.array([bill[:-1] + last for last in FREQUENCIES for bill in SHAPES.bills])
_QUANTITIES: Final = pa.array(SHAPES.quantities)
_PLANS: Final = pa.array(["FFS", *PLANS[1:]])
_PAYMENTS: Final = ((("capitation", CAPITATION_VISIT), 1), (("supplement", SUPPLEMENT_VISIT), 3))
"""Roles of lines that are no service, and the place of their claim type."""


@dataclass(frozen=True)
class Block:
    """What one block of members gives.

    medical, pharmacy : raw tables
    unreadable_medical, unreadable_pharmacy : likewise, all text
    medical_kinds, pharmacy_kinds : int8 a row, place in `histories.PLANTED`, or `planting.NONE`
    answers : what must come out of all of them
    """

    medical: pa.Table
    pharmacy: pa.Table
    unreadable_medical: pa.Table
    unreadable_pharmacy: pa.Table
    medical_kinds: NDArray[np.int8]
    pharmacy_kinds: NDArray[np.int8]
    answers: Answers


def claims_block(
    people: People,
    net: Network,
    seed: int,
    block: int,
    first: int,
    stop: int,
    *,
    through_day: int,
) -> Block:
    """Claims of members `first` to `stop` paid through a day: a function of its arguments alone."""
    rng = generator(seed, 4, block)
    years = MemberYears.of(people, first, stop)
    claims = with_decoys(rng, years, net, draw_claims(rng, years, net)).sorted()
    lines = Lines(rng, years, claims, block)
    planted = plant(rng, lines, through_day)
    tables = _Tables(lines, net)
    is_drug = SHAPES.is_drug[claims.template]
    medical, pharmacy, wrong, wrong_drug = (
        rows.take(np.flatnonzero(is_drug[lines.claim[rows.pick]] == pharmacy))
        for rows in (planted.rows, planted.unreadable)
        for pharmacy in (False, True)
    )
    return Block(
        tables.medical(medical),
        tables.pharmacy(pharmacy),
        spoil(tables.medical(wrong), "claim_start_date"),
        spoil(tables.pharmacy(wrong_drug), "dispensing_date"),
        medical.kind,
        pharmacy.kind,
        planted.answers,
    )


class _Tables:
    """Columns of a block's rows."""

    def __init__(self, lines: Lines, net: Network) -> None:
        self.lines, self.net = lines, net

    def _shared(self, rows: Rows) -> dict[str, pa.Array]:
        lines, marks = self.lines, rows.marks
        claim = lines.claim[rows.pick]
        member = lines.member[claim]
        plan = lines.plan[claim]
        plan = np.where(rows.other_plan, plan % (len(PLANS) - 1) + 1, plan)
        template = lines.claims.template
        kind = np.where(lines.managed, 2, 0)
        for roles, of in _PAYMENTS:
            kind[np.isin(SHAPES.role, roles)[template]] = of
        number = lines.number[claim]
        first, stop = int(lines.years.member[0]), int(lines.years.member[-1]) + 1
        known = np.arange(first, stop)
        persons = pa.concat_arrays(
            [ids(np.full(len(known), ord(c), np.uint8), known) for c in "PX"]
        )
        names = marks.names >= 0
        named = np.where(marks.names == marks.bears, rows.number, number)
        adjusts = names & (marks.mark >= 0)
        line = rows.line + _MOST_LINES * marks.spelling
        header = np.where(number % 2 == 0, len(_LINES) - 1, NONE)
        filler = pa.array(FILLERS)
        return {
            "claim_id": ids(_LETTERS[marks.bears], rows.number),
            "claim_line_number": dictionary(
                np.where(rows.line == LINE_HEADER, header, line), _LINES
            ),
            "person_id": dictionary(member - first + len(known) * rows.is_stranger, persons),
            "payer": dictionary(claim * 0, pa.array(["STATE"])),
            "plan": dictionary(plan, _PLANS),
            "paid_date": dates(rows.paid_day),
            "paid_amount": decimals(rows.paid_cents, ~rows.is_blank),
            "allowed_amount": decimals(rows.allowed_cents),
            "charge_amount": decimals(lines.charge_cents[rows.pick]),
            "data_source": dictionary(claim * 0, pa.array(["synthetic"])),
            "file_date": dates(rows.file_day),
            "x_mc_plan_id": dictionary(plan - 1, pa.array(PLANS[1:])),
            "x_clm_type_cd": dictionary(kind[claim], pa.array(["1", "2", "3", "4"])),
            "x_adjstmt_ind": dictionary(marks.mark, pa.array(MARKS)),
            "x_orgnl_clm_num": filled(
                some_ids(names, _LETTERS[marks.names], named), rows.filler, filler
            ),
            "x_adjstmt_clm_num": filled(
                some_ids(adjusts, np.full(len(claim), ord(ADJUSTMENT_LETTER), np.uint8), number),
                rows.filler, filler,
            ),
            "x_clm_dnd_ind": dictionary(rows.is_denied, pa.array(DENIED_MARKS)),
            "x_tpl_amt": decimals(lines.third_party_cents[rows.pick]),
        }  # fmt: skip

    def medical(self, rows: Rows) -> pa.Table:
        """Rows as `medical_claim`."""
        lines, claims, net = self.lines, self.lines.claims, self.net
        claim = lines.claim[rows.pick]
        template = claims.template[claim]
        start = lines.start_day[claim] + rows.shift
        end = start + claims.length[claim].astype(np.int32)
        inpatient = SHAPES.is_stay[template]
        rendering, billing = claims.rendering[claim], claims.billing[claim]
        institutional = SHAPES.form[template] == 1
        shared = self._shared(rows)
        diagnoses = lines.diagnoses[claim]
        line_dates = lines.number[claim] % 5 != 0  # one claim in five states dates once, for all
        starts = rows.marks.dates != DATES.index("end")
        ends = rows.marks.dates != DATES.index("start")
        bill = SHAPES.bill[template]
        columns = {
            "claim_id": shared.pop("claim_id"),
            "claim_line_number": shared.pop("claim_line_number"),
            "claim_type": dictionary(SHAPES.form[template], pa.array(SHAPES.forms)),
            "person_id": shared.pop("person_id"),
            "claim_start_date": dates(start, starts),
            "claim_end_date": dates(end, ends),
            "claim_line_start_date": dates(start, line_dates & starts),
            "claim_line_end_date": dates(end, line_dates & ends),
            "admission_date": dates(start, inpatient & starts),
            "discharge_date": dates(end, inpatient & ends),
            "discharge_disposition_code": dictionary(
                claims.disposition[claim], pa.array(DISPOSITIONS)
            ),
            "place_of_service_code": dictionary(SHAPES.place[template], pa.array(SHAPES.places)),
            "bill_type_code": dictionary(
                np.where(bill >= 0, bill + len(SHAPES.bills) * rows.marks.frequency, NONE), _BILLS
            ),
            "drg_code_type": dictionary(
                np.where(SHAPES.drg[template] >= 0, 0, -1), pa.array(["ms-drg"])
            ),
            "drg_code": dictionary(SHAPES.drg[template], pa.array(SHAPES.drgs)),
            "revenue_center_code": dictionary(
                SHAPES.line_revenue[lines.shape_line[rows.pick]], pa.array(SHAPES.revenues)
            ),
            "service_unit_quantity": dictionary(lines.quantity[rows.pick], _QUANTITIES),
            "hcpcs_code": dictionary(
                SHAPES.line_hcpcs[lines.shape_line[rows.pick]], pa.array(SHAPES.hcpcs)
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
            columns[f"diagnosis_code_{slot + 1}"] = dictionary(diagnoses[:, slot], ALL_DX)
        return raw_table("medical_claim", {**columns, **shared})

    def pharmacy(self, rows: Rows) -> pa.Table:
        """Rows as `pharmacy_claim`."""
        lines, claims, net = self.lines, self.lines.claims, self.net
        claim = lines.claim[rows.pick]
        product = (claims.template[claim] - SHAPES.n_templates).astype(np.int32)
        shared = self._shared(rows)
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
                "dispensing_date": dates(lines.start_day[claim] + rows.shift),
                "ndc_code": dictionary(product, pa.array([drug.ndc for drug in DRUGS])),
                "quantity": dictionary(lines.quantity[rows.pick], _QUANTITIES),
                "days_supply": dictionary(position, known),
                **shared,
            },
        )
