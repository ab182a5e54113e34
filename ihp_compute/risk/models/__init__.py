"""Risk models as data: their schema, tables of CMS and HHS, compiled form and engine.

A model knows no member and no population; members come as arrays.
"""

from __future__ import annotations

from ihp_compute.risk.models.audit import emitted
from ihp_compute.risk.models.compile import Compiled, clean_codes, compile_model, slim
from ihp_compute.risk.models.engine import (
    Codes,
    Scored,
    check,
    csr_factors,
    differing_by_order,
    run,
    segments_of,
)
from ihp_compute.risk.models.explain import explain, explain_one
from ihp_compute.risk.models.members import NOT_STATED, Members, asks, tests_of
from ihp_compute.risk.models.rows import read_rows
from ihp_compute.risk.models.schema import (
    Calibration,
    Coefficient,
    Condition,
    Feature,
    Flag,
    Model,
    Step,
    decode,
    digest,
    encode,
    read_json,
)
from ihp_compute.risk.models.weights import weight_micro

__all__ = [
    "NOT_STATED",
    "Calibration",
    "Codes",
    "Coefficient",
    "Compiled",
    "Condition",
    "Feature",
    "Flag",
    "Members",
    "Model",
    "Scored",
    "Step",
    "asks",
    "check",
    "clean_codes",
    "compile_model",
    "csr_factors",
    "decode",
    "differing_by_order",
    "digest",
    "emitted",
    "encode",
    "explain",
    "explain_one",
    "read_json",
    "read_rows",
    "run",
    "segments_of",
    "slim",
    "tests_of",
    "weight_micro",
]
