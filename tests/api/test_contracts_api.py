from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service
from ihp_compute import contracts
from ihp_compute.contracts.files import FOLDER

TRACK_2 = "mn-ihp-2.0-track-2"
OWN = 'name = "{name}"\ntitle = "t"\nprogramme = "p"\nextends = "mn-ihp-2.0-track-2"\n'


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


@pytest.mark.parametrize("name", ["dhs-north-2024", "DHS North, 2024"])
def test_what_is_listed_is_shown_and_started_by_that_name(
    client: TestClient, service: Service, start: Callable[..., Any], name: str
) -> None:
    """Whatever its file is called: one key for one thing."""
    (service.home.contracts / "own2.toml").write_text(OWN.format(name=name))
    assert name in [view["name"] for view in client.get("/v1/contracts").json()]
    assert client.get(f"/v1/contracts/{name}").json()["name"] == name
    assert client.get("/v1/contracts/own2").status_code == 404
    assert start(contracts=[name]).status_code == 202
    assert start("other", contracts=["own2"]).status_code == 422


def test_a_contract_set_is_listed_and_started_by_its_name(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    text = f'[set]\nname = "state-2024"\n[default]\ncontract = "{TRACK_2}"\n'
    (service.home.contracts / "any.toml").write_text(text)
    (view,) = [v for v in client.get("/v1/contracts").json() if v["name"] == "state-2024"]
    assert (view["kind"], view["refused"]) == ("set", None)
    assert client.get("/v1/contracts/state-2024").json()["draft"].startswith("DRAFT TERMS: ")
    assert start(contracts=["state-2024"]).status_code == 202


def test_no_file_takes_the_place_of_a_shipped_contract(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    """The name is refused until the file has a name of its own; the rest goes on."""
    text = (FOLDER / f"{TRACK_2}.toml").read_text().replace("value  = 0.042", "value  = 0.041")
    file = service.home.contracts / f"{TRACK_2}.toml"
    file.write_text(text)
    views = client.get("/v1/contracts").json()
    assert [view["name"] for view in views] == contracts.names()
    (view,) = [v for v in views if v["refused"]]
    assert view["name"] == TRACK_2
    assert view["sha256"] == contracts.load(TRACK_2).sha256
    for response in (client.get(f"/v1/contracts/{TRACK_2}"), start(contracts=[TRACK_2])):
        assert response.status_code == 422
        assert f"ihp contracts new {TRACK_2} --as NAME" in response.text
    assert start("other", contracts=["mn-ihp-1.0"]).status_code == 202
    file.unlink()
    assert start("again", contracts=[TRACK_2]).status_code == 202


def test_two_files_of_one_name_are_both_refused(
    service: Service, start: Callable[..., Any]
) -> None:
    for file in ("a.toml", "b.toml"):
        more = "" if file == "a.toml" else 'summary = "s"\n'
        text = more + OWN.format(name="own")
        (service.home.contracts / file).write_text(
            text.replace("track-2", f"track-{1 + bool(more)}")
        )
    response = start(contracts=["own"])
    assert response.status_code == 422
    assert "another contract has its name" in response.text


def test_a_file_that_cannot_be_read_stops_no_other(client: TestClient, service: Service) -> None:
    (service.home.contracts / "broken.toml").write_text("name = ")
    views = client.get("/v1/contracts").json()
    (view,) = [v for v in views if v["refused"]]
    assert view["name"] == "broken"
    assert view["refused"].startswith("broken.toml: not TOML")
    assert len(views) == len(contracts.names()) + 1
