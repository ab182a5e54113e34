from __future__ import annotations

import pytest

from cluster.states import AT_REST, FINAL, HELD, STATES, SUCCESSORS, TransitionError, check


def test_every_state_has_its_successors_listed() -> None:
    assert set(SUCCESSORS) == set(STATES)
    assert {after for following in SUCCESSORS.values() for after in following} <= set(STATES)


def test_a_finished_run_never_moves_again() -> None:
    assert {"succeeded", "failed", "cancelled"} == FINAL
    for before in FINAL:
        for after in STATES:
            with pytest.raises(TransitionError, match=f"from {before} to {after}"):
                check(before, after)


def test_only_a_run_whose_results_are_written_can_succeed() -> None:
    assert [state for state in STATES if "succeeded" in SUCCESSORS[state]] == ["committing"]


def test_whoever_asked_for_an_end_gets_it() -> None:
    assert {"cancelled"} == SUCCESSORS["cancelling"]


def test_every_state_that_somebody_holds_can_be_cancelled_and_all_but_one_taken_over() -> None:
    for state in HELD - {"cancelling"}:
        assert {"cancelling", "queued", "failed"} <= SUCCESSORS[state]


def test_a_run_that_waits_for_a_review_moves_only_when_somebody_asks() -> None:
    assert SUCCESSORS["needs_review"] == {"queued", "cancelled"}
    assert {"needs_review"} == AT_REST - FINAL
