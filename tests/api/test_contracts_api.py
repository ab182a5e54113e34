from __future__ import annotations

from fastapi.testclient import TestClient

from ihp_compute import contracts


def test_a_stranger_is_refused(anonymous: TestClient) -> None:
    assert anonymous.get("/v1/contracts").status_code == 401
    assert anonymous.get("/v1/contracts/mn-ihp-2.0-track-2").status_code == 401


def test_every_shipped_contract_is_listed(client: TestClient) -> None:
    found = client.get("/v1/contracts").json()
    assert [view["name"] for view in found] == contracts.names()
    assert all(len(view["sha256"]) == 64 for view in found)


def test_a_contract_shows_every_term_with_its_citation(client: TestClient) -> None:
    for name in contracts.names():
        view = client.get(f"/v1/contracts/{name}").json()
        agreement = contracts.load(name).at(None)
        assert [term["path"] for term in view["terms"]] == [v.path for v in agreement.terms()]
        assert all(term["citation"] and term["basis"] for term in view["terms"])
        assert view["draft"] == agreement.draft_line()


def test_an_unknown_contract_is_not_found(client: TestClient) -> None:
    for name in ("no-such", "..%2fx", "pyproject.toml"):
        assert client.get(f"/v1/contracts/{name}").status_code == 404
