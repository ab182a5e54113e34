"""Why a mean score moved: steps worked by hand, and that they always add up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure import SCORE_PARTS
from ihp_compute.results.score_changes import STEPS, changes

SHAPE = (2, len(RATE_CELLS) + 1, len(SCORE_PARTS))


def sums(**given: dict[str, int]) -> np.ndarray:
    """Sums of `y0c1="..."`: year, rate cell, and its parts in millionths times months."""
    found = np.zeros(SHAPE, np.int64)
    for place, parts in given.items():
        for name, value in parts.items():
            found[int(place[1]), int(place[3:]), SCORE_PARTS.index(name)] = value
    return found


def test_each_step_is_what_the_page_says() -> None:
    """Two rate cells of ten months each; then five and fifteen, older, sicker, and a new map.

    Base means are .5 and 1.5, so the mean is 1.0, and at the new months .25 × .5 + .75 × 1.5 =
    1.25: mix is .25. Without codes the cells made .4 and 1.0, .85 at the new months; now .9: age is
    .05. Codes made .1 and .5, .4 at the new months; now .6, of which stayers bring .12. The new
    map takes .02.
    """
    last = len(RATE_CELLS)
    found = changes(
        sums(
            y0c0={"months": 10, "demographic": 4_000_000, "codes": 1_000_000},
            y0c1={"months": 10, "demographic": 10_000_000, "codes": 5_000_000},
            y1c0={"months": 5, "demographic": 3_000_000, "codes": 2_000_000, "model": -400_000},
            y1c1={"months": 15, "demographic": 15_000_000, "codes": 10_000_000},
            **{f"y1c{last}": {"months": 12, "codes": 2_400_000}},
        )
    )
    assert found == {
        "base_member_months": 20,
        "member_months": 20,
        "stayed_member_months": 12,
        "base_score_micro": 1_000_000,
        "mix_micro": 250_000,
        "age_sex_micro": 50_000,
        "filled_micro": 0,
        "coding_micro": 120_000,
        "people_micro": 80_000,
        "model_micro": -20_000,
        "score_micro": 1_480_000,
    }


def test_a_rate_cell_without_base_months_is_no_change_of_mix() -> None:
    """What the group had as a whole stands for it."""
    found = changes(
        sums(
            y0c0={"months": 10, "demographic": 5_000_000},
            y1c1={"months": 10, "demographic": 7_000_000},
        )
    )
    assert found is not None
    assert (found["mix_micro"], found["age_sex_micro"]) == (0, 200_000)


def test_a_group_without_months_of_a_year_has_no_change() -> None:
    assert changes(sums(y1c0={"months": 10, "demographic": 5_000_000})) is None


@given(arrays.arrays(np.int64, SHAPE, elements=st.integers(0, 10**9)))
def test_the_steps_add_up_to_the_year(drawn: np.ndarray) -> None:
    drawn[:, :, SCORE_PARTS.index("months")] += 1
    found = changes(drawn)
    assert found is not None
    moved = sum(found[f"{step}_micro"] for step in STEPS)
    assert found["base_score_micro"] + moved == found["score_micro"]
    months = drawn[1, :-1, 0].sum()
    whole = int(drawn[1, :-1, 1:].sum())
    assert abs(found["score_micro"] - whole / months) <= 0.5
