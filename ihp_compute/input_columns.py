"""Every column of the raw tables, declared once: name, kind, unit, meaning, and how it is spilled.

    declaration -> what the reader accepts (`ingest.door`), what passes from the first pass of
                   ingest to the second (`SPILLED`), what `synth` writes, what is documented

The layout is Tuva's input layer, names verbatim, with `x_` columns for what Medicaid needs. A
column that is only accepted takes part in telling rows apart and goes no further; one with `spill`
is carried to the second pass. Not here: what a column's values say (`ingest.door`) and what becomes
of them (`ingest.shard`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import cached_property
from typing import Final

import pyarrow as pa

from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.units import NO_DAY

NOTHING: Final = (
    "", "null", "none", "nan", "nat", "na", "n/a", "#n/a", "<na>", r"\n"
)  # fmt: skip
"""Texts that state nothing in any column, in lower case: `NA` is R's, `NaT` that of pandas,
and `\\N` is how databases unload a null."""

YES: Final = frozenset({"1", "true", "t", "yes", "y"})
NO: Final = frozenset({"0", "false", "f", "no", "n"})
"""Flags as they are written, in lower case."""
NO_DATE: Final = re.compile(r"(?:0+|8+|9+)?")
"""Digits of a written date that state none, whatever stands between them; SAS writes a point."""
FIRST_DATE: Final = date(1850, 1, 1)
"""A date before it is none that a person, a payment or a service can have."""
OPEN_END: Final = date(2099, 12, 31)
"""From this day on a date is none; an end of enrolment states that none is known."""
NO_DATES: Final = frozenset(
    date(*day)
    for day in ((1, 1, 1), (1000, 1, 1), (1899, 12, 30), (1899, 12, 31), (1900, 1, 1),
                (2099, 12, 31), (9999, 12, 31))
)  # fmt: skip
"""Days that programs write for no date; others outside the range above are counted as strange."""


class Kind(Enum):
    """What a column's values are, and so how they are read."""

    ID = "id"
    """Names a person, claim, provider or place by which rows meet; compared as text, and refused
    where a program rounded it."""
    TEXT = "text"
    CODE = "code"
    """A place in a code list, kept as text: leading zeros live."""
    DATE = "date"
    FLAG = "flag"
    """1, true, t, yes, y; or 0, false, f, no, n."""
    AMOUNT = "amount"
    """Dollars, read as exact cents."""
    NUMBER = "number"


@dataclass(frozen=True)
class CodeSystem:
    """A list of codes that the population numbers.

    meaning : what its codes name
    spelling : what is made of a code as written, or None where it stands as it is
    """

    meaning: str
    spelling: Callable[[str], str] | None = None


CODE_SYSTEMS: Final[Mapping[str, CodeSystem]] = {
    "dx": CodeSystem(
        "diagnoses, upper case without the dot", lambda code: code.upper().replace(".", "")
    ),
    "hcpcs": CodeSystem("procedures and supplies (CPT and HCPCS), upper case", str.upper),
    "ndc": CodeSystem("drugs"),
    "revenue": CodeSystem("revenue centres of institutions"),
    "bill_type": CodeSystem("types of bill of institutions"),
    "drg": CodeSystem("diagnosis related groups"),
    "place_of_service": CodeSystem("places of service of professional claims"),
    "npi": CodeSystem("providers, by national provider identifier"),
    "tin": CodeSystem("tax numbers of providers"),
    "plan": CodeSystem("managed care plans and payers"),
    "risk_model": CodeSystem("models of supplied risk scores"),
    "risk_cell": CodeSystem("cells that a supplied score's model puts members in"),
}
"""By name, in the order in which a population lists them."""


@dataclass(frozen=True)
class SpillColumn:
    """A column between the passes of ingest.

    type : Arrow type once it is read back
    blank : what stands where nothing is stated; of texts None for null
    system : the system (`CODE_SYSTEMS`) whose provisional numbers it holds, or ""
    follows : null is written for the text of the row before, itself of the same shard
    few : of texts, whether few distinct ones stand in many rows
    """

    name: str
    type: pa.DataType
    blank: int | str | None = 0
    system: str = ""
    follows: bool = False
    few: bool = False


def as_number(text: str) -> str:
    """A whole number in its shortest spelling; other text as it stands.

    >>> as_number("01"), as_number("1.0"), as_number("00"), as_number("A1")
    ('1', '1', '0', 'A1')
    """
    whole, _, places = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and not places.strip("0")):
        return text
    return whole.lstrip("0") or "0"


def as_decimal(text: str) -> str:
    """A number without sign or exponent in its shortest spelling; other text as it stands.

    >>> as_decimal(".50"), as_decimal("1.0"), as_decimal("00"), as_decimal("1e-3")
    ('0.5', '1', '0', '1e-3')
    """
    whole, _, places = text.partition(".")
    if not (whole + places).isascii() or not (whole + places).isdecimal():
        return text
    kept = places.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{kept}" if kept else "")


_FILLER: Final = re.compile(r"~+|\.|0+|8+|9+|n/?a|null|none", re.IGNORECASE)
_FILLS: Final = frozenset("~.089nN")
"""With what a filler begins."""


def linking_number(text: str) -> str:
    """A number that may name a claim; nothing where it is a filler.

    >>> [linking_number(text) for text in ("~", "000", "8888", "N/A", "A1")]
    ['', '', '', '', 'A1']
    """
    return "" if text[:1] in _FILLS and _FILLER.fullmatch(text) else text


def _text(name: str, *, blank: str | None = "", follows: bool = False) -> SpillColumn:
    return SpillColumn(name, pa.string(), blank, follows=follows)


def _few(name: str) -> SpillColumn:
    return SpillColumn(name, pa.string(), "", few=True)


def _day(name: str) -> SpillColumn:
    return SpillColumn(name, pa.int32(), NO_DAY)


def _cents(name: str) -> SpillColumn:
    return SpillColumn(name, pa.int64())


def _small(name: str, blank: int = 0) -> SpillColumn:
    return SpillColumn(name, pa.uint8(), blank)


def _coded(name: str, system: str) -> SpillColumn:
    return SpillColumn(name, pa.int32(), system=system)


@dataclass(frozen=True)
class InputColumn:
    """A column of a raw table.

    unit : of a number or an amount, what it counts
    spill : what it is carried as, first the column that is its own; others it also has a say in
    system : the code system of a column that is numbered without being spilled
    required : whether a file without it is refused
    nothing : a pattern of further texts (`NOTHING`) that state nothing, or the days that do
    may_be_open : of a date that ends something, whether any day from `OPEN_END` on is none
    dotted : whether codes are written with a dot, so that `.0` is part of one; elsewhere a whole
        number that a program wrote with `.0` is the number
    places : decimal places that are kept of a number
    spelling : what is made of a text as written, or None where it stands as it is
    is_content : whether it says what a row says; else how the row came here: two rows that differ
        only in such columns are the same row, and none decides which version is the later one
    """

    name: str
    kind: Kind
    meaning: str
    spill: tuple[SpillColumn, ...] = ()
    unit: str = ""
    system: str = ""
    required: bool = False
    nothing: str | frozenset[date] = ""
    may_be_open: bool = False
    dotted: bool = False
    places: int = 0
    is_content: bool = True
    spelling: Callable[[str], str] | None = None

    @property
    def no_dates(self) -> frozenset[date]:
        """Days that state no date in it."""
        return self.nothing if isinstance(self.nothing, frozenset) else NO_DATES

    @property
    def is_whole(self) -> bool:
        """Whether a number with `.0` in it is the number without."""
        return not (self.dotted or self.places)

    @property
    def code_system(self) -> str:
        """The system of a column that is numbered, or ""."""
        return self.spill[0].system if self.spill else self.system

    @property
    def arrow_type(self) -> pa.DataType:
        """Its type in a Parquet file that we write."""
        if self.kind is Kind.DATE:
            return pa.date32()
        if self.places:
            return pa.decimal128(18, self.places)
        return pa.string()


@dataclass(frozen=True)
class InputTable:
    """A raw table.

    own : of a table whose rows go to shards, spilled columns that no column of its states alone
    one_of : names of which at least one must stand
    """

    name: str
    meaning: str
    columns: tuple[InputColumn, ...]
    own: tuple[SpillColumn, ...] = ()
    required: bool = False
    one_of: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, InputColumn]:
        """The columns by name, in the layout's order."""
        return {column.name: column for column in self.columns}

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Names of the columns, in the layout's order."""
        return tuple(self.by_name)

    @cached_property
    def content(self) -> tuple[str, ...]:
        """Names of the columns that say what a row says, in the layout's order."""
        return tuple(column.name for column in self.columns if column.is_content)

    @cached_property
    def required_columns(self) -> tuple[str, ...]:
        """Names of the columns without which a file is refused."""
        return tuple(column.name for column in self.columns if column.required)

    @cached_property
    def spilled(self) -> tuple[SpillColumn, ...]:
        """Spilled columns that columns of its fill, in the layout's order."""
        return tuple(dict.fromkeys(column.spill[0] for column in self.columns if column.spill))


def _amount(name: str, meaning: str, *spill: SpillColumn, required: bool = False) -> InputColumn:
    return InputColumn(
        name, Kind.AMOUNT, meaning, spill, unit="USD", required=required, places=2
    )  # fmt: skip


def _numbered(
    first: str, kind: Kind, meaning: str, n: int, *spill: SpillColumn, dotted: bool = False
) -> tuple[InputColumn, ...]:
    """Columns `first`_1 to `first`_n."""
    return tuple(
        InputColumn(
            f"{first}_{k}", kind, f"{meaning}, number {k} of up to {n}", spill, dotted=dotted
        )
        for k in range(1, n + 1)
    )


# --- what tables share ----------------------------------------------------------------------------

_PERSON: Final = (
    InputColumn("person_id", Kind.ID, "the member; stands before member_id"),
    InputColumn("member_id", Kind.ID, "the member, where person_id says nothing"),
)
_PERSON_NAMES: Final = ("person_id", "member_id")
_ISSUER: Final = SpillColumn("issuer", pa.uint64())
"""Whose numbers a claim's number is one of: a hash of data source, payer and plan."""
_SOURCE: Final = InputColumn(
    "data_source", Kind.TEXT, "where the row was taken from; each source has snapshots of its own",
    (_few("data_source"),),
)  # fmt: skip
_CAME: Final = (
    InputColumn("file_name", Kind.TEXT, "file that the row came in", is_content=False),
    InputColumn(
        "file_date", Kind.DATE, "day of the file; of two versions alike, the later stands",
        (_day("file_day"),), is_content=False,
    ),
    InputColumn(
        "ingest_datetime", Kind.TEXT, "when the row was loaded upstream", is_content=False
    ),
)  # fmt: skip
_STATE: Final = InputColumn("x_submtg_state_cd", Kind.CODE, "state that submitted the row")
_PLAN: Final = _coded("plan", "plan")
_MANAGED: Final = _small("managed")
_FLAGS: Final = _small("flags")
_MEMBER_KEY: Final = SpillColumn("member_key", pa.uint64())
_ROW: Final = (
    _MEMBER_KEY,
    _small("fate"),
    _text("reason", blank=None),
    SpillColumn("file", pa.uint16()),
    SpillColumn("row", pa.int64()),
    SpillColumn("hash_1", pa.uint64()),
    SpillColumn("hash_2", pa.uint64()),
)
"""Of each row of claims and enrolment: whose it is, what is wrong, where it stands, what tells it
apart."""

# --- claims ---------------------------------------------------------------------------------------

_CLAIM: Final = (
    InputColumn(
        "claim_id", Kind.ID, "the claim", (_text("claim_id", follows=True),), required=True
    ),
    InputColumn(
        "claim_line_number", Kind.ID, "the line within the claim; 1, 01 and 1.0 are one",
        (_few("claim_line_number"),), spelling=as_number,
    ),
)  # fmt: skip
_ACTION: Final = _small("action")
_PRINCIPAL_DX: Final = _coded("principal_dx", "dx")
_CLAIM_ROW: Final = (
    *_ROW, SpillColumn("blank_amount", pa.bool_()), _ISSUER, _ACTION, _PRINCIPAL_DX
)  # fmt: skip
_CLAIM_SOURCE: Final = InputColumn(
    "data_source", Kind.TEXT, "where the row was taken from; part of what a claim is",
    (_few("data_source"), _ISSUER),
)  # fmt: skip
_PAYER: Final = (
    InputColumn("payer", Kind.TEXT, "who pays", (_few("payer"), _ISSUER)),
    InputColumn("plan", Kind.TEXT, "the payer's plan", (_few("payer_plan"), _ISSUER)),
)
_PAID: Final = (
    InputColumn("paid_date", Kind.DATE, "day of payment", (_day("paid_day"),)),
    _amount("paid_amount", "what the payer paid", _cents("paid_cents"), required=True),
    _amount("allowed_amount", "what the payer allowed", _cents("allowed_cents")),
    _amount("charge_amount", "what the provider charged"),
    _amount("coinsurance_amount", "the member's share as a rate of the price"),
    _amount("copayment_amount", "the member's fixed share"),
    _amount("deductible_amount", "the member's share before the plan pays"),
)
_IN_NETWORK: Final = InputColumn("in_network_flag", Kind.FLAG, "the provider is in the network")

_CLAIM_START: Final = _day("claim_start_day")
_CLAIM_END: Final = _day("claim_end_day")
_SERVICE: Final = _day("service_day")
_RENDERING: Final = _coded("rendering_npi", "npi")
_BILLING: Final = _coded("billing_npi", "npi")
_TIN: Final = _coded("tin", "tin")
_DENIAL: Final = _small("denial")
_UNITS: Final = SpillColumn("units_milli", pa.int64())
_DX: Final = SpillColumn("dx", pa.list_(pa.int32()), None, "dx")

_CLAIM_EXTENSIONS: Final = (
    InputColumn("x_elgblty_grp_cd", Kind.CODE, "the member's eligibility group on the claim"),
    InputColumn("x_mc_plan_id", Kind.CODE, "managed care plan on the claim"),
    InputColumn("x_mc_plan_type_cd", Kind.CODE, "type of that plan"),
    InputColumn(
        "x_clm_type_cd", Kind.CODE,
        "fee for service, capitation, encounter, service tracking or supplemental; Z is denied",
        (_small("kind"), _DENIAL),
    ),
    InputColumn(
        "x_adjstmt_ind", Kind.CODE, "original, void, replacement, gross credit or gross debit",
        (_few("indicator"), _ACTION),
    ),
    InputColumn(
        "x_orgnl_clm_num", Kind.ID, "claim that this one adjusts",
        (_text("original_claim", blank=None),), spelling=linking_number,
    ),
    InputColumn(
        "x_adjstmt_clm_num", Kind.ID, "claim that adjusts, by its own number",
        (_text("adjustment_claim", blank=None),), spelling=linking_number,
    ),
    InputColumn(
        "x_clm_dnd_ind", Kind.CODE,
        "0 is denied, as in TAF, and 1 or nothing is not; letters (Y, N, D) as they say",
        (_DENIAL,),
    ),
    InputColumn(
        "x_clm_stus_ctgry", Kind.CODE, "category of the claim's status; F2 is denied, and told"
        " where it and x_clm_dnd_ind differ",
    ),
    _amount("x_tpl_amt", "what other insurers paid", _cents("third_party_cents")),
    _amount("x_sdp_pd_amt", "payment that the state directs plans to make"),
    _amount("x_gme_pd_amt", "payment for graduate medical education"),
    _amount("x_srvc_trkng_pymt_amt", "lump sum that the line tracks"),
    _amount("x_ltc_rcp_lblty_amt", "the member's own share of long-term care"),
    _STATE,
)  # fmt: skip

SERVICE_DATES: Final = (
    "claim_line_start_date", "claim_start_date", "admission_date", "claim_end_date",
    "claim_line_end_date",
)  # fmt: skip
"""The day of service of a medical line is the first of these that is stated."""

_MEDICAL: Final = (
    *_CLAIM,
    InputColumn(
        "claim_type", Kind.CODE, "institutional, professional, dental, vision, pharmacy or other",
        (_small("claim_type"),),
    ),
    *_PERSON,
    *_PAYER,
    InputColumn(
        "claim_start_date", Kind.DATE, "first day of the claim; of a line without one, its day",
        (_CLAIM_START, _SERVICE),
    ),
    InputColumn("claim_end_date", Kind.DATE, "last day of the claim", (_CLAIM_END, _SERVICE)),
    InputColumn(
        "claim_line_start_date", Kind.DATE, "day of service of the line", (_SERVICE, _CLAIM_START)
    ),
    InputColumn(
        "claim_line_end_date", Kind.DATE, "last day of the line", (_CLAIM_END, _SERVICE)
    ),
    InputColumn(
        "admission_date", Kind.DATE, "day of admission", (_day("admission_day"), _SERVICE)
    ),
    InputColumn(
        "discharge_date", Kind.DATE, "day of discharge", (_day("discharge_day"), _CLAIM_END)
    ),
    InputColumn("admit_source_code", Kind.CODE, "where the patient came from"),
    InputColumn("admit_type_code", Kind.CODE, "urgency of the admission"),
    InputColumn(
        "discharge_disposition_code", Kind.CODE, "where the patient went",
        (_small("disposition", blank=255),),
    ),
    InputColumn(
        "place_of_service_code", Kind.CODE, "place of service",
        (_coded("place_of_service", "place_of_service"),),
    ),
    InputColumn(
        "bill_type_code", Kind.CODE, "type of bill; its last digit may say void or replacement",
        (_coded("bill_type", "bill_type"), _ACTION),
    ),
    InputColumn("drg_code_type", Kind.TEXT, "grouper of the DRG"),
    InputColumn("drg_code", Kind.CODE, "diagnosis related group", (_coded("drg", "drg"),)),
    InputColumn(
        "revenue_center_code", Kind.CODE, "revenue centre", (_coded("revenue", "revenue"),)
    ),
    InputColumn(
        "service_unit_quantity", Kind.NUMBER, "how much was done; kept to thousandths", (_UNITS,),
        unit="units of service",
    ),
    InputColumn("hcpcs_code", Kind.CODE, "procedure or supply", (_coded("hcpcs", "hcpcs"),)),
    *_numbered("hcpcs_modifier", Kind.CODE, "modifier of the procedure", 5),
    InputColumn("rendering_npi", Kind.ID, "provider who rendered the service", (_RENDERING,)),
    InputColumn("rendering_tin", Kind.ID, "tax number of the rendering provider", (_TIN,)),
    InputColumn("billing_npi", Kind.ID, "provider who bills", (_BILLING,)),
    InputColumn(
        "billing_tin", Kind.ID, "tax number of the billing provider, where no rendering one is",
        (_TIN,),
    ),
    InputColumn("facility_npi", Kind.ID, "facility", (_coded("facility_npi", "npi"),)),
    *_PAID,
    _amount("total_cost_amount", "what payer and member paid together"),
    InputColumn("diagnosis_code_type", Kind.TEXT, "ICD version of the diagnoses"),
    InputColumn(
        "diagnosis_code_1", Kind.CODE, "diagnosis, number 1 of up to 25: the principal one",
        (_DX, _PRINCIPAL_DX), dotted=True,
    ),
    *_numbered("diagnosis_code", Kind.CODE, "diagnosis", 25, _DX, dotted=True)[1:],
    *_numbered("diagnosis_poa", Kind.CODE, "whether the diagnosis was present on admission", 25),
    InputColumn("procedure_code_type", Kind.TEXT, "code list of the inpatient procedures"),
    *_numbered("procedure_code", Kind.CODE, "inpatient procedure", 25, dotted=True),
    *_numbered("procedure_date", Kind.DATE, "day of the inpatient procedure", 25),
    _IN_NETWORK,
    _CLAIM_SOURCE,
    *_CAME,
    *_CLAIM_EXTENSIONS,
)  # fmt: skip

_PHARMACY: Final = (
    *_CLAIM,
    *_PERSON,
    *_PAYER,
    InputColumn("prescribing_provider_npi", Kind.ID, "who prescribed the drug", (_RENDERING,)),
    InputColumn("dispensing_provider_npi", Kind.ID, "who dispensed it", (_BILLING,)),
    InputColumn(
        "dispensing_date", Kind.DATE, "day on which it was dispensed",
        (_SERVICE, _CLAIM_START, _CLAIM_END), required=True,
    ),
    InputColumn("ndc_code", Kind.CODE, "drug", (_coded("ndc", "ndc"),)),
    InputColumn(
        "quantity", Kind.NUMBER, "how much was dispensed; kept to thousandths", (_UNITS,),
        unit="units of the drug",
    ),
    InputColumn("days_supply", Kind.NUMBER, "how long it lasts", unit="days"),
    InputColumn("refills", Kind.NUMBER, "how often it may be dispensed again", unit="refills"),
    *_PAID,
    _IN_NETWORK,
    _CLAIM_SOURCE,
    *_CAME,
    *_CLAIM_EXTENSIONS,
)  # fmt: skip

# --- enrolment ------------------------------------------------------------------------------------

_ELIGIBILITY: Final = (
    *_PERSON,
    InputColumn("subscriber_id", Kind.TEXT, "the subscriber whose plan it is"),
    InputColumn("gender", Kind.CODE, "sex", (_small("sex"),)),
    InputColumn("race", Kind.TEXT, "race"),
    InputColumn("birth_date", Kind.DATE, "day of birth", (_day("birth_day"),)),
    InputColumn("death_date", Kind.DATE, "day of death", (_day("death_day"),)),
    InputColumn("death_flag", Kind.FLAG, "the member has died"),
    InputColumn(
        "enrollment_start_date", Kind.DATE,
        "first day of enrolment; 1900-01-01 is one, for enrolled ever since", (_day("start_day"),),
        required=True, nothing=NO_DATES - {date(1900, 1, 1)},
    ),
    InputColumn(
        "enrollment_end_date", Kind.DATE, "last day of enrolment; nothing: it goes on",
        (_day("end_day"),), required=True, may_be_open=True,
    ),
    InputColumn("payer", Kind.TEXT, "who pays; names the plan last", (_PLAN, _FLAGS)),
    InputColumn(
        "payer_type", Kind.TEXT, "kind of payer; may name Medicaid or managed care",
        (_FLAGS, _MANAGED),
    ),
    InputColumn(
        "plan", Kind.TEXT, "the payer's plan; may name managed care", (_PLAN, _MANAGED)
    ),
    InputColumn(
        "original_reason_entitlement_code", Kind.CODE, "why Medicare first began",
        (_small("original_reason", blank=255),),
    ),
    InputColumn(
        "dual_status_code", Kind.CODE, "what of Medicare the member has beside Medicaid",
        (_small("dual_status", blank=255), _FLAGS),
    ),
    InputColumn("medicare_status_code", Kind.CODE, "why the member has Medicare now"),
    InputColumn("group_id", Kind.TEXT, "group of the subscriber"),
    InputColumn("group_name", Kind.TEXT, "name of that group"),
    InputColumn("name_suffix", Kind.TEXT, "what follows the name"),
    InputColumn("first_name", Kind.TEXT, "first name"),
    InputColumn("middle_name", Kind.TEXT, "middle name"),
    InputColumn("last_name", Kind.TEXT, "last name"),
    InputColumn("social_security_number", Kind.TEXT, "social security number"),
    InputColumn("subscriber_relation", Kind.TEXT, "what the member is to the subscriber"),
    InputColumn("address", Kind.TEXT, "street and number"),
    InputColumn("city", Kind.TEXT, "city"),
    InputColumn("state", Kind.TEXT, "state"),
    InputColumn("zip_code", Kind.CODE, "postal code"),
    InputColumn("phone", Kind.TEXT, "telephone number"),
    InputColumn("email", Kind.TEXT, "e-mail address"),
    InputColumn("ethnicity", Kind.TEXT, "ethnicity"),
    _SOURCE,
    *_CAME,
    InputColumn(
        "snapshot_date", Kind.DATE,
        "day on which the enrolment was known as the row says; of a source with several, the rows "
        "of the latest stand",
        (_day("snapshot_day"),), is_content=False,
    ),
    InputColumn("enrollment_status", Kind.TEXT, "status of the enrolment"),
    InputColumn("hospice_flag", Kind.FLAG, "in hospice care"),
    InputColumn("snp_type", Kind.CODE, "type of special needs plan"),
    InputColumn("medicaid_indicator", Kind.FLAG, "enrolled in Medicaid", (_FLAGS,)),
    InputColumn(
        "long_term_institutional_flag", Kind.FLAG, "lives in an institution for long-term care",
        (_FLAGS,),
    ),
    InputColumn("part_d_raf_type", Kind.CODE, "risk score of Medicare part D that applies"),
    InputColumn("low_income_subsidy_indicator", Kind.FLAG, "low-income subsidy of Medicare part D"),
    InputColumn("metal_level", Kind.TEXT, "metal of a marketplace plan"),
    InputColumn("csr_indicator", Kind.CODE, "cost-sharing reduction of a marketplace plan"),
    InputColumn(
        "enrollment_duration_months", Kind.NUMBER, "how long the member is enrolled", unit="months"
    ),
    InputColumn("esrd_status", Kind.CODE, "status of end-stage renal disease"),
    InputColumn(
        "transplant_duration_months", Kind.NUMBER, "time since a kidney was transplanted",
        unit="months",
    ),
    InputColumn(
        "x_elgblty_grp_cd", Kind.CODE, "eligibility group, of which the aid group follows",
        (_small("aid"), _FLAGS),
    ),
    InputColumn(
        "x_mc_plan_id", Kind.ID, "managed care plan; names the plan first", (_PLAN, _MANAGED),
        nothing="[089]+",
    ),
    InputColumn("x_mc_plan_type_cd", Kind.CODE, "type of that plan", (_MANAGED,)),
    InputColumn("x_spenddown_flag", Kind.FLAG, "spends down to be eligible", (_FLAGS,)),
    InputColumn(
        "x_partial_benefit_flag", Kind.FLAG, "has less than full Medicaid", (_FLAGS,)
    ),
    InputColumn(
        "x_rstrctd_bnfts_cd", Kind.CODE, "scope of benefits: 1 full, others of some care only",
        (_FLAGS,),
    ),
    InputColumn("x_county_fips", Kind.CODE, "county of residence, FIPS"),
    _STATE,
)  # fmt: skip

# --- what stands beside ---------------------------------------------------------------------------

_PARTNERSHIP: Final = InputColumn(
    "partnership_id", Kind.ID, "integrated health partnership", required=True
)
_PERFORMANCE_YEAR: Final = InputColumn(
    "performance_year", Kind.NUMBER, "year of performance", unit="calendar year", required=True
)
_START: Final = InputColumn("start_date", Kind.DATE, "first day that it holds")
_END: Final = InputColumn("end_date", Kind.DATE, "last day that it holds", may_be_open=True)

_ROSTER: Final = (
    InputColumn(
        "npi", Kind.ID, "provider on the partnership's roster", system="npi", required=True
    ),
    InputColumn("tin", Kind.ID, "tax number; nothing: any", system="tin"),
    _PARTNERSHIP,
    InputColumn(
        "specialty", Kind.CODE,
        "primary care, specialist, behavioral health, or a taxonomy code of one of them",
    ),
    InputColumn("health_care_home", Kind.FLAG, "certified as a health care home"),
    InputColumn("location_id", Kind.ID, "place where the provider sees patients"),
    _START,
    _END,
)  # fmt: skip

_SCORES: Final = (
    *_PERSON,
    InputColumn(
        "year", Kind.NUMBER, "year that the score is for", (SpillColumn("year", pa.int16(), -1),),
        unit="calendar year", required=True,
    ),
    InputColumn(
        "model", Kind.CODE, "model that gave the score", (_coded("model", "risk_model"),),
        required=True,
    ),
    InputColumn(
        "score", Kind.NUMBER, "relative risk", (SpillColumn("score_micro", pa.int64()),),
        unit="ratio to the average member", places=6,
    ),
    InputColumn(
        "cell", Kind.CODE, "cell that the model puts the member in", (_coded("cell", "risk_cell"),)
    ),
)  # fmt: skip

_FACTORS: Final = (
    *_PERSON,
    _START,
    _END,
    InputColumn("race", Kind.TEXT, "race"),
    InputColumn("ethnicity", Kind.TEXT, "ethnicity"),
    InputColumn("language", Kind.TEXT, "language preferred"),
    InputColumn("county_fips", Kind.CODE, "county of residence, FIPS"),
    InputColumn("disability", Kind.FLAG, "has a disability"),
    InputColumn("deep_poverty", Kind.FLAG, "lives in deep poverty"),
    InputColumn("homelessness", Kind.FLAG, "has no home"),
    InputColumn("serious_mental_illness", Kind.FLAG, "has a serious mental illness"),
    InputColumn("substance_use_disorder", Kind.FLAG, "has a substance use disorder"),
    InputColumn("past_incarceration", Kind.FLAG, "was incarcerated"),
    InputColumn("child_protection", Kind.FLAG, "is known to child protection"),
    InputColumn(
        "substance_use_consent_date", Kind.DATE,
        "day from which the member consents that care for substance use is shown (42 CFR Part 2)",
    ),
)  # fmt: skip

_COUNTY: Final = InputColumn("county_fips", Kind.CODE, "county, FIPS", required=True)
_PREFIX: Final = InputColumn(
    "dx_prefix", Kind.CODE, "beginning of diagnosis codes, with or without the dot", required=True,
    dotted=True, spelling=CODE_SYSTEMS["dx"].spelling,
)  # fmt: skip

INPUT_TABLES: Final[Mapping[str, InputTable]] = {
    table.name: table
    for table in (
        InputTable(
            "medical_claim", "lines of claims that are not of a pharmacy", _MEDICAL,
            own=_CLAIM_ROW,
            required=True,
            one_of=(_PERSON_NAMES, SERVICE_DATES),
        ),
        InputTable(
            "pharmacy_claim", "lines of pharmacy claims", _PHARMACY,
            own=_CLAIM_ROW,
            one_of=(_PERSON_NAMES,),
        ),
        InputTable(
            "eligibility", "spans of enrolment", _ELIGIBILITY,
            own=(*_ROW, _text("member_id")),
            required=True,
            one_of=(_PERSON_NAMES,),
        ),
        InputTable("provider_roster", "providers of each partnership", _ROSTER),
        InputTable(
            "risk_score", "risk scores from elsewhere", _SCORES, own=(_MEMBER_KEY,),
            one_of=(_PERSON_NAMES, ("score", "cell")),
        ),
        InputTable(
            "quality_score", "quality scores from elsewhere",
            (
                _PARTNERSHIP,
                _PERFORMANCE_YEAR,
                InputColumn(
                    "score", Kind.NUMBER, "quality, from 0 to 1", unit="ratio of the best",
                    required=True, places=3,
                ),
            ),
        ),
        InputTable(
            "quality_measure", "measures that make a quality score",
            (
                _PARTNERSHIP,
                _PERFORMANCE_YEAR,
                InputColumn("measure", Kind.TEXT, "name of the measure", required=True),
                InputColumn("domain", Kind.TEXT, "domain of the measure"),
                InputColumn(
                    "numerator", Kind.NUMBER, "cases that meet it", unit="cases", required=True
                ),
                InputColumn(
                    "denominator", Kind.NUMBER, "cases that could", unit="cases", required=True
                ),
                InputColumn(
                    "higher_is_better", Kind.FLAG, "whether a higher rate is better; nothing: it is"
                ),
            ),
        ),
        InputTable(
            "member_factors", "who members are and what they live with", _FACTORS,
            one_of=(_PERSON_NAMES,),
        ),
        InputTable(
            "region", "counties of regions, whose markets others are compared with",
            (
                _COUNTY,
                InputColumn("region", Kind.TEXT, "name of the region", required=True),
            ),
        ),
        InputTable(
            "intervention", "people of an intervention and its comparison",
            (
                InputColumn("person_id", Kind.ID, "the member", required=True),
                InputColumn("arm", Kind.TEXT, "arm of the intervention", required=True),
                InputColumn(
                    "start_date", Kind.DATE, "day on which it begins for the arm or the member",
                    required=True,
                ),
            ),
        ),
        InputTable(
            "condition_group", "conditions by diagnosis, the lowest rank of a member's stands",
            (
                _PREFIX,
                InputColumn(
                    "condition_group", Kind.TEXT, "name of the condition group", required=True
                ),
                InputColumn(
                    "rank", Kind.NUMBER, "place in the order of groups", unit="place",
                    required=True, spelling=as_number,
                ),
            ),
        ),
        InputTable(
            "ed_classifier", "how far emergency visits could be avoided, by principal diagnosis",
            (
                _PREFIX,
                InputColumn(
                    "avoidable_share", Kind.NUMBER, "share of visits that could be avoided",
                    unit="ratio of visits", required=True, places=6, spelling=as_decimal,
                ),
            ),
        ),
    )
}  # fmt: skip
"""The raw tables by name, in the order in which messages list them."""


def _merged(*orders: Iterable[SpillColumn]) -> tuple[SpillColumn, ...]:
    """The first order, and what only others have before what it is followed by there."""
    merged: list[SpillColumn] = []
    for order in orders:
        at = len(merged)
        for column in reversed(tuple(order)):
            if column in merged:
                at = merged.index(column)
            else:
                merged.insert(at, column)
    return tuple(merged)


CLAIM_CONTENT: Final = _merged(*(INPUT_TABLES[table].spilled for table in CLAIM_TABLES))
"""Spilled columns that say what a claim line says, in the layout's order."""

SPILL_COLUMNS: Final[Mapping[str, tuple[SpillColumn, ...]]] = {
    name: table.own + (CLAIM_CONTENT if name in CLAIM_TABLES else table.spilled)
    for name, table in INPUT_TABLES.items()
    if table.own
}
"""Spilled columns of the tables whose rows go to shards; claims of all tables have the same."""

SPILLED: Final[Mapping[str, pa.Schema]] = {
    name: pa.schema([(column.name, column.type) for column in columns])
    for name, columns in SPILL_COLUMNS.items()
}
"""Their names and types once they are read back."""

CODED: Final[Mapping[str, str]] = {
    column.name: column.system
    for columns in SPILL_COLUMNS.values()
    for column in columns
    if column.system
}
"""Spilled columns that are codes, by name, and the system of each; so named in a population too."""

DAYS: Final = frozenset(
    column.name
    for columns in SPILL_COLUMNS.values()
    for column in columns
    if column.blank == NO_DAY
)
"""Spilled columns that are days, by name."""

REFERENCE_TABLES: Final = tuple(name for name in INPUT_TABLES if name not in SPILLED)
"""Tables that belong to nobody's shard, kept whole."""
