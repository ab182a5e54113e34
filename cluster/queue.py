"""The queue as whoever asks for runs sees it: submit, list, cancel, what happened.

    submit -> (leased, worked on, finished: see `leases`) -> a final state, which is the last

Runs and sweeps wait in one queue, by kind. The same idempotency key of an owner is the same run.

Not here: what a row is and how it moves (`runs`), who may ask (`api.auth`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from cluster import schema
from cluster.database import Database, new_id, now_ms, row_as
from cluster.runs import Event, Run, append, locked, move, run_of
from cluster.states import FINAL, State


class IdempotencyConflictError(Exception):
    """The same idempotency key came with another payload."""


class Queue:
    """The runs of a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(
        self,
        kind: str,
        request: Mapping[str, Any],
        *,
        owner: str,
        idempotency_key: str,
        payload_sha256: str,
    ) -> tuple[Run, bool]:
        """Queue a run, once for an owner's idempotency key.

        Parameters
        ----------
        kind : str
            Which work of the dispatcher.
        request : mapping
            All that the work needs, in JSON's own values.
        owner, idempotency_key : str
        payload_sha256 : str
            Hash of what the caller sent: the same key may come again with the same only.

        Returns
        -------
        Run, bool
            The run, and whether this call made it.

        Raises
        ------
        IdempotencyConflictError
            If the key came before with another payload.
        """
        table = schema.idempotency
        try:
            with self._database.write() as connection:
                created_ms = now_ms(connection)
                run_id = new_id()
                connection.execute(
                    insert(schema.runs).values(
                        id=run_id,
                        kind=kind,
                        owner=owner,
                        request=dict(request),
                        state="queued",
                        shards_done=0,
                        shards_total=0,
                        cancel_requested=False,
                        attempt=0,
                        losses=0,
                        created_ms=created_ms,
                    )
                )
                connection.execute(
                    insert(table).values(
                        owner=owner,
                        key=idempotency_key,
                        payload_sha256=payload_sha256,
                        run_id=run_id,
                        created_ms=created_ms,
                    )
                )
                append(connection, run_id, owner, "submitted", None, "queued")
        except IntegrityError:
            with self._database.read() as connection:
                held = connection.execute(
                    select(table).where(table.c.owner == owner, table.c.key == idempotency_key)
                ).one()
            if held.payload_sha256 != payload_sha256:
                raise IdempotencyConflictError(
                    "this Idempotency-Key came before with another payload; use a new key"
                ) from None
            return self.run(held.run_id), False
        return self.run(run_id), True

    def run(self, run_id: str) -> Run:
        """The run of this id.

        Raises
        ------
        UnknownRunError
        """
        return run_of(self._database, run_id)

    def runs(
        self, kind: str, *, limit: int, before: str | None = None, state: State | None = None
    ) -> list[Run]:
        """Runs of a kind, newest first, those older than `before` (an id)."""
        table = schema.runs
        query = select(table).where(table.c.kind == kind)
        if before is not None:
            query = query.where(table.c.id < before)
        if state is not None:
            query = query.where(table.c.state == state)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
            return [row_as(Run, row) for row in found]

    def request_cancel(self, run_id: str, *, actor: str) -> Run:
        """Cancel a queued run at once, ask for it on a running one, leave a finished one alone.

        Raises
        ------
        UnknownRunError
        """
        with self._database.write() as connection:
            run = locked(connection, run_id)
            if run.state == "queued":
                move(connection, run, "cancelled", actor=actor, kind="cancelled")
            elif run.state not in FINAL and not run.cancel_requested:
                connection.execute(
                    update(schema.runs)
                    .where(schema.runs.c.id == run_id)
                    .values(cancel_requested=True)
                )
                append(connection, run_id, actor, "cancel_requested", run.state, run.state)
        return self.run(run_id)

    def events(self, run_id: str, *, after: int = 0) -> list[Event]:
        """What happened to a run after event `after`, in order."""
        table = schema.events
        with self._database.read() as connection:
            found = connection.execute(
                select(table)
                .where(table.c.run_id == run_id, table.c.seq > after)
                .order_by(table.c.seq)
            )
            return [row_as(Event, row) for row in found]

    def record(self, run_id: str, *, actor: str, kind: str, detail: Mapping[str, Any]) -> None:
        """Append an event that moves nothing: a read of restricted results, say."""
        with self._database.write() as connection:
            append(connection, run_id, actor, kind, None, None, detail)

    def states(self) -> dict[str, int]:
        """How many runs stand in each state."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(schema.runs.c.state, func.count()).group_by(schema.runs.c.state)
            )
            return {state: int(count) for state, count in rows}
