"""The outcomes that are told of people: what each counts, over what, and what one of it costs."""

from __future__ import annotations

from typing import Final, NamedTuple

from ihp_compute.codes import MEMBER_FACTORS
from ihp_compute.population import FACTOR_TEXTS
from ihp_compute.units import CENTS_PER_USD, MICRO

DENOMINATORS: Final = ("months", "index_stays", "children")
"""What events are counted over."""


class Measure(NamedTuple):
    """One outcome.

    Attributes
    ----------
    name : str
    over : str
        One of `DENOMINATORS`.
    scale : float
        A rate is so many times numerator over denominator.
    parts : int
        A numerator is so many times what is told of it.
    category : str
        Service category whose cents over its events are what one event costs; empty: nothing.
    """

    name: str
    over: str
    scale: float
    parts: int = 1
    category: str = ""


_PER_1000_YEARS: Final = 12_000.0
MEASURES: Final = (
    Measure("stays", "months", _PER_1000_YEARS, category="inpatient"),
    Measure("ed_visits", "months", _PER_1000_YEARS, category="emergency"),
    Measure("ed_avoidable", "months", _PER_1000_YEARS / MICRO, MICRO, "emergency"),
    Measure("readmissions", "index_stays", 1.0, category="inpatient"),
    Measure("follow_up", "index_stays", 1.0),
    Measure("well_child", "children", 1.0),
    Measure("cost", "months", 1 / CENTS_PER_USD),
)
"""In the order of sums: rates per 1,000 member years, shares, and USD per member month."""
COST: Final = "cost"
EVENTS: Final = {"inpatient": "stays", "emergency": "ed_visits"}
"""The measure whose events are those of a service category."""

ALL: Final = "all"
INTERVENTION: Final = "intervention"
DIMENSIONS: Final = (*FACTOR_TEXTS, *MEMBER_FACTORS)
"""Columns of `member_factors` by which people are told apart."""
"""Stratum of who has no row in force, or a blank."""
CONTROL: Final = "comparison"
"""The arm of an intervention that the others are held against."""

COMPARATORS: Final = ("comparison", "others")
"""Whom changes are held against, beside `REGION` and the name of one."""
REGION: Final = "region:"
