"""Importing HHS-HCC tables: what the folder, the diagnosis map and the program each decide."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ihp_compute.errors import InfrastructureError, RiskModelError
from ihp_compute.risk import imports
from ihp_compute.risk.models import hhs_hcc, store
from ihp_compute.risk.models.compile import compile_model
from ihp_compute.risk.score_files import Request, score_files

METALS = "Platinum,Gold,Silver,Bronze,Catastrophic"
MAP_HEADER = ",".join(hhs_hcc.DIAGNOSIS_COLUMNS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benefit year in miniature: HIV, diabetes, transplants, two birth categories."""
    here = tmp_path / "v08" / "2025"
    here.mkdir(parents=True)
    cells = [
        f"{sex}AGE_LAST_{band}"
        for sex in "MF"
        for band in (
            "21_24",
            "25_29",
            "30_34",
            "35_39",
            "40_44",
            "45_49",
            "50_54",
            "55_59",
            "60_GT",
        )
    ]
    child = [f"{sex}AGE_LAST_{b}" for sex in "MF" for b in ("2_4", "5_9", "10_14", "15_20")]
    hccs = ["HHS_HCC001", "HHS_HCC018", "HHS_HCC019", "HHS_HCC020", "HHS_HCC183"]
    severe = [f"SEVERE_HCC_COUNT{n}" for n in ("1", "2PLUS")]
    adult = [*cells, *hccs, "G01", "G24", *severe, *(f"HCC_ED{n}" for n in range(1, 7)),
             "RXC_01", "RXC_01_x_HCC001"]  # fmt: skip
    infant = [
        f"{maturity}_x_Severity{n}"
        for maturity in ("Extremely_Immature", "Term", "Age1")
        for n in (5, 3, 2, 1)
    ]
    lines = [f"model,category,{METALS}"]
    weights = {"MAGE_LAST_30_34": 0.2, "HHS_HCC001": 0.5, "G01": 0.3, "G24": 5, "HCC_ED2": 7,
               "SEVERE_HCC_COUNT1": -1, "SEVERE_HCC_COUNT2PLUS": 2, "RXC_01": 4,
               "RXC_01_x_HCC001": 1, "Term_x_Severity1": 1.5, "Age1_x_Severity1": 0.4,
               "Age0_Male": 0.6, "Age1_Male": 0.1}  # fmt: skip
    for model, terms in (
        ("Adult", adult),
        ("Child", [*child, *hccs, "G01", *severe]),
        ("Infant", [*infant, "Age0_Male", "Age1_Male"]),
    ):
        lines += [f"{model},{t},{','.join([str(weights.get(t, 0))] * 5)}" for t in terms]
    (here / "weights.csv").write_text("\n".join(lines) + "\n")
    (here / "category_definition.json").write_text('{"HHS_HCC001": {"descr": "HIV/AIDS"}}')
    (here / "hierarchy_definition.json").write_text(
        json.dumps(
            {
                "HHS_HCC018": {"remove_code": ["HHS_HCC019", "HHS_HCC020"]},
                "HHS_HCC019": {"remove_code": ["HHS_HCC020"]},
            }
        )
    )
    groups = {"HHS_HCC019": "G01", "HHS_HCC020": "G01"}
    (here / "group_definition.json").write_text(
        json.dumps({"Adult": {**groups, "HHS_HCC018": "G24", "HHS_HCC183": "G24"}, "Child": groups})
    )
    (here / "diag_to_category_map.txt").write_text(
        "B20\t1\nE119\t20\nE109\t19\nE109\t20\tD\nT8610\t183\nZ9483\t18\nZ3800\t249\nP0702\t242\n"
    )
    (here / "ndc_to_category_map.txt").write_text("00003196401\t1\n")
    (here / "proc_to_category_map.txt").write_text("J0741\t1\n")
    (tmp_path / "map.csv").write_text(
        MAP_HEADER
        + "\nB20,1,0,2015-10-01,2027-12-31,0,999,0,999,X"
        + "\nE119,20,0,2015-10-01,2027-12-31,0,999,0,999,X"
        + "\nE109,19,0,2015-10-01,2027-12-31,0,999,0,21,X"
        + "\nE109,20,0,2015-10-01,2027-12-31,0,999,21,999,X"
        + "\nT8610,183,0,2015-10-01,2027-12-31,0,999,0,999,X"
        + "\nZ9483,18,0,2015-10-01,2027-12-31,0,999,0,999,X"
        + "\nZ3800,249,0,2015-10-01,2027-12-31,0,1,0,999,X"
        + "\nP0702,242,0,2015-10-01,2027-12-31,0,999,0,1,X"
        + "\nE110,20,0,2015-10-01,2024-09-30,0,999,0,999,X\n"
    )
    return here


def scores(
    tmp_path: Path, folder: Path, members: str, diagnoses: str, drugs: str = "", **options: Any
) -> list[tuple[str, Any]]:
    imports.import_model(
        folder, "mini", diagnosis_map=tmp_path / "map.csv", model_store=tmp_path / "store"
    )
    (tmp_path / "m.csv").write_text(members)
    (tmp_path / "d.csv").write_text("member_id,diagnosis_code\n" + diagnoses)
    if drugs:
        (tmp_path / "n.csv").write_text(drugs)
        options["drugs"] = tmp_path / "n.csv"
    out = tmp_path / "o.csv"
    score_files(
        Request(
            tmp_path / "m.csv", tmp_path / "d.csv", "mini", out, store=tmp_path / "store", **options
        )
    )
    found = pl.read_csv(out, infer_schema_length=0)
    return [(s, float(r)) for s, r in zip(found["segment"], found["raw_score"], strict=True)]


def test_without_a_map_the_import_says_how_many_codes_stay_unsplit(folder: Path) -> None:
    found = hhs_hcc.import_folder(folder, "mini")
    assert found.counts["unsplit_codes"] == 7
    compile_model(found.model)


def test_the_map_gives_splits_edits_and_dates(folder: Path, tmp_path: Path) -> None:
    found = hhs_hcc.import_folder(folder, "mini", diagnosis_map=tmp_path / "map.csv")
    assert found.counts["unsplit_codes"] == 0
    assert found.counts["codes_of_other_years_in_map"] == 1
    rules = {(r.code, r.age): r for r in found.model.rules}
    assert rules["E109", (0, 21)].bits == ("HHS_HCC019",)
    assert rules["Z3800", None].edit_age == (0, 1)


def test_groups_counts_gates_and_duration_of_an_adult(folder: Path, tmp_path: Path) -> None:
    """Cell 0.2 + HIV 0.5 + G24 5; two counted and severe: 2; two months: 7."""
    found = scores(
        tmp_path, folder,
        "member_id,age,sex,enrollment_duration_months,metal_level\n1,31,M,2,SILVER\n2,31,M,12,gold\n",
        "1,B20\n1,T86.10\n1,Z9483\n2,E119\n2,E109\n",
    )  # fmt: skip
    assert found == [("Adult", pytest.approx(0.2 + 0.5 + 5 + 2 + 7)), ("Adult", pytest.approx(0.5))]


def test_drugs_count_for_adults_and_interact(folder: Path, tmp_path: Path) -> None:
    found = scores(
        tmp_path, folder, "member_id,age,sex\n1,31,M\n2,15,M\n", "1,B20\n2,B20\n",
        "member_id,ndc_code,hcpcs_code\n1,0003-1964-01,\n2,00003196401,\n",
    )  # fmt: skip
    assert found == [("Adult", pytest.approx(0.2 + 0.5 + 4 + 1)), ("Child", pytest.approx(0.5))]
    again = scores(
        tmp_path, folder, "member_id,age,sex\n1,31,M\n", "1,B20\n",
        "member_id,hcpcs_code\n1,J0741\n",
    )  # fmt: skip
    assert again == found[:1]


def test_a_transplant_of_a_child_is_severe_though_no_group_holds_it(
    folder: Path, tmp_path: Path
) -> None:
    found = scores(tmp_path, folder, "member_id,age,sex\n1,5,F\n", "1,T8610\n")
    assert found == [("Child", pytest.approx(-1.0))]


def test_the_newborn_grid_has_defaults_and_the_male_swap(folder: Path, tmp_path: Path) -> None:
    """A coded birth is TERM; none is AGE1, and the male term follows the cell."""
    found = scores(
        tmp_path, folder,
        "member_id,age,sex\nborn,0,M\nuncoded,0,M\nyear,1,M\ngirl,0,F\n",
        "born,Z3800\nyear,Z3800\ngirl,Z3800\n", code_edits=False,
    )  # fmt: skip
    assert [round(score, 3) for _, score in found] == [2.1, 0.5, 0.5, 1.5]


def test_the_code_editor_refuses_a_birth_code_after_the_first_year(
    folder: Path, tmp_path: Path
) -> None:
    members = "member_id,age,birth_date,sex\n1,1,2023-12-31,M\n"
    (tmp_path / "d2.csv").write_text("member_id,diagnosis_code,service_date\n1,Z3800,2025-01-01\n")
    imports.import_model(
        folder, "mini", diagnosis_map=tmp_path / "map.csv", model_store=tmp_path / "store"
    )
    (tmp_path / "m.csv").write_text(members)
    report = score_files(
        Request(tmp_path / "m.csv", tmp_path / "d2.csv", "mini", tmp_path / "o.csv",
                store=tmp_path / "store")
    )  # fmt: skip
    assert report["counts"]["icd10_edited"] == 1


def test_the_folders_groups_win_over_the_programs(folder: Path) -> None:
    found = hhs_hcc.import_folder(folder, "mini")
    made = {step.out for step in found.model.steps if step.op == "GROUP"}
    assert made == {"G01", "G24"}


def test_a_csr_variant_multiplies_the_raw_score(folder: Path, tmp_path: Path) -> None:
    scores(
        tmp_path, folder, "member_id,age,sex,csr_indicator\n1,31,M,1\n2,31,M,0\n", "1,B20\n2,B20\n"
    )
    found = pl.read_csv(tmp_path / "o.csv")
    assert found["raw_score"].to_list() == [0.7, 0.7]
    assert found["score"].to_list() == [0.784, 0.7]


def test_the_model_is_stored_by_content(folder: Path, tmp_path: Path) -> None:
    one = imports.import_model(folder, "a", model_store=tmp_path / "s")
    other = imports.import_model(folder, "b", model_store=tmp_path / "s")
    assert one["sha256"] != other["sha256"]  # the name is part of the model
    again = imports.import_model(folder, "a", model_store=tmp_path / "s")
    assert again["sha256"] == one["sha256"]
    assert store.load("a", store=tmp_path / "s").sources
    assert store.names(store=tmp_path / "s")[-2:] == ["a", "b"]
    path = tmp_path / "s" / "models" / f"{one['sha256']}.json"
    path.write_bytes(path.read_bytes().replace(b"2025", b"2024"))
    with pytest.raises(RiskModelError, match="was changed"):
        store.load("a", store=tmp_path / "s")


@pytest.mark.parametrize("name", ["cms-hcc-v28", "Supplied", "../x", "a b"])
def test_reserved_and_odd_names_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RiskModelError, match="model name"):
        imports.import_model(folder, name, model_store=tmp_path / "s")


def test_a_folder_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RiskModelError, match=r"missing weights\.csv"):
        hhs_hcc.import_folder(tmp_path, "x")


def test_the_benefit_year_comes_from_the_folder_or_is_asked_for(folder: Path) -> None:
    moved = folder.rename(folder.parent / "tables")
    with pytest.raises(RiskModelError, match="give --year"):
        hhs_hcc.import_folder(moved, "x")
    assert hhs_hcc.import_folder(moved, "x", year=2024).model.year == 2024


def test_a_store_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InfrastructureError, match="IHP_MODEL_STORE"):
        imports.import_model(folder, "mini", model_store=tmp_path / "file")
