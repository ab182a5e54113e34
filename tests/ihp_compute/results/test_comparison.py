"""Trends against the market and pools of alliances, made again from member-years and draws."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import ContractError
from ihp_compute.ingest.passes import ingest
from ihp_compute.measure import make_plan
from ihp_compute.pipeline import RunRequest, measure, run, with_programme
from ihp_compute.report.numbers import usd
from ihp_compute.report.page import render
from ihp_compute.results import OpenForm
from ihp_compute.results.suppression.cells import PEOPLE, Key
from ihp_compute.results.suppression.pattern import Pattern
from ihp_compute.runner import LocalRunner
from ihp_compute.uncertainty import read_totals
from tests.ihp_compute.settlement.trends_by_hand import ByHand, Side, by_hand

CONTRACT = "northwest-metro-alliance"
HEAD = f'[set]\nname = "metro"\n[default]\ncontract = "{CONTRACT}"\n'
ALLIANCE = '[alliances.METRO]\nmembers = ["IHP-02", "IHP-01"]\nsplit = "{}"\n'
LEAST, B, SEED = 120, 20, 3
METRO = {f"27{county:03}": "metro" for county in (3, 19, 37, 53, 123, 139, 163)}
"""The seven counties of the metropolitan area, by FIPS code."""
Rows = list[dict[str, Any]]
Run = Callable[..., Path]


@pytest.fixture(scope="module")
def population(raw_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small state with a table of regions beside it."""
    return with_regions(raw_state, tmp_path_factory.mktemp("regions"), METRO)


def with_regions(raw_state: Path, folder: Path, regions: Mapping[str, str]) -> Path:
    """The small state with these regions of counties; without a table of them if there are none."""
    raw = folder / "raw"
    raw.mkdir()
    for path in raw_state.iterdir():
        if not path.name.startswith("region"):
            (raw / path.name).symlink_to(path)
    if not regions:
        ingest(raw, folder / "population", shards=3)
        return folder / "population"
    with (raw / "region.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(["county_fips", "region"])
        table.writerows(regions.items())
    ingest(raw, folder / "population", shards=3)
    return folder / "population"


@pytest.fixture(scope="module")
def run_of(population: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    made: dict[str, Path] = {}

    def find(text: str, **more: Any) -> Path:
        key = f"{text}{more}"
        if key not in made:
            folder = tmp_path_factory.mktemp("comparison")
            (folder / "set.toml").write_text(HEAD + text, encoding="utf-8")
            request = RunRequest(
                population, (str(folder / "set.toml"),), replicates=B, seed=SEED, **more
            )
            made[key] = run(request, folder / "run", LocalRunner(1)).run_dir
        return made[key]

    return find


def rows(folder: Path, table: str) -> Rows:
    found: Rows = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return found


def rate_cells() -> list[list[str]]:
    return [cell.split("+") for cell in contracts.load(CONTRACT).at(2024)["target.rate_cells"]]


def key_of(person: str) -> int:
    """A member's key, by the definition of the layout."""
    digest = hashlib.blake2b(person.encode(), digest_size=8, person=b"ihp-member-1").digest()
    return int.from_bytes(digest, "little")


def regions_of(raw_state: Path) -> dict[tuple[int, int], str]:
    """Region of members on 31 December, by key and year."""
    found = {}
    for row in pq.read_table(raw_state / "member_factors.parquet").to_pylist():
        for year in (2023, 2024):
            if row["start_date"] <= date(year, 12, 31) <= row["end_date"]:
                region = METRO.get(row["county_fips"])
                if region:
                    found[key_of(row["person_id"]), year] = region
    return found


class Sums:
    """Months and risk by group from member-years, cost from `cells`, of a run without alliances."""

    def __init__(self, folder: Path) -> None:
        cells = contracts.load(CONTRACT).at(2024)["target.rate_cells"]
        self.groups: dict[str, dict[tuple[int, int], list[int]]] = defaultdict(dict)
        places = {(year, cell): (y, c) for y, year in enumerate((2023, 2024))
                  for c, cell in enumerate(cells)}  # fmt: skip
        self._places = list(places.values())
        for row in rows(folder, "member_years"):
            for (year, cell), place in places.items():
                months = sum(row[f"months_{part}"] for part in cell.split("+"))
                if row["group_id"] and row["year"] == year:
                    into = self.groups[row["group_id"]].setdefault(place, [0, 0, 0])
                    into[0] += months
                    into[1] += months * row["score_micro"]
        for row in rows(folder, "cells"):
            place = places[row["year"], row["rate_cell"]]
            own = self.groups[row["partnership_id"]].setdefault(place, [0, 0, 0])
            own[2] += row["cost_cents"]

    def of(self, *groups: str) -> Side:
        years: list[list[tuple[int, int, int]]] = [[], []]
        for y, c in self._places:
            found = [self.groups[name].get((y, c), [0, 0, 0]) for name in groups]
            months, risk, cents = (sum(own[k] for own in found) for k in range(3))
            years[y].append((months, risk, cents))
        return years[0], years[1]

    def expected(self, comparator: str, *own: str) -> ByHand:
        others = [name for name in self.groups if name not in own]
        if comparator == "comparison":
            others = ["COMPARISON"]
        elif comparator.startswith("region:"):
            others = [*self.groups]
        return by_hand(self.of(*own), self.of(*others), self.of(*self.groups), LEAST)


def check(row: Mapping[str, Any], expected: ByHand) -> None:
    assert row["growth"] == pytest.approx(float(expected.growth), rel=1e-10)
    assert row["comparator_growth"] == pytest.approx(float(expected.comparator_growth), rel=1e-10)
    for name in ("benchmark_cents", "observed_cents", "difference_cents", "months_without_base"):
        assert row[name] == getattr(expected, name)


def test_each_trend_is_that_of_member_years_and_cells(run_of: Run) -> None:
    folder = run_of("")
    sums = Sums(folder)
    seen = set()
    for row in rows(folder, "comparison"):
        assert (row["scope"], row["from_year"], row["to_year"]) == ("partnership", 2023, 2024)
        if row["comparator"] != "region:metro":
            check(row, sums.expected(row["comparator"], row["scope_id"]))
            seen.add((row["scope_id"], row["comparator"]))
    partnerships = {row["partnership_id"] for row in rows(folder, "settlement")}
    both = {p for p in partnerships if all(any(m for m, *_ in year) for year in sums.of(p))}
    assert seen == {(p, c) for p in both for c in ("comparison", "others")}
    assert len(seen) > 30


def test_an_alliance_and_each_of_its_members_have_a_trend(run_of: Run) -> None:
    sums, found = Sums(run_of("")), rows(run_of(ALLIANCE.format("member_months")), "comparison")
    by_scope = {
        (row["scope"], row["scope_id"], row["comparator"]): row
        for row in found
        if row["scope"] != "partnership"
    }
    members = {"METRO": ("IHP-01", "IHP-02"), "IHP-01": ("IHP-01",), "IHP-02": ("IHP-02",)}
    comparators = ("comparison", "others", "region:metro")
    assert set(by_scope) == {
        ("alliance" if name == "METRO" else "member", name, comparator)
        for name in members
        for comparator in comparators
    }
    for (_, name, comparator), row in by_scope.items():
        if comparator != "region:metro":
            check(row, sums.expected(comparator, *members[name]))
    apart = {(row["scope_id"], row["comparator"]): row for row in rows(run_of(""), "comparison")}
    for (scope, name, comparator), row in by_scope.items():
        if scope == "member":
            assert row | {"scope": "partnership"} == apart[name, comparator]


def draws_by_hand(folder: Path, own: tuple[str, ...], comparator: str) -> list[ByHand]:
    """Each draw from the kept totals, in plain Python."""
    totals = read_totals(folder / "totals.arrow")
    cells = [[totals.strata.index(part) for part in cell] for cell in rate_cells()]

    def side(groups: list[str], draw: int) -> Side:
        places = [totals.groups.index(name) for name in groups]
        years = []
        for year in ("base", "perf"):
            columns = [totals.columns.index(f"{year}_{what}") for what in
                       ("months", "risk", "cost_r0")]  # fmt: skip
            years.append([
                tuple(sum(int(totals.values[g, s, draw, k]) for g in places for s in cell)
                      for k in columns)
                for cell in cells
            ])  # fmt: skip
        # each a tuple made of a generator, whose length is that of `columns`
        return years[0], years[1]  # type: ignore[return-value]

    others = ["COMPARISON"] if comparator == "comparison" else [
        name for name in totals.groups if name not in own]  # fmt: skip
    observed = side([*own], 0), side(others, 0)
    return [
        by_hand(side([*own], b), side(others, b), side([*totals.groups], b), LEAST, observed)
        for b in range(1 + B)
    ]


@pytest.mark.parametrize("comparator", ["comparison", "others"])
@pytest.mark.parametrize("name", ["METRO", "IHP-02", "IHP-03"])
def test_intervals_are_those_of_the_draws(run_of: Run, name: str, comparator: str) -> None:
    folder = run_of(ALLIANCE.format("member_months"))
    own = ("IHP-01", "IHP-02") if name == "METRO" else (name,)
    draws = draws_by_hand(run_of(""), own, comparator)
    values = {
        "growth_difference": [one.growth - one.comparator_growth for one in draws],
        "difference_cents": [Fraction(one.difference_cents) for one in draws],
    }
    found = [
        row
        for row in rows(folder, "intervals")
        if (row["partnership_id"], row["item"]) == (name, f"{comparator} 2023-2024")
    ]
    assert len(found) == 12
    for row in found:
        point, *drawn = values[row["measure"]]
        drawn.sort()
        tail = (1 - Fraction(str(row["level"]))) / 2
        low, high = (drawn[max(1, math.ceil(p * B)) - 1] for p in (tail, 1 - tail))
        if row["method"] == "basic":
            low, high = 2 * point - high, 2 * point - low
        mean = sum(drawn, Fraction(0)) / B
        std_error = math.sqrt(sum((one - mean) ** 2 for one in drawn) / (B - 1))
        assert row["conditioning"] == "drawn"
        for end, expected in (("point", point), ("low", low), ("high", high),
                              ("std_error", std_error)):  # fmt: skip
            # the cent of a draw is rounded from another last bit
            assert row[end] == pytest.approx(float(expected), rel=1e-7, abs=1e-7)


def test_a_region_has_the_people_who_live_there_at_the_end_of_each_year(
    run_of: Run, population: Path, raw_state: Path
) -> None:
    folder = run_of("")
    lives = regions_of(raw_state)
    request = RunRequest(population, (CONTRACT,), replicates=B, seed=SEED)
    plan, parts = with_programme(make_plan(request))
    own = [part for part in parts if part.name == "comparison"]
    sums = measure(plan.shards, plan=plan, parts=own).programme["comparison"]
    assert sums.regions == ("metro",)
    assert sums.values.shape[3] == 1 + B
    for y, year in enumerate((2023, 2024)):
        people = [
            row
            for row in rows(folder, "member_years")
            if row["group_id"] and row["year"] == year and lives.get((row["member_key"], year))
        ]
        observed = sums.values[0, y, :, 0]
        assert len(people) > 100
        for s, stratum in enumerate(RATE_CELLS):
            months = [row[f"months_{stratum}"] for row in people]
            assert observed[s, 0] == sum(months)
            scores = [row["score_micro"] for row in people]
            assert observed[s, 1] == sum(m * r for m, r in zip(months, scores, strict=True))
        assert observed[:, 2].sum() == sum(row["cost_r0_cents"] for row in people)


def test_a_region_of_everybody_is_the_state(raw_state: Path, tmp_path: Path, run_of: Run) -> None:
    everywhere = {f"27{county:03}": "state" for county in range(1, 175, 2)}
    folder = with_regions(raw_state, tmp_path, everywhere)
    request = RunRequest(folder, (CONTRACT,), replicates=0, seed=SEED)
    made = run(request, tmp_path / "run", LocalRunner(1)).run_dir
    sums = Sums(run_of(""))
    found = [row for row in rows(made, "comparison") if row["comparator"] == "region:state"]
    assert found
    for row in found:
        check(row, sums.expected("region:state", row["scope_id"]))


def test_without_regions_the_others_stand_and_a_finding_says_so(
    raw_state: Path, tmp_path: Path
) -> None:
    request = RunRequest(with_regions(raw_state, tmp_path, {}), (CONTRACT,), replicates=0)
    made = run(request, tmp_path / "run", LocalRunner(1))
    found = {row["comparator"] for row in rows(made.run_dir, "comparison")}
    assert found == {"comparison", "others"}
    (noticed,) = (row for row in made.noticed if row["finding"] == "comparison_without_regions")
    assert noticed["detail"] == "no table region"


def test_a_programme_of_none_compares_nothing(run_of: Run) -> None:
    folder = run_of("", programme="none")
    assert not rows(folder, "comparison")
    assert not [row for row in rows(folder, "intervals") if row["item"]]


@pytest.mark.parametrize("split", ["member_months", "own_results"])
def test_the_pool_is_the_payment_split_by_terms(run_of: Run, split: str) -> None:
    folder = run_of(ALLIANCE.format(split))
    found = rows(folder, "pool")
    (paid,) = (
        row["payment_cents"] for row in rows(folder, "settlement")
        if row["partnership_id"] == "METRO"
    )  # fmt: skip
    assert sum(row["amount_cents"] for row in found) == paid != 0
    if split == "member_months":
        weights = {
            name: sum(
                row[column]
                for row in rows(folder, "member_years")
                for column in row
                if column.startswith("months_")
                if (row["group_id"], row["year"]) == (name, 2024)
            )
            for name in ("IHP-02", "IHP-01")
        }
    else:
        results = {
            row["scope_id"]: row["difference_cents"]
            for row in rows(folder, "comparison")
            if (row["scope"], row["comparator"]) == ("member", "comparison")
        }
        sign = 1 if paid > 0 else -1
        weights = {name: max(0, sign * results[name]) for name in ("IHP-02", "IHP-01")}
    before, running, total = 0, 0, sum(weights.values())
    for position, (name, weight) in enumerate(weights.items()):
        running += weight
        after = round(Fraction(paid * running, total))
        (row,) = (row for row in found if row["partnership_id"] == name)
        assert (row["alliance_id"], row["position"]) == ("METRO", position)
        assert (row["weight"], row["amount_cents"]) == (weight, after - before)
        before = after


def test_two_alliances_split_their_own_payments_one_of_them_by_quality(
    run_of: Run, raw_state: Path
) -> None:
    """Months weigh with each member's score; nobody else's payment moves."""
    lakes = (
        '[alliances.LAKES]\nmembers = ["IHP-03", "IHP-04"]\nsplit = "weights"\n'
        'weights = { "IHP-03" = 0.1, "IHP-04" = 0.9 }\n'
    )
    folder = run_of(ALLIANCE.format("quality") + lakes)
    paid = {row["partnership_id"]: row["payment_cents"] for row in rows(folder, "settlement")}
    assert {"METRO", "LAKES"} <= set(paid)
    assert not {"IHP-01", "IHP-02", "IHP-03", "IHP-04"} & set(paid)
    alone = {
        row["partnership_id"]: row["payment_cents"]
        for row in rows(run_of(ALLIANCE.format("member_months")), "settlement")
    }
    assert paid["METRO"] == alone["METRO"]
    score = {
        row["partnership_id"]: float(row["score"])
        for row in pq.read_table(raw_state / "quality_score.parquet").to_pylist()
        if int(row["performance_year"]) == 2024
    }
    assert score["IHP-01"] != score["IHP-02"]
    months = {
        name: sum(
            row[column]
            for row in rows(folder, "member_years")
            for column in row
            if column.startswith("months_") and (row["group_id"], row["year"]) == (name, 2024)
        )
        for name in ("IHP-02", "IHP-01")
    }
    pool = {
        name: sorted(
            (row for row in rows(folder, "pool") if row["alliance_id"] == name),
            key=lambda row: row["position"],
        )
        for name in ("METRO", "LAKES")
    }
    assert sum(map(len, pool.values())) == len(rows(folder, "pool"))
    weights = {
        "METRO": {name: months[name] * score[name] for name in ("IHP-02", "IHP-01")},
        "LAKES": {"IHP-03": 0.1, "IHP-04": 0.9},
    }
    for alliance, found in pool.items():
        own = weights[alliance]
        assert [row["partnership_id"] for row in found] == list(own)
        assert [row["position"] for row in found] == [0, 1]
        assert sum(row["amount_cents"] for row in found) == paid[alliance]
        for row in found:
            weight = own[row["partnership_id"]]
            assert row["weight"] == pytest.approx(weight)
            exact = paid[alliance] * weight / sum(own.values())
            assert abs(row["amount_cents"] - exact) <= 1 + 1e-9 * abs(exact)


def test_a_pool_by_weights_stands_under_any_programme(run_of: Run) -> None:
    text = ALLIANCE.format("weights") + 'weights = { "IHP-01" = 0.25, "IHP-02" = 0.75 }\n'
    folder = run_of(text, programme="none")
    found = {row["partnership_id"]: row for row in rows(folder, "pool")}
    assert {name: row["weight"] for name, row in found.items()} == {"IHP-01": 0.25, "IHP-02": 0.75}
    (paid,) = (
        row["payment_cents"] for row in rows(folder, "settlement")
        if row["partnership_id"] == "METRO"
    )  # fmt: skip
    assert found["IHP-02"]["amount_cents"] == round(Fraction(3 * paid, 4))
    with pytest.raises(ContractError, match=r"METRO\.split: found own_results, and no programme"):
        run_of(ALLIANCE.format("own_results"), programme="none")


def test_the_report_shows_trends_with_intervals_and_the_pool(run_of: Run) -> None:
    folder = run_of(ALLIANCE.format("member_months"))
    page = render(folder)
    _, _, section = page.partition('<h2 id="comparison">')
    section = section.partition("<h2 ")[0]
    (row,) = (
        row
        for row in rows(folder, "comparison")
        if (row["scope"], row["comparator"]) == ("alliance", "others")
    )
    assert f"{row['growth'] - 1:+.2%}".replace("-", "\N{MINUS SIGN}").replace("%", " %") in section
    (ends,) = (
        row
        for row in rows(folder, "intervals")
        if (row["scope"], row["item"], row["measure"], row["method"], row["level"])
        == ("alliance", "others 2023-2024", "difference_cents", "percentile", 0.95)
    )
    assert f"{usd(ends['low'])} to {usd(ends['high'])}" in section
    for row in rows(folder, "pool"):
        assert usd(row["amount_cents"], places=2) in section
    assert "METRO: what its members share" in section
    assert '<h2 id="comparison">' not in render(run_of("", programme="none"))


def test_the_open_form_holds_a_trend_back_with_either_side(run_of: Run) -> None:
    folder = run_of(ALLIANCE.format("member_months"))
    groups = {("IHP-02", "2024"), ("IHP-05", "2023")}
    hidden = frozenset(Key("partnership", g, "all", "all", year, PEOPLE) for g, year in groups)
    form = OpenForm(folder, Pattern("", "", ("2023", "2024"), (), hidden, frozenset()))

    def held_back(table: str, name: str, column: str) -> set[tuple[str, str]]:
        return {
            (row["scope"], row[name])
            for row in form.table(table).to_pylist()
            if row[column] is None
        }

    expected = {("member", "IHP-02"), ("partnership", "IHP-05")}
    assert held_back("comparison", "scope_id", "growth") == expected
    assert held_back("comparison", "scope_id", "observed_cents") == expected
    for row in form.table("intervals").to_pylist():
        if " 2023-2024" in row["item"]:
            own = (row["scope"], row["partnership_id"]) in expected
            assert own == (row["low"] is None) == (row["point"] is None)
    market = frozenset({Key("partnership", "COMPARISON", "all", "all", "2023", PEOPLE)})
    form = OpenForm(folder, Pattern("", "", ("2023", "2024"), (), market, frozenset()))
    for row in form.table("comparison").to_pylist():
        assert (row["growth"] is None) == (row["comparator"] == "comparison")
    section = render(folder, form=form).partition('<h2 id="comparison">')[2].partition("<h2 ")[0]
    assert "held back" in section
    assert "what its members share" not in section
