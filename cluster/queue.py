"""The queue as whoever asks for runs sees it: submit, list, cancel, accept, certify, what happened.

    submit -> (leased, worked on, finished: see `leases`) -> a final state, which is the last
                    |      ^
                    v      |
                 needs_review: accept each gate that tripped, or cancel

Runs and sweeps wait in one queue, by kind. The same idempotency key of an owner is the same run. A
run that failed or was cancelled stays as it ended: made again, it is another run, which names it.

Not here: what a row is and how it moves (`runs`), who may ask (`api.auth`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from cluster import schema
from cluster.database import Database, new_id, now_ms, row_as
from cluster.runs import Event, Run, append, fingerprint_of, locked, move, run_of
from cluster.states import HELD, State


class IdempotencyConflictError(Exception):
    """The same idempotency key came with another payload."""


class StateError(Exception):
    """A run does not stand where what is asked of it is possible."""


class NotWaitingError(Exception):
    """A gate is accepted for which a run does not wait."""


@dataclass(frozen=True)
class Labels:
    """By what a run is found beside its id; None: by nothing of the kind.

    `population` and `contract` are names as the caller gave them, `fingerprint` the digest of all
    that its results follow from, `retry_of` the run that it makes again, of which there is one.
    """

    population: str | None = None
    contract: str | None = None
    fingerprint: str | None = None
    retry_of: str | None = None

    def retrying(self, run_id: str) -> Labels:
        """The same, of a run that makes another again."""
        return replace(self, retry_of=run_id)


NO_LABELS: Final = Labels()


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
        labels: Labels = NO_LABELS,
    ) -> tuple[Run, bool]:
        """Queue a run, once for an owner's idempotency key and once for the run that it retries.

        Parameters
        ----------
        kind : str
            Which work of the dispatcher.
        request : mapping
            All that the work needs, in JSON's own values.
        owner, idempotency_key : str
        payload_sha256 : str
            Hash of what the caller sent: the same key may come again with the same only.
        labels : Labels

        Returns
        -------
        Run, bool
            The run, and whether this call made it.

        Raises
        ------
        IdempotencyConflictError
            If the key came before with another payload.
        """
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
                        **vars(labels),
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
                    insert(schema.idempotency).values(
                        owner=owner,
                        key=idempotency_key,
                        payload_sha256=payload_sha256,
                        run_id=run_id,
                        created_ms=created_ms,
                    )
                )
                cause = {} if labels.retry_of is None else {"retry_of": labels.retry_of}
                append(connection, run_id, owner, "submitted", None, "queued", cause)
        except IntegrityError:
            held = self.submitted(owner, idempotency_key, payload_sha256)
            return held or self._retry(labels), False
        return self.run(run_id), True

    def submitted(self, owner: str, idempotency_key: str, payload_sha256: str) -> Run | None:
        """The run that an owner's idempotency key stands for; None if it stands for none yet.

        Raises
        ------
        IdempotencyConflictError
            If the key came before with another payload.
        """
        table = schema.idempotency
        with self._database.read() as connection:
            held = connection.execute(
                select(table).where(table.c.owner == owner, table.c.key == idempotency_key)
            ).one_or_none()
        if held is None:
            return None
        if held.payload_sha256 != payload_sha256:
            raise IdempotencyConflictError(
                "this Idempotency-Key came before with another payload; use a new key"
            )
        return self.run(held.run_id)

    def _retry(self, labels: Labels) -> Run:
        table = schema.runs
        with self._database.read() as connection:
            found = select(table).where(table.c.retry_of == labels.retry_of)
            return row_as(Run, connection.execute(found).one())

    def run(self, run_id: str) -> Run:
        """The run of this id.

        Raises
        ------
        UnknownRunError
        """
        return run_of(self._database, run_id)

    def runs(
        self,
        kind: str,
        *,
        limit: int,
        before: str | None = None,
        state: State | None = None,
        owner: str | None = None,
        population: str | None = None,
        contract: str | None = None,
        fingerprint: str | None = None,
    ) -> list[Run]:
        """Runs of a kind, newest first, those older than `before` (an id).

        Of a state, an owner, a population, a contract (its versions `NAME@n` too), a fingerprint,
        where given.
        """
        table = schema.runs
        query = select(table).where(table.c.kind == kind)
        if before is not None:
            query = query.where(table.c.id < before)
        wanted = {
            table.c.state: state,
            table.c.owner: owner,
            table.c.population: population,
            table.c.fingerprint: fingerprint,
        }
        for column, value in wanted.items():
            if value is not None:
                query = query.where(column == value)
        if contract is not None:
            versions = table.c.contract.startswith(f"{contract}@", autoescape=True)
            query = query.where(or_(table.c.contract == contract, versions))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
            return [row_as(Run, row) for row in found]

    def request_cancel(self, run_id: str, *, actor: str) -> Run:
        """Cancel a run that nobody works on, ask for it on another, leave a finished one alone.

        Raises
        ------
        UnknownRunError
        """
        with self._database.write() as connection:
            run = locked(connection, run_id)
            if run.state in ("queued", "needs_review"):
                move(connection, run, "cancelled", actor=actor, kind="cancelled")
            elif run.state in HELD and run.state != "cancelling":
                move(
                    connection, run, "cancelling", actor=actor, kind="cancelling",
                    cancel_requested=True,
                )  # fmt: skip
        return self.run(run_id)

    def accept(self, run_id: str, reasons: Mapping[str, str], *, actor: str) -> Run:
        """Accept gates for which a run waits; it is queued again once each is accepted.

        What was accepted before stays, with who did.

        Parameters
        ----------
        run_id : str
        reasons : mapping of gate to reason
        actor : str

        Raises
        ------
        UnknownRunError
        StateError
            If the run waits for no review.
        NotWaitingError
            If it does not wait for one of the gates.
        """
        with self._database.write() as connection:
            run = locked(connection, run_id)
            if run.state != "needs_review" or run.review is None:
                raise StateError(f"the run is {run.state}; only one in needs_review is accepted")
            waiting = dict(run.review["waiting"])
            strangers = [gate for gate in reasons if gate not in waiting]
            if strangers:
                raise NotWaitingError(
                    f"the run does not wait for {', '.join(strangers)}, but for "
                    f"{', '.join(waiting)}; accept what tripped"
                )
            at_ms = now_ms(connection)
            said = {
                gate: {"reason": reason, "owner": actor, "at_ms": at_ms}
                for gate, reason in reasons.items()
            }
            left = {gate: words for gate, words in waiting.items() if gate not in reasons}
            accept = {**run.request.get("accept", {}), **reasons}
            review = {"waiting": left, "accepted": {**run.review["accepted"], **said}}
            request = {**run.request, "accept": accept}
            told = {"accept": dict(reasons)}
            inputs = run.request.get("inputs")
            fingerprint = None if inputs is None else fingerprint_of(inputs, accept)
            if left:
                changed = {"review": review, "request": request, "fingerprint": fingerprint}
                _change(connection, run, changed)
                append(connection, run_id, actor, "accepted", None, None, told)
            else:
                move(
                    connection, run, "queued", actor=actor, kind="accepted", detail=told,
                    review=review, request=request, fingerprint=fingerprint,
                )  # fmt: skip
        return self.run(run_id)

    def certify(
        self,
        run_id: str,
        certification: Mapping[str, Any],
        *,
        actor: str,
        keep: Callable[[Run], object],
    ) -> Run:
        """Give a run that succeeded its one certification.

        Parameters
        ----------
        run_id : str
        certification : mapping
            In JSON's own values.
        actor : str
        keep : callable
            Writes it beside the results; what it raises leaves the run uncertified.

        Raises
        ------
        UnknownRunError
        StateError
            If the run has not succeeded, or is certified already.
        """
        with self._database.write() as connection:
            run = locked(connection, run_id)
            if run.state != "succeeded":
                raise StateError(f"the run is {run.state}; only one that succeeded is certified")
            if run.certification is not None:
                raise StateError("the run is certified already, which is done once")
            _change(connection, run, {"certification": dict(certification)})
            told = {"digest": run.digest}
            append(connection, run_id, actor, "certified", None, None, told)
            keep(run)
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


def _change(connection: Connection, run: Run, values: Mapping[str, Any]) -> None:
    """Change columns of a run that stays in its state."""
    connection.execute(update(schema.runs).where(schema.runs.c.id == run.id).values(**values))
