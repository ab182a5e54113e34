"""Planted weights come back from what a run measures, and their facts are those of the model."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from ihp_compute.codes import AID_GROUPS, LINE_KINDS
from ihp_compute.errors import PlantError
from ihp_compute.ingest import ingest
from ihp_compute.measure import Plan, costs, make_plan
from ihp_compute.measure.attribution import Attribution, attribute
from ihp_compute.pipeline import RunRequest
from ihp_compute.population import Shard, open_population
from ihp_compute.risk.models.cms_hcc import build
from ihp_compute.risk.models.schema import Rule
from ihp_compute.risk.population_scores import ModelScores, model_provider
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.risk.scores import ages_on
from ihp_compute.synth.codes import CONDITIONS
from ihp_compute.synth.effects import planted
from ihp_compute.synth.lognormal import capped_mean, mean_under_cap
from ihp_compute.synth.state import synth
from ihp_compute.synth.weights import CATEGORIES, COUNTS, FITS, MODEL, SETS
from ihp_compute.units import day_of, year_bounds

MEMBERS, SEED = 8_000, 5
CONTRACT = "mn-ihp-2.0-track-2"
LEAST_MONTHS = 1_200
"""Of a term that is judged, a hundred people for a year: of few, errors clustered by member come
out too small. Rarer terms are taken at their truth."""
ERROR = 0.01
CELL: Final = re.compile(r"[FM]\d+_\d+$")


# --- facts ----------------------------------------------------------------------------------------


def is_read(rule: Rule, sex: str, age: int) -> bool:
    ages = (limits for limits in (rule.age, rule.edit_age) if limits is not None)
    return rule.sex in ("", sex) and all(low <= age < high for low, high in ages)


@pytest.mark.parametrize("payment_year", [2025, 2026])
def test_codes_have_the_categories_of_the_published_map(payment_year: int) -> None:
    model = build(MODEL, payment_year)
    category = {code: one.name for one in CATEGORIES for code in one.codes}
    rules: dict[str, list[Rule]] = {
        code: [] for condition in CONDITIONS for code in condition.codes
    }
    for rule in model.rules:
        rules.get(rule.code, []).append(rule)
    for code, mine in rules.items():
        sex, least = FITS.get(code, ("", 0))
        wanted = {category[code]} if code in category else set()
        for one in sex or "FM":
            for age in range(least, 75):
                found = {bit for rule in mine if is_read(rule, one, age) for bit in rule.bits}
                assert found == wanted, (code, one, age)


def test_categories_clear_and_meet_each_other_as_published() -> None:
    model = build(MODEL)
    known = {one.name for one in CATEGORIES}
    published = {one.parent: known & set(one.children) for one in model.hierarchies}
    for one in CATEGORIES:
        assert set(one.clears) == published.get(one.name, set()), one.name
    together = {
        step.out: step for step in model.steps if step.op == "AND" and "CND" in step.segments
    }
    for met in SETS:
        first, second = (known & set(names) for names in together.pop(met.name).all_of)
        assert {frozenset(met.first), frozenset(met.second)} == {
            frozenset(first),
            frozenset(second),
        }
    for step in together.values():  # of the others one side has no code here
        assert not all(known & set(names) for names in step.all_of), step.out
    weighted = {
        c.term for c in model.coefficients
        if c.segment == "CND" and c.term[0] == "D" and c.term[1].isdigit() and float(c.value)
    }  # fmt: skip
    assert weighted == {f"D{n}" if n < max(COUNTS) else f"D{n}P" for n in COUNTS}


@given(st.floats(0, 0.9), st.floats(0.1, 1.5), st.floats(1e3, 1e8))
def test_the_mean_under_a_cap_is_the_one_of_which_so_much_is_left(
    part: float, sigma: float, cap: float
) -> None:
    wanted = np.array([part * cap])
    mean = mean_under_cap(wanted, np.array([sigma]), cap)
    if wanted[0] < 1e-6:
        assert mean[0] < 1e-5
    else:
        assert mean[0] >= wanted[0] * (1 - 1e-9)
        assert capped_mean(mean, np.array([sigma]), cap)[0] == pytest.approx(wanted[0], rel=1e-9)


def test_nothing_that_multiplies_cost_stands_beside_weights() -> None:
    found = planted({"weights": 1})
    assert (found["levels"], found["clinics"]) == (0, 0)
    assert planted({"weights": 1, "levels": 0, "movers": 0.1})["movers"] == 0.1
    with pytest.raises(PlantError, match="not beside --plant weights"):
        planted({"weights": 1, "levels": 0.1})


# --- a state --------------------------------------------------------------------------------------


@dataclass
class Measured:
    """What a run makes of one year: a row for each eligible member with months."""

    terms: list[str]
    has: np.ndarray  # bool[n, terms]
    truth_usd: np.ndarray  # [terms]
    months: np.ndarray
    capped_usd: np.ndarray
    capitation_usd: np.ndarray
    score_micro: np.ndarray  # supplied


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("weights")
    truth = synth(MEMBERS, SEED, folder / "raw", plant={"weights": 1})
    ingest(folder / "raw", folder / "population", shards=2)
    return truth, folder / "population"


@pytest.fixture(scope="module")
def measured(state: tuple[dict[str, Any], Path]) -> list[Measured]:
    truth, population = state
    plan = make_plan(RunRequest(population=population, contracts=(CONTRACT,), replicates=0))
    provider = model_provider(
        MODEL, open_population(population), terms=ScoreTerms(timing="concurrent")
    )
    assert isinstance(provider, ModelScores)
    parts = [parts_of(shard, plan, provider) for shard in plan.shards]
    reference = truth["weights"]["reference_aid_group"]
    years = []
    for y, year in enumerate(plan.years):
        usd = truth["weights"]["usd"][str(year)]
        columns = zip(*(part[y] for part in parts), strict=True)
        bits, sex, age, group, *others = (np.concatenate(column) for column in columns)
        assert AID_GROUPS[np.bincount(group).argmax()] == reference
        assert usd[f"aid_{reference}"] == 0
        bit = provider.compiled(year).bit
        has = {name: bits[:, bit[name]] for name in usd if name in bit and not CELL.match(name)}
        has |= {f"aid_{name}": group == g for g, name in enumerate(AID_GROUPS) if name != reference}
        for name in filter(CELL.match, usd):
            low, high = (int(part) for part in name[1:].split("_"))
            has[name] = (sex == " FM".index(name[0])) & (age >= low) & (age <= high)
        assert set(has) == set(usd) - {f"aid_{reference}"}
        matrix = np.stack(list(has.values()), axis=1)
        years.append(Measured(list(has), matrix, np.array([usd[name] for name in has]), *others))
    return years


def parts_of(shard: Shard, plan: Plan, provider: ModelScores) -> list[tuple[np.ndarray, ...]]:
    """By year: bits of the model, sex, age, aid group, months, costs, supplied score."""
    found = [
        attribute(shard, plan.roster, plan.visits, plan.attribution, year=year, cutoff_day=cutoff)
        for year, cutoff in zip(plan.years, plan.cutoff_days, strict=True)
    ]
    under = costs(shard, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=found)
    return [
        _part(shard, plan, provider, year, cutoff, attribution, cost[0].capped_cents)
        for year, cutoff, attribution, cost in zip(
            plan.years, plan.cutoff_days, found, under, strict=True
        )
    ]


def _part(
    shard: Shard, plan: Plan, provider: ModelScores, year: int, cutoff_day: int,
    attribution: Attribution, capped_cents: np.ndarray,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    _, scored, able = provider.indicators(
        shard, year=year, cutoff_day=cutoff_day, months=attribution.months
    )
    score_micro = plan.scores.score(
        shard, year=year, cutoff_day=cutoff_day, months=attribution.months
    ).score_micro
    months = attribution.months.sum(axis=0)
    enters = (attribution.reason == 0) & (months > 0)
    assert able[enters].all()
    bits = np.unpackbits(scored.terms.view(np.uint8), axis=1, bitorder="little").astype(bool)
    group = attribution.months.reshape(len(AID_GROUPS), 2, -1).sum(axis=1).argmax(axis=0)
    first, last = year_bounds(year)
    day = shard.column("lines", "claim_end_day")
    paid = shard.column("lines", "paid_cents") * (
        (day >= first) & (day < last)
        & (shard.column("lines", "kind") == LINE_KINDS.index("capitation"))
    )  # fmt: skip
    offsets = shard.offsets("lines")
    running = np.concatenate([[0], np.cumsum(paid)])
    capitation = running[offsets[1:]] - running[offsets[:-1]]
    born = shard.column("members", "birth_day")
    age = np.maximum(ages_on(born, day_of(date(year + 1, 2, 1))), 0)
    columns = (
        bits, shard.column("members", "sex"), age, group, months, capped_cents / 100,
        capitation / 100, score_micro,
    )  # fmt: skip
    return tuple(column[enters] for column in columns)


def joint(year: Measured, cost_usd: np.ndarray, without: str = "nothing") -> float:
    """Chance of estimates as far from the truth as those by members, months as weights.

    without : terms that begin so are in no sum
    """
    months = year.months.astype(float)
    left_out = np.array([name.startswith(without) for name in year.terms])
    enough = (year.has.T @ months >= LEAST_MONTHS) & ~left_out
    rare = year.has @ np.where(enough | left_out, 0.0, year.truth_usd)
    x, y = year.has[:, enough].astype(float), 12 * cost_usd / months - rare
    bread = np.linalg.inv(x.T @ (x * months[:, None]))
    found = bread @ (x.T @ (months * y))
    score = x * (months * (y - x @ found))[:, None]
    off = found - year.truth_usd[enough]
    covariance = bread @ (score.T @ score) @ bread
    return float(chi2.sf(off @ np.linalg.solve(covariance, off), len(off)))


def test_every_member_year_expects_the_sum_of_its_weights(measured: list[Measured]) -> None:
    """The supplied score is proportional to it: model and state see the same terms."""
    first = measured[0]
    usd = first.has @ first.truth_usd
    assert first.score_micro / 1e6 * 12 * 460 == pytest.approx(usd, abs=0.01)


def test_weights_come_back_from_what_a_run_measures(measured: list[Measured]) -> None:
    for year in measured:
        assert joint(year, year.capped_usd) > ERROR


def test_capitation_counted_beside_encounters_does_not_pass(measured: list[Measured]) -> None:
    for year in measured:
        assert joint(year, year.capped_usd + year.capitation_usd) < ERROR


@pytest.mark.parametrize("term", ["aid_disabled", "HCC"])
def test_terms_that_are_left_out_do_not_pass(measured: list[Measured], term: str) -> None:
    for year in measured:
        assert joint(year, year.capped_usd, without=term) < ERROR


def test_nobody_saves_and_the_answers_say_so(state: tuple[dict[str, Any], Path]) -> None:
    truth, _ = state
    assert {row["true_savings_rate"] for row in truth["partnerships"]} == {0.0}
    first, second = (truth["weights"]["usd"][year] for year in ("2023", "2024"))
    assert second["HCC226"] == pytest.approx(first["HCC226"] * 1.042)
    assert truth["planted"]["weights"] == 1
