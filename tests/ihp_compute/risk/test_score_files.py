"""`ihp score` on files: columns, aliases, text codes, refusals, counts and explanations."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.risk.models import cms_hcc
from ihp_compute.risk.score_files import Request, score_files


def scored(
    folder: Path, members: str, diagnoses: str = "member_id,diagnosis_code\n", **options: Any
) -> tuple[pl.DataFrame, dict[str, Any]]:
    (folder / "members.csv").write_text(members)
    (folder / "diagnoses.csv").write_text(diagnoses)
    options.setdefault("model", "cms-hcc-v28")
    options.setdefault("out", folder / "out.csv")
    report = score_files(Request(folder / "members.csv", folder / "diagnoses.csv", **options))
    if options["out"].suffix != ".csv":
        return pl.DataFrame(), report
    return pl.read_csv(options["out"], infer_schema_length=0), report


def test_the_output_has_the_agreed_columns_in_the_order_of_the_members(tmp_path: Path) -> None:
    found, report = scored(
        tmp_path,
        "member_id,age,sex\n007,70,M\n01,80,F\n",
        "member_id,diagnosis_code\n01,E11.9\n007,e1169\n01,I50.9\n9,I509\n",
    )
    assert found.columns == ["member_id", "segment", "raw_score", "score"]
    assert found["member_id"].to_list() == ["007", "01"]
    assert found["segment"].to_list() == ["CNA", "CNA"]
    assert report["counts"]["icd10_rows_without_member"] == 1
    assert report["counts"]["icd10_mapped"] == 3


def test_raw_and_normalised_scores_follow_the_published_rounding(tmp_path: Path) -> None:
    found, _ = scored(
        tmp_path, "member_id,age,sex\n1,70,M\n", "member_id,diagnosis_code\n1,E1169\n1,I509\n"
    )
    raw = Decimal(found["raw_score"][0])
    assert raw == Decimal("1.034")
    normalised = (raw / Decimal("1.067")).quantize(Decimal("0.001"))
    assert Decimal(found["score"][0]) == (normalised * Decimal("0.941")).quantize(Decimal("0.001"))


@pytest.mark.parametrize(
    ("column", "value"),
    [("sex", "F"), ("sex", "female"), ("gender", "Female"), ("gender", "f"), ("gender", "2")],
)
def test_sex_is_read_in_its_spellings(tmp_path: Path, column: str, value: str) -> None:
    found, _ = scored(tmp_path, f"member_id,age,{column}\n1,70,{value}\n")
    plain, _ = scored(tmp_path, "member_id,age,sex\n1,70,F\n")
    assert found.equals(plain)


@pytest.mark.parametrize(
    ("extra", "value", "segment"),
    [
        ("dual_status_code", "02", "CFA"),
        ("dual_status_code", "1", "CPA"),
        ("dual_status_code", "00", "CNA"),
        ("long_term_institutional_flag", "1", "INS"),
        ("long_term_institutional_flag", "N", "CNA"),
        ("new_enrollee", "true", "NE"),
        ("segment", "ins", "INS"),
        ("segment", "CPA", "CPA"),
        ("segment", "", "CNA"),
    ],
)
def test_the_segment_is_derived_unless_given(
    tmp_path: Path, extra: str, value: str, segment: str
) -> None:
    found, _ = scored(tmp_path, f"member_id,age,sex,{extra}\n1,70,M,{value}\n")
    assert found["segment"][0] == segment


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("member_id,sex\n1,M\n", "birth_date or age"),
        ("member_id,age\n1,70\n", "sex or gender"),
        ("age,sex\n70,M\n", "no column 'member_id'"),
        ("member_id,age,sex\n1,70,M\n1,71,M\n", "unique"),
        ("member_id,age,sex\n1,,M\n", "age is unknown"),
        ("member_id,age,sex\n1,70,\n", "sex is unknown"),
        ("member_id,age,sex\n1,seventy,M\n", "whole numbers"),
        ("member_id,age,sex\n1,70,X\n", "does not know"),
        ("member_id,age,sex,segment\n1,40,M,CNA\n", "no coefficients for this age"),
        ("member_id,age,sex,segment\n1,40,M,XYZ\n", "does not know"),
        ("member_id,birth_date,sex\n1,70/01/02,M\n", "not dates"),
        ("member_id,birth_date,sex\n1,1940101,M\n", "not dates"),
        ("member_id,birth_date,sex\n1,1940-02-30,M\n", "not dates"),
        ("member_id,age,sex\n1,70\n", "1 rows have more or fewer values than the header's 3"),
        ("member_id,age,sex,Sex\n1,70,M,F\n", "column 'sex' stands twice"),
        ("member_id,age,sex,medicaid_indicator\n1,70,M,maybe\n", "not 1 or 0"),
    ],
)
def test_what_cannot_be_scored_is_refused_without_member_data(
    tmp_path: Path, members: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scored(tmp_path, members)


def test_a_birth_date_gives_the_age_at_the_first_of_february(tmp_path: Path) -> None:
    """Born on 1 February 1961: 65 on 1 February 2026; a day later: still 64."""
    found, _ = scored(tmp_path, "member_id,birth_date,sex\n1,1961-02-01,M\n2,19610202,M\n")
    assert found["segment"].to_list() == ["CNA", "CND"]


def test_numbers_as_codes_are_refused_because_zeros_are_lost(tmp_path: Path) -> None:
    pl.DataFrame({"member_id": ["1"], "ndc_code": [59762041003]}).write_parquet(
        tmp_path / "drugs.parquet"
    )
    with pytest.raises(DataError, match="leading zeros"):
        scored(tmp_path, "member_id,age,sex\n1,70,M\n", drugs=tmp_path / "drugs.parquet")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_scores_are_exact_decimals_in_any_format(tmp_path: Path, suffix: str) -> None:
    members, diagnoses = "member_id,age,sex\n1,70,M\n2,71,F\n", "member_id,diagnosis_code\n1,I509\n"
    text, _ = scored(tmp_path, members, diagnoses)
    out = tmp_path / f"out{suffix}"
    scored(tmp_path, members, diagnoses, out=out)
    table = pl.read_parquet(out) if suffix == ".parquet" else pl.read_ipc(out)
    assert [str(v) for v in table["raw_score"]] == text["raw_score"].to_list()


def test_the_same_members_as_parquet_score_alike(tmp_path: Path) -> None:
    members = pl.DataFrame({"member_id": ["1", "2"], "age": [70, 44], "sex": ["M", "F"]})
    members.write_parquet(tmp_path / "members.parquet")
    members.write_csv(tmp_path / "members.csv")
    (tmp_path / "d.csv").write_text("member_id,diagnosis_code\n1,I509\n2,E119\n")
    for name in ("members.parquet", "members.csv"):
        out = tmp_path / f"{name}.out.csv"
        score_files(Request(tmp_path / name, tmp_path / "d.csv", "cms-hcc-v28", out))
    assert (tmp_path / "members.parquet.out.csv").read_text() == (
        tmp_path / "members.csv.out.csv"
    ).read_text()


def test_an_explanation_adds_up(tmp_path: Path) -> None:
    found, _ = scored(
        tmp_path,
        "member_id,age,sex\n1,70,M\n2,71,F\n",
        "member_id,diagnosis_code\n1,E1169\n1,E119\n1,I509\n",
        explain=True,
    )
    lines = (tmp_path / "out.explain.jsonl").read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    assert [d["member_id"] for d in documents] == ["1", "2"]
    for document, raw in zip(documents, found["raw_score"], strict=True):
        assert sum(document["terms"].values()) == document["raw_micro"]
        assert Decimal(document["raw_micro"]) / 1_000_000 == Decimal(raw)
    first = documents[0]
    assert set(first["conditions"]) == {"HCC37", "HCC38", "HCC226"}
    assert {"op": "HIER", "set": [], "cleared": ["HCC38"], "step": 3} in first["steps"]
    assert "DIABETES_HF_V28" in first["terms"]
    assert documents[1]["conditions"] == []


def test_children_under_a_medicare_model_are_counted(tmp_path: Path) -> None:
    _, report = scored(tmp_path, "member_id,age,sex\n1,10,M\n2,70,M\n")
    assert report["counts"]["members_under_18"] == 1


def test_the_map_vintage_is_that_of_the_diagnoses_and_recorded(tmp_path: Path) -> None:
    members = "member_id,age,sex\n1,70,M\n"
    rows = "member_id,diagnosis_code,service_date\n1,I509,2026-05-01\n"
    _, report = scored(tmp_path, members, rows)
    assert "diagnosis map 2027" in report["version"]
    _, report = scored(tmp_path, members, rows, model="cms-hcc-v28@2025")
    assert "diagnosis map 2025" in report["version"]


def test_an_unknown_model_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RiskModelError, match="cms-hcc-v24, cms-hcc-v28"):
        scored(tmp_path, "member_id,age,sex\n1,70,M\n", model="acg", store=tmp_path / "store")


@pytest.mark.parametrize("name", ["esrd-v24", "rxhcc-v08"])
def test_esrd_and_rxhcc_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(RiskModelError, match="not supported"):
        scored(tmp_path, "member_id,age,sex\n1,70,M\n", model=name, store=tmp_path / "store")


def test_an_unknown_extension_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.csv, \.parquet or \.arrow"):
        scored(tmp_path, "member_id,age,sex\n1,70,M\n", out=tmp_path / "out.xlsx")


def test_members_whom_the_order_of_hierarchies_changes_are_counted(tmp_path: Path) -> None:
    """One member has categories 62, 63 and 202, the other none."""
    rules = cms_hcc.build("cms-hcc-v28").rules
    codes = [next(r.code for r in rules if r.bits == (f"HCC{cc}",)) for cc in ("62", "63", "202")]
    rows = "member_id,diagnosis_code\n" + "".join(f"1,{code}\n" for code in codes)
    _, report = scored(tmp_path, "member_id,age,sex\n1,70,M\n2,70,M\n", rows)
    assert report["counts"]["members_differing_by_hierarchy_order"] == 1


def test_ids_that_need_quotes_in_a_csv_have_them_and_others_none(tmp_path: Path) -> None:
    ids = ["plain", "a,b", 'say "x"', "two\nlines", " kept apart "]
    pl.DataFrame({"member_id": ids, "age": [70] * 5, "sex": ["F"] * 5}).write_csv(
        tmp_path / "members.csv"
    )
    (tmp_path / "d.csv").write_text("member_id,diagnosis_code\n")
    out = tmp_path / "out.csv"
    score_files(Request(tmp_path / "members.csv", tmp_path / "d.csv", "cms-hcc-v28", out))
    text = out.read_text()
    assert text.startswith("member_id,segment,raw_score,score\nplain,CNA,0.")
    assert pl.read_csv(out, infer_schema_length=0)["member_id"].to_list() == [
        one.strip() for one in ids
    ]


def test_a_stated_age_stands_before_the_birth_date(tmp_path: Path) -> None:
    found, _ = scored(
        tmp_path, "member_id,age,birth_date,sex\n1,70,2000-01-01,M\n2,,1940-01-01,M\n"
    )
    assert found["segment"].to_list() == ["CNA", "CNA"]
    assert found["raw_score"][0] != found["raw_score"][1]


@pytest.mark.parametrize("model", ["cms-hcc-v24", "cms-hcc-v28"])
def test_under_65_without_a_stated_reason_a_member_is_disabled(tmp_path: Path, model: str) -> None:
    """Only a stated 0, by age, is not (AGESEXV2 of CMS's software)."""
    head = "member_id,age,sex,original_reason_entitlement_code,long_term_institutional_flag"
    rows = "".join(
        f"{name},60,F,{reason},1\n" for name, reason in (("a", ""), ("b", "1"), ("c", "0"))
    )
    codes = "member_id,diagnosis_code\n" + "".join(f"{name},I509\n" for name in "abc")
    found, _ = scored(tmp_path, f"{head}\n{rows}", codes, model=model)
    blank, disabled, by_age = map(Decimal, found["raw_score"])
    assert blank == disabled > by_age


def test_a_new_enrollee_of_64_is_in_the_cell_of_65_only_by_a_stated_reason(tmp_path: Path) -> None:
    head = "member_id,age,sex,original_reason_entitlement_code,new_enrollee"
    found, _ = scored(tmp_path, f"{head}\na,64,F,,1\nb,64,F,1,1\nc,64,F,0,1\n")
    blank, disabled, by_age = found["raw_score"]
    assert blank == disabled != by_age


def test_who_is_born_in_the_payment_year_is_0_years_old(tmp_path: Path) -> None:
    """B, of 5 March 2025, is no year old on 1 February: CMS's program sets a negative age to 0."""
    found, _ = scored(
        tmp_path,
        "member_id,birth_date,sex\nA,1950-02-01,F\nB,2025-03-05,F\n",
        "member_id,diagnosis_code,service_date\nA,I509,2024-03-01\n",
        model="cms-hcc-v24",
    )
    assert found["segment"].to_list() == ["CNA", "CND"]
    assert [Decimal(raw) for raw in found["raw_score"]] == [Decimal("0.782"), Decimal("0.241")]
