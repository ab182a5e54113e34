"""A small synthetic state has a base in every rate cell that it has a target in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ihp_compute.codes import AID_GROUPS, PAYER_KINDS, RATE_CELLS
from ihp_compute.contracts import names
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.synth import costs as synth_costs
from ihp_compute.synth import people as synth_people
from ihp_compute.synth.anchors import N_ANCHORS
from ihp_compute.synth.effects import planted
from ihp_compute.synth.state import synth


def months_by_cell(people: synth_people.People, year: int) -> dict[str, int]:
    """Months of the eligible in a year, by rate cell; cells without any are left out."""
    window = people.calendar.columns(year)
    counted = people.enrolled[:, window] & people.eligible[:, year, None]
    found = {}
    for a, aid in enumerate(AID_GROUPS):
        for k, payer in enumerate(PAYER_KINDS):
            here = (people.aid[:, window] == a) & (people.kind[:, window] == k)
            found[f"{aid}_{payer}"] = int((counted & here).sum())
    assert list(found) == list(RATE_CELLS)
    return {cell: months for cell, months in found.items() if months}


@pytest.mark.parametrize("years", [(2023, 2024), (2019, 2022)])
def test_every_rate_cell_has_base_months_in_a_state_of_any_size(years: tuple[int, int]) -> None:
    for members in (N_ANCHORS, 20, 100, *range(500, 5_001, 250)):
        for seed in (1, 14, members):
            people = synth_costs.people(members, seed, synth_people.Calendar(*years), planted({}))
            base, performance = (months_by_cell(people, year) for year in (0, 1))
            assert set(base) == set(RATE_CELLS) >= set(performance)
            score = people.score_micro[people.eligible]
            assert (score > 0).all()


def test_chance_alone_leaves_cells_of_small_states_without_a_base(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the first people are needed: without them a target would be refused."""
    monkeypatch.setattr(synth_people, "N_ANCHORS", 0)
    calendar = synth_people.Calendar(2023, 2024)
    states = [synth_costs.people(600, seed, calendar) for seed in range(8)]
    without = [set(months_by_cell(people, 1)) - set(months_by_cell(people, 0)) for people in states]
    assert any(without)


def test_a_small_state_settles_under_every_contract_shipped(tmp_path: Path) -> None:
    synth(500, 3, tmp_path / "raw", threads=1)
    ingest(tmp_path / "raw", tmp_path / "population", shards=2, threads=1)
    for name in names():
        request = RunRequest(tmp_path / "population", (name,), replicates=2, programme="none")
        found = run(request, tmp_path / name, LocalRunner(1))
        assert len(found.settlement) == synth_people.N_PARTNERSHIPS
