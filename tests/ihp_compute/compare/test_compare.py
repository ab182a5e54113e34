"""What two runs were asked otherwise, and the dollars between them, to the cent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.compare import STATE, asked_otherwise, dollar_walks, terms_otherwise
from ihp_compute.errors import RunError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.results import WALK, read_manifest


@pytest.fixture(scope="module")
def runs(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same people under two contracts and two cutoffs."""
    folder = tmp_path_factory.mktemp("compared")
    made = []
    for name, contract, terms in (
        ("a", "mn-ihp-2.0-track-2", {}),
        ("b", "mn-ihp-2.0-track-1", {"replicates": 2, "seed": 4}),
    ):
        request: dict[str, Any] = {"replicates": 0, "programme": "none", **terms}
        made.append(
            run(RunRequest(small_population, (contract,), **request), folder / name).run_dir
        )
    return made[0], made[1]


def _walk(run_dir: Path) -> pa.Table:
    return pq.read_table(run_dir / "walk.parquet")


def test_the_dollars_between_two_runs_add_up_by_partnership_and_for_the_state(
    runs: tuple[Path, Path],
) -> None:
    """Savings and payment of either end are those that each run settled."""
    walks = dollar_walks(*map(_walk, runs))
    settled = [
        {row["partnership_id"]: row for row in pq.read_table(at / "settlement.parquet").to_pylist()}
        for at in runs
    ]
    assert {walk.partnership_id for walk in walks} == {STATE, *settled[0]}
    for walk in walks:
        assert sum(move.change_cents or 0 for move in walk.moves) == walk.change_cents
        assert sum(move.a_cents or 0 for move in walk.moves) == walk.a_cents
        who = settled[0] if walk.partnership_id == STATE else [walk.partnership_id]
        for end, side in zip(settled, (walk.a_cents, walk.b_cents), strict=True):
            assert side == sum(end[name][f"{walk.result}_cents"] for name in who)
    assert any(walk.change_cents for walk in walks)


def test_a_run_held_against_itself_moves_nothing(runs: tuple[Path, Path]) -> None:
    walks = dollar_walks(_walk(runs[0]), _walk(runs[0]))
    assert {move.change_cents for walk in walks for move in walk.moves} == {0}
    manifest = read_manifest(runs[0])
    assert asked_otherwise(manifest, manifest) == []
    assert terms_otherwise(runs[0], runs[0]) == []


def test_what_was_asked_otherwise_is_named_with_both_values(runs: tuple[Path, Path]) -> None:
    found = {
        change.what: (change.a, change.b) for change in asked_otherwise(*map(read_manifest, runs))
    }
    assert found["replicates"] == (0, 2)
    assert found["seed"] == (1, 4)
    assert found["contracts"][0][0]["name"] == "mn-ihp-2.0-track-2"
    assert not {name for name in found if name.startswith(("inputs/", "population"))}
    terms = {change.path: change for change in terms_otherwise(*runs)}
    assert (terms["cost.claim_cap"].a, terms["cost.claim_cap"].b) == ("200000", "50000")
    assert len(terms["cost.claim_cap"].partnerships) == 25


def test_an_input_file_that_changed_or_came_is_named(runs: tuple[Path, Path]) -> None:
    before = read_manifest(runs[0])
    file = {"source_table": "medical_claim", "file": "m.csv", "sha256": "ab"}
    changed = {**before["inputs"][0], "sha256": "other"}
    after = {**before, "inputs": [changed, *before["inputs"][1:], file]}
    found = asked_otherwise(before, after)
    assert [(change.what, change.a, change.b) for change in found] == sorted(
        [
            (
                f"inputs/{changed['source_table']}/{changed['file']}",
                before["inputs"][0]["sha256"],
                "other",
            ),
            ("inputs/medical_claim/m.csv", None, "ab"),
        ]
    )


def test_a_partnership_that_is_held_back_holds_back_the_state(runs: tuple[Path, Path]) -> None:
    """Or it would follow from the others."""
    whole = _walk(runs[0])
    rows = [
        {**row, "amount_cents": None if row["partnership_id"] == "IHP-03" else row["amount_cents"]}
        for row in whole.to_pylist()
    ]
    walks = dollar_walks(pa.Table.from_pylist(rows, schema=WALK.arrow), _walk(runs[1]))
    for walk in walks:
        hidden = walk.partnership_id in (STATE, "IHP-03")
        assert (walk.a_cents is None) == (walk.change_cents is None) == hidden
        assert all((move.change_cents is None) == hidden for move in walk.moves)
        assert walk.b_cents is not None


def test_a_partnership_of_one_run_alone_starts_from_nothing(runs: tuple[Path, Path]) -> None:
    whole = _walk(runs[1])
    rows = [row for row in whole.to_pylist() if row["partnership_id"] != "IHP-01"]
    walks = dollar_walks(pa.Table.from_pylist(rows, schema=whole.schema), whole)
    (payment,) = [w for w in walks if (w.partnership_id, w.result) == ("IHP-01", "savings")]
    assert (payment.a_cents, payment.change_cents) == (0, payment.b_cents)


def test_a_walk_that_does_not_add_up_is_refused(runs: tuple[Path, Path]) -> None:
    rows = _walk(runs[0]).to_pylist()
    for row in rows:
        if (row["partnership_id"], row["step"]) == ("IHP-02", "trend"):
            row["amount_cents"] += 1
    changed = pa.Table.from_pylist(rows, schema=WALK.arrow)
    with pytest.raises(RunError, match="IHP-02: the lines of its walk come to another savings"):
        dollar_walks(changed, changed)
