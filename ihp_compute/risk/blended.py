"""Scores of several models by their shares: the blend that a payment year pays by.

    each model's own score, with its own rounding -> sum of shares -> rounded once more

Which shares a payment year has is `models.store.shares`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

PARTS_OF_ONE: Final = 10_000
"""Shares are whole ten-thousandths."""
SCORE_PLACES: Final = 3
"""Decimals of a blended score, as of those that it blends."""


def blend(
    shares: Sequence[Decimal], score_micro: Sequence[NDArray[np.int64]], *, places: int
) -> NDArray[np.int64]:
    """Sum of shares of scores, to `places` decimals, half up: int64[n_members] millionths.

    A single model's score stays as it is.

    Parameters
    ----------
    shares : sequence of Decimal
        They make up 1.
    score_micro : sequence of int64[n_members], millionths, none below zero
    places : int, 3 or 6
    """
    if len(shares) == 1:
        return score_micro[0]
    unit = 10 ** (6 - places) * PARTS_OF_ONE
    total = np.zeros(len(score_micro[0]), np.int64)
    for share, score in zip(shares, score_micro, strict=True):
        total += int(share * PARTS_OF_ONE) * score
    return (2 * total + unit) // (2 * unit) * (unit // PARTS_OF_ONE)
