"""A state's own weights: planted ones come back, sums are exact, constraints hold."""

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ihp_compute.calibration.blend import blend, published, put_in_order
from ihp_compute.calibration.fit import calibrate
from ihp_compute.calibration.least_squares import (
    Constraint,
    credibility,
    solve,
    told_apart,
    within,
)
from ihp_compute.calibration.sums import CalibrationTerms, design_of, indicators, rows_of, sums_of
from ihp_compute.contracts import unbound
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.measure import plan_year
from ihp_compute.population import Population
from ihp_compute.risk import ScoreTerms, imports
from ihp_compute.risk.models import store
from ihp_compute.risk.models.compile import compile_model
from ihp_compute.risk.models.schema import encode
from ihp_compute.risk.population_scores import ModelScores, model_provider
from ihp_compute.runner import LocalRunner
from ihp_compute.units import NO_DAY, day_of, month_of

TRUTH_USD = {"young": 1_200, "grown": 2_400, "HIGH": 9_000, "LOW": 4_000, "LUNG": 3_000,
             "RARE": 50_000, "BOTH": 2_000}  # fmt: skip
CODES = ["", "H1", "L1", "LU1", "R1"]
CATEGORIES = ("HIGH", "LOW", "LUNG", "RARE")

DESCRIPTION = """
version = "1"
year = 2024
license = "our own"
segments = [{ name = "all" }]
cells = [
  { term = "young", sex = "F", ages = [0, 40] }, { term = "grown", sex = "F", ages = [40, 128] },
]
ladders = [["HIGH", "LOW"], ["LUNG"], ["RARE"]]
interactions = [{ term = "BOTH", all_of = [["HIGH"], ["LUNG"]] }]
"""


@pytest.fixture(scope="module")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "model.toml").write_text(DESCRIPTION)
    (folder / "codes.csv").write_text(
        "system,code,category\n"
        + "".join(f"ICD10,{c},{n}\n" for c, n in zip(CODES[1:], CATEGORIES, strict=True))
    )
    (folder / "weights.csv").write_text(
        "segment,term,weight\n" + "".join(f"all,{name},1\n" for name in TRUTH_USD)
    )
    models = tmp_path_factory.mktemp("store")
    imports.import_model(folder, "small", model_store=models)
    return models


@dataclass
class Shard:
    """Members with one span, at most four diagnoses and one claim line each."""

    index: int
    keys: np.ndarray
    born: np.ndarray
    has: np.ndarray  # bool[n, 4]
    months: np.ndarray
    cents: np.ndarray

    @property
    def n_members(self) -> int:
        return len(self.keys)

    def offsets(self, table: str) -> np.ndarray:
        n = self.n_members
        sizes = {
            "spans": np.ones(n, int), "lines": np.ones(n, int), "diagnoses": self.has.sum(axis=1),
        }.get(table, np.zeros(n, int))  # fmt: skip
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def column(self, table: str, name: str) -> np.ndarray:
        n, day = self.n_members, day_of(date(2024, 3, 1))
        dx = np.nonzero(self.has)[1] + 1
        values: dict[tuple[str, str], tuple[Any, Any]] = {
            ("members", "member_key"): (self.keys, np.uint64),
            ("members", "birth_day"): (self.born, np.int32),
            ("members", "death_day"): (np.full(n, NO_DAY), np.int32),
            ("members", "sex"): (np.ones(n), np.uint8),
            ("spans", "first_month"): (np.full(n, month_of(2024, 1)), np.int32),
            ("spans", "n_months"): (self.months, np.int32),
            ("spans", "rate_cell"): (np.full(n, 2), np.uint8),
            ("spans", "flags"): (np.zeros(n), np.uint8),
            ("spans", "dual_status"): (np.full(n, 255), np.uint8),
            ("spans", "original_reason"): (np.full(n, 255), np.uint8),
            ("lines", "claim_end_day"): (np.full(n, day), np.int32),
            ("lines", "paid_day"): (np.full(n, day), np.int32),
            ("lines", "paid_cents"): (self.cents, np.int64),
            ("lines", "category"): (np.zeros(n), np.uint8),
            ("lines", "kind"): (np.zeros(n), np.uint8),
            ("lines", "source_table"): (np.zeros(n), np.uint8),
            ("lines", "file"): (np.zeros(n), np.uint16),
            ("diagnoses", "dx"): (dx, np.int32),
            ("diagnoses", "day"): (np.full(len(dx), day), np.int32),
            ("diagnoses", "source"): (np.zeros(len(dx)), np.uint8),
            ("diagnoses", "paid_day"): (np.full(len(dx), day), np.int32),
            ("visits", "place"): ([], np.uint8),
            ("visits", "marks"): ([], np.uint8),
        }
        found, dtype = values.get((table, name), ([], np.int32))
        return np.asarray(found).astype(dtype)


@dataclass
class InMemory(Population):
    """A population in memory, of the shards given."""

    shards: Any
    manifest: dict[str, Any] = field(
        default_factory=lambda: {
            "service_years": [2024, 2024],
            "full_years": [2024, 2024],
            "last_paid_day": day_of(date(2025, 3, 1)),
            "inputs": [{"file": "medical_claim.csv"}],
            "population_digest": "ab" * 32,
        }
    )

    def codes(self, system: str) -> pa.Array:
        return pa.array(CODES if system == "dx" else [""])

    def reference(self, name: str) -> None:
        del name


def state(n: int, *, shards: int = 1, noise: bool = True, seed: int = 5) -> InMemory:
    """A state whose expected annual cost is the sum of the planted weights.

    A fifth is enrolled for six to twelve months: all are eligible.
    """
    rng = np.random.default_rng(seed)
    has = rng.random((n, 4)) < np.array([0.1, 0.15, 0.2, 0.002])
    grown = rng.random(n) < 0.5
    annual = np.where(grown, TRUTH_USD["grown"], TRUTH_USD["young"]).astype(float)
    annual += has[:, 0] * TRUTH_USD["HIGH"]
    annual += (has[:, 1] & ~has[:, 0]) * TRUTH_USD["LOW"]
    annual += has[:, 2] * TRUTH_USD["LUNG"] + has[:, 3] * TRUTH_USD["RARE"]
    annual += (has[:, 0] & has[:, 2]) * TRUTH_USD["BOTH"]
    months = np.where(rng.random(n) < 0.8, 12, rng.integers(6, 13, n))
    spread = rng.gamma(2.0, 0.5, n) if noise else np.ones(n)
    cents = np.rint(annual * 100 * months / 12 * spread).astype(np.int64)
    born = np.where(grown, day_of(date(1970, 1, 1)), day_of(date(2000, 1, 1)))
    keys = rng.integers(0, 2**63, n).astype(np.uint64)
    parts = np.arange(n) % shards
    return InMemory(
        tuple(
            Shard(k, keys[own], born[own], has[own], months[own], cents[own])
            for k in range(shards)
            for own in [np.flatnonzero(parts == k)]
        )
    )


def provider_of(name: str, population: InMemory, store: Path | None, **terms: Any) -> ModelScores:
    scores = model_provider(name, population, store=store, terms=ScoreTerms(**terms))
    assert isinstance(scores, ModelScores)
    return scores


def fitted(
    population: InMemory,
    model_store: Path | None,
    *,
    model: str = "small",
    contract: dict[str, Any] | None = None,
    min_months: int = 0,
    full_months: int = 1,
    folds: int = 5,
) -> Any:
    plan = plan_year(population, unbound().override(contract or {}))
    return calibrate(
        provider_of(model, population, model_store, timing="concurrent", min_months=min_months),
        store.load(model, store=model_store), population, plan,
        CalibrationTerms(full_months, folds), name="ours", runner=LocalRunner(1),
    )  # fmt: skip


def weights_usd(found: Any) -> dict[str, float]:
    return {f["term"]: f["weight_usd"] for f in found.report["features"]["all"]}


def test_without_noise_the_planted_weights_come_back(model_store: Path) -> None:
    found = weights_usd(fitted(state(3_000, noise=False), model_store))
    for term, usd in TRUTH_USD.items():
        assert found[term] == pytest.approx(usd, rel=1e-4)


def test_with_noise_they_come_back_within_their_standard_errors(model_store: Path) -> None:
    found = fitted(state(20_000), model_store)
    for feature in found.report["features"]["all"]:
        error = feature["standard_error_usd"]
        assert error > 0
        assert abs(feature["estimate_usd"] - TRUTH_USD[feature["term"]]) < 4 * error
    assert found.report["out_of_sample"]["r_squared"] > 0.3
    ratios = found.report["predictive_ratios"]
    assert ratios["sex"]["female"] == pytest.approx(1.0, abs=0.02)
    assert all(0.8 < ratio < 1.25 for ratio in ratios["decile"].values())


def test_the_model_is_a_file_like_any_other(model_store: Path, tmp_path: Path) -> None:
    """Its weights are in units of the state's mean annual cost, and it scores by the engine."""
    found = fitted(state(3_000, noise=False), model_store)
    compile_model(found.model)
    path = tmp_path / "ours.json"
    path.write_bytes(encode(found.model))
    assert store.load(str(path)) == found.model
    assert found.model.timing == "concurrent"
    assert found.model.warn_under_age == 0
    assert found.model.calibration.population_digest == "ab" * 32
    assert found.model.calibration.contract == "unbound"
    mean = found.report["mean_annual_cost_usd"]
    weight = {c.term: float(c.value) for c in found.model.coefficients}
    assert weight["HIGH"] * mean == pytest.approx(TRUTH_USD["HIGH"], rel=1e-4)
    json.dumps(found.report)


def test_sums_and_report_do_not_depend_on_shards(model_store: Path) -> None:
    sums, reports = [], []
    for shards in (1, 4, 700):  # of which many have nobody
        population = state(500, shards=shards)
        scores = provider_of("small", population, model_store, timing="concurrent")
        plan = plan_year(population, unbound())
        design = design_of(scores.compiled(2024).bit, store.load("small", store=model_store))
        parts = [sums_of(rows_of(s, scores, plan, folds=5), design, 5) for s in population.shards]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        sums.append(total)
        reports.append(fitted(population, model_store).report)
    one, *others = sums
    assert one.gram["all"].dtype == np.int64
    for other, report in zip(others, reports[1:], strict=True):
        assert (one.gram["all"] == other.gram["all"]).all()
        assert (one.moment["all"] == other.moment["all"]).all()
        for name in ("features", "cost", "in_sample", "out_of_sample", "predictive_ratios"):
            assert reports[0][name] == report[name]
        assert reports[0]["sha256"] == report["sha256"]


def _dense(population: InMemory, model_store: Path) -> tuple[Any, ...]:
    """0/1 matrix, months and annual dollars of a state of one shard."""
    scores = provider_of("small", population, model_store, timing="concurrent")
    plan = plan_year(population, unbound())
    design = design_of(scores.compiled(2024).bit, store.load("small", store=model_store))
    (shard,) = population.shards
    rows = rows_of(shard, scores, plan, folds=5)
    at, x = indicators(rows, design, "all")
    return design, x, rows.months[at].astype(float), rows.weighted_cost[at] / rows.months[at] / 100


def test_standard_errors_are_the_sandwich_of_members(model_store: Path) -> None:
    """Recomputed with dense matrices: every member's residual, weighted by months and leverage."""
    population = state(2_000)
    found = fitted(population, model_store)
    _, x, w, y = _dense(population, model_store)
    bread = np.linalg.inv(x.T @ np.diag(w) @ x)
    coefficients = bread @ x.T @ (w * y)
    assert (coefficients > 0).all()  # no constraint binds
    leverage = np.diag(np.diag(w) @ x @ bread @ x.T)
    u = w * (y - x @ coefficients)
    want = bread @ (x.T @ np.diag(u**2 / (1 - leverage)) @ x) @ bread
    features = found.report["features"]["all"]
    covariance = np.array(found.report["covariance_usd2"]["all"], float)
    assert covariance == pytest.approx(want, rel=1e-6, abs=1e-6)
    for k, feature in enumerate(features):
        assert feature["estimate_usd"] == pytest.approx(coefficients[k], abs=0.006)
        assert feature["standard_error_usd"] == pytest.approx(want[k, k] ** 0.5, abs=0.006)
        # fully credible: the weight is the estimate
        assert feature["weight_usd"] == pytest.approx(coefficients[k], abs=0.006)
        assert feature["weight_standard_error_usd"] == pytest.approx(want[k, k] ** 0.5, abs=0.006)


@pytest.mark.parametrize("full_months", [1, 2_000, 60_000])
def test_weights_move_with_the_costs_as_their_slope_says(
    full_months: int, model_store: Path
) -> None:
    """Through prior, credibility, order, cells and balance: by differences of the sums."""
    design, x, w, y = _dense(state(1_500), model_store)
    gram = np.rint(x.T @ (x * w[:, None])).astype(np.int64)
    own = published("all", design, store.load("small", store=model_store))
    moment = np.rint(100 * x.T @ (w * y)).astype(np.int64)

    def weights(m: np.ndarray) -> Any:
        return blend("all", design, own, gram, m, full_months=full_months, level=1.0)

    here = weights(moment)
    for k in range(len(moment)):
        step = np.zeros_like(moment)
        step[k] = max(moment[k] // 10_000, 1_000)
        moved = (weights(moment + step).weight - weights(moment - step).weight) / (2 * step[k])
        assert here.weight_slope[:, k] == pytest.approx(moved, rel=1e-4, abs=1e-9)


def test_what_one_member_alone_has_has_no_standard_error(model_store: Path) -> None:
    population = state(400)
    (shard,) = population.shards
    shard.has[:, 3] = False
    shard.has[7, 3] = True
    found = fitted(population, model_store)
    by_term = {f["term"]: f for f in found.report["features"]["all"]}
    assert by_term["RARE"]["estimate_usd"] is not None
    assert by_term["RARE"]["standard_error_usd"] is None
    assert by_term["RARE"]["weight_standard_error_usd"] is None
    k = [f["term"] for f in found.report["features"]["all"]].index("RARE")
    covariance = found.report["covariance_usd2"]["all"]
    assert all(row[k] is None for row in covariance)
    assert sum(value is None for row in covariance for value in row) == 2 * len(covariance) - 1
    assert by_term["LUNG"]["standard_error_usd"] > 0


def test_dollars_by_fate_foot(model_store: Path) -> None:
    """Counted less what the cap took is what was regressed; every line has one fate."""
    population = state(2_000, shards=3)
    for shard in population.shards:
        shard.months[:100] = 5  # too few to be eligible
    found = fitted(population, model_store, contract={"cost.claim_cap": "20000"}).report
    cost = {row["fate"]: row for row in found["cost"]}
    lines = sum(shard.n_members for shard in population.shards)
    assert sum(row["lines"] for row in cost.values()) == lines
    assert cost["excluded_member"]["lines"] == 300
    assert cost["above_cap"]["paid_cents"] > 0
    assert cost["other_amount"]["paid_cents"] == 0
    assert found["cost_cents"] == sum(
        sign * cost[fate]["paid_cents"]
        for fate, sign in (("counted", 1), ("above_cap", -1), ("floored", 1), ("other_amount", 1))
    )
    of_all = sum(int(shard.cents.sum()) for shard in population.shards)
    assert of_all == sum(
        row["paid_cents"] for row in cost.values() if row["lines"] or row["fate"] == "counted"
    )
    want = 12 * found["cost_cents"] / found["member_months"] / 100
    assert found["mean_annual_cost_usd"] == pytest.approx(want, abs=0.006)


def test_the_cap_is_of_the_year_and_not_of_twelve_months(model_store: Path) -> None:
    """As in a run, unless the contract prorates it."""
    population = state(1_000, noise=False)
    for shard in population.shards:
        shard.months[:] = 6
        shard.cents[:] = 3_000_000
    whole = fitted(population, model_store, contract={"cost.claim_cap": "20000"}).report
    assert whole["mean_annual_cost_usd"] == 40_000
    prorated = {"cost.claim_cap": "20000", "cost.prorate_cap": True}
    assert fitted(population, model_store, contract=prorated).report["mean_annual_cost_usd"] == (
        20_000
    )


def test_a_rare_category_is_shrunk_to_the_published_weight(model_store: Path) -> None:
    """All published weights are 1, so the prior of each is one number."""
    found = fitted(state(3_000, noise=False), model_store, full_months=100_000)
    by_term = {f["term"]: f for f in found.report["features"]["all"]}
    rare = by_term["RARE"]
    assert 0 < rare["credibility"] < 0.1
    assert rare["prior_usd"] < rare["weight_usd"] < rare["estimate_usd"]


def test_cost_above_the_cap_does_not_count(model_store: Path) -> None:
    found = fitted(state(3_000, noise=False), model_store, contract={"cost.claim_cap": "20000"})
    assert found.report["members_at_cap"] > 0
    assert weights_usd(found)["RARE"] < 20_000


def test_short_members_do_not_enter(model_store: Path) -> None:
    found = fitted(state(1_000), model_store, min_months=9)
    assert found.report["members_skipped"] > 0
    assert found.report["members"] + found.report["members_skipped"] == 1_000
    cost = {row["fate"]: row["lines"] for row in found.report["cost"]}
    assert cost["not_calibrated"] == found.report["members_skipped"]


def test_a_year_without_cost_is_refused(model_store: Path) -> None:
    population = state(50)
    for shard in population.shards:
        shard.cents[:] = 0
    with pytest.raises(DataError, match="nobody has months and cost"):
        fitted(population, model_store)


def test_one_fold_is_refused(model_store: Path) -> None:
    with pytest.raises(RiskModelError, match="at least 2 folds"):
        fitted(state(50), model_store, folds=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_constraints_hold_and_nothing_feasible_is_better(seed: int, p: int) -> None:
    """Against many feasible points: the solution's error is not larger."""
    rng = np.random.default_rng(seed)
    x = (rng.random((60, p)) < 0.4).astype(np.int64)
    x[:p] |= np.eye(p, dtype=np.int64)
    months = rng.integers(1, 13, 60)
    cost = rng.integers(-500, 5_000, 60) * months
    gram, moment = (x * months[:, None]).T @ x, x.T @ cost
    assume(len(told_apart(gram).own) == p)
    constraints = (
        *(Constraint(i) for i in range(p)),
        *(Constraint(i, i + 1) for i in range(p - 1)),
    )
    found = solve(gram, moment, constraints)
    scale = np.abs(found).max() + 1.0
    assert (found >= -1e-6 * scale).all()
    assert (np.diff(found) <= 1e-6 * scale).all()

    def error(b: np.ndarray) -> float:
        return float(b @ gram @ b - 2 * moment @ b)

    for _ in range(20):
        other = np.sort(np.abs(found + rng.normal(0, scale / 4, p)))[::-1]
        assert error(found) <= error(other) + 1e-6 * (abs(error(found)) + 1.0)


def test_without_constraints_it_is_ordinary_least_squares() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2, (200, 4))
    y = rng.integers(0, 1_000, 200)
    want, *_ = np.linalg.lstsq(x.astype(float), y.astype(float), rcond=None)
    assert solve(x.T @ x, x.T @ y, ()) == pytest.approx(want, rel=1e-6)


def test_constraints_among_a_part_are_renumbered() -> None:
    kept = within((Constraint(0), Constraint(2, 1), Constraint(3, 2)), np.array([2, 3]))
    assert kept == (Constraint(1, 0),)


def test_credibility_is_the_square_root_rule() -> None:
    assert credibility(np.array([0, 900, 3_600, 9_999]), 3_600).tolist() == [0.0, 0.5, 1.0, 1.0]


# --- what has no estimate of its own


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 3))
def test_what_is_a_sum_of_others_is_told_and_the_others_say_the_same(
    seed: int, p: int, sums: int
) -> None:
    """Features, and some that are unions of disjoint ones: rank is kept, nothing is left over."""
    rng = np.random.default_rng(seed)
    x = np.eye(p, dtype=np.int64)[rng.integers(0, p, 200)] * (rng.random((200, 1)) < 0.8)
    unions = [x[:, rng.random(p) < 0.5].sum(axis=1) for _ in range(sums)]
    x = np.column_stack([x, *unions, rng.integers(0, 2, 200)])
    x = x[:, x.any(axis=0)]
    found = told_apart(x.T @ x)
    rank = np.linalg.matrix_rank(x)
    assert len(found.own) == np.linalg.matrix_rank(x[:, found.own]) == rank
    assert sorted([*found.own, *found.made_of]) == list(range(x.shape[1]))
    for feature, others in found.made_of.items():
        assert set(others) <= set(found.own)
        assert np.linalg.matrix_rank(x[:, [feature, *others]]) == len(others)


def test_a_term_of_published_weight_zero_is_no_regressor(model_store: Path, tmp_path: Path) -> None:
    """As CMS holds its counts D1 to D3: the model still has the term, and it weighs nothing."""
    full = store.load("small", store=model_store)
    zero = tuple(
        msgspec.structs.replace(c, value="0") if c.term == "BOTH" else c for c in full.coefficients
    )
    path = tmp_path / "zero.json"
    path.write_bytes(encode(msgspec.structs.replace(full, name="zero", coefficients=zero)))
    population = state(3_000, noise=False)
    found = fitted(population, None, model=str(path))
    assert "BOTH" not in weights_usd(found)
    assert found.report["dropped"] == [
        {"segment": "all", "term": "BOTH", "reason": "its published weight is 0"}
    ]
    assert {c.term: c.value for c in found.model.coefficients}["BOTH"] in ("0", "0E-6", "0.000000")
    compile_model(found.model)


def test_two_conditions_that_always_come_together_are_told(model_store: Path) -> None:
    """One keeps its prior, the other takes what that leaves; together they cost what they cost."""
    population = state(3_000, noise=False)
    for shard in population.shards:
        rare, lung = shard.has[:, 3].copy(), shard.has[:, 2]
        change = (lung.astype(int) - rare) * TRUTH_USD["RARE"] * 100
        shard.cents += np.rint(change * shard.months / 12).astype(np.int64)
        shard.has[:, 3] = lung
    found = fitted(population, model_store)
    by_term = {f["term"]: f for f in found.report["features"]["all"]}
    assert found.report["dropped"] == [
        {"segment": "all", "term": "RARE", "reason": "cannot be told apart from LUNG"}
    ]
    assert by_term["RARE"]["estimate_usd"] is None
    assert by_term["RARE"]["credibility"] == 0
    assert by_term["RARE"]["weight_usd"] == by_term["RARE"]["prior_usd"]
    together = by_term["RARE"]["weight_usd"] + by_term["LUNG"]["weight_usd"]
    assert together == pytest.approx(TRUTH_USD["RARE"] + TRUTH_USD["LUNG"], rel=1e-4)


def test_a_category_that_nobody_has_lifts_nobody(model_store: Path) -> None:
    """HIGH costs nothing more here; LOW below it has no member and a prior above zero."""
    population = state(3_000, noise=False)
    for shard in population.shards:
        high, low, lung = shard.has[:, 0], shard.has[:, 1], shard.has[:, 2]
        usd = high * TRUTH_USD["HIGH"] + (low & ~high) * TRUTH_USD["LOW"]
        usd = usd + (high & lung) * TRUTH_USD["BOTH"]
        shard.cents -= np.rint(usd * 100 * shard.months / 12).astype(np.int64)
        shard.has[:, 1] = False
    found = fitted(population, model_store)
    by_term = {f["term"]: f for f in found.report["features"]["all"]}
    assert by_term["LOW"]["member_months"] == 0
    assert by_term["LOW"]["estimate_usd"] is None
    assert by_term["LOW"]["weight_usd"] > 100
    assert by_term["HIGH"]["weight_usd"] == pytest.approx(0.0, abs=0.5)
    assert by_term["grown"]["weight_usd"] == pytest.approx(TRUTH_USD["grown"], rel=1e-3)


@pytest.mark.parametrize(
    ("months", "settled"),
    [
        ((100, 10, 1), (1.0, 1.0, 1.0)),  # the highest knows most: all below give way
        ((1, 10, 100), (9.0, 9.0, 9.0)),  # the lowest does: all above are raised
        ((10, 0, 100), (9.0, 5.0, 9.0)),  # over a generation that nobody has, which stays
        ((0, 0, 100), (1.0, 5.0, 9.0)),
    ],
)
def test_of_a_pair_turned_around_the_side_with_fewer_months_gives_way(
    months: tuple[int, ...], settled: tuple[float, ...]
) -> None:
    weight = np.array([1.0, 5.0, 9.0])
    order = (Constraint(0), Constraint(0, 1), Constraint(1, 2))
    assert tuple(weight[put_in_order(weight, np.array(months), order)]) == settled


def test_where_all_cost_the_same_there_is_no_r_squared(model_store: Path) -> None:
    population = state(200)
    for shard in population.shards:
        shard.cents[:] = 100 * shard.months
    found = fitted(population, model_store)
    assert found.report["in_sample"]["r_squared"] is None
    assert "NaN" not in json.dumps(found.report)
