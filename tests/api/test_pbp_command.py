"""`ihp pbp`: what it says, what it writes, and with which code it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.api.conftest import Ihp

SET = """
[set]
name = "own"
[default]
contract = "mn-ihp-2.0-track-1"
[default.overrides]
"pbp.rate" = { value = 4.5, source = "agreement, p. 7" }
"pbp.social_weight.homelessness" = 0.25
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "set.toml"
    path.write_text(SET, encoding="utf-8")
    return path


def test_a_quarter_is_paid_and_written(ihp: Ihp, small_population: Path, own: Path) -> None:
    asked = ("pbp", small_population, "--quarter", "2024Q3", "--contracts", own)
    code, out, _ = ihp(*asked, "--out", "q3.parquet", "--json")
    document = json.loads(out)
    rows = pq.read_table("q3.parquet").to_pylist()
    assert (code, document["period"], document["rows"]) == (0, "2024Q3", len(rows))
    for name in ("member_months", "payment_cents", "offset_cents"):
        assert document[name] == sum(row[name] for row in rows)
    assert document["member_months"] == 3 * document["members"]["members"] > 0
    assert "pbp.rate (supplied)" in document["draft_terms"][0]

    code, _, said = ihp(*asked, "--out", "q3.parquet")
    assert (code, said[-1].endswith("choose another --out, or give --replace")) == (3, True)
    code, out, said = ihp(*asked, "--out", "q3.parquet", "--replace")
    assert (code, out.startswith("DRAFT TERMS: ")) == (0, True)
    assert said[-1] == f"q3.parquet: {len(rows)} rows"


def test_a_year_is_trued_up(ihp: Ihp, small_population: Path, own: Path) -> None:
    code, out, _ = ihp(
        "pbp", small_population, "--true-up", 2024, "--contracts", own, "--out", "up.csv", "--json"
    )
    document = json.loads(out)
    assert (code, document["period"]) == (0, "true-up of 2024")
    assert document["offset_cents"] > 0
    header, *_ = Path("up.csv").read_text(encoding="utf-8").splitlines()
    assert header.replace('"', "") == (
        "partnership_id,payer,n_members,member_months,payment_cents,payment_usd,"
        "offset_cents,offset_usd"
    )


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 2, "expected a quarter to pay or a year to true up"),
        (("--quarter", "2024Q1", "--true-up", "2024"), 2, "one of both"),
        (("--quarter", "2024Q7"), 2, "as in 2024Q3, got 2024Q7"),
        (("--quarter", "2031Q1"), 3, "people of 2031 are those of 2030"),
        (("--quarter", "2024Q1", "--accept", "nothing=at all"), 2, "no gate 'nothing'"),
    ],
)
def test_what_cannot_be_paid_is_refused(
    ihp: Ihp, small_population: Path, own: Path, more: tuple[str, ...], code: int, says: str
) -> None:
    found, _, said = ihp("pbp", small_population, *more, "--contracts", own, "--out", "q.csv")
    assert (found, says in " ".join(" ".join(said).replace("│", " ").split())) == (code, True)
    assert not Path("q.csv").exists()


def test_a_contract_shipped_has_no_amount_and_says_so(ihp: Ihp, small_population: Path) -> None:
    code, _, said = ihp(
        "pbp", small_population, "--quarter", "2024Q1",
        "--contracts", "mn-ihp-2.0-track-1", "--out", "q.csv",
    )  # fmt: skip
    assert code == 3
    assert "pbp.rate: found none in 2024 for every partnership" in said[-1]
    assert "no amount is public" in said[-1]
