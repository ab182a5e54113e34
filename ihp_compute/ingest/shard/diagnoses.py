"""Diagnoses of a shard's retained lines: of which claim each is, and on which day.

A diagnosis is one of its whole claim, wherever the claim writes it, on the claim's through date:
the last day that its lines state. CMS filters so (memo "Final Encounter Data Diagnosis Filtering
Logic", 22 December 2015): the through date lies in the year of collection, and one line with a
service that counts makes all diagnoses of the record count. Kept is what a filter must know of the
claim, its source (`codes.diagnosis_source`); which sources count is a term of the contract.

Decided here: the form of a claim, what it is for, its principal diagnosis, and that a diagnosis
stands once a day and source, with its earliest payment.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import (
    DIAGNOSIS_FORMS,
    DIAGNOSIS_SERVICES,
    NO_DIAGNOSIS,
    SERVED_FORMS,
    SERVICE_CATEGORIES,
    diagnosis_source,
)
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.service_categories import CLAIM_TYPES, NO_CATEGORY, CodeFacts
from ihp_compute.ingest.shard.rows import (
    Columns,
    Lines,
    Lists,
    ShardRows,
    any_of,
    count_by_member,
    record,
)
from ihp_compute.population import tables
from ihp_compute.sorting import WORD_BITS, fields, order_by, packed, width
from ihp_compute.units import NO_DAY
from kernels import least_words, list_words, row_pick

_SERVICE_OF: Final = {
    "laboratory": "laboratory",
    "radiology": "imaging",
    "transport_emergency": "transport",
    "transport_non_emergency": "transport",
    "supplies": "equipment",
}
_SERVICES: Final = np.array(
    [DIAGNOSIS_SERVICES.index(_SERVICE_OF.get(name, "any")) for name in SERVICE_CATEGORIES],
    np.uint8,
)
"""What a line is for, by its category."""
_ANY: Final = DIAGNOSIS_SERVICES.index("any")
_FORM: Final = {name: DIAGNOSIS_FORMS.index(name) for name in DIAGNOSIS_FORMS}
_SOURCE: Final = np.array([diagnosis_source(form) for form in DIAGNOSIS_FORMS], np.uint8)
_SERVED: Final = np.isin(DIAGNOSIS_FORMS, SERVED_FORMS)
_OTHER_CLAIMS: Final = np.isin(CLAIM_TYPES, ("dental", "vision", "pharmacy"))


def sources(
    raw: ShardRows,
    claim: NDArray[np.int64],
    retained: NDArray[np.bool_],
    category: NDArray[np.uint8],
    admitted: NDArray[np.bool_],
    facts: CodeFacts,
) -> NDArray[np.uint8]:
    """Source of the diagnoses of each medical row: `codes.diagnosis_source`, or `NO_DIAGNOSIS`.

    claim is the first row of each row's claim. A claim's service is "any" as soon as one of its
    retained lines is for no service that rules out or delivers; else the first of those it has.
    """
    form = _forms(raw.numbers, claim, retained, admitted, facts)
    service = _SERVICES.take(category)
    out = any_of(claim, (service != _ANY) & retained)
    if out.any():
        out &= ~any_of(claim, (service == _ANY) & retained)
        rows = np.flatnonzero(out & retained)
        least = np.full(raw.n, _ANY, np.uint8)
        least[claim[rows]] = len(DIAGNOSIS_SERVICES)
        np.minimum.at(least, claim[rows], service[rows])
        service = least.take(claim)
    else:
        service[:] = _ANY
    found = _SOURCE.take(form)
    found += np.where(_SERVED.take(form), service, np.uint8(0))
    starts = raw.lists["dx"].starts
    found[~any_of(claim, (starts[1:] > starts[:-1]) & retained)] = NO_DIAGNOSIS
    return found


def _forms(
    columns: Columns,
    claim: NDArray[np.int64],
    retained: NDArray[np.bool_],
    admitted: NDArray[np.bool_],
    facts: CodeFacts,
) -> NDArray[np.uint8]:
    """Form of each row's claim, a place in `DIAGNOSIS_FORMS`."""
    kind = columns["claim_type"]
    billed = row_pick(facts.diagnosis_bill, None, columns["bill_type"])
    institutional = kind == CLAIM_TYPES.index("institutional")
    institutional |= (kind == 0) & ((columns["bill_type"] > 0) | (columns["revenue"] > 0))
    silent = institutional & (billed == NO_CATEGORY)
    if silent.any():  # the bill type of another line of the claim
        for name in ("other_bill", "outpatient", "inpatient"):
            stated = any_of(claim, institutional & retained & (billed == _FORM[name]))
            billed[silent & stated] = _FORM[name]
        silent &= billed == NO_CATEGORY
    form = np.full(len(kind), _FORM["professional"], np.uint8)
    form[_OTHER_CLAIMS.take(kind)] = _FORM["other_claim"]
    np.copyto(form, billed, where=institutional)
    form[silent] = _FORM["unbilled"]
    form[silent & admitted] = _FORM["unbilled_stay"]
    return form


def through_days(
    raw: ShardRows, claim: NDArray[np.int64], retained: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Through date of each row's claim: the last day that its retained lines state for it."""
    end: NDArray[np.int32] = raw.numbers["claim_end_day"]
    differs = end != end.take(claim)
    if not differs.any():
        return end
    rows = np.flatnonzero(any_of(claim, differs) & retained)
    last = end.copy()
    last[claim[rows]] = end[rows]  # any of its own, whatever the first row says
    np.maximum.at(last, claim[rows], end[rows])
    last[rows] = last[claim[rows]]
    return last


def principal_diagnoses(
    raw: ShardRows,
    claim: NDArray[np.int64],
    retained: NDArray[np.bool_],
    final: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Principal diagnosis of each row's claim, by provisional number; 0 where none is stated.

    Of several that its retained lines state, the first by code.
    """
    stated: NDArray[np.int32] = raw.numbers["principal_dx"]
    differs = stated != stated.take(claim)
    if not differs.any():
        return stated
    rows = np.flatnonzero(any_of(claim, differs) & retained)
    none = np.iinfo(np.int32).max
    codes = final.take(stated[rows])
    codes[codes == 0] = none
    first = np.full(raw.n, none, np.int32)
    np.minimum.at(first, claim[rows], codes)
    provisional = np.argsort(final).astype(np.int32)
    of_claim = first.take(claim[rows])
    found = stated.copy()
    found[rows] = np.where(
        of_claim == none, 0, provisional.take(np.minimum(of_claim, len(final) - 1))
    )
    return found


def diagnoses(
    lines: Lines, rules: Rules, n_members: int
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique diagnosis, day and source of each member, with the earliest paid day of them."""
    raw, retained = lines.raw, lines.of_row["retained"]
    if not len(lines.rows):
        return record(tables.DIAGNOSES, _NO_PAIRS), np.zeros(n_members, np.int64)
    # other rows go behind the last member
    member = np.where(retained, lines.of_row["member"], n_members)
    day = np.where(
        retained, lines.of_row["through_day"], lines.some("through_day", np.zeros(1, np.intp))[0]
    )
    paid, blank = blank_before(raw.numbers["paid_day"])
    found = _earliest_pairs(
        member, day, lines.of_row["source"], paid, raw.lists["dx"], rules.final_code["dx"]
    )
    stop = np.searchsorted(found["member"], n_members)
    made = {name: values[:stop] for name, values in found.items()}
    made["paid_day"][made["paid_day"] == blank] = NO_DAY
    return record(tables.DIAGNOSES, made), count_by_member(made["member"], n_members)


def blank_before(paid: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Paid days whose blank is a day before all stated ones, and that day."""
    stated = paid != NO_DAY
    if stated.all():
        return paid, NO_DAY
    first = int(paid.min(where=stated, initial=np.iinfo(np.int32).max)) - 1
    return np.where(stated, paid, np.int32(first)), first


def _earliest_pairs(
    member: NDArray[np.int32],
    day: NDArray[np.int32],
    source: NDArray[np.uint8],
    paid: NDArray[np.int32],
    lists: Lists,
    final: NDArray[np.int32],
) -> Columns:
    """Distinct member, diagnosis, day and source in order, and the least paid day of each.

    member, day, source, paid and lists are of rows; final gives the diagnosis of each code listed.
    """
    columns = (member, day, source.astype(np.int32), paid)
    ranges = [(values.min(), values.max()) for values in columns]
    made = fields(ranges[0], (0, len(final)), *ranges[1:])
    names = ("member", "dx", "day", "source", "paid_day")
    if width(made) > WORD_BITS:
        n_codes = np.diff(lists.starts)
        dx = final.take(lists.codes[lists.starts[0] : lists.starts[-1]])
        each = [values.repeat(n_codes) for values in columns]
        pairs = (each[0], dx, *each[1:])
        order, fresh = order_by(*pairs, kind=4)
        order = order[fresh]
        return {name: values[order] for name, values in zip(names, pairs, strict=True)}
    rows = packed((made[0], *made[2:]), columns)
    parts = packed((made[1],), (final,))
    words = list_words(rows, lists.starts, lists.codes, parts)
    words = least_words(words, width(made), made[3].shift)
    return {name: part.values(words) for name, part in zip(names, made, strict=True)}


_NO_PAIRS: Final = {name: np.empty(0, np.int32) for name in tables.DIAGNOSES.names}
