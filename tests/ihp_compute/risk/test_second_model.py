"""A second model for some aid groups: who is scored by it, what fills, what a run says of both."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.ingest import ingest
from ihp_compute.population import Population, open_population
from ihp_compute.risk import enrolled_months, imports, provider

PEOPLE = {
    "grown": ("1980-05-05", "72"), "mother": ("1995-05-05", "05"), "born": ("2023-01-01", "62"),
    "turned": ("2022-06-15", "30"), "other": ("1981-01-01", "72"),
}  # fmt: skip
"""Birth date and eligibility group; who turned one in June is a newborn for five months of 2023."""
SCORES = {
    "adults": {"grown": "2", "mother": "7", "born": "7", "turned": "3", "other": ""},
    "births": {"grown": "9", "mother": "1.5", "born": "0.5", "turned": "9", "other": "9"},
}
NEWBORNS_AND_MOTHERS = ("newborn", "maternity")


def table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def population(tmp_path: Path) -> Population:
    raw = tmp_path / "raw"
    raw.mkdir()
    table(raw / "eligibility.csv", [
        {"person_id": name, "gender": "female", "birth_date": born, "x_elgblty_grp_cd": group,
         "enrollment_start_date": "2023-01-01", "enrollment_end_date": "2023-12-31"}
        for name, (born, group) in PEOPLE.items()
    ])  # fmt: skip
    table(raw / "medical_claim.csv", [
        {"claim_id": f"C{month}", "claim_line_number": "1", "claim_type": "professional",
         "person_id": "grown", "claim_start_date": f"2023-{month:02d}-01",
         "claim_end_date": f"2023-{month:02d}-01", "paid_date": f"2023-{month:02d}-20",
         "paid_amount": "10.00", "hcpcs_code": "99213", "diagnosis_code_1": "I509"}
        for month in (1, 12)
    ])  # fmt: skip
    table(raw / "risk_score.csv", [
        {"person_id": name, "year": "2023", "model": model, "score": score, "cell": ""}
        for model, scores in SCORES.items()
        for name, score in scores.items()
    ])  # fmt: skip
    ingest(raw, tmp_path / "population", shards=1, threads=1)
    return open_population(tmp_path / "population")


@pytest.fixture
def scored(population: Population) -> Callable[..., tuple[dict[str, int], dict[str, int]]]:
    def make(name: str, **options: object) -> tuple[dict[str, int], dict[str, int]]:
        (shard,) = population.shards
        found = provider(name, population, **options).score(  # type: ignore[arg-type]
            shard, year=2023, cutoff_day=2**31 - 1, months=enrolled_months(shard, year=2023)
        )
        ids = shard.batch("identity")["member_id"].to_pylist()
        return dict(zip(ids, found.score_micro.tolist(), strict=True)), found.counts

    return make


def test_members_of_the_aid_groups_are_scored_by_the_second(
    scored: Callable[..., tuple[dict[str, int], dict[str, int]]],
) -> None:
    """Who was a newborn for five months and a child for seven is scored by the first."""
    found, counts = scored(
        "supplied:adults", second=("supplied:births", NEWBORNS_AND_MOTHERS),
        missing="group_average",
    )  # fmt: skip
    assert found == {
        "grown": 2_000_000, "mother": 1_500_000, "born": 500_000, "turned": 3_000_000,
        "other": 2_000_000,
    }  # fmt: skip
    assert (counts["n_of_second_model"], counts["n_unscored"]) == (2, 1)


def test_which_aid_groups_is_a_choice(
    scored: Callable[..., tuple[dict[str, int], dict[str, int]]],
) -> None:
    found, _ = scored(
        "supplied:adults", second=("supplied:births", ("newborn",)), missing="group_average"
    )
    assert (found["mother"], found["born"]) == (7_000_000, 500_000)


def test_who_lacks_a_score_of_the_own_model_is_refused(
    scored: Callable[..., tuple[dict[str, int], dict[str, int]]],
) -> None:
    second = ("supplied:births", NEWBORNS_AND_MOTHERS)
    with pytest.raises(DataError, match=r"1 members .* 'supplied:adults, and supplied:births for"):
        scored("supplied:adults", second=second)


def test_a_second_model_over_diagnoses_and_weights_of_cells(
    population: Population, tmp_path: Path
) -> None:
    (tmp_path / "w.csv").write_text("cell,weight\n1,1\n")
    imports.import_model(tmp_path / "w.csv", "cells", model_store=tmp_path / "s")
    with pytest.raises(RiskModelError, match="holds no cells"):
        provider("supplied:adults", population, second=("cells", ("newborn",)),
                 store=tmp_path / "s")  # fmt: skip
    both = provider("supplied:adults", population, second=("supplied:births", ("newborn",)))
    told = json.loads(json.dumps(both.about([2023])))
    assert told["second_model"]["name"] == "supplied:births"
    assert told["second_model"]["aid_groups"] == ["newborn"]
    other = provider("supplied:adults", population, second=("supplied:births", ("maternity",)))
    assert both.model_sha256 != other.model_sha256
