"""Gates that a run judges, what of it is kept, and what it hands on from its population."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ihp_compute.data_quality import DATA_QUALITY, GateTerms
from ihp_compute.errors import AcceptanceError, GateError, RunError
from ihp_compute.explain import explain_partnership
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.population.shards import open_population
from ihp_compute.results import request_of
from ihp_compute.results.verify import verify_run
from ihp_compute.runner import LocalRunner

CONTRACT = "mn-ihp-2.0-track-2"
AMENDED = {"inconsistent": "amendment 2 lowers the cap"}
NO_DRUGS = {"missing_claim_table": "drugs are carved out"}
LOWERED_CAP = f"""
name = "ours"
title = "A cap that is lowered between base and performance year"
programme = "test"
extends = "{CONTRACT}"
[sources.own]
title = "own"
[cost.claim_cap]
unit = "USD per member per year"
basis = "contract"
source = {{ doc = "own", at = "p. 1" }}
values = [
  {{ value = 100000, from = 2013-01-01, until = 2023-12-31 }},
  {{ value = 50000, from = 2024-01-01 }},
]
"""


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("terms") / "ours.toml"
    path.write_text(LOWERED_CAP, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def without_drugs(raw_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small state without its table of drugs, which was accepted."""
    root = tmp_path_factory.mktemp("without-drugs")
    raw = Path(shutil.copytree(raw_state, root / "raw"))
    shutil.rmtree(raw / "pharmacy_claim")
    ingest(raw, root / "population", shards=2, gates=GateTerms(accept=NO_DRUGS))
    return root / "population"


@pytest.fixture(scope="module")
def accepted(
    without_drugs: Path, lowered: str, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    request = RunRequest(without_drugs, (lowered,), replicates=2, programme="none", accept=AMENDED)
    return run(request, tmp_path_factory.mktemp("accepted") / "run", LocalRunner(1))


def test_terms_that_differ_between_the_years_are_refused_and_named(
    small_population: Path, lowered: str, tmp_path: Path
) -> None:
    with pytest.raises(GateError) as refused:
        run(
            RunRequest(small_population, (lowered,), replicates=0, programme="none"),
            tmp_path / "run",
        )
    said = str(refused.value)
    assert "ours: cost of 2023 and 2024, 25 partnerships" in said
    assert "attribution of" not in said
    assert "--accept inconsistent=REASON" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("accept", "says"),
    [
        (AMENDED, r"accepted, and did not trip: inconsistent"),
        ({"thin_month": "A closed"}, r"'thin_month' judges an ingest, not a run"),
        ({"no_such": "why"}, r"no gate 'no_such'; the gates of a run are inconsistent"),
        ({"inconsistent": " "}, r"a reason is needed"),
    ],
)
def test_what_is_no_gate_of_a_run_or_did_not_trip_cannot_be_accepted(
    small_population: Path, tmp_path: Path, accept: dict[str, str], says: str
) -> None:
    request = RunRequest(
        small_population, (CONTRACT,), replicates=0, programme="none", accept=accept
    )
    with pytest.raises(AcceptanceError, match=says):
        run(request, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_keeps_what_its_population_noticed_and_what_it_noticed_itself(
    accepted: Outcome, without_drugs: Path
) -> None:
    kept = pq.read_table(accepted.run_dir / "data_quality.parquet")
    before = open_population(without_drugs).data_quality()
    assert kept.schema.equals(DATA_QUALITY.arrow)
    own = [row for row in kept.to_pylist() if row not in before.to_pylist()]
    assert [(row["finding"], row["tripped"], row["accepted"]) for row in own if row["gate"]] == [
        ("inconsistent_terms", True, AMENDED["inconsistent"]),
        *(("unscored_months", False, "") for row in own if row["finding"] == "unscored_months"),
    ]
    assert kept.num_rows == before.num_rows + len(own)
    assert {row["gate"]: row["accepted"] for row in kept.to_pylist() if row["tripped"]} == {
        **AMENDED,
        **NO_DRUGS,
    }


def test_what_was_accepted_is_in_the_manifest_and_among_the_first_lines(accepted: Outcome) -> None:
    manifest = json.loads((accepted.run_dir / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["accept"] == AMENDED
    said = [line for line in accepted.headlines if line.startswith("gate ")]
    assert [line.split("; reason: ")[1] for line in said] == [
        NO_DRUGS["missing_claim_table"],
        AMENDED["inconsistent"],
    ]


def test_the_report_names_what_was_accepted_before_any_result(accepted: Outcome) -> None:
    page = (accepted.run_dir / "report.html").read_text(encoding="utf-8")
    first, _ = page.split('<dl class="big">')
    for reason in (*AMENDED.values(), *NO_DRUGS.values()):
        assert f"<q>{reason}</q>" in first
    assert "Attribution, service list, cap and amount basis are the same" in page
    assert f"accepted because <q>{AMENDED['inconsistent']}</q>" in page


def test_what_was_noticed_moves_no_digest_and_cannot_be_changed_unnoticed(
    accepted: Outcome, tmp_path: Path
) -> None:
    assert verify_run(accepted.run_dir) == accepted.digest
    copy = Path(shutil.copytree(accepted.run_dir, tmp_path / "run"))
    path = copy / "data_quality.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(RunError, match=r"data_quality\.parquet: missing or changed"):
        verify_run(copy)


def test_an_accepted_run_is_made_again_and_explained(accepted: Outcome) -> None:
    manifest = json.loads((accepted.run_dir / "manifest.json").read_text(encoding="utf-8"))
    assert request_of(manifest).accept == AMENDED
    partnership = accepted.settlement[0]["partnership_id"]
    assert explain_partnership(accepted.run_dir, partnership)
