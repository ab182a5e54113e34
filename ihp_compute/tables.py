"""Arrow schemas of everything that lies between two stages, and the code lists they share.

    raw tables (`ingest`) -> population tables (per shard) -> member-years -> results

Integer codes index sorted global code tables (`Population.codes(name)`); entry 0 is always the
empty string, "not stated". No population column holds nulls.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# --- rate cells: who a member-month belongs to -----------------------------------------------

AID_GROUPS: Final = ("child", "adult", "expansion", "disabled", "newborn", "maternity")
PAYER_KINDS: Final = ("ffs", "managed")
RATE_CELLS: Final = tuple(f"{aid}_{kind}" for aid in AID_GROUPS for kind in PAYER_KINDS)
"""Rate cell code = 2 * aid group + payer kind. A contract may merge cells, never split them."""

# --- bits of spans.flags, lines.flags ----------------------------------------------------------

SPAN_DUAL: Final = 1
SPAN_SPEND_DOWN: Final = 2
SPAN_PARTIAL_BENEFIT: Final = 4
SPAN_LONG_TERM_INSTITUTION: Final = 8
SPAN_MEDICAID: Final = 16

LINE_ED: Final = 1
"""The line is part of an emergency department visit (revenue 045x or 0981, 99281-99285)."""
LINE_INPATIENT: Final = 2
"""The line is part of an acute inpatient claim (bill type 11x or 12x)."""
LINE_BLANK_AMOUNT: Final = 4
"""No paid amount was given: zero dollars, counted as blank."""

# --- lines.kind: TAF CLM_TYPE_CD folded ---------------------------------------------------------

LINE_KINDS: Final = ("fee_for_service", "capitation", "encounter", "supplemental")
"""1/A, 2/B, 3/C, and 4/D or 5/E. A blank type is fee for service."""

# --- visits.class -------------------------------------------------------------------------------

VISIT_CLASSES: Final = ("none", "health_care_home", "evaluation")
SOURCE_TABLES: Final = ("medical_claim", "pharmacy_claim")

SERVICE_CATEGORIES: Final = (
    "inpatient",
    "outpatient_hospital",
    "emergency",
    "ambulatory_surgery",
    "primary_care",
    "specialist",
    "fqhc_rhc",
    "laboratory",
    "radiology",
    "therapy",
    "chiropractic",
    "vision",
    "podiatry",
    "mental_health",
    "substance_use",
    "residential_behavioral",
    "home_health",
    "private_duty_nursing",
    "hospice",
    "personal_care",
    "waiver",
    "nursing_facility",
    "dental",
    "transport_emergency",
    "transport_non_emergency",
    "supplies",
    "pharmacy",
    "health_care_home",
    "other",
)
"""lines.category indexes this list; `ingest` classifies, contracts include or exclude by name."""

SERVICE_CATEGORY_VERSION: Final = "1"


def _table(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])


# --- population: one Arrow IPC file per table in each shard's folder -----------------------------

MEMBERS: Final = _table(  # sorted by member_key
    ("member_key", pa.uint64()),
    ("birth_day", pa.int32()),  # NO_DAY: unknown
    ("death_day", pa.int32()),  # NO_DAY: alive or unknown
    ("sex", pa.uint8()),  # 0 unknown, 1 female, 2 male
)
IDENTITY: Final = _table(("member_key", pa.uint64()), ("member_id", pa.string()))  # restricted
OFFSETS: Final = _table(  # n_members + 1 rows: where each member's rows start in the tables below
    ("spans", pa.int64()),
    ("lines", pa.int64()),
    ("diagnoses", pa.int64()),
    ("visits", pa.int64()),
    ("stays", pa.int64()),
    ("drugs", pa.int64()),
    ("scores", pa.int64()),
)
SPANS: Final = _table(  # by member and month; a member-month stands in one span at most
    ("first_month", pa.int32()),  # units.month_of
    ("n_months", pa.int32()),
    ("rate_cell", pa.uint8()),  # RATE_CELLS
    ("flags", pa.uint8()),  # SPAN_*
    ("dual_status", pa.uint8()),  # CMS dual status code 0-10; 255 not stated
    ("original_reason", pa.uint8()),  # original reason for entitlement 0-3; 255 not stated
    ("plan", pa.int32()),  # codes "plan"
)
LINES: Final = _table(  # hot columns, by member and service_day; then a total order of the columns
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
    ("table", pa.uint8()),  # SOURCE_TABLES
    ("file", pa.uint16()),  # index into manifest["inputs"]
)
LINE_DETAIL: Final = _table(  # cold columns of the same rows, for `ihp explain`
    ("claim_id", pa.string()),
    ("claim_line_number", pa.string()),
    ("hcpcs", pa.int32()),
    ("revenue", pa.int32()),
    ("bill_type", pa.int32()),
    ("place_of_service", pa.int32()),
    ("ndc", pa.int32()),
    ("rendering_npi", pa.int32()),
    ("billing_npi", pa.int32()),
)
DIAGNOSES: Final = _table(  # unique (dx, day) of a member, by dx then day
    ("dx", pa.int32()),  # codes "dx": upper case, no dot
    ("day", pa.int32()),
    ("paid_day", pa.int32()),  # earliest of the lines that carry it
)
VISITS: Final = _table(  # lines that can attribute a member, by day then the other columns
    ("day", pa.int32()),
    ("paid_day", pa.int32()),
    ("rendering_npi", pa.int32()),  # codes "npi"
    ("billing_npi", pa.int32()),
    ("tin", pa.int32()),  # codes "tin": the rendering, else the billing tax number
    ("class", pa.uint8()),  # VISIT_CLASSES
)
STAYS: Final = _table(  # acute inpatient claims, by admission day then discharge day
    ("admission_day", pa.int32()),
    ("discharge_day", pa.int32()),
    ("paid_day", pa.int32()),
    ("facility_npi", pa.int32()),
    ("disposition", pa.uint8()),  # discharge disposition code; 255 not stated
)
DRUGS: Final = _table(  # unique drug codes of a member, for models that use them
    ("system", pa.uint8()),  # 0 NDC (codes "ndc"), 1 HCPCS (codes "hcpcs")
    ("code", pa.int32()),
    ("day", pa.int32()),
    ("paid_day", pa.int32()),
)
SCORES: Final = _table(  # supplied risk scores
    ("year", pa.int16()),
    ("model", pa.int32()),  # codes "risk_model"
    ("score_micro", pa.int64()),
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
    "drugs": DRUGS,
    "scores": SCORES,
}
CODE_SYSTEMS: Final = (
    "dx", "hcpcs", "ndc", "revenue", "bill_type", "place_of_service", "npi", "tin", "plan",
    "risk_model", "risk_cell",
)  # fmt: skip

# --- results: RUN/<table>.parquet -----------------------------------------------------------------

SETTLEMENT: Final = _table(
    ("partnership_id", pa.string()),
    ("contract", pa.string()),
    ("performance_year", pa.int16()),
    ("n_members", pa.int64()),
    ("member_months", pa.int64()),
    ("base_pmpm_usd", pa.float64()),
    ("risk_ratio", pa.float64()),
    ("target_cents", pa.int64()),
    ("observed_cents", pa.int64()),
    ("savings_cents", pa.int64()),
    ("savings_rate", pa.float64()),
    ("gate_passed", pa.bool_()),
    ("missed_by_cents", pa.int64()),
    ("payment_cents", pa.int64()),
)
INTERVALS: Final = _table(
    ("partnership_id", pa.string()),
    ("measure", pa.string()),  # savings_rate (a fraction), savings_cents, payment_cents
    ("method", pa.string()),  # percentile, basic
    ("conditioning", pa.string()),  # target_resampled, target_fixed
    ("level", pa.float64()),  # 0.80, 0.90, 0.95
    ("point", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("std_error", pa.float64()),
    ("flag", pa.string()),  # "", or why to be careful: below_minimum_size, empty_cell
)
WALK: Final = _table(
    ("partnership_id", pa.string()),
    ("position", pa.int16()),
    ("step", pa.string()),
    ("amount_cents", pa.int64()),
    ("detail", pa.string()),  # the rate or ratio applied, in words
    ("citation", pa.string()),
    ("basis", pa.string()),
)
PAYMENTS: Final = _table(  # adds up to settlement.payment_cents, partnership by partnership
    ("partnership_id", pa.string()),
    ("payer", pa.string()),  # ffs and each plan; ffs and managed by cost; "all" where unsplit
    ("payment_cents", pa.int64()),
)
LEDGER: Final = _table(
    ("table", pa.string()),
    ("file", pa.string()),
    ("stage", pa.string()),  # ingest, run
    ("fate", pa.string()),
    ("lines", pa.int64()),
    ("paid_cents", pa.int64()),
)
EXCLUSIONS: Final = _table(
    ("year", pa.int16()),
    ("reason", pa.string()),
    ("n_members", pa.int64()),
    ("member_months", pa.int64()),
    ("paid_cents", pa.int64()),
)
UTILISATION: Final = _table(
    ("group", pa.string()),  # a partnership, COMPARISON or UNATTRIBUTED
    ("year", pa.int16()),
    ("n_members", pa.int64()),
    ("member_months", pa.int64()),
    ("stays", pa.int64()),
    ("ed_visits", pa.int64()),
    ("readmissions", pa.int64()),
    ("stays_per_1000", pa.float64()),
    ("ed_visits_per_1000", pa.float64()),
    ("readmission_rate", pa.float64()),
)

COMPARISON: Final = "COMPARISON"
"""Reserved partnership id: roster rows with it define the comparison population."""
UNATTRIBUTED: Final = "UNATTRIBUTED"
"""Group of eligible members whom no step attributes."""


def text_buffers(array: pa.Array) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Bytes and offsets of a string or binary array without nulls, as kernels take texts."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    kind: Any = np.int64 if wide else np.int32
    if not len(array):
        return np.empty(0, np.uint8), np.zeros(1, kind)
    _, offset_buffer, data_buffer = array.buffers()
    first = array.offset * np.dtype(kind).itemsize
    offsets = np.frombuffer(offset_buffer, kind, len(array) + 1, first)
    return np.frombuffer(b"" if data_buffer is None else data_buffer, np.uint8), offsets


def pooled(n: int, kind: Any) -> NDArray[Any]:
    """An array of this dtype in Arrow's memory pool, with whatever was left in it.

    The pool keeps what is freed; fresh pages for a large array cost more than writing it.
    """
    dtype = np.dtype(kind)
    return np.frombuffer(pa.allocate_buffer(n * dtype.itemsize), dtype)
