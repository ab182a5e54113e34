"""What a run measures beside settlements: its terms, and parts that see everybody and add up."""

# Every part is asked with plan, shard and population, whether it looks at them or not:
# ruff: noqa: ARG002, ARG003
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.contracts import load_programme, programmes
from ihp_compute.contracts.programme import PROGRAMME_KINDS
from ihp_compute.data_quality import Noticed
from ihp_compute.errors import ContractError
from ihp_compute.measure import (
    Measured,
    Plan,
    ProgrammePart,
    RunRequest,
    ShardPlan,
    make_plan,
)
from ihp_compute.measure.programme import MemberYear
from ihp_compute.measure.programme.cost_index import CostIndex
from ihp_compute.measure.programme.scale import ScaleSums
from ihp_compute.measure.programme.scopes import programme_scopes
from ihp_compute.pipeline import measure, run, surveyed, with_programme
from ihp_compute.population import Population, ShardColumns
from ihp_compute.results import read_manifest
from ihp_compute.runner import LocalRunner, batches

CONTRACT = "mn-ihp-2.0-track-2"
OWN = """
name    = "own"
title   = "A lower cap"
extends = "standard"
[cost_index.cap]
{cap}
unit   = "USD per member per year"
basis  = "assumed"
source = {{ doc = "practice", at = "Chosen" }}
"""


def _own(folder: Path, cap: str, name: str = "own") -> str:
    path = folder / "own.toml"
    path.write_text(OWN.format(cap=cap).replace('"own"', f'"{name}"'), encoding="utf-8")
    return str(path)


def test_the_standard_programme_gives_every_term() -> None:
    found = load_programme("standard", 2024)
    assert found is not None
    assert set(found.terms) == set(PROGRAMME_KINDS)
    assert found["cost_index.cap"] == Decimal(125_000)
    assert "standard" in programmes()
    assert load_programme("none", 2024) is None


def test_a_programme_of_ones_own_says_where_it_differs(tmp_path: Path) -> None:
    values = (
        "values = [{ value = 100_000, from = 2020-01-01, until = 2023-12-31 }, "
        '{ value = "none", from = 2024-01-01 }]'
    )
    file = _own(tmp_path, values)
    before, after = (load_programme(file, year) for year in (2023, 2024))
    standard = load_programme("standard", 2024)
    assert before is not None
    assert after is not None
    assert standard is not None
    assert (before["cost_index.cap"], after["cost_index.cap"]) == (Decimal(100_000), None)
    assert after["cost_index.amount"] == standard["cost_index.amount"]
    assert before.sha256 == after.sha256 != standard.sha256


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("own", "value = -1\nfrom = 2020-01-01", "cost_index.cap.value: found -1"),
        ("own", "value = 5\nfrom = 2030-01-01", "cost_index.cap: found no value for 2024"),
        ("none", "value = 5\nfrom = 2020-01-01", "found none, expected a name of its own"),
        ("standard", "value = 5\nfrom = 2020-01-01", "a programme shipped, with other content"),
        (
            "own",
            "values = [{ value = 5, from = 2020-01-01, contract_year = 2 }]",
            "by contract year or rate cell",
        ),
    ],
)
def test_what_is_wrong_with_a_programme_is_said(
    name: str, written: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match=said):
        load_programme(_own(tmp_path, written, name), 2024)


def test_a_programme_must_exist_and_extend_the_standard_one(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="expected none, standard, or a file"):
        load_programme("metro", 2024)
    with pytest.raises(ContractError, match=r"there\.toml: no such file"):
        load_programme(str(tmp_path / "there.toml"), 2024)
    file = Path(_own(tmp_path, "value = 5\nfrom = 2020-01-01"))
    file.write_text(file.read_text("utf-8").replace('extends = "standard"', ""), encoding="utf-8")
    with pytest.raises(ContractError, match="extends: found None, expected standard"):
        load_programme(str(file), 2024)


@dataclass(frozen=True)
class Heads:
    """Counts heads twice: in its survey, and in what is measured."""

    name: ClassVar[str] = "heads"
    each: ClassVar[bool] = False
    everybody: int = -1

    @classmethod
    def of(cls, plan: Plan, population: Population) -> Heads:
        return cls()

    @classmethod
    def absent(cls, plan: Plan, population: Population) -> Iterator[Noticed]:
        yield from ()

    @property
    def surveys(self) -> bool:
        return True

    def survey_key(self, plan: Plan) -> None:
        return None

    def survey(self, shard: ShardColumns, plan: ShardPlan) -> int:
        return shard.n_members

    def surveyed(self, found: int) -> Heads:
        return replace(self, everybody=found)

    def measure(
        self, shard: ShardColumns, plan: ShardPlan, years: Sequence[MemberYear]
    ) -> np.ndarray[Any, Any]:
        base, performance = (year.attribution.group >= 0 for year in years)
        return np.array([self.everybody, base.sum(), performance.sum()])

    def together(
        self, plan: ShardPlan, shards: Sequence[np.ndarray[Any, Any]]
    ) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = sum(shards[1:], shards[0])
        return found


def test_a_part_surveys_everybody_then_adds_over_shards_alike(small_population: Path) -> None:
    plan = make_plan(RunRequest(small_population, (CONTRACT,), replicates=0))
    parts: tuple[ProgrammePart, ...] = (Heads(),)
    found = {}
    for threads in (1, 2):
        runner = LocalRunner(threads)
        ready = surveyed(plan, parts, runner)
        tasks = runner.map(_measured(plan, ready), batches(plan.shards, threads))
        merged = Measured.merge(tasks, len(plan.shards))
        n = sum(shard.n_members for shard in plan.shards)
        whole, base, performance = merged.programme["heads"].tolist()
        assert whole == n * len(plan.shards)
        eligible = merged.use_by_group[:, :, 0].sum(axis=1).tolist()
        assert [base, performance] == eligible
        found[threads] = merged.programme["heads"].tolist()
    assert found[1] == found[2]


class _Counting(LocalRunner):
    """How often shards were sent out."""

    sent = 0

    def map(self, task: Any, shards: Any) -> Any:
        self.sent += 1
        return super().map(task, shards)


def test_a_survey_of_the_same_services_years_and_people_is_made_once(
    small_population: Path,
) -> None:
    request = RunRequest(small_population, (CONTRACT,), replicates=0, programme="standard")
    plan, parts = with_programme(make_plan(request))
    runner = _Counting(1)

    def scale(least_lines: int) -> ScaleSums | None:
        asking = [
            replace(part, least_lines=least_lines) if isinstance(part, CostIndex) else part
            for part in parts
        ]
        (found,) = [
            part.scale for part in surveyed(plan, asking, runner) if isinstance(part, CostIndex)
        ]
        return found

    first = scale(7)
    assert runner.sent == 1
    assert scale(7) is first
    assert runner.sent == 1
    other = scale(8)
    assert runner.sent == 2
    assert other is not None
    assert other.least_lines == 8


def _measured(plan: Plan, parts: Sequence[ProgrammePart]) -> Any:
    return lambda shards: measure(shards, plan=plan, parts=parts)


def test_scopes_are_made_of_the_groups_of_the_roster(small_population: Path) -> None:
    plan = make_plan(RunRequest(small_population, (CONTRACT,), replicates=0))
    groups = plan.roster.groups
    scopes = programme_scopes(plan)
    by_scope = {
        scope: [s for s in scopes if s.scope == scope] for scope in {s.scope for s in scopes}
    }
    assert [s.scope_id for s in by_scope["partnership"]] == list(groups)
    (state,), (attributed,) = by_scope["state"], by_scope["attributed"]
    assert state.groups == tuple(range(len(groups)))
    left_out = {groups[g] for g in set(state.groups) - set(attributed.groups)}
    assert left_out == {COMPARISON, UNATTRIBUTED}
    (programme,), (track,) = by_scope["programme"], by_scope["track"]
    assert programme.groups == track.groups == attributed.groups
    assert track.scope_id == CONTRACT


def test_a_programme_is_part_of_the_digest_and_of_nothing_settled(
    small_population: Path, tmp_path: Path
) -> None:
    request = RunRequest(small_population, (CONTRACT,), replicates=0)
    own = _own(tmp_path, "value = 100_000\nfrom = 2020-01-01")
    outcomes = {
        name: run(replace(request, programme=name), tmp_path / str(n), LocalRunner(1))
        for n, name in enumerate(("standard", "none", own))
    }
    assert len({outcome.digest for outcome in outcomes.values()}) == 3
    assert len({str(outcome.settlement) for outcome in outcomes.values()}) == 1
    manifest = read_manifest(outcomes[own].run_dir)
    assert manifest["programme"]["name"] == "own"
    assert manifest["programme_requested"] == own
    assert read_manifest(outcomes["none"].run_dir)["programme"] is None
