"""The people of a synthetic state: age, sex, eligibility group, plan, months, conditions, home.

Of a few, `anchors` says who they are. What a year of them costs is `costs`.

Everything here is drawn in blocks of `BLOCK` members, each block from its own Philox key, so
member i of a seed is the same in every run. Not here: costs (`costs`), claims (`claims`), files
(`state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import (
    AID_GROUPS,
    PAYER_KINDS,
    SPAN_DUAL,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
)
from ihp_compute.synth.anchors import N_ANCHORS, Anchors
from ihp_compute.synth.codes import CONDITIONS
from ihp_compute.synth.columns import Array
from ihp_compute.synth.effects import NOTHING
from ihp_compute.synth.factors import Factors
from ihp_compute.synth.limits import NO_LIMIT, draw_limits
from ihp_compute.synth.lognormal import Floats, capped_mean, spread_of
from ihp_compute.units import months_of_days, year_bounds

BLOCK: Final = 65_536
MONTHS_BEFORE: Final = 1
"""Months of enrolment and claims before the base year: December."""
MONTHS_AFTER: Final = 6
"""As many after the performance year, in which its claims run out."""
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
CHANGED, CREEPING, ACUTE, THIN = 0, 2, 3, 4
"""Partnerships of the effects that one alone has."""
KINDS: Final = ("health_care_home", "primary_care", "specialist", "behavioral_health")
"""Of clinicians, and of routes of attribution, which end at one of a kind each."""
_CLINICIAN_SHARES: Final = (0.28, 0.38, 0.22, 0.12)
_MEMBERS_PER_CLINICIAN: Final = 250
_ATTRIBUTED_PER_HOME: Final = 0.757
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
_NEXT_AID: Final = np.array([CHILD, EXPANSION, DISABLED, DISABLED, NEWBORN, MATERNITY], np.uint8)
"""Aid group of who moves, by the one before."""


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
    limit: NDArray[np.uint8]  # [n, w] class of cover of a part of the window, in limits.LIMITS
    enrolled: NDArray[np.bool_]  # [n, w]
    countable: NDArray[np.bool_]  # [n, w] enrolled, and of full cover by `limit`
    conditions: NDArray[np.uint64]  # [n, 2] bit c: CONDITIONS[c]
    premature: NDArray[np.bool_]
    is_stated: NDArray[np.bool_]  # [n, 2] every condition is on a claim, whatever the year costs
    relative: Floats  # [n, 2] lambda, then scaled by g and acuity; or the planted weights' sum
    sigma: Floats  # [n, 2] log standard deviation of a member-year's own cost
    route: NDArray[np.uint8]  # [n] whom they see, in KINDS
    group: NDArray[np.int8]  # [n, 2] who sees them: partnership, COMPARISON_GROUP or NO_GROUP
    clinic: NDArray[np.float32]  # [n] in [0, 1): which of their group's clinicians they see
    months: NDArray[np.int64]  # [n, 2] countable months of the year
    eligible: NDArray[np.bool_]  # [n, 2] may be attributed
    score_micro: NDArray[np.int64]  # [n, 2]
    cost_cents: NDArray[np.int64]  # [n, 2] included cost before the cap
    mean_cents: Floats  # [n, 2] expected cost before the cap of who has any, with all effects
    need_cents: Floats  # [n, 2] what it cost, at the base year's prices without any effect in them
    prices: Floats  # [n_groups, 2] of a group's services over those, beside the trend
    factors: Factors  # who they are and what they live with
    effects: Mapping[str, float]
    clinic_spread: float  # log standard deviation of a clinic-year
    levels: Floats  # [N_PARTNERSHIPS] cost over what scores say, in both years
    savings: Floats  # [N_PARTNERSHIPS] saved of it in the performance year
    clinic_years: Floats  # [n_groups, len(KINDS), most clinicians, 2] factor

    @property
    def n_members(self) -> int:
        """Members of the state."""
        return len(self.birth_day)

    @property
    def use(self) -> Floats:
        """Chance that a member-year has any cost: float64[n, 2]."""
        idle = (self.group == NO_GROUP) & ~self.is_stated
        return np.where(idle, USE_WITHOUT_VISITS, 1.0)

    @property
    def spread(self) -> Floats:
        """Log standard deviation of a member-year's cost, clinic-year included: float64[n, 2]."""
        clinics = np.where(self.group == NO_GROUP, 0.0, self.clinic_spread)
        return np.sqrt(self.sigma**2 + clinics**2)

    def expected_cents(self, cap_cents: float = CAP_CENTS) -> Floats:
        """Expected cost of every member-year after a cap, with levels and savings: [n, 2]."""
        return self.use * capped_mean(self.mean_cents, self.spread, cap_cents)

    @property
    def n_partnerships(self) -> int:
        """How many partnerships have members."""
        return partnerships_of(self.effects)

    def counted(self, year: int) -> NDArray[np.bool_]:
        """Who is attributed in year 0 (base) or 1 (performance), to the comparison too."""
        return self.eligible[:, year] & (self.group[:, year] != NO_GROUP)


def partnerships_of(effects: Mapping[str, float]) -> int:
    """How many partnerships a state has in which this is planted."""
    return N_PARTNERSHIPS - int(effects["fewer_partnerships"])


def drawn(
    members: int, seed: int, calendar: Calendar, effects: Mapping[str, float] = NOTHING
) -> People:
    """`members` people of a state, with scores and costs of zero (`costs.people`)."""
    blocks = [
        _draw(
            seed,
            block,
            min(BLOCK, members - first),
            calendar,
            Anchors(
                min(N_ANCHORS, members) if block == 0 else 0, year_bounds(calendar.base_year)[0]
            ),
            effects,
        )
        for block, first in enumerate(range(0, members, BLOCK))
    ]
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    n = members
    own = generator(seed, 13, 0).uniform(-1, 1, N_PARTNERSHIPS)
    return People(
        calendar=calendar,
        score_micro=np.zeros((n, 2), np.int64),
        cost_cents=np.zeros((n, 2), np.int64),
        mean_cents=np.zeros((n, 2)),
        need_cents=np.zeros((n, 2)),
        prices=np.ones((COMPARISON_GROUP + 1, 2)),
        factors=Factors.none(n),
        effects=effects,
        clinic_spread=effects["clinics"],
        levels=1 + effects["levels"] * own,
        savings=_savings(effects),
        clinic_years=np.ones((0, 0, 0, 2)),
        is_stated=np.zeros((n, 2), bool),
        **joined,
    )


def _savings(effects: Mapping[str, float]) -> Floats:
    """What each partnership saves of its own level, against the trend of the comparison."""
    saved = np.array(TRUE_SAVINGS_MICRO) / 1e6 * (1 - effects["savings_lost"])
    found: Floats = 1 - (1 - saved) * (1 + effects["trend_difference"])
    return found


def sizes(n_partnerships: int) -> Floats:
    """Attributed members of each partnership per 1,200 of the state: [N_PARTNERSHIPS].

    Those beyond `n_partnerships` have none, and the others theirs.
    """
    found = np.array(SIZES, np.float64)
    found[n_partnerships:] = 0
    shown: Floats = found * (sum(SIZES) / found.sum())
    return shown


def clinicians(members: int, n_partnerships: int) -> NDArray[np.int64]:
    """How many clinicians of each kind a group has: int64[n_groups, len(KINDS)], at least one."""
    per_group = np.append(sizes(n_partnerships) / 1200 * members, members * 0.05)
    shares = per_group[:, None] / _MEMBERS_PER_CLINICIAN * np.array(_CLINICIAN_SHARES)
    return np.maximum(1, np.rint(shares)).astype(np.int64)


def clinic_of(everyone: People, member: Array, year: int | Array) -> tuple[Array, Array, Array]:
    """Group, kind and place of the clinician whom members see in a year; the group may be none."""
    group = everyone.group[member, year].astype(np.int64)
    kind = everyone.route[member].astype(np.int64)
    count = clinicians(everyone.n_members, everyone.n_partnerships)[group, kind]
    place = np.minimum((everyone.clinic[member] * count).astype(np.int64), count - 1)
    return group, kind, place


# --- who they are ---------------------------------------------------------------------------------


def _draw(
    seed: int,
    block: int,
    n: int,
    calendar: Calendar,
    anchors: Anchors,
    effects: Mapping[str, float],
) -> dict[str, Array]:
    rng, own = generator(seed, 1, block), generator(seed, 11, block)
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
    aid = _moved(own, aid, effects["movers"], anchors)

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
    late = (first > 0) & (rng.random(n) < 0.3) & ~born  # new enrollees wait a month for their plan
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

    flags = _flags(rng, n, aid_year)
    flags[anchors.at, 0] = 0
    may = ~dies & ~born & (flags == 0).all(1)
    may[anchors.at] = False
    january = calendar.columns(0).start, calendar.columns(1).start
    limit = draw_limits(rng, january, calendar.n_months, may)
    countable = enrolled & (limit == NO_LIMIT)
    months = np.stack([countable[:, calendar.columns(y)].sum(1) for y in (0, 1)], axis=1)
    longest = np.stack([_longest_run(countable[:, calendar.columns(y)]) for y in (0, 1)], axis=1)
    eligible = (longest >= MINIMUM_MONTHS[0]) | (months >= MINIMUM_MONTHS[1])
    variant = rng.choice(4, n, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
    route = rng.choice(len(KINDS), n, p=[0.33, 0.55, 0.08, 0.04]).astype(np.uint8)
    group = _homes(rng, n, partnerships_of(effects))
    unseen = np.isin(aid[:, MONTHS_BEFORE + 6], (NEWBORN, MATERNITY)) & (group[:, 0] == THIN)
    group[unseen & (own.random(n) < effects["thin"]), 0] = NO_GROUP
    return {
        "birth_day": birth_day,
        "death_day": death_day,
        "female": female,
        "aid": aid,
        "kind": kind,
        "plan": plan,
        "flags": flags,
        "aid_variant": variant,
        "limit": limit,
        "enrolled": enrolled,
        "countable": countable,
        "conditions": conditions,
        "premature": premature & born,
        "relative": relative,
        "sigma": spread_of(relative),
        "route": route,
        "group": group,
        "clinic": own.random(n, np.float32),
        "months": months.astype(np.int64),
        "eligible": eligible & (flags == 0),
    }


def _by_month(by_year: Array, calendar: Calendar) -> Array:
    """Values by year spread over the months of the window."""
    out = np.empty((len(by_year), calendar.n_months), by_year.dtype)
    out[:, : MONTHS_BEFORE + 12] = by_year[:, :1]
    out[:, MONTHS_BEFORE + 12 :] = by_year[:, 1:]
    return out


def _moved(rng: np.random.Generator, aid: Array, share: float, anchors: Anchors) -> Array:
    """Aid groups by month, of which a share of members changes in a month and stays changed."""
    n, width = len(aid), aid.shape[1]
    moves = rng.random(n) < share
    moves[anchors.at] = False
    month = rng.integers(MONTHS_BEFORE + 1, MONTHS_BEFORE + 24, n)
    later = moves[:, None] & (np.arange(width)[None, :] >= month[:, None])
    return np.where(later, _NEXT_AID.take(aid), aid)


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


def _homes(rng: np.random.Generator, n: int, n_partnerships: int) -> NDArray[np.int8]:
    """Whom members see in each year: a partnership, the comparison, or nobody on the roster."""
    shares = np.append(sizes(n_partnerships) / 1200, COMPARISON_SHARE)
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
