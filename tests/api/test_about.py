"""What the service says of itself and of the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient

import ihp_compute
from api.service import Service


def test_a_key_learns_whose_it_is(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    """Without a scope too, and without being told the key."""
    headers = key_with("runs:read", "admin", owner="actuary", days=3)
    me = anonymous.get("/v1/me", headers=headers).json()
    assert (me["owner"], me["scopes"]) == ("actuary", ["admin", "runs:read"])
    left = datetime.fromisoformat(me["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=2.9) < left <= timedelta(days=3)
    assert headers["Authorization"].split()[1] not in str(me)
    other = anonymous.get("/v1/me", headers=key_with()).json()
    assert (other["scopes"], other["key_id"] != me["key_id"]) == ([], True)


def test_every_bound_is_told_with_its_value(client: TestClient, service: Service) -> None:
    told = {limit["name"]: limit for limit in client.get("/v1/limits").json()["limits"]}
    assert set(service.settings.limits) < set(told)
    for name, limit in service.settings.limits.items():
        assert told[name]["value"] == limit.value
        assert told[name]["meaning"]
    assert told["max_body_bytes"]["value"] == 2000
    assert told["max_list_items"]["value"] == 200
    assert told["max_target_bytes"]["value"] == 32_768
    assert told["max_header_bytes"]["value"] == 32_768


def test_a_method_has_a_version(client: TestClient) -> None:
    assert client.get("/v1/version").json() == {
        "engine_version": ihp_compute.__version__,
        "method_version": ihp_compute.METHOD_VERSION,
    }
