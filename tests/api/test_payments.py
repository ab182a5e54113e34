from __future__ import annotations

import io
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api import payments as endpoint
from api.forms import ARROW, CSV, PARQUET
from api.opened import MEMBER_SCOPE
from api.service import Service
from ihp_compute.payments import Period, pay
from ihp_compute.population import open_population

TERMS = """
[set]
name = "paid"
[default]
contract = "mn-ihp-2.0-track-1"
[default.overrides]
"pbp.rate" = 4.5
"pbp.social_weight.homelessness" = 0.25
"""
URL = "/v1/populations/small/payments"
Q3: dict[str, Any] = {"quarter": "2024Q3", "contract": "paid"}
UP: dict[str, Any] = {"true_up": 2024, "contract": "paid"}


@pytest.fixture
def registered(client: TestClient, service: Service, small_population: Path) -> Path:
    """The small state by the name `small`, and a contract set by the name `paid`."""
    terms = service.home.contracts / "paid.toml"
    terms.write_text(TERMS, encoding="utf-8")
    shutil.copytree(small_population, service.home.populations / "small")
    body = {"name": "small", "prefix": "small"}
    assert client.post("/v1/populations", json=body).status_code == 201
    return terms


@pytest.fixture
def member(key_with: Callable[..., dict[str, str]]) -> dict[str, str]:
    return key_with("runs:read", MEMBER_SCOPE)


def test_a_stranger_and_a_key_without_results_are_refused(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    assert anonymous.get(URL, params=Q3).status_code == 401
    headers = key_with("populations:read")
    assert anonymous.get(URL, params=Q3, headers=headers).status_code == 403


def test_what_is_read_is_what_the_command_pays(
    client: TestClient,
    registered: Path,
    small_population: Path,
    member: dict[str, str],
    service: Service,
) -> None:
    """The same rows in every form, whole for who may see members' rows, and sent once."""
    for params, period in (
        (Q3, Period(2024, 3)),
        (UP, Period(2024)),
    ):
        due = pay(small_population, (str(registered),), period).table
        found = client.get(URL, params=params, headers={**member, "Accept": ARROW})
        assert found.status_code == 200
        assert pa.ipc.open_stream(found.content).read_all().to_pylist() == due.to_pylist()
        parquet = client.get(URL, params=params, headers={**member, "Accept": PARQUET})
        assert pq.read_table(io.BytesIO(parquet.content)).to_pylist() == due.to_pylist()
        assert client.get(URL, params=params, headers=member).json()["rows"] == due.to_pylist()
        kept = service.store.audit.entries(limit=1, action="member_rows_read")[0]
        assert (kept.result_table, kept.subject) == ("payments", "small")
        csv = client.get(URL, params=params, headers={**member, "Accept": CSV})
        assert len(csv.text.splitlines()) == due.num_rows + 1
        again = {**member, "If-None-Match": csv.headers["etag"], "Accept": CSV}
        assert client.get(URL, params=params, headers=again).status_code == 304


def test_rows_of_few_people_follow_from_nothing_shown(
    client: TestClient, registered: Path, small_population: Path
) -> None:
    """Whoever knows what a partnership or a payer comes to in all learns of no small row."""
    due = pay(small_population, (str(registered),), Period(2024, 3)).table.to_pylist()
    seen = client.get(URL, params=Q3).json()["rows"]
    small = [k for k, row in enumerate(due) if 1 <= row["n_members"] <= 10]
    assert small
    hidden: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, true in zip(seen, due, strict=True):
        keys = {name: true[name] for name in ("partnership_id", "payer")}
        assert row in (true, dict.fromkeys(true) | keys)
        if row != true:
            for item in keys.items():
                hidden[item].append(true["n_members"])
    assert all(seen[k]["n_members"] is None for k in small)
    n_of = {item: sum(1 for row in due if item in row.items()) for item in hidden}
    for item, people in hidden.items():
        assert len(people) == n_of[item] or (len(people) > 1 and sum(people) > 10)


def test_a_payment_is_made_once_and_again_where_what_it_rests_on_is_other(
    client: TestClient, registered: Path, member: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def counted(*arguments: Any, **more: Any) -> Any:
        made.append(arguments)
        return pay(*arguments, **more)

    monkeypatch.setattr(endpoint, "pay", counted)
    first = client.get(URL, params=Q3, headers=member).json()["rows"]
    client.get(URL, params=Q3)
    assert len(made) == 1
    registered.write_text(TERMS.replace("4.5", "9"), encoding="utf-8")
    doubled = client.get(URL, params=Q3, headers=member).json()["rows"]
    assert len(made) == 2
    for row, before in zip(doubled, first, strict=True):
        assert abs(row["payment_cents"] - 2 * before["payment_cents"]) <= row["member_months"]


@pytest.mark.usefixtures("registered")
def test_without_members_rows_payments_are_cut_at_the_ends_of_months_alone(
    client: TestClient, member: dict[str, str]
) -> None:
    """Two neighbouring days could be subtracted: what is left is of few people."""
    assert client.get(URL, params={**Q3, "paid_through": "2024-02-29"}).status_code == 200
    within = client.get(URL, params={**Q3, "paid_through": "2024-02-28"})
    assert within.status_code == 422
    (error,) = within.json()["errors"]
    assert error["pointer"].endswith("paid_through")
    assert "as 2024-02-29, of a key without results:member" in error["detail"]
    day = {**Q3, "paid_through": "2024-02-28"}
    assert client.get(URL, params=day, headers=member).status_code == 200


@pytest.mark.parametrize(
    ("params", "name", "words"),
    [
        ({"contract": "paid"}, "quarter", "one of both"),
        ({**Q3, "true_up": 2024}, "quarter", "one of both"),
        ({**Q3, "quarter": "2024Q5"}, "quarter", "as in 2024Q3"),
        ({**Q3, "contract": "nobody"}, "contract", "no contract of this name"),
        ({**Q3, "contract": "mn-ihp-2.0-track-2"}, "contract", "pbp.rate: found none in 2024"),
        ({**Q3, "quarter": "2031Q1"}, "contract", "small: people of 2031 are those of 2030"),
        ({**Q3, "paid_through": "2024"}, "paid_through", ""),
        ({**Q3, "quater": "2024Q3"}, "quater", "no such parameter"),
    ],
)
def test_what_cannot_be_paid_is_refused_where_it_stands(
    client: TestClient, registered: Path, params: dict[str, Any], name: str, words: str
) -> None:
    response = client.get(URL, params=params)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"].endswith(name)
    assert words in error["detail"]
    assert str(registered.parent) not in response.text


@pytest.mark.usefixtures("registered")
def test_a_population_that_is_other_or_unknown_pays_nothing(
    client: TestClient, service: Service
) -> None:
    assert client.get("/v1/populations/nobody/payments", params=Q3).status_code == 404
    folder = service.home.populations / "small"
    digest = open_population(folder).digest
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(digest, "ab" * 32))
    assert client.get(URL, params=Q3).status_code == 409
