"""A risk model over a population: one score per member and year from the diagnoses on file.

    spans -> facts, diagnoses and drugs of the year known by the cutoff -> engine -> policy

Which year's codes count, the short-enrolment cut, and what happens to a newborn without a birth
code, whose birth is often coded on the mother's claims, follow from `score_terms`. Members whom the
model cannot score (age or sex unknown, too few months) fall under the missing-member policy,
counted.

A published CMS-HCC model has a map and a factor for each payment year, the year after the codes';
all that are used enter the digest. Any other model brings one map, which serves every year of
codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import names_a_file
from ihp_compute.errors import RiskModelError
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk import cell_weights
from ihp_compute.risk.diagnosis_filter import DiagnosisFilter, filter_of, first_alike
from ihp_compute.risk.member_factors import MemberFactors
from ihp_compute.risk.member_facts import facts
from ihp_compute.risk.models import (
    Codes,
    Compiled,
    Members,
    Model,
    Scored,
    asks,
    check,
    clean_codes,
    compile_model,
    explain_one,
    run,
    segments_of,
    slim,
)
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.score_parts import ScoreParts, parts_of
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.risk.scores import (
    Fill,
    MonthsThatCount,
    Scores,
    enrolled,
    enrolled_months,
    mean_scores,
)
from ihp_compute.risk.supplied import SuppliedScores, with_policy
from ihp_compute.units import date_text, year_bounds

SYSTEMS: Final = {"ICD10": "dx", "NDC": "ndc", "HCPCS": "hcpcs"}


@dataclass(frozen=True)
class ModelScores:
    """A provider that runs a model over a shard's diagnoses and drugs; picklable."""

    name: str
    model_sha256: str
    by_year: Mapping[int, Compiled]
    """Compiled model by year of the diagnoses."""
    entry: Mapping[tuple[int, str], NDArray[np.int32]]
    """Rule list by diagnosis year, system and population code."""
    held: tuple[int, int]
    """First and last year of which the population has rows."""
    terms: ScoreTerms
    """Nothing left to the model."""
    fill: Fill = field(default_factory=lambda: Fill("error"))
    refused: Mapping[int, str] = field(default_factory=dict)
    """Why there is no model of a year of diagnoses."""
    factors: MemberFactors | None = None
    """Of a model that asks for them."""
    claims: DiagnosisFilter = field(default_factory=DiagnosisFilter.every)
    """Whose diagnoses count."""

    def diagnosis_year(self, year: int) -> int:
        """Year whose codes count for the scores of `year`."""
        return self.terms.code_year(year)

    def compiled(self, year: int) -> Compiled:
        """The model for scores of `year`.

        Raises
        ------
        RiskModelError
            If the population has no diagnoses of the year needed, or the model no map of it.
        """
        wanted = self.diagnosis_year(year)
        if wanted in self.refused:
            raise RiskModelError(f"scores of {year}: {self.refused[wanted]}")
        if wanted not in self.by_year:
            raise RiskModelError(
                f"{self.name} is {self.terms.timing}: scores of {year} need diagnoses of {wanted}; "
                f"the population holds {self.held[0]} to {self.held[1]}"
            )
        return self.by_year[wanted]

    def about(self, years: Sequence[int]) -> dict[str, Any]:
        """How these years are scored; see `risk.ScoreProvider`."""
        terms = self.terms
        return {
            "timing": terms.timing,
            "payment_year": terms.payment_year,
            "minimum_months": terms.min_months,
            "newborn": terms.newborn,
            "code_edits": terms.code_edits,
            "diagnoses_from": self.claims.rule,
            "list_sha256": self.claims.list_sha256,
            "without_bill_type": terms.without_bill_type,
            "runout_months": terms.runout_months,
            "years": [
                {
                    "year": year,
                    "codes_of": self.diagnosis_year(year),
                    "version": self.compiled(year).model.version,
                }
                for year in years
            ],
        }

    def indicators(
        self,
        shard: ShardColumns,
        *,
        year: int,
        cutoff_day: int,
        months: NDArray[np.int64],
        by: int | None = None,
    ) -> tuple[Members, Scored, NDArray[np.bool_]]:
        """Facts, bits and raw scores of a shard's members, and who can be scored.

        `by` is the year whose model scores; None: its own.
        """
        by = year if by is None else by
        compiled = self.compiled(by)
        members = self._members(shard, compiled, year, months)
        codes = self._codes(compiled, shard, year=year, cutoff_day=cutoff_day, by=by)
        scored = run(compiled, members, codes, code_edits=self.terms.code_edits)
        able = np.ones(len(members), np.bool_)
        for bad in check(compiled, members, segments_of(compiled, members)).values():
            able &= ~bad
        able &= self._long_enough(shard, year)
        if self.terms.newborn == "missing":
            able &= ~self._no_birth_code(compiled, members, scored)
        return members, scored, able

    def score(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> Scores:
        """Score the members of a shard; see `risk.ScoreProvider`."""
        own, able, counts = self.own(shard, year=year, cutoff_day=cutoff_day, months=months)
        found = self.fill.apply(own, able, shard, year=year, months=months, provider_name=self.name)
        return replace(found, counts=dict(found.counts) | counts)

    def own(
        self, shard: ShardColumns, *, year: int, cutoff_day: int, months: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[str, int]]:
        """Members' own scores, int64[n]; who can be scored, bool[n]; and what was counted."""
        members, scored, able = self.indicators(
            shard, year=year, cutoff_day=cutoff_day, months=months
        )
        compiled = self.compiled(year)
        counts = scored.counts()
        if self.terms.min_months:
            short = ~self._long_enough(shard, year) & (months.sum(axis=0) > 0)
            counts["n_under_minimum_months"] = int(short.sum())
        if compiled.model.warn_under_age:
            young = (members.age >= 0) & (members.age < compiled.model.warn_under_age)
            counts[f"n_members_under_{compiled.model.warn_under_age}"] = int(
                (young & (months.sum(axis=0) > 0)).sum()
            )
        if "MATURITY_AGE1" in compiled.bit:
            unborn = self._no_birth_code(compiled, members, scored) & (months.sum(axis=0) > 0)
            counts["n_newborns_without_birth_code"] = int(unborn.sum())
        if self.claims.leaves_out:
            counts |= self.claims.left_out(
                shard,
                days=year_bounds(self.diagnosis_year(year)),
                cutoff_day=self.terms.known_by(year, cutoff_day),
                members=months.sum(axis=0) > 0,
            ).counts()
        return scored.score_micro, able, counts

    def parts(
        self,
        shard: ShardColumns,
        scores: Sequence[Scores],
        *,
        years: Sequence[int],
        cutoff_days: Sequence[int],
        months: Sequence[NDArray[np.int64]],
    ) -> ScoreParts:
        """What the two scores of each member are made of; see `risk.ScoreProvider`."""
        base, now = years
        by = self.compiled(base)
        with_codes = [one.score_micro for one in scores]
        if by is not self.compiled(now):
            _, scored, _ = self.indicators(
                shard, year=now, cutoff_day=cutoff_days[1], months=months[1], by=base
            )
            with_codes[1] = scored.score_micro
        without = [
            self._without(by, shard, year, of) for year, of in zip(years, months, strict=True)
        ]
        return parts_of(
            with_codes,
            without,
            [~one.missing for one in scores],
            [one.score_micro for one in scores],
        )

    def by_model_of(
        self, by: int, shard: ShardColumns, *, year: int, cutoff_day: int,
        months: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
        """Scores of `year` by the model of `by`, int64[n]: with the codes, and without any."""
        _, scored, _ = self.indicators(
            shard, year=year, cutoff_day=cutoff_day, months=months, by=by
        )
        return scored.score_micro, self._without(self.compiled(by), shard, year, months)

    def _without(
        self, by: Compiled, shard: ShardColumns, year: int, months: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        return run(by, self._members(shard, by, year, months), {}).score_micro

    def _members(
        self, shard: ShardColumns, compiled: Compiled, year: int, months: NDArray[np.int64]
    ) -> Members:
        """What the model may ask of the shard's members for one year."""
        members = facts(shard, compiled, year=year, months=months, terms=self.terms)
        if self.factors is not None and "factors" in asks(compiled.model):
            bits, _ = self.factors.on(shard, year_bounds(self.diagnosis_year(year))[1] - 1)
            members = replace(members, factors=bits)
        return members

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
        """Codes, steps, terms and post-steps of one member, and why there is no score of these."""
        compiled = self.compiled(year)
        members, scored, able = self.indicators(
            shard, year=year, cutoff_day=cutoff_day, months=months
        )
        document = explain_one(
            compiled,
            members,
            self._codes(compiled, shard, year=year, cutoff_day=cutoff_day, by=year),
            scored,
            member,
            code_edits=self.terms.code_edits,
        )
        names = {system: population.codes(column) for system, column in SYSTEMS.items()}
        for row in document["codes"]:
            row["code"] = names[row["system"]][row["code"]].as_py()
            row["date"] = date_text(row.pop("day"))
        left_out = self.claims.rows_left_out(
            shard,
            member,
            days=year_bounds(self.diagnosis_year(year)),
            cutoff_day=self.terms.known_by(year, cutoff_day),
        )
        document["codes_left_out"] = [
            {"code": names["ICD10"][dx].as_py(), "date": date_text(day), "reason": reason}
            for dx, day, reason in left_out
        ]
        (how,) = self.about((year,))["years"]
        document["own_score_micro"] = document.pop("score_micro")
        return {
            "kind": "model",
            "model": self.name,
            "timing": self.terms.timing,
            "codes_of": how["codes_of"],
            "model_year": compiled.model.year,
            "version": how["version"],
            **document,
            "why_none": self._why_none(compiled, members, scored, shard, member, year),
            "is_scored": bool(able[member]),
        }

    def _why_none(
        self,
        compiled: Compiled,
        members: Members,
        scored: Scored,
        shard: ShardColumns,
        member: int,
        year: int,
    ) -> list[str]:
        """Why a member has no score of the model: the reasons of `indicators`, in words."""
        problems = check(compiled, members, segments_of(compiled, members))
        why = [reason for reason, bad in problems.items() if bad[member]]
        if not self._long_enough(shard, year)[member]:
            why.append(
                f"enrolled in {self.diagnosis_year(year)} for fewer than {self.terms.min_months} "
                "months"
            )
        if (
            self.terms.newborn == "missing"
            and self._no_birth_code(compiled, members, scored)[member]
        ):
            why.append("a newborn without a birth code")
        return why

    def _codes(
        self, compiled: Compiled, shard: ShardColumns, *, year: int, cutoff_day: int, by: int
    ) -> dict[str, Codes]:
        """The members' rows of the year of the codes, by system."""
        return {
            system: self._rows(shard, system, year=year, cutoff_day=cutoff_day, by=by)
            for system in SYSTEMS
            if len(compiled.tables[system].rules)
        }

    def _long_enough(self, shard: ShardColumns, year: int) -> NDArray[np.bool_]:
        """bool[n_members]: who was enrolled in enough months of the year of the codes."""
        if not self.terms.min_months:
            return np.ones(shard.n_members, np.bool_)
        enrolled_in = enrolled_months(shard, year=self.diagnosis_year(year)).sum(axis=0)
        return cast(NDArray[np.bool_], enrolled_in >= self.terms.min_months)

    def _no_birth_code(
        self, compiled: Compiled, members: Members, scored: Scored
    ) -> NDArray[np.bool_]:
        bit = compiled.bit.get("MATURITY_AGE1")
        if bit is None:
            return np.zeros(len(members), np.bool_)
        by_default = scored.terms[:, bit // 64] >> np.uint64(bit % 64) & np.uint64(1) == 1
        return by_default & (members.age == 0)

    def _rows(
        self, shard: ShardColumns, system: str, *, year: int, cutoff_day: int, by: int
    ) -> Codes:
        cutoff_day = self.terms.known_by(year, cutoff_day)
        first, last = year_bounds(self.diagnosis_year(year))
        table = "diagnoses" if system == "ICD10" else "drugs"
        day = shard.column(table, "day")
        keep = (day >= first) & (day < last) & (shard.column(table, "paid_day") <= cutoff_day)
        if system == "ICD10":
            code = shard.column(table, "dx")
            if self.claims.leaves_out:
                keep &= self.claims.of_diagnoses(shard) == 0
            keep &= first_alike(shard, keep)
        else:
            keep &= shard.column(table, "system") == (0 if system == "NDC" else 1)
            code = shard.column(table, "code")
        offsets = np.concatenate([[0], np.cumsum(keep)])[shard.offsets(table)]
        entry = self.entry[self.diagnosis_year(by), system]
        return Codes(entry, code[keep], day[keep], offsets.astype(np.int64))


def model_provider(
    name: str,
    population: Population,
    *,
    missing: str = "error",
    counting: MonthsThatCount | None = None,
    store: Path | None = None,
    terms: ScoreTerms | None = None,
) -> ModelScores | SuppliedScores:
    """The provider of a model, or of imported cell weights, for a population.

    Raises
    ------
    RiskModelError
        If there is no such model, or it does not fit the population.
    """
    if cell_weights.is_cells(name, store=store):
        return with_policy(
            cell_weights.provider(name, population, store=store),
            population,
            missing=missing,
            counting=counting or enrolled(population),
        )
    if model_store.is_file(name, store=store) and not names_a_file(name):
        # a contract's digest leaves out a path, and must know it for one
        raise RiskModelError(f"risk model {name!r} is a file here; expected its path, ./{name}")
    stated = model_store.load(name, store=store)
    asked = (terms or ScoreTerms()).by(stated)
    first, last = (int(year) for year in population.manifest["service_years"])
    held = range(first, last + 1)
    wanted = {asked.code_year(year) for year in (counting.years if counting else held)}
    needed = [year for year in held if year in wanted]
    loaded: dict[int, Model] = dict.fromkeys(needed, stated)
    refused: dict[int, str] = {}
    if model_store.follows_payment_year(name):
        loaded, refused = _by_payment_year(name, needed, asked.payment_year)
        if refused and not loaded:
            raise RiskModelError(refused[min(refused)])
    distinct: dict[str, Compiled] = {}
    for model in loaded.values():
        if model.version not in distinct:
            distinct[model.version] = compile_model(model, code_years=(first, last))
    by_year = {year: distinct[model.version] for year, model in loaded.items()}
    words = {
        system: clean_codes(population.codes(column).to_pylist(), system)
        for system, column in SYSTEMS.items()
    }
    entry = {
        (year, system): compiled.tables[system].entry(words[system])
        for year, compiled in by_year.items()
        for system in SYSTEMS
    }
    shas = sorted({compiled.sha256 for compiled in by_year.values()})
    sha256 = shas[0] if len(shas) == 1 else hashlib.sha256("".join(shas).encode()).hexdigest()
    by_year = {year: slim(compiled) for year, compiled in by_year.items()}
    known_as = stated.name if model_store.is_file(name, store=store) else name
    wants_factors = any("factors" in asks(model) for model in loaded.values())
    claims = filter_of(asked, words["HCPCS"])
    if claims.list_sha256:
        sha256 = hashlib.sha256((sha256 + claims.list_sha256).encode()).hexdigest()
    bare = ModelScores(
        known_as, sha256, by_year, entry, (first, last), asked, refused=refused, claims=claims,
        factors=MemberFactors.of(population) if wants_factors else None,
    )  # fmt: skip
    if counting is None:
        whole_year = tuple(y for y in held if asked.code_year(y) in by_year)
        counting = replace(enrolled(population), years=whole_year)
    for year in counting.years:
        bare.compiled(year)  # refused here, not by a worker
        asked.check_run_out(year, counting.cutoff_day(year))
    if missing == "error":
        return bare
    months_of, known_by = counting.of, counting.cutoff_day

    def scores(shard: ShardColumns, year: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        months = months_of(shard, year)
        _, scored, able = bare.indicators(
            shard, year=year, cutoff_day=known_by(year), months=months
        )
        return scored.score_micro, able

    means = mean_scores(missing, population.shards, counting=counting, scores=scores)
    return replace(bare, fill=Fill(missing, means))


def _by_payment_year(
    name: str, years: Sequence[int], payment_year: int | None
) -> tuple[dict[int, Model], dict[int, str]]:
    """The model by year of the diagnoses, and why there is none of a year."""
    loaded: dict[int, Model] = {}
    refused: dict[int, str] = {}
    for year in years:
        try:
            model = model_store.load(name, payment_year=payment_year or year + 1)
            model_store.check_code_year(name, year)
        except RiskModelError as problem:
            refused[year] = str(problem)
        else:
            loaded[year] = model
    return loaded, refused
