"""The cost index of runs: recomputed from lines and member-years, and a planted price and use."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import COMPARISON, LINE_KINDS, SERVICE_CATEGORIES, UNATTRIBUTED
from ihp_compute.contracts import EXCLUDABLE
from ihp_compute.errors import ContractError
from ihp_compute.ingest.passes import ingest
from ihp_compute.measure import make_plan
from ihp_compute.pipeline import Outcome, RunRequest, run
from ihp_compute.population import member_keys, open_population
from ihp_compute.runner import LocalRunner
from ihp_compute.units import year_bounds

CONTRACT = "mn-ihp-2.0-track-2"
REPLICATES = 20
Rows = list[dict[str, Any]]


def programme(folder: Path, **terms: Any) -> str:
    """A programme of one's own, with these terms of the cost index."""
    units = {"cap": "USD per member per year", "least_lines": "lines", "least_members": "members",
             "peer": "name"}  # fmt: skip
    text = 'name = "own"\ntitle = "own"\nextends = "standard"\n'
    for name, value in terms.items():
        text += (
            f'[cost_index.{name}]\nvalue = {value}\nunit = "{units[name]}"\nfrom = 2000-01-01\n'
            'basis = "assumed"\nsource = { doc = "practice", at = "Services counted" }\n'
        )
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def table(done: Outcome, name: str) -> Rows:
    found: Rows = pq.read_table(done.run_dir / f"{name}.parquet").to_pylist()
    return found


# --- recomputed ----------------------------------------------------------------------------------

CAP_CENTS = 3_000_000
LEAST_LINES = 40


@pytest.fixture(scope="module")
def own(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run whose peer is the comparison population, under a cap that binds."""
    folder = tmp_path_factory.mktemp("own")
    request = RunRequest(
        small_population, (CONTRACT,), replicates=REPLICATES, seed=3,
        programme=programme(
            folder, cap=CAP_CENTS // 100, least_lines=LEAST_LINES, least_members=100,
            peer=f'"{COMPARISON}"',
        ),
    )  # fmt: skip
    return run(request, folder / "run", LocalRunner(1))


def half_even(value: Fraction) -> int:
    return round(value)


SERVICES = """
create table line as
select l.member_key, l.claim_end_day as day, l.category, l.cents, l.units, l.stay,
    case when l.hcpcs > 0 then 'h' || l.hcpcs when l.revenue > 0 then 'r' || l.revenue
         when l.ndc > 0 then 'n' || l.ndc else '' end as service
from lines l
where l.kind in ('fee_for_service', 'encounter') and l.paid_day <= $cutoff
    and list_contains($services, l.category);

create table service as
select member_key, day, category, service, cents,
    case when units > 0 then units else 1000 end as units
from line where stay < 0 or category <> 'inpatient'
union all
select line.member_key, any_value(s.discharge_day), 'inpatient',
    case when any_value(s.drg) > 0 then 'd' || any_value(s.drg) else '' end,
    sum(line.cents), 1000
from line join stays s on line.stay = s.stay
where line.stay >= 0 and line.category = 'inpatient'
group by line.stay, line.member_key;

create table counted as
select s.*, y.year, y.group_id, y.months
from service s
join months m on m.member_key = s.member_key
    and m.month = year(epoch_ms(s.day * 86400000::bigint)) * 12
        + month(epoch_ms(s.day * 86400000::bigint)) - 1
join member_years y on y.member_key = s.member_key and y.year = m.month // 12
where y.group_id <> '';

create table of_service as
select year, service, count(*) as n, sum(cents)::double / sum(units) as rate
from counted where cents > 0 and service <> '' group by all having n >= $least;

create table of_category as
select year, c.category, sum(cents)::bigint as cents, count(*) as n
from counted c left join of_service using (year, service)
where cents > 0 and rate is null group by all;

create table used as
select c.member_key, year, c.category, c.cents,
    (c.cents > 0)::int as services, (c.cents = 0)::int as unpriced,
    case when c.cents <= 0 then 0
         when rate is not null then round_even(c.units * rate, 0)::bigint
         else round_even(p.cents::double / p.n, 0)::bigint end as resource
from counted c left join of_service using (year, service)
left join of_category p on p.year = c.year and p.category = c.category;
"""


def conditions(db: Any, population: Any, plan: Any, raw_state: Path) -> dict[Any, str]:
    """Condition group of each member and year: the lowest rank among its diagnoses."""
    rows = pq.read_table(raw_state / "condition_group.parquet").to_pylist()
    prefixes = [(row["dx_prefix"], int(row["rank"]), row["condition_group"]) for row in rows]
    names = population.codes("dx").to_pylist()
    best: dict[Any, tuple[int, str]] = {}
    for year, cutoff in zip(plan.years, plan.cutoff_days, strict=True):
        first, end = year_bounds(year)
        for key, dx in db.execute(
            "select distinct member_key, dx from diagnoses "
            "where day >= $first and day < $end and paid_day <= $cutoff",
            {"first": first, "end": end, "cutoff": cutoff},
        ).fetchall():
            for prefix, rank, group in prefixes:
                if names[dx].startswith(prefix):
                    best[key, year] = min(best.get((key, year), (rank, group)), (rank, group))
    return {of: group for of, (_, group) in best.items()}


@pytest.fixture(scope="module")
def recomputed(own: Outcome, small_population: Path, raw_state: Path) -> dict[str, Any]:
    """Members of nine months with their cost, resources, services by category, by DuckDB."""
    plan = make_plan(RunRequest(small_population, (CONTRACT,), replicates=0))
    population = open_population(small_population)
    columns: dict[str, dict[str, list[np.ndarray[Any, Any]]]] = defaultdict(
        lambda: defaultdict(list)
    )

    def add(name: str, **values: np.ndarray[Any, Any]) -> None:
        for column, array in values.items():
            columns[name][column].append(array)

    for shard in population.shards:
        key = shard.column("members", "member_key")

        def owner(
            name: str, key: np.ndarray[Any, Any] = key, shard: Any = shard
        ) -> np.ndarray[Any, Any]:
            return np.repeat(key, np.diff(shard.offsets(name)))

        stay = shard.column("line_detail", "stay").astype(np.int64)
        add(
            "lines", member_key=owner("lines"),
            category=np.array(SERVICE_CATEGORIES)[shard.column("lines", "category")],
            kind=np.array(LINE_KINDS)[shard.column("lines", "kind")],
            cents=shard.column("lines", "allowed_cents"),
            units=shard.column("line_detail", "units_milli"),
            stay=np.where(stay >= 0, stay + shard.index * 10**6, -1),
            **{n: shard.column("lines", n) for n in ("claim_end_day", "paid_day")},
            **{n: shard.column("line_detail", n) for n in ("hcpcs", "revenue", "ndc")},
        )  # fmt: skip
        n_stays = len(shard.column("stays", "drg"))
        add(
            "stays", stay=np.arange(n_stays) + shard.index * 10**6,
            **{n: shard.column("stays", n) for n in ("discharge_day", "drg")},
        )  # fmt: skip
        add("members", member_key=key, **{
            n: shard.column("members", n) for n in ("birth_day", "death_day")
        })  # fmt: skip
        add("diagnoses", member_key=owner("diagnoses"), **{
            n: shard.column("diagnoses", n) for n in ("dx", "day", "paid_day")
        })  # fmt: skip
        add("spans", member_key=owner("spans"), **{
            n: shard.column("spans", n) for n in ("first_month", "n_months", "flags")
        })  # fmt: skip
    db = duckdb.connect()
    for name, of in columns.items():
        db.register(name, pa.table({c: np.concatenate(parts) for c, parts in of.items()}))
    excluded = sum(EXCLUDABLE[name] for name in plan.attribution.exclude)
    db.execute(
        """
        create table months as
        select s.member_key, unnest(range(s.first_month, s.first_month + s.n_months)) as month
        from spans s join members m using (member_key) where s.flags & $excluded = 0
        """,
        {"excluded": excluded},
    )
    db.execute(
        """
        delete from months using members m
        where months.member_key = m.member_key and (
            month < year(epoch_ms(m.birth_day * 86400000::bigint)) * 12
                + month(epoch_ms(m.birth_day * 86400000::bigint)) - 1
            or (m.death_day > -2147483648
                and month > year(epoch_ms(m.death_day * 86400000::bigint)) * 12
                    + month(epoch_ms(m.death_day * 86400000::bigint)) - 1))
        """
    )
    member_years = pq.read_table(own.run_dir / "member_years.parquet").to_pylist()
    scores = pq.read_table(raw_state / "risk_score.parquet").to_pylist()
    ids = member_keys([row["person_id"] for row in scores]).tolist()
    cell = {(k, int(row["year"])): row["cell"] for k, row in zip(ids, scores, strict=True)}
    condition = conditions(db, population, plan, raw_state)
    people = [
        {
            "member_key": row["member_key"],
            "year": row["year"],
            "group_id": row["group_id"],
            "months": sum(n for name, n in row.items() if name.startswith("months_")),
            "score": row["score_micro"],
            "condition": condition.get((row["member_key"], row["year"]), "none"),
            "cell": cell.get((row["member_key"], row["year"])) or "none",
        }
        for row in member_years
    ]
    of_people = {name: [person[name] for person in people] for name in people[0]}
    keys = pa.array(of_people.pop("member_key"), pa.uint64())
    db.register("member_years", pa.table({"member_key": keys, **of_people}))
    assert plan.programme is not None
    services = plan.programme["cost_index.services"]
    for statement in SERVICES.split(";"):
        given = {
            "cutoff": plan.cutoff_day, "services": list(services), "least": LEAST_LINES,
        }  # fmt: skip
        named = {name: value for name, value in given.items() if f"${name}" in statement}
        if statement.strip():
            db.execute(statement, named)
    sums: dict[Any, dict[str, list[int]]] = defaultdict(dict)
    for key_, year, category, *values in db.execute(
        "select member_key, year, category, sum(cents)::bigint, sum(resource)::bigint, "
        "sum(services)::bigint, sum(unpriced)::bigint from used group by all"
    ).fetchall():
        sums[key_, year][category] = list(values)
    found = []
    for person in people:
        if not person["group_id"] or person["months"] < 9:
            continue
        by_category = sums[person["member_key"], person["year"]]
        total = sum(values[0] for values in by_category.values())
        if total > CAP_CENTS:
            for k in (0, 1):
                through = before = 0
                for category in services:
                    if category in by_category:
                        through += by_category[category][k]
                        running = half_even(Fraction(CAP_CENTS * through, total))
                        by_category[category][k] = running - before
                        before = running
        found.append({**person, "truncated": total > CAP_CENTS, "by_category": by_category})
    pooled = db.execute("select count(*) from of_category").fetchone()
    return {"members": found, "years": plan.years, "pooled": pooled}


def whole(members: Rows) -> dict[str, int]:
    """Sums of some members."""
    of = [values for m in members for values in m["by_category"].values()]
    return {
        "n_members": len(members),
        "member_months": sum(m["months"] for m in members),
        "n_truncated": sum(m["truncated"] for m in members),
        "unpriced_lines": sum(values[3] for values in of),
        "cost_cents": sum(values[0] for values in of),
        "resource_cents": sum(values[1] for values in of),
        "risk": sum(m["months"] * m["score"] for m in members),
    }


def scopes(found: dict[str, Any], year: int) -> Iterator[tuple[str, str, Rows]]:
    members = [m for m in found["members"] if m["year"] == year]
    groups = sorted({m["group_id"] for m in members})
    for group in groups:
        yield "partnership", group, [m for m in members if m["group_id"] == group]
    attributed = [m for m in members if m["group_id"] not in (COMPARISON, UNATTRIBUTED)]
    yield "attributed", "attributed", attributed
    yield "track", CONTRACT, attributed
    yield "state", "state", members


def test_indices_are_recomputed_from_lines_and_member_years(
    own: Outcome, recomputed: dict[str, Any]
) -> None:
    rows = {(r["scope"], r["scope_id"], r["year"]): r for r in table(own, "cost_index")}
    truncated = unpriced = 0
    for year in recomputed["years"]:
        sides = {(s, i): whole(members) for s, i, members in scopes(recomputed, year)}
        peer = sides["partnership", COMPARISON]
        for (scope, scope_id), side in sides.items():
            row = rows[scope, scope_id, year]
            assert {name: row[name] for name in side if name != "risk"} == {
                name: value for name, value in side.items() if name != "risk"
            }, (scope, scope_id)
            assert row["peer"] == COMPARISON
            assert row["risk_mean"] == pytest.approx(side["risk"] / side["member_months"] / 1e6)
            tci, rui = (
                Fraction(side[c], side["risk"]) / Fraction(peer[c], peer["risk"])
                for c in ("cost_cents", "resource_cents")
            )
            assert row["tci"] == pytest.approx(float(tci), rel=1e-12)
            assert row["rui"] == pytest.approx(float(rui), rel=1e-12)
            assert row["price_index"] == pytest.approx(float(tci / rui), rel=1e-12)
            assert row["tci"] == pytest.approx(row["rui"] * row["price_index"], rel=1e-13)
            assert row["flag"] == ("below_minimum" if side["n_members"] < 100 else "")
            truncated += side["n_truncated"]
            unpriced += side["unpriced_lines"]
    assert truncated  # the cap binds, and there are lines at zero: neither test is empty
    assert unpriced
    assert recomputed["pooled"][0] > 0


def drivers_are(done: Outcome, recomputed: dict[str, Any], condition: str) -> None:
    """The drivers of a run, with conditions from a column of the members recomputed."""
    found: dict[Any, Any] = defaultdict(dict)
    for row in table(done, "cost_drivers"):
        of = found[row["scope"], row["scope_id"], row["year"], row["dimension"]]
        of[row["item"]] = row
    index = {(r["scope"], r["scope_id"], r["year"]): r for r in table(done, "cost_index")}
    for year in recomputed["years"]:
        sides = {(s, i): members for s, i, members in scopes(recomputed, year)}
        other = index["partnership", COMPARISON, year]
        for (scope, scope_id), members in sides.items():
            one = index[scope, scope_id, year]
            gap = (
                one["cost_cents"] / one["member_months"]
                - other["cost_cents"] / other["member_months"]
            ) / 100
            expected: dict[str, Any] = {"service_category": {}, "condition_group": {}}
            for m in members:
                for category, values in m["by_category"].items():
                    for dimension, item in (
                        ("service_category", category), ("condition_group", m[condition]),
                    ):  # fmt: skip
                        sums = expected[dimension].setdefault(item, [0, 0, 0])
                        for k in range(3):
                            sums[k] += values[k]
            for dimension, by_item in expected.items():
                rows = found[scope, scope_id, year, dimension]
                for item, sums in by_item.items():
                    row = rows[item]
                    kept = [row[c] for c in ("cost_cents", "resource_cents", "services")]
                    assert kept == sums, (scope_id, item)
                parts = [
                    row[f"{part}_usd"] for row in rows.values() for part in ("mix", "use", "price")
                ]
                assert sum(parts) == pytest.approx(gap, abs=1e-8)
                whole_of = sum(row["difference_usd"] for row in rows.values())
                assert whole_of == pytest.approx(gap, abs=1e-8)


def test_drivers_are_recomputed_and_add_up_to_the_difference(
    own: Outcome, recomputed: dict[str, Any]
) -> None:
    drivers_are(own, recomputed, "condition")


def test_mix_use_and_price_of_a_category_are_as_the_rule_has_them(own: Outcome) -> None:
    index = {(r["scope"], r["scope_id"], r["year"]): r for r in table(own, "cost_index")}
    rows = [row for row in table(own, "cost_drivers") if row["dimension"] == "service_category"]
    peers = {(r["year"], r["item"]): r for r in rows if r["scope_id"] == COMPARISON}
    tested = 0
    for row in rows:
        other = peers[row["year"], row["item"]]
        if not (row["services"] and other["services"]):
            continue
        one = index[row["scope"], row["scope_id"], row["year"]]
        peer = index["partnership", COMPARISON, row["year"]]
        w = one["risk_mean"] / peer["risk_mean"]
        u, u0 = (r["services"] / s["member_months"] for r, s in ((row, one), (other, peer)))
        p, p0 = (r["cost_cents"] / r["services"] / 100 for r in (row, other))
        assert row["mix_usd"] == pytest.approx((w - 1) * p0 * u0, abs=1e-9)
        assert row["use_usd"] == pytest.approx(w * p0 * (u / w - u0), abs=1e-8)
        assert row["price_usd"] == pytest.approx(u * (p - p0), abs=1e-8)
        tested += 1
    assert tested > 100


def test_an_interval_has_the_index_for_its_point_and_both_sides_drawn(own: Outcome) -> None:
    """Of the performance year; the peer against itself is 1 in every draw."""
    year = max(row["year"] for row in table(own, "cost_index"))
    points = {
        (r["scope"], r["scope_id"], name): r[name]
        for r in table(own, "cost_index")
        if r["year"] == year
        for name in ("tci", "rui", "price_index")
    }
    rows = [row for row in table(own, "intervals") if row["conditioning"] == "drawn"]
    mine = [row for row in rows if row["measure"] in ("tci", "rui", "price_index")]
    assert len(mine) == len(points) * 2 * 3
    for row in mine:
        assert row["point"] == points[row["scope"], row["partnership_id"], row["measure"]]
        if row["partnership_id"] == COMPARISON:
            assert (row["low"], row["high"], row["std_error"]) == (1.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def bare(raw_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same state in two shards, without regions and condition groups."""
    folder = tmp_path_factory.mktemp("bare")
    shutil.copytree(raw_state, folder / "raw")
    for name in ("region", "condition_group"):
        (folder / "raw" / f"{name}.parquet").unlink()
    ingest(folder / "raw", folder / "population", shards=2)
    return folder / "population"


def test_shards_and_threads_do_not_change_the_tables(
    own: Outcome, recomputed: dict[str, Any], bare: Path, tmp_path: Path
) -> None:
    """Without a table of condition groups the cells that came with scores stand in."""
    request = RunRequest(
        bare, (CONTRACT,), replicates=REPLICATES, seed=3,
        programme=str(own.run_dir.parent / "own.toml"),
    )  # fmt: skip
    again = run(request, tmp_path / "run", LocalRunner(2))
    assert table(again, "cost_index") == table(own, "cost_index")
    by_category = (
        [row for row in table(done, "cost_drivers") if row["dimension"] == "service_category"]
        for done in (own, again)
    )
    assert next(by_category) == next(by_category)
    drivers_are(again, recomputed, "cell")


def test_a_region_is_a_peer_whatever_group_its_people_are_of(
    recomputed: dict[str, Any], small_population: Path, raw_state: Path, tmp_path: Path
) -> None:
    regions = pq.read_table(raw_state / "region.parquet").to_pylist()
    counties = {row["county_fips"] for row in regions if row["region"] == "metro"}
    file = programme(
        tmp_path, cap=CAP_CENTS // 100, least_lines=LEAST_LINES, least_members=100,
        peer='"region:metro"',
    )  # fmt: skip
    request = RunRequest(
        small_population, (CONTRACT,), replicates=REPLICATES, seed=3, programme=file
    )
    done = run(request, tmp_path / "run", LocalRunner(1))
    factors = pq.read_table(raw_state / "member_factors.parquet").to_pylist()
    keys = member_keys([row["person_id"] for row in factors]).tolist()
    rows = {(r["scope"], r["scope_id"], r["year"]): r for r in table(done, "cost_index")}
    for year in recomputed["years"]:
        there = {
            key
            for key, row in zip(keys, factors, strict=True)
            if row["county_fips"] in counties
            and row["start_date"] <= date(year, 12, 31) <= row["end_date"]
        }
        members = [m for m in recomputed["members"] if m["year"] == year]
        peer = whole([m for m in members if m["member_key"] in there])
        assert 100 < peer["n_members"] < len(members)
        for scope, scope_id, own_members in scopes(recomputed, year):
            side, row = whole(own_members), rows[scope, scope_id, year]
            assert (row["n_members"], row["cost_cents"]) == (side["n_members"], side["cost_cents"])
            tci, rui = (
                Fraction(side[c], side["risk"]) / Fraction(peer[c], peer["risk"])
                for c in ("cost_cents", "resource_cents")
            )
            assert row["tci"] == pytest.approx(float(tci), rel=1e-12)
            assert row["rui"] == pytest.approx(float(rui), rel=1e-12)
            gap = side["cost_cents"] / side["member_months"]
            gap -= peer["cost_cents"] / peer["member_months"]
            parts = [
                d["difference_usd"]
                for d in table(done, "cost_drivers")
                if (d["scope"], d["scope_id"], d["year"]) == (scope, scope_id, year)
            ]
            assert sum(parts) == pytest.approx(2 * gap / 100, abs=1e-7)  # by two dimensions
    points = {
        (r["scope"], r["partnership_id"]): r["point"]
        for r in table(done, "intervals")
        if r["measure"] == "tci"
    }
    year = max(recomputed["years"])
    assert points == {(s, i): rows[s, i, y]["tci"] for s, i, y in rows if y == year}


@pytest.mark.parametrize("peer", ["nobody", "region:Nowhere"])
def test_an_unknown_peer_is_refused(small_population: Path, tmp_path: Path, peer: str) -> None:
    file = programme(tmp_path, peer=f'"{peer}"')
    request = RunRequest(small_population, (CONTRACT,), programme=file)
    with pytest.raises(ContractError, match=f"cost_index.peer: found {peer}, expected state"):
        run(request, tmp_path / "run", LocalRunner(1))


def test_without_regions_there_is_no_index_against_one_and_the_run_says_so(
    bare: Path, tmp_path: Path
) -> None:
    file = programme(tmp_path, peer='"region:metro"')
    request = RunRequest(bare, (CONTRACT,), replicates=2, programme=file)
    done = run(request, tmp_path / "run", LocalRunner(1))
    assert (table(done, "cost_index"), table(done, "cost_drivers")) == ([], [])
    told = {row["finding"]: row["subject"] for row in table(done, "data_quality")}
    assert told["cost_index_without_regions"] == "region:metro"


# --- planted -------------------------------------------------------------------------------------

CLINICS = {"IHP-01": "1000000004", COMPARISON: "1000000012"}
PEOPLE = 60
"""Of each group: a person of one group has a twin in the other."""
VISIT_USD = 20
DRUG_USD = 3
EXPENSIVE = 5
"""Every so many people need a hundred times the units."""
PRICE, USE = Fraction(11, 10), Fraction(21, 20)


def planted(folder: Path) -> None:
    """Two groups of the same needs, one of them 10 % dearer a unit and with 5 % more units."""
    folder.mkdir()
    rows: dict[str, Rows] = defaultdict(list)
    for group, npi in CLINICS.items():
        rows["provider_roster"].append(
            {"partnership_id": group, "npi": npi, "specialty": "primary care"}
        )
        for n in range(PEOPLE):
            person = f"{group}-{n}"
            rows["eligibility"].append(
                {
                    "person_id": person, "gender": "female", "birth_date": "1980-05-05",
                    "enrollment_start_date": "2023-01-01", "enrollment_end_date": "2024-12-31",
                }
            )  # fmt: skip
            for year in (2023, 2024):
                rows["risk_score"].append(
                    {"person_id": person, "year": year, "model": "flat", "score": "1.0"}
                )
                _care(rows, group, npi, person, n, year)
    for name, of in rows.items():
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(of[0]))
            writer.writeheader()
            writer.writerows(of)


def _care(rows: dict[str, Rows], group: str, npi: str, person: str, n: int, year: int) -> None:
    dear = PRICE if group != COMPARISON else Fraction(1)
    more = USE if group != COMPARISON else Fraction(1)
    needs = 20 * (100 if n % EXPENSIVE == 0 else 1)
    for month in range(1, 13):
        day = f"{year}-{month:02d}-10"
        for kind, usd, name in (
            ("V", VISIT_USD, "medical_claim"),
            ("D", DRUG_USD, "pharmacy_claim"),
        ):
            units = needs * more
            amount = f"{float(units * usd * dear):.2f}"
            claim = {
                "claim_id": f"{kind}{person}{day}", "claim_line_number": "1", "person_id": person,
                "paid_date": day, "paid_amount": amount, "allowed_amount": amount,
            }  # fmt: skip
            if name == "medical_claim":
                rows[name].append(
                    claim | {
                        "claim_type": "professional", "claim_start_date": day,
                        "claim_end_date": day, "hcpcs_code": "99213",
                        "place_of_service_code": "11", "diagnosis_code_1": "E119",
                        "rendering_npi": npi, "service_unit_quantity": f"{float(units)}",
                    }
                )  # fmt: skip
            else:
                rows[name].append(
                    claim | {
                        "dispensing_date": day, "ndc_code": "00002821501",
                        "quantity": f"{float(units)}",
                    }
                )  # fmt: skip


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Rows of the partnership in the performance year: its index, and its drivers."""
    folder = tmp_path_factory.mktemp("twins")
    planted(folder / "raw")
    ingest(folder / "raw", folder / "population", shards=2, threads=1)

    def make(name: str, cap: str) -> dict[str, Any]:
        (folder / name).mkdir()
        terms = folder / name / "set.toml"
        terms.write_text(
            f'[set]\nname = "own"\n[default]\ncontract = "{CONTRACT}"\n[default.overrides]\n'
            '"settlement.quality.missing" = "full"\n'
        )
        request = RunRequest(
            folder / "population", (str(terms),), base_year=2023, performance_year=2024,
            replicates=200, seed=1,
            programme=programme(folder / name, cap=cap, peer=f'"{COMPARISON}"', least_members=10),
        )  # fmt: skip
        done = run(request, folder / name / "run", LocalRunner(1))
        (row,) = (
            r for r in table(done, "cost_index") if r["scope_id"] == "IHP-01" and r["year"] == 2024
        )
        drivers = [
            r
            for r in table(done, "cost_drivers")
            if (r["scope_id"], r["year"], r["dimension"]) == ("IHP-01", 2024, "service_category")
        ]
        drawn = {
            r["measure"]: r
            for r in table(done, "intervals")
            if (r["partnership_id"], r["method"]) == ("IHP-01", "percentile") and r["level"] == 0.95
        }
        return {"index": row, "drivers": drivers, "drawn": drawn}

    return make


def test_a_planted_price_and_use_are_recovered(twins: Callable[..., dict[str, Any]]) -> None:
    found = twins("whole", '"none"')
    row = found["index"]
    assert (row["n_members"], row["n_truncated"], row["flag"]) == (PEOPLE, 0, "")
    assert row["price_index"] == pytest.approx(float(PRICE), abs=1e-6)
    assert row["rui"] == pytest.approx(float(USE), abs=1e-6)
    assert row["tci"] == pytest.approx(float(PRICE * USE), abs=1e-6)
    for name, point in (("price_index", PRICE), ("tci", PRICE * USE), ("rui", USE)):
        drawn = found["drawn"][name]
        assert drawn["low"] <= float(point) + 1e-6
        assert drawn["high"] >= float(point) - 1e-6
    # every price is the planted one, whoever is drawn
    assert found["drawn"]["price_index"]["std_error"] < 1e-5


def test_a_planted_price_is_recovered_where_the_cap_binds(
    twins: Callable[..., dict[str, Any]],
) -> None:
    """One factor on cost and resources leaves each member's price as it is. By hand: a person
    needs 20 units of each service a month, one in five a hundred times as many and is cut."""
    cap = 50_000
    row = twins("cut", str(cap))["index"]
    assert row["n_truncated"] == PEOPLE // EXPENSIVE
    year = 12 * 20 * (VISIT_USD + DRUG_USD)
    few, many = PEOPLE - PEOPLE // EXPENSIVE, PEOPLE // EXPENSIVE
    assert year < cap < 100 * year
    costs = [few * year * PRICE * USE + many * cap, Fraction(few * year + many * cap)]
    tci = costs[0] / costs[1]
    assert row["price_index"] == pytest.approx(float(PRICE), abs=1e-5)
    assert row["tci"] == pytest.approx(float(tci), abs=1e-5)
    assert row["rui"] == pytest.approx(float(tci / PRICE), abs=1e-5)
    assert row["rui"] < 1  # cut to one cost at higher prices, fewer resources are left


def test_planted_drivers_are_price_alone_where_lines_are_as_many(
    twins: Callable[..., dict[str, Any]],
) -> None:
    """A line is a service: 5 % more units on as many lines are more dollars a service."""
    found = twins("drivers", '"none"')
    for row in found["drivers"]:
        assert row["mix_usd"] == pytest.approx(0, abs=1e-9)
        assert row["use_usd"] == pytest.approx(0, abs=1e-9)
        own = row["cost_cents"] / (PEOPLE * 12) / 100
        assert row["price_usd"] == pytest.approx(own - own / float(PRICE * USE), rel=1e-6)
