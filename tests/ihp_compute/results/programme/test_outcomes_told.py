"""What is planted in people made by hand is told: disparities, changes, effects on an arm."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.measure.programme import (
    DENOMINATORS,
    EVENTS,
    MEASURES,
    MemberOutcomes,
    OutcomeSums,
    ProgrammeScope,
)
from ihp_compute.results.programme.outcomes import Told

GROUPS = ("IHP-A", COMPARISON, UNATTRIBUTED)
SCOPES = (
    *(ProgrammeScope("partnership", name, (g,)) for g, name in enumerate(GROUPS)),
    ProgrammeScope("state", "state", (0, 1, 2)),
)
TERMS: dict[str, Any] = {
    "outcomes.comparator": "comparison",
    "outcomes.score_edges": ("0.5", "1", "2", "4"),
    "outcomes.least_months": 1_200,
    "outcomes.least_index_stays": 30,
    "outcomes.least_children": 100,
}
PLAN: Any = SimpleNamespace(
    years=(2023, 2024),
    roster=SimpleNamespace(groups=GROUPS),
    use=SimpleNamespace(measured=tuple(one.name for one in MEASURES if one.name != "cost")),
)
NAMES = {"race": ("unknown", "black", "white"), "intervention": ("comparison", "treated")}
N = 3_000


def _people(
    seed: int,
    *,
    disparity: float = 1.0,
    change: float = 0.0,
    effect: float = 0.0,
    n: int = N,
) -> MemberOutcomes:
    """Half are IHP-A's, half of the comparison; emergency visits as planted, else alike."""
    rng = np.random.default_rng(seed)
    group = np.where(np.arange(n) < n // 2, 0, 1).astype(np.int16)
    race = np.where(rng.random(n) < 0.3, 1, 2).astype(np.int16)
    arm = np.where(group == 0, (rng.random(n) < 0.5).astype(np.int16), -1).astype(np.int16)
    months = rng.integers(6, 13, (2, n))
    frailty = rng.gamma(2.0, 0.5, n)  # people differ, and are as they were the year before
    rate = 0.1 * frailty * np.where(race == 1, disparity, 1.0)
    moved = np.where(group == 0, 1 + change, 1.0) * np.where(arm == 1, 1 + effect, 1.0)
    visits = np.stack([rng.poisson(months[0] * rate), rng.poisson(months[1] * rate * moved)])
    stays = rng.poisson(0.1, (2, n))
    index = rng.binomial(stays, 0.8)
    due = (rng.random((2, n)) < 0.3).astype(np.int64)
    numerator = {
        "stays": stays,
        "ed_visits": visits,
        "ed_avoidable": visits * 250_000,
        "readmissions": rng.binomial(index, 0.12),
        "follow_up": rng.binomial(index, 0.4),
        "well_child": rng.binomial(due, 0.5),
        "cost": rng.integers(0, 500_000, (2, n)) * months,
    }
    denominator = {"months": months, "index_stays": index, "children": due}
    return MemberOutcomes(
        member_key=rng.permutation(np.arange(n, dtype=np.uint64)) * np.uint64(7_919),
        group=np.stack([group, group]),
        cell=rng.integers(0, 4, (2, n)).astype(np.uint8),
        score_micro=rng.integers(200_000, 3_000_000, (2, n)),
        numerator=tuple(numerator[one.name] for one in MEASURES),
        denominator=tuple(denominator[name] for name in DENOMINATORS),
        stratum=np.stack([[race, arm], [race, arm]]),
        in_region=np.stack([group, group]) == 1,
        event_cents=np.full((2, len(EVENTS)), 1_000_000),
    )


def _told(people: MemberOutcomes, comparator: str = "comparison") -> Told:
    terms: Any = TERMS | {"outcomes.comparator": comparator}
    return Told.of(PLAN, terms, SCOPES, OutcomeSums(NAMES, (people,)))


def _row(table: pa.Table, **keys: Any) -> dict[str, Any]:
    (row,) = (row for row in table.to_pylist() if keys.items() <= row.items())
    return row


def _split(people: MemberOutcomes, seed: int, n_shards: int) -> tuple[MemberOutcomes, ...]:
    """The same people in shards of any order."""
    shard = np.random.default_rng(seed).integers(0, n_shards, people.member_key.size)

    def of(s: int) -> MemberOutcomes:
        at = np.flatnonzero(shard == s)
        whole = people.event_cents // n_shards
        rest = people.event_cents - whole * (n_shards - 1)
        return MemberOutcomes(
            member_key=people.member_key[at],
            group=people.group[:, at],
            cell=people.cell[:, at],
            score_micro=people.score_micro[:, at],
            numerator=tuple(one[:, at] for one in people.numerator),
            denominator=tuple(one[:, at] for one in people.denominator),
            stratum=people.stratum[:, :, at],
            in_region=people.in_region[:, at],
            event_cents=rest if s == 0 else whole,
        )

    return tuple(of(s) for s in range(n_shards))


def test_tables_are_the_same_bytes_however_people_are_sharded() -> None:
    people = _people(1, disparity=1.4, change=-0.1)
    whole = _told(people)
    terms: Any = TERMS
    for n_shards in (2, 7):
        sums = [OutcomeSums(NAMES, (shard,)) for shard in _split(people, n_shards, n_shards)]
        together = sums[-1]
        for one in sums[:-1]:
            together = together + one
        sharded = Told.of(PLAN, terms, SCOPES, together)
        assert sharded.outcomes().equals(whole.outcomes())
        assert sharded.changes().equals(whole.changes())


def test_what_is_planted_lies_in_its_interval_as_often_as_it_says() -> None:
    """A disparity of 1.5, a change of -15 % and an effect of -20 %, over 60 populations."""
    held = {"disparity": 0, "change": 0, "effect": 0}
    changed = []
    for seed in range(60):
        found = _told(_people(seed, disparity=1.5, change=-0.15, effect=-0.2))
        outcomes, changes = found.outcomes(), found.changes()
        black = _row(
            outcomes, scope="partnership", scope_id=COMPARISON, dimension="race", stratum="black",
            year=2024, measure="ed_visits",
        )  # fmt: skip
        held["disparity"] += black["ratio_low"] <= 1.5 <= black["ratio_high"]
        treated = _row(
            changes, scope="state", dimension="intervention", stratum="treated",
            measure="ed_visits", basis="crude",
        )  # fmt: skip
        assert treated["comparator"] == "arm:comparison"
        held["effect"] += treated["low"] <= -0.2 <= treated["high"]
        plain = _told(_people(seed, change=-0.15)).changes()
        own = _row(
            plain, scope_id="IHP-A", dimension="all", measure="ed_visits", basis="standardised"
        )
        held["change"] += own["low"] <= -0.15 <= own["high"]
        changed.append(own["relative_change"])
    for what, n in held.items():
        assert 52 <= n <= 60, what  # fewer than 52 of 60 at 95 % would be one in a thousand
    assert np.mean(changed) == pytest.approx(-0.15, abs=0.02)


def test_dollars_are_the_events_at_the_state_s_mean_cost() -> None:
    people = _people(4, change=-0.3)
    found = _told(people)
    visits = people.numerator[1][1].sum()
    changes = found.changes()
    own = _row(changes, scope_id="IHP-A", dimension="all", measure="ed_visits", basis="crude")
    assert own["events_difference"] < 0
    assert own["usd_cents"] == round(-own["events_difference"] * 1_000_000 / visits)
    assert own["usd_cents"] > 0
    part = _row(changes, scope_id="IHP-A", dimension="all", measure="ed_avoidable", basis="crude")
    assert part["events_difference"] == pytest.approx(own["events_difference"] / 4)
    assert part["relative_change"] == pytest.approx(own["relative_change"])
    cost = _row(changes, scope_id="IHP-A", dimension="all", measure="cost", basis="crude")
    assert cost["usd_cents"] == round(-cost["events_difference"])
    assert (
        _row(changes, scope_id="IHP-A", dimension="all", measure="follow_up", basis="crude")[
            "usd_cents"
        ]
        == 0
    )


@pytest.mark.parametrize("comparator", ["others", "region:Metro"])
def test_others_and_a_region_of_the_same_people_compare_alike(comparator: str) -> None:
    """Everybody but IHP-A's people is of the comparison population, which lives in Metro."""
    people = _people(9, change=-0.1)
    expected = _told(people).changes()
    found = _told(people, comparator).changes()
    at = [
        i
        for i, row in enumerate(expected.to_pylist())
        if row["scope_id"] == "IHP-A" and row["dimension"] != "intervention"
    ]
    assert set(found.take(at).column("comparator").to_pylist()) == {comparator}
    for name in expected.column_names:
        a, b = (table.take(at).column(name).to_pylist() for table in (expected, found))
        if name != "comparator":
            assert a == (pytest.approx(b, rel=1e-9, abs=1e-9) if isinstance(a[0], float) else b)


def test_what_cannot_be_said_is_0_and_says_why() -> None:
    people = _people(3, n=40)
    empty = tuple(one * 0 for one in people.numerator)
    nothing = MemberOutcomes(**{**vars(people), "numerator": empty})
    found = _told(nothing)
    changes = found.changes()
    assert set(changes.column("flag").to_pylist()) <= {
        "no_expected no_comparator", "no_events no_comparator", "no_denominator no_comparator",
    }  # fmt: skip
    for name in ("change", "relative_change", "std_error_log", "low", "high", "usd_cents"):
        assert set(changes.column(name).to_pylist()) == {0}
    flags = {word for text in found.outcomes().column("flag").to_pylist() for word in text.split()}
    assert {"no_expected", "below_minimum"} <= flags
    alone = _row(
        _told(people).changes(), scope="state", dimension="intervention", stratum="comparison",
        measure="ed_visits", basis="crude",
    )  # fmt: skip
    assert (alone["comparator"], alone["relative_change"]) == ("", 0.0)
    assert "no_comparator" in alone["flag"]


def test_the_reference_is_the_stratum_of_most_months_and_the_control_of_arms() -> None:
    outcomes = _told(_people(6)).outcomes().to_pylist()
    assert {row["reference"] for row in outcomes if row["dimension"] == "race"} == {"white"}
    assert {row["reference"] for row in outcomes if row["dimension"] == "intervention"} == {
        "comparison"
    }
    for row in outcomes:
        if row["stratum"] == row["reference"] and "no_" not in row["flag"]:
            assert (row["difference"], row["ratio"], row["ratio_low"]) == (0.0, 1.0, 1.0)
