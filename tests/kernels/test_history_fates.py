"""History of a claim: hand-worked cases, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, history_fates, to_device, to_host
from kernels.members.history_fates import (
    BESIDE,
    MAX_ROWS,
    MOVED,
    NEGATIVE,
    ORPHAN_VOID,
    PLAIN,
    REPLACES,
    STANDS,
    SUPERSEDED,
    VOID,
    VOIDED,
    _gpu,
    reference,
)

KINDS = (np.int64, np.uint8, np.int32, np.uint64, np.int64, np.int32, np.int32)
NAMES = ("when", "phase", "claim", "line", "cents", "own_name", "other_name")
P, R, V, N, B = PLAIN, REPLACES, VOID, NEGATIVE, BESIDE
Row = tuple[int, ...]
"""Time, phase, claim, line, dollars, and the claims that it names."""


def arrays(families: list[list[Row]]) -> dict[str, Any]:
    """Kernel inputs of families of rows."""
    rows = [(*row, -1, -1)[:7] for family in families for row in sorted(family)]
    columns = list(zip(*rows, strict=True)) or [()] * 7
    return {
        **{
            name: np.array(column, kind)
            for name, column, kind in zip(NAMES, columns, KINDS, strict=True)
        },
        "offsets": np.cumsum([0, *map(len, families)], dtype=np.int64),
    }


def fates(*rows: Row, additional: bool = False) -> list[int]:
    """Fates of one family's rows, in the order given."""
    order = sorted(range(len(rows)), key=rows.__getitem__)
    found = history_fates(**arrays([list(rows)]), additional=additional).tolist()
    return [found[order.index(k)] for k in range(len(rows))]


def kept(*rows: Row, additional: bool = False) -> int:
    """Dollars that stand."""
    return sum(
        row[4]
        for row, fate in zip(rows, fates(*rows, additional=additional), strict=True)
        if fate in (STANDS, MOVED)
    )


def test_a_take_back_is_money_moved() -> None:
    """A negative amount is never the last version of what was paid."""
    assert fates((4, P, 0, 1, 100), (5, N, 0, 1, -20)) == [STANDS, MOVED]


def test_what_a_reversal_pairs_off_comes_before_what_nothing_cancels() -> None:
    amounts = (100, -100, 90, -90, 120)
    assert kept(*((4, N if x < 0 else P, 0, 1, x) for x in amounts)) == 120


def test_a_replacement_replaces_all_lines() -> None:
    billed = [(4, P, 0, line, 100) for line in (1, 2, 3)]
    assert kept(*billed, (5, R, 0, 1, 90), (5, R, 0, 2, 90)) == 180


@pytest.mark.parametrize("names", [(1, 2), (2, 1)])
def test_a_void_cancels_its_amount_and_the_replacement_of_the_day_stands(
    names: tuple[int, int],
) -> None:
    """Whatever the claims are called."""
    void, replacement = names
    billed = [(4, P, 0, line, 100) for line in (1, 2)]
    voided = [(5, V, void, line, -100, 0) for line in (1, 2)]
    assert kept(*billed, *voided, *((5, R, replacement, k, 120, 0) for k in (1, 2))) == 240


def test_a_later_amount_of_a_line_is_its_later_version_or_more_of_it() -> None:
    rows = [(4, P, 0, 5, 40), (5, P, 0, 5, 45)]
    assert fates(*rows) == [SUPERSEDED, STANDS]
    assert kept(*rows, additional=True) == 85


def test_two_amounts_of_a_line_and_a_day_both_stand() -> None:
    """Nothing says which is later."""
    assert kept((4, P, 0, 5, 40), (4, P, 0, 5, 45)) == 85


@pytest.mark.parametrize("cents", [-150, 150, 0])
def test_a_header_s_void_voids_all_lines(cents: int) -> None:
    billed = [(4, P, 0, 1, 100), (4, P, 0, 2, 50)]
    assert fates(*billed, (5, V, 0, 0, cents)) == [VOIDED] * 3


def test_a_void_of_one_line_of_the_claim_voids_the_claim() -> None:
    """A void acts on the claim where nothing that stands has its amount."""
    assert kept((4, P, 0, 1, 100), (4, P, 0, 2, 100), (5, V, 0, 2, -70)) == 0


@pytest.mark.parametrize("cents", [-70, 70])
def test_a_void_without_partner_is_an_orphan_whatever_its_sign(cents: int) -> None:
    assert fates((4, P, 0, 1, 100), (5, V, 1, 1, cents)) == [STANDS, ORPHAN_VOID]


def test_bill_void_and_bill_again_leaves_one() -> None:
    for again in (P, R):
        assert kept((4, P, 0, 1, 100), (5, V, 0, 1, -100), (6, again, 0, 1, 90)) == 90
        assert kept((4, P, 0, 1, 100), (5, V, 0, 1, -100), (5, again, 0, 1, 90)) == 90
        assert kept((4, P, 0, 1, 100), (5, V, 0, 1, -100), (5, again, 0, 1, 100)) == 100
    assert kept((4, P, 0, 1, 100), (5, N, 0, 1, -100), (5, P, 0, 1, 100)) == 100


def test_a_history_of_one_day_ends_in_what_nothing_cancels() -> None:
    history = [(4, P, 0, 1, 100), (4, V, 0, 1, -100), (4, R, 0, 1, 120), (4, V, 0, 1, -120)]
    assert kept(*history, (4, R, 0, 1, 130)) == 130


def test_two_bills_of_a_day_are_told_apart_by_what_voids_one() -> None:
    """Lines stand twice, and neither sum is the void's: it is taken line by line."""
    bills = [(4, P, 0, 1, 100), (4, P, 0, 2, 50), (4, P, 0, 1, 90), (4, P, 0, 2, 60)]
    assert kept(*bills, (4, V, 0, 1, -100), (4, V, 0, 2, -50)) == 150


def test_where_every_row_names_the_first_claim_the_amount_decides() -> None:
    """The link alone would cancel the wrong version."""
    history = [(4, P, 0, 1, 100), (5, R, 1, 1, 120, 0), (6, V, 2, 1, -120, 0)]
    assert fates(*history, (6, R, 3, 1, 150, 0)) == [SUPERSEDED, VOIDED, VOIDED, STANDS]


def test_what_is_superseded_is_never_revived() -> None:
    assert kept((4, P, 0, 1, 100), (5, R, 0, 1, 120), (6, V, 0, 1, -120)) == 0


def test_a_reversal_of_what_is_superseded_moves_nothing() -> None:
    assert kept((4, P, 0, 1, 100), (5, P, 0, 1, 120), (6, N, 0, 1, -100)) == 120


def test_a_negative_line_of_a_bill_goes_with_it() -> None:
    bill = [(4, P, 0, 1, 100), (4, N, 0, 2, -5)]
    assert kept(*bill) == 95
    assert kept(*bill, (5, V, 0, 1, -95)) == 0
    assert kept(*bill, (5, R, 0, 1, 80)) == 80


def test_lines_that_come_later_belong_to_the_claim() -> None:
    bill = [(4, P, 0, 1, 100), (5, P, 0, 2, 100)]
    assert kept(*bill) == 200
    assert kept(*bill, (6, V, 0, 0, -200)) == 0


def test_money_moved_beside_is_no_version() -> None:
    assert kept((4, P, 0, 1, 100), (5, B, 0, 1, -20), (6, R, 0, 1, 80)) == 60
    assert kept((4, P, 0, 1, 100), (5, B, 0, 1, -20), (6, V, 0, 1, -100)) == -20


def test_of_two_replacements_of_a_day_the_one_that_names_the_other_stands() -> None:
    chain = [(4, P, 0, 1, 100), (5, R, 1, 1, 120, 0), (5, R, 2, 1, 110, 1)]
    assert fates(*chain) == [SUPERSEDED, SUPERSEDED, STANDS]


amounts = st.sampled_from([0, 1, 1, 2, 3])
raw_row = st.tuples(
    st.integers(0, 2), st.sampled_from([P, P, P, R, V, N, N, B]), st.integers(0, 2),
    st.sampled_from([0, 1, 1, 2]), amounts, st.booleans(), st.integers(-1, 2), st.integers(-1, 2),
)  # fmt: skip


def family(raw: list[tuple[Any, ...]]) -> list[Row]:
    """Rows as the host hands them over: claims from 0, signs that fit their phase."""
    claims = {claim: k for k, claim in enumerate(sorted({row[2] for row in raw}))}
    rows: list[Row] = []
    for when, phase, claim, line, amount, negative, own, other in raw:
        cents = -max(amount, 1) if phase == N else amount
        if phase in (V, B) and negative:
            cents = -amount
        names = claims.get(own, -1), claims.get(other, -1)
        rows.append((when, phase, claims[claim], line, cents, *names))
    return rows


histories = st.lists(st.lists(raw_row, max_size=9).map(family), max_size=3).map(arrays)


@settings(max_examples=400, deadline=None)
@given(case=histories, additional=st.booleans())
def test_the_fast_form_is_the_definition(case: dict[str, Any], additional: bool) -> None:
    found = history_fates(**case, additional=additional)
    assert found.dtype == np.uint8
    assert found.tolist() == reference(**case, additional=additional).tolist()


@settings(max_examples=100, deadline=None)
@given(case=histories, additional=st.booleans())
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any], additional: bool
) -> None:
    n, n_families = len(case["when"]), len(case["offsets"]) - 1
    whole = (np.int32, np.int32, np.bool_, np.int32, np.int32, np.int32)
    scratch = [np.zeros(n, kind) for kind in whole]
    scratch += [np.zeros(2 * n, kind) for kind in (np.int64, np.int32, np.int32)]
    scalars = [np.int32(additional), np.int64(n_families)]
    arguments = [*case.values(), *scalars, *scratch, np.full(n, 9, np.uint8)]
    found = host_twin("history_fates", arguments, grid=n_families // 4 + 1, block=4)[-1]
    assert found.tolist() == reference(**case, additional=additional).tolist()


def test_the_launch_lays_its_arguments_out(numpy_as_cupy: Callable[[str], None]) -> None:
    numpy_as_cupy("history_fates")
    case = arrays([[(4, P, 0, 1, 100), (5, V, 0, 1, -100)], [], [(4, P, 0, 1, 7)]])
    arguments: Any = [*case.values(), False]
    assert _gpu(*arguments).tolist() == [VOIDED, VOIDED, STANDS]


@pytest.mark.gpu
@settings(max_examples=100, deadline=None)
@given(case=histories, additional=st.booleans())
def test_the_gpu_is_the_definition(case: dict[str, Any], additional: bool) -> None:
    there = {name: to_device(array) for name, array in case.items()}
    found = to_host(history_fates(**there, additional=additional))
    assert found.tolist() == reference(**case, additional=additional).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"when": np.zeros(1, np.int32)}, "when: expected dtype int64"),
        ({"claim": np.zeros(2, np.int32)}, r"claim: expected shape \(1\)"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected n_families"),
        ({"offsets": np.array([0, MAX_ROWS + 1])}, "families of at most 65,536 rows"),
        ({"line": [1]}, "line: expected a NumPy or CuPy array"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {**arrays([[(4, P, 0, 1, 100)]]), **change}
    with pytest.raises(KernelInputError, match=message):
        history_fates(**case, additional=False)
