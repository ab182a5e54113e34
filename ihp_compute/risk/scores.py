"""How sick each member is: one score per member and year, in millionths, from a named provider.

    supplied scores | imported cells | a risk model over diagnoses | none -> policy for the missing

`provider` picks by name and reads everything it needs once; the result is picklable and scores one
shard at a time. A member without a countable month needs no score and is never missing. A member
with months and without a score falls under the declared policy: `error` refuses, `group_average`
takes the mean of the scored members of the same rate cell (the cell in which the member has most
months), `demographic_cell` that of the same age band and sex. Either mean is the state's for that
year, over the countable months of everybody who has a score, eligible or not; every member so
filled is counted.

Not here: normalisation to 1.000 and caps on growth (`settlement`, per replicate), how a model is
read (`risk.models`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS, PAYER_KINDS, RATE_CELLS
from ihp_compute.contracts import MISSING_SCORE, NONE
from ihp_compute.errors import DataError
from ihp_compute.population import Population, Shard, ShardColumns
from ihp_compute.risk.score_parts import ScoreParts
from ihp_compute.units import MICRO, NO_DAY, half_even, sums_by, year_bounds

AGE_BANDS: Final = (0, 1, 2, 5, 10, 15, 21, 25, 30, 35, 40, 45, 50, 55, 60, 65)
"""Lower bounds of the age bands of `demographic_cell`; age at the end of the year."""
SEXES: Final = ("sex unknown", "female", "male")
N_DEMOGRAPHIC: Final = 3 * (len(AGE_BANDS) + 1)


@dataclass(frozen=True)
class Scores:
    """Scores of one shard's members for one year.

    Attributes
    ----------
    score_micro : int64[n_members], millionths of 1.000
    counts : dict
        n_unscored (filled by policy), n_members_under_18 where a model warns of them, and for
        models over diagnoses: mapped, unmapped, edited (code editor's ages), ineligible (no
        rule fits the member's age, sex or the code's dates).
    missing : bool[n_members]
        Members with months whose score came from the policy.
    """

    score_micro: NDArray[np.int64]
    counts: dict[str, int]
    missing: NDArray[np.bool_]


class ScoreProvider(Protocol):
    """Scores one shard at a time; picklable."""

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        ...

    @property
    def model_sha256(self) -> str:
        """Digest of everything the scores depend on beside the members' own rows."""
        ...

    def about(self, years: Sequence[int]) -> Mapping[str, Any]:
        """How these years are scored, in JSON's own values; `timing` is in it: "none" if none."""
        ...

    def score(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> Scores:
        """Score the members of a shard for `year`, from what was known on `cutoff_day`.

        `months` is int64[len(RATE_CELLS), n_members]: countable months of the year.
        """
        ...

    def parts(
        self,
        shard: ShardColumns,
        scores: Sequence[Scores],
        *,
        years: Sequence[int],
        cutoff_days: Sequence[int],
        months: Sequence[NDArray[np.int64]],
    ) -> ScoreParts | None:
        """What `score` found in base and performance year, taken apart; None: no model over codes.

        Every sequence is (base year, performance year).
        """
        ...

    def explain(
        self,
        population: Population,
        shard: ShardColumns,
        member: int,
        *,
        year: int,
        cutoff_day: int,
        months: NDArray[np.int64],
    ) -> dict[str, Any]:
        """Why one member of a shard has the score of `score`, in JSON's own values.

        `kind` is model, blend, cells, supplied or none; `filled` says by which policy and mean,
        None where the score is the member's own; `score_micro` is the score.
        """
        ...


@dataclass(frozen=True)
class Everyone:
    """Everyone is 1.000: a contract without risk adjustment."""

    name: str = "none"
    model_sha256: str = ""

    def about(self, years: Sequence[int]) -> Mapping[str, Any]:
        """Nobody's codes count."""
        del years
        return {"timing": NONE}

    def score(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> Scores:
        """1.000 for each member."""
        del year, cutoff_day, months
        n = shard.n_members
        return Scores(np.full(n, MICRO, np.int64), {"n_unscored": 0}, np.zeros(n, np.bool_))

    def parts(self, *given: Any, **more: Any) -> None:
        """Nothing stands behind the score."""
        del given, more

    def explain(
        self,
        population: Population,
        shard: ShardColumns,
        member: int,
        *,
        year: int,
        cutoff_day: int,
        months: NDArray[np.int64],
    ) -> dict[str, Any]:
        """Nothing is asked of anybody."""
        del population, shard, member, year, cutoff_day, months
        return {"kind": NONE, "filled": None, "score_micro": MICRO}


@dataclass(frozen=True)
class Fill:
    """Month-weighted mean scores of a year by cell, for members without a score of their own."""

    policy: str
    mean_micro: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    """By year: int64[cells]; -1 where no member of the cell has a score."""

    def apply(
        self,
        score_micro: NDArray[np.int64],
        scored: NDArray[np.bool_],
        shard: ShardColumns,
        *,
        year: int,
        months: NDArray[np.int64],
        provider_name: str,
    ) -> Scores:
        """Fill what is missing by the policy, or refuse."""
        missing = ~scored & (months.sum(axis=0) > 0)
        count = int(missing.sum())
        if count and self.policy == "error":
            raise DataError(
                f"{count} members of shard {shard.index} have months in {year} and no score of "
                f"{provider_name!r}; supply their scores, or set the contract's missing-member "
                f"policy to one of {', '.join(MISSING_SCORE[1:])}"
            )
        score_micro = np.where(scored, score_micro, 0)
        if count:
            cells = cells_of(self.policy, shard, year=year, months=months)
            means = self.mean_micro.get(year)
            filled = np.full(shard.n_members, -1, np.int64) if means is None else means[cells]
            left = missing & (filled < 0)
            if left.any():
                n = int(left.sum())
                alike = "age band and sex"
                if self.policy == "group_average":
                    names = ", ".join(RATE_CELLS[cell] for cell in np.unique(cells[left]))
                    alike = f"rate cell ({names})"
                raise DataError(
                    f"{n} member{'s' * (n != 1)} of shard {shard.index} with months in {year} "
                    f"found without a score of {provider_name!r}, and nobody in the state of the "
                    f"same {alike} has one to take the mean of; supply a score of {year} for one "
                    "of them at least, or let risk.missing go by another mean"
                )
            score_micro = np.where(missing, filled, score_micro)
        return Scores(score_micro, {"n_unscored": count}, missing)

    def explain(
        self,
        found: Scores,
        shard: ShardColumns,
        member: int,
        *,
        year: int,
        months: NDArray[np.int64],
    ) -> dict[str, Any]:
        """Policy, cell and mean of a member who was filled; and the score."""
        filled = None
        if found.missing[member]:
            cell = int(cells_of(self.policy, shard, year=year, months=months)[member])
            filled = {
                "policy": self.policy,
                "cell": _cell_name(self.policy, cell),
                "mean_micro": int(self.mean_micro[year][cell]),
            }
        return {"filled": filled, "score_micro": int(found.score_micro[member])}


def _cell_name(policy: str, cell: int) -> str:
    """What a cell of `cells_of` is, in words."""
    if policy == "group_average":
        return RATE_CELLS[cell]
    sex, band = divmod(cell, len(AGE_BANDS) + 1)
    if not band:
        return f"{SEXES[sex]}, age unknown"
    top = f" to {AGE_BANDS[band] - 1}" if band < len(AGE_BANDS) else " and over"
    return f"{SEXES[sex]}, {AGE_BANDS[band - 1]}{top}"


def ages_on(birth_day: NDArray[np.int32], day: int) -> NDArray[np.int16]:
    """Completed years of age on a day number; -1 where the birth day is unknown or later.

    Parameters
    ----------
    birth_day : int32[n], days since 1970-01-01, `NO_DAY` unknown
    day : int, days since 1970-01-01

    Notes
    -----
    A person born on 29 February has a birthday on 1 March in common years.
    """
    known = birth_day != NO_DAY
    born = np.where(known, birth_day, 0).astype("datetime64[D]")
    on = np.datetime64(int(day), "D")
    born_month = born.astype("datetime64[M]").astype(np.int64)
    on_month = on.astype("datetime64[M]").astype(np.int64)
    born_dom = (born - born.astype("datetime64[M]")).astype(np.int64)
    on_dom = (on - on.astype("datetime64[M]")).astype(np.int64)
    months = on_month - born_month - (born_dom > on_dom)
    years = np.floor_divide(months, 12)
    return cast(
        NDArray[np.int16],
        np.where(known & (years >= 0), np.minimum(years, 127), -1).astype(np.int16),
    )


def ages_in_payment_year(birth_day: NDArray[np.int32], year: int) -> NDArray[np.int16]:
    """Age on 1 February of a payment year, 0 for who is born later; -1 where the birth is unknown.

    CMS's program sets a negative age to 0 (V2823T2M, V2422P2M).
    """
    day = int((np.datetime64(f"{year}-02-01", "D") - np.datetime64(0, "D")).astype(np.int64))
    age = ages_on(birth_day, day)
    return np.where((age < 0) & (birth_day != NO_DAY), 0, age).astype(np.int16)


def cells_of(
    policy: str, shard: ShardColumns, *, year: int, months: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cell of each member under a policy: int64[n_members], indexes of `Fill.mean_micro`."""
    if policy == "group_average":
        return fullest(months)
    age = ages_on(shard.column("members", "birth_day"), year_bounds(year)[1] - 1)
    band = np.searchsorted(np.array(AGE_BANDS), age, side="right")
    return shard.column("members", "sex").astype(np.int64) * (len(AGE_BANDS) + 1) + band


def fullest(months: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cell with most months of each member, the first of several (`argmax` takes longer)."""
    by_cell = months.astype(np.uint8)
    most, cell = by_cell[0], np.zeros(by_cell.shape[1], np.uint8)
    for c in range(1, len(by_cell)):
        np.copyto(cell, np.uint8(c), where=by_cell[c] > most)
        most = np.maximum(most, by_cell[c])
    return cell.astype(np.int64)


def fullest_aid_group(months: NDArray[np.int64]) -> NDArray[np.int64]:
    """The aid group with most months of each member, the first listed of several: int64[n]."""
    return fullest(months.reshape(len(AID_GROUPS), len(PAYER_KINDS), -1).sum(axis=1))


def enrolled_months(shard: ShardColumns, *, year: int) -> NDArray[np.int64]:
    """Months of the year by rate cell, from the spans alone: int64[len(RATE_CELLS), n_members]."""
    n = shard.n_members
    first = shard.column("spans", "first_month") - np.int32(12 * year)
    last = first + shard.column("spans", "n_months")
    within = np.minimum(last, 12) - np.maximum(first, 0)
    spans = np.flatnonzero(within > 0)
    member = np.repeat(np.arange(n), np.diff(shard.offsets("spans")))[spans]
    place = shard.column("spans", "rate_cell")[spans].astype(np.int64) * n + member
    return sums_by(place, within[spans], len(RATE_CELLS) * n).reshape(len(RATE_CELLS), n)


MonthsOf = Callable[[ShardColumns, int], NDArray[np.int64]]
"""(shard, year) -> months by rate cell, int64[len(RATE_CELLS), n_members]."""


@dataclass(frozen=True)
class MonthsThatCount:
    """Which months of which years weigh in the means that fill scores.

    Attributes
    ----------
    years : tuple of int
    of : callable
    cutoff_days : mapping of year to int
        What was known by then, for models over diagnoses; a year that is not here: everything.
    key : hashable or None
        Names everything that `of` depends on beside the population; None: means are not kept.
    """

    years: tuple[int, ...]
    of: MonthsOf
    cutoff_days: Mapping[int, int]
    key: Hashable = None

    def cutoff_day(self, year: int) -> int:
        """Day by which a year's diagnoses were known."""
        return self.cutoff_days.get(year, 2**31 - 1)


def enrolled(population: Population) -> MonthsThatCount:
    """All enrolled months of full years, whatever is known of them."""
    first, last = population.manifest.get("full_years", population.manifest["service_years"])

    def of(shard: ShardColumns, year: int) -> NDArray[np.int64]:
        return enrolled_months(shard, year=year)

    return MonthsThatCount(tuple(range(int(first), int(last) + 1)), of, {}, "enrolled")


ScoresOfYear = Callable[[ShardColumns, int], tuple[NDArray[np.int64], NDArray[np.bool_]]]
"""(shard, year) -> score_micro int64[n_members], and bool[n_members]: who has a score."""


def mean_scores(
    policy: str, shards: Sequence[Shard], *, counting: MonthsThatCount, scores: ScoresOfYear
) -> dict[int, NDArray[np.int64]]:
    """Month-weighted mean score by year and cell over all shards: integers, half to even.

    Everybody who has a score and a month that counts is in it, eligible or not.
    """
    n_cells = len(RATE_CELLS) if policy == "group_average" else N_DEMOGRAPHIC
    means = {}
    for year in counting.years:
        weighted = [0] * n_cells
        weights = np.zeros(n_cells, np.int64)
        for shard in shards:
            months = counting.of(shard, year)
            total = months.sum(axis=0)
            score_micro, scored = scores(shard, year)
            cells = cells_of(policy, shard, year=year, months=months)
            total = np.where(scored, total, 0)
            sums = sums_by(cells, score_micro * total, n_cells)
            weights += sums_by(cells, total, n_cells)
            weighted = [have + int(more) for have, more in zip(weighted, sums, strict=True)]
        means[year] = np.array(
            [
                half_even(total, int(weight)) if weight else -1
                for total, weight in zip(weighted, weights, strict=True)
            ],
            np.int64,
        )
    return means
