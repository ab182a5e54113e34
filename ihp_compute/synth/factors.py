"""Who members are and what they live with: race, language, social factors, arm of an intervention.

None of it has a say in what a member costs or needs, conditions and age apart, so that a difference
between strata in the use of care is a planted one (`changes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.synth.codes import CONDITIONS
from ihp_compute.synth.columns import Array

RACES: Final = ("white", "black", "asian", "american indian", "other", "unknown")
BLACK: Final = RACES.index("black")
ETHNICITIES: Final = ("not hispanic", "hispanic")
LANGUAGES: Final = ("english", "somali", "spanish", "hmong", "other")
_RACE_SHARES: Final = (0.55, 0.18, 0.08, 0.04, 0.07, 0.08)
_ETHNICITY_SHARES: Final = (0.88, 0.12)
_LANGUAGE_SHARES: Final = (0.86, 0.03, 0.05, 0.02, 0.04)
SOCIAL: Final = (
    "deep_poverty", "homelessness", "serious_mental_illness", "substance_use_disorder",
    "past_incarceration", "child_protection",
)  # fmt: skip
NO_ARM, TREATED, UNTREATED = range(3)
ARMS: Final = ("", "treated", "comparison")
_ARM_SHARES: Final = (0.84, 0.08, 0.08)
"""Drawn by lot among all members."""
_CONSENT_SHARE: Final = 0.3
_CONSENT_DAYS: Final = 730
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Factors:
    """Arrays over members.

    race, ethnicity, language : uint8[n], places in `RACES`, `ETHNICITIES`, `LANGUAGES`
    disability : bool[n]
    social : bool[len(SOCIAL), n]
    consent_day : int32[n], days after the window's first from which consent to share records of
        substance use holds; -1 none
    arm : uint8[n], place in `ARMS`
    """

    race: NDArray[np.uint8]
    ethnicity: NDArray[np.uint8]
    language: NDArray[np.uint8]
    disability: Flags
    social: Flags
    consent_day: NDArray[np.int32]
    arm: NDArray[np.uint8]

    @classmethod
    def none(cls, n: int) -> Factors:
        """Of people of whom nothing is known yet."""
        zeros = np.zeros(n, np.uint8)
        no = np.zeros((len(SOCIAL), n), bool)
        return cls(zeros, zeros, zeros, no[0], no, np.full(n, -1, np.int32), zeros)

    @property
    def is_homeless(self) -> Flags:
        """Who has no home."""
        return self.social[SOCIAL.index("homelessness")]


def draw_factors(
    rng: np.random.Generator, *, conditions: NDArray[np.uint64], is_child: Flags, is_disabled: Flags
) -> Factors:
    """Draw what members live with.

    Parameters
    ----------
    rng : numpy.random.Generator
    conditions : uint64[n, 2]
        Bits of `codes.CONDITIONS`, by year.
    is_child, is_disabled : bool[n]
        Of these aid groups.
    """
    n = len(conditions)
    places = {condition.name: c for c, condition in enumerate(CONDITIONS)}

    def has(*names: str) -> Flags:
        bits = np.uint64(sum(1 << places[name] for name in names))
        return ((conditions[:, 0] | conditions[:, 1]) & bits) > 0

    def chosen(shares: Sequence[float]) -> Array:
        return np.searchsorted(np.cumsum(shares)[:-1], rng.random(n)).astype(np.uint8)

    poor = rng.random(n) < 0.14
    race, ethnicity, language = (
        chosen(shares) for shares in (_RACE_SHARES, _ETHNICITY_SHARES, _LANGUAGE_SHARES)
    )
    uses = has("opioid use", "alcohol use")
    social = {
        "deep_poverty": poor,
        "homelessness": rng.random(n) < np.where(poor, 0.09, 0.015),
        "serious_mental_illness": has("bipolar disorder", "schizophrenia"),
        "substance_use_disorder": uses,
        "past_incarceration": ~is_child & (rng.random(n) < 0.05),
        "child_protection": is_child & (rng.random(n) < np.where(poor, 0.11, 0.04)),
    }
    arm = chosen(_ARM_SHARES)
    consents = uses & (rng.random(n) < _CONSENT_SHARE)
    day = np.where(consents, rng.integers(0, _CONSENT_DAYS, n), -1).astype(np.int32)
    return Factors(
        race, ethnicity, language, is_disabled, np.stack([social[name] for name in SOCIAL]),
        day, arm,
    )  # fmt: skip
