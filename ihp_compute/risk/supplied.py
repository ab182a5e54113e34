"""Supplied scores: taken as given for a year, with a policy for members who have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import NO_SCORE
from ihp_compute.contracts import NONE
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk.scores import Fill, MonthsThatCount, Scores, mean_scores


@dataclass(frozen=True)
class SuppliedScores:
    """Scores that came with the population, of one model."""

    name: str
    model_sha256: str
    model_code: int
    fill: Fill
    weight_micro: Mapping[tuple[int, int], int] | None = None
    """Imported cells: weight by (year, cell code); a row without a cell says nothing. None: the
    score column counts as it stands; a row without a score says nothing."""
    weight_years: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """By (year, cell code): first and last year of the weight."""

    def about(self, years: Sequence[int]) -> Mapping[str, Any]:
        """A score bears its year: no timing of ours."""
        del years
        return {"timing": NONE}

    def parts(self, *given: Any, **more: Any) -> None:
        """What stands behind a score did not come with it."""
        del given, more

    def of_year(
        self, shard: ShardColumns, year: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """int64[n_members]: the members' own scores of a year; bool[n_members]: who has one.

        Raises
        ------
        DataError
            If a member has two different ones.
        """
        n = shard.n_members
        offsets = shard.offsets("scores")
        counts = shard.column("scores", "year") == year
        counts &= shard.column("scores", "model") == self.model_code
        if self.weight_micro is None:
            counts &= shard.column("scores", "score_micro") != NO_SCORE
        else:
            counts &= shard.column("scores", "cell") != 0
        rows = np.flatnonzero(counts)
        member = np.repeat(np.arange(n), np.diff(offsets)).take(rows)
        if self.weight_micro is None:
            value = shard.column("scores", "score_micro").take(rows)
            known = np.ones(len(value), np.bool_)
        else:
            cells = shard.column("scores", "cell").take(rows)
            weights = [self.weight_micro.get((year, int(cell)), -1) for cell in cells]
            value = np.array(weights, np.int64)
            known = value >= 0
        score_micro = np.zeros(n, np.int64)
        score_micro[member] = value
        if (score_micro[member] != value).any():
            raise DataError(
                f"members of shard {shard.index} have two different scores of {self.name!r} for "
                f"{year}; keep one score per member, year and model"
            )
        scored = np.zeros(n, np.bool_)
        scored[member] = known
        return score_micro, scored

    def own(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, int]]:
        """Members' own scores, int64[n]; who has one, bool[n]; nothing is counted."""
        del cutoff_day, months
        return *self.of_year(shard, year), {}

    def score(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> Scores:
        """Supplied scores of the year; a supplied score carries no paid date, so no cutoff."""
        del cutoff_day
        own, scored = self.of_year(shard, year)
        return self.fill.apply(
            own, scored, shard, year=year, months=months, provider_name=self.name
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
        """What is behind one member's score; see `risk.ScoreProvider`."""
        found = self.score(shard, year=year, cutoff_day=cutoff_day, months=months)
        return {
            **self.behind(
                population, shard, member, year=year, cutoff_day=cutoff_day, months=months
            ),
            **self.fill.explain(found, shard, member, year=year, months=months),
        }

    def behind(
        self,
        population: Population,
        shard: ShardColumns,
        member: int,
        *,
        year: int,
        cutoff_day: int,
        months: NDArray[np.int64],
    ) -> dict[str, Any]:
        """Rows of the member that bear the year: score as supplied, or cell and its weight."""
        del cutoff_day, months
        first, last = shard.offsets("scores")[member : member + 2]
        names = population.codes("risk_cell")
        rows = []
        for row in range(int(first), int(last)):
            at_row = {
                name: int(shard.column("scores", name)[row])
                for name in ("year", "model", "score_micro", "cell")
            }
            if at_row["year"] != year or at_row["model"] != self.model_code:
                continue
            given: dict[str, Any] = {"year": year, "cell": str(names[at_row["cell"]].as_py() or "")}
            if self.weight_micro is None:
                stated = at_row["score_micro"]
                given["score_micro"] = None if stated == NO_SCORE else stated
            else:
                of = (year, at_row["cell"])
                given["weight_micro"] = self.weight_micro.get(of)
                if of in self.weight_years:
                    given["first_year"], given["last_year"] = self.weight_years[of]
            rows.append(given)
        return {
            "kind": "supplied" if self.weight_micro is None else "cells",
            "model": self.name,
            "rows": rows,
        }


def supplied(
    name: str, population: Population, *, missing: str, counting: MonthsThatCount
) -> SuppliedScores:
    """The provider of supplied scores that a term names: `supplied`, or `supplied:MODEL`.

    Raises
    ------
    RiskModelError
        If the population holds none, or several and the term names none of them.
    """
    codes = population.codes("risk_model").to_pylist()
    known = [code for code in codes if code]
    wanted = name.partition(":")[2]
    if not known:
        raise RiskModelError(
            "the population holds no supplied scores; add a table risk_score and ingest "
            "again, or name a risk model"
        )
    if not wanted and len(known) > 1:
        raise RiskModelError(
            f"the population holds scores of {len(known)} models ({', '.join(known)}); name one, "
            f"as in supplied:{known[0]}"
        )
    model = wanted or known[0]
    if model not in known:
        raise RiskModelError(
            f"no supplied scores of {model!r}; the population holds {', '.join(known)}"
        )
    bare = SuppliedScores(
        name=f"supplied:{model}",
        model_sha256=str(population.manifest.get("population_digest", "")),
        model_code=codes.index(model),
        fill=Fill("error"),
    )
    return with_policy(bare, population, missing=missing, counting=counting)


def with_policy(
    bare: SuppliedScores, population: Population, *, missing: str, counting: MonthsThatCount
) -> SuppliedScores:
    """The same provider, with the means its missing-member policy needs read from all shards."""
    if missing == "error":
        return bare
    weights = tuple(sorted(bare.weight_micro.items())) if bare.weight_micro else None

    def make() -> dict[int, NDArray[np.int64]]:
        return mean_scores(missing, population.shards, counting=counting, scores=bare.of_year)

    key = ("mean_scores", missing, bare.model_code, counting.years, counting.key, weights)
    means = make() if counting.key is None else population.remember(key, make)
    return replace(bare, fill=Fill(missing, means))
