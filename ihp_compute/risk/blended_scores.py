"""The blend of CMS-HCC over a population: each year by the models and shares of its payment year.

    each model's scores, as if it were alone -> shares of the payment year -> blended scores

The payment year of a year is the one after its codes', unless the terms or the name fix one for
every year. A payment year of which no shares are published is refused by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.errors import RiskModelError
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk.blended import SCORE_PLACES, blend
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.population_scores import ModelScores, model_provider
from ihp_compute.risk.score_parts import ScoreParts, parts_of
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.risk.scores import Fill, MonthsThatCount, Scores, enrolled, mean_scores

BY_MAP = ("icd10_", "ndc_", "hcpcs_")
"""How counts begin that differ between the models of a blend; all others are of the members."""


@dataclass(frozen=True)
class BlendedScores:
    """A provider that blends models by the shares of the payment year; picklable."""

    name: str
    model_sha256: str
    terms: ScoreTerms
    """Nothing left to the models, which state the same; a payment year that the name fixes too."""
    models: Mapping[str, ModelScores]
    """By name, none with a policy of its own; each for the years in which it has a share."""
    fill: Fill = field(default_factory=lambda: Fill("error"))

    def shares(self, year: int) -> dict[str, Decimal]:
        """Share of each model in the scores of `year`.

        Raises
        ------
        RiskModelError
            If nothing is known of its payment year.
        """
        return _shares(self.name, self.terms, year)

    def about(self, years: Sequence[int]) -> dict[str, Any]:
        """How these years are scored; see `risk.ScoreProvider`. `models` has the names by year."""
        told: list[dict[str, Any]] = []
        found: dict[str, Any] = {}
        for year in years:
            shares = self.shares(year)
            each = [self.models[name].about((year,)) for name in shares]
            versions = [one["years"][0]["version"] for one in each]
            titles = (f"{s:.0%} {v}" for s, v in zip(shares.values(), versions, strict=True))
            found = each[0]
            told.append(
                {
                    "year": year,
                    "codes_of": self.terms.code_year(year),
                    "version": versions[0] if len(versions) == 1 else "; ".join(titles),
                    "models": list(shares),
                }
            )
        return {**found, "payment_year": self.terms.payment_year, "years": told}

    def own(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, int]]:
        """Members' own scores, int64[n]; who can be scored, bool[n]; and what was counted."""
        shares = self.shares(year)
        scores, able = [], np.ones(shard.n_members, np.bool_)
        counts: dict[str, int] = {}
        for name in shares:
            score_micro, can, counted = self.models[name].own(
                shard, year=year, cutoff_day=cutoff_day, months=months
            )
            scores.append(score_micro)
            able &= can
            for what, n in counted.items():
                counts[f"{name}_{what}" if what.startswith(BY_MAP) else what] = n
        return blend(list(shares.values()), scores, places=SCORE_PLACES), able, counts

    def score(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> Scores:
        """Score the members of a shard; see `risk.ScoreProvider`."""
        own, able, counts = self.own(shard, year=year, cutoff_day=cutoff_day, months=months)
        found = self.fill.apply(own, able, shard, year=year, months=months, provider_name=self.name)
        return replace(found, counts=dict(found.counts) | counts)

    def parts(
        self,
        shard: ShardColumns,
        scores: Sequence[Scores],
        *,
        years: Sequence[int],
        cutoff_days: Sequence[int],
        months: Sequence[NDArray[np.int64]],
    ) -> ScoreParts:
        """What the two scores of each member are made of; see `risk.ScoreProvider`.

        The base year's model is the blend of the base year: its models and its shares.
        """
        shares = self.shares(years[0])
        with_codes: list[NDArray[np.int64]] = []
        without: list[NDArray[np.int64]] = []
        for year, cutoff_day, of in zip(years, cutoff_days, months, strict=True):
            found = [
                self.models[name].by_model_of(
                    years[0], shard, year=year, cutoff_day=cutoff_day, months=of
                )
                for name in shares
            ]
            for into, k in ((with_codes, 0), (without, 1)):
                scored = [both[k] for both in found]
                into.append(blend(list(shares.values()), scored, places=SCORE_PLACES))
        return parts_of(
            with_codes,
            without,
            [~one.missing for one in scores],
            [one.score_micro for one in scores],
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
        """What is behind each model's score of one member, with its share, and the blend."""
        models = [
            {
                "share": str(share),
                **self.models[name].behind(
                    population, shard, member, year=year, cutoff_day=cutoff_day, months=months
                ),
            }
            for name, share in self.shares(year).items()
        ]
        own, able, _ = self.own(shard, year=year, cutoff_day=cutoff_day, months=months)
        (how,) = self.about((year,))["years"]
        return {
            "kind": "blend",
            "model": self.name,
            "timing": self.terms.timing,
            "codes_of": how["codes_of"],
            "version": how["version"],
            "models": models,
            "own_score_micro": int(own[member]),
            "why_none": list(dict.fromkeys(why for one in models for why in one["why_none"])),
            "is_scored": bool(able[member]),
        }


def _shares(name: str, terms: ScoreTerms, year: int) -> dict[str, Decimal]:
    try:
        return model_store.shares(name, terms.payment_year or terms.code_year(year) + 1)
    except RiskModelError as problem:
        raise RiskModelError(f"scores of {year}: {problem}") from problem


def blended_provider(
    name: str,
    population: Population,
    *,
    missing: str = "error",
    counting: MonthsThatCount | None = None,
    terms: ScoreTerms | None = None,
) -> BlendedScores:
    """The provider of a blend for a population.

    Without `counting`, of those full years of which there are codes and shares.

    Raises
    ------
    RiskModelError
        If nothing is known of a payment year, or the population lacks the year of the codes.
    """
    asked = (terms or ScoreTerms()).by(model_store.stated(name))
    fixed = model_store.payment_year_of(name) or asked.payment_year
    asked = replace(asked, payment_year=fixed)
    if counting is None:
        counting = enrolled(population)
        counting = replace(counting, years=_whole_years(name, population, asked, counting.years))
    by_year = {year: _shares(name, asked, year) for year in counting.years}
    models: dict[str, ModelScores] = {}
    for each in dict.fromkeys(each for shares in by_year.values() for each in shares):
        own_years = tuple(year for year, shares in by_year.items() if each in shares)
        made = model_provider(
            each, population, counting=replace(counting, years=own_years), terms=asked
        )
        if isinstance(made, ModelScores):
            models[each] = made
    told = [f"{year} {shares}" for year, shares in sorted(by_year.items())]
    told += [f"{each} {made.model_sha256}" for each, made in sorted(models.items())]
    sha256 = hashlib.sha256("\n".join(told).encode()).hexdigest()
    bare = BlendedScores(name, sha256, asked, models)
    if missing == "error":
        return bare
    months_of, known_by = counting.of, counting.cutoff_day

    def own(shard: ShardColumns, year: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        months = months_of(shard, year)
        score_micro, able, _ = bare.own(shard, year=year, cutoff_day=known_by(year), months=months)
        return score_micro, able

    means = mean_scores(missing, population.shards, counting=counting, scores=own)
    return replace(bare, fill=Fill(missing, means))


def _whole_years(
    name: str, population: Population, terms: ScoreTerms, years: Sequence[int]
) -> tuple[int, ...]:
    """Those of the years of which there are codes and shares.

    Raises
    ------
    RiskModelError
        If there is none, with the reason of the first.
    """
    first, last = (int(year) for year in population.manifest["service_years"])
    found, why = [], ""
    for year in years:
        try:
            _shares(name, terms, year)
        except RiskModelError as problem:
            why = why or str(problem)
            continue
        if first <= terms.code_year(year) <= last:
            found.append(year)
    if why and not found:
        raise RiskModelError(why)
    return tuple(found)
