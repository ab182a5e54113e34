"""A model over shards: which codes count, whose age, what is missing, what is counted."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.population import Population
from ihp_compute.risk import cell_weights, imports
from ihp_compute.risk.population_scores import ModelScores, model_provider
from ihp_compute.risk.providers import provider
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.risk.scores import MonthsThatCount, enrolled_months
from ihp_compute.units import NO_DAY, day_of, month_of

LATE = 2**31 - 1
RENAMED = {
    "I482": "I4820", "N183": "N1830", "F0391": "F03911", "I472": "I4720", "I481": "I4819",
    "M311": "M3119", "D593": "D5930", "J8417": "J84178",
}  # fmt: skip
"""Codes that ICD-10-CM spelt otherwise from 2019 to 2022, and one of those that replaced each."""
DX = ["", "C50011", "E1169", "I509", "UNKNOWN", "Z3800", "I70231", *RENAMED, *RENAMED.values()]


@dataclass
class Person:
    """One member: diagnoses are (code, day, paid day)."""

    born: date | None = date(1950, 5, 5)
    sex: int = 2
    diagnoses: list[tuple[str, date, date]] = field(default_factory=list)
    months: int = 24
    start: int = month_of(2023, 1)
    flags: int = 0
    dual: int = 255
    scores: list[tuple[int, int, int]] = field(default_factory=list)  # year, model, cell


@dataclass
class Shard:
    people: list[Person]
    index: int = 0

    @property
    def n_members(self) -> int:
        return len(self.people)

    def offsets(self, table: str) -> np.ndarray:
        sizes = {
            "spans": [1] * len(self.people),
            "diagnoses": [len(p.diagnoses) for p in self.people],
            "drugs": [0] * len(self.people),
            "lines": [0] * len(self.people),
            "scores": [len(p.scores) for p in self.people],
        }[table]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def column(self, table: str, name: str) -> np.ndarray:
        people = self.people
        dx = [row for p in people for row in p.diagnoses]
        scores = [row for p in people for row in p.scores]
        values: dict[tuple[str, str], tuple[list[Any], Any]] = {
            ("members", "member_key"): (list(range(len(people))), np.uint64),
            ("members", "birth_day"): (
                [day_of(p.born) if p.born else NO_DAY for p in people],
                np.int32,
            ),
            ("members", "sex"): ([p.sex for p in people], np.uint8),
            ("spans", "first_month"): ([p.start for p in people], np.int32),
            ("spans", "n_months"): ([p.months for p in people], np.int32),
            ("spans", "rate_cell"): ([2] * len(people), np.uint8),
            ("spans", "flags"): ([p.flags for p in people], np.uint8),
            ("spans", "dual_status"): ([p.dual for p in people], np.uint8),
            ("spans", "original_reason"): ([255] * len(people), np.uint8),
            ("diagnoses", "dx"): ([DX.index(c) for c, _, _ in dx], np.int32),
            ("diagnoses", "day"): ([day_of(d) for _, d, _ in dx], np.int32),
            ("diagnoses", "source"): ([0] * len(dx), np.uint8),
            ("line_detail", "source"): ([], np.uint8),
            ("lines", "claim_end_day"): ([], np.int32),
            ("lines", "paid_day"): ([], np.int32),
            ("lines", "paid_cents"): ([], np.int64),
            ("diagnoses", "paid_day"): ([day_of(d) for _, _, d in dx], np.int32),
            ("drugs", "system"): ([], np.uint8),
            ("drugs", "code"): ([], np.int32),
            ("drugs", "day"): ([], np.int32),
            ("drugs", "paid_day"): ([], np.int32),
            ("scores", "year"): ([r[0] for r in scores], np.int16),
            ("scores", "model"): ([r[1] for r in scores], np.int32),
            ("scores", "cell"): ([r[2] for r in scores], np.int32),
            ("scores", "score_micro"): ([0] * len(scores), np.int64),
        }
        found, dtype = values[table, name]
        return np.array(found, dtype)


@dataclass
class InMemory(Population):
    """A population in memory, of the shards given."""

    shards: Any
    manifest: dict[str, Any] = field(default_factory=lambda: {"service_years": [2023, 2024]})

    def codes(self, system: str) -> pa.Array:
        words = {"dx": DX, "risk_model": ["", "acg"], "risk_cell": ["", "0100", "0200"]}
        return pa.array(words.get(system, [""]))

    def remember(self, _key: Any, make: Callable[[], Any]) -> Any:
        return make()


def score(
    people: list[Person], *, year: int = 2024, cutoff: int = LATE, timing: str = "concurrent",
    **terms: Any,
) -> Any:  # fmt: skip
    population = InMemory((Shard(people),))
    found = model_provider("cms-hcc-v28", population, terms=ScoreTerms(timing, **terms))
    assert isinstance(found, ModelScores)
    shard = population.shards[0]
    return found.score(
        shard, year=year, cutoff_day=cutoff, months=enrolled_months(shard, year=year)
    )


IN_2023 = ("I509", date(2023, 6, 1), date(2023, 7, 1))
IN_2024 = ("I509", date(2024, 6, 1), date(2024, 7, 1))
PLAIN = score([Person()]).score_micro[0]


def test_codes_of_the_scored_year_count_when_concurrent() -> None:
    found = score([Person(diagnoses=[IN_2024]), Person(diagnoses=[IN_2023]), Person()])
    assert found.score_micro[0] > found.score_micro[1] == found.score_micro[2] == PLAIN


def test_codes_of_the_year_before_count_when_prospective() -> None:
    people = [Person(diagnoses=[IN_2024]), Person(diagnoses=[IN_2023]), Person()]
    found = score(people, timing="prospective")
    assert found.score_micro[1] > found.score_micro[0] == found.score_micro[2]


@pytest.mark.parametrize(
    ("timing", "fixed", "normalisation"),
    [
        ("prospective", None, "1.015"),  # codes of 2023: payment year 2024
        ("concurrent", None, "1.045"),  # codes of 2024: payment year 2025
        ("prospective", 2026, "1.067"),
        ("concurrent", 2026, "1.067"),
    ],
)
def test_map_and_factor_are_of_the_payment_year_and_age_follows_the_year(
    timing: str, fixed: int | None, normalisation: str
) -> None:
    """A man of 64 or 65 on 1 February of the year after the codes' own, whatever is fixed."""
    paid = 2024 if timing == "prospective" else 2025
    people = [Person(born=date(paid - 65, 2, 2)), Person(born=date(paid - 65, 2, 1))]
    found = score(people, timing=timing, payment_year=fixed).score_micro
    raw = [Decimal("0.345"), Decimal("0.332")]  # CND_M60_64 and CNA_M65_69 of V28
    place = Decimal("0.001")
    normed = [(one / Decimal(normalisation)).quantize(place) for one in raw]
    coded = [(one * Decimal("0.941")).quantize(place) for one in normed]
    assert found.tolist() == [int(one * 1_000_000) for one in coded]


def test_a_year_without_map_and_factors_is_refused_by_name() -> None:
    """V24 has no factors after payment year 2025; the nearest there is does not stand for one."""
    population = InMemory((Shard([Person()]),), {"service_years": [2023, 2025]})
    shard = population.shards[0]
    found = provider("cms-hcc-v24", population, terms=ScoreTerms("concurrent"))
    for year, able in ((2024, True), (2025, False)):
        months = enrolled_months(shard, year=year)
        if able:
            found.score(shard, year=year, cutoff_day=LATE, months=months)
        else:
            with pytest.raises(RiskModelError, match="payment year 2026"):
                found.score(shard, year=year, cutoff_day=LATE, months=months)
    of_2025 = ScoreTerms("concurrent", payment_year=2025)
    fixed = provider("cms-hcc-v24", population, terms=of_2025)
    fixed.score(shard, year=2025, cutoff_day=LATE, months=enrolled_months(shard, year=2025))
    with pytest.raises(
        RiskModelError, match=r"payment year 2027.*there are 2022, 2023, 2024, 2025"
    ):
        provider("cms-hcc-v24", population, terms=ScoreTerms(payment_year=2027))


@pytest.mark.parametrize("model", ["cms-hcc-v24", "cms-hcc-v28"])
def test_under_one_payment_year_a_renamed_code_weighs_what_its_successor_weighs(model: str) -> None:
    """I48.2 of 2019 and I48.20 of 2023, N18.3 and N18.30: spelt anew, the ratio is 1."""
    people = [
        Person(date(1990, 5, 5), 2, [(code, day, day)], 72, month_of(2018, 1))
        for old, new in RENAMED.items()
        for code, day in ((old, date(2018, 6, 1)), (new, date(2023, 6, 1)))
    ]
    shard = Shard(people)
    population = InMemory((shard,), {"service_years": [2018, 2023]})
    found = provider(model, population, terms=ScoreTerms("concurrent", payment_year=2025))
    first, last = (
        found.score(shard, year=year, cutoff_day=LATE, months=enrolled_months(shard, year=year))
        for year in (2018, 2023)
    )
    assert (first.score_micro[0::2] == last.score_micro[1::2]).all()
    assert (first.score_micro[0::2] > first.score_micro[1::2]).all()
    assert first.counts["icd10_unmapped"] == last.counts["icd10_unmapped"] == 0


@pytest.mark.parametrize("model", ["cms-hcc-v24", "cms-hcc-v28@2025", "cms-hcc-blend"])
@pytest.mark.parametrize(("timing", "refused"), [("concurrent", 2017), ("prospective", 2018)])
def test_codes_of_years_that_no_dated_map_reaches_are_refused_by_name(
    model: str, timing: str, refused: int
) -> None:
    """Whatever payment year is fixed; the year after is scored."""
    shard = Shard([Person(start=month_of(2016, 1), months=60)])
    population = InMemory((shard,), {"service_years": [2016, 2019], "full_years": [2016, 2019]})
    terms = ScoreTerms(timing, payment_year=2025)

    def scored(year: int) -> int:
        counting = MonthsThatCount(
            (year, 2019), lambda shard, year: enrolled_months(shard, year=year), {}
        )
        found = provider(model, population, terms=terms, counting=counting)
        months = enrolled_months(shard, year=year)
        return int(found.score(shard, year=year, cutoff_day=LATE, months=months).score_micro[0])

    with pytest.raises(RiskModelError, match=rf"scores of {refused}: .*codes of 2017.* 2018 and"):
        scored(refused)
    assert scored(refused + 1) > 0


def test_prospective_scores_of_the_first_year_are_refused() -> None:
    with pytest.raises(RiskModelError, match="need diagnoses of 2022"):
        score([Person()], year=2023, timing="prospective")


def test_codes_paid_after_the_cutoff_do_not_count() -> None:
    people = [Person(diagnoses=[IN_2024])]
    assert score(people, cutoff=day_of(date(2024, 6, 30))).score_micro[0] == PLAIN
    assert score(people, cutoff=day_of(date(2024, 7, 1))).score_micro[0] > PLAIN


def test_ages_of_the_code_editor_are_tested_unless_switched_off() -> None:
    """I70.231 is of people of 15 and over."""
    child = Person(born=date(2014, 5, 5), diagnoses=[("I70231", *IN_2024[1:])])
    tested, untested = (score([child], code_edits=edits) for edits in (True, False))
    assert tested.score_micro[0] < untested.score_micro[0]
    assert (tested.counts["icd10_edited"], untested.counts["icd10_edited"]) == (1, 0)


def test_fates_of_codes_are_counted() -> None:
    late = ("UNKNOWN", date(2024, 1, 1), date(2024, 1, 1))
    found = score([Person(diagnoses=[IN_2024, late])])
    assert found.counts["icd10_mapped"] == 1
    assert found.counts["icd10_unmapped"] == 1


def test_members_under_18_are_counted_under_a_medicare_model() -> None:
    found = score([Person(born=date(2010, 1, 1)), Person()])
    assert found.counts["n_members_under_18"] == 1


def test_a_child_born_after_the_first_of_february_has_age_zero() -> None:
    found = score([Person(born=date(2024, 6, 1)), Person(born=date(2023, 6, 1))])
    assert found.counts["n_unscored"] == 0
    assert found.score_micro[0] == found.score_micro[1]


def test_dual_status_and_institution_decide_the_segment() -> None:
    scores = score([Person(), Person(dual=2), Person(dual=1), Person(flags=8)]).score_micro
    assert len(set(scores.tolist())) == 4


def test_whom_the_model_cannot_score_falls_under_the_policy() -> None:
    people = [Person(born=None), Person(), Person(sex=0, months=12)]
    with pytest.raises(DataError, match="1 members of shard 0"):
        score(people)
    population = InMemory((Shard(people),))
    found = provider(
        "cms-hcc-v28", population, missing="group_average", terms=ScoreTerms("concurrent")
    ).score(
        population.shards[0], year=2024, cutoff_day=LATE,
        months=enrolled_months(population.shards[0], year=2024),
    )  # fmt: skip
    assert found.counts["n_unscored"] == 1  # the third has no month in the year
    assert found.score_micro[0] == found.score_micro[1] == PLAIN


def test_enrolment_in_the_year_of_the_codes_must_be_long_enough() -> None:
    """Enrolled from January 2023 for 15 months: 12 of the codes when prospective, else 3."""
    with pytest.raises(DataError, match="1 members"):
        score([Person(months=15), Person()], min_months=6)
    assert score([Person(months=15), Person()], min_months=3).counts["n_unscored"] == 0
    found = score([Person(months=15), Person()], min_months=6, timing="prospective")
    assert found.counts["n_unscored"] == found.counts["n_under_minimum_months"] == 0


def test_a_provider_travels_to_a_worker_and_scores_alike() -> None:
    population = InMemory((Shard([Person(diagnoses=[IN_2024])]),))
    here = provider("cms-hcc-v28", population, terms=ScoreTerms("concurrent"))
    sent = pickle.dumps(here)
    there = pickle.loads(sent)  # noqa: S301 - our own bytes
    assert len(sent) < 1_000_000
    shard = population.shards[0]
    months = enrolled_months(shard, year=2024)
    one, other = (
        p.score(shard, year=2024, cutoff_day=LATE, months=months).score_micro for p in (here, there)
    )
    assert (one == other).all()
    assert here.model_sha256 == there.model_sha256


def test_an_unknown_timing_is_refused() -> None:
    with pytest.raises(RiskModelError, match="timing must be one of"):
        score([Person()], timing="retrospective")


def test_imported_cells_take_the_weight_of_the_year(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("cell,weight,first_year,last_year\n0100,1.5,,2023\n0100,1.75,2024,\n0200,9,,\n")
    cell_weights.save(cell_weights.read(path), "acg", store=tmp_path / "s")
    people = [Person(scores=[(2024, 1, 1), (2023, 1, 2)]), Person(scores=[(2024, 1, 2)])]
    population = InMemory((Shard(people),))
    found = provider("acg", population, store=tmp_path / "s").score(
        population.shards[0], year=2024, cutoff_day=LATE,
        months=enrolled_months(population.shards[0], year=2024),
    )  # fmt: skip
    assert found.score_micro.tolist() == [1_750_000, 9_000_000]


def test_a_cell_without_weight_leaves_its_member_missing(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("cell,weight\n0200,9\n")
    cell_weights.save(cell_weights.read(path), "acg", store=tmp_path / "s")
    population = InMemory((Shard([Person(scores=[(2024, 1, 1)])]),))
    shard = population.shards[0]
    with pytest.raises(DataError, match="no score of 'acg'"):
        provider("acg", population, store=tmp_path / "s").score(
            shard, year=2024, cutoff_day=LATE, months=enrolled_months(shard, year=2024)
        )


def test_shards_do_not_matter() -> None:
    people = [Person(diagnoses=[IN_2024]), Person(), Person(dual=2, diagnoses=[IN_2024])]
    whole = score(people).score_micro.tolist()
    parts = [score([replace(p)]).score_micro[0] for p in people]
    assert whole == parts


@pytest.mark.shared
def test_newborns_without_a_birth_code_are_counted_and_may_be_missing(
    shared: Path, tmp_path: Path
) -> None:
    """Born in the year: TERM with a coded birth; without one AGE1, or missing where so declared."""
    tables = shared / "data" / "risk"
    imports.import_model(
        tables / "pfehlinger_hhs" / "v07" / "2024", "hhs",
        diagnosis_map=tables / "evensun_hhs" / "dx-mapping.csv", model_store=tmp_path,
    )  # fmt: skip
    birth = ("Z3800", date(2024, 3, 1), date(2024, 3, 2))
    baby = date(2024, 3, 1)
    people = [
        Person(born=baby, diagnoses=[birth]),
        Person(born=baby),
        Person(born=date(2023, 1, 5)),
    ]
    population = InMemory((Shard(people),))
    shard = population.shards[0]
    months = enrolled_months(shard, year=2024)
    plain = provider("hhs", population, store=tmp_path).score(
        shard, year=2024, cutoff_day=LATE, months=months
    )
    assert plain.counts["n_newborns_without_birth_code"] == 1
    assert plain.score_micro[0] > plain.score_micro[1] > 0
    strict = provider("hhs", population, store=tmp_path, terms=ScoreTerms(newborn="missing"))
    with pytest.raises(DataError, match="1 members of shard 0"):
        strict.score(shard, year=2024, cutoff_day=LATE, months=months)


def test_what_the_model_of_another_year_makes_of_the_same_codes_is_apart() -> None:
    """Scores of 2023 and 2024 by their own payment years: the parts add up to each score."""
    people = [
        Person(diagnoses=[IN_2023, IN_2024]), Person(diagnoses=[IN_2024]), Person(sex=1), Person(),
    ]  # fmt: skip
    shard = Shard(people)
    found = model_provider("cms-hcc-v28", InMemory((shard,)), terms=ScoreTerms(timing="concurrent"))
    assert isinstance(found, ModelScores)
    months = [enrolled_months(shard, year=year) for year in (2023, 2024)]
    scores = [
        found.score(shard, year=year, cutoff_day=LATE, months=of)
        for year, of in zip((2023, 2024), months, strict=True)
    ]
    parts = found.parts(shard, scores, years=(2023, 2024), cutoff_days=(LATE, LATE), months=months)
    whole = parts.demographic_micro + parts.codes_micro + parts.filled_micro
    assert (whole[0] == scores[0].score_micro).all()
    assert (whole[1] + parts.model_micro == scores[1].score_micro).all()
    assert (parts.codes_micro > 0).tolist() == [
        [True, False, False, False],
        [True, True, False, False],
    ]
    assert parts.scored.all()
    again = found.score(Shard([replace(one, diagnoses=[]) for one in people]), year=2023,
                        cutoff_day=LATE, months=months[0])  # fmt: skip
    assert (parts.demographic_micro[0] == again.score_micro).all()
