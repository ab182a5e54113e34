"""The load on the service, small: everybody is answered, and what is told is complete."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.service import QUICK, measure

pytestmark = [pytest.mark.service, pytest.mark.ray]


def test_everybody_is_answered_beside_runs() -> None:
    found = measure(2000, replace(QUICK, replicates=10, load_s=2.0, idle_s=1.0))
    beside = found["beside_runs"]
    assert beside["readers"]["errors"] == 0, beside["readers"]["first_errors"]
    assert beside["readers"]["latency"]["n"] >= QUICK.readers
    assert beside["streams"] == QUICK.streams
    assert (beside["runs_failed"], beside["runs_finished"] > 0) == (0, True)
    assert found["idle_streams"]["streams"] == QUICK.idle_streams
    assert found["whole_table"]["rows"] == 2 * 2000
