"""A population's counts, made again row by row from its shards."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from ihp_compute.codes import RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.population import open_population, profile
from ihp_compute.units import NO_DAY, date_of


def test_people_months_lines_and_dollars_are_those_of_the_rows(small_population: Path) -> None:
    population = open_population(small_population)
    found = profile(population)
    people: dict[Any, set[Any]] = defaultdict(set)
    months: dict[Any, int] = defaultdict(int)
    lines: dict[Any, int] = defaultdict(int)
    cents: dict[Any, int] = defaultdict(int)
    unpaid = n_lines = 0
    for shard in population.shards:
        spans, claims = shard.offsets("spans"), shard.offsets("lines")
        first, n, cell = (
            shard.column("spans", c) for c in ("first_month", "n_months", "rate_cell")
        )
        day, kind, paid, paid_day = (
            shard.column("lines", c) for c in ("service_day", "category", "paid_cents", "paid_day")
        )
        for m in range(shard.n_members):
            who = shard.index, m
            for s in range(spans[m], spans[m + 1]):
                for month in range(first[s], first[s] + n[s]):
                    key = month // 12, RATE_CELLS[cell[s]]
                    people[key].add(who)
                    people[key[0]].add(who)
                    months[key] += 1
            for row in range(claims[m], claims[m + 1]):
                n_lines += 1
                unpaid += paid_day[row] == NO_DAY
                at = f"{date_of(int(day[row])):%Y-%m}", SERVICE_CATEGORIES[kind[row]]
                people[at].add(who)
                people[at[0]].add(who)
                lines[at] += 1
                cents[at] += int(paid[row])
    assert len(found["enrolment"]) == len(months) > 4
    for row in found["enrolment"]:
        key = row["year"], row["rate_cell"]
        assert (row["members"], row["member_months"]) == (len(people[key]), months[key])
    assert len(found["claims"]) == len(lines) > 40
    for row in found["claims"]:
        key = row["month"], row["category"]
        assert (row["members"], row["lines"], row["paid_cents"]) == (
            len(people[key]), lines[key], cents[key],
        )  # fmt: skip
    for row in found["enrolled"]:
        assert row["members"] == len(people[row["year"]])
    for row in found["claiming"]:
        assert row["members"] == len(people[row["month"]])
    assert sum(row["member_months"] for row in found["enrolment"]) == found["member_months"]
    (blank,) = [row for row in found["missing"] if row["column"] == "paid_day"]
    assert (blank["rows"], blank["missing"]) == (n_lines, unpaid)
    assert (found["first_month"], found["last_month"]) == (
        found["claims"][0]["month"], found["claims"][-1]["month"],
    )  # fmt: skip
