"""A run as the database holds it, and how its row moves: one step, one event, one transaction.

    check that the step is allowed -> write the new state -> append an event

Which step may follow which is decided in `states`; who takes it, in `queue` (whoever asks for runs)
and `leases` (whoever works on them). Runs and sweeps are kinds of one row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from cluster import schema
from cluster.database import Database, now_ms, row_as
from cluster.schema import DatabaseNow
from cluster.states import FINAL, State, check


class UnknownRunError(Exception):
    """No run has this id."""


@dataclass(frozen=True)
class Run:
    """One piece of queued work as the database holds it; times in milliseconds since 1970.

    `review` has under `waiting` each gate that tripped and nobody accepted, in words, under
    `accepted` for each that somebody accepted since: `reason`, `owner`, `at_ms`.
    """

    id: str
    kind: str
    owner: str
    request: dict[str, Any]
    state: State
    shards_done: int
    shards_total: int
    cancel_requested: bool
    population: str | None
    contract: str | None
    fingerprint: str | None
    retry_of: str | None
    review: dict[str, Any] | None
    certification: dict[str, Any] | None
    digest: str | None
    reason: str | None
    detail: str | None
    attempt: int
    losses: int
    lease_owner: str | None
    created_ms: int
    started_ms: int | None
    finished_ms: int | None


@dataclass(frozen=True)
class Event:
    """One thing that happened to a run."""

    seq: int
    run_id: str
    at_ms: int
    actor: str
    kind: str
    from_state: State | None
    to_state: State | None
    detail: dict[str, Any]


def fingerprint_of(inputs_sha256: str, accept: Mapping[str, str]) -> str:
    """What two runs have in common that come to the same results: SHA-256, in hexadecimal.

    Parameters
    ----------
    inputs_sha256 : str
        Of all that the results follow from but the gates that are accepted.
    accept : mapping of gate to reason
    """
    said = json.dumps([inputs_sha256, sorted(accept.items())])
    return hashlib.sha256(said.encode()).hexdigest()


def run_of(database: Database, run_id: str) -> Run:
    """The run of this id.

    Raises
    ------
    UnknownRunError
    """
    table = schema.runs
    with database.read() as connection:
        row = connection.execute(select(table).where(table.c.id == run_id)).one_or_none()
    return _known(row)


def locked(connection: Connection, run_id: str) -> Run:
    """The run of this id, which no other transaction moves before this one ends.

    Raises
    ------
    UnknownRunError
    """
    table = schema.runs
    query = select(table).where(table.c.id == run_id).with_for_update()
    return _known(connection.execute(query).one_or_none())


def _known(row: Row[Any] | None) -> Run:
    if row is None:
        raise UnknownRunError("no run has this id; GET /v1/runs lists them")
    return row_as(Run, row)


def move(
    connection: Connection,
    run: Run,
    state: State,
    *,
    actor: str,
    kind: str,
    detail: Mapping[str, Any] | None = None,
    detail_text: str | None = None,
    **values: Any,
) -> None:
    """Bring a run into a state and append the event that says so; one that ends needs no parts.

    Parameters
    ----------
    connection : Connection
    run : Run
        As it stands in this transaction.
    state : State
    actor, kind, detail
        Of the event.
    detail_text : str, optional
        What the run says of its end, if this is its end.
    **values
        Further columns of the row.

    Raises
    ------
    TransitionError
    """
    check(run.state, state)
    if state in FINAL:
        values |= {
            "finished_ms": now_ms(connection),
            "lease_owner": None,
            "lease_until_ms": None,
            "detail": detail_text,
        }
        connection.execute(delete(schema.parts).where(schema.parts.c.run_id == run.id))
    connection.execute(
        update(schema.runs).where(schema.runs.c.id == run.id).values(state=state, **values)
    )
    append(connection, run.id, actor, kind, run.state, state, detail or {})


def append(
    connection: Connection,
    run_id: str,
    actor: str,
    kind: str,
    from_state: State | None,
    to_state: State | None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append an event to what happened to a run."""
    connection.execute(
        insert(schema.events).values(
            run_id=run_id,
            at_ms=DatabaseNow(),
            actor=actor,
            kind=kind,
            from_state=from_state,
            to_state=to_state,
            detail=dict(detail or {}),
        )
    )
