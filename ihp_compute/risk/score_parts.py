"""What each member's two scores are made of, so that two years can be compared.

    score of a year = without any code + what the codes add + what fills a missing score

The performance year's codes are scored by the base year's model too: what the years' models make
differently of the same people and codes is apart from what the codes say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoreParts:
    """Parts of the scores of one shard's members in two years; arrays are of n_members.

    Attributes
    ----------
    demographic_micro, codes_micro, filled_micro : int64[2, n_members]
        By year. Both years by the model of the base year: without any code, and what codes add;
        0 of who cannot be scored, whose filled score stands in the last.
    model_micro : int64[n_members]
        Score of the performance year less what the base year's model makes of the same.
    scored : bool[n_members]
        Who is scored by the model in both years.
    """

    demographic_micro: NDArray[np.int64]
    codes_micro: NDArray[np.int64]
    filled_micro: NDArray[np.int64]
    model_micro: NDArray[np.int64]
    scored: NDArray[np.bool_]


def parts_of(
    with_codes: Sequence[NDArray[np.int64]],
    without: Sequence[NDArray[np.int64]],
    able: Sequence[NDArray[np.bool_]],
    own: Sequence[NDArray[np.int64]],
) -> ScoreParts:
    """The parts; every sequence is (base year, performance year).

    Parameters
    ----------
    with_codes, without : of int64[n_members]
        By the base year's model: scores, and scores of nobody's codes.
    able : of bool[n_members]
        Who can be scored.
    own : of int64[n_members]
        The scores that count, filled ones among them.
    """
    demographic = np.stack([np.where(can, one, 0) for can, one in zip(able, without, strict=True)])
    whole = np.stack([np.where(can, one, 0) for can, one in zip(able, with_codes, strict=True)])
    filled = np.stack([np.where(can, 0, one) for can, one in zip(able, own, strict=True)])
    return ScoreParts(
        demographic,
        whole - demographic,
        filled,
        own[1] - whole[1] - filled[1],
        able[0] & able[1],
    )
