"""What is planted in a state's people: levels, scores, moves, clinic-years, use of care, prices.

One table, `EFFECTS`, says of each what a value means, which values it may take, and which a state
has unless somebody asks for another. Not here: what is planted among claims (`histories`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ihp_compute.errors import PlantError


@dataclass(frozen=True)
class Effect:
    """Something that may be planted.

    shipped : value of a state for which nobody asks for another
    least, most : what may be asked for
    meaning : what a value of x does
    """

    name: str
    shipped: float
    least: float
    most: float
    meaning: str


EFFECTS: Final = (
    Effect(
        "levels", 0.10, 0, 0.5,
        "each partnership's cost stands in both years at a level of its own, drawn evenly between"
        " 1 - x and 1 + x of what its members' scores say",
    ),
    Effect(
        "creep", 0.01, -0.2, 0.5,
        "scores of the performance year are higher by x; nobody is sicker",
    ),
    Effect(
        "creep_in_cells", 0, -0.2, 0.5,
        "likewise, of members of the expansion cells alone",
    ),
    Effect(
        "creep_of_one", 0, -0.2, 0.5,
        "likewise, of members of IHP-03 alone",
    ),
    Effect(
        "acuity", 0, -0.2, 0.5,
        "people are sicker in the performance year: cost and scores before the cap higher by x",
    ),
    Effect(
        "acuity_in_cells", 0, -0.2, 0.5,
        "likewise, members of the disabled cells alone",
    ),
    Effect(
        "acuity_of_one", 0, -0.2, 0.5,
        "likewise, members of IHP-04 alone",
    ),
    Effect(
        "movers", 0.02, 0, 1,
        "the part x of members changes eligibility group in a month of the two years: adults to"
        " expansion, expansion to disabled; their cost stays what it was",
    ),
    Effect(
        "thin", 0.9, 0, 1,
        "the part x of IHP-05's newborns and maternity members of the base year sees nobody then,"
        " so that it has few base months in these cells",
    ),
    Effect(
        "clinics", 0.03, 0, 0.5,
        "cost of a clinic's members stands together in a year: a lognormal factor of mean 1 for"
        " each clinic and year, x the standard deviation of its logarithm",
    ),
    Effect(
        "weights", 0, 0, 2,
        "above 0, expected cost after the standard cap is a sum of planted weights of age and sex,"
        " aid group and condition categories, the last x times those declared; every condition is"
        " coded; nobody saves, and levels, clinics and acuity are 0",
    ),
    Effect(
        "savings_lost", 0, 0, 1,
        "the part x of every partnership's declared true savings is not saved",
    ),
    Effect(
        "trend_difference", 0, -0.2, 0.5,
        "cost of every partnership grows by the factor 1 + x more than that of the comparison",
    ),
    Effect(
        "price_change", 0, -0.5, 0.5,
        "every service of IHP-01's members costs x more in the performance year",
    ),
    Effect(
        "use_change", 0, 0, 0.5,
        "IHP-01's members have x more of every service in the performance year",
    ),
    Effect(
        "ed_change", 0, -0.5, 0.5,
        "emergency visits of partnerships' members change by x from base to performance year, those"
        " of others do not",
    ),
    Effect(
        "stay_change", 0, -0.5, 0.5,
        "likewise, hospital stays; the part of them that is followed by another stays what it was",
    ),
    Effect(
        "readmission_change", 0, -0.9, 0.5,
        "likewise, the part of stays that is followed by another within 30 days; there are as many"
        " stays as before",
    ),
    Effect(
        "ed_disparity", 0, -0.5, 2,
        "emergency visits of black members are 1 + x times those of others, in both years",
    ),
    Effect(
        "ed_disparity_homeless", 0, -0.5, 2,
        "likewise, of members without a home",
    ),
    Effect(
        "intervention_effect", 0, -0.9, 0.5,
        "emergency visits of the arm `treated` change by x from base to performance year, those of"
        " the arm `comparison` do not",
    ),
    Effect(
        "fewer_partnerships", 0, 0, 24,
        "the last x of the 25 partnerships are not there, and the others have their members too,"
        " each in proportion to its size",
    ),
)  # fmt: skip
_BY_NAME: Final = {effect.name: effect for effect in EFFECTS}
_NOT_BESIDE_WEIGHTS: Final = (
    "levels", "clinics", "acuity", "acuity_in_cells", "acuity_of_one", "trend_difference",
    "price_change", "use_change",
)  # fmt: skip
"""What multiplies cost, so that it would be no sum of weights."""
NOTHING: Final = dict.fromkeys(_BY_NAME, 0.0)
"""A state in which nothing of it is planted."""


def planted(given: Mapping[str, float]) -> dict[str, float]:
    """Every effect with its value: the given one, else the shipped one.

    Raises
    ------
    PlantError
        If an effect is unknown, its value out of range, or weights stand beside what multiplies
        cost.
    """
    for name, value in given.items():
        if name not in _BY_NAME:
            raise PlantError(
                f"--plant {name}: no such effect; expected one of {', '.join(_BY_NAME)}"
            )
        effect = _BY_NAME[name]
        if not effect.least <= value <= effect.most:
            raise PlantError(
                f"--plant {name}={value:g}: expected {effect.least:g} to {effect.most:g}: "
                f"{effect.meaning}"
            )
    found = {name: float(given.get(name, effect.shipped)) for name, effect in _BY_NAME.items()}
    if found["weights"]:
        for name in _NOT_BESIDE_WEIGHTS:
            if given.get(name):
                raise PlantError(
                    f"--plant {name}={given[name]:g}: not beside --plant weights, because "
                    "cost that it multiplies is no sum of weights; leave one of them out"
                )
            found[name] = 0.0
    return found
