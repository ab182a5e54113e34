"""`ihp score` on files: columns, aliases, text codes, refusals, counts and explanations."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.risk.models import cms_hcc, store
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
        ("member_id,age,sex,Sex\n1,70,M,F\n", "found column sex twice"),
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


COMMUNITY = "member_id,birth_date,sex,original_reason_entitlement_code,dual_status_code\n"
TWO = COMMUNITY + "D,1961-02-01,F,1,00\nA,1950-02-01,F,0,00\n"


def coded(*rows: str) -> str:
    return "member_id,diagnosis_code,service_date\n" + "".join(f"{row}\n" for row in rows)


def both(year: int) -> str:
    return coded(f"A,I50.9,{year}-05-05", f"A,E11.9,{year}-05-05")


def raw_and_score(found: pl.DataFrame) -> dict[str, tuple[str, str, str]]:
    return {
        row["member_id"]: (row["segment"], row["raw_score"][:5], row["score"][:5])
        for row in found.iter_rows(named=True)
    }


def test_diagnoses_of_a_year_are_scored_as_the_payment_year_after_it(tmp_path: Path) -> None:
    """Codes of 2024: 64 on 1 February 2025, 0.436 / 1.045 x 0.941, rounded at each step."""
    found, report = scored(tmp_path, TWO, both(2024))
    assert (report["year"], report["payment_year"]) == (2024, 2025)
    assert "payment year 2025" in report["version"]
    assert raw_and_score(found) == {
        "D": ("CND", "0.436", "0.392"), "A": ("CNA", "1.103", "0.994"),
    }  # fmt: skip


def test_a_payment_year_asked_for_overrules_that_of_the_diagnoses(tmp_path: Path) -> None:
    """65 on 1 February 2026, and 1.067."""
    found, report = scored(tmp_path, TWO, both(2024), payment_year=2026)
    assert raw_and_score(found)["D"] == ("CNA", "0.558", "0.492")
    assert raw_and_score(found)["A"] == ("CNA", "1.103", "0.973")
    assert "codes of 2024 are scored as payment year 2026, as asked for" in report["notes"]
    named, _ = scored(tmp_path, TWO, both(2024), model="cms-hcc-v28@2026")
    assert named.equals(found)
    with pytest.raises(RiskModelError, match="leave one of them out"):
        scored(tmp_path, TWO, both(2024), model="cms-hcc-v28@2026", payment_year=2025)


@pytest.mark.parametrize(
    ("model", "year", "have"),
    [
        ("cms-hcc-v28", 2022, "2024, 2025, 2026, 2027"),
        ("cms-hcc-v24", 2025, "2022, 2023, 2024, 2025"),
        ("cms-hcc-blend", 2020, "2022, 2023, 2024, 2025, 2026, 2027"),
    ],
)
def test_a_payment_year_without_map_and_factors_is_refused_by_name(
    tmp_path: Path, model: str, year: int, have: str
) -> None:
    with pytest.raises(RiskModelError, match=f"payment year {year + 1}, .*there are {have}"):
        scored(tmp_path, TWO, both(year), model=model)


@pytest.mark.parametrize(
    ("year", "v24", "v28"), [(2023, "0.67", "0.33"), (2024, "0.33", "0.67"), (2025, "0", "1"),
                             (2022, "1", "0")],
)  # fmt: skip
def test_a_blend_takes_the_shares_of_its_payment_year(
    tmp_path: Path, year: int, v24: str, v28: str
) -> None:
    """Each model with its own factors and rounding; the sum of the shares is rounded once more."""
    blended, report = scored(tmp_path, TWO, both(year), model="cms-hcc-blend", explain=True)
    alone = {}
    for model, share in (("cms-hcc-v24", v24), ("cms-hcc-v28", v28)):
        alone[model] = [Decimal(0)] * 2
        if Decimal(share):
            found, _ = scored(tmp_path, TWO, both(year), model=model)
            alone[model] = [Decimal(score) for score in found["score"]]
    expected = [
        (Decimal(v24) * old + Decimal(v28) * new).quantize(Decimal("0.001"), "ROUND_HALF_UP")
        for old, new in zip(alone["cms-hcc-v24"], alone["cms-hcc-v28"], strict=True)
    ]
    assert [Decimal(score) for score in blended["score"]] == expected
    if Decimal(v24) and Decimal(v28):
        assert [Decimal(score) for score in blended["score_v24"]] == alone["cms-hcc-v24"]
        assert [Decimal(score) for score in blended["score_v28"]] == alone["cms-hcc-v28"]
        assert report["counts"]["cms-hcc-v24_icd10_mapped"] == 2
        assert report["model"] == "cms-hcc-blend"


@pytest.mark.parametrize("model", ["cms-hcc-v24", "cms-hcc-v28@2025", "cms-hcc-blend"])
def test_codes_of_years_that_no_dated_map_reaches_are_refused_by_name(
    tmp_path: Path, model: str
) -> None:
    with pytest.raises(RiskModelError, match=r"codes of 2017 .* codes of 2018 and later"):
        scored(tmp_path, TWO, both(2017), model=model, payment_year=2025)
    _, report = scored(tmp_path, TWO, both(2018), model=model, payment_year=2025)
    assert report["year"] == 2018
    with pytest.raises(RiskModelError, match=r"codes of 2017 .* codes of 2018 and later"):
        scored(tmp_path, TWO, both(2018), model=model, payment_year=2025, year=2017)


def test_a_blend_of_codes_without_dates_needs_a_payment_year(tmp_path: Path) -> None:
    undated = "member_id,diagnosis_code\nA,I509\n"
    with pytest.raises(RiskModelError, match="no row has a service date"):
        scored(tmp_path, TWO, undated, model="cms-hcc-blend")
    _, report = scored(tmp_path, TWO, undated, model="cms-hcc-blend", payment_year=2025)
    assert report["payment_year"] == 2025


def test_codes_without_dates_are_scored_as_the_models_last_payment_year_and_say_so(
    tmp_path: Path,
) -> None:
    _, report = scored(tmp_path, TWO, "member_id,diagnosis_code\nA,I509\n")
    assert (report["year"], report["payment_year"]) == (None, 2026)
    assert any("no row has a service date: payment year 2026" in note for note in report["notes"])


@pytest.mark.parametrize(
    ("members", "diagnoses", "message"),
    [
        (TWO, coded("A,I509,2024-01-01", "A,C61,2152-01-01"),
         r"diagnoses.csv: 1 rows have a service_date in the future, the first in row 2"),
        (COMMUNITY + "A,1950-02-01,F,0,00\nB,2950-02-01,F,0,00\n", both(2024),
         r"members.csv: 1 rows have a birth_date in the future, the first in row 2"),
    ],
)  # fmt: skip
def test_a_date_in_the_future_is_refused_with_its_row(
    tmp_path: Path, members: str, diagnoses: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scored(tmp_path, members, diagnoses)


def test_rows_of_the_commonest_year_count_and_others_are_named(tmp_path: Path) -> None:
    """The latest date does not pick the map, and other years' codes do not add up."""
    rows = coded("A,I509,2023-12-31", "A,E119,2024-01-01", "A,E119,2024-12-31", "A,C61,2025-01-01",
                 "A,C61,2015-05-05")  # fmt: skip
    found, report = scored(tmp_path, TWO, rows)
    alone, _ = scored(tmp_path, TWO, coded("A,E119,2024-01-01"))
    assert found.equals(alone)
    assert report["year"] == 2024
    assert report["other_years"] == {"2015": 1, "2023": 1, "2025": 1}
    assert any(
        "rows of 2015 (1), 2023 (1), 2025 (1) do not count: those of 2024 do" in note
        for note in report["notes"]
    )
    stated, report = scored(tmp_path, TWO, rows, year=2025)
    assert report["payment_year"] == 2026
    assert stated["raw_score"].to_list() != found["raw_score"].to_list()


def test_of_two_years_as_common_the_later_counts(tmp_path: Path) -> None:
    rows = coded("A,I509,2023-02-01", "A,E119,2024-02-01")
    assert scored(tmp_path, TWO, rows)[1]["year"] == 2024


def test_who_cannot_be_scored_is_named_with_one_reason_and_the_others_are_scored(
    tmp_path: Path,
) -> None:
    members = (
        "member_id,age,sex,segment\nno-age,,,\nfine,70,F,\nno-sex,70,,\nyoung,40,M,CNA\n"
        "other,71,M,\n"
    )
    rows = "member_id,diagnosis_code\nno-age,I509\nother,I509\nfine,E119\nnobody,E119\n"
    found, report = scored(tmp_path, members, rows)
    assert report["without_score"] == [
        {"reason": reason, "members": 1, "first_row": row}
        for reason, row in (
            ("age is unknown", 1), ("sex is unknown", 3),
            ("the segment has no coefficients for this age", 4),
        )
    ]  # fmt: skip
    assert report["counts"]["members_without_score"] == 3
    assert report["counts"]["icd10_rows_of_unscored_members"] == 1
    assert report["counts"]["icd10_rows_without_member"] == 1
    listed = pl.read_csv(tmp_path / "out.unscored.csv", infer_schema_length=0)
    assert listed["member_id"].to_list() == ["no-age", "no-sex", "young"]
    assert not any("no-age" in note for note in report["notes"])
    alone, _ = scored(tmp_path, "member_id,age,sex\nfine,70,F\nother,71,M\n", rows)
    assert found.drop_nulls("score").equals(alone)
    assert found["member_id"].to_list() == ["no-age", "fine", "no-sex", "young", "other"]
    assert not (tmp_path / "out.unscored.csv").exists()


def test_a_file_of_nobody_who_can_be_scored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nobody can be scored: 2 members: age is unknown \(first"):
        scored(tmp_path, "member_id,age,sex\na,,F\nb,,\n")


@pytest.mark.parametrize("model", ["cms-hcc-v24", "cms-hcc-v28", "cms-hcc-blend"])
def test_codes_of_adults_do_not_count_for_children_unless_switched_off(
    tmp_path: Path, model: str
) -> None:
    members = "member_id,age,sex,original_reason_entitlement_code\nA,10,F,1\n"
    rows = coded("A,I70231,2024-03-01", "A,C9150,2024-03-01")
    found, report = scored(tmp_path, members, rows, model=model)
    none, _ = scored(tmp_path, members, coded("A,Z000,2024-03-01"), model=model)
    assert found.equals(none)
    edited = [n for key, n in report["counts"].items() if key.endswith("icd10_edited")]
    assert set(edited) == {2}
    assert not any("--code-edits" in note for note in report["notes"])
    off, _ = scored(tmp_path, members, rows, model=model, code_edits=False)
    assert Decimal(off["raw_score"][0]) > Decimal(none["raw_score"][0])


def test_an_option_without_effect_says_so(tmp_path: Path) -> None:
    """A small model of one map, without edits, hierarchies and drugs."""
    plain = msgspec.structs.replace(
        (model := cms_hcc.build("cms-hcc-v28", 2026)),
        name="plain", family="ours", post_steps=(), hierarchies=(),
        rules=tuple(msgspec.structs.replace(rule, edit_age=None) for rule in model.rules),
        steps=tuple(step for step in model.steps if step.op != "HIER"),
    )  # fmt: skip
    store.save(plain, "plain", store=tmp_path / "s", about={})
    (tmp_path / "drugs.csv").write_text("member_id,ndc_code\nA,00002-7510-01\n")
    _, report = scored(
        tmp_path, TWO, both(2024), model="plain", store=tmp_path / "s", payment_year=2025,
        hierarchies="simultaneous", drugs=tmp_path / "drugs.csv",
    )  # fmt: skip
    said = " ".join(report["notes"])
    for option in ("--code-edits", "--hierarchies", "--drugs", "--payment-year"):
        assert f"{option} changes nothing" in said
    assert "codes of 2024 are scored by a model of 2026" in said
    assert report["payment_year"] is None
