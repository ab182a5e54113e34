"""What is behind a score, in millionths that add up to the score of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ihp_compute.explain import explain_member
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.population import member_keys, open_population
from ihp_compute.risk import cell_weights
from ihp_compute.runner import LocalRunner

MODEL = {
    "risk.model": "cms-hcc-v28",
    "risk.timing": "concurrent",
    "risk.minimum_months": 5,
    "risk.missing": "demographic_cell",
}
Scorings = list[tuple[dict[str, Any], dict[str, Any]]]
"""Scoring as explained, row of `member_years`."""


@pytest.fixture(scope="module")
def scorings(
    small_population: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Scorings]:
    """Of some members by terms of risk; each run is made once."""
    made: dict[str, Scorings] = {}

    def make(**terms: Any) -> Scorings:
        if str(terms) not in made:
            folder = tmp_path_factory.mktemp("explained")
            contract = folder / "set.toml"
            contract.write_text(
                '[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
                "[default.overrides]\n"
                + "".join(
                    f'"{name}" = {value if isinstance(value, int) else json.dumps(value)}\n'
                    for name, value in terms.items()
                ),
                encoding="utf-8",
            )
            request = RunRequest(
                small_population, (str(contract),), replicates=0, programme="none",
                accept={"timing": "each year by its own codes"}
                if terms["risk.model"].startswith("cms") else {},
            )  # fmt: skip
            run_dir = run(request, folder / "run", LocalRunner(1)).run_dir
            made[str(terms)] = list(explained(run_dir, small_population))
        return made[str(terms)]

    return make


def explained(run_dir: Path, population: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Of each shard some people, the most diagnosed among them, and one of a few months."""
    rows = {
        (row["member_key"], row["year"]): row
        for row in pq.read_table(run_dir / "member_years.parquet").to_pylist()
    }
    last = max(year for _, year in rows)
    ids = []
    for shard in open_population(population).shards:
        names = shard.strings("identity", "member_id").to_pylist()
        months = [
            sum(n for name, n in row.items() if name.startswith("months_"))
            for row in (rows.get((key, last), {}) for key in member_keys(names).tolist())
        ]
        by_diagnoses = np.argsort(-np.diff(shard.offsets("diagnoses")), kind="stable").tolist()
        short = [m for m, n in enumerate(months) if 0 < n < 5]
        ids += [names[m] for m in dict.fromkeys([0, 250, *by_diagnoses[:2], *short[:1]])]
    for member_id in ids:
        for year in explain_member(run_dir, member_id).years:
            row = rows.get((int(member_keys([member_id])[0]), year["year"]))
            if row is not None:
                months = sum(n for name, n in row.items() if name.startswith("months_"))
                yield year["scoring"], row | {"member_months": months}


def test_terms_add_up_to_the_score_of_the_run(scorings: Callable[..., Scorings]) -> None:
    found = scorings(**MODEL)
    assert {scoring["codes_of"] - row["year"] for scoring, row in found} == {0}
    for scoring, row in found:
        assert sum(scoring["terms"].values()) == scoring["raw_micro"]
        after = [step["score_micro"] for step in scoring["post_steps"]]
        assert after[-1] == scoring["own_score_micro"]
        assert scoring["score_micro"] == row["score_micro"]
        if row["member_months"] and scoring["filled"] is None:
            assert scoring["own_score_micro"] == row["score_micro"]
    assert any(len(scoring["conditions"]) > 1 for scoring, _ in found)


def test_codes_set_the_conditions_and_steps_lead_to_the_terms(
    scorings: Callable[..., Scorings],
) -> None:
    cleared = set()
    for scoring, row in scorings(**MODEL):
        assert {name for code in scoring["codes"] for name in code["sets"]} == set(
            scoring["conditions"]
        )
        for code in scoring["codes"]:
            assert (code["fate"] == "mapped") == bool(code["sets"])
            assert code["date"][:4] == str(row["year"])
        left = set(scoring["conditions"])
        for step in scoring["steps"]:
            left = (left | set(step["set"])) - set(step["cleared"])
            cleared |= set(step["cleared"])
        assert left == set(scoring["terms"])
    assert cleared  # somebody has a category that another clears


def test_who_has_no_score_of_the_model_is_told_why_and_by_what_filled(
    scorings: Callable[..., Scorings],
) -> None:
    filled = [one for one in scorings(**MODEL) if one[0]["filled"] is not None]
    assert filled
    for scoring, row in filled:
        assert scoring["why_none"] == [f"enrolled in {row['year']} for fewer than 5 months"]
        assert not scoring["is_scored"]
        assert scoring["filled"]["policy"] == "demographic_cell"
        assert scoring["filled"]["mean_micro"] == row["score_micro"]


def test_a_supplied_score_is_shown_with_its_cell(scorings: Callable[..., Scorings]) -> None:
    for scoring, row in scorings(**{"risk.model": "supplied"}):
        assert scoring["kind"] == "supplied"
        if row["member_months"]:
            (given,) = scoring["rows"]
            assert (given["year"], given["score_micro"]) == (row["year"], row["score_micro"])
            assert given["cell"].startswith("band-")


def test_a_cell_is_shown_with_its_weight(
    scorings: Callable[..., Scorings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IHP_MODEL_STORE", str(tmp_path / "store"))
    (tmp_path / "bands.csv").write_text(
        "cell,weight\n" + "".join(f"band-{k},{k + 1}.5\n" for k in range(5))
    )
    cell_weights.save(cell_weights.read(tmp_path / "bands.csv"), "bands")
    terms = {"risk.model": "bands", "risk.missing": "demographic_cell"}
    found = [one for one in scorings(**terms) if one[1]["member_months"]]
    cells = set()
    for scoring, row in found:
        (given,) = scoring["rows"]
        cells.add(given["cell"])
        if given["cell"] == "band-5":  # has no weight
            assert given["weight_micro"] is None
            assert scoring["filled"]["mean_micro"] == row["score_micro"]
            assert scoring["filled"]["cell"].startswith(("male, ", "female, "))
        else:
            assert given["weight_micro"] == (int(given["cell"][-1]) + 1.5) * 1_000_000
            assert given["weight_micro"] == row["score_micro"]
            assert scoring["filled"] is None
    assert {"band-0", "band-5"} <= cells
    assert {scoring["kind"] for scoring, _ in found} == {"cells"}


def test_a_contract_without_risk_says_so(scorings: Callable[..., Scorings]) -> None:
    for scoring, row in scorings(**{"risk.model": "none"}):
        assert (scoring["kind"], scoring["score_micro"]) == ("none", 1_000_000)
        assert row["score_micro"] == 1_000_000


def test_a_member_of_the_second_model_is_explained_by_that(
    scorings: Callable[..., Scorings],
) -> None:
    terms = {
        **MODEL,
        "risk.minimum_months": 0,
        "risk.second_model": "supplied",
        "risk.second_model_for": ["maternity", "newborn"],
    }
    kinds = set()
    for scoring, row in scorings(**terms):
        kinds.add(scoring["kind"])
        assert scoring["score_micro"] == row["score_micro"]
        if scoring["filled"] is None and row["member_months"]:
            own = (
                scoring["own_score_micro"]
                if scoring["kind"] == "model"
                else (scoring["rows"][0]["score_micro"])
            )
            assert own == row["score_micro"]
    assert kinds == {"model", "supplied"}
