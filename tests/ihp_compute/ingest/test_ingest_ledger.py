"""The ledger, recomputed from the raw files by DuckDB: all text, DECIMAL, no code of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.synth.state import synth

FATES = """
with raw as (
    select *, filename as file, try_cast({service} as date) as service,
           cast(paid_date as date) as paid_on,
           coalesce(nullif(x_orgnl_clm_num, ''), claim_id) as family,
           coalesce(x_adjstmt_ind, '') as mark,
           try_cast(coalesce(nullif(paid_amount, ''), '0') as decimal(18, 2)) as paid
    from {source}
),
copies as (
    select *, row_number() over (partition by {content} order by file) as copy from raw
),
readable as (select * from copies where copy = 1 and service is not null and paid is not null),
pairs as (
    select r.rowid_ as cancels, o.rowid_ as cancelled
    from (select *, filename || claim_id || claim_line_number || mark || paid_on || paid as rowid_
          from readable where mark = '1' or (mark in ('', '0') and paid < 0)) r
    join (select *, filename || claim_id || claim_line_number || mark || paid_on || paid as rowid_
          from readable where mark not in ('1', '5') and paid >= 0) o
      on r.person_id = o.person_id and r.family = o.family
     and r.claim_line_number = o.claim_line_number and r.paid = -o.paid and o.paid_on <= r.paid_on
),
judged as (
    select file, paid, case
        when mark = '1'
          or filename || claim_id || claim_line_number || mark || paid_on || paid
             in (select cancels from pairs union all select cancelled from pairs) then 'voided'
        when mark != '5' and exists (
            select 1 from readable w
            where w.person_id = v.person_id and w.family = v.family
              and w.claim_line_number = v.claim_line_number
              and w.paid_on > v.paid_on and w.mark not in ('1', '5') and w.paid >= 0
        ) then 'superseded'
        when lower(x_clm_dnd_ind) in ('y', 'yes', 'true') then 'denied'
        when person_id not in (select person_id from eligibility) then 'unknown_member'
        when not exists (
            select 1 from eligibility e where e.person_id = v.person_id
              and last_day(v.service) >= cast(e.enrollment_start_date as date)
              and date_trunc('month', v.service) <= cast(e.enrollment_end_date as date)
        ) then 'outside_eligibility'
        else 'retained' end as fate
    from readable v
    union all
    select file, coalesce(paid, 0), 'unreadable' from copies
    where service is null or paid is null
    union all
    select file, paid, 'duplicate' from copies
    where copy > 1 and service is not null and paid is not null
)
select file, fate, count(*), cast(sum(paid) * 100 as bigint) from judged group by all
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic state with planted errors of every kind."""
    folder = tmp_path_factory.mktemp("state")
    synth(400, 3, folder)
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
            if row[0] != "filename"
        ]
        service = (
            "coalesce(claim_line_start_date, claim_start_date)"
            if table == "medical_claim"
            else "dispensing_date"
        )
        sql = FATES.format(service=service, source=table, content=", ".join(columns))
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
