"""The tables of a run, declared: columns with types, keys, and what stands under the digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from ihp_compute.population import schema_of

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "exclusions": ("year", "reason"),
    "intervals": ("partnership_id", "measure", "method", "conditioning", "level"),
    "ledger": ("table", "stage", "fate"),
    "member_years": ("member_key", "year"),
    "payments": ("partnership_id", "payer"),
    "settlement": ("partnership_id",),
    "utilisation": ("group", "year"),
    "walk": ("partnership_id", "position"),
}
"""Tables under the digest and the columns that order their rows."""

# --- results: RUN/<table>.parquet -----------------------------------------------------------------

SETTLEMENT: Final = schema_of(
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

INTERVALS: Final = schema_of(
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

WALK: Final = schema_of(
    ("partnership_id", pa.string()),
    ("position", pa.int16()),
    ("step", pa.string()),
    ("amount_cents", pa.int64()),
    ("detail", pa.string()),  # the rate or ratio applied, in words
    ("citation", pa.string()),
    ("basis", pa.string()),
)

PAYMENTS: Final = schema_of(  # adds up to settlement.payment_cents, partnership by partnership
    ("partnership_id", pa.string()),
    ("payer", pa.string()),  # ffs and each plan; ffs and managed by cost; "all" where unsplit
    ("payment_cents", pa.int64()),
)

LEDGER: Final = schema_of(
    ("table", pa.string()),
    ("file", pa.string()),
    ("stage", pa.string()),  # ingest, run
    ("fate", pa.string()),
    ("lines", pa.int64()),
    ("paid_cents", pa.int64()),
)

EXCLUSIONS: Final = schema_of(
    ("year", pa.int16()),
    ("reason", pa.string()),
    ("n_members", pa.int64()),
    ("member_months", pa.int64()),
    ("paid_cents", pa.int64()),
)

UTILISATION: Final = schema_of(
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
