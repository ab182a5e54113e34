"""A state's own weights: planted ones come back, sums are exact, constraints hold."""

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.calibration.fit import calibrate
from ihp_compute.calibration.least_squares import Constraint, credibility, solve, within
from ihp_compute.calibration.sums import CalibrationTerms, design_of, rows_of, sums_of
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.population import Population
from ihp_compute.risk import imports
from ihp_compute.risk.models import store
from ihp_compute.risk.models.compile import compile_model
from ihp_compute.risk.models.schema import encode
from ihp_compute.risk.population_scores import ModelScores, model_provider
from ihp_compute.runner import LocalRunner
from ihp_compute.units import day_of, month_of

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
            "drugs": np.zeros(n, int),
        }[table]  # fmt: skip
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def column(self, table: str, name: str) -> np.ndarray:
        n, day = self.n_members, day_of(date(2024, 3, 1))
        dx = np.nonzero(self.has)[1] + 1
        values: dict[tuple[str, str], tuple[Any, Any]] = {
            ("members", "member_key"): (self.keys, np.uint64),
            ("members", "birth_day"): (self.born, np.int32),
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
            ("diagnoses", "dx"): (dx, np.int32),
            ("diagnoses", "day"): (np.full(len(dx), day), np.int32),
            ("diagnoses", "paid_day"): (np.full(len(dx), day), np.int32),
        }
        found, dtype = values.get((table, name), (np.zeros(0), np.int32))
        return np.asarray(found).astype(dtype)


@dataclass
class InMemory(Population):
    """A population in memory, of the shards given."""

    shards: Any
    manifest: dict[str, Any] = field(
        default_factory=lambda: {"service_years": [2024, 2024], "population_digest": "ab" * 32}
    )

    def codes(self, system: str) -> pa.Array:
        return pa.array(CODES if system == "dx" else [""])


def state(n: int, *, shards: int = 1, noise: bool = True, seed: int = 5) -> InMemory:
    """A state whose expected annual cost is the sum of the planted weights."""
    rng = np.random.default_rng(seed)
    has = rng.random((n, 4)) < np.array([0.1, 0.15, 0.2, 0.002])
    grown = rng.random(n) < 0.5
    annual = np.where(grown, TRUTH_USD["grown"], TRUTH_USD["young"]).astype(float)
    annual += has[:, 0] * TRUTH_USD["HIGH"]
    annual += (has[:, 1] & ~has[:, 0]) * TRUTH_USD["LOW"]
    annual += has[:, 2] * TRUTH_USD["LUNG"] + has[:, 3] * TRUTH_USD["RARE"]
    annual += (has[:, 0] & has[:, 2]) * TRUTH_USD["BOTH"]
    months = np.where(rng.random(n) < 0.8, 12, rng.integers(1, 13, n))
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


def fitted(population: InMemory, model_store: Path, **changes: Any) -> Any:
    scores = model_provider("small", population, store=model_store)
    assert isinstance(scores, ModelScores)
    terms = CalibrationTerms(**{"year": 2024, "replicates": 20, "full_months": 1, **changes})
    return calibrate(
        scores, store.load("small", store=model_store), population, terms, name="ours",
        runner=LocalRunner(1),
    )  # fmt: skip


def weights_usd(found: Any) -> dict[str, float]:
    return {f["term"]: f["weight_usd"] for f in found.report["features"]["all"]}


def test_without_noise_the_planted_weights_come_back(model_store: Path) -> None:
    found = weights_usd(fitted(state(3_000, noise=False), model_store))
    for term, usd in TRUTH_USD.items():
        assert found[term] == pytest.approx(usd, rel=1e-4)


def test_with_noise_they_come_back_within_their_standard_errors(model_store: Path) -> None:
    found = fitted(state(20_000), model_store, replicates=60)
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
    mean = found.report["mean_annual_cost_usd"]
    weight = {c.term: float(c.value) for c in found.model.coefficients}
    assert weight["HIGH"] * mean == pytest.approx(TRUTH_USD["HIGH"], rel=1e-4)
    json.dumps(found.report)


def test_sums_do_not_depend_on_shards(model_store: Path) -> None:
    sums = []
    for shards in (1, 4):
        population = state(500, shards=shards)
        scores = model_provider("small", population, store=model_store)
        assert isinstance(scores, ModelScores)
        terms = CalibrationTerms(year=2024)
        design = design_of(scores.compiled(2024), store.load("small", store=model_store))
        parts = [
            sums_of(rows_of(s, scores, terms), design, terms.groups) for s in population.shards
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        sums.append(total)
    one, other = sums
    assert (one.gram["all"] == other.gram["all"]).all()
    assert (one.moment["all"] == other.moment["all"]).all()
    assert one.gram["all"].dtype == np.int64


def test_a_rare_category_is_shrunk_to_the_published_weight(model_store: Path) -> None:
    """All published weights are 1, so the prior of each is one number."""
    found = fitted(state(3_000, noise=False), model_store, full_months=100_000)
    by_term = {f["term"]: f for f in found.report["features"]["all"]}
    rare = by_term["RARE"]
    assert 0 < rare["credibility"] < 0.1
    assert rare["prior_usd"] < rare["weight_usd"] < rare["estimate_usd"]


def test_cost_above_the_cap_does_not_count(model_store: Path) -> None:
    found = fitted(state(3_000, noise=False), model_store, annual_cap_cents=2_000_000)
    assert found.report["members_at_cap"] > 0
    assert weights_usd(found)["RARE"] < 20_000


def test_short_members_do_not_enter(model_store: Path) -> None:
    found = fitted(state(1_000), model_store, min_months=6)
    assert found.report["members_skipped"] > 0
    assert found.report["members"] + found.report["members_skipped"] == 1_000


def test_a_year_without_cost_is_refused(model_store: Path) -> None:
    population = state(50)
    for shard in population.shards:
        shard.cents[:] = 0
    with pytest.raises(DataError, match="nobody has months and cost"):
        fitted(population, model_store)


def test_folds_must_fit_the_groups(model_store: Path) -> None:
    with pytest.raises(RiskModelError, match="as many groups as folds"):
        fitted(state(50), model_store, groups=3, folds=5)


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
