"""Condition bits of each member: coded diagnoses and drugs through a table of conditional rules.

Twin: condition_flags.cu. What a rule means and where the tables come from is the caller's business.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

NO_DAY: Final = -(2**31)
"""A day or birth day that is not known."""
MOST_LISTS: Final = 2**15
"""Rule lists are numbered in 16 bits on the way, so that the codes' table stays in cache."""
ANY_AGE: Final = -1
"""Lower age bound of a rule without an age condition: it also fits an unknown age (-1)."""

RULE_COLUMNS: Final = (
    "sex",  # 0 any, else the member's code must be equal
    "age_low",
    "age_high",  # half open, on the member's age; ANY_AGE as low bound: not tested
    "edit_low",
    "edit_high",  # half open, on the age at the row's day; ANY_AGE as low bound: not tested
    "first_day",
    "last_day",  # half open, on the row's day; NO_DAY in a row: not tested
)
OUTCOMES: Final = ("unmapped", "mapped", "edited", "ineligible")
"""Fate of a row: code without rules; some rule fits; none fits, but would without the edit ages;
none fits at all."""


def condition_flags(
    codes: Any,
    days: Any,
    offsets: Any,
    age: Any,
    sex: Any,
    birth_day: Any,
    entry: Any,
    rule_start: Any,
    rules: Any,
    rule_masks: Any,
    *,
    code_edits: bool,
) -> tuple[Any, Any]:
    """Set the bits of every rule that fits a row of the member, and tell what became of the rows.

        for each row of member m, for each rule r of the row's code:
            if r fits:  words[m] |= rule_masks[r]

    Parameters
    ----------
    codes : int32[n_rows]
        Code of each row, an index into `entry`; rows of a member are contiguous.
    days : int32[n_rows], days since 1970-01-01
        Day of service, `NO_DAY` where unknown.
    offsets : int64[n_members + 1]
        Start of each member's rows: offsets[0] == 0, offsets[-1] == n_rows, non-decreasing.
    age : int16[n_members], completed years
        The age that splits test; -1 unknown, which fits rules without an age condition only.
    sex : uint8[n_members]
        Compared with the rules' `sex` column; 0 unknown, which fits rules for any sex only.
    birth_day : int32[n_members], days since 1970-01-01
        The edits test the age on the row's day where both days are known, else `age`.
    entry : int32[n_codes]
        Rule list of each code; list 0 is empty and means that the code is not mapped.
    rule_start : int32[n_lists + 1], fewer than 2^15 lists
        Start of each list in `rules`: rule_start[0] == rule_start[1] == 0, non-decreasing.
    rules : int32[n_rules, 7]
        Columns as in `RULE_COLUMNS`.
    rule_masks : uint64[n_rules, n_words]
        Bits that a rule sets.
    code_edits : bool
        Whether the edit ages are tested at all.

    Returns
    -------
    words : uint64[n_members, n_words]
    outcomes : int32[n_members, 4]
        Rows by fate, columns as in `OUTCOMES`.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or layout, or they live on different devices. The
        contents of `codes`, `offsets`, `entry` and `rule_start` are trusted.

    Exact on every device: integers only. Source: the maps and edits of the published models,
    as compiled by the caller.
    """
    device = device_of(
        codes=codes, days=days, offsets=offsets, age=age, sex=sex, birth_day=birth_day,
        entry=entry, rule_start=rule_start, rules=rules, rule_masks=rule_masks,
    )  # fmt: skip
    require("codes", codes, np.int32, (None,))
    require("days", days, np.int32, (len(codes),))
    require("offsets", offsets, np.int64, (None,))
    n = len(offsets) - 1
    if n < 0:
        raise KernelInputError("offsets: expected at least one entry")
    require("age", age, np.int16, (n,))
    require("sex", sex, np.uint8, (n,))
    require("birth_day", birth_day, np.int32, (n,))
    require("entry", entry, np.int32, (None,))
    require("rule_start", rule_start, np.int32, (None,))
    if len(rule_start) > MOST_LISTS:
        raise KernelInputError(f"rule_start: expected at most {MOST_LISTS} entries")
    require("rules", rules, np.int32, (None, len(RULE_COLUMNS)))
    require("rule_masks", rule_masks, np.uint64, (len(rules), None))
    arrays = (
        codes, days, offsets, age, sex, birth_day, entry, rule_start, rules, rule_masks,
    )  # fmt: skip
    if device == "gpu":
        on_gpu: tuple[Any, Any] = _gpu(*arrays, bool(code_edits))
        return on_gpu
    found = np.zeros((n, rule_masks.shape[1]), np.uint64), np.zeros((n, 4), np.int32)
    form: Any = _cpu
    form(*(read_only(array) for array in arrays), bool(code_edits), *found)
    return found


def reference(
    codes: Any, days: Any, offsets: Any, age: Any, sex: Any, birth_day: Any, entry: Any,
    rule_start: Any, rules: Any, rule_masks: Any, *, code_edits: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """The definition, in the fewest words. Slow on purpose; never optimised."""

    def age_at(day: int, m: int) -> int:
        if day == NO_DAY or birth_day[m] == NO_DAY:
            return int(age[m])
        born, on = (np.datetime64(int(d), "D").item() for d in (birth_day[m], day))
        return on.year - born.year - ((on.month, on.day) < (born.month, born.day))

    n, n_words = len(offsets) - 1, rule_masks.shape[1]
    words = np.zeros((n, n_words), np.uint64)
    outcomes = np.zeros((n, 4), np.int32)
    for m, (a, b) in enumerate(pairwise(offsets)):
        for row in range(a, b):
            of_code = range(rule_start[entry[codes[row]]], rule_start[entry[codes[row]] + 1])
            fate = 3 if of_code else 0
            for r in of_code:
                want_sex, low, high, edit_low, edit_high, first, last = map(int, rules[r])
                if want_sex not in (0, sex[m]) or (low != ANY_AGE and not low <= age[m] < high):
                    continue
                if days[row] != NO_DAY and not first <= days[row] < last:
                    continue
                if code_edits and edit_low != ANY_AGE:
                    at = age_at(int(days[row]), m)
                    if not edit_low <= at < edit_high:
                        fate = 2 if fate == 3 else fate
                        continue
                fate = 1
                words[m] |= rule_masks[r]
            outcomes[m, fate] += 1
    return words, outcomes


@numba.njit(cache=True, nogil=True)
def _age_on(birth_day: Any, day: Any) -> Any:
    """Completed years between two day numbers, by the civil calendar in integers."""
    parts = (np.int64(birth_day), np.int64(day))
    years = np.int64(0)
    monthday = np.int64(0)
    for k in range(2):
        z = parts[k] + 719468  # days since 0000-03-01
        era = z // 146097
        doe = z - era * 146097
        yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
        doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
        mp = (5 * doy + 2) // 153
        dom = doy - (153 * mp + 2) // 5 + 1
        month = mp + 3 if mp < 10 else mp - 9
        year = yoe + era * 400 + (1 if month <= 2 else 0)
        key = month * 32 + dom
        if k == 0:
            years = -year
            monthday = key
        else:
            years += year - (1 if key < monthday else 0)
    return years


@numba.njit(cache=True, nogil=True)
def _fits(rule: Any, day: Any, age: Any, sex: Any, birth_day: Any, code_edits: Any) -> int:
    """1 the rule fits, 2 it would without its edit ages, 0 it does not."""
    if rule[0] != 0 and rule[0] != sex:
        return 0
    if rule[1] != -1 and not (rule[1] <= age < rule[2]):
        return 0
    if day != -2147483648 and not (rule[5] <= day < rule[6]):
        return 0
    if code_edits and rule[3] != -1:
        at = np.int64(age)
        if day != -2147483648 and birth_day != -2147483648:
            at = _age_on(birth_day, day)
        if not (rule[3] <= at < rule[4]):
            return 2
    return 1


@numba.njit(cache=True, nogil=True)
def _cpu(
    codes: Any, days: Any, offsets: Any, age: Any, sex: Any, birth_day: Any, entry: Any,
    rule_start: Any, rules: Any, rule_masks: Any, code_edits: Any, words: Any, outcomes: Any,
) -> None:  # fmt: skip
    n, n_words = words.shape
    n_lists = len(rule_start) - 1
    kind = np.zeros(n_lists, np.int8)  # 0 no rules, 1 one rule without conditions, 2 others
    for k in range(n_lists):
        r = rule_start[k]
        if rule_start[k + 1] > r:
            rule = rules[r]
            free = (
                rule[0] == 0 and rule[1] == -1 and rule[3] == -1
                and rule[5] == -2147483648 and rule[6] == 2147483647
            )  # fmt: skip
            kind[k] = 1 if free and rule_start[k + 1] - r == 1 else 2
    # slot of a code: its list, negative where rules have conditions; narrow, to stay in cache
    slot = np.empty(len(entry), np.int16)
    for code in range(len(entry)):
        k = entry[code]
        slot[code] = -k if kind[k] == 2 else k if kind[k] == 1 else 0
    for first in range(0, n_words, 4):  # four words at a time are kept in registers
        width = min(4, n_words - first)
        plain = np.zeros((n_lists, 4), np.uint64)
        for k in range(n_lists):
            if kind[k] == 1:
                for w in range(width):
                    plain[k, w] = rule_masks[rule_start[k], first + w]
        for m in range(n):
            a0 = np.uint64(0)
            a1 = np.uint64(0)
            a2 = np.uint64(0)
            a3 = np.uint64(0)
            unmapped = 0
            edited = 0
            ineligible = 0
            for row in range(offsets[m], offsets[m + 1]):
                at = np.int64(slot[codes[row]])
                if at >= 0:
                    a0 |= plain[at, 0]
                    a1 |= plain[at, 1]
                    a2 |= plain[at, 2]
                    a3 |= plain[at, 3]
                    unmapped += at == 0
                    continue
                at = -at
                fate = 3
                for r in range(rule_start[at], rule_start[at + 1]):
                    fits = _fits(rules[r], days[row], age[m], sex[m], birth_day[m], code_edits)
                    if fits == 1:
                        fate = 1
                        a0 |= rule_masks[r, first]
                        if width > 1:
                            a1 |= rule_masks[r, first + 1]
                        if width > 2:
                            a2 |= rule_masks[r, first + 2]
                        if width > 3:
                            a3 |= rule_masks[r, first + 3]
                    elif fits == 2 and fate == 3:
                        fate = 2
                edited += fate == 2
                ineligible += fate == 3
            words[m, first] = a0
            if width > 1:
                words[m, first + 1] = a1
            if width > 2:
                words[m, first + 2] = a2
            if width > 3:
                words[m, first + 3] = a3
            mapped = offsets[m + 1] - offsets[m] - unmapped - edited - ineligible
            outcomes[m, 0] = unmapped
            outcomes[m, 1] = mapped
            outcomes[m, 2] = edited
            outcomes[m, 3] = ineligible


@cache
def _module() -> Any:
    return cuda_module("members/condition_flags")


def _gpu(
    codes: Any, days: Any, offsets: Any, age: Any, sex: Any, birth_day: Any, entry: Any,
    rule_start: Any, rules: Any, rule_masks: Any, code_edits: bool,
) -> tuple[Any, Any]:  # fmt: skip
    import cupy  # noqa: PLC0415

    n, n_words = len(offsets) - 1, rule_masks.shape[1]
    words = cupy.zeros((n, n_words), cupy.uint64)
    outcomes = cupy.zeros((n, 4), cupy.int32)
    if n:
        _module().get_function("condition_flags")(
            ((n + 255) // 256,),
            (256,),
            (
                codes, days, offsets, age, sex, birth_day, entry, rule_start, rules, rule_masks,
                np.int32(code_edits), np.int64(n), np.int32(n_words), words, outcomes,
            ),
        )  # fmt: skip
    return words, outcomes
