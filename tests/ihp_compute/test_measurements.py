"""Contracts of one run that see other claims of the base year are settled by their own methods."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.errors import GridError
from ihp_compute.explain import explain_member
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.population import open_population
from ihp_compute.results import read_manifest, verify_run
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps import check, grid_of, sweep

METHODS: dict[str, dict[str, Any]] = {
    "equal_runout": {"completion.method": "equal_runout"},
    "computed": {"completion.method": "computed"},
    "given": {"completion.method": "given", "observed.completion": 0.9},
}
THROUGH = date(2024, 12, 31)
"""The performance year is not over for claims: late ones are still to come."""
ONE, TWO, THREE = "IHP-01", "IHP-02", "IHP-03"
Rows = list[dict[str, Any]]


def terms(method: str) -> str:
    return "".join(f'"{path}" = {json.dumps(v)}\n' for path, v in METHODS[method].items())


@pytest.fixture(scope="module")
def run_of(
    small_population: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Outcome]:
    """A run whose partnerships have the method of the default, but for those named."""
    made: dict[tuple[Any, ...], Outcome] = {}

    def find(default: str, population: Path = small_population, **own: str) -> Outcome:
        key = default, population, tuple(own.items())
        if key not in made:
            folder = tmp_path_factory.mktemp("measurements")
            text = (
                '[set]\nname = "several"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
                f"[default.overrides]\n{terms(default)}"
            )
            for name, method in own.items():
                text += f"[partnerships.{name.replace('_', '-')}.overrides]\n{terms(method)}"
            (folder / "set.toml").write_text(text)
            request = RunRequest(
                population, (str(folder / "set.toml"),), replicates=4, programme="none", seed=5,
                paid_through=THROUGH,
            )  # fmt: skip
            made[key] = run(request, folder / "run", LocalRunner(1))
        return made[key]

    return find


@pytest.fixture(scope="module")
def mixed(run_of: Callable[..., Outcome]) -> Outcome:
    """Two partnerships of other methods than all others."""
    return run_of("equal_runout", IHP_02="computed", IHP_03="given")


def rows_of(done: Outcome, table: str) -> Rows:
    found: Rows = pq.read_table(done.run_dir / f"{table}.parquet").to_pylist()
    return found


@pytest.mark.parametrize(
    ("method", "partnership"), [("equal_runout", ONE), ("computed", TWO), ("given", THREE)]
)
def test_each_contract_is_settled_as_where_all_have_its_method(
    run_of: Callable[..., Outcome], mixed: Outcome, method: str, partnership: str
) -> None:
    """To the cent and in every draw, by the whole state as its method sees it."""
    alone = run_of(method)
    tables = ("settlement", "intervals", "walk", "payments", "attribution", "sensitivities")
    for table in tables:
        found, expected = (
            [
                {**row, "measurement": 0}
                for row in rows_of(done, table)
                if row["partnership_id"] == partnership and not row.get("item")
            ]
            for done in (mixed, alone)
        )
        assert found == expected
        assert found
    found, expected = (
        [{**row, "contract": ""} for row in rows_of(done, "cells")
         if row["partnership_id"] == partnership]
        for done in (mixed, alone)
    )  # fmt: skip
    assert found == expected


def test_a_mixed_run_says_whose_measurement_is_which(mixed: Outcome) -> None:
    found = read_manifest(mixed.run_dir)["completion"]["measurements"]
    assert [one["methods"] for one in found] == [["equal_runout"], ["computed"], ["given"]]
    assert [len(one["partnerships"]) for one in found] == [23, 1, 1]
    assert [one["base_lines_cut"] > 0 for one in found] == [True, False, False]
    assert [bool(one["parts"]) for one in found] == [False, True, False]
    assert [one["first_rule_set"] for one in found] == [0, 1, 2]


def test_every_measurement_accounts_for_all_lines_and_members(mixed: Outcome) -> None:
    """Each stands for itself: as many lines met, as many member-years, in three measurements."""
    lines: Counter[int] = Counter()
    for row in rows_of(mixed, "ledger"):
        if row["stage"] == "run":
            lines[row["measurement"]] += row["lines"]
    assert set(lines) == {0, 1, 2}
    assert len(set(lines.values())) == 1
    years = pq.read_table(mixed.run_dir / "member_years.parquet", columns=["measurement", "year"])
    counts = Counter(map(tuple, (row.values() for row in years.to_pylist())))
    assert len(counts) == 6
    assert len(set(counts.values())) == 1
    groups = Counter(row["group_id"] for row in rows_of(mixed, "utilisation"))
    assert (groups[ONE], groups[TWO], groups["UNATTRIBUTED"]) == (2, 2, 6)


def test_costs_of_member_years_stand_in_the_measurement_of_their_rule_set(mixed: Outcome) -> None:
    """Sums of a partnership's member-years are its settlement's observed cost."""
    observed = {row["partnership_id"]: row["observed_cents"] for row in mixed.settlement}
    sums: Counter[tuple[str, int]] = Counter()
    for row in rows_of(mixed, "member_years"):
        assert not any(row[f"cost_r{r}_cents"] for r in range(3) if r != row["measurement"])
        if row["year"] == 2024 and row["group_id"] in observed:
            key = row["group_id"], row["measurement"]
            sums[key] += row[f"cost_r{row['measurement']}_cents"]
    assert sums[ONE, 0] == observed[ONE]
    assert sums[TWO, 1] == observed[TWO]
    assert sums[TWO, 0] < observed[TWO]
    assert round(sums[THREE, 2] / 0.9) == observed[THREE]


def test_a_mixed_run_verifies_and_does_not_depend_on_shards(
    run_of: Callable[..., Outcome], mixed: Outcome, raw_state: Path, tmp_path: Path
) -> None:
    assert verify_run(mixed.run_dir) == mixed.digest
    ingest(raw_state, tmp_path / "population", shards=3)
    again = run_of("equal_runout", tmp_path / "population", IHP_02="computed", IHP_03="given")
    assert again.digest == mixed.digest


def test_a_mixed_run_is_swept_and_explained_by_each_contract_s_own_measurement(
    mixed: Outcome,
) -> None:
    axes = {"settlement.gain.share": [0.5], "target.trend": [0.05]}
    table = sweep(mixed.run_dir, grid_of(axes), LocalRunner(1)).table.to_pylist()
    state, *of_each = table
    assert len(of_each) == 25
    assert state["payment_cents"] == sum(row["payment_cents"] for row in of_each)
    with pytest.raises(GridError, match=r"left .* lines of the base year out by completion.method"):
        check(mixed.run_dir, grid_of({"observed.completion": [0.9]}))


def test_a_member_is_explained_by_the_measurement_of_the_partnership(
    mixed: Outcome, small_population: Path
) -> None:
    row = next(
        row
        for row in rows_of(mixed, "member_years")
        if (row["group_id"], row["year"], row["measurement"]) == (TWO, 2024, 1)
        and row["cost_r1_cents"]
    )
    ids = [
        str(member)
        for shard in open_population(small_population).shards
        for member, key in zip(
            shard.strings("identity", "member_id"),
            shard.column("members", "member_key").tolist(),
            strict=True,
        )
        if key == row["member_key"]
    ]
    found = explain_member(mixed.run_dir, *ids)
    assert found.years[1]["group_id"] == TWO
    assert found.years[1]["cost_cents"] == row["cost_r1_cents"]


def test_interim_is_said_for_those_whom_it_holds(small_population: Path, tmp_path: Path) -> None:
    """By one contract the year counts as complete, by all others not."""
    (tmp_path / "set.toml").write_text(
        '[set]\nname = "ratios"\n[default]\ncontract = "mn-ihp-2.0-track-2"\n'
        '[partnerships.IHP-02.overrides]\n"completion.final_ratio" = 0.1\n'
    )
    request = RunRequest(
        small_population,
        (str(tmp_path / "set.toml"),),
        replicates=0,
        programme="none",
        paid_through=THROUGH,
    )
    done = run(request, tmp_path / "run", LocalRunner(1))
    status = {row["partnership_id"]: row["status"] for row in done.settlement}
    assert Counter(status.values()) == {"INTERIM": 24, "final": 1}
    assert status[TWO] == "final"
    (line,) = (line for line in done.headlines if line.startswith("INTERIM"))
    assert line.startswith("INTERIM for 24 of 25 partnerships: 2024 is complete to ")
