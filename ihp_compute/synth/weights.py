"""Weights that may be planted: what a year of age and sex, aid group and conditions costs.

    a member-year's expected cost after the standard cap, in dollars for twelve months,
        = age and sex + aid group + categories left + sets of them + how many they are

Categories, what clears what, sets and counts are those of CMS-HCC V28 for the codes that `codes`
knows, restated from CMS's published model software for payment years 2025 and 2026 (ICD-10 mappings
and V28 hierarchies); the dollars are invented. Age is that of 1 February after the year, so that a
model of this family finds these terms where it scores a year by the codes of that year.

A code that the model reads otherwise by age or sex is had by those alone of whom it reads it so,
with a margin for the day at which age is taken. Nobody's weights come to more than half the cap:
who would have more does not have the heaviest condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS
from ihp_compute.synth.codes import CONDITIONS
from ihp_compute.synth.lognormal import Floats
from ihp_compute.synth.people import CAP_CENTS, Calendar, People

MODEL: Final = "cms-hcc-v28"
TIMING: Final = "concurrent"
MOST_USD: Final = CAP_CENTS / 100 / 2


@dataclass(frozen=True)
class Category:
    """Codes that weigh together, and the categories that it clears."""

    name: str
    usd: int
    codes: tuple[str, ...]
    clears: tuple[str, ...] = ()


CATEGORIES: Final = (
    Category("HCC1", 21_000, ("B20",)),
    Category("HCC2", 24_000, ("A419", "R6520")),
    Category("HCC17", 60_000, ("C9200",), ("HCC18", "HCC20", "HCC22", "HCC23")),
    Category("HCC18", 55_000, ("C9100",), ("HCC20", "HCC22", "HCC23")),
    Category("HCC20", 50_000, ("C3411", "C3490"), ("HCC22", "HCC23")),
    Category("HCC22", 38_000, ("C189", "C20"), ("HCC23",)),
    Category("HCC23", 30_000, ("C50911", "C50919")),
    Category("HCC37", 6_500, ("E1122", "E1142"), ("HCC38",)),
    Category("HCC38", 4_200, ("E109", "E1065", "E119", "E1165")),
    Category("HCC48", 2_400, ("E6601", "Z6841")),
    Category("HCC62", 45_000, ("Z944",), ("HCC64", "HCC65")),
    Category("HCC64", 18_000, ("K7030", "K7460"), ("HCC65",)),
    Category("HCC65", 7_500, ("B182",)),
    Category("HCC80", 20_000, ("K5090",), ("HCC81",)),
    Category("HCC81", 14_000, ("K5190",)),
    Category("HCC93", 16_000, ("M0579", "M069")),
    Category("HCC107", 24_000, ("D5700", "D571")),
    Category("HCC111", 58_000, ("D66", "D67")),
    Category("HCC137", 6_800, ("F1120", "F1123"), ("HCC139",)),
    Category("HCC139", 4_300, ("F1020",)),
    Category("HCC151", 12_000, ("F209", "F259"), ("HCC154", "HCC155")),
    Category("HCC154", 6_200, ("F3181", "F319"), ("HCC155",)),
    Category("HCC155", 3_200, ("F331",)),
    Category("HCC191", 17_000, ("G800",), ("HCC192",)),
    Category("HCC192", 13_000, ("G809",)),
    Category("HCC198", 36_000, ("G35",)),
    Category("HCC201", 7_000, ("G40909", "G40919")),
    Category("HCC226", 14_000, ("I5022", "I5032", "I509")),
    Category("HCC249", 15_000, ("I639",)),
    Category("HCC277", 48_000, ("E840", "E849"), ("HCC280",)),
    Category("HCC280", 6_000, ("J441", "J449")),
    Category("HCC326", 52_000, ("N186",), ("HCC327", "HCC329")),
    Category("HCC327", 12_000, ("N184",), ("HCC329",)),
    Category("HCC329", 8_000, ("N1830",)),
)


@dataclass(frozen=True)
class Set:
    """Categories of one list that meet one of the other list."""

    name: str
    usd: int
    first: tuple[str, ...]
    second: tuple[str, ...]
    most_age: int = 128


_DIABETES: Final = ("HCC37", "HCC38")
_KIDNEY: Final = ("HCC326", "HCC327", "HCC329")
SETS: Final = (
    Set("DIABETES_HF_V28", 4_000, _DIABETES, ("HCC226",)),
    Set("HF_CHR_LUNG_V28", 5_000, ("HCC226",), ("HCC277", "HCC280")),
    Set("HF_KIDNEY_V28", 6_000, ("HCC226",), _KIDNEY),
    Set(
        "gSubUseDisorder_gPsych_V28", 3_000, ("HCC137", "HCC139"), ("HCC151", "HCC154", "HCC155"),
        most_age=65,
    ),
)  # fmt: skip
COUNTS: Final = {5: 4_000, 6: 7_000, 7: 9_000, 8: 11_000, 9: 13_000, 10: 15_000}
"""Dollars of so many categories; the last for all above."""

_AGES: Final = (0, 35, 45, 55, 60, 65, 70)
_LABELS: Final = ("0_34", "35_44", "45_54", "55_59", "60_64", "65_69", "70_74")
_AGE_USD: Final = {
    "F": (2_100, 2_900, 3_400, 3_900, 4_400, 4_900, 5_300),
    "M": (1_700, 2_500, 3_200, 3_700, 4_300, 4_800, 5_200),
}
_AID_USD: Final = (0, 600, 900, 5_000, 3_500, 7_500)  # in the order of `codes.AID_GROUPS`

FITS: Final = {
    "C50911": ("", 51), "C50919": ("", 51), "D66": ("M", 0), "D67": ("M", 0), "J441": ("", 19),
    "J449": ("", 19), "K7030": ("", 16), "Z6841": ("", 16),
}  # fmt: skip
"""Sex and least age of whom the model reads the code as above."""

_PLACE: Final = {category.name: place for place, category in enumerate(CATEGORIES)}
_CATEGORY_OF: Final = {
    code: place for place, category in enumerate(CATEGORIES) for code in category.codes
}


def weights_of(calendar: Calendar, steepness: float) -> dict[str, Any]:
    """What `truth.json` says of planted weights."""
    usd = {
        **{f"{sex}{label}": usd for sex, all_usd in _AGE_USD.items()
           for label, usd in zip(_LABELS, all_usd, strict=True)},
        **{f"aid_{name}": usd for name, usd in zip(AID_GROUPS, _AID_USD, strict=True)},
        **{one.name: one.usd * steepness for one in (*CATEGORIES, *SETS)},
        **{f"D{n}" if n < max(COUNTS) else f"D{n}P": usd * steepness for n, usd in COUNTS.items()},
    }  # fmt: skip
    years = (calendar.base_year, calendar.performance_year)
    return {
        "means": "a member-year's expected cost after the cap, in dollars for twelve months, is "
        "the sum of these over the terms that it has; a term not named here weighs 0",
        "model": MODEL,
        "timing": TIMING,
        "claim_cap_usd": str(CAP_CENTS // 100),
        "reference_aid_group": AID_GROUPS[0],
        "usd": {
            str(year): {term: round(value * growth, 2) for term, value in usd.items()}
            for year, growth in zip(years, (1.0, calendar.trend), strict=True)
        },
    }


def keep_told_apart(people: People, steepness: float) -> None:
    """Take from members the conditions that the model would read otherwise, or that cost too much.

    Changes `people.conditions`.
    """
    member = np.arange(people.n_members)
    for c, condition in enumerate(CONDITIONS):
        for v, code in enumerate(condition.codes):
            if code not in FITS:
                continue
            sex, least = FITS[code]
            has_code = (member + c) % len(condition.codes) == v
            for y in (0, 1):
                fits = _ages(people, y) >= least
                fits &= ~people.female if sex == "M" else True
                people.conditions[has_code & ~fits, y] &= ~_bit(c)
    heaviest = np.array([_heaviest(condition.codes) for condition in CONDITIONS])
    for y in (0, 1):
        for c in np.argsort(-heaviest, kind="stable").tolist():
            too_much = annual_usd(people, y, steepness) > MOST_USD
            if not too_much.any():
                break
            people.conditions[too_much, y] &= ~_bit(c)


def annual_usd(people: People, year: int, steepness: float) -> Floats:
    """Sum of the weights of each member in year 0 (base) or 1 (performance): float64[n].

    steepness : what weights of categories, sets and counts are multiplied with
    """
    months = people.countable[:, people.calendar.columns(year)]
    aid = people.aid[:, people.calendar.columns(year)]
    by_aid = np.stack([(months & (aid == g)).sum(1) for g in range(len(AID_GROUPS))])
    age = _ages(people, year)
    band = np.searchsorted(np.array(_AGES), np.maximum(age, 0), side="right") - 1
    of_sex = np.array([_AGE_USD["M"], _AGE_USD["F"]], np.float64)
    usd: Floats = of_sex[people.female.astype(int), band]
    usd += np.array(_AID_USD, np.float64)[by_aid.argmax(0)]
    have = categories(people, year)
    usd += steepness * (have @ np.array([category.usd for category in CATEGORIES], np.float64))
    for one in SETS:
        first, second = (
            have[:, [_PLACE[name] for name in names]].any(1) for names in (one.first, one.second)
        )
        usd += steepness * one.usd * (first & second & (age < one.most_age))
    by_count = np.zeros(len(CATEGORIES) + 1)
    for n, of_count in COUNTS.items():
        by_count[n:] = of_count
    usd += steepness * by_count[have.sum(1)]
    return usd


def categories(people: People, year: int) -> NDArray[np.bool_]:
    """Categories of each member in a year, less those that others clear: bool[n, categories]."""
    member = np.arange(people.n_members)
    have = np.zeros((people.n_members, len(CATEGORIES)), bool)
    for c, condition in enumerate(CONDITIONS):
        has = (people.conditions[:, year] & _bit(c)) > 0
        for v, code in enumerate(condition.codes):
            if code in _CATEGORY_OF:
                is_variant = (member + c) % len(condition.codes) == v
                have[:, _CATEGORY_OF[code]] |= has & is_variant
    for place, category in enumerate(CATEGORIES):
        for child in category.clears:
            have[:, _PLACE[child]] &= ~have[:, place]
    return have


def _heaviest(codes: tuple[str, ...]) -> int:
    return max((CATEGORIES[_CATEGORY_OF[code]].usd for code in codes if code in _CATEGORY_OF),
               default=0)  # fmt: skip


def _bit(condition: int) -> np.uint64:
    return np.uint64(1) << np.uint64(condition)


def _ages(people: People, year: int) -> NDArray[np.int64]:
    """Completed years on 1 February after the year."""
    calendar = people.calendar
    after = (calendar.base_year, calendar.performance_year)[year] + 1
    born = people.birth_day.astype("datetime64[D]")
    months = born.astype("datetime64[M]").astype(np.int64)
    on_first = born == born.astype("datetime64[M]")
    # on the first of February whoever was born on the first of a month has completed it
    completed = (after - 1970) * 12 + 1 - months - np.where(on_first, 0, 1)
    ages: NDArray[np.int64] = completed // 12
    return ages
