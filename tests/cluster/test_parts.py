"""What an attempt has measured is left to the next one, which comes to the same digest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from cluster import parts
from cluster.home import Home
from cluster.parts import KeepingRunner, Part, Parts, TwoResultsError, shards_named
from cluster.runs import Run
from cluster.store import Store
from ihp_compute.content import content_sha256
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.remeasured import sweep_anew
from ihp_compute.runner import Batch, LocalRunner, batches
from ihp_compute.sweeps import grid_of

N_SHARDS = 5


class Shard:
    """A shard as far as parts know it."""

    def __init__(self, index: int) -> None:
        self.index = index


def numbered(batch: Sequence[Any], *, base: int) -> int:
    """The sum of what stands in shards."""
    return sum(base**shard.index for shard in batch)


SHARDS = [Shard(index) for index in range(N_SHARDS)]
TASK = partial(numbered, base=10)


class Rows:
    """Rows of parts without a database."""

    def __init__(self, *, held: bool = True) -> None:
        self.kept: list[Part] = []
        self.held = held

    def parts(self, task_sha256: str) -> list[Part]:
        return [part for part in self.kept if part.task_sha256 == task_sha256]

    def keep(self, part: Part) -> Part | None:
        if not self.held:
            return None
        self.kept.append(part)
        return part


class Asked(LocalRunner):
    """Does tasks one by one, notes of which shards, and dies after so many."""

    def __init__(self, dies_after: int | None = None) -> None:
        super().__init__(1)
        self.shards: list[int] = []
        self._left = dies_after

    def map(self, task: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
        for batch in shards:
            if self._left == 0:
                raise KeyboardInterrupt
            if isinstance(batch, Batch) and _name(task) != "survey":
                self.shards += [shard.index for shard in batch]
            self._left = None if self._left is None else self._left - 1
            yield task(batch)


def _name(task: Any) -> str:
    """The function that a task of parts calls."""
    return str(getattr(getattr(task, "_task", task), "func", task).__name__)


def sums(folder: Path, rows: Rows, runner: Asked, parallelism: int = 1, **more: Any) -> list[int]:
    kept = Parts(folder, rows, from_s=0, **more)
    keeping = KeepingRunner(runner, kept)
    return list(keeping.map(TASK, batches(SHARDS, parallelism)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "parts" / "run"


def test_the_next_attempt_measures_what_is_left_and_no_more(folder: Path) -> None:
    """Though it cut the work otherwise."""
    rows, first, second, third = Rows(), Asked(dies_after=1), Asked(), Asked()
    with pytest.raises(KeyboardInterrupt):
        sums(folder, rows, first, parallelism=2)
    assert first.shards == [0]
    assert sum(sums(folder, rows, second)) == 11111
    assert second.shards == [1, 2, 3, 4]
    assert sum(sums(folder, rows, third)) == 11111
    assert third.shards == []


def test_a_hole_is_filled_by_neighbours_of_their_own(folder: Path) -> None:
    rows, again = Rows(), Asked()
    sums(folder, rows, Asked(), parallelism=9)
    rows.kept = [part for part in rows.kept if part.first_shard in (1, 3)]
    assert sum(sums(folder, rows, again)) == 11111
    assert again.shards == [0, 2, 4]


def test_parts_of_another_task_or_of_no_name_are_none(folder: Path) -> None:
    rows, runner = Rows(), Asked()
    sums(folder, rows, Asked())
    keeping = KeepingRunner(runner, Parts(folder, rows, from_s=0))
    other = partial(numbered, base=2)
    assert sum(keeping.map(other, batches(SHARDS, 1))) == 31
    with capture_logs() as logs:
        assert sum(keeping.map(lambda batch: len(batch) + 0, batches(SHARDS, 1))) == 5
    assert [log["event"] for log in logs] == ["task_not_kept"]
    assert list(keeping.map(lambda shard: shard, [1, 2])) == [1, 2]


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_part_that_is_damaged_is_measured_again(folder: Path, damage: str) -> None:
    rows, again = Rows(), Asked()
    sums(folder, rows, Asked(), parallelism=9)
    path = folder / rows.kept[2].file_sha256
    content = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    with capture_logs() as logs:
        assert sum(sums(folder, rows, again)) == 11111
    assert again.shards == [2]
    assert [log["shards"] for log in logs if log["event"] == "part_damaged"] == ["shard 2"]


def test_two_results_of_the_same_shards_fail_loudly(
    folder: Path, store: Store, submit: Callable[[], Run], take: Callable[[], Run]
) -> None:
    """One kept, whose file is gone, and one of a machine that adds otherwise."""
    submit()
    held = take()

    class OfTheStore(Rows):
        def parts(self, task_sha256: str) -> list[Part]:
            return store.leases.parts(held, task_sha256)

        def keep(self, part: Part) -> Part | None:
            return store.leases.keep(held, part)

    sums(folder, OfTheStore(), Asked())
    parts.discard(folder)
    assert sum(sums(folder, OfTheStore(), Asked())) == 11111  # the same again
    parts.discard(folder)

    class Wrong(Asked):
        def map(self, task: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
            for first, size, result in super().map(task, shards):
                yield first, size, result + 1

    with pytest.raises(TwoResultsError, match="shards 0 to 1 came to two results"):
        sums(folder, OfTheStore(), Wrong())


def test_what_cannot_be_kept_fails_no_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much of it, a full disk, a lease that was lost, work that is over before it pays."""
    rows = Rows()
    assert sum(sums(folder, rows, Asked(), most_bytes=3)) == 11111
    early = KeepingRunner(Asked(), Parts(folder, rows, from_s=60))
    assert sum(early.map(TASK, batches(SHARDS, 1))) == 11111

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with capture_logs() as logs:
            assert sum(sums(folder, rows, Asked())) == 11111
    assert {log["event"] for log in logs} == {"part_not_kept"}
    assert rows.kept == []
    assert sum(sums(folder, Rows(held=False), Asked())) == 11111


def test_what_is_kept_is_counted_once_and_again_when_it_seems_too_much(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run's parts take of the room, until that run has ended."""
    counted = Mock(wraps=parts._bytes_in)
    monkeypatch.setattr(parts, "_bytes_in", counted)
    rows, other = Rows(), folder.with_name("other") / "part"
    other.parent.mkdir(parents=True)
    other.write_bytes(bytes(1000))
    kept = Parts(folder, rows, from_s=0, most_bytes=1500)
    for index in range(9):
        kept.keep("t" * 64, index, 1, bytes([index]))
    assert len(rows.kept) == 9
    counted.assert_called_once_with(folder.parent)
    kept.keep("t" * 64, 9, 1, bytes(400))
    assert len(rows.kept) == 9
    parts.discard(other.parent)
    kept.keep("t" * 64, 9, 1, bytes(400))
    assert len(rows.kept) == 10


def test_parts_go_with_their_run(
    home: Home, store: Store, submit: Callable[[], Run], take: Callable[[], Run]
) -> None:
    submit()
    held = take()
    part = Part("t" * 64, 0, 2, "c" * 64, "f" * 64)
    assert store.leases.keep(held, part) == part
    assert store.leases.parts(held, "t" * 64) == [part]
    assert store.leases.parts(held, "u" * 64) == []
    (home.parts / held.id).mkdir(parents=True)
    assert parts.sweep(home.parts, lambda run_id: run_id == held.id) == 0
    store.leases.finish(held, "succeeded", digest="d")
    assert store.leases.parts(held, "t" * 64) == []
    assert store.leases.keep(held, part) is None
    assert parts.sweep(home.parts, lambda _run_id: False) == 1
    assert list(home.parts.iterdir()) == []


def test_a_run_that_died_goes_on_to_the_digest_of_one_that_did_not(
    small_population: Path, tmp_path: Path, folder: Path
) -> None:
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=10)
    rows, told = Rows(), list[tuple[int, int]]()
    expected = run(request, tmp_path / "whole", LocalRunner(1)).digest

    def attempt(name: str, runner: Asked) -> str:
        keeping = KeepingRunner(runner, Parts(folder, rows, from_s=0), parallelism=2)
        return run(request, tmp_path / name, keeping, lambda *done: told.append(done)).digest

    with pytest.raises(KeyboardInterrupt):
        attempt("died", Asked(dies_after=2))
    assert told == [(1, 5), (2, 5)]
    assert not (tmp_path / "died").exists()
    second = Asked()
    assert attempt("again", second) == expected
    assert sorted(second.shards) == [2, 3, 4]
    assert told[2:] == [(1, 5), (2, 5), (4, 5), (5, 5)]  # what was done counts at once


def test_a_sweep_that_died_goes_on_with_the_runs_that_it_has_measured(
    small_population: Path, tmp_path: Path, folder: Path
) -> None:
    """It dies in the second run that it measures; the third begins anew."""
    contract = "mn-ihp-2.0-track-2"
    request = RunRequest(small_population, (contract,), replicates=10, programme="none")
    run(request, tmp_path / "run", LocalRunner(1))
    grid = grid_of({"cost.claim_cap": [3000, 20_000, 40_000], "settlement.gain.share": ["0.4"]})
    rows, beside = Rows(), tmp_path / "beside"
    beside.mkdir()
    expected = sweep_anew(tmp_path / "run", grid, LocalRunner(1), beside=beside).digest

    def attempt(runner: Asked) -> str:
        keeping = KeepingRunner(runner, Parts(folder, rows, from_s=0), parallelism=2)
        return sweep_anew(
            tmp_path / "run", grid, LocalRunner(1), beside=beside, placed=lambda _r, _on: keeping
        ).digest

    first, second = Asked(dies_after=7), Asked()
    with pytest.raises(KeyboardInterrupt):
        attempt(first)
    assert attempt(second) == expected
    assert N_SHARDS < len(first.shards) < 2 * N_SHARDS
    assert len(first.shards) + len(second.shards) == 3 * N_SHARDS
    assert list(beside.iterdir()) == []


def test_shards_are_named_as_people_count_them() -> None:
    assert (shards_named(3, 1), shards_named(3, 2)) == ("shard 3", "shards 3 to 4")
    assert content_sha256(TASK) == content_sha256(partial(numbered, base=10))
