"""Whose diagnoses score: those of which claims, known by which day, and what is left out and why.

    rule of the contract, else of the model -> sources that count -> rows of `diagnoses`

`all` takes the diagnoses of every claim. `risk_adjustable` takes stays (bill types 11x, 41x),
outpatient claims (13x, 71x, 76x, 77x, 85x, 87x) and professional claims, but for those that are
for laboratory, imaging, transport or equipment alone. A user's list of procedures takes, of
outpatient and professional claims, those that have a line with one of them, whatever it is for.
Claims of institutions without a bill type are counted as what they look like, or left out.

Which claim a diagnosis is of, ingest decides (`ingest.shard.diagnoses`). A list is held against the
lines in the population's cold record, which a run reads for this alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import (
    DIAGNOSIS_SERVICES,
    NO_DIAGNOSIS,
    SERVED_FORMS,
    diagnosis_source,
)
from ihp_compute.contracts import EVERY_CLAIM, LEAVE_OUT, RISK_ADJUSTABLE
from ihp_compute.errors import RiskModelError
from ihp_compute.population import Shard, ShardColumns, text_hashes
from ihp_compute.risk.eligible_codes import read_eligible_codes
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.units import sums_by

LIST: Final = "list"
REASONS: Final = (
    "", *DIAGNOSIS_SERVICES[1:], "bill_type", "claim_type", "no_bill_type", "not_on_list",
)  # fmt: skip
"""Why the diagnoses of a claim are left out; the first: they are not."""
LEFT_OUT_REASONS: Final = REASONS[1:]
_REASON: Final = {name: REASONS.index(name) for name in REASONS}


@dataclass(frozen=True)
class LeftOut:
    """What a filter left out of the diagnoses of some members in a year, by place in `REASONS`.

    diagnoses : int64[n_reasons], member, diagnosis and day that no claim that counts carries
    paid_cents : int64[n_reasons], paid for the lines of claims whose diagnoses are left out
    unbilled : how many count and stand on claims without a bill type alone
    unbilled_cents : paid for the lines of claims without one whose diagnoses count
    """

    diagnoses: NDArray[np.int64]
    paid_cents: NDArray[np.int64]
    unbilled: int
    unbilled_cents: int

    def counts(self) -> dict[str, int]:
        """Numbers above 0 by name."""
        found = {
            "n_diagnoses_without_bill_type": self.unbilled,
            "without_bill_type_cents": self.unbilled_cents,
        }
        for r, name in enumerate(LEFT_OUT_REASONS, start=1):
            found[f"n_diagnoses_left_out_{name}"] = int(self.diagnoses[r])
            found[f"left_out_{name}_cents"] = int(self.paid_cents[r])
        return {name: n for name, n in found.items() if n}


@dataclass(frozen=True)
class DiagnosisFilter:
    """Which claims' diagnoses count; picklable.

    Attributes
    ----------
    rule : str
        `EVERY_CLAIM`, `RISK_ADJUSTABLE`, or `LIST`.
    reasons : uint8[256]
        By `diagnoses.source`, why it is left out; 0: it counts.
    eligible : bool[n_hcpcs] or None
        Of the population's procedures, those on the user's list; None: no list.
    list_sha256 : str
        Of the list's content; empty: no list.
    """

    rule: str
    reasons: NDArray[np.uint8]
    eligible: NDArray[np.bool_] | None = None
    list_sha256: str = ""

    @classmethod
    def every(cls) -> DiagnosisFilter:
        """The filter that leaves nothing out."""
        return cls(EVERY_CLAIM, np.zeros(256, np.uint8))

    @property
    def stated(self) -> str:
        """The rule as a model may state it; empty of a list, which is its user's."""
        return "" if self.rule == LIST else self.rule

    @property
    def leaves_out(self) -> bool:
        """Whether anything may be left out."""
        return self.eligible is not None or bool(self.reasons.any())

    def of_diagnoses(self, shard: ShardColumns) -> NDArray[np.uint8]:
        """uint8 a row of `diagnoses`: a place in `REASONS`."""
        return self._reasons(shard)[0]

    def left_out(
        self,
        shard: ShardColumns,
        *,
        days: tuple[int, int],
        cutoff_day: int,
        members: NDArray[np.bool_],
    ) -> LeftOut:
        """What is left out of these members' diagnoses, from the first day to before the last.

        Known by the cutoff, as everything that counts.
        """
        reason, of_line = self._reasons(shard)
        kinds = _Kinds.of(shard, days, cutoff_day, members)
        counted = kinds.any(reason[kinds.rows] == 0)
        first = reason[kinds.rows][kinds.starts]
        unbilled = _UNBILLED.take(shard.column("diagnoses", "source")[kinds.rows])
        billed = kinds.any((reason[kinds.rows] == 0) & ~unbilled)
        end = shard.column("lines", "claim_end_day")
        silent = _UNBILLED.take(shard.column("line_detail", "source"))
        lines = np.flatnonzero((end >= days[0]) & (end < days[1]) & ((of_line > 0) | silent))
        lines = lines[shard.column("lines", "paid_day")[lines] <= cutoff_day]
        whose = np.searchsorted(shard.offsets("lines"), lines, side="right") - 1
        lines = lines[members[whose]]
        cents = shard.column("lines", "paid_cents")[lines]
        return LeftOut(
            np.bincount(first[~counted], minlength=len(REASONS)).astype(np.int64),
            sums_by(of_line[lines], cents, len(REASONS)),
            int((counted & ~billed).sum()),
            int(cents[of_line[lines] == 0].sum()),
        )

    def rows_left_out(
        self, shard: ShardColumns, member: int, *, days: tuple[int, int], cutoff_day: int
    ) -> list[tuple[int, int, str]]:
        """Code, day and reason of one member's diagnoses that no claim that counts carries."""
        if not self.leaves_out:
            return []
        first, last = (int(row) for row in shard.offsets("diagnoses")[member : member + 2])
        rows = slice(first, last)
        day, dx = shard.column("diagnoses", "day")[rows], shard.column("diagnoses", "dx")[rows]
        known = (day >= days[0]) & (day < days[1])
        known &= shard.column("diagnoses", "paid_day")[rows] <= cutoff_day
        reason = self.of_diagnoses(shard)[rows]
        found: dict[tuple[int, int], int] = {}
        for row in np.flatnonzero(known).tolist():
            kind = (int(dx[row]), int(day[row]))
            found[kind] = min(found.get(kind, len(REASONS)), int(reason[row]))
        return [(*kind, REASONS[why]) for kind, why in found.items() if why]

    def _reasons(self, shard: ShardColumns) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Of each row of `diagnoses`, and of each line."""
        source = shard.column("diagnoses", "source")
        of_line = shard.column("line_detail", "source")
        reasons = self.reasons.copy()
        reasons[NO_DIAGNOSIS] = 0
        found, lines = reasons.take(source), reasons.take(of_line)
        if self.eligible is not None:
            listed, line_listed = _listed(shard, self.eligible)
            for values, sources, on_list in (
                (found, source, listed),
                (lines, of_line, line_listed),
            ):
                asked = _ASKED.take(sources) & ~on_list & (values == 0)
                values[asked] = _REASON["not_on_list"]
        return found, lines


def filter_of(terms: ScoreTerms, procedures: Sequence[str]) -> DiagnosisFilter:
    """The filter of terms with nothing left to the model, for a population of these procedures.

    Raises
    ------
    DataError, RiskModelError
        If the list that the terms name cannot be read.
    """
    rule = terms.diagnoses_from
    if rule is None or rule == EVERY_CLAIM:
        return DiagnosisFilter.every()
    reasons = np.zeros(256, np.uint8)
    reasons[diagnosis_source("other_bill")] = _REASON["bill_type"]
    reasons[diagnosis_source("other_claim")] = _REASON["claim_type"]
    if rule == RISK_ADJUSTABLE:
        for form in SERVED_FORMS:
            for service in DIAGNOSIS_SERVICES[1:]:
                reasons[diagnosis_source(form, service)] = _REASON[service]
    if terms.without_bill_type == LEAVE_OUT:
        reasons[_UNBILLED] = _REASON["no_bill_type"]
    if rule == RISK_ADJUSTABLE:
        return DiagnosisFilter(rule, reasons)
    listed = read_eligible_codes(Path(rule))
    return DiagnosisFilter(LIST, reasons, listed.among(procedures), listed.sha256)


def first_alike(shard: ShardColumns, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the rows of `diagnoses` that are kept, the first of each member, code and day."""
    rows = np.flatnonzero(keep)
    alike = np.ones(max(len(rows) - 1, 0), np.bool_)
    for name in ("dx", "day"):
        values = shard.column("diagnoses", name)[rows]
        alike &= values[1:] == values[:-1]
    again = np.flatnonzero(alike)
    offsets = shard.offsets("diagnoses")
    whose = [np.searchsorted(offsets, rows[again + k], side="right") for k in (0, 1)]
    found = keep.copy()
    found[rows[again[whose[0] == whose[1]] + 1]] = False
    return found


_SOURCES: Final = {
    form: [diagnosis_source(form, service) for service in DIAGNOSIS_SERVICES]
    for form in SERVED_FORMS
}
_ASKED: Final = np.zeros(256, np.bool_)
_ASKED[[source for sources in _SOURCES.values() for source in sources]] = True
"""Sources of which a list of procedures decides."""
_UNBILLED: Final = np.zeros(256, np.bool_)
_UNBILLED[[*_SOURCES["unbilled"], diagnosis_source("unbilled_stay")]] = True


@dataclass(frozen=True)
class _Kinds:
    """Rows of `diagnoses` of some members and days, alike ones (member, code and day) together.

    rows : int64, the rows; starts : int64, the first of each kind among them
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(
        cls, shard: ShardColumns, days: tuple[int, int], cutoff_day: int, members: NDArray[np.bool_]
    ) -> _Kinds:
        day, dx = shard.column("diagnoses", "day"), shard.column("diagnoses", "dx")
        rows = np.flatnonzero((day >= days[0]) & (day < days[1]))
        rows = rows[shard.column("diagnoses", "paid_day")[rows] <= cutoff_day]
        whose = np.searchsorted(shard.offsets("diagnoses"), rows, side="right") - 1
        rows, whose = rows[members[whose]], whose[members[whose]]
        fresh = np.ones(len(rows), np.bool_)
        fresh[1:] = whose[1:] != whose[:-1]
        for values in (dx, day):
            fresh[1:] |= values[rows[1:]] != values[rows[:-1]]
        return cls(rows, np.flatnonzero(fresh))

    def any(self, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Kinds of which a row is marked."""
        if not len(self.starts):
            return np.zeros(0, np.bool_)
        return np.logical_or.reduceat(marked, self.starts)


def _listed(
    shard: ShardColumns, eligible: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows of `diagnoses`, and lines, of claims that have a line with a procedure on the list."""
    if not isinstance(shard, Shard):
        raise RiskModelError("a list of procedures is held against a population's shards alone")
    member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("lines")))
    words = text_hashes(shard.strings("line_detail", "claim_id"))
    words ^= shard.column("members", "member_key")[member] * _ODD
    _, claim = np.unique(words, return_inverse=True)
    n = int(claim.max(initial=-1)) + 1
    medical = shard.column("lines", "source_table") == 0
    has = np.zeros(n, np.bool_)
    has[claim[eligible[shard.column("line_detail", "hcpcs")] & medical]] = True
    through = np.full(n, np.iinfo(np.int32).min, np.int32)
    np.maximum.at(through, claim, shard.column("lines", "claim_end_day"))
    rows = shard.record("claims", columns=("line", "dx")).filter(pc.field("line") >= 0)
    line = rows.column("line").to_numpy()
    dx = rows.column("dx").combine_chunks()
    sizes = pc.list_value_length(dx).to_numpy(zero_copy_only=False)
    each = np.repeat(line, sizes)
    code = dx.flatten().to_numpy(zero_copy_only=False)
    on_list = has[claim[each]]
    each, code = each[on_list], code[on_list]
    source = shard.column("line_detail", "source")
    wanted = _words(member[each], code, through[claim[each]], source[each])
    of_diagnosis = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("diagnoses")))
    held = _words(
        of_diagnosis, *(shard.column("diagnoses", name) for name in ("dx", "day", "source"))
    )
    return np.isin(held, np.unique(wanted)), has[claim]


_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def _words(
    member: NDArray[np.int64],
    dx: NDArray[np.int32],
    day: NDArray[np.int32],
    source: NDArray[np.uint8],
) -> NDArray[np.uint64]:
    """Member of a shard (22 bits), code (20), day (17) and source (5) in one word."""
    words = member.astype(np.uint64) << np.uint64(42)
    words |= dx.astype(np.uint64) << np.uint64(22)
    words |= (day.astype(np.int64) & (1 << 17) - 1).astype(np.uint64) << np.uint64(5)
    return words | source.astype(np.uint64)
