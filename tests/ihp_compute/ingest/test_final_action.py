"""Versions of one claim line, in any order, give the same final action."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.ingest.final_action import (
    NOT_STATED,
    OPEN,
    ClaimVersion,
    Versions,
    _pair_off,
    _plain_pairs,
    claim_fates,
    families,
    line_fates,
)
from ihp_compute.ledger import IngestFate

row = st.tuples(
    st.integers(0, 2),  # group
    st.integers(0, 3),  # paid day
    st.integers(0, 1),  # file day
    st.sampled_from([-200, -100, 0, 100, 200]),
    st.sampled_from([0, 1, 4, 5, NOT_STATED]),
)


def _fates(rows: list[tuple[int, ...]], rank: list[int]) -> list[int]:
    columns = list(zip(*rows, strict=True))
    return line_fates(
        Versions(
            np.array(columns[0], np.int64),
            np.array(columns[1], np.int32),
            np.array(columns[2], np.int32),
            np.array(rank, np.int64),
            np.array(columns[3], np.int64),
            np.array(columns[4], np.uint8),
        )
    ).tolist()


@given(st.lists(row, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_fates_belong_to_rows_not_to_their_order(rows: list[tuple[int, ...]], draw: Random) -> None:
    rank = list(range(len(rows)))
    expected = _fates(rows, rank)
    order = list(range(len(rows)))
    draw.shuffle(order)
    shuffled = _fates([rows[k] for k in order], [rank[k] for k in order])
    assert [expected[k] for k in order] == shuffled


@given(st.lists(row, min_size=1, max_size=12))
def test_at_most_one_version_of_a_line_stands(rows: list[tuple[int, ...]]) -> None:
    """Credits beside it apart; voids never stand; reversals and originals cancel to zero."""
    fates = _fates(rows, list(range(len(rows))))
    for group in range(3):
        mine = [(r, f) for r, f in zip(rows, fates, strict=True) if r[0] == group]
        standing = [r for r, f in mine if f == OPEN and r[4] not in (3, 5, 6)]
        assert len(standing) <= 1
        assert all(f == IngestFate.VOIDED for r, f in mine if r[4] == 1)
        assert all(f == OPEN for r, f in mine if r[4] == 5)
        reversed_ = [r[3] for r, f in mine if f == IngestFate.VOIDED and r[4] != 1]
        if not any(r[4] == 1 for r, _ in mine):
            assert sum(reversed_) == 0


def _claim(rows: tuple[int, ...], when: int, cents: int, mark: int = NOT_STATED) -> ClaimVersion:
    return ClaimVersion(rows, (when,), cents, mark)


def test_linked_claims_supersede_and_void_as_wholes() -> None:
    old, new = _claim((0, 1), 1, 500), _claim((2,), 2, 300, 4)
    assert claim_fates([new, old]) == {0: IngestFate.SUPERSEDED, 1: IngestFate.SUPERSEDED}
    void = _claim((3,), 3, 300, 1)
    assert claim_fates([void, new, old]) == {
        0: IngestFate.SUPERSEDED,
        1: IngestFate.SUPERSEDED,
        2: IngestFate.VOIDED,
        3: IngestFate.VOIDED,
    }
    negative = _claim((4,), 2, -500)
    assert set(claim_fates([old, negative]).values()) == {int(IngestFate.VOIDED)}
    assert claim_fates([old, _claim((5,), 2, -10, 5)]) == {}


def test_links_join_claims_into_families() -> None:
    links = [(12, 11), (13, 12), (23, 26)]
    assert families(links) == {11: 11, 12: 11, 13: 11, 23: 23, 26: 23}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(-2, 2), st.sampled_from([0, 1, 2, 3, 4, NOT_STATED])
        ),
        min_size=2,
        max_size=2,
    )
)
def test_a_pair_is_judged_the_short_way_as_the_long(pair: list[tuple[int, int, int]]) -> None:
    pair = sorted(pair, key=lambda version: version[0])
    days, cents, marks = zip(*pair, strict=True)
    start, stop = np.array([0]), np.array([2])
    plain, voided = _plain_pairs(start, stop, np.array(cents), np.array(marks, np.uint8))
    if plain[0]:
        when = [(day, 0) for day in days]
        expected = _pair_off(when, list(cents), list(marks))
        assert expected == ({0, 1} if len(voided) else set())
