"""Segments of a licensed model by aid group and rate cell; codes of two categories."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ihp_compute.codes import AID_GROUPS, RATE_CELLS
from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.risk import imports
from ihp_compute.risk.member_facts import facts
from ihp_compute.risk.models import NOT_STATED, Members, asks, compile_model, licensed, segments_of
from ihp_compute.risk.models.audit import emitted
from ihp_compute.risk.score_files import Request, score_files
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.units import NO_DAY, day_of, month_of

PAGE = Path(__file__).parents[3] / "docs" / "method" / "licensed.md"
CODES = "system,code,category\nICD10,I509,HEART_HIGH\nICD10,I10,HEART_LOW\nICD10,J449,LUNG\n"
SEGMENT = '[[segments]]\nname = "{}"\n'
HEAD = """
version = "made up"
year = 2024
license = "own"
ladders = [["HEART_HIGH", "HEART_LOW"], ["LUNG"]]
[[cells]]
term = "woman"
sex = "F"
ages = [0, 128]
[[cells]]
term = "man"
sex = "M"
ages = [0, 128]
"""


def written(
    folder: Path, segments: Mapping[str, tuple[str, str]], codes: str = CODES, head: str = HEAD
) -> Path:
    """A model whose segments are NAME: (further lines, factor of all weights)."""
    folder.mkdir(exist_ok=True)
    text = head + "".join(
        SEGMENT.format(name) + more + "\n" for name, (more, _) in segments.items()
    )
    (folder / "model.toml").write_text(text)
    (folder / "codes.csv").write_text(codes)
    weights = ["segment,term,weight"]
    for name, (_, factor) in segments.items():
        for term, weight in zip(("HEART_HIGH", "HEART_LOW", "LUNG", "woman", "man"),
                                (1, 0.5, 0.25, 0.125, 0.125), strict=True):  # fmt: skip
            weights.append(f"{name},{term},{weight * float(factor)}")
    (folder / "weights.csv").write_text("\n".join(weights) + "\n")
    return folder


def scores_of(
    folder: Path, members: str, diagnoses: str, name: str = "ours"
) -> tuple[list[tuple[str | None, ...]], list[dict[str, object]]]:
    """Rows (id, segment, score) of `ihp score`, and who is without one."""
    imports.import_model(folder, name, model_store=folder / "s")
    (folder / "m.csv").write_text(members)
    (folder / "d.csv").write_text(diagnoses)
    report = score_files(
        Request(folder / "m.csv", folder / "d.csv", name, folder / "o.csv", store=folder / "s")
    )
    found = pl.read_csv(folder / "o.csv", infer_schema_length=0)
    return found.select("member_id", "segment", "score").rows(), report["without_score"]


BY_AID = {
    "AA": ('ages = [19, 65]\naid_groups = ["adult", "expansion"]', "1"),
    "AC": ('ages = [0, 19]\naid_groups = ["child"]', "0.5"),
    "DA": ('ages = [19, 65]\naid_groups = ["disabled"]', "2"),
    "DC": ('ages = [0, 19]\naid_groups = ["disabled"]', "4"),
}


def test_segments_are_told_apart_by_the_aid_group(tmp_path: Path) -> None:
    rows, without = scores_of(
        written(tmp_path / "m", BY_AID),
        "member_id,age,sex,aid_group\n1,43,F,disabled\n2,43,M,expansion\n3,10,M,Disabled\n"
        "4,10,F,child\n5,43,F,maternity\n6,43,F,\n",
        "member_id,diagnosis_code\n" + "".join(f"{i},I509\n" for i in range(1, 7)),
    )
    assert rows == [
        ("1", "DA", "2.250000"), ("2", "AA", "1.125000"), ("3", "DC", "4.500000"),
        ("4", "AC", "0.562500"), ("5", None, None), ("6", None, None),
    ]  # fmt: skip
    assert without == [{"reason": "no segment of the model fits", "members": 2, "first_row": 5}]


def test_a_rate_cell_names_its_aid_group(tmp_path: Path) -> None:
    rows, _ = scores_of(
        written(tmp_path / "m", BY_AID),
        "member_id,age,sex,rate_cell\n1,43,F,disabled_managed\n2,43,F,adult_ffs\n",
        "member_id,diagnosis_code\n",
    )
    assert [segment for _, segment, _ in rows] == ["DA", "AA"]


def test_members_without_the_facts_that_segments_ask_for_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "m", BY_AID)
    with pytest.raises(DataError, match="told apart by aid_group; expected a column aid_group"):
        scores_of(folder, "member_id,age,sex\n1,43,F\n", "member_id,diagnosis_code\n")
    rows, _ = scores_of(
        folder, "member_id,age,sex,segment\n1,43,F,DA\n", "member_id,diagnosis_code\n"
    )
    assert rows == [("1", "DA", "0.250000")]


@pytest.mark.parametrize(
    ("segments", "hidden"),
    [
        (
            {"AA": "ages = [19, 65]", "AC": "ages = [0, 19]", "DA": "ages = [19, 65]",
             "DC": "ages = [0, 19]"},
            {"DA": "hidden by AA before it", "DC": "hidden by AC before it"},
        ),
        (
            {"AA": "ages = [19, 65]", "AC": "ages = [0, 19]", "D": "ages = [10, 40]"},
            {"D": "hidden by AA and AC before it"},
        ),
        ({"ALL": "", "DA": 'aid_groups = ["disabled"]'}, {"DA": "hidden by ALL"}),
        (
            {"D": 'aid_groups = ["disabled", "adult"]', "A": 'aid_groups = ["adult"]'},
            {"A": "hidden by D"},
        ),
        (
            {**{cell: f'rate_cells = ["{cell}"]' for cell in RATE_CELLS},
             "AGAIN": 'rate_cells = ["disabled_ffs"]'},
            {"AGAIN": "hidden by disabled_ffs"},
        ),
        ({"ALL": "", "NONE": "aid_groups = []"}, {"NONE": "it fits nobody"}),
        ({"NONE": "ages = [30, 30]", "ALL": ""}, {"NONE": "it fits nobody"}),
    ],
)  # fmt: skip
def test_a_segment_that_no_member_can_be_of_is_refused(
    tmp_path: Path, segments: dict[str, str], hidden: dict[str, str]
) -> None:
    folder = written(tmp_path / "m", {name: (more, "1") for name, more in segments.items()})
    with pytest.raises(RiskModelError) as refused:
        compile_model(licensed.read(folder, "ours"))
    said = str(refused.value)
    assert re.findall(r"segment (\S+): no member", said) == list(hidden)
    assert not [why for why in hidden.values() if why not in said]


def test_the_same_tests_in_another_order_are_reached(tmp_path: Path) -> None:
    segments = {"DA": ('aid_groups = ["disabled"]', "2"), "ALL": ("", "1")}
    compile_model(licensed.read(written(tmp_path / "m", segments), "ours"))


def test_an_unknown_aid_group_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "m", {"D": ('aid_groups = ["11"]', "1")})
    with pytest.raises(RiskModelError, match="unknown aid_group '11'; use child, adult"):
        compile_model(licensed.read(folder, "ours"))


def people(aid: Sequence[int] | None, cell: Sequence[int] | None, n: int) -> Members:
    no = np.zeros(n, np.bool_)
    byte = np.zeros(n, np.uint8)
    return Members(
        age=np.full(n, 40, np.int16), sex=byte + 1, birth_day=np.full(n, NO_DAY, np.int32),
        months=byte + 12, original_reason=byte, dual_status=byte, medicaid=no, institutional=no,
        new_enrollee=no, special_needs=no, column=byte.astype(np.int16),
        csr=byte.astype(np.int16) - 1, segment=byte.astype(np.int16) - 1,
        aid_group=None if aid is None else np.array(aid, np.uint8),
        rate_cell=None if cell is None else np.array(cell, np.uint8),
    )  # fmt: skip


def test_each_aid_group_and_rate_cell_has_its_segment(tmp_path: Path) -> None:
    by_aid = {name: (f'aid_groups = ["{name}"]', "1") for name in AID_GROUPS}
    compiled = compile_model(licensed.read(written(tmp_path / "a", by_aid), "ours"))
    assert asks(compiled.model) == ("aid_group",)
    numbers = list(range(len(AID_GROUPS)))
    assert segments_of(compiled, people(numbers, None, len(numbers))).tolist() == numbers
    assert segments_of(compiled, people(None, None, 1)).tolist() == [-1]
    by_cell = {name: (f'rate_cells = ["{name}"]', "1") for name in RATE_CELLS}
    compiled = compile_model(licensed.read(written(tmp_path / "c", by_cell), "ours"))
    assert asks(compiled.model) == ("rate_cell",)
    numbers = list(range(len(RATE_CELLS)))
    assert segments_of(compiled, people(None, numbers, len(numbers))).tolist() == numbers


def two(more: str) -> str:
    return CODES.replace("category\n", "category,sex,age_low,age_high,first,last\n") + more


ALL = {"ALL": ("", "1")}


def test_a_code_of_two_categories_has_both_and_ladders_act_within_each(tmp_path: Path) -> None:
    """HEART_LOW 0.5 and LUNG 0.25 beside a woman's 0.125; with HEART_HIGH 1 the low one goes."""
    rows, _ = scores_of(
        written(tmp_path / "m", ALL, CODES + "ICD10,I27.8,LUNG\nICD10,I278,HEART_LOW\n"),
        "member_id,age,sex\n1,40,F\n2,40,F\n",
        "member_id,diagnosis_code\n1,I278\n2,I278\n2,I50.9\n",
    )
    assert [score for _, _, score in rows] == ["0.875000", "1.375000"]


def test_a_code_of_two_categories_of_one_ladder_counts_the_worse(tmp_path: Path) -> None:
    rows, _ = scores_of(
        written(tmp_path / "m", ALL, CODES + "ICD10,I110,HEART_LOW\nICD10,I110,HEART_HIGH\n"),
        "member_id,age,sex\n1,40,F\n",
        "member_id,diagnosis_code\n1,I110\n",
    )
    assert [score for _, _, score in rows] == ["1.125000"]


@pytest.mark.parametrize(
    ("more", "days"),
    [
        ("ICD10,J84,LUNG,,,,,\nICD10,J84,HEART_LOW,F,,,,\n",
         {("40", "F"): "0.875000", ("40", "M"): "0.375000"}),
        ("ICD10,J84,LUNG,,0,50,,\nICD10,J84,HEART_LOW,,30,70,,\n",
         {("29", "F"): "0.375000", ("30", "F"): "0.875000", ("49", "M"): "0.875000",
          ("50", "F"): "0.625000", ("70", "F"): "0.125000"}),
    ],
)  # fmt: skip
def test_rows_that_cross_give_both_where_both_fit(
    tmp_path: Path, more: str, days: dict[tuple[str, str], str]
) -> None:
    members = "".join(f"{i},{age},{sex}\n" for i, (age, sex) in enumerate(days))
    rows, _ = scores_of(
        written(tmp_path / "m", ALL, two(more)),
        "member_id,age,sex\n" + members,
        "member_id,diagnosis_code\n" + "".join(f"{i},J84\n" for i in range(len(days))),
    )
    assert [score for _, _, score in rows] == list(days.values())


def test_rows_that_cross_in_dates_give_both_on_days_of_both(tmp_path: Path) -> None:
    more = "ICD10,J84,LUNG,,,,,2024-06-30\nICD10,J84,HEART_LOW,,,,2024-04-01,\n"
    days = ("2024-03-31", "2024-04-01", "2024-06-30", "2024-07-01")
    rows, _ = scores_of(
        written(tmp_path / "m", ALL, two(more)),
        "member_id,age,sex\n" + "".join(f"{i},40,F\n" for i in range(4)),
        "member_id,diagnosis_code,service_date\n"
        + "".join(f"{i},J84,{day}\n" for i, day in enumerate(days)),
    )
    assert [score for _, _, score in rows] == ["0.375000", "0.875000", "0.875000", "0.625000"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("ICD10,J84,LUNG,,,,,\nICD10,J84,LUNG,,,,,\n", "line 6: .* stands in line 5 already"),
        ("ICD10,J84,LUNG,,,,,\nICD10,J.84,LUNG,,,,,\n", "line 6: .* stands in line 5 already"),
        (
            "ICD10,J84,HEART_HIGH,,0,50,,\nICD10,J84,HEART_LOW,,49,,,\n",
            "lines 5 and 6: rows of one code overlap .* to HEART_HIGH and HEART_LOW",
        ),
        ("ICD10,J84,LUNG,,0,50,,\nICD10,J84,LUNG,,49,,,\n", "lines 5 and 6"),
        ("ICD10,J84,LUNG,X,,,,\n", "line 5: code J84: expected sex"),
        ("ICD10,J84,LUNG,,50,40,,\n", "line 5: code J84: expected sex F, M or none, and age_low"),
        ("ICD10,J84,LUNG,,young,,,\n", "line 5: code J84: ages must be whole"),
        ("ICD10,J84,LUNG,,,,2024-02-30,\n", "line 5: code J84: '2024-02-30' is not a date"),
        ("ICD10,J84,LUNG,,,,2024-02-02,2024-02-01\n", "line 5: code J84: ends"),
        ("ICD10,,LUNG,,,,,\n", "line 5: code is blank"),
        ("ICD10,J84\n", "line 5: category is blank"),
    ],
)
def test_rows_of_which_one_would_be_meant_are_refused(
    tmp_path: Path, more: str, message: str
) -> None:
    with pytest.raises(RiskModelError, match=message):
        licensed.read(written(tmp_path / "m", ALL, two(more)), "ours")


@pytest.mark.parametrize(
    ("stated", "timing", "collection"),
    [
        ("", "", ""),
        ('timing = "concurrent"', "concurrent", "same_year"),
        ('timing = "prospective"', "prospective", "year_before"),
        ('collection = "year_before"', "prospective", "year_before"),
        ('timing = "concurrent"\ncollection = "same_year"', "concurrent", "same_year"),
    ],
)
def test_a_licensed_model_states_its_timing(
    tmp_path: Path, stated: str, timing: str, collection: str
) -> None:
    model = licensed.read(written(tmp_path / "m", ALL, head=f"{stated}\n{HEAD}"), "ours")
    assert (model.timing, model.collection) == (timing, collection)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ('timing = "concurrent"\ncollection = "year_before"', "state one of them"),
        ('collection = "last_year"', "collection 'last_year', expected one of same_year"),
        ('timing = "later"', "unknown timing 'later'"),
        ("minimum_months = 13", "minimum_months is 13"),
        ('newborn = "mother"', "unknown newborn rule 'mother'"),
        ('normalization = "0"', "must not be 0"),
        ('normalization = "one"', "normalization 'one' is not a number"),
    ],
)
def test_what_a_description_may_not_state(tmp_path: Path, stated: str, message: str) -> None:
    folder = written(tmp_path / "m", ALL, head=f"{stated}\n{HEAD}")
    with pytest.raises(RiskModelError, match=message):
        imports.import_model(folder, "ours", model_store=tmp_path / "s")


def test_the_example_of_the_page_is_a_model(tmp_path: Path) -> None:
    """The text of the page itself, with a weight for whatever its segments can have."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "model.toml").write_text(example)
    (tmp_path / "codes.csv").write_text(CODES)
    (tmp_path / "weights.csv").write_text("segment,term,weight\n")
    bare = licensed.read(tmp_path, "example")
    weights = [f"{s.name},{term},1" for s in bare.segments for term in emitted(bare, s)]
    (tmp_path / "weights.csv").write_text("segment,term,weight\n" + "\n".join(weights) + "\n")
    compiled = compile_model(licensed.read(tmp_path, "example"))
    model = compiled.model
    assert (model.timing, model.collection, model.minimum_months) == (
        "prospective", "year_before", 6,
    )  # fmt: skip
    aid = [AID_GROUPS.index(name) for name in ("disabled", "adult", "expansion", "child")]
    cell = [RATE_CELLS.index(f"{name}_managed") for name in ("disabled", "adult")]
    cell += [RATE_CELLS.index(f"{name}_ffs") for name in ("expansion", "child")]
    assert segments_of(compiled, people(aid, cell, 4)).tolist() == [1, 2, 3, -1]


@dataclass
class Enrolled:
    """A shard as `facts` sees it: women of 40 with one span of two years each."""

    n_members: int
    index: int = 0

    def offsets(self, _table: str) -> np.ndarray:
        return np.arange(self.n_members + 1)

    def column(self, table: str, name: str) -> np.ndarray:
        values = {
            "first_month": month_of(2023, 1),
            "n_months": 24,
            "sex": 1,
            "flags": 0,
            "dual_status": 255,
            "original_reason": 255,
            "birth_day": day_of(date(1984, 1, 1)),
        }
        return np.full(self.n_members, values[name], np.int64 if table == "spans" else np.int32)


def test_a_member_is_of_the_aid_group_and_rate_cell_of_most_months(tmp_path: Path) -> None:
    """Three and three months disabled are more than four adult; a tie goes to the first listed."""
    segments = {
        "D": ('aid_groups = ["disabled"]', "1"), "C": ('rate_cells = ["child_ffs"]', "1"),
        "ALL": ("", "1"),
    }  # fmt: skip
    compiled = compile_model(licensed.read(written(tmp_path / "m", segments), "ours"))
    months = np.zeros((len(RATE_CELLS), 4), np.int64)
    for member, cells in enumerate((
        {"disabled_ffs": 3, "disabled_managed": 3, "adult_ffs": 4},
        {"disabled_ffs": 6, "child_managed": 6},
        {},
        {"maternity_managed": 12},
    )):  # fmt: skip
        for cell, n in cells.items():
            months[RATE_CELLS.index(cell), member] = n
    found = facts(Enrolled(4), compiled, year=2024, months=months, terms=ScoreTerms())
    assert found.aid_group is not None
    assert found.rate_cell is not None
    names = [[of[i] if i != NOT_STATED else "" for i in column] for of, column in
             ((AID_GROUPS, found.aid_group), (RATE_CELLS, found.rate_cell))]  # fmt: skip
    assert names == [
        ["disabled", "child", "", "maternity"],
        ["adult_ffs", "child_managed", "", "maternity_managed"],
    ]


def test_a_model_that_asks_for_no_group_is_given_none(tmp_path: Path) -> None:
    compiled = compile_model(licensed.read(written(tmp_path / "m", ALL), "ours"))
    months = np.zeros((len(RATE_CELLS), 1), np.int64)
    found = facts(Enrolled(1), compiled, year=2024, months=months, terms=ScoreTerms())
    assert (found.aid_group, found.rate_cell) == (None, None)
