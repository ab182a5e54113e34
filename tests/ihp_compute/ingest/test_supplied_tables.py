"""Tables of the user's that belong to nobody's shard: what they hold, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import DataError
from ihp_compute.population.digest import population_digest

Row = dict[str, str]


@pytest.fixture
def prepared(bench: Any, member: Any, line: Any) -> Any:
    def make(**tables: list[Row]) -> Any:
        folder = bench.folder(eligibility=[member()], medical_claim=[line()], **tables)
        return bench.ingest(folder)[1]

    return make


def county(fips: str = "27053", region: str = "metro") -> Row:
    return {"county_fips": fips, "region": region}


def person(person_id: str, arm: str = "navigator", start_date: str = "2023-04-01") -> Row:
    return {"person_id": person_id, "arm": arm, "start_date": start_date}


def group(dx_prefix: str, condition_group: str, rank: str) -> Row:
    return {"dx_prefix": dx_prefix, "condition_group": condition_group, "rank": rank}


def share(dx_prefix: str, avoidable_share: str) -> Row:
    return {"dx_prefix": dx_prefix, "avoidable_share": avoidable_share}


def test_what_is_given_is_what_a_population_has_and_else_nothing(prepared: Any) -> None:
    """Codes without the dot, numbers in one spelling, rows in order, what is said twice once."""
    population = prepared(
        region=[county("27123"), county(" 01001 ", "south"), county("27123")],
        intervention=[person("0002", "usual care"), person("0001", start_date="20230401")],
        condition_group=[group("e11.", "diabetes", "2.0"), group("I50", "heart failure", "01")],
        ed_classifier=[share("j06.9", ".50"), share("R07", "1.000000"), share("J069", "0.5")],
    )
    found = {
        name: population.reference(name).to_pylist()
        for name in ("region", "intervention", "condition_group", "ed_classifier")
    }
    assert found == {
        "region": [county("01001", "south"), county("27123")],
        "intervention": [person("0001"), person("0002", "usual care")],
        "condition_group": [group("E11", "diabetes", "2"), group("I50", "heart failure", "1")],
        "ed_classifier": [share("J069", "0.5"), share("R07", "1")],
    }
    assert population_digest(population) == population.digest
    bare = prepared()
    assert all(bare.reference(name) is None for name in found)
    assert bare.digest != population.digest


def test_prefixes_are_no_codes_of_the_population(prepared: Any) -> None:
    population = prepared(condition_group=[group("C", "cancer", "1")])
    assert "C" not in population.codes("dx").to_pylist()


@pytest.mark.parametrize(
    ("table", "rows", "words"),
    [
        (
            "region", [county(), county("27123"), county(region="Duluth")],
            ["data row 3", "county_fips", "data row 1", "another region"],
        ),
        ("region", [county(), county(region="")], ["data row 2", "region is blank"]),
        (
            "intervention", [person("0001"), person("0001", "usual care")],
            ["data row 2", "person_id", "data row 1", "another arm"],
        ),
        (
            "intervention", [person("0001"), person("0001", start_date="2023-05-01")],
            ["data row 2", "person_id", "data row 1", "another start_date"],
        ),
        ("intervention", [person("0001", start_date="")], ["data row 1", "start_date is blank"]),
        ("intervention", [person("0001", start_date="soon")], ["data row 1", "start_date"]),
        (
            "condition_group", [group("E11", "a", "1"), group("E1.1", "b", "2")],
            ["data row 2", "dx_prefix", "data row 1", "condition_group and rank"],
        ),
        (
            "condition_group", [group("E11", "a", "1"), group("E12", "b", "1")],
            ["data row 2", "rank", "data row 1", "no order"],
        ),
        ("condition_group", [group("E11", "a", "first")], ["data row 1", "rank", "whole number"]),
        ("condition_group", [group("E11*", "a", "1")], ["data row 1", "dx_prefix", "letters"]),
        (
            "ed_classifier", [share("J06", "0.25"), share("J06", "0.5")],
            ["data row 2", "dx_prefix", "data row 1", "another avoidable_share"],
        ),
        *(
            ("ed_classifier", [share("J06", text)], ["data row 1", "avoidable_share", "0 to 1"])
            for text in ("1.5", "-0.1", "half", "50%", "0.1234567", "1e-3")
        ),
    ],
)  # fmt: skip
def test_what_two_rows_say_against_each_other_is_refused_by_row_and_column(
    prepared: Any, table: str, rows: list[Row], words: list[str]
) -> None:
    with pytest.raises(DataError) as refused:
        prepared(**{table: rows})
    message = str(refused.value)
    assert all(word in message for word in [f"{table}.csv", *words]), message
    assert "0001" not in message


def test_rows_of_several_files_are_named_by_file(bench: Any, member: Any, line: Any) -> None:
    folder = bench.folder(
        eligibility=[member()], medical_claim=[line()],
        region__a=[county(), county("27123")], region__b=[county("27001"), county("27123", "x")],
    )  # fmt: skip
    with pytest.raises(DataError, match=r"region/b.csv, data row 2: .* region/a.csv, data row 2"):
        bench.ingest(folder)


def test_a_share_that_a_program_wrote_as_a_float_is_the_number(
    bench: Any, member: Any, line: Any
) -> None:
    folder: Path = bench.folder(eligibility=[member()], medical_claim=[line()])
    table = pa.table({"dx_prefix": ["J06", "R07", "I10"], "avoidable_share": [0.25, 1.0, 0.0]})
    pq.write_table(table, folder / "ed_classifier.parquet")
    _, population = bench.ingest(folder)
    rows = population.reference("ed_classifier").to_pylist()
    assert [row["avoidable_share"] for row in rows] == ["0", "0.25", "1"]


def test_a_consent_has_a_day_and_a_provider_a_place(prepared: Any) -> None:
    population = prepared(
        member_factors=[{"person_id": "0001", "substance_use_consent_date": "05/31/2023"}],
        provider_roster=[{"npi": "1", "partnership_id": "A", "location_id": "007"}],
    )
    (factors,) = population.reference("member_factors").to_pylist()
    (entry,) = population.reference("provider_roster").to_pylist()
    assert factors["substance_use_consent_date"] == "2023-05-31"
    assert entry["location_id"] == "007"


def test_a_snapshot_of_enrolment_is_a_date_that_the_record_keeps(
    bench: Any, member: Any, line: Any
) -> None:
    people = [
        member(snapshot_date="2023-06-30"), member(person_id="0002", snapshot_date="lately"),
    ]  # fmt: skip
    folder = bench.folder(eligibility=people, medical_claim=[line()])
    document, population = bench.ingest(folder, shards=1)
    kept = population.shards[0].record("eligibility").to_pylist()
    assert sorted(row["snapshot_day"] for row in kept) == [-(2**31), 19_538]
    assert ("snapshot_date", "not_a_date") in bench.told(document)
