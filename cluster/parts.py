"""What shards of a run came to, kept until the run ends: the next attempt goes on from there.

So it is with the shards of each run that a sweep measures.

    a batch is measured -> its result written under its SHA-256, synced -> a row says what it is of
    the next attempt: rows of the same task -> results read, compared with their rows -> the rest is
        cut anew and measured

A part is of a task by its content: population, terms, years, draws, and the program itself. Of
anything else it is none, and is measured anew. So an attempt on another number of cores, after an
upgrade, or with a contract that was edited in between takes what is right for it and nothing else.

A result is small, but writing it takes time, and most runs are over before that would pay: what
comes in the first seconds of an attempt is sooner measured again. A disk that is full, and results
that are many, are no failure of a run: what cannot be kept is measured again should it be needed.

Two attempts at the same shards must come to the same: where they do not, a machine cannot be
trusted, and the run fails.

Decided here: what is kept, where, how much of it, when it is believed. Not here: the rows
(`leases`), where shards run (`runner`).
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import structlog

from ihp_compute.content import content_sha256, program_sha256
from ihp_compute.errors import InfrastructureError
from ihp_compute.publishing import make_folder, whole
from ihp_compute.runner import Batch, Runner, batches

KEEP_FROM_S: Final = 5.0
"""From how long after an attempt's begin parts are kept."""
MOST_BYTES: Final = 8 << 30
"""All parts of a service's runs together."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class TwoResultsError(InfrastructureError):
    """Two attempts at the same shards came to different results."""


@dataclass(frozen=True)
class Part:
    """What some neighbouring shards came to in a task.

    Attributes
    ----------
    task_sha256 : str
        Of the task and the program, by content.
    first_shard, n_shards : int
    content_sha256 : str
        Of the result, by content: equal of any two attempts.
    file_sha256 : str
        Of the file that holds it, which is named so.
    """

    task_sha256: str
    first_shard: int
    n_shards: int
    content_sha256: str
    file_sha256: str

    @property
    def named(self) -> str:
        """What a message calls its shards."""
        return shards_named(self.first_shard, self.n_shards)


class Rows(Protocol):
    """Parts of a run as the database has them, for as long as an attempt holds the run."""

    def parts(self, task_sha256: str) -> list[Part]:
        """Those of a task."""
        ...

    def keep(self, part: Part) -> Part | None:
        """Say that a part is kept; the part that stands there, None if the run is not held."""
        ...


class Parts:
    """Parts of one run.

    Parameters
    ----------
    folder : Path
        Of the run's own.
    rows : Rows
    from_s : float
        Seconds after now from which parts are kept.
    most_bytes : int
        Of all runs' folders, which stand beside this one.
    """

    def __init__(
        self,
        folder: Path,
        rows: Rows,
        *,
        from_s: float = KEEP_FROM_S,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._folder = folder
        self._rows = rows
        self._from_s = time.monotonic() + from_s
        self._most_bytes = most_bytes
        self._bytes: int | None = None

    def kept(self, task_sha256: str) -> Iterator[tuple[Part, Any]]:
        """Parts of a task that are whole, no two of the same shard, with what they hold."""
        end = 0
        found = self._rows.parts(task_sha256)
        for part in sorted(found, key=lambda one: (one.first_shard, -one.n_shards)):
            if part.first_shard < end:
                continue
            try:
                content = (self._folder / part.file_sha256).read_bytes()
            except OSError:
                content = b""
            if hashlib.sha256(content).hexdigest() != part.file_sha256:
                log.warning("part_damaged", shards=part.named)
                continue
            # as this program wrote it: its SHA-256 is the database's
            yield part, pickle.loads(content)  # noqa: S301
            end = part.first_shard + part.n_shards

    def keep(self, task_sha256: str, first_shard: int, n_shards: int, result: Any) -> None:
        """Keep what some shards came to, if it pays and there is room.

        Raises
        ------
        TwoResultsError
            If another attempt at the same shards came to something else.
        """
        if time.monotonic() < self._from_s:
            return
        content = pickle.dumps(result, protocol=5)
        sha256 = hashlib.sha256(content).hexdigest()
        part = Part(task_sha256, first_shard, n_shards, content_sha256(result), sha256)
        try:
            if not self._has_room(len(content)):
                log.warning("part_not_kept", shards=part.named, why="parts of runs are too many")
                return
            make_folder(self._folder, mode=0o700)
            with whole(self._folder / sha256) as draft:
                draft.write_bytes(content)
        except OSError as error:
            log.warning("part_not_kept", shards=part.named, why=type(error).__name__)
            return
        stands = self._rows.keep(part)
        if stands is not None and stands.content_sha256 != part.content_sha256:
            raise TwoResultsError(
                f"{part.named} came to two results in two attempts, which equal input never does:"
                " memory, disk or processor of a machine is damaged; check them, then submit the "
                "run again"
            )

    def _has_room(self, n_bytes: int) -> bool:
        """Whether so many more fit, and then they count; what lies there is counted when it must.

        Runs that have ended since leave more room than is known here, never less: of a home's runs
        one keeps parts at a time.
        """
        if self._bytes is None or self._bytes + n_bytes > self._most_bytes:
            self._bytes = _bytes_in(self._folder.parent)
        if self._bytes + n_bytes > self._most_bytes:
            return False
        self._bytes += n_bytes
        return True


class KeepingRunner:
    """A runner that keeps what comes, and asks another for what is not kept yet.

    Only of work that may be cut anywhere, which comes as `Batch`.

    Parameters
    ----------
    runner : Runner
    parts : Parts
    parallelism : int, optional
        Into how much the work is worth cutting; that of the runner unless given.
    """

    def __init__(self, runner: Runner, parts: Parts, *, parallelism: int | None = None) -> None:
        self.name = runner.name
        self.parallelism = parallelism or runner.parallelism
        self._runner = runner
        self._parts = parts

    def map(self, task: Callable[[Any], T], shards: Sequence[Any]) -> Iterator[T]:
        """As the runner's, in the order of what was kept, then as it comes."""
        whole_key = _key(task, shards)
        if whole_key is None:
            yield from self._runner.map(task, shards)
            return
        left = {shard.index: shard for batch in shards for shard in batch}
        n_shards = len(left)
        for part, result in self._parts.kept(whole_key):
            for index in range(part.first_shard, part.first_shard + part.n_shards):
                left.pop(index, None)
            yield result
        if len(left) < n_shards:
            log.info("parts_taken", shards=n_shards - len(left), of=n_shards)
            shards = [
                batch
                for stretch in _stretches(list(left.values()))
                for batch in batches(stretch, self._runner.parallelism)
            ]
        for first_shard, size, result in self._runner.map(_Told(task), shards):
            self._parts.keep(whole_key, first_shard, size, result)
            yield result


class _Told:
    """A task whose result says of which shards it is."""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        self._task = task

    def __call__(self, batch: Batch[Any]) -> tuple[int, int, Any]:
        """First shard, how many, what they came to."""
        return batch[0].index, len(batch), self._task(batch)


def discard(folder: Path) -> None:
    """Remove the parts of a run that has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, wanted: Callable[[str], bool]) -> int:
    """Remove the parts of runs that have ended; of how many runs."""
    gone = 0
    for one in folder.iterdir() if folder.is_dir() else ():
        if not wanted(one.name):
            discard(one)
            gone += 1
    return gone


def _key(task: Callable[[Any], Any], shards: Sequence[Any]) -> str | None:
    """What parts of this task are known by; None where the work cannot be cut, or has no name."""
    if not shards or not all(isinstance(batch, Batch) for batch in shards):
        return None
    try:
        of = {getattr(shard, "population_sha256", "") for batch in shards for shard in batch}
        return content_sha256((program_sha256(), of, task))
    except (TypeError, RecursionError) as error:
        log.warning("task_not_kept", error=type(error).__name__)
        return None


def _stretches(shards: list[Any]) -> Iterator[list[Any]]:
    """Neighbours among shards, which are in order."""
    start = 0
    for end in range(1, len(shards) + 1):
        if end == len(shards) or shards[end].index != shards[end - 1].index + 1:
            yield shards[start:end]
            start = end


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def shards_named(first: int, n_shards: int) -> str:
    """What a message calls neighbouring shards.

    >>> shards_named(3, 1), shards_named(3, 4)
    ('shard 3', 'shards 3 to 6')
    """
    return f"shard {first}" if n_shards == 1 else f"shards {first} to {first + n_shards - 1}"
