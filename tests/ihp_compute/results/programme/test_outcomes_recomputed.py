"""Both tables of outcomes made again by SQL: from `member_years`, raw factors and arms."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import MEMBER_FACTORS, RATE_CELLS
from ihp_compute.measure import RunRequest
from ihp_compute.pipeline import run
from ihp_compute.runner import LocalRunner

CONTRACT = "mn-ihp-2.0-track-2"
TEXTS = ("race", "ethnicity", "language", "county_fips")
Z = 1.959963984540054
MONTHS = [f"months_{cell}" for cell in RATE_CELLS]

STRATA = """
create table told as
with said as (
    select key, {texts}, {flags} from factors
)
select key, dimension, stratum from said unpivot (stratum for dimension in ({names}))
union all select key, 'all', 'all' from said
union all select key, 'intervention', arm from intervention
    where year(start_date::date) > ? and year(start_date::date) <= ?
"""
PLACES = """
create table named as
select row_number() over (order by dimension, stratum) as t, dimension, stratum
from (select distinct dimension, stratum from told);
create table strata as select key, t from told join named using (dimension, stratum);
create table called as
select row_number() over (order by scope, scope_id) as s, scope, scope_id
from (select distinct scope, scope_id from scopes);
create table grouped as select group_id, s from scopes join called using (scope, scope_id)
"""
PEOPLE = """
create table people as
select member_key as key, year, group_id, {total} as months, score_micro, stays, ed_visits,
    ed_avoidable_micro, index_stays, readmissions, follow_up, well_child_due, well_child,
    cost_r0_cents, list_position([{months}], greatest({months})) - 1 as cell
from member_years where group_id <> ''
"""
BANDS = """
create table banded as
with mean as (
    select year, sum(score_micro::hugeint * months) as s, sum(months)::hugeint as m
    from people group by year
)
select people.*, (2 * score_micro::hugeint * m >= s)::int + (score_micro::hugeint * m >= s)::int
    + (score_micro::hugeint * m >= 2 * s)::int + (score_micro::hugeint * m >= 4 * s)::int as band
from people join mean using (year)
"""
MEASURED = """
create type outcome as enum (
    'stays', 'ed_visits', 'ed_avoidable', 'readmissions', 'follow_up', 'well_child', 'cost'
);
create table measured as
select key, year, group_id, cell, band, measure::outcome as measure, n::double as n,
    d::double as d, least
from banded, lateral (values
    ('stays', stays, months, 1200), ('ed_visits', ed_visits, months, 1200),
    ('ed_avoidable', ed_avoidable_micro / 1e6, months, 1200),
    ('readmissions', readmissions, index_stays, 30), ('follow_up', follow_up, index_stays, 30),
    ('well_child', well_child, well_child_due, 100), ('cost', cost_r0_cents, months, 1200)
) as of_measure(measure, n, d, least)
"""
EXPECTED = """
create table expected as
with places as (
    select cell, band, measure, least from range(12) c(cell), range(5) b(band),
        (select distinct measure, least from measured)
), base as (
    select cell, band, measure, least, coalesce(sum(n), 0) as n, coalesce(sum(d), 0) as d
    from places left join (select * from measured where year = ?) using (cell, band, measure, least)
    group by all
), thin as (
    select *, d >= least as alone,
        sum(d) filter (d < least) over (partition by measure, cell) as near
    from base
), pooled as (
    select *, case when alone then 'own ' || cell || ' ' || band
        when near >= least then 'cell ' || cell else 'all' end as pool
    from thin
), rated as (
    select *, sum(n) over (partition by measure, pool) as pn,
        sum(d) over (partition by measure, pool) as pd,
        sum(n) over (partition by measure) / sum(d) over (partition by measure) as state
    from pooled
)
select measured.*, measured.d * case when pd > 0 then pn / pd else state end as e, state
from measured join (select cell, band, measure, pn, pd, state from rated)
    using (cell, band, measure)
"""
ROWS = """
create table rows as
select s, t, year = ? as late, expected.*
from expected join strata using (key) join grouped using (group_id)
"""
OUTCOMES = """
with sums as (
    select s, t, year, measure, count(*) as n_members, count(*) filter (n <> 0) as n_with,
        sum(n) as sn, sum(d) as sd, sum(e) as se, any_value(state) as state
    from rows group by all
), spread as (
    select s, t, year, measure,
        sqrt(sum(pow(n - coalesce(sn / nullif(sd, 0), 0) * d, 2))) as crude,
        sqrt(sum(pow(n - coalesce(sn / nullif(se, 0), 0) * e, 2))) as standardised
    from rows join sums using (s, t, year, measure) group by all
), rated as (
    select *, case when measure in ('stays', 'ed_visits', 'ed_avoidable') then 12000.0
            when measure = 'cost' then 0.01 else 1 end as scale,
        coalesce(scale * sn / nullif(sd, 0), 0) as rate,
        coalesce(scale * crude / nullif(sd, 0), 0) as error,
        coalesce(scale * state * sn / nullif(se, 0), 0) as standard,
        coalesce(scale * state * standardised / nullif(se, 0), 0) as standard_error
    from sums join spread using (s, t, year, measure)
), most as (
    select dimension, arg_max(t, (stratum = 'comparison' and dimension = 'intervention', months))
        as against
    from (
        select t, sum(sd) as months from sums join called using (s)
        where scope = 'state' and measure = 'stays' group by t
    ) join named using (t) group by dimension
)
select scope, scope_id, named.dimension, named.stratum, own.year, own.measure::varchar,
    own.n_members, own.n_with, own.sn, own.sd, own.se, own.rate, own.error, own.standard,
    own.standard_error, reference.stratum, other.standard, other.standard_error
from rated own join called using (s) join named using (t)
    join most on most.dimension = named.dimension join named reference on reference.t = against
    left join rated other on other.s = own.s and other.t = against and other.year = own.year
        and other.measure = own.measure
"""
CHANGES = """
with sums as materialized (
    select s, t, measure, late, sum(n) as sn, sum(d) as sd, sum(e) as se from rows group by all
), wide as materialized (
    select s, t, measure, basis, max(sn) filter (not late) as n0, max(b) filter (not late) as b0,
        max(sn) filter (late) as n1, max(b) filter (late) as b1
    from sums, lateral (values ('crude', sd), ('standardised', se)) as over_what(basis, b)
    group by all
), moved as materialized (
    select s, t, measure, key,
        sum(if(late, 1, -1) * (n / nullif(sn, 0) - d / nullif(sd, 0))) as crude,
        sum(if(late, 1, -1) * (n / nullif(sn, 0) - e / nullif(se, 0))) as standardised
    from rows join sums using (s, t, measure, late) group by all
), whose as materialized (
    select own.s, own.t, case when arm.t is null then everybody.s else own.s end as other_s,
        coalesce(arm.t, own.t) as other_t,
        case when arm.t is null then 'comparison' else 'arm:comparison' end as comparator
    from (select distinct s, t from rows) own join named using (t)
        join called everybody on everybody.scope = 'partnership'
            and everybody.scope_id = 'COMPARISON'
        left join named arm on named.dimension = 'intervention'
            and arm.dimension = 'intervention' and arm.stratum = 'comparison'
    where arm.t is distinct from own.t
), whole as (
    select s, t, measure, sum(crude * crude) as crude, sum(standardised * standardised)
        as standardised
    from moved group by all
), together as (
    select own.s, own.t, own.measure,
        sum(pow(own.crude - coalesce(other.crude, 0), 2) - coalesce(pow(other.crude, 2), 0))
            as crude,
        sum(pow(own.standardised - coalesce(other.standardised, 0), 2)
            - coalesce(pow(other.standardised, 2), 0)) as standardised
    from moved own join whose using (s, t) left join moved other on other.s = other_s
        and other.t = other_t and other.measure = own.measure and other.key = own.key
    group by all
)
select scope, scope_id, dimension, stratum, own.measure::varchar, own.basis, comparator,
    (own.n1 / own.b1) / (own.n0 / own.b0) - 1, (other.n1 / other.b1) / (other.n0 / other.b0) - 1,
    sqrt(greatest(0, case when own.basis = 'crude' then together.crude + whole.crude
        else together.standardised + whole.standardised end)),
    own.n1 - (own.n0 / own.b0) * ((other.n1 / other.b1) / (other.n0 / other.b0)) * own.b1
from wide own join whose using (s, t) join called using (s) join named using (t)
    join wide other on other.s = other_s and other.t = other_t and other.measure = own.measure
        and other.basis = own.basis
    join together on together.s = own.s and together.t = own.t and together.measure = own.measure
    join whole on whole.s = other_s and whole.t = other_t and whole.measure = own.measure
where own.n0 <> 0 and own.n1 <> 0 and other.n0 <> 0 and other.n1 <> 0
    and own.b0 <> 0 and own.b1 <> 0 and other.b0 <> 0 and other.b1 <> 0
"""


@pytest.fixture(scope="module")
def run_dir(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small state, without draws."""
    out = tmp_path_factory.mktemp("outcomes") / "run"
    return run(RunRequest(small_population, (CONTRACT,), replicates=0), out, LocalRunner(1)).run_dir


@pytest.fixture(scope="module")
def sql(run_dir: Path, raw_state: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The people of each scope and stratum, with what is expected of them: table `rows`."""
    factors = _with_keys(pq.read_table(raw_state / "member_factors.parquet"))
    arms = _with_keys(pq.read_table(raw_state / "intervention.parquet"))
    scopes = pa.table(dict(zip(("scope", "scope_id", "group_id"), _scopes(run_dir), strict=True)))
    member_years = pq.read_table(run_dir / "member_years.parquet")
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        for name, table in (
            ("factors", factors), ("intervention", arms), ("scopes", scopes),
            ("member_years", member_years),
        ):  # fmt: skip
            connection.register(f"_{name}", table)
            connection.execute(f"create table {name} as select * from _{name}")
        texts = ", ".join(
            f"coalesce(nullif({name}::varchar, ''), 'unknown') as {name}" for name in TEXTS
        )
        flags = ", ".join(
            f"case when {name} = 'true' then 'yes' when {name} = 'false' then 'no' "
            f"else 'unknown' end as {name}"
            for name in MEMBER_FACTORS
        )
        names = ", ".join((*TEXTS, *MEMBER_FACTORS))
        base, performance = _years(run_dir)
        connection.execute(
            STRATA.format(texts=texts, flags=flags, names=names), [base, performance]
        )
        connection.execute(PLACES)
        months = ", ".join(MONTHS)
        connection.execute(PEOPLE.format(total=" + ".join(MONTHS), months=months))
        connection.execute(BANDS)
        connection.execute(MEASURED)
        connection.execute(EXPECTED, [base])
        connection.execute(ROWS, [performance])
        yield connection


def _with_keys(table: pa.Table) -> pa.Table:
    """A table of people, and the key that member-years have of each."""
    keys = [
        int.from_bytes(
            hashlib.blake2b(str(person).encode(), digest_size=8, person=b"ihp-member-1").digest(),
            "little",
        )
        for person in table.column("person_id").to_pylist()
    ]
    return table.append_column("key", pa.array(keys, pa.uint64()))


def _years(run_dir: Path) -> tuple[int, int]:
    years = pq.read_table(run_dir / "member_years.parquet", columns=["year"])
    found = sorted(set(years.column("year").to_pylist()))
    return found[0], found[1]


def _scopes(run_dir: Path) -> tuple[list[str], ...]:
    """Scope, its id and each of its groups; one contract, so one programme and one track."""
    settlement = pq.read_table(run_dir / "settlement.parquet")
    partnerships = settlement.column("partnership_id").to_pylist()
    (programme,) = (
        row["scope_id"]
        for row in pq.read_table(run_dir / "settlement_state.parquet").to_pylist()
        if row["scope"] == "programme"
    )
    groups = [*partnerships, "COMPARISON", "UNATTRIBUTED"]
    rows = [("partnership", group, group) for group in groups]
    rows += [("state", "state", group) for group in groups]
    for scope, name in (
        ("attributed", "attributed"), ("programme", programme), ("track", CONTRACT),
    ):  # fmt: skip
        rows += [(scope, name, group) for group in partnerships]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _near(found: float, expected: float | None) -> bool:
    return math.isclose(found, expected or 0.0, rel_tol=1e-8, abs_tol=1e-9)


def test_outcomes_follow_from_member_years_and_factors(
    run_dir: Path, sql: duckdb.DuckDBPyConnection
) -> None:
    keys = ("scope", "scope_id", "dimension", "stratum", "year", "measure")
    found = {
        tuple(row[key] for key in keys): row
        for row in pq.read_table(run_dir / "outcomes.parquet").to_pylist()
    }
    rows = sql.execute(OUTCOMES).fetchall()
    assert {tuple(row[:6]) for row in rows} == set(found)
    assert len({key[2] for key in found}) == 13
    assert len({key[5] for key in found}) == 7
    for row in rows:
        (n_members, n_with, n, d, e, rate, error, standard, standard_error, reference,
         other, other_error) = row[6:]  # fmt: skip
        own = found[tuple(row[:6])]
        assert (own["n_members"], own["n_with"], own["reference"]) == (n_members, n_with, reference)
        assert own["denominator"] == d
        assert own["numerator"] == n or (row[5] == "ed_avoidable" and _near(own["numerator"], n))
        assert _near(own["expected"], e)
        assert _near(own["rate"], rate)
        assert _near(own["std_error"], error)
        assert _near(own["low"], rate - Z * error)
        assert _near(own["high"], rate + Z * error)
        assert _near(own["rate_standardised"], standard)
        assert _near(own["std_error_standardised"], standard_error)
        if row[3] == reference:
            assert own["difference"] == 0.0
        elif "no_reference" not in own["flag"] and not own["flag"].startswith("no_"):
            assert _near(own["difference"], standard - other)
            spread = Z * math.hypot(standard_error, other_error)
            assert _near(own["difference_low"], standard - other - spread)
            assert _near(own["difference_high"], standard - other + spread)
            assert _near(own["ratio"], standard / other)
            if standard:
                log = math.hypot(standard_error / standard, other_error / other)
                assert _near(own["ratio_low"], standard / other * math.exp(-Z * log))
                assert _near(own["ratio_high"], standard / other * math.exp(Z * log))


def test_changes_follow_from_member_years_and_factors(
    run_dir: Path, sql: duckdb.DuckDBPyConnection
) -> None:
    keys = ("scope", "scope_id", "dimension", "stratum", "measure", "basis")
    found = {
        tuple(row[key] for key in keys): row
        for row in pq.read_table(run_dir / "outcome_changes.parquet").to_pylist()
    }
    rows = sql.execute(CHANGES).fetchall()
    assert {tuple(row[:6]) for row in rows} == {
        key for key, row in found.items() if not row["flag"]
    }
    assert len(rows) > 500
    assert {row[6] for row in rows} == {"comparison", "arm:comparison"}
    for row in rows:
        comparator, own_change, other_change, error, events = row[6:]
        own = found[tuple(row[:6])]
        assert own["comparator"] == comparator
        assert _near(own["change"], own_change)
        assert _near(own["comparator_change"], other_change)
        relative = (1 + own_change) / (1 + other_change) - 1
        assert _near(own["relative_change"], relative)
        assert math.isclose(own["std_error_log"], error, rel_tol=1e-6, abs_tol=1e-7)
        assert math.isclose(
            own["low"], (1 + relative) * math.exp(-Z * error) - 1, rel_tol=1e-5, abs_tol=1e-6
        )
        assert math.isclose(own["events_difference"], events, rel_tol=1e-7, abs_tol=1e-5)
