"""Members and their codes through a compiled model: segment, bits, raw score, score.

    facts -> flags, segment, row -> condition bits -> program -> raw score -> post-steps -> score

A member whose age or sex the model needs and does not have, or whose assigned segment has no
coefficients for the age, is refused by `check`; the caller decides whether that stops the job or
falls under a policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models.compile import Compiled
from ihp_compute.risk.models.members import Members, Profiles, holds, tests_of
from ihp_compute.units import MICRO, NO_DAY
from kernels.members.condition_flags import OUTCOMES, condition_flags
from kernels.members.risk_score import HIER, STEP_COLUMNS, risk_score


@dataclass(frozen=True)
class Codes:
    """Coded rows of all members in one system, contiguous by member.

    entry int32[n_codes] rule lists (`CodeTable.entry`), codes int32[n_rows] into it, days
    int32[n_rows] (`NO_DAY` unknown), offsets int64[n_members + 1].
    """

    entry: NDArray[np.int32]
    codes: NDArray[np.int32]
    days: NDArray[np.int32]
    offsets: NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """What `run` found.

    raw_micro, score_micro int64[n]; terms uint64[n, n_words]; segment uint8[n], flags int32[n],
    row int32[n]; words uint64[n, n_input]: condition bits before the program; outcomes by system:
    int32[n, 4] rows by fate.
    """

    raw_micro: NDArray[np.int64]
    score_micro: NDArray[np.int64]
    terms: NDArray[np.uint64]
    segment: NDArray[np.uint8]
    flags: NDArray[np.int32]
    row: NDArray[np.int32]
    words: NDArray[np.uint64]
    outcomes: dict[str, NDArray[np.int32]]

    def counts(self) -> dict[str, int]:
        """Rows by system and fate, as in `icd10_unmapped`."""
        return {
            f"{system.lower()}_{name}": int(fates[:, k].sum())
            for system, fates in self.outcomes.items()
            for k, name in enumerate(OUTCOMES)
        }


def flags_and_segments(
    compiled: Compiled, members: Members
) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Flag bits of each member, and its segment number: as assigned, else the first that fits.

    Tests look at a few facts only, so each distinct combination of what they can tell apart is
    tested once and members look theirs up. Segment -1: none fits.
    """
    profiles = Profiles(tests_of(compiled.model))
    profile, number = profiles.stand_ins, profiles.of(members)
    flags = np.zeros(len(profile), np.int32)
    for bit, flag in enumerate(compiled.model.flags):
        fits = holds(flag.any_of[0], profile)
        for test in flag.any_of[1:]:
            fits |= holds(test, profile)
        flags |= fits.astype(np.int32) << bit
    segment = np.full(len(profile), -1, np.int16)
    for place in range(len(compiled.model.segments) - 1, -1, -1):
        segment[holds(compiled.model.segments[place].test, profile)] = place
    own = segment[number]
    if (members.segment >= 0).any():
        own = np.where(members.segment >= 0, members.segment, own)
    return flags[number], own


def segments_of(compiled: Compiled, members: Members) -> NDArray[np.int16]:
    """Segment number of each member; see `flags_and_segments`."""
    return flags_and_segments(compiled, members)[1]


def check(
    compiled: Compiled, members: Members, segment: NDArray[np.int16]
) -> dict[str, NDArray[np.bool_]]:
    """Members that the model cannot score, by reason; empty where it can score all."""
    ages = np.array([s.ages for s in compiled.model.segments], np.int64)
    safe = np.maximum(segment, 0)
    problems = {
        "age is unknown": members.age < 0,
        "sex is unknown": members.sex == 0,
        "no segment of the model fits": segment < 0,
        "the segment has no coefficients for this age": (segment >= 0)
        & (members.age >= 0)
        & ((members.age < ages[safe, 0]) | (members.age >= ages[safe, 1])),
    }
    return {reason: bad for reason, bad in problems.items() if bad.any()}


def run(
    compiled: Compiled,
    members: Members,
    codes: Mapping[str, Codes],
    *,
    code_edits: bool = True,
) -> Scored:
    """Score members; who cannot be scored (`check`) gets a number without meaning.

    Parameters
    ----------
    compiled : Compiled
    members : Members
    codes : mapping
        `Codes` by system; a system not given has no rows.
    code_edits : bool
        Whether the code editor's ages are tested; splits always are.
    """
    n = len(members)
    words = np.zeros((n, compiled.n_input), np.uint64)
    birth_day = members.birth_day
    if compiled.model.edit_age == "member":
        birth_day = np.full(n, NO_DAY, np.int32)
    outcomes = {}
    for system, rows in codes.items():
        table = compiled.tables[system]
        bits, outcomes[system] = condition_flags(
            rows.codes, rows.days, rows.offsets, members.age, members.sex, birth_day, rows.entry,
            table.rule_start, table.rules, table.rule_masks, code_edits=code_edits,
        )  # fmt: skip
        words = bits if len(outcomes) == 1 else words | bits
    flags, assigned = flags_and_segments(compiled, members)
    segment = np.maximum(assigned, 0).astype(np.uint8)
    row = segment.astype(np.int32) * len(compiled.model.columns) + members.column
    raw_micro, terms = risk_score(
        words, members.age, members.sex, members.months, segment, row, flags, compiled.steps,
        compiled.masks, compiled.children, compiled.table, compiled.coefficients_micro,
    )  # fmt: skip
    score_micro = post_steps(compiled, raw_micro, members.csr)
    return Scored(raw_micro, score_micro, terms, segment, flags, row, words, outcomes)


def differing_by_order(
    compiled: Compiled, members: Members, scored: Scored, able: NDArray[np.bool_]
) -> int:
    """Members, of those able to be scored, whom hierarchies in the other order score otherwise."""
    steps = compiled.steps.copy()
    hierarchy = steps[:, STEP_COLUMNS.index("operation")] == HIER
    steps[hierarchy, STEP_COLUMNS.index("x")] ^= 1
    other, _ = risk_score(
        scored.words, members.age, members.sex, members.months, scored.segment, scored.row,
        scored.flags, steps, compiled.masks, compiled.children, compiled.table,
        compiled.coefficients_micro,
    )  # fmt: skip
    return int(((other != scored.raw_micro) & able).sum())


def csr_factors(compiled: Compiled) -> tuple[list[str], NDArray[np.int64]]:
    """CSR codes in order, and their factors in millionths; one more entry at the end: 1.000."""
    codes = sorted(compiled.model.csr)
    factors = [int(Decimal(compiled.model.csr[code]) * MICRO) for code in codes]
    return codes, np.array([*factors, MICRO], np.int64)


def post_steps(
    compiled: Compiled, raw_micro: NDArray[np.int64], csr: NDArray[np.int16]
) -> NDArray[np.int64]:
    """The model's normalisation: each post-step rounds once, half up in magnitude, in integers."""
    value = raw_micro
    for step in compiled.model.post_steps:
        unit = MICRO // 10**step.places
        if step.op == "multiply_csr":
            _, factors = csr_factors(compiled)
            value = _rounded(value * factors[csr], MICRO * unit, unit)
            continue
        by = int(Decimal(step.by) * MICRO)
        if step.op == "divide":
            value = _rounded(value * MICRO, by * unit, unit)
        elif step.op == "multiply":
            value = _rounded(value * by, MICRO * unit, unit)
        else:
            raise RiskModelError(f"risk model {compiled.model.name}: unknown post-step {step.op}")
    return value


def _rounded(value: NDArray[np.int64], denominator: int, unit: int) -> NDArray[np.int64]:
    """Quotient to the nearest integer, half away from zero, times `unit`; in place."""
    value *= 2
    value += denominator
    value -= value < denominator  # floor takes a half up; below zero it must go down
    value //= 2 * denominator
    value *= unit
    return value
