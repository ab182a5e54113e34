from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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
    found = client.get("/v1/contracts").json()["contracts"]
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
    assert name in [view["name"] for view in client.get("/v1/contracts").json()["contracts"]]
    assert client.get(f"/v1/contracts/{name}").json()["name"] == name
    assert client.get("/v1/contracts/own2").status_code == 404
    assert start(contracts=[name]).status_code == 202
    assert start("other", contracts=["own2"]).status_code == 422


def test_a_contract_set_is_listed_and_started_by_its_name(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    text = f'[set]\nname = "state-2024"\n[default]\ncontract = "{TRACK_2}"\n'
    (service.home.contracts / "any.toml").write_text(text)
    (view,) = [
        v for v in client.get("/v1/contracts").json()["contracts"] if v["name"] == "state-2024"
    ]
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
    views = client.get("/v1/contracts").json()["contracts"]
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
    views = client.get("/v1/contracts").json()["contracts"]
    (view,) = [v for v in views if v["refused"]]
    assert view["name"] == "broken"
    assert view["refused"].startswith("broken.toml: not TOML")
    assert len(views) == len(contracts.names()) + 1


NORTH = """name = "north"
title = "North, agreement of 2024"
programme = "Minnesota Integrated Health Partnerships"
extends = "{extends}"

[sources.agreement]
title = "Agreement with North"
dated = 2024-01-01

[settlement.gate.gain_rate]
value = {rate}
unit = "ratio of target"
from = 2024-01-01
basis = "contract"
source = {{ doc = "agreement", at = "p. 17" }}
"""


def north(rate: float = 0.015, extends: str = TRACK_2, name: str = "north") -> dict[str, str]:
    text = NORTH.format(rate=rate, extends=extends).replace('"north"', f'"{name}"', 1)
    return {"name": name, "toml": text}


def gate_of(view: dict[str, Any]) -> Any:
    return next(t["value"] for t in view["terms"] if t["path"] == "settlement.gate.gain_rate")


def test_a_contract_is_kept_version_by_version(client: TestClient, service: Service) -> None:
    first = client.post("/v1/contracts", json=north())
    assert first.status_code == 201
    assert first.headers["location"] == "/v1/contracts/north/versions/1"
    again = client.post("/v1/contracts", json=north())
    assert (again.status_code, again.json()) == (200, first.json())
    second = client.post("/v1/contracts", json=north(0.02))
    assert (second.status_code, second.json()["version"]) == (201, 2)
    back = client.post("/v1/contracts", json=north())  # an older text is a version of its own
    assert back.json()["version"] == 3
    latest = client.get("/v1/contracts/north").json()
    assert (latest["version"], gate_of(latest)) == (3, "0.015")
    assert gate_of(client.get("/v1/contracts/north@2").json()) == "0.02"
    one = client.get("/v1/contracts/north/versions/2")
    assert (one.json()["toml"], gate_of(one.json())) == (north(0.02)["toml"], "0.02")
    tag = {"If-None-Match": one.headers["ETag"]}
    assert client.get("/v1/contracts/north/versions/2", headers=tag).status_code == 304
    listed = [view for view in client.get("/v1/contracts").json()["contracts"] if view["version"]]
    assert [(view["name"], view["version"]) for view in listed] == [("north", 3)]
    found = client.get("/v1/contracts/north/versions?limit=2").json()
    rest = {"limit": 2, "page_token": found["next_page_token"]}
    found = (
        found["versions"]
        + client.get("/v1/contracts/north/versions", params=rest).json()["versions"]
    )
    assert [view["version"] for view in found] == [3, 2, 1]
    kept = [e.subject for e in service.store.audit.entries(limit=9, action="contract_version_made")]
    assert kept == ["north@3", "north@2", "north@1"]
    for path in ("north@4", "north@0", "north/versions/4", "south/versions", "south/versions/1"):
        assert client.get(f"/v1/contracts/{path}").status_code == 404
    assert client.get("/v1/contracts/north/versions/0").status_code == 422


def test_a_run_records_the_version_that_it_used(
    client: TestClient, service: Service, start: Callable[..., Any]
) -> None:
    client.post("/v1/contracts", json=north())
    by_name = start(contracts=["north"]).json()
    client.post("/v1/contracts", json=north(0.02))
    by_version, latest = start("b", contracts=["north@1"]).json(), start("c", contracts=["north"])
    assert by_name["contracts"] == by_version["contracts"] == ["north@1"]
    assert latest.json()["contracts"] == ["north@2"]
    (place,) = service.store.queue.run(by_name["id"]).request["contracts"]
    Path(place).write_text("changed")
    assert client.get("/v1/contracts/north@1").json()["refused"] is None
    assert Path(place).read_text() == north()["toml"]
    assert start("d", contracts=["north@9"]).status_code == 422


def test_a_set_and_a_contract_rest_on_versions_that_stay_what_they_are(
    client: TestClient, start: Callable[..., Any]
) -> None:
    client.post("/v1/contracts", json=north())
    over = client.post("/v1/contracts", json=north(0.03, extends="north@1", name="over"))
    assert over.status_code == 201, over.text
    state = '[set]\nname = "state"\n[default]\ncontract = "north@1"\n[partnerships.P-1]\n'
    state += 'contract = "over@1"\n'
    assert client.post("/v1/contracts", json={"name": "state", "toml": state}).status_code == 201
    assert client.get("/v1/contracts/state").json()["kind"] == "set"
    assert start(contracts=["state"]).json()["contracts"] == ["state@1"]
    for other in ("north", "north@7", "nobody@1"):
        text = north(extends=other, name="x")["toml"]
        assert client.post("/v1/contracts", json={"name": "x", "toml": text}).status_code == 422


def test_names_that_are_taken_are_refused(client: TestClient, service: Service) -> None:
    (service.home.contracts / "own.toml").write_text(OWN.format(name="own"))
    for name in (TRACK_2, TRACK_2.upper(), "unbound", "own"):
        assert client.post("/v1/contracts", json=north(name=name)).status_code == 409
    response = client.post("/v1/contracts", json={**north(), "name": "south"})
    assert response.json()["errors"][0]["pointer"] == "/name"
    assert client.post("/v1/contracts", json={**north(), "name": "a@1"}).status_code == 422


@pytest.mark.parametrize(
    "named",
    ["/etc/hostname", "../contracts/own", "../../secret.toml", "own.toml", "a\\b", "..", "a/../b"],
)
def test_a_text_names_no_file_of_the_server(
    client: TestClient, service: Service, named: str
) -> None:
    (service.home.contracts / "own.toml").write_text(OWN.format(name="own"))
    escaped = named.replace("\\", "\\\\")
    texts = [
        north(extends=escaped)["toml"],
        f'[set]\nname = "north"\n[default]\ncontract = "{escaped}"\n',
        f'[set]\nname = "north"\n[partnerships.P]\ncontract = "{escaped}"\n',
        north()["toml"] + f'\n[risk.model]\nvalue = "{escaped}.json"\nunit = "none"\n',
    ]
    for text in texts:
        assert client.post("/v1/contracts/validate", json={"toml": text}).json()["valid"] is False
        kept = client.post("/v1/contracts", json={"name": "north", "toml": text})
        assert kept.status_code == 422
        assert str(service.home.path) not in kept.text


def test_a_text_is_checked_with_an_example_in_dollars(client: TestClient) -> None:
    said = client.post("/v1/contracts/validate", json={"toml": north()["toml"], "year": 2024})
    assert said.status_code == 200
    view = said.json()
    assert (view["valid"], view["errors"], view["name"], view["kind"]) == (
        True, [], "north", "contract",
    )  # fmt: skip
    gain, loss = view["example"]
    assert (gain["savings_usd"], loss["savings_usd"]) == (3_000_000, -3_000_000)
    assert gain["gate_rate"] == 0.015
    assert gain["payment_usd"] > 0
    assert client.get("/v1/contracts/north").status_code == 404


@pytest.mark.parametrize(
    ("change", "term", "line"),
    [
        (("ratio of target", "cents"), "settlement.gate.gain_rate.unit", 10),
        (("value = 0.015", "value = 7"), "settlement.gate.gain_rate.value", 10),
        (("gain_rate]", "gain_rote]"), "settlement.gate.gain_rote", 10),
        (("value = 0.015", "value = = 0.015"), None, 11),
        (("value = 0.015", "value = " + "[" * 1200), None, None),
        (('name = "north"', "name = 3"), "name", 1),
    ],
)
def test_what_is_wrong_is_told_with_its_term_and_line(
    client: TestClient, change: tuple[str, str], term: str | None, line: int | None
) -> None:
    text = north()["toml"].replace(*change)
    view = client.post("/v1/contracts/validate", json={"toml": text}).json()
    (problem,) = view["errors"]
    assert view["valid"] is False
    assert (problem["pointer"], problem["term"], problem["line"]) == ("/toml", term, line)
    refused = client.post("/v1/contracts", json={"name": "north", "toml": text})
    assert refused.json()["errors"][0]["pointer"] == "/toml"


def test_who_may_read_contracts_keeps_none(
    anonymous: TestClient, key_with: Callable[..., dict[str, str]]
) -> None:
    assert anonymous.post("/v1/contracts", json=north()).status_code == 401
    assert anonymous.post("/v1/contracts/validate", json=north()).status_code == 401
    reader = key_with("contracts:read")
    assert anonymous.post("/v1/contracts", json=north(), headers=reader).status_code == 403
    text = {"toml": north()["toml"]}
    assert (
        anonymous.post("/v1/contracts/validate", json=text, headers=reader).json()["valid"] is True
    )
