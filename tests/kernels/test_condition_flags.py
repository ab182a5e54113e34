"""Condition bits: the compiled form says what the reference says, and refuses what it should."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels._core import KernelInputError, to_device, to_host
from kernels.members.condition_flags import ANY_AGE, NO_DAY, condition_flags, reference

EPOCH = date(1970, 1, 1)
LAST = 2**31 - 1


@st.composite
def cases(draw: st.DrawFn) -> dict[str, np.ndarray]:
    seed = draw(st.integers(0, 2**32 - 1))
    n = draw(st.integers(0, 12))
    n_words = draw(st.integers(1, 3))
    rng = np.random.default_rng(seed)
    n_lists = draw(st.integers(1, 6))
    per_list = np.concatenate([[0], rng.integers(0, 4, n_lists - 1)])
    n_rules = int(per_list.sum())
    rules = np.zeros((n_rules, 7), np.int32)
    rules[:, 0] = rng.integers(0, 3, n_rules)
    rules[:, 1] = rng.choice([ANY_AGE, 0, 2, 18, 50], n_rules)
    rules[:, 2] = rng.choice([18, 50, 999], n_rules)
    rules[:, 3] = rng.choice([ANY_AGE, 0, 9, 15], n_rules)
    rules[:, 4] = rng.choice([1, 18, 65, 999], n_rules)
    rules[:, 5] = rng.choice([NO_DAY, 19_000], n_rules)
    rules[:, 6] = rng.choice([LAST, 19_500], n_rules)
    plain = rng.random(n_rules) < 0.4
    rules[plain] = [0, ANY_AGE, 0, ANY_AGE, 0, NO_DAY, LAST]
    sizes = rng.integers(0, 9, n)
    n_rows = int(sizes.sum())
    n_codes = 9
    days = rng.integers(18_500, 20_500, n_rows)
    birth_day = rng.integers(-20_000, 20_000, n)
    return {
        "codes": rng.integers(0, n_codes, n_rows).astype(np.int32),
        "days": np.where(rng.random(n_rows) < 0.2, NO_DAY, days).astype(np.int32),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "age": rng.integers(-1, 100, n).astype(np.int16),
        "sex": rng.integers(0, 3, n).astype(np.uint8),
        "birth_day": np.where(rng.random(n) < 0.2, NO_DAY, birth_day).astype(np.int32),
        "entry": rng.integers(0, n_lists, n_codes).astype(np.int32),
        "rule_start": np.concatenate([[0], np.cumsum(per_list)]).astype(np.int32),
        "rules": rules,
        "rule_masks": rng.integers(0, 2**64, (n_rules, n_words), dtype=np.uint64),
    }


@settings(max_examples=200, deadline=None)
@given(cases(), st.booleans())
def test_the_compiled_form_equals_the_reference(
    case: dict[str, np.ndarray], code_edits: bool
) -> None:
    want = reference(**case, code_edits=code_edits)
    have = condition_flags(**case, code_edits=code_edits)
    for wanted, found in zip(want, have, strict=True):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        assert (found == wanted).all()


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans(), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_of_rows_matters(
    case: dict[str, np.ndarray], code_edits: bool, random: Random
) -> None:
    want, _ = condition_flags(**case, code_edits=code_edits)
    offsets = case["offsets"]
    order = []
    for a, b in pairwise(offsets):
        own = list(range(a, b)) * 2
        random.shuffle(own)
        order += own
    shuffled = dict(
        case,
        codes=case["codes"][order].astype(np.int32),
        days=case["days"][order].astype(np.int32),
        offsets=offsets * 2,
    )
    have, _ = condition_flags(**shuffled, code_edits=code_edits)
    assert (have == want).all()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_every_row_has_one_fate(case: dict[str, np.ndarray]) -> None:
    _, outcomes = condition_flags(**case, code_edits=True)
    assert (outcomes.sum(axis=1) == np.diff(case["offsets"])).all()


def one(day: int, birth_day: int, *, age: int = 40, code_edits: bool = True) -> list[int]:
    """Outcome of one row under a rule whose edit allows ages 15 to 17."""
    _, outcomes = condition_flags(
        np.zeros(1, np.int32),
        np.array([day], np.int32),
        np.array([0, 1]),
        np.array([age], np.int16),
        np.zeros(1, np.uint8),
        np.array([birth_day], np.int32),
        np.ones(1, np.int32),
        np.array([0, 0, 1], np.int32),
        np.array([[0, ANY_AGE, 0, 15, 18, NO_DAY, LAST]], np.int32),
        np.ones((1, 1), np.uint64),
        code_edits=code_edits,
    )
    return list(outcomes[0])


@given(st.dates(date(1895, 1, 1), date(2060, 1, 1)), st.integers(0, 40_000))
def test_the_edit_age_counts_birthdays(born: date, later: int) -> None:
    on = born + timedelta(days=later)
    age = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    fate = one((on - EPOCH).days, (born - EPOCH).days)
    assert fate == ([0, 1, 0, 0] if 15 <= age < 18 else [0, 0, 1, 0])


def test_without_a_day_the_edit_takes_the_members_age() -> None:
    assert one(NO_DAY, 0, age=16) == [0, 1, 0, 0]
    assert one(NO_DAY, 0, age=18) == [0, 0, 1, 0]
    assert one(19_000, NO_DAY, age=16) == [0, 1, 0, 0]


def test_edits_can_be_switched_off() -> None:
    assert one(NO_DAY, 0, age=18, code_edits=False) == [0, 1, 0, 0]


@settings(max_examples=1)
@given(cases())
def test_another_dtype_is_refused(case: dict[str, np.ndarray]) -> None:
    for name, array in case.items():
        wrong = dict(case, **{name: array.astype(np.float32)})
        with pytest.raises(KernelInputError, match=name):
            condition_flags(**wrong, code_edits=True)


def twin_of(host_twin: Callable[..., list[Any]], case: dict[str, Any], edits: bool) -> Any:
    n, n_words = len(case["offsets"]) - 1, case["rule_masks"].shape[1]
    words, outcomes = np.zeros((n, n_words), np.uint64), np.zeros((n, 4), np.int32)
    arguments = [
        *case.values(), np.int32(edits), np.int64(n), np.int32(n_words), words, outcomes,
    ]  # fmt: skip
    return host_twin("condition_flags", arguments, grid=2, block=8)[-2:]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases(), code_edits=st.booleans())
def test_the_cuda_text_equals_the_reference_on_the_host(
    host_twin: Callable[..., list[Any]], case: dict[str, np.ndarray], code_edits: bool
) -> None:
    want = reference(**case, code_edits=code_edits)
    for wanted, found in zip(want, twin_of(host_twin, case, code_edits), strict=True):
        assert (found == wanted).all()


@pytest.mark.gpu
@settings(max_examples=100, deadline=None)
@given(cases(), st.booleans())
def test_the_gpu_equals_the_reference(case: dict[str, np.ndarray], code_edits: bool) -> None:
    want = reference(**case, code_edits=code_edits)
    there = {name: to_device(array) for name, array in case.items()}
    for wanted, found in zip(want, condition_flags(**there, code_edits=code_edits), strict=True):
        assert (to_host(found) == wanted).all()
