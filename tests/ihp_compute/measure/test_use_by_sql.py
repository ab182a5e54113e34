"""Use of care of a whole state counted a second time, in SQL over its raw claims.

Of the program's own work only two things are taken over: which raw rows stand (the fate of each, by
file and row, from the cold record) and which months a member is enrolled in, with their flags
(spans). Stays, visits and their rules are written anew from `docs/method/utilisation.md`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import (
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
)
from ihp_compute.ingest.passes import ingest
from ihp_compute.measure import Plan, RunRequest, make_plan
from ihp_compute.pipeline import run
from ihp_compute.population.shards import Population, open_population
from ihp_compute.units import NO_DAY, date_of

CONTRACT = "mn-ihp-2.0-track-2"
COUNTS = (
    "stays", "ed_visits", "ed_avoidable_micro", "index_stays", "readmissions", "follow_up",
    "well_child_due", "well_child",
)  # fmt: skip
EXCLUDED = SPAN_DUAL | SPAN_SPEND_DOWN | SPAN_PARTIAL_BENEFIT | SPAN_LIMITED_BENEFITS
SHARES = {"J": "0.25", "J06": "0.7", "R": "0.1", "M54": "0.333333", "S": "0"}
"""A classifier made up for the test."""

MONTHS = f"""
CREATE TABLE month AS
SELECT DISTINCT member_key, month FROM (
  SELECT member_key, unnest(range(first_month, first_month + n_months)) AS month
  FROM span WHERE flags & {EXCLUDED} = 0
) JOIN person USING (member_key)
WHERE (birth IS NULL OR month >= number_of(birth)) AND (death IS NULL OR month <= number_of(death))
"""

LINES = """
CREATE TABLE line AS
SELECT record.member_key, raw.*,
  concat_ws('|', data_source, payer, plan, claim_id) AS claim,
  coalesce(
    claim_line_start_date, claim_start_date, admission_date, claim_end_date, claim_line_end_date
  ) AS day,
  revenue_center_code SIMILAR TO '045.|0981' OR hcpcs_code BETWEEN '99281' AND '99285' AS urgent
FROM raw JOIN record ON raw.filename = record.filename AND raw.file_row_number + 1 = record.row
"""

CLAIMS = """
CREATE TABLE claim AS
SELECT member_key, claim,
  coalesce(bool_or(bill_type_code SIMILAR TO '0?(11|41).'), false) OR (
    bool_and(bill_type_code IS NULL) AND any_value(claim_type) = 'institutional'
    AND bool_or(admission_date IS NOT NULL
      AND (drg_code IS NOT NULL OR revenue_center_code BETWEEN '0100' AND '0219'))
  ) AS is_acute,
  coalesce(bool_or(bill_type_code SIMILAR TO '0?(11|12|41).'), false) AS is_inpatient,
  coalesce(min(admission_date), min(coalesce(claim_start_date, day))) AS admission,
  coalesce(max(discharge_date), max(coalesce(claim_end_date, claim_line_end_date))) AS discharge,
  CASE WHEN bool_and(paid_date IS NOT NULL) THEN min(paid_date) END AS paid,
  min(discharge_disposition_code) AS disposition,
  coalesce(min(facility_npi), min(billing_npi)) AS facility,
  min(diagnosis_code_1) AS principal,
  bool_or(concat_ws(' ', diagnosis_code_1, diagnosis_code_2, diagnosis_code_3, diagnosis_code_4)
    LIKE '%Z38%') AS is_birth
FROM line GROUP BY ALL
"""

CHAINS = """
CREATE TABLE chain AS
WITH counted AS (
  SELECT *, greatest(coalesce(discharge, admission), admission) AS reach FROM claim
  WHERE is_acute AND seen(paid, year(greatest(coalesce(discharge, admission), admission)))
), begun AS (
  SELECT *, row_number() OVER whose AS place,
    admission > 1 + max(reach) OVER (
      PARTITION BY member_key ORDER BY admission, reach, paid NULLS FIRST, facility, disposition
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) IS NOT FALSE AS begins
  FROM counted
  WINDOW whose AS (
    PARTITION BY member_key ORDER BY admission, reach, paid NULLS FIRST, facility, disposition
  )
), numbered AS (
  SELECT *, sum(begins::INT) OVER (PARTITION BY member_key ORDER BY place) AS number FROM begun
), dated AS (
  SELECT *, min(admission) OVER (PARTITION BY member_key, number) AS first_day FROM numbered
)
SELECT member_key, number, min(admission) AS admission, max(reach) AS discharge,
  bool_or(is_birth AND admission = first_day) AS is_birth,
  bool_or(coalesce(principal, '') SIMILAR TO '[OP].*') AS is_maternal,
  arg_max(disposition, (reach, place)) AS disposition
FROM dated GROUP BY member_key, number
"""

STAYS = """
CREATE TABLE stay AS
SELECT chain.*, year(discharge) AS year,
  lead(admission) OVER (PARTITION BY member_key ORDER BY admission) AS following,
  discharge BETWEEN make_date(year(discharge), 1, 1) AND make_date(year(discharge), 12, 1)
  AND admission < discharge
  AND NOT is_maternal
  AND coalesce(disposition, '') NOT IN (
    '02', '05', '43', '66', '82', '85', '88', '94', '20', '40', '41', '42', '30'
  )
  AND (death IS NULL OR death > discharge)
  AND (SELECT count(*) FROM month WHERE month.member_key = chain.member_key
    AND month BETWEEN number_of(discharge) AND number_of(discharge + 30)
  ) = number_of(discharge + 30) - number_of(discharge) + 1 AS is_index
FROM chain JOIN person USING (member_key)
WHERE NOT is_birth
"""

VISITS = """
CREATE TABLE visit AS
SELECT member_key, day, hcpcs_code,
  hcpcs_code SIMILAR TO '9920[1-5]|9921[1-5]|9924[1-5]|993(4[1-9]|50)|9938[1-7]|9939[1-7]|99483'
    OR hcpcs_code SIMILAR TO '9949[56]|G0402|G043[89]|G0463|G046[678]|T1015' AS is_visit,
  is_visit
  AND coalesce(place_of_service_code, '') NOT IN (SELECT place FROM excluded_place) AS attributes
FROM line
WHERE coalesce(x_clm_type_cd, '1') NOT IN ('2', 'B', '4', 'D', '5', 'E')
  AND seen(paid_date, year(day))
  AND NOT EXISTS (SELECT 1 FROM claim WHERE claim.member_key = line.member_key
    AND claim.claim = line.claim AND (is_inpatient OR is_acute))
  AND NOT EXISTS (SELECT 1 FROM line AS other WHERE other.member_key = line.member_key
    AND other.claim = line.claim AND other.day = line.day AND other.urgent)
"""

SHARES_BY_CODE = """
CREATE TABLE share AS
SELECT principal, arg_max(avoidable_micro, length(dx_prefix)) AS micro
FROM (SELECT DISTINCT principal FROM claim) JOIN classifier ON starts_with(principal, dx_prefix)
GROUP BY ALL
"""

EMERGENCY = """
CREATE TABLE emergency AS
SELECT line.member_key, line.day, year(line.day) AS year,
  min(coalesce(share.micro, 0)) FILTER (principal IS NOT NULL) AS avoidable_micro
FROM line JOIN claim USING (member_key, claim) LEFT JOIN share USING (principal)
WHERE urgent AND NOT is_inpatient AND NOT is_acute AND seen(line.paid_date, year(line.day))
  AND NOT EXISTS (SELECT 1 FROM chain WHERE chain.member_key = line.member_key AND (
    chain.admission = line.day OR chain.admission < line.day AND line.day < chain.discharge))
GROUP BY ALL
"""

COUNTED = """
WITH year AS (SELECT DISTINCT member_key, year FROM member_years),
counted AS (SELECT member_key, month // 12 AS year, count(*) AS n FROM month GROUP BY ALL),
stays AS (
  SELECT member_key, year, count(*) AS stays, count(*) FILTER (is_index) AS index_stays,
    count(*) FILTER (is_index AND following - discharge <= 30) AS readmissions,
    count(*) FILTER (is_index AND EXISTS (SELECT 1 FROM visit
      WHERE visit.member_key = stay.member_key AND attributes
        AND visit.day - discharge BETWEEN 1 AND 14)) AS follow_up
  FROM stay SEMI JOIN month
    ON month.member_key = stay.member_key AND month = number_of(discharge)
  GROUP BY ALL
), emergencies AS (
  SELECT member_key, year, count(*) AS ed_visits, sum(avoidable_micro) AS ed_avoidable_micro
  FROM emergency SEMI JOIN month
    ON month.member_key = emergency.member_key AND month = number_of(day)
  GROUP BY ALL
), checked AS (
  SELECT DISTINCT member_key, year(day) AS year
  FROM visit SEMI JOIN month ON month.member_key = visit.member_key AND month = number_of(day)
  WHERE hcpcs_code SIMILAR TO '9938[2-5]|9939[2-5]|S0302|S061[0-3]'
)
SELECT member_key, year.year,
  coalesce(stays, 0), coalesce(ed_visits, 0), coalesce(ed_avoidable_micro, 0),
  coalesce(index_stays, 0), coalesce(readmissions, 0), coalesce(follow_up, 0),
  coalesce(year.year - year(birth) BETWEEN 3 AND 21 AND n >= 11, false) AS due,
  due AND checked.member_key IS NOT NULL
FROM year LEFT JOIN stays USING (member_key, year) LEFT JOIN emergencies USING (member_key, year)
LEFT JOIN checked USING (member_key, year) LEFT JOIN counted USING (member_key, year)
JOIN person USING (member_key)
ORDER BY ALL
"""


@dataclass
class State:
    """A run, and its claims and months in a database."""

    plan: Plan
    run_dir: Path
    sql: duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def state(raw_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("use")
    raw = shutil.copytree(raw_state, folder / "raw")
    classifier = {"dx_prefix": list(SHARES), "avoidable_share": list(SHARES.values())}
    pq.write_table(pa.table(classifier), raw / "ed_classifier.parquet")
    ingest(raw, folder / "population", shards=3)
    request = RunRequest(folder / "population", (CONTRACT,), replicates=0)
    outcome = run(request, folder / "run")
    with duckdb.connect(config={"threads": 1}) as sql:
        plan = make_plan(request)
        _fill(sql, raw, open_population(folder / "population"), plan)
        yield State(plan, outcome.run_dir, sql)


def _fill(sql: duckdb.DuckDBPyConnection, raw: Path, population: Population, plan: Plan) -> None:
    """Raw rows, which of them stand, and months; then everything that is made of them."""
    people, spans, records = [], [], []
    for shard in population.shards:
        key = shard.column("members", "member_key")
        people.append(
            pa.table(
                {
                    "member_key": key,
                    **{
                        name: _dates(shard.column("members", f"{name}_day"))
                        for name in ("birth", "death")
                    },
                }
            )
        )
        of_member = np.repeat(key, np.diff(shard.offsets("spans")))
        columns = ("first_month", "n_months", "flags")
        spans.append(
            pa.table({"member_key": of_member, **{c: shard.column("spans", c) for c in columns}})
        )
        rows = shard.record("claims", ["source_table", "fate", "member_key", "file", "row"])
        records.append(rows)
    sql.register("person", pa.concat_tables(people))
    sql.register("span", pa.concat_tables(spans))
    sql.register("rows_met", pa.concat_tables(records))
    names = [str(raw / entry["file"]) for entry in population.manifest["inputs"]]
    sql.register("file", pa.table({"file": range(len(names)), "filename": names}))
    sql.execute(
        "CREATE TABLE record AS SELECT filename, member_key, row "
        "FROM rows_met JOIN file USING (file) "
        "WHERE source_table = 'medical_claim' AND fate = 'retained'"
    )
    sql.execute(
        f"CREATE VIEW raw AS SELECT * FROM read_parquet('{raw}/medical_claim/*.parquet', "
        "filename = true, file_row_number = true)"
    )
    sql.register(
        "classifier",
        pa.table(
            {
                "dx_prefix": list(SHARES),
                "avoidable_micro": [round(float(share) * 1e6) for share in SHARES.values()],
            }
        ),
    )
    places = {"place": list(plan.attribution.excluded_places)}
    sql.register("excluded_place", pa.table(places))
    base, performance = (date_of(day) for day in plan.cutoff_days)
    sql.execute(
        f"CREATE MACRO seen(paid, year) AS paid IS NULL OR paid <= CASE year WHEN {plan.base_year} "
        f"THEN least(DATE '{base}', DATE '{performance}') ELSE DATE '{performance}' END"
    )
    sql.execute("CREATE MACRO number_of(day) AS 12 * year(day) + month(day) - 1")
    for made in (MONTHS, LINES, CLAIMS, CHAINS, STAYS, VISITS, SHARES_BY_CODE, EMERGENCY):
        sql.execute(made)


def _dates(days: Any) -> pa.Array:
    return pa.array(days, mask=days == NO_DAY).cast(pa.date32())


def test_member_years_are_what_sql_counts_in_raw_claims(state: State) -> None:
    members = f"{state.run_dir}/member_years.parquet"
    state.sql.execute(f"CREATE OR REPLACE VIEW member_years AS SELECT * FROM '{members}'")
    ours = state.sql.sql(
        f"SELECT member_key, year, {', '.join(COUNTS)} FROM member_years ORDER BY ALL"
    ).fetchall()
    theirs = state.sql.sql(COUNTED).fetchall()
    wrong = [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]]
    assert wrong == []
    sums = np.array([row[2:] for row in ours]).sum(axis=0).tolist()
    assert all(total >= 20 for total in sums), dict(zip(COUNTS, sums, strict=True))


def test_the_table_sums_member_years_of_each_group(state: State) -> None:
    members, table = (f"{state.run_dir}/{n}.parquet" for n in ("member_years", "utilisation"))
    names = "stays, ed_visits, index_stays, readmissions"
    sums = ", ".join(f"sum({name})::BIGINT" for name in names.split(", "))
    summed = state.sql.sql(
        f"SELECT group_id, year, count(*), {sums} FROM '{members}' WHERE group_id <> '' "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    told = state.sql.sql(
        f"SELECT group_id, year, n_members, {names} FROM '{table}' WHERE n_members > 0 ORDER BY ALL"
    ).fetchall()
    assert told == summed
    rates = state.sql.sql(
        "SELECT max(abs(stays_per_1000 - 12000.0 * stays / member_months)), "
        "max(abs(ed_visits_per_1000 - 12000.0 * ed_visits / member_months)), "
        "max(abs(readmission_rate - readmissions / index_stays)) FILTER (index_stays > 0) "
        f"FROM '{table}' WHERE n_members > 0"
    ).fetchall()
    assert max(rates[0]) < 1e-9
