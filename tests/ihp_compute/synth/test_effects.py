"""What is planted in people and clinics is there, and a run meets the facts of its truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.console import exit_code
from ihp_compute import contracts
from ihp_compute.codes import COMPARISON, RATE_CELLS, UNATTRIBUTED
from ihp_compute.errors import PlantError
from ihp_compute.population import member_keys
from ihp_compute.synth import synth
from ihp_compute.synth.columns import ids
from ihp_compute.synth.costs import people
from ihp_compute.synth.effects import EFFECTS, NOTHING, planted
from ihp_compute.synth.expected import CAPS_USD, expected_cells
from ihp_compute.synth.network import network, partnership_ids
from ihp_compute.synth.people import (
    ACUTE,
    ADULT,
    CAP_CENTS,
    CREEPING,
    DISABLED,
    EXPANSION,
    MATERNITY,
    MONTHS_BEFORE,
    NEWBORN,
    NO_GROUP,
    THIN,
    Calendar,
    People,
    clinic_of,
)

CALENDAR = Calendar(2023, 2024)
GROUPS = (*partnership_ids(), COMPARISON, UNATTRIBUTED)
MIDDLE = MONTHS_BEFORE + 18
"""Window column in the middle of the performance year."""


def state(**effects: float) -> People:
    """A state with these effects and no others."""
    return people(20_000, 3, CALENDAR, {**NOTHING, **effects})


@pytest.fixture(scope="module")
def plain() -> People:
    return state()


@pytest.fixture(scope="module")
def finished(small_run: Path) -> Path:
    return small_run


# --- a run meets the facts ------------------------------------------------------------------------


def test_a_run_counts_the_months_and_risk_that_the_truth_is_made_of(
    raw_state: Path, finished: Path
) -> None:
    truth = json.loads((raw_state / "truth.json").read_text())
    stated = {(r["group_id"], r["year"], r["rate_cell"]): r for r in truth["cells"]}
    found = {
        (r["partnership_id"], r["year"], r["rate_cell"]): r
        for r in pq.read_table(finished / "cells.parquet").to_pylist()
        if r["member_months"]
    }
    assert found.keys() == stated.keys()
    for key, row in found.items():
        assert row["member_months"] == stated[key]["member_months"]
        risk = row["own_risk_mean"] * row["member_months"]
        assert risk == pytest.approx(stated[key]["risk"], rel=1e-9)


def test_a_run_s_member_years_are_the_people_that_were_drawn(finished: Path) -> None:
    """Who belongs to whom, what score and, to the cent, which cost after the cap."""
    everyone = people(2500, 11, CALENDAR, planted({}))
    keys = member_keys(ids(np.full(2500, ord("P"), np.uint8), np.arange(2500)))
    order = np.argsort(keys)
    rows = pq.read_table(finished / "member_years.parquet")
    for y, year in enumerate((2023, 2024)):
        mine = rows.filter(pa.compute.equal(rows["year"], year))
        member = order[np.searchsorted(keys[order], mine["member_key"].to_numpy())]
        group = everyone.group[member, y].astype(int)
        names = np.array(GROUPS, object)[np.where(group == NO_GROUP, len(GROUPS) - 1, group)]
        names[~everyone.eligible[member, y]] = ""
        assert mine["group_id"].to_pylist() == names.tolist()
        here = everyone.eligible[member, y]
        for column, values in (
            ("score_micro", everyone.score_micro),
            ("cost_r0_cents", np.minimum(everyone.cost_cents, CAP_CENTS)),
        ):
            assert (mine[column].to_numpy() == values[member, y])[here].all()


def test_expected_cost_is_told_for_the_cap_of_every_shipped_contract() -> None:
    caps = {contracts.load(name).at(2024)["cost.claim_cap"] for name in contracts.names()}
    assert {None if cap is None else int(cap) for cap in caps} == set(CAPS_USD)


def test_expected_cost_of_a_state_is_what_it_costs_on_average(plain: People) -> None:
    """Dollars of everybody eligible by year, against their spread over members."""
    cells = expected_cells(plain)
    for y, year in enumerate((2023, 2024)):
        for cap in (50_000, 200_000):
            stated = sum(r["expected_usd"][str(cap)] for r in cells if r["year"] == year)
            cost = np.minimum(plain.cost_cents, cap * 100)[plain.eligible[:, y], y] / 100
            error = cost.std() * np.sqrt(len(cost))
            assert abs(cost.sum() - stated) < 4 * error < 0.15 * stated


# --- what is planted ------------------------------------------------------------------------------


def per_score(found: People, year: int, group: int) -> float:
    """Expected capped cents per score and month of a partnership."""
    mine = found.eligible[:, year] & (found.group[:, year] == group)
    stated = (found.score_micro[mine, year] * found.months[mine, year]).sum() / 1e6
    cents: float = found.expected_cents()[mine, year].sum() / stated
    return cents


def test_levels_stand_in_both_years(plain: People) -> None:
    found = state(levels=0.10)
    assert (found.score_micro == plain.score_micro).all()
    for group in (0, 5, 20):
        for year in (0, 1):
            ratio = per_score(found, year, group) / per_score(plain, year, group)
            assert ratio == pytest.approx(found.levels[group], abs=1e-9)


@pytest.mark.parametrize(
    ("effect", "whom"),
    [
        ("creep", lambda p: p.group[:, 1] == p.group[:, 1]),
        ("creep_in_cells", lambda p: p.aid[:, MIDDLE] == EXPANSION),
        ("creep_of_one", lambda p: p.group[:, 1] == CREEPING),
    ],
)
def test_creep_raises_scores_and_no_cost(effect: str, whom: Any, plain: People) -> None:
    found = state(**{effect: 0.10})
    assert (found.cost_cents == plain.cost_cents).all()
    assert (found.score_micro[:, 0] == plain.score_micro[:, 0]).all()
    raised = whom(plain)
    there = plain.score_micro[:, 1] > 0
    ratio = found.score_micro[there, 1] / plain.score_micro[there, 1]
    assert raised.any()
    assert ratio == pytest.approx(np.where(raised[there], 1.10, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("effect", "whom"),
    [
        ("acuity", lambda p: p.group[:, 1] == p.group[:, 1]),
        ("acuity_in_cells", lambda p: p.aid[:, MIDDLE] == DISABLED),
        ("acuity_of_one", lambda p: p.group[:, 1] == ACUTE),
    ],
)
def test_acuity_raises_cost_and_scores_alike(effect: str, whom: Any, plain: People) -> None:
    """Cost before the cap by the change; scores with the cost after it, so that savings stay."""
    found = state(**{effect: 0.10})
    sicker = whom(plain)
    there = plain.mean_cents[:, 1] > 0
    assert (found.mean_cents[:, 0] == plain.mean_cents[:, 0]).all()
    ratio = found.mean_cents[there, 1] / plain.mean_cents[there, 1]
    assert ratio == pytest.approx(np.where(sicker[there], 1.10, 1.0), rel=2e-3)
    for group in (ACUTE, 0):
        assert per_score(found, 1, group) == pytest.approx(per_score(plain, 1, group), rel=1e-4)


def test_movers_change_rate_cell_once_and_cost_what_they_did(plain: People) -> None:
    found = state(movers=0.2)
    moved = (found.aid != plain.aid).any(axis=1)
    assert 0.05 < moved.mean() < 0.2
    before, after = plain.aid[found.aid != plain.aid], found.aid[found.aid != plain.aid]
    assert {tuple(pair) for pair in np.stack([before, after], axis=1).tolist()} == {
        (ADULT, EXPANSION), (EXPANSION, DISABLED),
    }  # fmt: skip
    assert found.months.sum() == plain.months.sum()


def test_thin_cells_have_few_base_months(plain: People) -> None:
    def base_months(of: People, group: int) -> int:
        months = of.countable[:, CALENDAR.columns(0)] & of.counted(0)[:, None]
        months &= (of.group[:, 0] == group)[:, None]
        return int(months[np.isin(of.aid[:, CALENDAR.columns(0)], (NEWBORN, MATERNITY))].sum())

    found = state(thin=0.9)
    assert 0 < base_months(found, THIN) < 0.25 * base_months(plain, THIN)
    assert base_months(found, 0) == base_months(plain, 0)
    assert (found.group[:, 1] == plain.group[:, 1]).all()


def test_members_of_a_clinic_stand_together_in_a_year() -> None:
    """A clinic's factor of a year is the mean of its members' cost over their expectation."""
    found = state(clinics=0.5)
    member = np.flatnonzero(found.counted(1))
    group, kind, place = clinic_of(found, member, 1)
    factor = found.clinic_years[group, kind, place, 1]
    without = found.cost_cents[member, 1] / factor
    assert np.log(factor).std() == pytest.approx(0.5, abs=0.15)
    mean = found.mean_cents[member, 1]
    error = (without / mean).std() / np.sqrt(len(mean))
    assert abs((without / mean).mean() - 1) < 4 * error < 0.2
    first, second = found.clinic_years[..., 0], found.clinic_years[..., 1]
    assert abs(np.corrcoef(np.log(first.ravel()), np.log(second.ravel()))[0, 1]) < 0.3


def test_a_run_finds_the_clinic_whose_effect_is_told(raw_state: Path, finished: Path) -> None:
    """Members are attributed to the clinician that they see all year, or to the group's number."""
    truth = json.loads((raw_state / "truth.json").read_text())
    told = {row["npi"]: row for row in truth["clinics"]}
    everyone = people(2500, 11, CALENDAR, planted({}))
    net = network(2500, 11, CALENDAR)
    npis = net.npis.to_pylist()
    keys = member_keys(ids(np.full(2500, ord("P"), np.uint8), np.arange(2500))).tolist()
    of_key = dict(zip(keys, range(2500), strict=True))
    rows = pq.read_table(finished / "member_years.parquet").to_pylist()
    seen = same = 0
    for row in rows:
        if row["group_id"] in ("", UNATTRIBUTED):
            continue
        y = row["year"] - 2023
        member = np.array([of_key[row["member_key"]]])
        group, kind, place = (int(x[0]) for x in clinic_of(everyone, member, y))
        npi = npis[int(net.first[group, kind]) + place]
        assert told[npi]["partnership_id"] == row["group_id"]
        effect = everyone.clinic_years[group, kind, place, y]
        assert told[npi][str(row["year"])] == pytest.approx(effect, abs=1e-6)
        seen += 1
        same += row["attributed_npi"] == npi
        assert row["attributed_npi"] in (npi, npis[int(net.clinic[group])])
    assert same > 0.9 * seen > 0


# --- what may be asked for ------------------------------------------------------------------------


def test_an_effect_that_is_not_asked_for_has_its_shipped_value() -> None:
    found = planted({"levels": 0.2})
    assert found["levels"] == 0.2
    assert {e.name: e.shipped for e in EFFECTS if e.name != "levels"}.items() <= found.items()


def test_the_page_has_every_effect_with_its_shipped_value() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/method/synthetic.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    assert {name.strip(" `"): float(value) for name, value in rows} == {
        effect.name: effect.shipped for effect in EFFECTS
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [({"level": 0.1}, "no such effect; expected one of levels"),
     ({"clinics": 0.9}, "expected 0 to 0.5"), ({"movers": float("nan")}, "expected 0 to 1")],
)  # fmt: skip
def test_what_cannot_be_planted_is_refused(
    given: dict[str, float], words: str, tmp_path: Path
) -> None:
    with pytest.raises(PlantError, match=words) as caught:
        synth(100, 1, tmp_path / "x", plant=given)
    assert exit_code(caught.value) == 2
    assert not list(tmp_path.iterdir())


def test_the_truth_says_what_was_planted(tmp_path: Path) -> None:
    truth = synth(200, 1, tmp_path / "x", plant={"clinics": 0, "levels": 0.05})
    assert truth["planted"] == planted({"clinics": 0, "levels": 0.05})
    assert truth["clinics"] == []
    assert {row["rate_cell"] for row in truth["cells"]} <= set(RATE_CELLS)
