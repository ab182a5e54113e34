"""Risk scores from elsewhere: scores without cells, cells without scores, and neither."""

from pathlib import Path
from typing import Any

import pytest

from ihp_compute.codes import NO_SCORE
from ihp_compute.errors import DataError
from ihp_compute.risk import enrolled_months, imports, provider

WEIGHTS = "cell,weight,first_year,last_year\n4100,0.5,2020,2022\n4100,0.6,2023,2024\n5200,0.1,,\n"


def row(person: str, score: str | None = None, cell: str | None = None) -> dict[str, str]:
    found = {"person_id": person, "year": "2023", "model": "acg"}
    stated = {"score": score, "cell": cell}
    return found | {name: value for name, value in stated.items() if value is not None}


@pytest.fixture
def ingested(bench: Any, member: Any, line: Any) -> Any:
    def make(*scores: dict[str, str]) -> Any:
        people = sorted({score["person_id"] for score in scores} | {"0001"})
        return bench.ingest(
            bench.folder(
                eligibility=[member(person_id=p) for p in people],
                medical_claim=[line()],
                risk_score=list(scores),
            ),
            shards=1,
        )

    return make


def told(document: dict[str, Any]) -> dict[str, int]:
    return {found["finding"]: found["lines"] for found in document["data_quality"]}


def scored(population: Any, name: str, **options: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Score in millionths by member id for 2023, and the counts."""
    (shard,) = population.shards
    months = enrolled_months(shard, year=2023)
    found = provider(name, population, **options).score(
        shard, year=2023, cutoff_day=2**31 - 1, months=months
    )
    ids = shard.batch("identity")["member_id"].to_pylist()
    return dict(zip(ids, found.score_micro.tolist(), strict=True)), found.counts


@pytest.mark.parametrize("blank", ["", " ", "NaN"])
def test_what_is_written_for_nothing_is_no_score(ingested: Any, blank: str) -> None:
    document, population = ingested(row("0001", "1.0", ""), row("0002", blank, ""))
    assert told(document)["score_blank"] == 1
    assert scored(population, "supplied", missing="group_average")[1]["n_unscored"] == 1


def test_a_row_with_a_cell_needs_no_score(ingested: Any, tmp_path: Path) -> None:
    """A cell's weight of the year scores; without cell, or weight, the mean of the others does."""
    document, population = ingested(
        row("0001", "", "4100"), row("0002", "", "5200"), row("0003", "", ""),
        row("0004", "", "9999"),
    )  # fmt: skip
    assert told(document)["score_blank"] == 1
    (tmp_path / "w.csv").write_text(WEIGHTS)
    imports.import_model(tmp_path / "w.csv", "acg", model_store=tmp_path / "s")
    scores, counts = scored(population, "acg", missing="group_average", store=tmp_path / "s")
    assert scores == {"0001": 600_000, "0002": 100_000, "0003": 350_000, "0004": 350_000}
    assert counts["n_unscored"] == 2
    with pytest.raises(DataError, match="2 members of shard 0 have months in 2023 and no score"):
        scored(population, "acg", store=tmp_path / "s")


def test_a_file_of_cells_has_no_column_of_scores(ingested: Any, tmp_path: Path) -> None:
    document, population = ingested(row("0001", cell="4100"), row("0002", cell="5200"))
    assert "score_blank" not in told(document)
    (tmp_path / "w.csv").write_text(WEIGHTS)
    imports.import_model(tmp_path / "w.csv", "acg", model_store=tmp_path / "s")
    scores, counts = scored(population, "acg", store=tmp_path / "s")
    assert (scores, counts["n_unscored"]) == ({"0001": 600_000, "0002": 100_000}, 0)


def test_scores_need_no_cell_and_a_cell_is_no_score(ingested: Any) -> None:
    document, population = ingested(row("0001", "1.25", ""), row("0002", "", "4100"))
    assert "score_blank" not in told(document)
    scores, counts = scored(population, "supplied", missing="group_average")
    assert (scores, counts["n_unscored"]) == ({"0001": 1_250_000, "0002": 1_250_000}, 1)


def test_a_blank_row_beside_a_score_leaves_the_score(ingested: Any) -> None:
    document, population = ingested(row("0001", "", ""), row("0001", "1.25", ""))
    assert told(document)["score_blank"] == 1
    assert scored(population, "supplied")[0] == {"0001": 1_250_000}


def test_what_a_row_does_not_state_is_kept_as_not_stated(bench: Any, ingested: Any) -> None:
    _, population = ingested(row("0001", "", "4100"), row("0002", "0", ""))
    assert {r["score_micro"] for r in bench.rows(population, "scores")} == {NO_SCORE, 0}


def test_a_file_with_neither_column_is_refused(ingested: Any) -> None:
    with pytest.raises(DataError, match="score or cell"):
        ingested(row("0001"))


@pytest.mark.parametrize(
    "score", ["high", "-0.1", "100000.000001", "1e400", "1e999999999", "Infinity", "1,2,3"]
)
def test_a_score_that_nothing_can_hold_is_refused_with_its_row(ingested: Any, score: str) -> None:
    with pytest.raises(DataError, match=r"data row 2: .* a decimal score from 0 to 100,000"):
        ingested(row("0001", "1.0", "4100"), row("0002", score, "4100"))


@pytest.mark.parametrize("absent", ["year", "model"])
def test_a_row_without_year_or_model_is_refused(ingested: Any, absent: str) -> None:
    with pytest.raises(DataError, match="data row 1"):
        ingested(row("0001", "", "4100") | {absent: ""})
