"""Whoever waits for runs to move: one look at the database, five times a second, for all of them.

    who watches which run -> one poller while anybody does -> what is new, to whom it concerns

A stream or a wait ends with its run, its reader, its key or the service. Nobody watching, nothing
is asked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from api.bodies import moment
from api.problems import BusyError
from api.service import Service
from cluster.news import Look, Standing
from cluster.runs import Event
from cluster.states import State

LOOK_S: Final = 0.2
"""How often the database is asked while anybody watches."""
LATE_S: Final = 10.0
"""How long an event may come after one of a higher number."""
MOST_UNREAD: Final = 1000
"""Messages that wait for a reader; one who has more connects again and goes on where they were."""
log = structlog.get_logger(__name__)

_Value = TypeVar("_Value")


class EventView(BaseModel):
    """One thing that happened to a run."""

    seq: int
    at: datetime
    actor: str
    kind: str
    from_state: State | None
    to_state: State | None
    detail: Mapping[str, Any]

    @classmethod
    def of(cls, held: Event) -> EventView:
        """The view of a stored row."""
        actor = "dispatcher" if held.actor.count(":") >= 2 else held.actor
        return cls(**{**vars(held), "actor": actor, "at": moment(held.at_ms)})


@dataclass(frozen=True)
class Message:
    """What a watcher is told: an event by its number, or progress, which has none."""

    seq: int | None
    to_state: str | None
    sent: bytes

    @classmethod
    def of_event(cls, event: Event) -> Message:
        """An event as a stream has it."""
        view = EventView.of(event).model_dump_json()
        sent = format_sse_event(data_str=view, event=event.kind, id=str(event.seq))
        return cls(event.seq, event.to_state, sent)

    @classmethod
    def of_standing(cls, standing: Standing) -> Message:
        """How far a run is: parts done and in all, stage, seconds gone, seconds left if known."""
        eta_ms = standing.eta_ms
        view = {
            "shards_done": standing.shards_done,
            "shards_total": standing.shards_total,
            "stage": standing.stage,
            "elapsed_s": round(standing.elapsed_ms / 1000, 1),
            "eta_s": None if eta_ms is None else round(eta_ms / 1000, 1),
        }
        return cls(None, None, format_sse_event(data_str=json.dumps(view), event="progress"))


class Watcher:
    """Somebody who waits for one run to move, by one key."""

    def __init__(self, run_id: str, key_id: str) -> None:
        self.run_id = run_id
        self.key_id = key_id
        self.over = False
        self.key_ended = False
        self._unread: deque[Message] = deque()
        self._called = asyncio.Event()
        self._progress: tuple[object, ...] = ()

    def tell(self, message: Message) -> None:
        """Leave a message, unless too many are unread already."""
        if len(self._unread) >= MOST_UNREAD:
            self.end()
            return
        self._unread.append(message)
        self._called.set()

    def tell_progress(self, progress: tuple[object, ...], message: Message) -> None:
        """Leave a message of how far the run is, unless that is known."""
        if progress != self._progress:
            self._progress = progress
            self.tell(message)

    def end(self, *, key_ended: bool = False) -> None:
        """Say that there will be no more messages."""
        self.over = True
        self.key_ended = key_ended
        self._called.set()

    async def messages(self, wait_s: float) -> list[Message]:
        """What was left since the last call; empty after `wait_s` or at the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._called.wait()
        if not self.over:
            self._called.clear()
        found = list(self._unread)
        self._unread.clear()
        return found


class Watch:
    """The one poller of a process, and who watches.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._of: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._n_streams = 0
        self._poller: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._limiter = CapacityLimiter(1)
        self._last = 0
        self._late: dict[int, float] = {}
        self._keys_due_s = self._answered_s = 0.0

    @property
    def n_streams(self) -> int:
        """How many streams are open."""
        return self._n_streams

    @property
    def n_watchers(self) -> int:
        """How many streams and waits there are."""
        return sum(len(watchers) for watchers in self._of.values())

    @asynccontextmanager
    async def on(self, run_id: str, key_id: str, *, stream: bool) -> AsyncIterator[Watcher]:
        """Watch a run: whatever is stored from here on is told.

        Parameters
        ----------
        run_id, key_id : str
        stream : bool
            Whether it is a stream, of which there are at most `Settings.max_streams`.

        Raises
        ------
        BusyError
            If there are too many streams.
        """
        most = self._service.settings.max_streams
        if stream and self._n_streams >= most:
            raise BusyError(f"{most} streams are open; wait for a run with ?wait=, or try again")
        watcher = Watcher(run_id, key_id)
        self._count_streams(int(stream))
        self._of[run_id].add(watcher)
        try:
            async with self._starting:
                if self._poller is None:
                    self._last = await self._asked(self._service.store.news.last)
                    self._late.clear()
                    self._keys_due_s = self._answered_s = time.monotonic()
                    self._poller = asyncio.create_task(self._poll())
            yield watcher
        finally:
            self._count_streams(-int(stream))
            self._of[run_id].discard(watcher)
            if not self._of[run_id]:
                del self._of[run_id]

    def _count_streams(self, more: int) -> None:
        self._n_streams += more
        self._service.metrics.streams.inc(more)

    async def _asked(self, ask: Callable[[], _Value]) -> _Value:
        # in a thread of its own: files that hang and requests that wait stop nobody's watch
        return await to_thread.run_sync(ask, limiter=self._limiter)

    async def _poll(self) -> None:
        try:
            while self._of and not self._service.closing():
                await self._look()
                await asyncio.sleep(LOOK_S)
        finally:
            self._poller = None
            self._end_all()

    async def _look(self) -> None:
        now_s = time.monotonic()
        keys = None
        if now_s >= self._keys_due_s:
            keys = {watcher.key_id for watchers in self._of.values() for watcher in watchers}
        last, late = self._last, tuple(self._late)
        try:
            look = await self._asked(
                lambda: self._service.store.news.look(last, late=late, keys=keys)
            )
        except SQLAlchemyError as error:
            # nobody is left believing that nothing happens, nor that their key is good
            if time.monotonic() - self._answered_s > self._service.settings.key_check_s:
                log.warning("watch", error=type(error).__name__, watchers=self.n_watchers)
                self._end_all()
            return
        self._answered_s = time.monotonic()
        if look.keys is not None:
            self._keys_due_s = now_s + self._service.settings.key_check_s / 2
            self._end_keys(asked=keys or set(), good=look.keys)
        self._number(look, now_s)
        self._tell(look)

    def _number(self, look: Look, now_s: float) -> None:
        """Note which numbers are seen, and which are missing between them."""
        for event in look.events:
            self._late.pop(event.seq, None)
            for missing in range(max(self._last + 1, event.seq - MOST_UNREAD), event.seq):
                self._late[missing] = now_s + LATE_S
            self._last = max(self._last, event.seq)
        self._late = {seq: until_s for seq, until_s in self._late.items() if until_s > now_s}

    def _tell(self, look: Look) -> None:
        for event in look.events:
            watchers = self._of.get(event.run_id)
            if watchers:
                message = Message.of_event(event)
                for watcher in watchers:
                    watcher.tell(message)
        for standing in look.standings:
            watchers = self._of.get(standing.run_id)
            if watchers and standing.shards_total:
                message = Message.of_standing(standing)
                progress = (standing.stage, standing.shards_done, standing.shards_total)
                for watcher in watchers:
                    watcher.tell_progress(progress, message)

    def _end_keys(self, *, asked: set[str], good: frozenset[str]) -> None:
        for watchers in self._of.values():
            for watcher in watchers:
                if watcher.key_id in asked - good:
                    watcher.end(key_ended=True)

    def _end_all(self) -> None:
        for watchers in self._of.values():
            for watcher in watchers:
                watcher.end()
