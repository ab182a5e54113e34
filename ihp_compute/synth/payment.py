"""When synthetic claims are paid, and through which day a state is delivered.

A claim is paid some weeks after its last day: drugs soon, professional claims later, institutional
claims last, plans' encounters a week after what the state pays itself, and some of each very late.
No clean claim waits longer than `MOST_DAYS`, so that at the end of the run-out every service of the
two years is there. Lags hang on what kind of claim it is and on nobody's cost.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.synth.columns import Array

RUN_OUT_MONTHS: Final = 6
"""Whole months of payment after the performance year, unless a state is cut at another day."""
LEAST_DAYS: Final = 15
MOST_DAYS: Final = 165
_MEAN_DAYS: Final = {"drug": 5.0, "professional": 20.0, "institutional": 32.0}
"""Beyond the least, on average."""
_ENCOUNTER_DAYS: Final = 7
_LATE_SHARE: Final = 0.03
_LATE_DAYS: Final = 75.0


def run_out_end(performance_year: int) -> date:
    """The last day of payment of a state that is delivered with its run-out."""
    return date(performance_year + 1, RUN_OUT_MONTHS, 30)


def payment_lags(
    rng: np.random.Generator, *, is_drug: Array, is_institutional: Array, is_managed: Array
) -> NDArray[np.int32]:
    """Days from the last day of each claim to its payment.

    Parameters
    ----------
    rng : numpy.random.Generator
    is_drug, is_institutional, is_managed : bool[n]
        What bills, and whether it is a plan's encounter.

    Returns
    -------
    int32[n]
        From `LEAST_DAYS` to `MOST_DAYS`.
    """
    n = len(is_drug)
    mean = np.where(
        is_drug,
        _MEAN_DAYS["drug"],
        np.where(is_institutional, _MEAN_DAYS["institutional"], _MEAN_DAYS["professional"]),
    )
    beyond = rng.exponential(1.0, n) * mean + _ENCOUNTER_DAYS * is_managed
    late = rng.random(n) < _LATE_SHARE
    beyond += late * rng.random(n) * 2 * _LATE_DAYS
    return (LEAST_DAYS + np.minimum(beyond, MOST_DAYS - LEAST_DAYS)).astype(np.int32)
