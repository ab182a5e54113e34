"""By how much a member-year has more of some care, or dearer care, than its need says.

Factors of `effects.EFFECTS` on what is drawn for a member-year (`hospital`, `claims`, `lines`), and
what must come of them where a state's outcomes are compared (`told`). Each factor multiplies an
expected number of events or a price, never one that was drawn, so that the ratio of two groups'
expectations is the planted one whatever else is in the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ihp_compute.codes import COMPARISON
from ihp_compute.synth.columns import Array
from ihp_compute.synth.factors import ARMS, BLACK, RACES, TREATED, UNTREATED
from ihp_compute.synth.lognormal import Floats
from ihp_compute.synth.network import partnership_ids
from ihp_compute.synth.people import CHANGED, COMPARISON_GROUP, NO_GROUP, People

READMITTED_SHARE: Final = 0.15
"""Of stays, those that are followed by another within 30 days."""
_FEWER: Final = ("ed_change", "stay_change", "readmission_change")
"""Effects that change services and leave dollars: prices and use are not told beside them."""


@dataclass(frozen=True)
class Changes:
    """Factors of member-years; float64 arrays of one length.

    emergency, stays : on the expected number of emergency visits and of stays
    readmitted : on the part of stays that is followed by another
    use : more of every service, as a part
    price : on the price of a service that is no part of the member-year's included dollars
    """

    emergency: Floats
    stays: Floats
    readmitted: Floats
    use: Floats
    price: Floats

    @classmethod
    def of(cls, people: People, member: Array, year: Array) -> Changes:
        """Of members in year 0 (base) or 1 (performance)."""
        effects, factors = people.effects, people.factors
        group = people.group[member, year]
        later = year == 1
        partner = later & (group != NO_GROUP) & (group != COMPARISON_GROUP)
        one = later & (group == CHANGED)

        def grown(name: str, where: Array) -> Floats:
            found: Floats = 1 + effects[name] * where
            return found

        emergency = grown("ed_change", partner)
        emergency *= grown("ed_disparity", factors.race[member] == BLACK)
        emergency *= grown("ed_disparity_homeless", factors.is_homeless[member])
        emergency *= grown("intervention_effect", later & (factors.arm[member] == TREATED))
        return cls(
            emergency,
            grown("stay_change", partner),
            grown("readmission_change", partner),
            effects["use_change"] * one,
            grown("price_change", one),
        )


def told(people: People) -> dict[str, Any]:
    """What must come of the planted changes, for `truth.json`: expectations, no counts."""
    effects = people.effects
    years = (str(people.calendar.base_year), str(people.calendar.performance_year))
    names = partnership_ids(people.n_partnerships)
    more = np.where(np.arange(len(names)) == CHANGED, effects["use_change"], 0.0)
    relative = {
        "ed_visits": (1 + effects["ed_change"]) * (1 + more) - 1,
        "stays": (1 + effects["stay_change"]) * (1 + more) - 1,
        "readmissions": np.where(more > 0, np.nan, effects["readmission_change"]),
    }
    groups = {name: p for p, name in enumerate(names)} | {COMPARISON: COMPARISON_GROUP}
    if any(effects[name] for name in _FEWER):  # the same dollars for other services
        groups = {}
    growth = people.calendar.trend
    black, homeless = effects["ed_disparity"], effects["ed_disparity_homeless"]
    return {
        "means": (
            "changes: (1 + a partnership's change of a rate from base to performance year) / (1 +"
            " that of the comparison) - 1; growth: cost per score-month after the standard cap,"
            " performance over base year; strata: rate of a stratum over that of the other, in"
            " both years, as many months of each scope; prices: of every service of a group's"
            " members over the comparison's; use: services per member month and score likewise"
        ),
        "changes": [
            {
                "partnership_id": name,
                "comparator": COMPARISON,
                **{
                    measure: round(float(of[p]), 9)
                    for measure, of in relative.items()
                    if not np.isnan(of[p])
                },
            }
            for p, name in enumerate(names)
        ],
        "growth": [
            {
                "partnership_id": name,
                "growth": round(growth * (1 - float(people.savings[p])), 9),
                "comparator_growth": round(growth, 9),
            }
            for p, name in enumerate(names)
        ],
        "strata": [
            {"measure": "ed_visits", "dimension": dimension, "stratum": stratum,
             "reference": reference, "ratio": 1 + ratio}
            for dimension, stratum, reference, ratio in (
                ("race", RACES[BLACK], RACES[0], black),
                ("homelessness", "yes", "no", homeless),
            )
        ],
        "intervention": {
            "measure": "ed_visits", "treated": ARMS[TREATED], "comparison": ARMS[UNTREATED],
            "relative_change": effects["intervention_effect"],
        },
        "prices": [
            {
                "group_id": group,
                **{
                    year: round(float(people.prices[g, y] / people.prices[COMPARISON_GROUP, y]), 9)
                    for y, year in enumerate(years)
                },
            }
            for group, g in groups.items()
        ],
        "use": [
            {"group_id": name, years[0]: 1.0, years[1]: round(1 + float(more[p]), 9)}
            for p, name in enumerate(names[: len(groups)])
        ],
    }  # fmt: skip
