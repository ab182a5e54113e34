from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.errors import DataError, InfrastructureError
from ihp_compute.population import open_population
from ihp_compute.storage.cache import Cache, Holder
from ihp_compute.storage.locations import Place


class Far:
    """Contents somewhere else, and how often each was fetched."""

    def __init__(self) -> None:
        self.fetched: list[bytes] = []

    def ask(self, cache: Cache, content: bytes, sent: bytes | None = None) -> pa.Buffer:
        @contextmanager
        def fetch() -> Iterator[Iterator[bytes]]:
            self.fetched.append(content)
            yield iter([content if sent is None else sent])

        sha256 = hashlib.sha256(content).hexdigest()
        return cache.mapped(sha256, len(content), fetch, "lake:2024/lines.arrow")


def piece(number: int, size: int = 100) -> bytes:
    return bytes([number]) * size


def kept(cache: Cache) -> int:
    return sum(path.stat().st_size for path in cache.root.glob("objects/*/*"))


def path_of(cache: Cache, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    return cache.root / "objects" / sha256[:2] / sha256


def test_an_object_is_fetched_once(tmp_path: Path) -> None:
    far, cache = Far(), Cache(tmp_path, 1000)
    assert far.ask(cache, piece(1)).to_pybytes() == piece(1)
    assert far.ask(Cache(tmp_path, 1000), piece(1)).to_pybytes() == piece(1)
    assert far.fetched == [piece(1)]


def test_what_was_used_longest_ago_goes_first_and_the_bound_holds(tmp_path: Path) -> None:
    far, cache = Far(), Cache(tmp_path, 350)
    for number in (1, 2, 3, 1, 4):
        far.ask(cache, piece(number))
        assert kept(cache) <= 350
    assert path_of(cache, piece(1)).exists()
    assert not path_of(cache, piece(2)).exists()


def test_what_is_mapped_stays_whoever_needs_room(tmp_path: Path) -> None:
    far, cache, other = Far(), Cache(tmp_path, 250), Cache(tmp_path, 250)
    mapped = far.ask(cache, piece(1))
    for number in (2, 3, 4):
        far.ask(other, piece(number))
    assert path_of(cache, piece(1)).exists()
    assert mapped.to_pybytes() == piece(1)
    del mapped
    for number in (5, 6):
        far.ask(other, piece(number))
    assert not path_of(cache, piece(1)).exists()


def test_without_room_beside_what_is_in_use_it_says_so(tmp_path: Path) -> None:
    far, cache = Far(), Cache(tmp_path, 250)
    held = [far.ask(cache, piece(1)), far.ask(cache, piece(2))]
    with pytest.raises(InfrastructureError, match="raise IHP_CACHE_BYTES"):
        far.ask(cache, piece(3))
    assert len(held) == 2
    assert kept(cache) <= 250


def test_a_holder_lets_go_before_anything_is_refused(tmp_path: Path) -> None:
    far, cache = Far(), Cache(tmp_path, 250)

    class Keeps(Holder):
        held: list[pa.Buffer]

        def let_go(self) -> None:
            self.held = []

    keeps = Keeps()
    keeps.held = [far.ask(cache, piece(1)), far.ask(cache, piece(2))]
    cache.hold(keeps)
    assert far.ask(cache, piece(3)).to_pybytes() == piece(3)
    assert kept(cache) <= 250


@pytest.mark.parametrize("sent", [b"", piece(1, 99), piece(1, 101), piece(2)])
def test_what_arrives_as_something_else_is_refused_and_not_kept(
    tmp_path: Path, sent: bytes
) -> None:
    far, cache = Far(), Cache(tmp_path, 1000)
    with pytest.raises(DataError, match=r"lake:2024/lines\.arrow: does not have the content"):
        far.ask(cache, piece(1), sent)
    assert kept(cache) == 0
    assert far.ask(cache, piece(1)).to_pybytes() == piece(1)


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(piece(2)), os.unlink])
@pytest.mark.parametrize("bound", [1000, 100])
def test_a_damaged_copy_is_fetched_again(
    tmp_path: Path, harm: Callable[[Path], Any], bound: int
) -> None:
    """Also where there is no room for both."""
    far, cache = Far(), Cache(tmp_path, bound)
    far.ask(cache, piece(1))
    harm(path_of(cache, piece(1)))
    assert far.ask(cache, piece(1)).to_pybytes() == piece(1)
    assert len(far.fetched) == 2


def test_what_another_has_begun_counts_from_the_start(tmp_path: Path) -> None:
    """Also for whoever counts everything anew, at any moment of its way here."""
    far, cache, other = Far(), Cache(tmp_path, 350), Cache(tmp_path, 350)
    content = piece(1, 300)

    @contextmanager
    def fetch() -> Iterator[Iterator[bytes]]:
        (tmp_path / "bytes").unlink()
        with pytest.raises(InfrastructureError, match="no room"):
            far.ask(other, piece(2))
        yield iter([content])

    mapped = cache.mapped(hashlib.sha256(content).hexdigest(), 300, fetch, "lines.arrow")
    assert mapped.to_pybytes() == content
    assert kept(cache) == 300


def test_two_who_fetch_the_same_at_once_take_its_room_once(tmp_path: Path) -> None:
    far, cache, other = Far(), Cache(tmp_path, 350), Cache(tmp_path, 350)

    @contextmanager
    def fetch() -> Iterator[Iterator[bytes]]:
        far.ask(other, piece(1))
        yield iter([piece(1)])

    cache.mapped(hashlib.sha256(piece(1)).hexdigest(), 100, fetch, "lines.arrow")
    assert (tmp_path / "bytes").read_text(encoding="ascii") == "100"


def test_what_one_has_in_use_stands_while_another_fetches_it_anew(tmp_path: Path) -> None:
    """Its file too, which others may have linked to, though it was damaged."""
    far, cache, other = Far(), Cache(tmp_path, 250), Cache(tmp_path, 250)
    first = far.ask(cache, piece(1))
    path_of(cache, piece(1)).write_bytes(piece(2, 120))

    @contextmanager
    def fetch() -> Iterator[Iterator[bytes]]:
        assert path_of(cache, piece(1)).exists()
        yield iter([piece(1)])

    sha256 = hashlib.sha256(piece(1)).hexdigest()
    second = other.mapped(sha256, 100, fetch, "lines.arrow")
    other.renew(sha256, 100, fetch, "lines.arrow")
    assert second.to_pybytes() == path_of(cache, piece(1)).read_bytes() == piece(1)
    assert len(first) == 100


READER = """
import hashlib, random, sys
from contextlib import contextmanager
from pathlib import Path
from ihp_compute.storage.cache import Cache

cache, choose = Cache(Path(sys.argv[1]), 30_000), random.Random(int(sys.argv[2]))
held = []
for _ in range(int(sys.argv[3])):
    number = choose.randrange(40)
    content = bytes([number]) * (500 + 50 * number)

    @contextmanager
    def fetch():
        yield iter([content[:300], content[300:]])

    found = cache.mapped(hashlib.sha256(content).hexdigest(), len(content), fetch, "lines.arrow")
    assert found.to_pybytes() == content
    held = [*held[-1:], found]
"""


def test_processes_share_a_cache_though_some_are_killed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each reads what it asked for, and at no moment is more here than the bound."""

    def reader(seed: int, times: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", READER, str(tmp_path), str(seed), str(times)]
        )

    going = [reader(seed, 150) for seed in range(3)]
    doomed = [reader(seed, 1_000_000) for seed in (8, 9)]
    for one in (*going, *doomed):
        request.addfinalizer(one.kill)
    (tmp_path / "lock").touch()
    counts = []
    while any(one.poll() is None for one in going):
        with (tmp_path / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            files = [path for path in tmp_path.glob("objects/**/*") if path.is_file()]
            counts.append(sum(path.stat().st_size for path in files))
        if len(counts) in (20, 40):
            doomed[len(counts) // 40].kill()
        time.sleep(0.01)
    for one in doomed:
        one.kill()
        one.wait()
    assert [one.wait() for one in going] == [0, 0, 0]
    assert 15_000 < max(counts) <= 30_000


def test_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    far, cache = Far(), Cache(tmp_path, 250)
    far.ask(cache, piece(1))
    part = tmp_path / "objects" / ".part-200-0123456789abcdef"
    part.write_bytes(piece(9, 150))
    dead = tmp_path / "used" / "1-00000000"
    dead.mkdir()
    (dead / hashlib.sha256(piece(1)).hexdigest()).touch()
    (tmp_path / "bytes").write_text("not a number")
    for number in (2, 3):
        far.ask(cache, piece(number))
    assert not part.exists()
    assert not dead.exists()
    assert kept(cache) <= 250


def test_a_population_larger_than_the_cache_is_read_through_it(
    published: Place, small_population: Path, monkeypatch: Any, tmp_path: Path
) -> None:
    population = open_population(published.path)
    largest = max(stamp["bytes"] for stamp in population.manifest["files"].values())
    bound = 3 * largest
    monkeypatch.setenv("IHP_CACHE_BYTES", str(bound))
    population = open_population(published.path)
    cache = Cache(tmp_path / "cache", bound)
    n_lines = 0
    for shard in population.shards:
        for name in ("lines", "line_detail", "members", "spans"):
            n_lines += shard.batch(name).num_rows if name == "lines" else 0
            shard.batch(name)
            assert kept(cache) <= bound
    here = open_population(small_population)
    assert n_lines == sum(shard.batch("lines").num_rows for shard in here.shards)
