from __future__ import annotations

import hashlib
import os
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
def test_a_damaged_copy_is_fetched_again(tmp_path: Path, harm: Callable[[Path], Any]) -> None:
    far, cache = Far(), Cache(tmp_path, 1000)
    far.ask(cache, piece(1))
    harm(path_of(cache, piece(1)))
    assert far.ask(cache, piece(1)).to_pybytes() == piece(1)
    assert len(far.fetched) == 2


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
