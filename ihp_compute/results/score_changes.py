"""Why the mean score of each partnership, and of the state, is another one than in the base year.

    base mean -> mix of rate cells -> age and sex -> scores filled -> the same people's codes
        -> who came and went -> what the years' models make of the same -> mean of the year

Each step is a difference of levels that are rounded to a millionth, half to even, so that the steps
add up exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure import SCORE_PARTS, Measured, Plan
from ihp_compute.units import half_even

STEPS = ("mix", "age_sex", "filled", "coding", "people", "model")
_PARTS = ("demographic", "codes", "filled")


def score_change_rows(plan: Plan, measured: Measured) -> Iterator[dict[str, Any]]:
    """Rows of `tables.SCORE_CHANGES` of one measurement: the state, then its partnerships.

    Nothing where no model scores from diagnoses, and none of who has no months in a year.
    """
    sums = measured.score_change
    if not len(sums):
        return
    groups = measured.totals.groups
    places = [(groups.index(name), name) for name in sorted(plan.contracts.contracts)]
    for place, name in ((-1, ""), *places):
        found = changes(sums[place])
        if found is not None:
            yield {"partnership_id": name, **found, "measurement": plan.measurement}


def changes(sums: NDArray[np.int64]) -> dict[str, int] | None:
    """Columns of a row from the sums of one group; None where a year has no months.

    Parameters
    ----------
    sums : int64[2, n_rate_cells + 1, n_parts]
        As `measure.score_change` has them.
    """
    cells = range(len(RATE_CELLS))
    at = {name: SCORE_PARTS.index(name) for name in SCORE_PARTS}

    def total(y: int, part: str) -> int:
        return sum(int(sums[y, c, at[part]]) for c in cells)

    months = [total(y, "months") for y in (0, 1)]
    if not all(months):
        return None

    def of_cell(c: int, part: str) -> Fraction:
        """The base mean of a part in a rate cell; of the group where the cell had no months."""
        own = int(sums[0, c, at["months"]])
        if own:
            return Fraction(int(sums[0, c, at[part]]), own)
        return Fraction(total(0, part), months[0])

    at_mix = {
        part: sum(int(sums[1, c, at["months"]]) * of_cell(c, part) for c in cells)
        / Fraction(months[1])
        for part in _PARTS
    }
    now = {part: Fraction(total(1, part), months[1]) for part in (*_PARTS, "model")}
    stayed = sums[1, len(RATE_CELLS)]
    coding = Fraction(int(stayed[at["codes"]]), months[1])
    base = Fraction(sum(total(0, part) for part in _PARTS), months[0])
    steps = {
        "mix": sum(at_mix.values(), Fraction()) - base,
        "age_sex": now["demographic"] - at_mix["demographic"],
        "filled": now["filled"] - at_mix["filled"],
        "coding": coding,
        "people": now["codes"] - at_mix["codes"] - coding,
        "model": now["model"],
    }
    level, levels = base, [_micro(base)]
    for name in STEPS:
        level += steps[name]
        levels.append(_micro(level))
    return {
        "base_member_months": months[0],
        "member_months": months[1],
        "stayed_member_months": int(stayed[at["months"]]),
        "base_score_micro": levels[0],
        **{
            f"{name}_micro": after - before
            for name, (before, after) in zip(STEPS, pairwise(levels), strict=True)
        },
        "score_micro": levels[-1],
    }


def _micro(mean: Fraction) -> int:
    return half_even(mean.numerator, mean.denominator)
