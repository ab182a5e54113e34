"""Risk models as data: their schema, tables of CMS and HHS, compiled form and engine.

A model knows no member and no population; members come as arrays.
"""

from __future__ import annotations

from ihp_compute.risk.models.audit import emitted
from ihp_compute.risk.models.compile import Compiled, clean_codes, compile_model, slim
from ihp_compute.risk.models.engine import (
    NOT_STATED,
    Codes,
    Members,
    Scored,
    check,
    csr_factors,
    differing_by_order,
    run,
    segments_of,
)
from ihp_compute.risk.models.explain import explain
from ihp_compute.risk.models.schema import (
    Calibration,
    Coefficient,
    Model,
    decode,
    digest,
    encode,
    read_json,
)

__all__ = [
    "NOT_STATED",
    "Calibration",
    "Codes",
    "Coefficient",
    "Compiled",
    "Members",
    "Model",
    "Scored",
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
    "read_json",
    "run",
    "segments_of",
    "slim",
]
