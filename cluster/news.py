"""What is new in the queue, in one look for everybody who watches runs of a process.

    events after one that was seen, runs that are worked on, keys that are still good

Not here: who watches which run and what they are told (`api.watching`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select

from cluster import schema
from cluster.database import Database, now_ms, row_as
from cluster.keys import in_use
from cluster.runs import Event, Run
from cluster.states import HELD


@dataclass(frozen=True)
class Standing:
    """How far a run is that is worked on."""

    run_id: str
    stage: str
    shards_done: int
    shards_total: int
    elapsed_ms: int

    @property
    def eta_ms(self) -> int | None:
        """When the last shard may be done, by the pace of this attempt; None before the first."""
        if not 0 < self.shards_done <= self.shards_total:
            return None
        return self.elapsed_ms * (self.shards_total - self.shards_done) // self.shards_done


@dataclass(frozen=True)
class Look:
    """What one look found; `keys` is None where nobody asked for it."""

    events: list[Event]
    standings: list[Standing]
    keys: frozenset[str] | None


class News:
    """What happens in a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> int:
        """Number of the last event; 0 before any."""
        with self._database.read() as connection:
            found = connection.execute(select(func.max(schema.events.c.seq))).scalar_one()
        return int(found or 0)

    def of_run(self, run_id: str, *, after: int) -> tuple[Run, list[Event]]:
        """A run, and what happened to it after event `after`, at one moment.

        Parameters
        ----------
        run_id : str
            Of a run that there is.
        after : int
        """
        runs, events = schema.runs, schema.events
        with self._database.read() as connection:
            run = connection.execute(select(runs).where(runs.c.id == run_id)).one()
            found = connection.execute(
                select(events)
                .where(events.c.run_id == run_id, events.c.seq > after)
                .order_by(events.c.seq)
            )
            return row_as(Run, run), [row_as(Event, row) for row in found]

    def look(
        self, after: int, *, late: Collection[int] = (), keys: Collection[str] | None = None
    ) -> Look:
        """What happened after an event, to any run, and how far runs are.

        Parameters
        ----------
        after : int
            Number of an event.
        late : collection of int
            Numbers before it that were given out and not seen yet: on PostgreSQL a transaction
            may end after one that began later.
        keys : collection of str, optional
            Ids of API keys; those still in use are told.

        Returns
        -------
        Look
            Events in order.
        """
        events, runs, attempts = schema.events, schema.runs, schema.attempts
        new = events.c.seq > after
        with self._database.read() as connection:
            happened = connection.execute(
                select(events)
                .where(or_(new, events.c.seq.in_(late)) if late else new)
                .order_by(events.c.seq)
            ).all()
            worked_on = connection.execute(
                select(runs, attempts.c.started_ms.label("since_ms"))
                .join(
                    attempts,
                    and_(attempts.c.run_id == runs.c.id, attempts.c.number == runs.c.attempt),
                )
                .where(runs.c.state.in_(HELD))
            ).all()
            now = now_ms(connection) if worked_on else 0
            good = None
            if keys is not None:
                held = schema.api_keys.c.id
                query = select(held).where(held.in_(keys), in_use())
                good = frozenset(connection.scalars(query))
        return Look(
            [row_as(Event, row) for row in happened],
            [
                Standing(row.id, row.state, row.shards_done, row.shards_total, now - row.since_ms)
                for row in worked_on
            ],
            good,
        )
