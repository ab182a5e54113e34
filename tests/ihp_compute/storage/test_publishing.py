from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.errors import DataError, InfrastructureError, LocationError
from ihp_compute.population import open_population, verify
from ihp_compute.storage import buckets, place_of, publishing
from ihp_compute.storage.locations import Place
from ihp_compute.storage.publishing import (
    at_hand,
    is_view,
    keep_beside,
    publish_to,
    standing,
    sweep_unnamed,
)
from tests.s3_store import BUCKET, Store, whole_objects


def place(said: str) -> Place:
    found = place_of(said)
    assert isinstance(found, Place)
    return found


def test_a_population_in_a_bucket_is_the_one_on_the_disk(
    published: Place, small_population: Path
) -> None:
    found, here = open_population(published.path), open_population(small_population)
    assert found.digest == here.digest
    for name in ("members", "lines", "spans"):
        for far, near in zip(found.shards, here.shards, strict=True):
            assert far.batch(name).equals(near.batch(name))
    assert found.reference("provider_roster") == here.reference("provider_roster")
    assert found.data_quality().equals(here.data_quality())
    assert verify(published.path)["population_digest"] == here.digest


def test_objects_lie_under_the_hash_of_their_content_and_the_manifest_names_them(
    published: Place, lake: Store, small_population: Path
) -> None:
    folder = lake.at(published.prefix)
    manifest = (small_population / "manifest.json").read_bytes()
    assert (folder / "manifest.json").read_bytes() == manifest
    named = {stamp["sha256"] for stamp in json.loads(manifest)["files"].values()}
    assert {path.name for path in (folder / "objects").iterdir()} == named


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["missing", "cut off", "flipped"])
def test_an_object_that_is_not_the_published_one_is_named(
    published: Place, lake: Store, small_population: Path, how: str
) -> None:
    name = "shards/00002/lines.arrow"
    manifest = json.loads((small_population / "manifest.json").read_text())
    damage(lake.at(published.prefix) / "objects" / manifest["files"][name]["sha256"], how)
    lake.start()
    with pytest.raises(DataError, match=rf"{published}/{name}"):
        open_population(published.path).shards[2].batch("lines")


def test_what_is_published_stands_and_is_not_published_over(
    published: Place, small_population: Path
) -> None:
    with (
        pytest.raises(DataError, match="a population stands there already"),
        publishing(published.path),
    ):
        pytest.fail("nothing is made for a place that is taken")
    del small_population


@pytest.mark.parametrize("fails_at", [1, -1])
def test_a_publication_that_fails_shows_nothing(
    lake: Store, small_population: Path, tmp_path: Path, monkeypatch: Any, fails_at: int
) -> None:
    n_objects = len(json.loads((small_population / "manifest.json").read_text())["files"])
    last = n_objects if fails_at < 0 else fails_at  # the manifest itself
    write, done = buckets.write, []

    def failing(at: Place, name: str, pieces: Iterator[bytes]) -> None:
        done.append(name)
        if len(done) > last:
            raise InfrastructureError("the store went away")
        write(at, name, pieces)

    here = place(f"lake:{tmp_path.name}/state")
    monkeypatch.setattr(buckets, "write", failing)
    with pytest.raises(InfrastructureError, match="went away"):
        publish_to(here, small_population)
    monkeypatch.undo()
    for name, value in lake.environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    assert standing(here) is None
    with pytest.raises(DataError, match=r"has no manifest\.json"):
        open_population(here.path)
    publish_to(here, small_population)
    assert verify(here.path)["files"] == n_objects


def test_a_publication_that_is_killed_leaves_objects_that_go_a_day_later(
    lake: Store, small_population: Path, tmp_path: Path
) -> None:
    here = place(f"lake:{tmp_path.name}/state")
    objects = lake.at(here.prefix) / "objects"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from ihp_compute.storage import buckets, place_of\n"
        "from ihp_compute.storage.publishing import publish_to\n"
        "write = buckets.write\n"
        "buckets.write = lambda *a: (write(*a), time.sleep(0.2))\n"
        f"publish_to(place_of({str(here)!r}), Path({str(small_population)!r}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as writing:
        while not whole_objects(objects):
            assert writing.poll() is None
            time.sleep(0.02)
        writing.send_signal(signal.SIGKILL)
    assert standing(here) is None
    assert any(objects.iterdir())
    assert sweep_unnamed(here) == 0  # whoever is at work still needs them
    day_ago_s = int(time.time()) - 25 * 3600
    with lake.stopped():
        left = next(iter(whole_objects(objects)))
        for path in {*objects.iterdir()} - {left}:
            path.unlink()
        os.utime(left, (day_ago_s, day_ago_s))
    assert sweep_unnamed(here) == 1
    assert not left.exists()


def test_an_object_of_no_known_age_is_not_swept(lake: Store, tmp_path: Path) -> None:
    here = place(f"lake:{tmp_path.name}/state")
    objects = lake.at(here.prefix) / "objects"
    objects.mkdir(parents=True)
    (objects / ("0" * 64)).write_bytes(b"of whom is not known")
    os.utime(
        objects / ("0" * 64), (0, 0)
    )  # the epoch: what a client says that cannot read the time
    lake.start()
    assert sweep_unnamed(here) == 0


def test_a_folder_is_kept_whatever_was_viewed_of_places_that_are_known_no_longer(
    published: Place, monkeypatch: Any, tmp_path: Path
) -> None:
    assert is_view(at_hand(published.path, of_kind="run"))
    monkeypatch.delenv("IHP_LOCATIONS")
    keep_beside(tmp_path)


def test_what_a_manifest_names_is_never_swept(published: Place, lake: Store) -> None:
    day_ago_s = int(time.time()) - 25 * 3600
    folder = lake.at(published.prefix)
    for path in (folder / "manifest.json", *(folder / "objects").iterdir()):
        os.utime(path, (day_ago_s, day_ago_s))
    (folder / "objects" / ("0" * 64)).write_bytes(b"of nobody")
    os.utime(folder / "objects" / ("0" * 64), (day_ago_s, day_ago_s))
    lake.start()
    assert sweep_unnamed(published) == 1
    lake.start()
    assert verify(published.path)["files"] > 0


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "another", "refuses these credentials"),
        ("AWS_ACCESS_KEY_ID", "another", "refuses these credentials"),
        ("bucket", "no-such-bucket", "has no bucket"),
        ("endpoint", "http://127.0.0.1:1", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_used_says_so_in_one_sentence(
    lake: Store, monkeypatch: Any, variable: str, value: str, said: str
) -> None:
    if not variable.startswith("AWS"):
        bucket = {"type": "s3", "bucket": BUCKET, "endpoint": lake.endpoint, variable: value}
        variable, value = "IHP_LOCATIONS", json.dumps({"lake": bucket})
    monkeypatch.setenv(variable, value)
    with pytest.raises(InfrastructureError, match=said) as raised:
        open_population(Path("lake:2024/state"))
    assert "\n" not in str(raised.value)
    assert "a-test-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("s3://claims/2024", "a URI names no place"),
        ("http://10.0.0.1/2024", "a URI names no place"),
        ("pond:2024", "no location pond is configured"),
        ("lake:../2024", "expected LOCATION:PREFIX"),
        ("lake:a//b", "expected LOCATION:PREFIX"),
        ("disk:a/../../b", "expected LOCATION:PREFIX"),
    ],
)
def test_words_that_name_no_place_are_refused(lake: Store, said: str, why: str) -> None:
    del lake
    with pytest.raises(LocationError, match=why):
        place_of(said)


def test_a_uri_that_has_become_a_path_is_still_one() -> None:
    with pytest.raises(LocationError, match="a URI names no place"):
        place_of(Path("s3://claims/2024"))


def test_a_location_that_is_a_folder_is_that_folder(lake: Store, tmp_path: Path) -> None:
    del lake
    assert place_of("disk:2024/state") == tmp_path / "cache" / "disk" / "2024" / "state"
    assert place_of(tmp_path) == tmp_path
