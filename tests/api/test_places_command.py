"""Commands over places in a bucket: what they read and write, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.storage.locations import Place
from ihp_compute.storage.locations import place_of as words
from ihp_compute.storage.publishing import publish_to
from tests.api.conftest import CONTRACT, Ihp
from tests.s3_store import Store


def test_a_run_over_a_bucket_is_the_run_over_the_disk(
    ihp: Ihp, lake: Store, small_population: Path, tmp_path: Path
) -> None:
    place = words("lake:2024/state")
    assert isinstance(place, Place)
    publish_to(place, small_population)
    asked = ("--contracts", CONTRACT, "--replicates", 20, "--json")
    here = json.loads(ihp("run", small_population, *asked, "--out", tmp_path / "run")[1])
    code, out, _ = ihp("run", "lake:2024/state", *asked, "--out", "lake:runs/one")
    far = json.loads(out)
    assert (code, far["digest"], far["run_dir"]) == (0, here["digest"], "lake:runs/one")
    assert json.loads((lake.at("runs/one") / "manifest.json").read_text())["population"] == {
        "path": "lake:2024/state",
        "digest": json.loads((small_population / "manifest.json").read_text())["population_digest"],
    }
    code, out, said = ihp("verify", "lake:runs/one", "--json")
    assert (code, json.loads(out)["digest"]) == (0, here["digest"])
    # what a run's open form hides is fixed in the bucket, whoever shows it next
    for number in (1, 2):
        code, _, said = ihp("tables", "lake:runs/one", "--out", f"open-{number}", "--suppress")
        assert code == 0, said
        assert said[0] == f"lake:runs/one: digest {here['digest']}"
    assert (lake.at("runs/one") / "beside" / "suppression.json").is_file()
    # it stands, and is a record
    code, _, said = ihp("run", "lake:2024/state", *asked, "--out", "lake:runs/one")
    assert (code, len(said)) == (3, 1)
    assert "lake:runs/one: a run stands there already" in said[0]
    member = here["settlement"][0]["partnership_id"]
    assert ihp("explain", "lake:runs/one", "--partnership", member)[0] == 0


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        ("s3://claims/2024", 2, "a URI names no place"),
        ("pond:2024", 2, "no location pond is configured, there are: disk, lake"),
        ("lake:nothing/here", 3, "lake:nothing/here"),
    ],
)
def test_words_that_name_nothing_are_refused_in_a_line(
    ihp: Ihp, lake: Store, said: str, code: int, why: str
) -> None:
    del lake
    found, out, lines = ihp("verify", said)
    assert (found, out, len(lines)) == (code, "", 1)
    assert why in lines[0]


def test_a_bucket_named_for_what_a_command_writes_is_refused_too(ihp: Ihp) -> None:
    code, _, lines = ihp("sweep", "run", "--grid", "grid.toml", "--out=s3://claims/sweep.csv")
    assert (code, len(lines)) == (2, 1)


def test_credentials_that_the_store_refuses_are_infrastructure(
    ihp: Ihp, lake: Store, monkeypatch: Any
) -> None:
    del lake
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    code, _, lines = ihp("verify", "lake:2024/state")
    assert (code, len(lines)) == (5, 1)
    assert "refuses these credentials" in lines[0]
    assert "not-the-secret" not in lines[0]


def test_a_delivery_is_added_to_a_population_in_a_bucket(
    ihp: Ihp, lake: Store, raw_state: Path, small_population: Path, tmp_path: Path
) -> None:
    """What stays is taken from the bucket; the new population stands there whole."""
    del lake
    place = words("lake:2025/state")
    assert isinstance(place, Place)
    publish_to(place, small_population)
    roster = tmp_path / "new" / "provider_roster.parquet"
    roster.parent.mkdir()
    roster.write_bytes((raw_state / roster.name).read_bytes())
    asked = ("--onto", "lake:2025/state", "--out", "lake:2025/same", "--json")
    code, out, said = ihp("ingest", roster.parent, *asked)
    assert (code, said) == (0, [])
    stated = json.loads((small_population / "manifest.json").read_text())
    assert json.loads(out)["population_digest"] == stated["population_digest"]
    assert ihp("verify", "lake:2025/same")[0] == 0
