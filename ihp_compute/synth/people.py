"""The people of a synthetic state, and what each member-year is expected and found to cost.

In order: who they are (`_draw`: age, sex, eligibility group, plan, months enrolled, conditions,
home partnership; of a few, `anchors` says it), what a year of them should cost (`_calibrate`), what
it did cost (`_realise`).

The cost model. A member-year's included cost before the cap is

    use * lognormal(mean  = K * trend^t * g[cell, year] * f[partnership, year] * lambda * months,
                    sigma = sigma(lambda))

`lambda` is the relative cost that demographics and conditions explain; `use` is 1 for members with
visits and a coin otherwise (with the mean raised accordingly), so who is attributed says nothing
about the residual. Residuals of one member correlate across the years. A supplied score is exactly
proportional to the *expected capped* cost of the member-month without savings. Two calibrations
make the known answer exact:

* `g` makes the statewide mean score of the eligible the same in both years in every rate cell,
  though a fixed cap bites deeper each year: capped cost then grows by the trend and nothing else;
* `f` makes the expected capped cost of a partnership's attributed members in the performance year
  exactly (1 - true savings rate) times what it is without savings.

Everything here is drawn in blocks of `BLOCK` members, each block from its own Philox key, so
member i of a seed is the same in every run. Not here: claims (`claims`), files (`state`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from ihp_compute.codes import (
    AID_GROUPS,
    PAYER_KINDS,
    RATE_CELLS,
    SPAN_DUAL,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
)
from ihp_compute.synth.anchors import N_ANCHORS, Anchors
from ihp_compute.synth.codes import CONDITIONS
from ihp_compute.synth.columns import Array
from ihp_compute.units import months_of_days, year_bounds

Floats = NDArray[np.float64]

BLOCK: Final = 65_536
MONTHS_BEFORE: Final = 1
"""Months of enrolment and claims before the base year: December."""
MONTHS_AFTER: Final = 2
CAP_CENTS: Final = 20_000_000
"""The claim cap that the known answer refers to."""
TREND: Final = 0.042
"""Growth of capped cost per score-month and year, statewide; the demonstration contract's trend."""
BASE_PMPM_CENTS: Final = 46_000
MINIMUM_MONTHS: Final = (6, 9)
"""Eligible: so many months in a row, or so many at all."""
USE_WITHOUT_VISITS: Final = 0.65
RESIDUAL_CORRELATION: Final = 0.4

SIZES: Final = (
    78, 58, 52, 45, 40, 32, 30, 28, 22, 20, 18, 14, 12, 8, 7, 6, 6, 6, 5, 5, 4, 3, 3, 2, 1,
)  # fmt: skip
"""Attributed members of the 25 partnerships, per 1,200 members of the state."""
TRUE_SAVINGS_MICRO: Final = (
    21_000, 48_000, -12_000, 0, 63_000, 35_000, -30_000, 90_000, 15_000, -45_000, 55_000, 28_000,
    0, 74_000, -60_000, 40_000, 100_000, -20_000, 10_000, 82_000, -36_000, 0, 60_000, -8_000,
    30_000,
)  # fmt: skip
N_PARTNERSHIPS: Final = len(SIZES)
COMPARISON_GROUP: Final = N_PARTNERSHIPS
NO_GROUP: Final = -1
COMPARISON_SHARE: Final = 0.35
_ATTRIBUTED_PER_HOME: Final = 0.745
"""Share of members with a home who are eligible and visit it in a year; scales the sizes."""

CHILD, ADULT, EXPANSION, DISABLED, NEWBORN, MATERNITY = range(len(AID_GROUPS))
FFS, MANAGED = range(len(PAYER_KINDS))
PLANS: Final = ("", "MCO-A", "MCO-B", "MCO-C", "MCO-D", "MCO-E")
_MIX_OF_AID: Final = np.array([0, 1, 1, 2, 0, 1])
"""Column of `Condition.rates` and `Template.mix` by aid group."""

_BASE_LAMBDA: Final = np.array([0.26, 0.40, 0.42, 1.00, 1.10, 1.90])
_COMORBID: Final = {
    "diabetes": ("hypertension", "hyperlipidemia", "obesity", "kidney disease"),
    "heart failure": ("coronary disease", "hypertension", "kidney disease"),
    "opioid use": ("hepatitis C", "depression", "anxiety"),
    "depression": ("anxiety",),
    "alcohol use": ("cirrhosis",),
    "intellectual disability": ("epilepsy", "cerebral palsy"),
}
_COMORBID_FACTOR: Final = 2.5


def generator(seed: int, stream: int, block: int) -> np.random.Generator:
    """The random numbers of one block of one stream: a function of the three, nothing else."""
    key = np.array([seed % 2**64, (stream << 32) | block], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


@dataclass(frozen=True)
class Calendar:
    """The months of the window: some before the base year, 24 of the two years, some after.

    Base and performance year need not be neighbours: the window then holds the two years alone with
    the margins before the one and after the other.
    """

    base_year: int
    performance_year: int

    @property
    def first_days(self) -> NDArray[np.int32]:
        """First days of the window's months, and of the month after: int32[n_months + 1]."""
        numbers = np.concatenate([self.months, self.months[-1:] + 1]) - 1970 * 12
        return numbers.astype("datetime64[M]").astype("datetime64[D]").astype(np.int32)

    @property
    def months(self) -> NDArray[np.int64]:
        """Calendar month numbers of the window (`units.month_of`)."""
        base, performance = self.base_year * 12, self.performance_year * 12
        return np.concatenate(
            [
                np.arange(base - MONTHS_BEFORE, base + 12),
                np.arange(performance, performance + 12 + MONTHS_AFTER),
            ]
        )

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Days in every month of the window."""
        numbers = self.months - 1970 * 12
        first = numbers.astype("datetime64[M]").astype("datetime64[D]").astype(np.int32)
        after = (numbers + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int32)
        return after - first

    @property
    def n_months(self) -> int:
        """Months in the window."""
        return MONTHS_BEFORE + 24 + MONTHS_AFTER

    def columns(self, year: int) -> slice:
        """Columns of year 0 (base) or 1 (performance) in arrays over the window."""
        first = MONTHS_BEFORE + 12 * year
        return slice(first, first + 12)

    @property
    def trend(self) -> float:
        """Growth of capped cost per score-month from base to performance year."""
        return float((1 + TREND) ** (self.performance_year - self.base_year))


@dataclass
class People:
    """Arrays over members; `[n, 2]` is by base and performance year, `[n, w]` by window month."""

    calendar: Calendar
    birth_day: NDArray[np.int32]
    death_day: NDArray[np.int32]  # units.NO_DAY: alive
    female: NDArray[np.bool_]
    aid: NDArray[np.uint8]  # [n, w] aid group of each month
    kind: NDArray[np.uint8]  # [n, w] FFS, MANAGED
    plan: NDArray[np.uint8]  # [n, 2] index into PLANS, when managed
    flags: NDArray[np.uint8]  # [n, 2] tables.SPAN_DUAL, SPAN_SPEND_DOWN, SPAN_PARTIAL_BENEFIT
    aid_variant: NDArray[np.uint8]  # [n] which of the codes of an aid group
    enrolled: NDArray[np.bool_]  # [n, w]
    conditions: NDArray[np.uint64]  # [n, 2] bit c: CONDITIONS[c]
    premature: NDArray[np.bool_]
    relative: Floats  # [n, 2] lambda, then scaled by g
    sigma: Floats  # [n, 2]
    route: NDArray[np.uint8]  # [n] 0 health care home, 1 primary care, 2 specialist
    group: NDArray[np.int8]  # [n, 2] who sees them: partnership, COMPARISON_GROUP or NO_GROUP
    months: NDArray[np.int64]  # [n, 2] enrolled months of the year
    eligible: NDArray[np.bool_]  # [n, 2] may be attributed
    score_micro: NDArray[np.int64]  # [n, 2]
    cost_cents: NDArray[np.int64]  # [n, 2] included cost before the cap
    expected_cents: Floats  # [n, 2] expected capped cost, with savings

    @property
    def n_members(self) -> int:
        """Members of the state."""
        return len(self.birth_day)


def people(members: int, seed: int, calendar: Calendar) -> People:
    """Draw a state of `members` people with their calibrated scores and realised costs."""
    blocks = [
        _draw(
            generator(seed, 1, block),
            min(BLOCK, members - first),
            calendar,
            Anchors(
                min(N_ANCHORS, members) if block == 0 else 0, year_bounds(calendar.base_year)[0]
            ),
        )
        for block, first in enumerate(range(0, members, BLOCK))
    ]
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    n = members
    everyone = People(
        calendar=calendar,
        score_micro=np.zeros((n, 2), np.int64),
        cost_cents=np.zeros((n, 2), np.int64),
        expected_cents=np.zeros((n, 2)),
        **joined,
    )
    savings = np.array([*TRUE_SAVINGS_MICRO, 0, 0]) / 1e6  # comparison and nobody: none
    mean = _calibrate(everyone, savings)
    _realise(everyone, mean, seed)
    return everyone


def capped_mean(mean: Floats, sigma: Floats, cap: float) -> Floats:
    """Expectation of min(X, cap) for X lognormal with this mean and log standard deviation.

    >>> float(capped_mean(np.array([100.0]), np.array([0.5]), 1e12)[0].round(9))
    100.0
    """
    with np.errstate(divide="ignore"):
        above = (np.log(cap / np.maximum(mean, 1e-9)) + sigma**2 / 2) / sigma
    return mean * ndtr(above - sigma) + cap * ndtr(-above)


# --- who they are ---------------------------------------------------------------------------------


def _draw(
    rng: np.random.Generator, n: int, calendar: Calendar, anchors: Anchors
) -> dict[str, Array]:
    aid_year, birth_day, born = _demographics(rng, n, calendar)
    anchors.settle(aid_year, birth_day, born)
    female = np.where(aid_year[:, 0] == MATERNITY, True, rng.random(n) < 0.5)
    female |= aid_year[:, 1] == MATERNITY
    enrolled = _enrolment(rng, n, calendar, born)
    enrolled[anchors.at, : calendar.columns(0).stop] = True
    age_months = calendar.months[None, :] - months_of_days(birth_day)[:, None]
    enrolled &= age_months >= 0

    aid = _by_month(aid_year, calendar)
    aid[(age_months < 12) & (aid == CHILD)] = NEWBORN
    aid[(age_months >= 19 * 12) & (aid == CHILD)] = EXPANSION

    # deaths: more often among people with disabilities; enrolment ends with the month
    death_day = np.full(n, -(2**31), np.int32)
    dies = rng.random(n) < np.where(aid_year[:, 0] == DISABLED, 0.02, 0.004)
    last = rng.integers(MONTHS_BEFORE + 2, calendar.n_months, n)
    dies[anchors.at] = False
    dies &= enrolled[np.arange(n), last]
    day_in_month = (rng.random(n) * 27).astype(np.int32)
    death_day[dies] = (calendar.first_days[last] + day_in_month)[dies]
    death_day[dies & (death_day <= birth_day)] = -(2**31)
    dies = death_day > -(2**31)
    enrolled &= ~(dies[:, None] & (np.arange(calendar.n_months)[None, :] > last[:, None]))

    managed = rng.random(n) < np.where(aid_year[:, 0] == DISABLED, 0.45, 0.95)
    kind = np.repeat(managed.astype(np.uint8)[:, None], calendar.n_months, axis=1)
    first = enrolled.argmax(1)
    late = (first > 0) & (rng.random(n) < 0.3)  # new enrollees wait a month for their plan
    kind[np.flatnonzero(late), first[late]] = FFS
    kind[anchors.at] = anchors.kind[:, None]
    plan = np.empty((n, 2), np.uint8)
    plan[:, 0] = 1 + (rng.random(n) ** 1.5 * (len(PLANS) - 1)).astype(np.uint8)
    moves = rng.random(n) < 0.04
    plan[:, 1] = np.where(moves, 1 + rng.integers(0, len(PLANS) - 1, n), plan[:, 0])

    conditions, weight, premature = _conditions(rng, n, aid_year, born)
    age = np.clip(age_months[:, MONTHS_BEFORE + 6] / 12, 0, 64)
    base = _BASE_LAMBDA[aid_year] * (0.85 + age / 200)[:, None]
    relative = base + weight + (0.8 + 35.0 * premature)[:, None] * _birth_year(born, enrolled)

    variation = np.clip(1.3 / np.maximum(relative, 1e-3) ** 0.6, 0.15, 2.0)
    months = np.stack([enrolled[:, calendar.columns(y)].sum(1) for y in (0, 1)], axis=1)
    flags = _flags(rng, n, aid_year)
    flags[anchors.at, 0] = 0
    longest = np.stack([_longest_run(enrolled[:, calendar.columns(y)]) for y in (0, 1)], axis=1)
    eligible = (longest >= MINIMUM_MONTHS[0]) | (months >= MINIMUM_MONTHS[1])
    return {
        "birth_day": birth_day,
        "death_day": death_day,
        "female": female,
        "aid": aid,
        "kind": kind,
        "plan": plan,
        "flags": flags,
        "aid_variant": rng.choice(4, n, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8),
        "enrolled": enrolled,
        "conditions": conditions,
        "premature": premature & born,
        "relative": relative,
        "sigma": np.sqrt(np.log1p(variation)),
        "route": rng.choice(3, n, p=[0.33, 0.55, 0.12]).astype(np.uint8),
        "group": _homes(rng, n),
        "months": months.astype(np.int64),
        "eligible": eligible & (flags == 0),
    }


def _by_month(by_year: Array, calendar: Calendar) -> Array:
    """Values by year spread over the months of the window."""
    out = np.empty((len(by_year), calendar.n_months), by_year.dtype)
    out[:, : MONTHS_BEFORE + 12] = by_year[:, :1]
    out[:, MONTHS_BEFORE + 12 :] = by_year[:, 1:]
    return out


def _demographics(
    rng: np.random.Generator, n: int, calendar: Calendar
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_]]:
    aid = rng.choice(
        [CHILD, ADULT, EXPANSION, DISABLED], n, p=[0.45, 0.17, 0.25, 0.13]
    ).astype(np.uint8)  # fmt: skip
    aid_year = np.repeat(aid[:, None], 2, axis=1)
    pregnant = rng.random((n, 2)) < 0.10
    aid_year[pregnant & (aid == ADULT)[:, None]] = MATERNITY
    start, _ = year_bounds(calendar.base_year)
    u = rng.random(n)
    age_days = np.where(aid == CHILD, u * 18.8 * 365.25, (21.2 + u * 42.0) * 365.25)
    young = (aid == DISABLED) & (rng.random(n) < 0.12)
    age_days = np.where(young, (2 + 16 * u) * 365.25, age_days)
    age_days = np.where(pregnant.any(1) & (aid == ADULT), (21.2 + 19 * u) * 365.25, age_days)
    birth = np.floor(start - age_days).astype(np.int32)
    born = (aid == CHILD) & (rng.random(n) < 0.10)  # during the window
    window = calendar.first_days
    month = rng.integers(MONTHS_BEFORE, MONTHS_BEFORE + 24, n)
    birth = np.where(born, window[month] + (rng.random(n) * 27).astype(np.int32), birth)
    return aid_year, birth.astype(np.int32), born


def _birth_year(born: NDArray[np.bool_], enrolled: NDArray[np.bool_]) -> Floats:
    """1 in the year of birth of those born in the window, else 0: float64[n, 2]."""
    first = enrolled.argmax(1)
    out = np.zeros((len(born), 2))
    early = first < MONTHS_BEFORE + 12
    out[:, 0] = born & early
    out[:, 1] = born & ~early
    return out


def _enrolment(
    rng: np.random.Generator, n: int, calendar: Calendar, born: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Full, entering, leaving, with a gap, or short: bool[n, n_months]."""
    width = calendar.n_months
    pattern = rng.choice(5, n, p=[0.70, 0.10, 0.10, 0.06, 0.04])
    pattern[born] = 0
    start = np.where(pattern == 1, rng.integers(1, width - 1, n), 0)
    start = np.where(pattern == 4, rng.integers(0, width - 3, n), start)
    stop = np.where(pattern == 2, rng.integers(1, width - 1, n), width)
    stop = np.where(pattern == 4, start + rng.integers(1, 9, n), stop)
    gap = np.where(pattern == 3, rng.integers(3, width - 6, n), width)
    gap_end = gap + rng.integers(1, 6, n)
    month = np.arange(width)[None, :]
    inside = (month >= start[:, None]) & (month < stop[:, None])
    return inside & ~((month >= gap[:, None]) & (month < gap_end[:, None]))


def _conditions(
    rng: np.random.Generator, n: int, aid_year: NDArray[np.uint8], born: NDArray[np.bool_]
) -> tuple[NDArray[np.uint64], Floats, NDArray[np.bool_]]:
    """Bit sets by year, summed weights by year, and who would be a premature newborn."""
    rates = np.array([condition.rates for condition in CONDITIONS])
    mix = _MIX_OF_AID[aid_year[:, 0]]
    frailty = np.exp(0.7 * rng.standard_normal(n) - 0.245)
    severity = np.exp(0.5 * rng.standard_normal(n) - 0.125)
    names = {condition.name: c for c, condition in enumerate(CONDITIONS)}
    boost = np.ones((n, len(CONDITIONS)))
    bits = np.zeros((n, 2), np.uint64)
    weight = np.zeros((n, 2))
    order = sorted(range(len(CONDITIONS)), key=lambda c: CONDITIONS[c].name not in _COMORBID)
    for c in order:
        condition = CONDITIONS[c]
        chance = np.minimum(rates[c][mix] * boost[:, c], 0.9)
        chance = np.minimum(chance * (frailty if condition.persists else np.sqrt(frailty)), 0.95)
        have = np.empty((n, 2), bool)
        have[:, 0] = rng.random(n) < chance
        if condition.persists:
            u = rng.random(n)
            have[:, 1] = np.where(have[:, 0], u < 0.93, u < 0.07 * chance / (1 - 0.93 * chance))
        else:
            have[:, 1] = rng.random(n) < chance
        if condition.name in _COMORBID:
            for other in _COMORBID[condition.name]:
                boost[have[:, 0], names[other]] *= _COMORBID_FACTOR
        bits |= have.astype(np.uint64) << np.uint64(c)
        weight += have * condition.weight
    weight *= severity[:, None]
    return bits, weight, (rng.random(n) < 0.012) & born


def _flags(rng: np.random.Generator, n: int, aid_year: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Who cannot be attributed in a year; a few become dual between the years."""
    aid = aid_year[:, 0]
    u = rng.random(n)
    dual = u < np.where(aid == DISABLED, 0.30, 0.002)
    later = u < np.where(aid == DISABLED, 0.33, 0.003)
    spend_down = (rng.random(n) < np.where(aid == DISABLED, 0.04, 0.0)) & ~later
    partial = (rng.random(n) < np.where(aid == ADULT, 0.04, 0.0)) & ~later
    both = spend_down * SPAN_SPEND_DOWN + partial * SPAN_PARTIAL_BENEFIT
    return np.stack([dual * SPAN_DUAL + both, later * SPAN_DUAL + both], axis=1).astype(np.uint8)


def _homes(rng: np.random.Generator, n: int) -> NDArray[np.int8]:
    """Whom members see in each year: a partnership, the comparison, or nobody on the roster."""
    shares = np.array([*SIZES, 0.0]) / 1200
    shares[-1] = COMPARISON_SHARE
    shares /= _ATTRIBUTED_PER_HOME
    edges = np.cumsum(shares)
    home = np.searchsorted(edges, rng.random(n), side="right").astype(np.int8)
    moved = np.searchsorted(edges, rng.random(n), side="right").astype(np.int8)
    second = np.where(rng.random(n) < 0.07, moved, home)
    both = np.stack([home, second], axis=1).astype(np.int8)
    both[both > COMPARISON_GROUP] = NO_GROUP
    both[rng.random((n, 2)) < 0.06] = NO_GROUP  # no visit this year
    return both


def _longest_run(months: NDArray[np.bool_]) -> NDArray[np.int64]:
    run = np.zeros(len(months), np.int64)
    best = np.zeros(len(months), np.int64)
    for column in months.T:
        run = np.where(column, run + 1, 0)
        best = np.maximum(best, run)
    return best


# --- what they cost -------------------------------------------------------------------------------


def _calibrate(everyone: People, savings: Floats) -> Floats:
    """Scores, and the means of realised cost with savings in them: float64[n, 2] cents."""
    calendar, n = everyone.calendar, everyone.n_members
    months = everyone.months.astype(np.float64)
    use = np.where(everyone.group == NO_GROUP, USE_WITHOUT_VISITS, 1.0)
    middle = [MONTHS_BEFORE + 12 * y + 6 for y in (0, 1)]
    cell = 2 * everyone.aid[:, middle].astype(np.int64) + everyone.kind[:, middle]
    n_cells = len(RATE_CELLS)
    weight = months * everyone.eligible
    everyone.relative /= (everyone.relative * weight).sum() / max(weight.sum(), 1.0)

    def by_cell(values: Floats, year: int) -> Floats:
        sums: Floats = np.bincount(cell[:, year], values[:, year], n_cells).astype(np.float64)
        return sums

    cell_months = np.stack([by_cell(weight, y) for y in (0, 1)])
    wanted = np.stack([by_cell(weight * everyone.relative, y) for y in (0, 1)]).sum(0)
    wanted /= np.maximum(cell_months.sum(0), 1.0)  # mean score of the cell, both years
    growth = np.array([1.0, calendar.trend])
    factor = np.ones((2, n_cells))
    expected = np.zeros((n, 2))
    for _ in range(8):
        for y in (0, 1):
            mean = everyone.relative[:, y] * factor[y][cell[:, y]] * months[:, y]
            mean *= BASE_PMPM_CENTS * growth[y] / use[:, y]
            capped = capped_mean(mean, everyone.sigma[:, y], CAP_CENTS)
            expected[:, y] = use[:, y] * capped
        found = np.stack([by_cell(expected * everyone.eligible, y) / growth[y] for y in (0, 1)])
        found /= np.maximum(cell_months, 1.0) * BASE_PMPM_CENTS
        ratio = np.where(found > 0, wanted / np.where(found > 0, found, 1.0), 1.0)
        factor *= ratio
    factor /= ratio  # the factors that `expected` was computed with
    for y in (0, 1):
        everyone.relative[:, y] *= factor[y][cell[:, y]]
    per_month = expected / np.maximum(months, 1.0) / (BASE_PMPM_CENTS * growth)
    everyone.score_micro = np.rint(per_month * 1e6).astype(np.int64)

    mean = everyone.relative * months * BASE_PMPM_CENTS * growth / use
    everyone.expected_cents = expected
    mean[:, 1] *= _savings_factor(everyone, mean[:, 1], use[:, 1], savings)
    return mean


def _savings_factor(everyone: People, mean: Floats, use: Floats, savings: Floats) -> Floats:
    """What to multiply each performance-year mean with, so that capped cost falls by `savings`."""
    counted = everyone.eligible[:, 1] & (everyone.group[:, 1] != NO_GROUP)
    group = everyone.group[:, 1].astype(np.int64)[counted]
    before = everyone.expected_cents[counted, 1]
    wanted = np.bincount(group, before, COMPARISON_GROUP + 1) * (1 - savings[:-1])
    factor = np.ones(COMPARISON_GROUP + 1)
    for _ in range(30):
        after = use[counted] * capped_mean(
            mean[counted] * factor[group], everyone.sigma[counted, 1], CAP_CENTS
        )
        total = np.bincount(group, after, COMPARISON_GROUP + 1)
        ratio = np.where(total > 0, wanted / np.where(total > 0, total, 1.0), 1.0)
        factor *= ratio
        if np.abs(ratio - 1).max() < 1e-12:
            break
    everyone.expected_cents[counted, 1] = after
    factor = np.concatenate([factor, np.ones(1)])  # the last, -1, is NO_GROUP
    return factor.take(everyone.group[:, 1].astype(np.int64), mode="wrap")


def _realise(everyone: People, mean: Floats, seed: int) -> None:
    """Draw every member-year's included cost before the cap."""
    for block, first in enumerate(range(0, everyone.n_members, BLOCK)):
        rng = generator(seed, 2, block)
        rows = slice(first, first + BLOCK)
        n = len(mean[rows])
        common = rng.standard_normal(n)
        for y in (0, 1):
            own = rng.standard_normal(n)
            z = np.sqrt(RESIDUAL_CORRELATION) * common + np.sqrt(1 - RESIDUAL_CORRELATION) * own
            sigma = everyone.sigma[rows, y]
            cost = mean[rows, y] * np.exp(sigma * z - sigma**2 / 2)
            idle = (everyone.group[rows, y] == NO_GROUP) & (rng.random(n) >= USE_WITHOUT_VISITS)
            cost[idle] = 0.0
            everyone.cost_cents[rows, y] = np.rint(cost).astype(np.int64)
