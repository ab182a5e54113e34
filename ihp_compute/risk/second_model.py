"""Two models of one run: members of some aid groups are scored by the second, others by the first.

Programmes pay newborns and maternity by weights of their own, and a model of adults says nothing of
a newborn. A member is of the aid group of most countable months of the year, so the score of a year
is of one model. Both models' weights must be in the same unit; a norm by rate cell takes out what
is left of a difference between cells.

Not here: whether each model may be used as the terms ask, which is asked of each by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk.blended_scores import BlendedScores
from ihp_compute.risk.population_scores import ModelScores
from ihp_compute.risk.score_parts import ScoreParts
from ihp_compute.risk.scores import (
    Fill,
    MonthsThatCount,
    Scores,
    fullest_aid_group,
    mean_scores,
)
from ihp_compute.risk.supplied import SuppliedScores

OneModel = ModelScores | BlendedScores | SuppliedScores


@dataclass(frozen=True)
class TwoModels:
    """A provider of two, each without a policy of its own; picklable."""

    first: OneModel
    second: OneModel
    aid_groups: tuple[str, ...]
    """Whom the second scores."""
    fill: Fill

    @property
    def name(self) -> str:
        """Both names, and who is scored by the second."""
        return f"{self.first.name}, and {self.second.name} for {' and '.join(self.aid_groups)}"

    @property
    def model_sha256(self) -> str:
        """Digest of both digests and of who is scored by the second."""
        parts = (self.first.model_sha256, self.second.model_sha256, *self.aid_groups)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def about(self, years: Sequence[int]) -> Mapping[str, Any]:
        """How the first scores these years, with the second under `second_model`."""
        second = {
            "name": self.second.name,
            "sha256": self.second.model_sha256,
            "aid_groups": list(self.aid_groups),
        }
        return {**self.first.about(years), "second_model": second | dict(self.second.about(years))}

    def own(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, int]]:
        """Members' own scores, int64[n]; who has one, bool[n]; and what was counted.

        Each model counts the months of the members whom it scores, and rows of everybody's codes.
        """
        of_second = self._of_second(months)
        one, other = (
            model.own(shard, year=year, cutoff_day=cutoff_day, months=months * whose)
            for model, whose in ((self.first, ~of_second), (self.second, of_second))
        )
        counts = dict(one[2]) | {f"second_{name}": n for name, n in other[2].items()}
        counts["n_of_second_model"] = int(of_second.sum())
        return (
            np.where(of_second, other[0], one[0]),
            np.where(of_second, other[1], one[1]),
            counts,
        )

    def score(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> Scores:
        """Score the members of a shard; see `risk.ScoreProvider`."""
        own, scored, counts = self.own(shard, year=year, cutoff_day=cutoff_day, months=months)
        found = self.fill.apply(
            own, scored, shard, year=year, months=months, provider_name=self.name
        )
        return replace(found, counts=dict(found.counts) | counts)

    def parts(
        self,
        shard: ShardColumns,
        scores: Sequence[Scores],
        *,
        years: Sequence[int],
        cutoff_days: Sequence[int],
        months: Sequence[NDArray[np.int64]],
    ) -> ScoreParts | None:
        """Of each member by the model of each year; None unless both score from codes."""
        found = [
            model.parts(shard, scores, years=years, cutoff_days=cutoff_days, months=months)
            for model in (self.first, self.second)
        ]
        one, other = found
        if one is None or other is None:
            return None
        of_second = np.stack([self._of_second(of) for of in months])
        pick = [
            np.where(of_second, getattr(other, name), getattr(one, name))
            for name in ("demographic_micro", "codes_micro", "filled_micro")
        ]
        return ScoreParts(
            pick[0],
            pick[1],
            pick[2],
            np.where(of_second[1], other.model_micro, one.model_micro),
            one.scored & (of_second[0] == of_second[1]),
        )

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
        """What is behind one member's score, by the model of its aid group."""
        model = self.second if self._of_second(months)[member] else self.first
        found = self.score(shard, year=year, cutoff_day=cutoff_day, months=months)
        return {
            **model.behind(
                population, shard, member, year=year, cutoff_day=cutoff_day, months=months
            ),
            **self.fill.explain(found, shard, member, year=year, months=months),
        }

    def _of_second(self, months: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n_members]: whom the second model scores."""
        numbers = [AID_GROUPS.index(name) for name in self.aid_groups]
        is_of_group: NDArray[np.bool_] = np.isin(fullest_aid_group(months), numbers)
        return is_of_group & (months.sum(axis=0) > 0)


def with_second(
    first: OneModel,
    second: OneModel,
    aid_groups: tuple[str, ...],
    population: Population,
    *,
    missing: str,
    counting: MonthsThatCount,
) -> TwoModels:
    """A provider of both, with the means that its missing-member policy needs."""
    bare = TwoModels(first, second, aid_groups, Fill("error"))
    if missing == "error":
        return bare

    def own(shard: ShardColumns, year: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        months, known = counting.of(shard, year), counting.cutoff_day(year)
        score_micro, scored, _ = bare.own(shard, year=year, cutoff_day=known, months=months)
        return score_micro, scored

    means = mean_scores(missing, population.shards, counting=counting, scores=own)
    return replace(bare, fill=Fill(missing, means))
