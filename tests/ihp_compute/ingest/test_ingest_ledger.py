"""The ledger, recomputed from the raw files by DuckDB: all text, DECIMAL, no code of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.synth.state import synth

FATES = """
with raw as materialized (
    select *, row_number() over () as id, filename as file,
           try_cast({service} as date) as service, {claim_days} as claim_days,
           cast(paid_date as date) as paid_on,
           try_cast(coalesce(nullif(paid_amount, ''), '0') as decimal(18, 2)) as paid,
           coalesce(try_cast(claim_line_number as double), 0) as line,
           case when x_adjstmt_ind = '1' or {bill} like '%8' then 'void'
                when x_adjstmt_ind in ('3', '5', '6') then 'beside'
                when x_adjstmt_ind in ('2', '4') or {bill} like '%7' then 'replaces'
                else 'plain' end as stated,
           case when not regexp_matches(
               upper(x_orgnl_clm_num), '^(~+|0+|8+|9+|N/?A|NULL|NONE)?$'
           ) then x_orgnl_clm_num end as names,
           row_number() over (partition by {content} order by filename, file_date) as copy
    from {source}
),
named as materialized (select person_id, names from raw where names != claim_id),
readable as (
    -- versions of a claim bear the same days here; a name crosses plans, a number does not
    select *, (person_id, service, coalesce(names, claim_id), case when
        (person_id, coalesce(names, claim_id)) in (select (person_id, names) from named)
        then '' else plan end) as family
    from raw where copy = 1 and service is not null and paid is not null
),
rows as materialized (
    select *, case
        when stated = 'plain' and paid < 0 then
            case when bool_or(stated = 'void') over (partition by family, paid_on)
            then 'void' else 'negative' end
        else stated end as act
    from readable
),
layers as materialized (
    select *, row_number() over (
        partition by family, claim_id, paid_on, act, line order by paid, id
    ) as layer from rows
),
versions as materialized (
    select family, claim_id, paid_on, act, layer, sum(paid) as paid,
           row_number() over () as version
    from layers group by all
),
cancels as materialized (
    select v.version as cancelling, v.act, arg_max(
        o.version, (o.paid = -v.paid, o.paid_on < v.paid_on, o.paid_on)
    ) as cancelled
    from versions v join versions o on o.family = v.family
     and o.act in ('plain', 'replaces') and o.paid_on <= v.paid_on
     and (o.paid = -v.paid or (v.act = 'void' and o.paid_on < v.paid_on))
    where v.act in ('void', 'negative') group by all
),
told as (
    select l.*, version,
           version in (select cancelling from cancels) as found,
           version in (select cancelled from cancels) as is_cancelled
    from layers l join versions v using (family, claim_id, paid_on, act, layer)
),
judged as (
    select file, paid, case
        when found or is_cancelled then 'voided'
        when act in ('plain', 'replaces') and exists (
            select 1 from told w where w.family = v.family and w.paid_on > v.paid_on
              -- even if voided later on: what was superseded is never revived
              and (w.act = 'replaces' or (w.act = 'plain' and w.line = v.line))
        ) then 'superseded'
        when act = 'void' then 'orphan_void'
        when lower(x_clm_dnd_ind) in ('y', 'yes', 'true') then 'denied'
        when person_id not in (select person_id from eligibility) then 'unknown_member'
        when not exists (
            select 1 from eligibility e where e.person_id = v.person_id
              and list_bool_or([
                  last_day(d) >= cast(e.enrollment_start_date as date)
                  and date_trunc('month', d) <= cast(e.enrollment_end_date as date)
                  for d in list_append(v.claim_days, v.service)])
        ) then 'outside_eligibility'
        else 'retained' end as fate
    from told v
    union all
    select file, coalesce(paid, 0), 'unreadable' from raw
    where service is null or paid is null
    union all
    select file, paid, 'duplicate' from raw
    where copy > 1 and service is not null and paid is not null
)
select file, fate, count(*), cast(sum(paid) * 100 as bigint) from judged group by all
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic state with planted errors of every kind."""
    folder = tmp_path_factory.mktemp("state")
    synth(2_000, 3, folder)
    return folder


@pytest.mark.parametrize("table", ["medical_claim", "pharmacy_claim"])
def test_the_ledger_equals_one_recomputed_with_sql(state: Path, tmp_path: Path, table: Any) -> None:
    document = ingest(state, tmp_path / "population", shards=4, threads=2)
    ours = {
        (Path(entry["file"]).name, entry["fate"]): (entry["lines"], entry["paid_cents"])
        for entry in document["ledger"]
        if entry["source_table"] == table and entry["lines"]
    }
    with duckdb.connect() as connection:
        for name in (table, "eligibility"):
            pattern = (state / name / "*.parquet").as_posix()
            connection.execute(
                f"create view {name} as "
                "select columns(lambda c: c != 'filename')::varchar, filename "
                f"from read_parquet('{pattern}', filename = true, union_by_name = true)"
            )
        columns = [
            row[0]
            for row in connection.execute(f"describe {table}").fetchall()
            if row[0] not in ("filename", "file_date")
        ]
        service = (
            "coalesce(claim_line_start_date, claim_start_date, claim_end_date)"
            if table == "medical_claim"
            else "dispensing_date"
        )
        claim_days = (
            "[try_cast(claim_start_date as date), try_cast(claim_end_date as date)]"
            if table == "medical_claim"
            else "[]::date[]"
        )
        bill = "bill_type_code" if "bill_type_code" in columns else "''"
        sql = FATES.format(
            service=service, claim_days=claim_days, source=table, content=", ".join(columns),
            bill=bill,
        )  # fmt: skip
        theirs = {
            (Path(file).name, fate): (lines, cents)
            for file, fate, lines, cents in connection.execute(sql).fetchall()
        }
        rows, claims, cents = connection.execute(
            f"select count(*), count(distinct claim_id), "
            f"cast(sum(try_cast(paid_amount as decimal(18, 2))) * 100 as bigint) from {table}"
        ).fetchall()[0]
    assert ours == theirs
    assert document["tables"][table] == {
        "rows_read": rows,
        "claims": claims,
        "paid_cents": cents,
    }


def test_member_months_equal_the_months_counted_with_sql(state: Path, tmp_path: Path) -> None:
    document = ingest(state, tmp_path / "population", shards=4, threads=2)
    with duckdb.connect() as connection:
        pattern = (state / "eligibility" / "*.parquet").as_posix()
        (months,) = connection.execute(
            f"""
            select count(distinct (person_id, month)) from (
                select person_id::varchar as person_id, unnest(generate_series(
                    date_trunc('month', enrollment_start_date::varchar::date),
                    enrollment_end_date::varchar::date, interval 1 month)) as month
                from read_parquet('{pattern}'))
            """
        ).fetchall()[0]
    assert document["member_months"] == months
