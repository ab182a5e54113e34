"""What a risk model is, as data: features, code map, segments, program, coefficients, rounding.

    codes -> features (bits) -> program steps (bits) -> coefficients of the bits left -> post-steps

Names, not bit numbers: `compile` numbers the features in the order listed, and hierarchies act in
that order. Ages are completed years, half open; dates are ISO, first and last day both included.
Numbers are decimal text and become int64 millionths once.

`audit` says whether a model makes sense; here only shapes and types are checked.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.contracts import TIMINGS
from ihp_compute.errors import RiskModelError

SCHEMA_VERSION: Final = 1
KINDS: Final = ("CC", "RXC", "ACF", "GROUP", "TERM", "FLAG")
"""CC, RXC, ACF come from codes; GROUP and TERM from steps; a FLAG is set by steps and never
scored."""
SYSTEMS: Final = ("ICD10", "NDC", "HCPCS")
OPERATIONS: Final = (
    "PATCH", "HIER", "EXCLUDE", "GROUP", "ANY", "RANK", "CROSS", "AND", "COUNT", "DURATION", "CELL",
)  # fmt: skip
EDIT_AGES: Final = ("member", "service_date")
HIERARCHIES: Final = ("sequential", "simultaneous")
COLLECTIONS: Final = dict(zip(TIMINGS, ("same_year", "year_before"), strict=True))
"""Which year's codes score a year, by the timing of a model."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a table came from."""

    name: str
    sha256: str = ""
    note: str = ""


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One bit."""

    name: str
    kind: str
    label: str = ""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row of the code map: a code sets bits for members and days that fit."""

    system: str
    code: str
    bits: tuple[str, ...]
    sex: str = ""
    age: tuple[int, int] | None = None
    """A split: alternatives by the member's age. Always tested."""
    edit_age: tuple[int, int] | None = None
    """The code editor's ages. Tested unless the edits are switched off."""
    first: str = ""
    last: str = ""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What must hold of a member; an absent field tests nothing."""

    age: tuple[int, int] | None = None
    sex: str = ""
    original_reason: tuple[int, ...] | None = None
    dual_status: tuple[int, ...] | None = None
    medicaid: bool | None = None
    institutional: bool | None = None
    new_enrollee: bool | None = None
    special_needs: bool | None = None
    aid_groups: tuple[str, ...] | None = None
    """`codes.AID_GROUPS`: one of these is the member's, that of most months of the year."""
    rate_cells: tuple[str, ...] | None = None
    """`codes.RATE_CELLS`: one of these is the member's, that of most months of the year."""
    factors: tuple[str, ...] | None = None
    """`codes.MEMBER_FACTORS`: all of these hold of the member on the last day of the codes' year.
    """


class Flag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fact about the member that steps may ask for: any one of the tests holds."""

    name: str
    any_of: tuple[Condition, ...]


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A group of members with its own coefficients; the first that fits is taken."""

    name: str
    test: Condition
    ages: tuple[int, int] = (0, 128)
    """Ages for which the segment has coefficients, also when it is assigned from outside."""


class Hierarchy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A feature that clears others below it."""

    parent: str
    children: tuple[str, ...]


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One demographic cell of a CELL step."""

    out: str
    sex: str
    age: tuple[int, int]
    when: tuple[str, ...] = ()
    """Exactly these of the step's variants hold."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One operation over the bits; which fields it uses depends on `op` (see `compile`)."""

    op: str
    segments: tuple[str, ...] = ()
    """None named: all."""
    flags: tuple[str, ...] = ()
    """Runs for members who have them all."""
    out: str = ""
    clear: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    all_of: tuple[tuple[str, ...], ...] = ()
    ranks: tuple[tuple[tuple[str, ...], str], ...] = ()
    default: str = ""
    gate: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    """COUNT, DURATION: by number from 0 on, the last for all above; CROSS: row by row.
    Empty: nothing."""
    cells: tuple[Cell, ...] = ()
    variants: tuple[str, ...] = ()


class Coefficient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One number of the model."""

    segment: str
    column: str
    term: str
    value: str


class PostStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`raw` divided or multiplied, rounded half up to `places` decimals in one go."""

    op: str
    by: str = ""
    places: int = 3
    source: str = ""
    basis: str = "published"


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the weights of a calibrated model were fitted to."""

    population_digest: str
    year: int
    """Year of the cost."""
    code_year: int
    """Year of the codes."""
    contract: str
    """By whose terms cost was counted."""
    contract_sha256: str
    base_model_sha256: str
    """Whose indicators were weighed, and whose weights were the prior."""
    accepted: dict[str, str]
    """Gates that tripped, each with the reason for which it was accepted."""
    seen: tuple[str, ...]
    """Digests of populations that had a part in the weights, those of the prior too."""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole risk model."""

    name: str
    version: str
    family: str
    year: int
    """Payment or benefit year; codes must be valid on some day of `code_years`."""
    code_years: tuple[int, int]
    features: tuple[Feature, ...]
    flags: tuple[Flag, ...]
    segments: tuple[Segment, ...]
    rules: tuple[Rule, ...]
    hierarchies: tuple[Hierarchy, ...]
    steps: tuple[Step, ...]
    columns: tuple[str, ...]
    coefficients: tuple[Coefficient, ...]
    hierarchy_mode: str = "sequential"
    edit_age: str = "member"
    default_column: str = ""
    csr: dict[str, str] = {}
    post_steps: tuple[PostStep, ...] = ()
    warn_under_age: int = 0
    """Members younger than this are counted as outside the model's population."""
    timing: str = ""
    """One of a contract's `TIMINGS`: whether weights were fitted to the cost of the codes' own year
    or of the year after. Here and below, empty or 0: the model states nothing."""
    minimum_months: int = 0
    """Members with fewer enrolled months in the year of the codes have no score."""
    newborn: str = ""
    """One of a contract's `NEWBORNS`."""
    diagnoses_from: str = ""
    """A contract's `EVERY_CLAIM` or `RISK_ADJUSTABLE`: of which claims the codes are."""
    calibration: Calibration | None = None
    """What it was calibrated on, of a calibrated model."""
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def collection(self) -> str:
        """Which year's codes score a year, "same_year" or "year_before"; "" where not stated."""
        return COLLECTIONS.get(self.timing, "")


def encode(model: Model) -> bytes:
    """The model as canonical JSON: field order fixed, no spaces; the digest is over these bytes."""
    return msgspec.json.encode(model)


def digest(model: Model) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(encode(model)).hexdigest()


def decode(text: bytes, *, where: str) -> Model:
    """Read a model from JSON.

    Raises
    ------
    RiskModelError
        If a field is unknown, missing or of another type, with its path.
    """
    try:
        model = msgspec.json.decode(text, type=Model)
    except msgspec.MsgspecError as problem:
        raise RiskModelError(f"{where}: not a risk model file: {problem}") from problem
    if model.schema_version != SCHEMA_VERSION:
        raise RiskModelError(
            f"{where}: schema version {model.schema_version}, expected {SCHEMA_VERSION}; "
            "import the model again"
        )
    return model


def read_json(path: Path, kind: type[Any]) -> Any:
    """Read a JSON file into a type.

    Raises
    ------
    RiskModelError
        If the file cannot be read or does not fit the type.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as problem:
        raise RiskModelError(f"{path.name}: {problem}") from problem
