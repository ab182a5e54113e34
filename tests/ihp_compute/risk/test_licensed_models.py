"""Tables that only their licensee may load, and weights of imported cells."""

from pathlib import Path

import pytest

from ihp_compute.errors import RiskModelError
from ihp_compute.risk import cell_weights, imports
from ihp_compute.risk.models import licensed
from ihp_compute.risk.score_files import Request, score_files

DESCRIPTION = """
version = "example 1"
year = 2024
license = "a licence held by this agency"
segments = [{ name = "children", ages = [0, 18] }, { name = "adults", ages = [18, 128] }]
cells = [
  { term = "young_f", sex = "F", ages = [0, 18] }, { term = "young_m", sex = "M", ages = [0, 18] },
  { term = "grown_f", sex = "F", ages = [18, 128] },
  { term = "grown_m", sex = "M", ages = [18, 128] },
]
ladders = [["HEART_HIGH", "HEART_LOW"], ["LUNG"]]
[[interactions]]
term = "HEART_LUNG"
all_of = [["HEART_HIGH", "HEART_LOW"], ["LUNG"]]
segments = ["adults"]
"""
CODES = "system,code,category\nICD10,I50.9,HEART_HIGH\nICD10,I10,HEART_LOW\nICD10,J449,LUNG\n"
CONDITIONS = ("HEART_HIGH", "HEART_LOW", "LUNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "tables"
    here.mkdir()
    (here / "model.toml").write_text(DESCRIPTION)
    (here / "codes.csv").write_text(CODES)
    weights = ["segment,term,weight"]
    for segment, stem in (("children", "young"), ("adults", "grown")):
        weights += [f"{segment},{stem}_{sex},0.5" for sex in "fm"]
        weights += [
            f"{segment},{name},{w}" for name, w in zip(CONDITIONS, (2, 1, 0.25), strict=True)
        ]
    weights.append("adults,HEART_LUNG,0.125")
    (here / "weights.csv").write_text("\n".join(weights) + "\n")
    return here


def test_a_licensed_model_scores_by_ladders_and_interactions(folder: Path, tmp_path: Path) -> None:
    imports.import_model(folder, "ours", model_store=tmp_path / "s")
    (tmp_path / "m.csv").write_text("member_id,age,sex\na,40,F\nb,10,M\nc,40,M\n")
    (tmp_path / "d.csv").write_text(
        "member_id,diagnosis_code\na,I509\na,I10\na,J44.9\nb,I10\nb,J449\n"
    )
    score_files(Request(tmp_path / "m.csv", tmp_path / "d.csv", "ours", tmp_path / "o.csv",
                        store=tmp_path / "s"))  # fmt: skip
    rows = (tmp_path / "o.csv").read_text().splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["2.875000", "1.750000", "0.500000"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("model.toml", 'license = "a licence held by this agency"', 'license = ""', "license"),
        ("model.toml", "ladders", "ladder", "ladder"),
        ("model.toml", '["LUNG"]]\n', '["LIVER"]]\n', "unknown: LIVER"),
        ("codes.csv", "category", "group", "no column category"),
        ("weights.csv", "adults,LUNG,0.25\n", "", "LUNG can be set but has no coefficient"),
        ("weights.csv", "adults,LUNG", "adults,LIVER", "adults/LIVER: unknown term"),
        ("weights.csv", "adults,LUNG,0.25\n", "adults,LUNG,0.25\nadults,LUNG,0.3\n", "2 times"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(
    folder: Path, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RiskModelError, match=message):
        imports.import_model(folder, "ours", model_store=tmp_path / "s")


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("99999999999999999999", "line 5: weight of children/LUNG: 9+ is not within 100,000"),
        ("1e400", "line 5: weight of children/LUNG: 1e400 is not within 100,000"),
        ("1e999999999", "not within 100,000"),
        ("NaN", "NaN is not within"),
        ("-Infinity", "not within"),
        ("", "line 5: weight is blank"),
        ("0.0000001", "below a millionth"),
        ("a lot", "'a lot' is not a number"),
    ],
)
def test_a_weight_that_no_score_can_hold_is_refused_by_its_line(
    folder: Path, tmp_path: Path, weight: str, message: str
) -> None:
    path = folder / "weights.csv"
    rows = [line for line in path.read_text().splitlines() if not line.startswith("children,LUNG")]
    rows.insert(4, f"children,LUNG,{weight}")
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(RiskModelError, match=message):
        imports.import_model(folder, "ours", model_store=tmp_path / "s")


def test_no_licensed_table_ships() -> None:
    shipped = {path.name for path in Path(licensed.__file__).parent.iterdir() if path.is_file()}
    assert {name for name in shipped if not name.endswith(".py")} == {
        "cms_hcc_program.json", "cms_hcc_retired_codes.json", "hhs_hcc_program.json",
    }  # fmt: skip


def test_cell_weights_have_effective_years(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("cell,weight,first_year,last_year\n0100,1.5,2022,2023\n0100,1.75,2024,\n")
    table = cell_weights.read(path)
    assert [(w.cell, w.weight_micro, w.first_year) for w in table.weights] == [
        ("0100", 1_500_000, 2022), ("0100", 1_750_000, 2024),
    ]  # fmt: skip
    report = imports.import_model(path, "acg", model_store=tmp_path / "s")
    assert report["counts"]["cell_weights"] == 2
    assert cell_weights.is_cells("acg", store=tmp_path / "s")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0100,1.5,2022,2024\n0100,1.75,2024,\n", "two weights in a year"),
        ("0100,much,,\n", "not a number"),
        ("0100,-1,,\n", "-1 is not from 0 to 100,000"),
        ("0100,1,2024,2023\n", "years in order"),
        (
            "0100,99999999999999999999,,\n",
            "line 2: cell '0100': 99999999999999999999 is not from 0 to 100,000",
        ),
        ("0100,1e400,,\n", "from 0 to 100,000"),
        ("0100,Infinity,,\n", "from 0 to 100,000"),
        ("0100,NaN,,\n", "from 0 to 100,000"),
        ("0100,1e999999999,,\n", "from 0 to 100,000"),
        ("0100,sNaN,,\n", "from 0 to 100,000"),
        ("0100,100000.000001,,\n", "100000.000001 is not from 0 to 100,000"),
        ("0100,0.0000001,,\n", "line 2: cell '0100': 0.0000001 is below a millionth"),
        ("0100,1.0000000000000000000000000000000001,,\n", "below a millionth"),
        ("0100,,,\n", "line 2: weight is blank"),
        (" ,1,,\n", "line 2: cell is blank"),
        ("0100,1,,\n\n0200,2,,\n0100,3,,\n", "line 5: cell '0100' has two weights in a year"),
        ("0100,1,2020.5,\n", "line 2: cell '0100': .*whole years or none"),
        ("0100,1,,,7\n", "line 2: more values than columns"),
        ("", "and rows"),
    ],
)
def test_cell_weights_that_contradict_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("cell,weight,first_year,last_year\n" + rows)
    with pytest.raises(RiskModelError, match=message):
        cell_weights.read(path)


def test_a_weight_is_dated_by_no_other_column(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("year,cell,weight\n2024,0100,1.75\n")
    with pytest.raises(
        RiskModelError, match="found the columns year, expected cell, weight, first"
    ):
        cell_weights.read(path)
