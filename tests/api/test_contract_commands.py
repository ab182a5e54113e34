"""`ihp settle` and `ihp contracts`, as a person at a terminal meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app
from ihp_compute import contracts
from ihp_compute.contracts.files import FOLDER
from ihp_compute.contracts.vocabulary import KINDS, NAMED
from ihp_compute.errors import ContractError, DataError

runner = CliRunner()
Ihp = Callable[..., tuple[int, str, list[str]]]
ROWS = """partnership_id,n_members,target_usd,observed_usd,quality_score,settlement.gain.share
North,12000,60000000,57000000,1,0.4
South,12000,60000000,63000000,1,
"""


@pytest.fixture
def aggregates(tmp_path: Path) -> Path:
    path = tmp_path / "aggregates.csv"
    path.write_text(ROWS)
    return path


def test_settle_names_draft_terms_first_and_shows_every_payment(
    aggregates: Path, tmp_path: Path
) -> None:
    out = tmp_path / "settled.csv"
    done = runner.invoke(
        app, ["settle", str(aggregates), "--contract", "mn-ihp-2.0-track-2", "--out", str(out)]
    )
    assert done.exit_code == 0
    first, *rest = done.stdout.splitlines()
    assert first.startswith("DRAFT TERMS: ")
    assert " recalled, assumed or supplied in mn-ihp-2.0-track-2: settlement." in first
    assert any("North" in line and "$1,200,000.00" in line for line in rest)
    assert any("South" in line and "-$1,500,000.00" in line for line in rest)
    header, north, south = out.read_text().splitlines()
    assert header.endswith('"payment_usd"')
    assert north.endswith(",1200000")
    assert south.endswith(",-1500000")


def test_settle_replaces_a_result_only_when_asked(aggregates: Path, tmp_path: Path) -> None:
    out = tmp_path / "settled.csv"
    arguments = ["settle", str(aggregates), "--contract", "mn-ihp-2.0-track-2", "--out", str(out)]
    assert runner.invoke(app, arguments).exit_code == 0
    held = out.read_text()
    out.write_text("a record")
    refused = runner.invoke(app, arguments)
    assert isinstance(refused.exception, DataError)
    assert str(refused.exception).endswith("choose another --out, or give --replace")
    assert out.read_text() == "a record"
    assert runner.invoke(app, [*arguments, "--replace"]).exit_code == 0
    assert out.read_text() == held


def test_settle_prints_one_json_document(aggregates: Path, tmp_path: Path) -> None:
    out = tmp_path / "settled.parquet"
    arguments = ["settle", str(aggregates), "--contract", "mn-ihp-1.0", "--out", str(out), "--json"]
    document = json.loads(runner.invoke(app, arguments).stdout)
    assert document["rows"] == 2
    assert document["payment_cents"] == 120_000_000 - 150_000_000
    assert out.is_file()


def test_a_wrong_row_is_one_line_and_exit_3(ihp: Ihp, tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(ROWS.replace("63000000", "-1"))
    out = tmp_path / "out.csv"
    said = "ihp: wrong.csv: row 2, observed_usd: found -1, expected dollars of at least 0"
    assert ihp("settle", path, "--contract", "mn-ihp-1.0", "--out", out) == (3, "", [said])
    assert not out.exists()


def test_every_shipped_contract_is_listed() -> None:
    text = runner.invoke(app, ["contracts", "list"]).stdout
    found = json.loads(runner.invoke(app, ["contracts", "list", "--json"]).stdout)
    assert [entry["name"] for entry in found] == contracts.names()
    assert all(name in text for name in contracts.names())


@pytest.mark.parametrize("name", contracts.names())
def test_every_contract_can_be_read(name: str) -> None:
    """Steps in order, each value with unit, dates, basis and page, and an example in dollars."""
    done = runner.invoke(app, ["contracts", "show", name])
    assert done.exit_code == 0, done.exception
    lines = done.stdout.splitlines()
    steps = [line.split(": ")[1] for line in lines if line.startswith("Step ")]
    assert tuple(steps) == contracts.load(name).at(None).steps
    assert any(line.startswith("Example: 12,000 members, target $60,000,000") for line in lines)
    assert any("a gain of 5 %: savings $3,000,000.00 (+5.00%)" in line for line in lines)
    assert any("settlement.gain.share" in line for line in lines)


def test_the_shown_document_holds_every_dated_value() -> None:
    found = json.loads(
        runner.invoke(app, ["contracts", "show", "cms-reach-global", "--json"]).stdout
    )
    discounts = [term for term in found["terms"] if term["path"] == "target.policy.discount"]
    assert [term["value"] for term in discounts] == ["0.98", "0.97", "0.965"]
    assert discounts[0]["holds"] == "from 2021-01-01 until 2022-12-31"
    assert [row["payment_usd"] for row in found["example"]] == [2_940_000, -3_000_000]


def test_a_contract_of_another_year_shows_that_year() -> None:
    done = runner.invoke(app, ["contracts", "show", "cms-reach-global", "--year", "2026"])
    assert "no quality score, 2026" in done.stdout
    refused = runner.invoke(app, ["contracts", "show", "cms-reach-global", "--year", "2019"])
    assert isinstance(refused.exception, ContractError)


def test_a_user_s_contract_is_checked(ihp: Ihp, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = 'name = "mine"\ntitle = "Mine"\nprogramme = "test"\nextends = "mn-ihp-1.0"\n'
    path.write_text(text)
    done = runner.invoke(app, ["contracts", "check", str(path)])
    assert "mine.toml: contract mine is well formed" in done.stdout
    path.write_text(text + "[settlement.gain.share]\nvalue = 2\n")
    said = "ihp: mine.toml: settlement.gain.share: found no unit"
    assert ihp("contracts", "check", path) == (3, "", [said])


def test_an_honest_copy_has_a_name_of_its_own(ihp: Ihp, tmp_path: Path) -> None:
    made = ["contracts", "new", "mn-ihp-1.0-virtual", "--as", "north-2025", "--in", str(tmp_path)]
    document = json.loads(runner.invoke(app, [*made, "--json"]).stdout)
    assert document["file"] == str(tmp_path / "north-2025.toml")
    copy, original = contracts.load(document["file"]), contracts.load("mn-ihp-1.0-virtual")
    assert copy.name == "north-2025"
    assert copy.terms == original.terms
    assert copy.documents == original.documents
    said = (
        f"ihp: {tmp_path / 'north-2025.toml'}: is there already and will not be overwritten; "
        "choose another name"
    )
    assert ihp(*made) == (3, "", [said])


@pytest.mark.parametrize("name", ["mn-ihp-1.0", "MN-IHP-1.0", "unbound", "north 2025", "../x", ""])
def test_a_copy_does_not_take_a_name_that_is_known_or_no_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContractError, match="--as"):
        contracts.copy("mn-ihp-1.0", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_copy_of_a_user_s_file_names_what_it_extends_from_its_own_folder(tmp_path: Path) -> None:
    first, elsewhere = tmp_path / "first", tmp_path / "elsewhere"
    first.mkdir()
    elsewhere.mkdir()
    contracts.copy("mn-ihp-1.0", "root", first)
    (first / "own.toml").write_text(
        'name = "own"\ntitle = "t"\nprogramme = "p"\nextends = "root.toml"\n'
    )
    _, made = contracts.copy(str(first / "own.toml"), "other", elsewhere)
    assert made.terms == contracts.load(first / "own.toml").terms


def test_an_unknown_contract_suggests_its_neighbours(ihp: Ihp) -> None:
    left, _, said = ihp("contracts", "show", "cms-msp-track-1")
    assert left == 3
    assert "did you mean cms-mssp-track-1" in said[0]


def test_every_path_is_listed_with_what_it_may_be() -> None:
    found = json.loads(runner.invoke(app, ["contracts", "paths", "--json"]).stdout)
    named = [f"{prefix}NAME" for prefix in NAMED]
    assert [entry["path"] for entry in found] == [*KINDS, *named]
    assert all(entry["meaning"] and entry["expected"] for entry in found)
    assert "settlement.gain.share  [ratio]" in runner.invoke(app, ["contracts", "paths"]).stdout


def test_the_guide_s_examples_load(tmp_path: Path) -> None:
    """Every TOML block of the guide to term files is a contract or a set that checks."""
    guide = (FOLDER / "README.md").read_text()
    blocks = guide.split("```toml\n")[1:]
    assert len(blocks) == 3
    (tmp_path / "north_2025.toml").write_text(blocks[0].split("```")[0])
    (tmp_path / "state.toml").write_text(blocks[1].split("```")[0])
    (tmp_path / "alliance.toml").write_text(blocks[2].split("```")[0])
    assert contracts.check(tmp_path / "north_2025.toml")["kind"] == "contract"
    assert contracts.check(tmp_path / "state.toml", 2025)["kind"] == "set"
    assert contracts.check(tmp_path / "alliance.toml", 2012)["kind"] == "set"
