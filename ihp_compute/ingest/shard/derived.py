"""Tables derived from a shard's retained lines: visits, stays, emergency, drugs; supplied scores.

Decides: which lines are possible visits, what is one stay, when it began and ended and whether it
is a birth, and that an emergency day's diagnosis and a drug stand once a day, with their earliest
payment. Visits, emergency days and drugs are of days on which the member is enrolled: a line that
is retained for another date's sake has none. Not here: diagnoses.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import (
    LINE_ED,
    LINE_INPATIENT,
    LINE_KINDS,
    NO_SCORE,
    NO_STAY,
    STAY_BIRTH,
    VISIT_PAYMENT,
)
from ihp_compute.ingest.findings import BLANK_SCORES, UNMATCHED_SCORES, OffRoster
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.diagnoses import blank_before
from ihp_compute.ingest.shard.rows import (
    Lines,
    Members,
    ShardRows,
    count_by_member,
    record,
    settle_ties,
)
from ihp_compute.population import tables
from ihp_compute.sorting import order_by
from ihp_compute.units import NO_DAY, sums_by
from kernels import key_place, row_pick

_PAYMENTS: Final = np.array([kind in ("capitation", "supplemental") for kind in LINE_KINDS])


def visits(
    lines: Lines, at: NDArray[np.int64], rules: Rules, n_members: int
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Those lines (`possible_visits`) in order of what they say of a day."""
    facts = rules.facts
    payment = _PAYMENTS[lines.column("kind")[at]]
    hospital = lines.column("flags")[at] & (LINE_INPATIENT | LINE_ED)
    member = lines.member[at]
    picked = {
        "day": lines.column("service_day")[at],
        "paid_day": lines.column("paid_day")[at],
        "rendering_npi": lines.column("rendering_npi")[at],
        "billing_npi": lines.column("billing_npi")[at],
        "tin": lines.some("tin", at),
        "hcpcs": lines.column("hcpcs")[at],
        "place": facts.place_number[lines.column("place_of_service")[at]],
        "marks": (hospital | payment * VISIT_PAYMENT).astype(np.uint8),
    }
    order = np.arange(len(at))
    fresh = np.ones(len(at), bool)
    fresh[1:] = (member[1:] != member[:-1]) | (picked["day"][1:] != picked["day"][:-1])
    settle_ties(order, fresh, tuple(picked[name] for name in picked if name != "day"))
    return (
        record(tables.VISITS, {name: values[order] for name, values in picked.items()}),
        count_by_member(member, n_members),
    )


def possible_visits(lines: Lines, rules: Rules) -> NDArray[np.int64]:
    """Medical lines with a procedure at which a person may be seen, of enrolled service months."""
    at = np.flatnonzero(row_pick(rules.facts.possible_visit, None, lines.column("hcpcs")))
    found: NDArray[np.int64] = at[(lines.rows[at] < lines.n_medical) & lines.column("served")[at]]
    return found


def off_roster(lines: Lines, at: NDArray[np.int64], rules: Rules) -> OffRoster:
    """Of possible visits those that are no payment, stay or emergency, by provider off the roster.

    The provider that attributes is the rendering one, else the billing one: a line is off the
    roster where neither is named on any day.
    """
    plain = (lines.column("flags")[at] & (LINE_INPATIENT | LINE_ED)) == 0
    at = at[plain & ~_PAYMENTS[lines.column("kind")[at]]]
    rendering, billing = (lines.column(f"{who}_npi")[at] for who in ("rendering", "billing"))
    off = np.flatnonzero(~rules.rostered[rendering] & ~rules.rostered[billing])
    asked = np.where(rendering[off] > 0, rendering[off], billing[off]).astype(np.int64)
    count = np.bincount(asked, minlength=len(rules.rostered))
    cents = sums_by(asked, lines.column("paid_cents")[at[off]], len(rules.rostered))
    npi = np.flatnonzero(count)
    return OffRoster(
        len(at),
        Counter(dict(zip(npi.tolist(), count[npi].tolist(), strict=True))),
        Counter(dict(zip(npi.tolist(), cents[npi].tolist(), strict=True))),
    )


def stays(
    lines: Lines, rules: Rules, n_members: int
) -> tuple[pa.RecordBatch, NDArray[np.int64], NDArray[np.int32]]:
    """One row per acute inpatient claim: earliest admission, latest discharge, earliest payment.

    Returns
    -------
    stays : RecordBatch
    counts : int64[n_members]
    stay : int32[n_lines]
        Row of `stays` of each line, `NO_STAY` where its claim is none.
    """
    at = np.flatnonzero(lines.column("admitted"))
    rows = lines.rows[at]
    columns = {name: lines.some(name, at) for name in _STAY_COLUMNS}
    _, claim = np.unique(lines.of_row["claim"][rows], return_inverse=True)
    n = int(claim.max(initial=-1)) + 1
    member = np.zeros(n, np.int64)
    member[claim] = lines.member[at]
    admission = least(columns["admission_day"], NO_DAY, claim, n)
    start = least(columns["claim_start_day"], NO_DAY, claim, n)
    admission = np.where(admission == NO_DAY, start, admission)
    discharge = np.full(n, NO_DAY, np.int64)
    np.maximum.at(discharge, claim, columns["discharge_day"])
    end = np.full(n, NO_DAY, np.int64)
    np.maximum.at(end, claim, columns["claim_end_day"])
    discharge = np.where(discharge == NO_DAY, end, discharge)
    paid = np.full(n, np.iinfo(np.int32).max, np.int64)
    np.minimum.at(paid, claim, columns["paid_day"])
    facility = np.where(
        columns["facility_npi"] > 0, columns["facility_npi"], columns["billing_npi"]
    )
    made: dict[str, NDArray[Any]] = {
        "admission_day": admission,
        "discharge_day": discharge,
        "paid_day": paid,
        "facility_npi": least(facility, 0, claim, n),
        "disposition": least(columns["disposition"], 255, claim, n),
        "drg": least(columns["drg"], 0, claim, n),
        "principal_dx": least(columns["principal_dx"], 0, claim, n),
        "marks": _births(lines, rules, rows, claim, n) * np.uint8(STAY_BIRTH),
    }
    # of claims alike in all of this the one whose rows have the least hash, wherever they stand
    content = np.full(n, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(content, claim, lines.raw.numbers["hash_1"][rows])
    order = np.lexsort((content, *(made[name] for name in _STAY_ORDER), member))
    place = np.empty(n, np.int32)
    place[order] = np.arange(n, dtype=np.int32)
    stay = np.full(len(lines.rows), NO_STAY, np.int32)
    stay[at] = place[claim]
    return (
        record(tables.STAYS, {name: values[order] for name, values in made.items()}),
        count_by_member(member[order], n_members),
        stay,
    )


def _births(
    lines: Lines, rules: Rules, rows: NDArray[np.int32], claim: NDArray[np.intp], n: int
) -> NDArray[np.bool_]:
    """Which of n claims, of which each row is one, say on any of these rows that somebody is born.

    bool[n].
    """
    lists = lines.raw.lists["dx"]
    first = lists.starts[rows]
    size = lists.starts[rows + 1] - first
    ends = np.cumsum(size, dtype=np.int64)
    at = np.arange(size.sum()) + np.repeat(first - (ends - size), size)
    found = np.zeros(n, np.bool_)
    found[np.repeat(claim, size)[rules.spilled_facts.birth[lists.codes[at]]]] = True
    return found


def emergency(lines: Lines, n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique day and principal diagnosis of emergency lines outside inpatient claims."""
    flags = lines.column("flags")
    at = np.flatnonzero((flags & (LINE_ED | LINE_INPATIENT)) == LINE_ED)
    member = lines.member[at]
    made = {
        "day": lines.column("service_day")[at],
        "principal_dx": lines.some("principal_dx", at),
        "paid_day": lines.column("paid_day")[at],
    }
    paid, _ = blank_before(made["paid_day"])
    order, fresh = order_by(member, made["day"], made["principal_dx"], paid, kind=3)
    order = order[fresh]
    return (
        record(tables.EMERGENCY, {name: values[order] for name, values in made.items()}),
        count_by_member(member[order], n_members),
    )


def least(values: NDArray[Any], blank: int, claim: NDArray[np.intp], n: int) -> NDArray[np.int64]:
    """The least stated value of each of n claims, `blank` where none is: int64[n].

    What stands for none is int64, whatever the values are: a Python integer beside an array takes
    the array's type, which may be too small for it.
    """
    none = np.iinfo(np.int64).max
    found = np.full(n, none)
    stated = np.flatnonzero(values != blank)
    np.minimum.at(found, claim[stated], values[stated])
    found[found == none] = blank
    return found


_STAY_COLUMNS: Final = (
    "admission_day", "claim_start_day", "discharge_day", "claim_end_day", "paid_day",
    "facility_npi", "billing_npi", "disposition", "drg", "principal_dx",
)  # fmt: skip
_STAY_ORDER: Final = (
    "marks", "principal_dx", "drg", "disposition", "facility_npi", "paid_day", "discharge_day",
    "admission_day",
)  # fmt: skip
"""By which a member's stays are ordered, the first asked last."""


def drugs(lines: Lines, rules: Rules, n_members: int) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Unique drug code and day of a member: NDC of pharmacy lines, drug HCPCS of medical ones."""
    medical = lines.rows < lines.n_medical
    hcpcs, ndc = lines.column("hcpcs"), lines.column("ndc")
    is_drug = row_pick(rules.facts.drug, None, hcpcs)
    at = np.flatnonzero(np.where(medical, is_drug, ndc > 0) & lines.column("served"))
    member, system = lines.member[at], medical[at].astype(np.uint8)
    made = {
        "system": system,
        "code": np.where(system, hcpcs[at], ndc[at]),
        "day": lines.column("service_day")[at],
        "paid_day": lines.column("paid_day")[at],
    }
    paid, _ = blank_before(made["paid_day"])
    order, fresh = order_by(member, system, made["code"], made["day"], paid, kind=4)
    order = order[fresh]
    return (
        record(tables.DRUGS, {name: values[order] for name, values in made.items()}),
        count_by_member(member[order], n_members),
    )


def scores(
    raw: ShardRows, members: Members, rules: Rules, notes: dict[str, int]
) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Supplied scores of known members, by year, model, cell.

    A row with neither score nor cell says nothing: it is counted and left out.
    """
    columns = raw.numbers
    place = key_place(columns["member_key"], members.key)
    known = place >= 0
    if not known.all():
        notes[UNMATCHED_SCORES] = int((~known).sum())
    says = (columns["score_micro"] != NO_SCORE) | (columns["cell"] != 0)
    if not says.all():
        notes[BLANK_SCORES] = int((known & ~says).sum())
        known &= says
    made = {
        "member": place[known].astype(np.int64),
        "year": columns["year"][known],
        "model": rules.final_code["risk_model"][columns["model"][known]],
        "cell": rules.final_code["risk_cell"][columns["cell"][known]],
        "score_micro": columns["score_micro"][known],
    }
    names = ("member", "year", "model", "cell", "score_micro")
    order, fresh = order_by(*(made[name] for name in names))
    if not fresh.all():
        notes["risk scores stated twice alike"] = int((~fresh).sum())
    order = order[fresh]
    made = {name: values[order] for name, values in made.items()}
    return record(tables.SCORES, made), count_by_member(made["member"], len(members.key))
