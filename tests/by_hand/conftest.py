"""A state whose raw tables are less tidy than a generator's, and what two readers make of it."""

from __future__ import annotations

import importlib.util
import random
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Row = dict[str, Any]
AID = ("01", "05", "06", "07", "11", "35", "60", "72", "9", "ZZ", None)
PROCEDURES = (
    "99213", "99281", "99223", "97110", "80053", "70450", "S0280", "T1015", "G0463", "99304",
    "90834", "H0015", "A0427", "T1019", "98940", "92014", "E0601", "J1100", "Q5001", "99396", None,
)  # fmt: skip
REVENUE = ("0450", "0981", "0300", "0320", "0510", "0900", "0120", "0490", "0650", "1001", None)
BILLS = ("111", "121", "411", "131", "851", "711", "0831", "321", "141", "181", "891", None)
SPECIALTIES = (
    "207Q00000X", "208D00000X", "2084P0800X", "363L00000X", "207RC0000X", "101YM0800X",
    "261QF0400X", "363LP0808X", "2080P0006X",
)  # fmt: skip


def _module(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def claims_by_hand() -> ModuleType:
    return _module("claims_by_hand")


@pytest.fixture(scope="session")
def state_by_hand() -> ModuleType:
    return _module("state_by_hand")


@pytest.fixture(scope="session")
def money_by_hand() -> ModuleType:
    return _module("money_by_hand")


@pytest.fixture(scope="session")
def untidy_state(tmp_path_factory: pytest.TempPathFactory, claims_by_hand: ModuleType) -> Path:
    """Raw tables with two sources, overlapping enrolment, odd codes and missing scores."""
    from ihp_compute.synth.state import synth  # noqa: PLC0415 - only what writes the input

    tidy = tmp_path_factory.mktemp("by_hand") / "tidy"
    synth(1000, 78, tidy)
    rng = random.Random(77)  # noqa: S311 - invented data
    tables = {
        name: claims_by_hand.table(tidy, name)
        for name in (
            "eligibility", "medical_claim", "pharmacy_claim", "provider_roster", "risk_score",
            "quality_score",
        )
    }  # fmt: skip
    tables["eligibility"] = _enrolment(rng, tables["eligibility"])
    tables["medical_claim"] = _claims(rng, tables["medical_claim"])
    for row in tables["pharmacy_claim"]:
        row["paid_date"] = rng.choices((row["paid_date"], None), (98, 2))[0]
    for row in tables["provider_roster"]:
        row["specialty"] = rng.choice((*[row["specialty"]] * 12, *SPECIALTIES))
    tables["risk_score"] = [row for row in tables["risk_score"] if rng.random() > 0.2]
    raw = tidy.with_name("raw")
    for name, rows in tables.items():
        columns = {column: None for row in rows for column in row}
        texts = {c: [None if r.get(c) is None else str(r[c]) for r in rows] for c in columns}
        (raw / name).mkdir(parents=True)
        written = pa.table({c: pa.array(v, pa.string()) for c, v in texts.items()})
        pq.write_table(written, raw / name / "rows.parquet")
    return raw


def _enrolment(rng: random.Random, rows: list[Row]) -> list[Row]:
    found = []
    unborn = set(rng.sample(sorted({row["person_id"] for row in rows}), 15))
    for row in rows:
        if row["person_id"] in unborn:
            row["birth_date"] = None
        row["x_rstrctd_bnfts_cd"] = rng.choices(
            ("1", None, "0", "2", "3", "6"), (80, 5, 5, 1, 1, 1)
        )[0]
        if rng.random() < 0.05:
            row["x_elgblty_grp_cd"] = rng.choice(AID)
        if rng.random() < 0.05:
            row["dual_status_code"] = rng.choice(("00", "02", "3", "8", "09", "10", None))
        if rng.random() < 0.02:
            row["enrollment_end_date"] = rng.choice((None, "9999-12-31", "2029-01-31"))
        if rng.random() < 0.1:
            row["x_mc_plan_type_cd"] = rng.choice((None, "02", "17", "80", "4"))
        found.append(row)
        if rng.random() < 0.12:  # a second row for some of the months
            other, start = dict(row), row["enrollment_start_date"]
            other["enrollment_start_date"] = start + timedelta(days=rng.choice((0, 0, 40, 200)))
            if str(other["enrollment_start_date"]) > str(row["enrollment_end_date"] or "9"):
                other["enrollment_start_date"] = start
            other |= rng.choice(
                (
                    {"dual_status_code": "02"},
                    {"x_partial_benefit_flag": "1"},
                    {"x_elgblty_grp_cd": rng.choice(AID)},
                    {"x_mc_plan_id": None, "plan": "FFS", "x_mc_plan_type_cd": None},
                )
            )
            found.append(other)
    return found


def _claims(rng: random.Random, rows: list[Row]) -> list[Row]:
    claims: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        claims.setdefault((row["person_id"], row["claim_id"]), []).append(row)
    kinds = (None, "vision", "dental", "institutional", "professional")
    for of in claims.values():
        changes: Row = {}
        if rng.random() < 0.3:
            changes["data_source"] = "east"
        if rng.random() < 0.04:
            changes["claim_type"] = rng.choice(kinds)
        if rng.random() < 0.04:
            changes["bill_type_code"] = rng.choice(BILLS)
        if rng.random() < 0.02:
            changes["paid_date"] = None
        if rng.random() < 0.03:
            changes["x_clm_type_cd"] = rng.choice(("5", "E", "B", "2", "W", "C", "A", None, "X"))
        days = rng.choices((0, 3, 40), (96, 2, 2))[0]
        for row in of:
            row.update(changes)
            if days and hasattr(row["claim_end_date"], "year"):
                row["claim_end_date"] += timedelta(days=days)
            if rng.random() < 0.12:
                row["hcpcs_code"] = rng.choice(PROCEDURES)
            if row["claim_type"] in ("institutional", None) and rng.random() < 0.3:
                row["revenue_center_code"] = rng.choice(REVENUE)
            if rng.random() < 0.05:
                row["place_of_service_code"] = rng.choice(("11", "23", "24", "50", "2", "81", None))
            if rng.random() < 0.05:
                row["rendering_npi"] = None
    again = [dict(row) for key in rng.sample(sorted(claims), 150) for row in claims[key]]
    for row in again:
        row["data_source"] = "west"  # a number of another source is another claim
    return rows + again
