"""Keys over HTTP: made by an administrator, shown once, revoked, and all of it kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.auth import OPERATOR_SCOPES, SCOPES, issue_key
from api.service import Service

BODY: dict[str, Any] = {"owner": "ann", "scopes": ["runs:read"], "days": 30, "note": "desk"}


def test_a_stranger_and_who_does_not_administer_are_refused(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    others = key_with(*(scope for scope in SCOPES if scope != "admin"))
    for headers, status in (({}, 401), (others, 403)):
        assert anonymous.get("/v1/keys", headers=headers).status_code == status
        assert anonymous.get("/v1/keys/x", headers=headers).status_code == status
        assert anonymous.post("/v1/keys", json=BODY, headers=headers).status_code == status
        assert anonymous.delete("/v1/keys/x", headers=headers).status_code == status


def test_a_key_is_made_shown_once_used_and_revoked(
    client: TestClient, anonymous: TestClient, service: Service
) -> None:
    made = client.post("/v1/keys", json=BODY)
    assert made.status_code == 201
    view = made.json()
    key = view.pop("key")
    here = made.headers["location"]
    assert here == f"/v1/keys/{view['id']}"
    assert (view["owner"], view["scopes"], view["note"], view["state"], view["last_used_at"]) == (
        "ann", ["runs:read"], "desk", "in use", None,
    )  # fmt: skip
    assert client.get(here).json() == view
    assert view in client.get("/v1/keys").json()["keys"]
    assert key not in client.get("/v1/keys").text
    headers = {"Authorization": f"Bearer {key}"}
    assert anonymous.get("/v1/runs", headers=headers).status_code == 200
    assert client.get(here).json()["last_used_at"] is not None
    assert client.delete(here).status_code == client.delete(here).status_code == 204
    assert anonymous.get("/v1/runs", headers=headers).status_code == 401
    assert client.get(here).json()["state"] == "revoked"
    kept = [(e.owner, e.action, e.route) for e in service.store.audit.entries(limit=2)]
    assert kept == [
        ("operator", "key_revoked", "DELETE /v1/keys/{key_id}"),
        ("operator", "key_made", "POST /v1/keys"),
    ]


def test_an_administrator_hands_out_any_scope_to_a_named_owner(client: TestClient) -> None:
    """The operator's key itself reads no members' rows: whoever does has a key of their own."""
    assert "results:member" not in OPERATOR_SCOPES
    made = client.post("/v1/keys", json={**BODY, "scopes": ["results:member", "runs:read"]})
    assert made.status_code == 201
    assert made.json()["scopes"] == ["runs:read", "results:member"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["runs:reed"]}, "/scopes"),
        ({"scopes": ["runs:read", "runs:read"]}, "/scopes"),
        ({"days": 0}, "/days"),
        ({"days": 366}, "/days"),
        ({"days": 1.0}, "/days"),
        ({"owner": " "}, "/owner"),
        ({"owner": "a\nb"}, "/owner"),
        ({"note": "n" * 201}, "/note"),
        ({"key": "mine"}, "/key"),
    ],
)
def test_what_no_key_can_be_is_refused(
    client: TestClient, changes: dict[str, Any], pointer: str
) -> None:
    response = client.post("/v1/keys", json={**BODY, **changes})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


def test_the_operators_key_is_not_revoked_from_afar(client: TestClient, service: Service) -> None:
    key_id, _ = issue_key(
        service.store.keys, service.home, owner="operator", note="", scopes=["admin"], days=1,
        operator=True,
    )  # fmt: skip
    assert client.delete(f"/v1/keys/{key_id}").status_code == 409
    assert client.get("/v1/keys/no-such").status_code == 404
    assert client.delete("/v1/keys/no-such").status_code == 404


def test_keys_are_listed_part_by_part(client: TestClient) -> None:
    made = [client.post("/v1/keys", json=BODY).json()["id"] for _ in range(3)]
    first = client.get("/v1/keys?limit=2").json()
    rest = client.get("/v1/keys", params={"limit": 2, "page_token": first["next_page_token"]})
    listed = [key["id"] for key in first["keys"] + rest.json()["keys"]]
    assert set(made) < set(listed)
    assert len(listed) == len(made) + 1
    assert rest.json()["next_page_token"] is None
