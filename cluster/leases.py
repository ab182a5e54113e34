"""The queue as whoever works on runs sees it: take one, hold it, bring it to its end.

    take -> (heartbeat, enter, progress, keep)* -> finish | review | release

and `reclaim` what nobody holds any more.

A run is held by a *lease*: who holds it must say so again before it expires, by the database's
clock, and an attempt that lost its lease can finish nothing.

Not here: what a run computes (`work`), who drives it (`dispatch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, insert, or_, select, update

from cluster import schema
from cluster.database import Database, now_ms, row_as
from cluster.parts import Part
from cluster.runs import Run, append, locked, move, run_of
from cluster.schema import DatabaseNow
from cluster.states import ENTERED, FINAL, HELD, SUCCESSORS, Phase, State

MAX_LOSSES: Final = 3
"""A run whose dispatcher, or its cluster, died this often is the likely cause, and fails."""
NOTE_S: Final = 1.0
"""How long what is said again soon waits for whoever else writes."""


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
                "validating",
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

    def enter(self, run: Run, phase: Phase) -> bool:
        """Say how far an attempt is; False if nobody wants it any more: lost, or to be cancelled.

        Parameters
        ----------
        run : Run
            As `take` gave it.
        phase : Phase
        """
        with self._database.write() as connection:
            now = locked(connection, run.id)
            if not _holds(now, run) or now.state == "cancelling":
                return False
            _pass(connection, now, phase)
        return True

    def taken(self, dispatcher: str) -> Run | None:
        """The run that a dispatcher holds: `take` gave it one, and the answer may have been lost.

        Parameters
        ----------
        dispatcher : str
            One that works on a run at a time.
        """
        table = schema.runs
        with self._database.read() as connection:
            held = select(table).where(table.c.lease_owner == dispatcher, table.c.state.in_(HELD))
            row = connection.execute(held.order_by(table.c.id).limit(1)).one_or_none()
        return None if row is None else row_as(Run, row)

    def progress(self, run: Run, shards_done: int, shards_total: int) -> None:
        """Note how far an attempt is, unless others write for so long that it is not worth it."""
        with self._database.write(wait_s=NOTE_S) as connection:
            connection.execute(
                update(schema.runs)
                .where(*_held_by(run))
                .values(shards_done=shards_done, shards_total=shards_total)
            )

    def parts(self, run: Run, task_sha256: str) -> list[Part]:
        """What attempts at a run kept of a task."""
        table = schema.parts
        with self._database.read() as connection:
            found = connection.execute(
                select(table).where(table.c.run_id == run.id, table.c.task_sha256 == task_sha256)
            )
            return [row_as(Part, row) for row in found]

    def keep(self, run: Run, part: Part) -> Part | None:
        """Say that an attempt kept a part; the one that stands there for these shards.

        Returns
        -------
        Part or None
            The first that was kept, which this one may be: of another content it is left as it is.
            None if the lease was lost.
        """
        table = schema.parts
        with self._database.write() as connection:
            if not _holds(locked(connection, run.id), run):
                return None
            these = (
                table.c.run_id == run.id,
                table.c.task_sha256 == part.task_sha256,
                table.c.first_shard == part.first_shard,
                table.c.n_shards == part.n_shards,
            )
            row = connection.execute(select(table).where(*these)).one_or_none()
            if row is None:
                connection.execute(
                    insert(table).values(
                        run_id=run.id, **vars(part), attempt=run.attempt, kept_ms=DatabaseNow()
                    )
                )
                return part
            stands = row_as(Part, row)
            if stands.content_sha256 == part.content_sha256:  # its file was damaged
                connection.execute(update(table).where(*these).values(file_sha256=part.file_sha256))
            return stands

    def note(self, run: Run, kind: str, detail: Mapping[str, Any]) -> None:
        """Append what an attempt met to what happened to its run."""
        with self._database.write(wait_s=NOTE_S) as connection:
            append(connection, run.id, run.lease_owner or "", kind, None, None, detail)

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

        An attempt that meets a wish to cancel ends as cancelled: whoever asked for that was
        promised it. A success has been through every state before it: those that the attempt did
        not say are passed here.

        Parameters
        ----------
        run : Run
            As `take` gave it: the attempt that ends.
        state : State
            succeeded or failed; cancelled only of a run that was to be.
        digest : str, optional
            Of the results of a success.
        reason, detail : str, optional
            Of a failure: one word for programs, a sentence for people.

        Returns
        -------
        Run or None
            None if the lease was lost: what this attempt made must not be seen. Told again of an
            end that was kept, whose answer was lost, the run as it is.
        """
        with self._database.write() as connection:
            now = locked(connection, run.id)
            if not _holds(now, run):
                return (
                    now if now.state in FINAL and _ended_as(connection, run) == now.state else None
                )
            if now.state == "cancelling":
                state, digest, reason, detail = "cancelled", None, None, None
            elif state == "succeeded":
                now = _pass(connection, now, "committing")
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

    def review(self, run: Run, tripped: Mapping[str, str]) -> Run | None:
        """Let a run wait for somebody who accepts the gates that tripped.

        Parameters
        ----------
        run : Run
            As `take` gave it.
        tripped : mapping of gate to what tripped it, in words

        Returns
        -------
        Run or None
            None if the lease was lost.
        """
        with self._database.write() as connection:
            now = locked(connection, run.id)
            if not _holds(now, run):
                return None
            actor = run.lease_owner or ""
            if now.state == "cancelling":
                _end_attempt(connection, now, "cancelled")
                move(connection, now, "cancelled", actor=actor, kind="cancelled")
            else:
                _end_attempt(connection, now, "needs_review")
                accepted = (now.review or {}).get("accepted", {})
                move(
                    connection,
                    now,
                    "needs_review",
                    actor=actor,
                    kind="needs_review",
                    detail={"gates": list(tripped)},
                    review={"waiting": dict(tripped), "accepted": accepted},
                    lease_owner=None,
                    lease_until_ms=None,
                )
        return run_of(self._database, run.id)

    def release(self, run: Run) -> None:
        """Put a run back into the queue: its dispatcher stops in good order."""
        with self._database.write() as connection:
            now = locked(connection, run.id)
            if _holds(now, run):
                _end_attempt(connection, now, "released")
                _again(connection, now, actor=run.lease_owner or "", kind="released")

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
                select(table).where(table.c.state.in_(HELD), gone).with_for_update()
            ).all()
            for row in rows:
                run = row_as(Run, row)
                moved.append(run.id)
                _end_attempt(connection, run, "lost")
                losses = run.losses + 1
                if run.state != "cancelling" and losses >= MAX_LOSSES:
                    move(
                        connection,
                        run,
                        "failed",
                        actor=actor,
                        kind="failed",
                        detail={"reason": "infrastructure"},
                        losses=losses,
                        reason="infrastructure",
                        detail_text=f"the dispatcher or its cluster died {losses} times under this "
                        "run; look for memory or disk running out in its log, then submit it again",
                    )
                else:
                    _again(connection, run, actor=actor, kind="lost", losses=losses)
        return moved


def _held_by(run: Run) -> tuple[Any, ...]:
    table = schema.runs
    return (
        table.c.id == run.id,
        table.c.state.in_(HELD),
        table.c.attempt == run.attempt,
        table.c.lease_owner == run.lease_owner,
    )


def _holds(now: Run, attempt: Run) -> bool:
    return (
        now.state in HELD
        and now.attempt == attempt.attempt
        and now.lease_owner == attempt.lease_owner
    )


def _ended_as(connection: Connection, attempt: Run) -> str | None:
    """How the last attempt of a run ended, if it is this one."""
    table, later = schema.attempts, schema.attempts.c.number > attempt.attempt
    found = select(table.c.outcome).where(
        table.c.run_id == attempt.id,
        table.c.number == attempt.attempt,
        table.c.dispatcher == attempt.lease_owner,
        ~select(table.c.number).where(table.c.run_id == attempt.id, later).exists(),
    )
    return connection.execute(found).scalar_one_or_none()


def _pass(connection: Connection, run: Run, phase: Phase) -> Run:
    """The run, brought through every state up to this one."""
    for entered, kind in ENTERED.items():
        if entered in SUCCESSORS[run.state]:
            move(connection, run, entered, actor=run.lease_owner or "", kind=kind)
            run = replace(run, state=entered)
        if entered == phase:
            break
    return run


def _again(connection: Connection, run: Run, *, actor: str, kind: str, **values: Any) -> None:
    """Queue a run whose attempt is gone; one that was to be cancelled is."""
    if run.state == "cancelling":
        move(connection, run, "cancelled", actor=actor, kind="cancelled", **values)
        return
    values |= {"lease_owner": None, "lease_until_ms": None, "shards_done": 0}
    move(connection, run, "queued", actor=actor, kind=kind, **values)


def _end_attempt(connection: Connection, run: Run, outcome: str) -> None:
    table = schema.attempts
    connection.execute(
        update(table)
        .where(table.c.run_id == run.id, table.c.number == run.attempt)
        .values(ended_ms=DatabaseNow(), outcome=outcome)
    )
