"""The service's memory: runs, their attempts and events, populations, keys. Survives every process.

    submit -> lease -> (heartbeat, progress)* -> finish | release

Every move of a run is one transaction that checks where the run stands, writes the new state and
appends an event. A run is held by a *lease*: who holds it must say so again before it expires, by
the database's clock, and an attempt that lost its lease can finish nothing. SQLite (WAL) in the
home folder, or any PostgreSQL by URL.

Not here: what a run computes (`ihp_compute.pipeline`), who drives it (`dispatch`), who may ask
(`api.auth`).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Table,
    create_engine,
    event,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError

from cluster import schema
from cluster.schema import DatabaseNow
from cluster.states import FINAL, State, check
from ihp_compute.errors import InfrastructureError

BUSY_S: Final = 30.0
"""How long a writer waits for another."""
MAX_LOSSES: Final = 3
"""A run whose dispatcher died this often is the likely cause, and fails."""


class UnknownRunError(Exception):
    """No run has this id."""


class UnknownPopulationError(Exception):
    """No population is registered under this name."""


class IdempotencyConflictError(Exception):
    """The same idempotency key came with another payload."""


class NameTakenError(Exception):
    """A population of this name is registered with other content."""


@dataclass(frozen=True)
class Run:
    """One piece of queued work as the database holds it; times in milliseconds since 1970."""

    id: str
    kind: str
    owner: str
    request: dict[str, Any]
    state: State
    shards_done: int
    shards_total: int
    cancel_requested: bool
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
class Registered:
    """A registered population: where it lies and what it held when it was registered."""

    id: str
    name: str
    location: str
    prefix: str
    population_digest: str
    members: int
    member_months: int
    n_shards: int
    owner: str
    created_ms: int


@dataclass(frozen=True)
class Key:
    """An API key without its secret."""

    id: str
    owner: str
    note: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int
    revoked_ms: int | None


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


def new_id() -> str:
    """A UUID of version 7: sorts by time, cannot be guessed."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def _of(kind: type[Any], row: Row[Any]) -> Any:
    values = row._mapping  # noqa: SLF001 (public in SQLAlchemy despite its name)
    return kind(**{field.name: values[field.name] for field in fields(kind)})


def _columns(kind: type[Any], table: Table) -> list[Any]:
    return [table.c[field.name] for field in fields(kind)]


class Store:
    """One database. Safe for threads; open one in each process.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. Migrated to the newest step when opened.

    Raises
    ------
    InfrastructureError
        If the database cannot be opened or is newer than this program.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._reads = self._engine.execution_options(ihp_read_only=True)
        try:
            _migrate(self._engine)
        except OperationalError as error:
            self.close()
            raise InfrastructureError(
                f"the database cannot be opened: {error.orig}; check the folder and its free space"
            ) from error
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._reads.connect() as connection:
            yield connection

    # --- API keys ---------------------------------------------------------------------------------

    def add_key(
        self, key_hmac: str, *, owner: str, note: str, scopes: Sequence[str], days: int
    ) -> str:
        """Keep an API key's HMAC; returns the key's id."""
        key_id = new_id()
        with self._write() as connection:
            now_ms = _now_ms(connection)
            connection.execute(
                insert(schema.api_keys).values(
                    id=key_id,
                    owner=owner,
                    note=note,
                    scopes=list(scopes),
                    key_hmac=key_hmac,
                    created_ms=now_ms,
                    expires_ms=now_ms + days * 86_400_000,
                )
            )
        return key_id

    def key(self, key_hmac: str) -> Key | None:
        """The key with this HMAC, unless it is unknown, expired or revoked."""
        table = schema.api_keys
        with self._read() as connection:
            row = connection.execute(
                select(*_columns(Key, table)).where(
                    table.c.key_hmac == key_hmac,
                    table.c.revoked_ms.is_(None),
                    table.c.expires_ms > DatabaseNow(),
                )
            ).one_or_none()
        return None if row is None else _key(row)

    def issued_keys(self) -> list[Key]:
        """Every key, newest first."""
        table = schema.api_keys
        with self._read() as connection:
            found = connection.execute(select(*_columns(Key, table)).order_by(table.c.id.desc()))
            return [_key(row) for row in found]

    def revoke_key(self, key_id: str) -> bool:
        """Make a key useless from now on; False if there is none of this id still in use."""
        table = schema.api_keys
        with self._write() as connection:
            done = connection.execute(
                update(table)
                .where(table.c.id == key_id, table.c.revoked_ms.is_(None))
                .values(revoked_ms=DatabaseNow())
            )
        return done.rowcount == 1

    # --- populations ------------------------------------------------------------------------------

    def register_population(self, **values: Any) -> tuple[Registered, bool]:
        """Register a population under its name.

        Parameters
        ----------
        **values
            Fields of `Registered` other than `id` and `created_ms`.

        Returns
        -------
        Registered, bool
            The row, and whether it is new: the same content again is no error.

        Raises
        ------
        NameTakenError
            If the name stands for another place or other content.
        """
        table = schema.populations
        with self._write() as connection:
            row = connection.execute(
                select(table).where(table.c.name == values["name"])
            ).one_or_none()
            if row is not None:
                held: Registered = _of(Registered, row)
                same = ("location", "prefix", "population_digest")
                if any(getattr(held, name) != values[name] for name in same):
                    raise NameTakenError(
                        f"population {held.name!r} is registered with digest "
                        f"{held.population_digest[:12]}…; choose another name"
                    )
                return held, False
            new = {"id": new_id(), "created_ms": _now_ms(connection), **values}
            connection.execute(insert(table).values(new))
        return Registered(**new), True

    def population(self, name: str) -> Registered:
        """The population registered under this name or id.

        Raises
        ------
        UnknownPopulationError
        """
        table = schema.populations
        with self._read() as connection:
            row = connection.execute(
                select(table).where(or_(table.c.name == name, table.c.id == name))
            ).one_or_none()
        if row is None:
            raise UnknownPopulationError(
                "no population of this name is registered; POST /v1/populations registers one"
            )
        found: Registered = _of(Registered, row)
        return found

    def populations(self) -> list[Registered]:
        """Every population, newest first."""
        table = schema.populations
        with self._read() as connection:
            found = connection.execute(select(table).order_by(table.c.id.desc()))
            return [_of(Registered, row) for row in found]

    # --- runs, as the fronts see them -------------------------------------------------------------

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
            with self._write() as connection:
                now_ms = _now_ms(connection)
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
                        created_ms=now_ms,
                    )
                )
                connection.execute(
                    insert(table).values(
                        owner=owner,
                        key=idempotency_key,
                        payload_sha256=payload_sha256,
                        run_id=run_id,
                        created_ms=now_ms,
                    )
                )
                _append(connection, run_id, owner, "submitted", None, "queued")
        except IntegrityError:
            with self._read() as connection:
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
        table = schema.runs
        with self._read() as connection:
            row = connection.execute(select(table).where(table.c.id == run_id)).one_or_none()
        if row is None:
            raise UnknownRunError("no run has this id; GET /v1/runs lists them")
        found: Run = _of(Run, row)
        return found

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
        with self._read() as connection:
            found = connection.execute(query.order_by(table.c.id.desc()).limit(limit))
            return [_of(Run, row) for row in found]

    def request_cancel(self, run_id: str, *, actor: str) -> Run:
        """Cancel a queued run at once, ask for it on a running one, leave a finished one alone.

        Raises
        ------
        UnknownRunError
        """
        with self._write() as connection:
            run = _locked(connection, run_id)
            if run.state == "queued":
                _move(connection, run, "cancelled", actor=actor, kind="cancelled")
            elif run.state not in FINAL and not run.cancel_requested:
                connection.execute(
                    update(schema.runs)
                    .where(schema.runs.c.id == run_id)
                    .values(cancel_requested=True)
                )
                _append(connection, run_id, actor, "cancel_requested", run.state, run.state)
        return self.run(run_id)

    def events(self, run_id: str, *, after: int = 0) -> list[Event]:
        """What happened to a run after event `after`, in order."""
        table = schema.events
        with self._read() as connection:
            found = connection.execute(
                select(table)
                .where(table.c.run_id == run_id, table.c.seq > after)
                .order_by(table.c.seq)
            )
            return [_of(Event, row) for row in found]

    def record(self, run_id: str, *, actor: str, kind: str, detail: Mapping[str, Any]) -> None:
        """Append an event that moves nothing: a read of restricted results, say."""
        with self._write() as connection:
            _append(connection, run_id, actor, kind, None, None, detail)

    def states(self) -> dict[str, int]:
        """How many runs stand in each state."""
        with self._read() as connection:
            rows = connection.execute(
                select(schema.runs.c.state, func.count()).group_by(schema.runs.c.state)
            )
            return {state: int(count) for state, count in rows}

    # --- runs, as a dispatcher sees them ----------------------------------------------------------

    def lease(self, dispatcher: str, *, lease_ms: int) -> Run | None:
        """Take the oldest queued run for `lease_ms`, or None when none waits."""
        table = schema.runs
        with self._write() as connection:
            row = connection.execute(
                select(table)
                .where(table.c.state == "queued")
                .order_by(table.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return None
            run: Run = _of(Run, row)
            number = run.attempt + 1
            now_ms = _now_ms(connection)
            _move(
                connection,
                run,
                "running",
                actor=dispatcher,
                kind="started",
                detail={"attempt": number},
                attempt=number,
                shards_done=0,
                lease_owner=dispatcher,
                lease_until_ms=now_ms + lease_ms,
                started_ms=run.started_ms or now_ms,
            )
            connection.execute(
                insert(schema.attempts).values(
                    run_id=run.id, number=number, dispatcher=dispatcher, started_ms=now_ms
                )
            )
        return self.run(run.id)

    def heartbeat(self, run: Run, *, lease_ms: int) -> Run | None:
        """Hold the lease for another `lease_ms`; None if it was lost."""
        table = schema.runs
        with self._write() as connection:
            kept = connection.execute(
                update(table)
                .where(*_held_by(run))
                .values(lease_until_ms=_now_ms(connection) + lease_ms)
            )
            if kept.rowcount == 0:
                return None
        return self.run(run.id)

    def progress(self, run: Run, shards_done: int, shards_total: int) -> None:
        """Note how far an attempt is."""
        with self._write() as connection:
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

        A success that meets a wish to cancel ends as cancelled: whoever asked was told so.

        Returns
        -------
        Run or None
            None if the lease was lost: what this attempt made must not be seen.
        """
        with self._write() as connection:
            now = _locked(connection, run.id)
            if not _holds(now, run):
                return None
            if now.cancel_requested and state == "succeeded":
                state, digest = "cancelled", None
            _end_attempt(connection, now, state)
            _move(
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
        return self.run(run.id)

    def release(self, run: Run) -> None:
        """Put a run back into the queue: its dispatcher stops in good order."""
        with self._write() as connection:
            now = _locked(connection, run.id)
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
        with self._write() as connection:
            gone = table.c.lease_until_ms < DatabaseNow()
            if dead is not None:
                gone = or_(gone, table.c.lease_owner.startswith(dead, autoescape=True))
            rows = connection.execute(
                select(table).where(table.c.state == "running", gone).with_for_update()
            ).all()
            for row in rows:
                run: Run = _of(Run, row)
                moved.append(run.id)
                _end_attempt(connection, run, "lost")
                losses = run.losses + 1
                if run.cancel_requested:
                    _move(connection, run, "cancelled", actor=actor, kind="cancelled")
                elif losses >= MAX_LOSSES:
                    _move(
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


def _key(row: Row[Any]) -> Key:
    key: Key = _of(Key, row)
    return Key(**{**vars(key), "scopes": tuple(key.scopes)})


def _now_ms(connection: Connection) -> int:
    return int(connection.execute(select(DatabaseNow())).scalar_one())


def _locked(connection: Connection, run_id: str) -> Run:
    row = connection.execute(
        select(schema.runs).where(schema.runs.c.id == run_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise UnknownRunError("no run has this id; GET /v1/runs lists them")
    found: Run = _of(Run, row)
    return found


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


def _move(
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
    check(run.state, state)
    if state in FINAL:
        values |= {
            "finished_ms": _now_ms(connection),
            "lease_owner": None,
            "lease_until_ms": None,
            "detail": detail_text,
        }
    connection.execute(
        update(schema.runs).where(schema.runs.c.id == run.id).values(state=state, **values)
    )
    _append(connection, run.id, actor, kind, run.state, state, detail or {})


def _requeue(connection: Connection, run: Run, *, actor: str, kind: str, **values: Any) -> None:
    values |= {"lease_owner": None, "lease_until_ms": None, "shards_done": 0}
    _move(connection, run, "queued", actor=actor, kind=kind, **values)


def _end_attempt(connection: Connection, run: Run, outcome: str) -> None:
    table = schema.attempts
    connection.execute(
        update(table)
        .where(table.c.run_id == run.id, table.c.number == run.attempt)
        .values(ended_ms=DatabaseNow(), outcome=outcome)
    )


def _append(
    connection: Connection,
    run_id: str,
    actor: str,
    kind: str,
    from_state: State | None,
    to_state: State | None,
    detail: Mapping[str, Any] | None = None,
) -> None:
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


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        url,
        pool_size=16,
        max_overflow=32,
        connect_args={"timeout": BUSY_S, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    # A reader that becomes a writer fails at once when another wrote in between, so a transaction
    # says from the start which of the two it is.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("ihp_read_only")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _migrate(engine: Engine) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:  # one writer at a time: two processes may open at once
        script = ScriptDirectory.from_config(config)
        found = MigrationContext.configure(connection).get_current_revision()
        if found == script.get_current_head():
            return
        if found is not None and found not in {step.revision for step in script.walk_revisions()}:
            raise InfrastructureError(
                f"the database stands at step {found}, which this program does not know; "
                "use the newer program that wrote it"
            )
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")
