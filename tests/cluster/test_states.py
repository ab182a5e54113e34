from __future__ import annotations

import pytest

from cluster.states import FINAL, STATES, SUCCESSORS, TransitionError, check


def test_every_state_has_its_successors_listed() -> None:
    assert set(SUCCESSORS) == set(STATES)
    assert {after for following in SUCCESSORS.values() for after in following} <= set(STATES)


def test_a_finished_run_never_moves_again() -> None:
    assert {"succeeded", "failed", "cancelled"} == FINAL
    for before in FINAL:
        for after in STATES:
            with pytest.raises(TransitionError, match=f"from {before} to {after}"):
                check(before, after)


def test_only_a_running_run_can_succeed() -> None:
    assert [state for state in STATES if "succeeded" in SUCCESSORS[state]] == ["running"]
