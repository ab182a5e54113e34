"""Arrow schemas of a population's tables, which every shard has.

    raw tables (`ingest`) -> these -> member-years (`measure`) -> results

Integer codes index sorted global code tables (`Population.codes(name)`); entry 0 is always the
empty string, "not stated". A column named as one that ingest spills is of the same code system
(`input_columns.CODED`). No column holds nulls.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa


def schema_of(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    """A schema without nulls."""
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


# --- population: one Arrow IPC file per table in each shard's folder -----------------------------

MEMBERS: Final = schema_of(  # sorted by member_key
    ("member_key", pa.uint64()),
    ("birth_day", pa.int32()),  # NO_DAY: unknown
    ("death_day", pa.int32()),  # NO_DAY: alive or unknown
    ("sex", pa.uint8()),  # 0 unknown, 1 female, 2 male
)
IDENTITY: Final = schema_of(("member_key", pa.uint64()), ("member_id", pa.string()))  # restricted
OFFSETS: Final = (
    schema_of(  # n_members + 1 rows: where each member's rows start in the tables below
        ("spans", pa.int64()),
        ("lines", pa.int64()),
        ("diagnoses", pa.int64()),
        ("visits", pa.int64()),
        ("stays", pa.int64()),
        ("emergency", pa.int64()),
        ("drugs", pa.int64()),
        ("scores", pa.int64()),
    )
)
SPANS: Final = schema_of(  # by member and month; a member-month stands in one span at most
    ("first_month", pa.int32()),  # units.month_of
    ("n_months", pa.int32()),
    ("rate_cell", pa.uint8()),  # RATE_CELLS
    ("flags", pa.uint8()),  # SPAN_*
    ("dual_status", pa.uint8()),  # CMS dual status code 0-10; 255 not stated
    ("original_reason", pa.uint8()),  # original reason for entitlement 0-3; 255 not stated
    ("plan", pa.int32()),  # codes "plan"
)
LINES: Final = (
    schema_of(  # hot columns, by member and service_day; then a total order of the columns
        ("service_day", pa.int32()),  # line start, else claim start; pharmacy: dispensing date
        ("claim_start_day", pa.int32()),
        ("claim_end_day", pa.int32()),
        ("paid_day", pa.int32()),  # NO_DAY: not stated
        ("paid_cents", pa.int64()),
        ("allowed_cents", pa.int64()),
        ("third_party_cents", pa.int64()),
        ("category", pa.uint8()),  # SERVICE_CATEGORIES
        ("kind", pa.uint8()),  # LINE_KINDS
        ("flags", pa.uint8()),  # LINE_*
        ("source_table", pa.uint8()),  # CLAIM_TABLES
        ("file", pa.uint16()),  # index into manifest["inputs"]
    )
)
LINE_DETAIL: Final = schema_of(  # cold columns of the same rows, for `ihp explain`
    ("claim_id", pa.string()),
    ("claim_line_number", pa.string()),
    ("hcpcs", pa.int32()),
    ("revenue", pa.int32()),
    ("bill_type", pa.int32()),
    ("place_of_service", pa.int32()),
    ("ndc", pa.int32()),
    ("rendering_npi", pa.int32()),
    ("billing_npi", pa.int32()),
    ("source", pa.uint8()),  # codes.diagnosis_source of the claim; NO_DIAGNOSIS: it has none
    ("units_milli", pa.int64()),  # thousandths of units of service, or of the drug; 0: not above 0
    ("stay", pa.int32()),  # row of the shard's `stays` that the line's claim is; NO_STAY: none
)
DIAGNOSES: Final = schema_of(  # unique (dx, day, source) of a member, in this order
    ("dx", pa.int32()),  # codes "dx": upper case, no dot
    ("day", pa.int32()),  # through date of the claim
    ("source", pa.uint8()),  # codes.diagnosis_source of the claim
    ("paid_day", pa.int32()),  # earliest of the lines that carry it
)
VISITS: Final = schema_of(  # possible visits (codes.VISIT_CODES), by day then the other columns
    ("day", pa.int32()),
    ("paid_day", pa.int32()),
    ("rendering_npi", pa.int32()),  # codes "npi"
    ("billing_npi", pa.int32()),
    ("tin", pa.int32()),  # codes "tin": the rendering, else the billing tax number
    ("hcpcs", pa.int32()),  # codes "hcpcs"
    ("place", pa.uint8()),  # place of service, two digits as a number; 0 not stated
    ("marks", pa.uint8()),  # VISIT_*
)
STAYS: Final = schema_of(  # acute inpatient claims, by admission day then discharge day
    ("admission_day", pa.int32()),
    ("discharge_day", pa.int32()),
    ("paid_day", pa.int32()),
    ("facility_npi", pa.int32()),
    ("disposition", pa.uint8()),  # discharge disposition code; 255 not stated
    ("drg", pa.int32()),  # codes "drg"
    ("principal_dx", pa.int32()),  # codes "dx": diagnosis_code_1 of the claim
    ("marks", pa.uint8()),  # STAY_*
)
EMERGENCY: Final = schema_of(  # unique (day, principal_dx) of a member's emergency lines
    ("day", pa.int32()),  # of service; lines that are part of an inpatient claim are left out
    ("principal_dx", pa.int32()),  # codes "dx": diagnosis_code_1 of the line's claim
    ("paid_day", pa.int32()),  # earliest of these lines
)
DRUGS: Final = schema_of(  # unique drug codes of a member, for models that use them
    ("system", pa.uint8()),  # 0 NDC (codes "ndc"), 1 HCPCS (codes "hcpcs")
    ("code", pa.int32()),
    ("day", pa.int32()),
    ("paid_day", pa.int32()),
)
SCORES: Final = schema_of(  # supplied risk scores
    ("year", pa.int16()),
    ("model", pa.int32()),  # codes "risk_model"
    ("score_micro", pa.int64()),  # codes.NO_SCORE: not stated, the cell is
    ("cell", pa.int32()),  # codes "risk_cell"
)

SHARD_TABLES: Final = {
    "members": MEMBERS,
    "identity": IDENTITY,
    "offsets": OFFSETS,
    "spans": SPANS,
    "lines": LINES,
    "line_detail": LINE_DETAIL,
    "diagnoses": DIAGNOSES,
    "visits": VISITS,
    "stays": STAYS,
    "emergency": EMERGENCY,
    "drugs": DRUGS,
    "scores": SCORES,
}
