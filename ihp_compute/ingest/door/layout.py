"""Which files of a folder are which table, and which of their columns the door knows.

The layout is Tuva's input layer, names verbatim, with `x_` columns for what Medicaid needs. Only
names are decided here; values are read in `ingest_read`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ihp_compute.errors import DataError

_NUMBERED: Final = range(1, 26)

MEDICAL_COLUMNS: Final = (
    "claim_id", "claim_line_number", "claim_type", "person_id", "member_id", "payer", "plan",
    "claim_start_date", "claim_end_date", "claim_line_start_date", "claim_line_end_date",
    "admission_date", "discharge_date", "admit_source_code", "admit_type_code",
    "discharge_disposition_code", "place_of_service_code", "bill_type_code", "drg_code_type",
    "drg_code", "revenue_center_code", "service_unit_quantity", "hcpcs_code",
    *(f"hcpcs_modifier_{k}" for k in range(1, 6)),
    "rendering_npi", "rendering_tin", "billing_npi", "billing_tin", "facility_npi", "paid_date",
    "paid_amount", "allowed_amount", "charge_amount", "coinsurance_amount", "copayment_amount",
    "deductible_amount", "total_cost_amount", "diagnosis_code_type",
    *(f"diagnosis_code_{k}" for k in _NUMBERED),
    *(f"diagnosis_poa_{k}" for k in _NUMBERED),
    "procedure_code_type",
    *(f"procedure_code_{k}" for k in _NUMBERED),
    *(f"procedure_date_{k}" for k in _NUMBERED),
    "in_network_flag", "data_source", "file_name", "file_date", "ingest_datetime",
)  # fmt: skip
PHARMACY_COLUMNS: Final = (
    "claim_id", "claim_line_number", "person_id", "member_id", "payer", "plan",
    "prescribing_provider_npi", "dispensing_provider_npi", "dispensing_date", "ndc_code",
    "quantity", "days_supply", "refills", "paid_date", "paid_amount", "allowed_amount",
    "charge_amount", "coinsurance_amount", "copayment_amount", "deductible_amount",
    "in_network_flag", "data_source", "file_name", "file_date", "ingest_datetime",
)  # fmt: skip
CLAIM_EXTENSIONS: Final = (
    "x_elgblty_grp_cd", "x_mc_plan_id", "x_mc_plan_type_cd", "x_clm_type_cd", "x_adjstmt_ind",
    "x_orgnl_clm_num", "x_adjstmt_clm_num", "x_clm_dnd_ind", "x_tpl_amt", "x_sdp_pd_amt",
    "x_gme_pd_amt", "x_srvc_trkng_pymt_amt", "x_ltc_rcp_lblty_amt", "x_submtg_state_cd",
)  # fmt: skip
ELIGIBILITY_COLUMNS: Final = (
    "person_id", "member_id", "subscriber_id", "gender", "race", "birth_date", "death_date",
    "death_flag", "enrollment_start_date", "enrollment_end_date", "payer", "payer_type", "plan",
    "original_reason_entitlement_code", "dual_status_code", "medicare_status_code", "group_id",
    "group_name", "name_suffix", "first_name", "middle_name", "last_name",
    "social_security_number", "subscriber_relation", "address", "city", "state", "zip_code",
    "phone", "email", "ethnicity", "data_source", "file_name", "file_date", "ingest_datetime",
    "enrollment_status", "hospice_flag", "snp_type", "medicaid_indicator",
    "long_term_institutional_flag", "part_d_raf_type", "low_income_subsidy_indicator",
    "metal_level", "csr_indicator", "enrollment_duration_months", "esrd_status",
    "transplant_duration_months",
)  # fmt: skip
ELIGIBILITY_EXTENSIONS: Final = (
    "x_elgblty_grp_cd", "x_mc_plan_id", "x_mc_plan_type_cd", "x_spenddown_flag",
    "x_partial_benefit_flag", "x_county_fips", "x_submtg_state_cd",
)  # fmt: skip

NOT_CONTENT: Final = frozenset({"file_name", "ingest_datetime"})
"""Known columns that say how a row came here, not what it says: two rows that differ only in
these are the same row, and neither ever decides which version is the later one."""


@dataclass(frozen=True)
class TableLayout:
    """Names of one table. `one_of` lists alternatives of which at least one column must stand."""

    name: str
    known: tuple[str, ...]
    required: tuple[str, ...]
    one_of: tuple[tuple[str, ...], ...] = ()

    @property
    def mapped(self) -> tuple[str, ...]:
        """The known columns that are content, in the layout's order."""
        return tuple(name for name in self.known if name not in NOT_CONTENT)


LAYOUTS: Final = {
    layout.name: layout
    for layout in (
        TableLayout(
            "medical_claim",
            MEDICAL_COLUMNS + CLAIM_EXTENSIONS,
            ("claim_id", "paid_amount"),
            (("person_id", "member_id"), ("claim_line_start_date", "claim_start_date")),
        ),
        TableLayout(
            "pharmacy_claim",
            PHARMACY_COLUMNS + CLAIM_EXTENSIONS,
            ("claim_id", "dispensing_date", "paid_amount"),
            (("person_id", "member_id"),),
        ),
        TableLayout(
            "eligibility",
            ELIGIBILITY_COLUMNS + ELIGIBILITY_EXTENSIONS,
            ("enrollment_start_date", "enrollment_end_date"),
            (("person_id", "member_id"),),
        ),
        TableLayout(
            "provider_roster",
            (
                "npi", "tin", "partnership_id", "specialty", "health_care_home", "start_date",
                "end_date",
            ),
            ("npi", "partnership_id"),
        ),
        TableLayout(
            "risk_score",
            ("person_id", "member_id", "year", "model", "score", "cell"),
            ("year", "model", "score"),
            (("person_id", "member_id"),),
        ),
        TableLayout(
            "quality_score",
            ("partnership_id", "performance_year", "score"),
            ("partnership_id", "performance_year", "score"),
        ),
        TableLayout(
            "quality_measure",
            (
                "partnership_id", "performance_year", "measure", "domain", "numerator",
                "denominator",
            ),
            ("partnership_id", "performance_year", "measure", "numerator", "denominator"),
        ),
        TableLayout(
            "member_factors",
            (
                "person_id", "member_id", "start_date", "end_date", "race", "ethnicity",
                "language", "county_fips", "disability", "deep_poverty", "homelessness",
                "serious_mental_illness", "substance_use_disorder", "past_incarceration",
                "child_protection",
            ),
            (),
            (("person_id", "member_id"),),
        ),
    )
}  # fmt: skip
REQUIRED_TABLES: Final = ("medical_claim", "eligibility")
SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class InputFile:
    """One file of one table. `name` is its path inside the input folder, with forward slashes."""

    table: str
    name: str
    path: Path


@dataclass(frozen=True)
class InputFolder:
    """The files of a folder by table, ordered by name, and what was left alone."""

    files: tuple[InputFile, ...]
    left_out: tuple[str, ...]

    def of(self, table: str) -> list[tuple[int, InputFile]]:
        """Files of one table with their index in `files`."""
        return [(index, file) for index, file in enumerate(self.files) if file.table == table]


def find_inputs(folder: Path) -> InputFolder:
    """Sort a folder's CSV and Parquet files into tables.

    A table is `TABLE.csv`, `TABLE.csv.gz`, `TABLE.parquet`, `TABLE_seed.csv`, numbered parts
    `TABLE_0.parquet`, `TABLE-part-0.parquet` or `TABLE.csv_0_0_0.csv.gz`, or any number of such
    files in a folder `TABLE/` (or `TABLE_seed/`, `TABLE.parquet/`) at any depth. Hidden files and
    files of any other name are left out and named.

    Raises
    ------
    DataError
        If the folder is missing, holds no table, lacks `medical_claim` or `eligibility`.
    """
    expected = "Expected Tuva input-layer tables: " + ", ".join(LAYOUTS) + " as CSV or Parquet."
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. {expected}")
    files: list[InputFile] = []
    left_out: list[str] = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in relative.parts)
        if not path.is_file() or hidden:
            continue
        table = next((t for t in map(_table_of, relative.parts) if t), None)
        if table is None or not path.name.lower().endswith(SUFFIXES):
            left_out.append(relative.as_posix())
        else:
            files.append(InputFile(table, relative.as_posix(), path))
    aside = f" Left aside: {_some(left_out)}." if left_out else ""
    if not files:
        raise DataError(f"{folder} holds no table that can be read. {expected}{aside}")
    found = {file.table for file in files}
    missing = [table for table in REQUIRED_TABLES if table not in found]
    if missing:
        raise DataError(
            f"{folder} lacks {' and '.join(missing)}; it holds {', '.join(sorted(found))}. "
            f"{expected}{aside}"
        )
    if len(files) >= 2**16:
        raise DataError(f"{folder} holds {len(files):,} files, more than 65,535: join some of them")
    return InputFolder(tuple(files), tuple(left_out))


def check_columns(layout: TableLayout, names: list[str], file: str) -> tuple[list[str], list[str]]:
    """Split a file's columns into known and unknown ones; names are compared in lower case.

    Raises
    ------
    DataError
        Listing every required column that is missing, or one that stands twice.
    """
    lowered = [name.strip().lower() for name in names]
    twice = sorted({name for name in lowered if lowered.count(name) > 1 and name in layout.known})
    if twice:
        raise DataError(f"{file} has more than one column {', '.join(twice)}: keep one of each")
    missing = [name for name in layout.required if name not in lowered]
    missing += [
        " or ".join(names_) for names_ in layout.one_of if not any(n in lowered for n in names_)
    ]
    if missing:
        found = [name for name in lowered if name in layout.known]
        # a first line without a single known name may be a member's row: it is not shown
        has = f"It has: {_some(found, 200)}" if found else "Its first line is not a header"
        raise DataError(
            f"{file} lacks required columns of {layout.name}: {', '.join(missing)}. {has}."
        )
    known = [name for name, low in zip(names, lowered, strict=True) if low in layout.known]
    unknown = [name for name, low in zip(names, lowered, strict=True) if low not in layout.known]
    return known, unknown


def _some(names: list[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def _table_of(part: str) -> str | None:
    stem = _without_suffix(part.lower())
    stem = re.sub(r"(?:[-_.]?(?:part[-_]?)?\d+)+$", "", stem)
    stem = _without_suffix(stem).removesuffix("_seed")
    return stem if stem in LAYOUTS else None


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)
