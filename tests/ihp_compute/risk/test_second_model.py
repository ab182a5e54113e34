"""A second model for some aid groups: who is scored by it, what fills, what a run says of both."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.ingest import ingest
from ihp_compute.population import Population, open_population
from ihp_compute.risk import ScoreTerms, enrolled_months, imports, provider
from ihp_compute.risk.second_model import TwoModels

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
    return prepared(tmp_path, {})


def prepared(tmp_path: Path, cells: dict[str, str]) -> Population:
    """A population of these people; cells are of the model `births`."""
    raw = tmp_path / "raw"
    raw.mkdir()
    table(raw / "eligibility.csv", [
        {"person_id": name, "gender": "female", "birth_date": born, "x_elgblty_grp_cd": group,
         "enrollment_start_date": "2023-01-01", "enrollment_end_date": "2023-12-31"}
        for name, (born, group) in PEOPLE.items()
    ])  # fmt: skip
    table(raw / "medical_claim.csv", [
        {"claim_id": f"C{who}{month}", "claim_line_number": "1", "claim_type": "professional",
         "person_id": who, "claim_start_date": f"2023-{month:02d}-01",
         "claim_end_date": f"2023-{month:02d}-01", "paid_date": f"2023-{month:02d}-20",
         "paid_amount": "10.00", "hcpcs_code": "99213", "diagnosis_code_1": code}
        for who, code in (("grown", "I509"), ("born", "P0702"))
        for month in (1, 12)
    ])  # fmt: skip
    table(raw / "risk_score.csv", [
        {"person_id": name, "year": "2023", "model": model, "score": score,
         "cell": cells.get(name, "") if model == "births" else ""}
        for model, scores in SCORES.items()
        for name, score in scores.items()
    ])  # fmt: skip
    ingest(raw, tmp_path / "population", shards=1, threads=1)
    return open_population(tmp_path / "population")


@pytest.fixture
def scored(population: Population) -> Callable[..., tuple[dict[str, int], dict[str, int]]]:
    def make(name: str, **options: object) -> tuple[dict[str, int], dict[str, int]]:
        (shard,) = population.shards
        # options of several types, each as `provider` declares it
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


def licensed(folder: Path, name: str, code: str, weight: str, everybody: str) -> None:
    """Import a model over diagnoses: one category, and a weight of everybody."""
    folder.mkdir()
    (folder / "model.toml").write_text(
        'version = "made up"\nyear = 2023\nlicense = "own"\ntiming = "concurrent"\n'
        + "".join(f'[[cells]]\nterm = "any"\nsex = "{sex}"\nages = [0, 128]\n' for sex in "FM")
        + '[[segments]]\nname = "ALL"\nages = [0, 128]\n'
    )
    (folder / "codes.csv").write_text(f"system,code,category\nICD10,{code},SICK\n")
    (folder / "weights.csv").write_text(
        f"segment,term,weight\nALL,SICK,{weight}\nALL,any,{everybody}\n"
    )
    imports.import_model(folder, name, model_store=folder.parent / "s")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A store of two models over diagnoses, of adults and of births."""
    licensed(tmp_path / "a", "of-adults", "I509", "1", "0.125")
    licensed(tmp_path / "b", "of-births", "P0702", "3", "0.5")
    return tmp_path / "s"


def test_either_model_may_read_diagnoses(
    scored: Callable[..., tuple[dict[str, int], dict[str, int]]], two: Path
) -> None:
    """Whose code only the other model knows weighs nothing."""
    second = ("of-births", NEWBORNS_AND_MOTHERS)
    found, counts = scored("of-adults", second=second, store=two)
    assert found == {
        "grown": 1_125_000, "mother": 500_000, "born": 3_500_000, "turned": 125_000,
        "other": 125_000,
    }  # fmt: skip
    assert (counts["icd10_mapped"], counts["second_icd10_mapped"]) == (2, 2)
    beside, _ = scored("supplied:adults", second=second, store=two, missing="group_average")
    assert (beside["grown"], beside["mother"], beside["born"]) == (2_000_000, 500_000, 3_500_000)


def test_who_was_enrolled_too_briefly_is_counted_by_the_own_model(
    population: Population, two: Path
) -> None:
    """A minimum that nobody reaches: three of the first model, two of the second."""
    both = provider("of-adults", population, second=("of-births", NEWBORNS_AND_MOTHERS),
                    store=two, terms=ScoreTerms(min_months=13))  # fmt: skip
    assert isinstance(both, TwoModels)
    (shard,) = population.shards
    months = enrolled_months(shard, year=2023)
    _, able, counts = both.own(shard, year=2023, cutoff_day=2**31 - 1, months=months)
    assert not able.any()
    assert counts["n_under_minimum_months"] == 3
    assert counts["second_n_under_minimum_months"] == 2


def test_parts_of_scores_are_by_the_model_of_each_member(population: Population, two: Path) -> None:
    """What the codes add, and what is there without them."""
    both = provider("of-adults", population, second=("of-births", ("newborn",)), store=two)
    (shard,) = population.shards
    months = [enrolled_months(shard, year=2023)] * 2
    scores = [both.score(shard, year=2023, cutoff_day=2**31 - 1, months=of) for of in months]
    parts = both.parts(
        shard, scores, years=(2023, 2023), cutoff_days=(2**31 - 1,) * 2, months=months
    )
    assert parts is not None
    ids = shard.batch("identity")["member_id"].to_pylist()
    added = dict(zip(ids, parts.codes_micro[1].tolist(), strict=True))
    assert added == {"grown": 1_000_000, "mother": 0, "born": 3_000_000, "turned": 0, "other": 0}
    without = dict(zip(ids, parts.demographic_micro[1].tolist(), strict=True))
    assert (without["born"], without["mother"]) == (500_000, 125_000)


def test_cells_may_be_the_second_model(tmp_path: Path, two: Path) -> None:
    """Weights by cell of mothers and newborns beside a model over diagnoses."""
    population = prepared(tmp_path, {"mother": "M1", "born": "N1"})
    (tmp_path / "births.csv").write_text(
        "cell,weight,first_year,last_year\nM1,1.25,,\nN1,0.5,,2022\nN1,0.75,2023,2024\n"
    )
    imports.import_model(tmp_path / "births.csv", "births", model_store=two)
    both = provider("of-adults", population, second=("births", NEWBORNS_AND_MOTHERS), store=two)
    (shard,) = population.shards
    months = enrolled_months(shard, year=2023)
    found = both.score(shard, year=2023, cutoff_day=2**31 - 1, months=months).score_micro
    ids = shard.batch("identity")["member_id"].to_pylist()
    assert dict(zip(ids, found.tolist(), strict=True)) == {
        "grown": 1_125_000, "mother": 1_250_000, "born": 750_000, "turned": 125_000,
        "other": 125_000,
    }  # fmt: skip
    why = both.explain(
        population, shard, ids.index("born"), year=2023, cutoff_day=2**31 - 1, months=months
    )
    assert (why["kind"], why["score_micro"]) == ("cells", 750_000)
    assert why["rows"] == [
        {"year": 2023, "cell": "N1", "weight_micro": 750_000, "first_year": 2023,
         "last_year": 2024}
    ]  # fmt: skip
    why = both.explain(
        population, shard, ids.index("mother"), year=2023, cutoff_day=2**31 - 1, months=months
    )
    assert why["rows"] == [{"year": 2023, "cell": "M1", "weight_micro": 1_250_000}]
    why = both.explain(
        population, shard, ids.index("grown"), year=2023, cutoff_day=2**31 - 1, months=months
    )
    assert (why["kind"], why["model"], why["score_micro"]) == ("model", "of-adults", 1_125_000)
