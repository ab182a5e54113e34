"""The queue as whoever works on runs sees it: take one, hold it, bring it to its end.

    take -> (heartbeat, progress)* -> finish | release        reclaim what nobody holds any more

A run is held by a *lease*: who holds it must say so again before it expires, by the database's
clock, and an attempt that lost its lease can finish nothing.

Not here: what a run computes (`work`), who drives it (`dispatch`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, insert, or_, select, update

from cluster import schema
from cluster.database import Database, now_ms, row_as
from cluster.runs import Run, locked, move, run_of
from cluster.schema import DatabaseNow
from cluster.states import State

MAX_LOSSES: Final = 3
"""A run whose dispatcher died this often is the likely cause, and fails."""


class Leases:
    """Who works on which run of a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, dispatcher: str, *, lease_ms: int) -> Run | None:
        """Take the oldest queued run for `lease_ms`, or None when none waits."""
        table = schema.runs
        with self._database.write() as connection:
            row = connection.execute(
                select(table)
                .where(table.c.state == "queued")
                .order_by(table.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return None
            run = row_as(Run, row)
            number = run.attempt + 1
            started_ms = now_ms(connection)
            move(
                connection,
                run,
                "running",
                actor=dispatcher,
                kind="started",
                detail={"attempt": number},
                attempt=number,
                shards_done=0,
                lease_owner=dispatcher,
                lease_until_ms=started_ms + lease_ms,
                started_ms=run.started_ms or started_ms,
            )
            connection.execute(
                insert(schema.attempts).values(
                    run_id=run.id, number=number, dispatcher=dispatcher, started_ms=started_ms
                )
            )
        return run_of(self._database, run.id)

    def heartbeat(self, run: Run, *, lease_ms: int) -> Run | None:
        """Hold the lease for another `lease_ms`; None if it was lost."""
        table = schema.runs
        with self._database.write() as connection:
            kept = connection.execute(
                update(table)
                .where(*_held_by(run))
                .values(lease_until_ms=now_ms(connection) + lease_ms)
            )
            if kept.rowcount == 0:
                return None
        return run_of(self._database, run.id)

    def progress(self, run: Run, shards_done: int, shards_total: int) -> None:
        """Note how far an attempt is."""
        with self._database.write() as connection:
            connection.execute(
                update(schema.runs)
                .where(*_held_by(run))
                .values(shards_done=shards_done, shards_total=shards_total)
            )

    def finish(
        self,
        run: Run,
        state: State,
        *,
        digest: str | None = None,
        reason: str | None = None,
        detail: str | None = None,
    ) -> Run | None:
        """End an attempt and its run.

        A success that meets a wish to cancel ends as cancelled: whoever asked for that was
        promised it.

        Parameters
        ----------
        run : Run
            As `take` gave it: the attempt that ends.
        state : State
            succeeded, failed or cancelled.
        digest : str, optional
            Of the results of a success.
        reason, detail : str, optional
            Of a failure: one word for programs, a sentence for people.

        Returns
        -------
        Run or None
            None if the lease was lost: what this attempt made must not be seen.
        """
        with self._database.write() as connection:
            now = locked(connection, run.id)
            if not _holds(now, run):
                return None
            if now.cancel_requested and state == "succeeded":
                state, digest = "cancelled", None
            _end_attempt(connection, now, state)
            move(
                connection,
                now,
                state,
                actor=run.lease_owner or "",
                kind=state,
                detail={} if reason is None else {"reason": reason},
                digest=digest,
                reason=reason,
                detail_text=detail,
            )
        return run_of(self._database, run.id)

    def release(self, run: Run) -> None:
        """Put a run back into the queue: its dispatcher stops in good order."""
        with self._database.write() as connection:
            now = locked(connection, run.id)
            if _holds(now, run):
                _end_attempt(connection, now, "released")
                _requeue(connection, now, actor=run.lease_owner or "", kind="released")

    def reclaim(self, *, actor: str, dead: str | None = None) -> list[str]:
        """Queue again what nobody holds any more.

        Parameters
        ----------
        actor : str
        dead : str, optional
            Beginning of the names of dispatchers known to be dead: their leases count as expired.

        Returns
        -------
        list of str
            Ids of the runs that were moved. One whose dispatchers died `MAX_LOSSES` times fails.
        """
        table = schema.runs
        moved = []
        with self._database.write() as connection:
            gone = table.c.lease_until_ms < DatabaseNow()
            if dead is not None:
                gone = or_(gone, table.c.lease_owner.startswith(dead, autoescape=True))
            rows = connection.execute(
                select(table).where(table.c.state == "running", gone).with_for_update()
            ).all()
            for row in rows:
                run = row_as(Run, row)
                moved.append(run.id)
                _end_attempt(connection, run, "lost")
                losses = run.losses + 1
                if run.cancel_requested:
                    move(connection, run, "cancelled", actor=actor, kind="cancelled")
                elif losses >= MAX_LOSSES:
                    move(
                        connection,
                        run,
                        "failed",
                        actor=actor,
                        kind="failed",
                        detail={"reason": "infrastructure"},
                        losses=losses,
                        reason="infrastructure",
                        detail_text=f"the dispatcher died {losses} times under this run; look for "
                        "memory or disk running out in its log, then submit it again",
                    )
                else:
                    _requeue(connection, run, actor=actor, kind="lost", losses=losses)
        return moved


def _held_by(run: Run) -> tuple[Any, ...]:
    table = schema.runs
    return (
        table.c.id == run.id,
        table.c.state == "running",
        table.c.attempt == run.attempt,
        table.c.lease_owner == run.lease_owner,
    )


def _holds(now: Run, attempt: Run) -> bool:
    return (
        now.state == "running"
        and now.attempt == attempt.attempt
        and now.lease_owner == attempt.lease_owner
    )


def _requeue(connection: Connection, run: Run, *, actor: str, kind: str, **values: Any) -> None:
    values |= {"lease_owner": None, "lease_until_ms": None, "shards_done": 0}
    move(connection, run, "queued", actor=actor, kind=kind, **values)


def _end_attempt(connection: Connection, run: Run, outcome: str) -> None:
    table = schema.attempts
    connection.execute(
        update(table)
        .where(table.c.run_id == run.id, table.c.number == run.attempt)
        .values(ended_ms=DatabaseNow(), outcome=outcome)
    )
