"""What each member-year of a synthetic state is expected to cost, and what it cost.

A member-year's included cost before the cap is

    use * clinic-year * lognormal(mean  = K * trend^t * g[cell, year] * a * f[partnership, year]
                                          * lambda * months,
                                  sigma = sigma(lambda))

`lambda` is the relative cost that demographics and conditions explain; `use` is 1 for members with
visits and a coin otherwise (with the mean raised accordingly), so who is attributed says nothing
about the residual. Residuals of one member correlate across the years. What `effects` plants is `a`
(people are sicker), creep (scores are higher), levels, clinic-years, movers between rate cells and
cells without base. A supplied score is, creep apart, exactly proportional to the *expected capped*
cost of the member-month without levels and savings. Two calibrations make known answers exact:

* `g` makes the statewide mean score of the eligible the same in both years in every rate cell,
  though a fixed cap bites deeper each year: capped cost then grows by the trend and nothing else;
* `f` makes the expected capped cost of a partnership's attributed members exactly its level times
  what scores say, in the performance year (1 - true savings rate) times that.

Clinic-years have mean 1: expectations are over them too.

How much care a member-year has follows what it needs (`need_cents`): its dollars without trend,
levels, savings and clinic-years, which are a matter of price. One partnership may be planted other
prices and other use.

Where weights are planted (`weights`), the expected capped cost of a member-year is their sum
instead: neither `g` nor `f`, no levels, no savings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ihp_compute.codes import RATE_CELLS
from ihp_compute.synth.effects import NOTHING
from ihp_compute.synth.factors import draw_factors
from ihp_compute.synth.lognormal import Floats, capped_mean, mean_under_cap, spread_of
from ihp_compute.synth.people import (
    ACUTE,
    BASE_PMPM_CENTS,
    BLOCK,
    CAP_CENTS,
    CHANGED,
    CHILD,
    COMPARISON_GROUP,
    CREEPING,
    DISABLED,
    EXPANSION,
    MONTHS_BEFORE,
    NO_GROUP,
    RESIDUAL_CORRELATION,
    Calendar,
    People,
    clinic_of,
    clinicians,
    drawn,
    generator,
)
from ihp_compute.synth.weights import annual_usd, keep_told_apart


def people(
    members: int, seed: int, calendar: Calendar, effects: Mapping[str, float] = NOTHING
) -> People:
    """Draw a state of `members` people with their calibrated scores and realised costs."""
    everyone = drawn(members, seed, calendar, effects)
    if effects["weights"]:
        _weigh(everyone, effects)
    else:
        _calibrate(everyone, effects)
    realise(everyone, seed)
    everyone.factors = draw_factors(
        generator(seed, 6, 0),
        conditions=everyone.conditions,
        is_child=everyone.aid[:, MONTHS_BEFORE + 6] == CHILD,
        is_disabled=everyone.aid[:, MONTHS_BEFORE] == DISABLED,
    )
    return everyone


def _weigh(everyone: People, effects: Mapping[str, float]) -> None:
    """Scores and means of realised cost, where the expected capped cost is a sum of weights."""
    steepness = effects["weights"]
    keep_told_apart(everyone, steepness)
    everyone.savings = np.zeros_like(everyone.savings)
    everyone.is_stated = everyone.conditions > 0
    growth = np.array([1.0, everyone.calendar.trend])
    annual_cents = np.stack([annual_usd(everyone, y, steepness) for y in (0, 1)], axis=1) * 100
    everyone.relative = annual_cents / 12 / BASE_PMPM_CENTS
    everyone.sigma = spread_of(everyone.relative)
    expected = annual_cents * growth * everyone.months / 12
    score = everyone.relative.copy()
    score[:, 1] *= _changed(everyone, effects, "creep", EXPANSION, CREEPING)
    everyone.score_micro = np.rint(score * 1e6).astype(np.int64)
    everyone.mean_cents = mean_under_cap(expected / everyone.use, everyone.spread, CAP_CENTS)


def _calibrate(everyone: People, effects: Mapping[str, float]) -> None:
    """Scores, and the means of realised cost with every effect in them."""
    calendar, n = everyone.calendar, everyone.n_members
    months = everyone.months.astype(np.float64)
    use, spread = everyone.use, everyone.spread
    middle = [MONTHS_BEFORE + 12 * y + 6 for y in (0, 1)]
    cell = 2 * everyone.aid[:, middle].astype(np.int64) + everyone.kind[:, middle]
    n_cells = len(RATE_CELLS)
    weight = months * everyone.eligible
    everyone.relative /= (everyone.relative * weight).sum() / max(weight.sum(), 1.0)
    growth = np.array([1.0, calendar.trend])

    def means() -> Floats:
        """Expected cost before the cap as scores have it, without levels and savings."""
        return everyone.relative * months * BASE_PMPM_CENTS * growth / use

    def by_cell(values: Floats, year: int) -> Floats:
        sums: Floats = np.bincount(cell[:, year], values[:, year], n_cells).astype(np.float64)
        return sums

    cell_months = np.stack([by_cell(weight, y) for y in (0, 1)])
    wanted = np.stack([by_cell(weight * everyone.relative, y) for y in (0, 1)]).sum(0)
    wanted /= np.maximum(cell_months.sum(0), 1.0)  # mean score of the cell, both years
    factor = np.ones((2, n_cells))
    expected = np.zeros((n, 2))
    for _ in range(8):
        for y in (0, 1):
            mean = everyone.relative[:, y] * factor[y][cell[:, y]] * months[:, y]
            mean *= BASE_PMPM_CENTS * growth[y] / use[:, y]
            expected[:, y] = use[:, y] * capped_mean(mean, spread[:, y], CAP_CENTS)
        found = np.stack([by_cell(expected * everyone.eligible, y) / growth[y] for y in (0, 1)])
        found /= np.maximum(cell_months, 1.0) * BASE_PMPM_CENTS
        ratio = np.where(found > 0, wanted / np.where(found > 0, found, 1.0), 1.0)
        factor *= ratio
    factor /= ratio  # the factors that `expected` was computed with
    for y in (0, 1):
        everyone.relative[:, y] *= factor[y][cell[:, y]]
    sicker = _changed(everyone, effects, "acuity", DISABLED, ACUTE)
    if (sicker != 1).any():
        everyone.relative[:, 1] *= sicker
        expected = use * capped_mean(means(), spread, CAP_CENTS)
    score = expected / np.maximum(months, 1.0) / (BASE_PMPM_CENTS * growth)
    score[:, 1] *= _changed(everyone, effects, "creep", EXPANSION, CREEPING)
    everyone.score_micro = np.rint(score * 1e6).astype(np.int64)

    everyone.mean_cents = means()
    for y, kept in enumerate((everyone.levels, everyone.levels * (1 - everyone.savings))):
        factor = _factor(everyone, y, expected[:, y], np.append(kept, 1.0))
        everyone.prices[:, y] = factor
        everyone.mean_cents[:, y] *= _of_group(everyone, y, factor)
    _change_one(everyone, effects, expected[:, 1])


def _change_one(everyone: People, effects: Mapping[str, float], before: Floats) -> None:
    """Prices and use of one partnership in the performance year; its savings are what is left.

    before : float64[n], expected capped cost of the performance year without levels and savings
    """
    price, use = 1 + effects["price_change"], 1 + effects["use_change"]
    if price * use == 1:
        return
    everyone.prices[CHANGED, 1] *= price
    everyone.mean_cents[everyone.group[:, 1] == CHANGED, 1] *= price * use
    mine = everyone.counted(1) & (everyone.group[:, 1] == CHANGED)
    unchanged = before[mine].sum() * everyone.levels[CHANGED]
    if unchanged > 0:
        everyone.savings[CHANGED] = 1 - everyone.expected_cents()[mine, 1].sum() / unchanged


def _changed(
    everyone: People, effects: Mapping[str, float], name: str, aid: int, partnership: int
) -> Floats:
    """By how much the performance year differs: everywhere, in an aid group, in a partnership."""
    middle = everyone.aid[:, MONTHS_BEFORE + 18]
    change = 1 + effects[f"{name}_in_cells"] * (middle == aid)
    change *= 1 + effects[f"{name}_of_one"] * (everyone.group[:, 1] == partnership)
    return change * (1 + effects[name])


def _factor(everyone: People, year: int, before: Floats, kept: Floats) -> Floats:
    """What to multiply a group's means with, so that its expected capped cost is `kept` of it.

    kept : float64[n_groups]; of the attributed members, what is left of `before` is exactly that.
    """
    counted = everyone.counted(year)
    mine = everyone.group[counted, year].astype(np.int64)
    mean = everyone.mean_cents[counted, year]
    use, spread = everyone.use[counted, year], everyone.spread[counted, year]
    n_groups = COMPARISON_GROUP + 1
    wanted = np.bincount(mine, before[counted], n_groups) * kept
    factor = kept.copy()
    for _ in range(30):
        after = use * capped_mean(mean * factor[mine], spread, CAP_CENTS)
        total = np.bincount(mine, after, n_groups)
        ratio = np.where(total > 0, wanted / np.where(total > 0, total, 1.0), 1.0)
        factor *= ratio
        if np.abs(ratio - 1).max() < 1e-12:
            break
    return factor


def _of_group(everyone: People, year: int, values: Floats) -> Floats:
    """Of every member the value of their group in a year; 1 of those without one."""
    group = everyone.group[:, year].astype(np.int64)
    return np.append(values, 1.0).take(group, mode="wrap")  # the last, -1, is NO_GROUP


def realise(everyone: People, seed: int) -> None:
    """Draw every clinic-year's factor, and every member-year's included cost before the cap."""
    count = clinicians(everyone.n_members, everyone.n_partnerships)
    spread = everyone.clinic_spread
    z = generator(seed, 12, 0).standard_normal((*count.shape, int(count.max()), 2))
    everyone.clinic_years = np.exp(spread * z - spread**2 / 2)
    for block, first in enumerate(range(0, everyone.n_members, BLOCK)):
        rng = generator(seed, 2, block)
        rows = slice(first, first + BLOCK)
        member = np.arange(everyone.n_members)[rows]
        n = len(member)
        common = rng.standard_normal(n)
        for y in (0, 1):
            own = rng.standard_normal(n)
            z = np.sqrt(RESIDUAL_CORRELATION) * common + np.sqrt(1 - RESIDUAL_CORRELATION) * own
            sigma = everyone.sigma[rows, y]
            luck = np.exp(sigma * z - sigma**2 / 2)
            cost = everyone.mean_cents[rows, y] * luck
            group, kind, place = clinic_of(everyone, member, y)
            clinic = everyone.clinic_years[group, kind, place, y]
            cost *= np.where(group == NO_GROUP, 1.0, clinic)
            idle = (group == NO_GROUP) & (rng.random(n) >= everyone.use[rows, y])
            cost[idle] = 0.0
            everyone.cost_cents[rows, y] = np.rint(cost).astype(np.int64)
            need = BASE_PMPM_CENTS * everyone.relative[rows, y] * everyone.months[rows, y]
            everyone.need_cents[rows, y] = np.where(
                cost > 0, need / everyone.use[rows, y] * luck, 0
            )
