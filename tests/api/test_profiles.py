"""A population's profile and quality: whole to who may see members, else without small counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.auth import OPERATOR_SCOPES
from api.opened import MEMBER_SCOPE
from api.profiles import open_findings, open_ledger, open_profile
from api.service import Service
from ihp_compute.results import SMALL_CELL


@pytest.fixture
def registered(client: TestClient, service: Service, small_population: Path) -> str:
    shutil.copytree(small_population, service.home.populations / "small")
    body = {"name": "small", "prefix": "small"}
    assert client.post("/v1/populations", json=body).status_code == 201
    return "/v1/populations/small"


def test_strangers_are_refused_and_others_told_whole_or_open(
    client: TestClient,
    anonymous: TestClient,
    service: Service,
    registered: str,
    key_with: Callable[..., dict[str, str]],
) -> None:
    whole = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE, owner="ann")
    for part in ("profile", "quality"):
        path = f"{registered}/{part}"
        assert anonymous.get(path).status_code == 401
        assert anonymous.get(path, headers=key_with("runs:read")).status_code == 403
        assert client.get(f"/v1/populations/none/{part}").status_code == 404
        shown, all_of_it = client.get(path), client.get(path, headers=whole)
        assert shown.status_code == all_of_it.status_code == 200
        assert (shown.json()["suppressed"], all_of_it.json()["suppressed"]) == (True, False)
        assert shown.headers["Vary"] == "Accept, Authorization"
        kept = service.store.audit.entries(limit=1, action="member_rows_read")[0]
        assert (kept.owner, kept.result_table, kept.subject) == ("ann", part, "small")


def test_sums_of_an_open_profile_are_those_of_the_whole(
    client: TestClient, registered: str, key_with: Callable[..., dict[str, str]]
) -> None:
    whole = client.get(
        f"{registered}/profile", headers=key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    ).json()
    shown = client.get(f"{registered}/profile").json()
    small = [row for row in whole["claims"] + whole["enrolment"] if row["members"] <= SMALL_CELL]
    assert small
    for table, sums in (("enrolment", ["member_months"]), ("claims", ["lines", "paid_cents"])):
        for name in sums:
            assert sum(row[name] for row in shown[table]) == sum(row[name] for row in whole[table])
        for row in shown[table]:
            assert row["members"] is None or row["members"] > SMALL_CELL
            assert row in whole[table] or "pooled" in row.values()
    assert shown["members"] == whole["members"]


def test_an_ingests_findings_and_fates_are_told(
    client: TestClient, registered: str, key_with: Callable[..., dict[str, str]]
) -> None:
    headers = key_with(*OPERATOR_SCOPES, MEMBER_SCOPE)
    whole = client.get(f"{registered}/quality", headers=headers).json()
    shown = client.get(f"{registered}/quality").json()
    assert {row["finding"] for row in shown["findings"]} == {
        row["finding"] for row in whole["findings"]
    }
    for row in shown["findings"]:
        assert row["lines"] is None or not 1 <= abs(row["lines"]) <= SMALL_CELL
        assert row["members"] is row["paid_cents"] is row["subject"] is row["detail"] is None
    assert all(row["lines"] == 0 or row["lines"] > SMALL_CELL for row in shown["ledger"])
    for table in {row["source_table"] for row in shown["ledger"]}:
        of_shown, of_whole = (
            sum(row["paid_cents"] for row in view["ledger"] if row["source_table"] == table)
            for view in (shown, whole)
        )
        assert of_shown == of_whole


def test_a_folder_that_changed_is_not_told(
    client: TestClient, service: Service, registered: str
) -> None:
    next((service.home.populations / "small" / "shards" / "00000").glob("lines.arrow")).unlink()
    for part in ("profile", "quality"):
        response = client.get(f"{registered}/{part}")
        assert response.status_code == 409
        assert str(service.home.path) not in response.text


def row(year: int, cell: str, members: int) -> dict[str, Any]:
    return {"year": year, "rate_cell": cell, "members": members, "member_months": 12 * members}


def test_a_small_cell_is_shown_with_the_next_larger_as_one() -> None:
    found: dict[str, Any] = {
        "members": 300,
        "enrolled": [{"year": 2023, "members": 130}, {"year": 2024, "members": 4},
                     {"year": 2025, "members": 160}],
        "enrolment": [row(2023, "a", 100), row(2023, "b", 20), row(2023, "c", 7),
                      row(2024, "a", 4), row(2025, "a", 160)],
        "claiming": [], "claims": [],
        "missing": [{"rows": 100, "missing": 3}, {"rows": 100, "missing": 95},
                    {"rows": 100, "missing": 40}],
    }  # fmt: skip
    shown = open_profile(found)
    assert shown["enrolment"] == [
        row(2025, "a", 160),
        {"year": "pooled", "rate_cell": "pooled", "members": None, "member_months": 12 * 131},
    ]
    found["enrolled"][1]["members"] = found["enrolment"][3]["members"] = 11
    assert open_profile(found)["enrolment"][:3] == [
        row(2023, "a", 100),
        {"year": 2023, "rate_cell": "pooled", "members": None, "member_months": 12 * 27},
        row(2024, "a", 11) | {"member_months": 48},
    ]
    assert [one["missing"] for one in shown["missing"]] == [None, None, 40]
    nothing = open_profile({**found, "members": 9})
    assert (nothing["members"], nothing["enrolment"], nothing["missing"]) == (None, [], [])


def test_few_lines_are_told_of_no_fate_and_no_finding() -> None:
    ledger = [
        {"source_table": "m", "file": f, "fate": fate, "lines": n, "paid_cents": n}
        for f, fate, n in (("1", "a", 3), ("2", "a", 2), ("1", "b", 30), ("1", "c", 900))
    ]
    assert open_ledger(ledger) == [
        {"source_table": "m", "file": None, "fate": "c", "lines": 900, "paid_cents": 900},
        {"source_table": "m", "file": None, "fate": "pooled", "lines": 35, "paid_cents": 35},
    ]
    assert open_ledger(ledger[:2]) == []
    rows = [
        {"source_table": "m", "column_name": "", "finding": f, "gate": "", "lines": n,
         "tripped": False, "subject": "NPI 1"}
        for f, n in (("x", 4), ("y", 5), ("y", 9))
    ]  # fmt: skip
    assert [(r["finding"], r["lines"], r["subject"]) for r in open_findings(rows)] == [
        ("x", None, None), ("y", 14, None),
    ]  # fmt: skip
