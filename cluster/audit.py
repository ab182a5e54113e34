"""What was done through the service by whom: rows that are appended and never changed.

    an actor -> an action, done or refused -> one row, in the transaction of what it tells of
        -> its SHA-256, taken over the row and the SHA-256 of the row before

Reads of restricted results and refusals of them, keys made and revoked, runs cancelled, accepted
and certified, populations and contracts registered. The database itself refuses to change or
remove a row, and whoever gets around that breaks the chain: `Audit.chain` says from where. What it
cannot tell is whether the last rows were cut off, or all were written anew; for that somebody keeps
a SHA-256 elsewhere, and asks for it. No row holds member data.

Not here: what happened to a run, step by step (`runs`), which requests came (the log).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, func, insert, select

from cluster.database import Database, columns, now_ms, row_as
from cluster.schema import audit

Outcome: TypeAlias = Literal["done", "refused"]
Action: TypeAlias = Literal[
    "request",
    "member_rows_read",
    "key_made",
    "key_revoked",
    "run_cancelled",
    "run_accepted",
    "run_certified",
    "population_registered",
    "population_removed",
    "contract_version_made",
]
"""What is kept; `request` is a request refused for want of a scope, or of being the owner."""


@dataclass(frozen=True)
class Actor:
    """Who does something, by which key, in which request; on the command line there is no key."""

    owner: str
    key_id: str | None = None
    route: str = ""
    request_id: str = ""


COMMAND_LINE: Final = Actor("command line")
"""Whoever may use the commands on the machine itself."""
_IN_TURN: Final = 7_145_319
"""Lock of PostgreSQL under which rows are appended: a number that nobody else uses there."""
_PART: Final = 1000
"""Rows of the chain that are looked at together."""


@dataclass(frozen=True)
class Entry:
    """One thing that somebody did, or was refused; time in milliseconds since 1970."""

    seq: int
    at_ms: int
    owner: str
    key_id: str | None
    action: Action
    outcome: Outcome
    route: str
    run_id: str | None
    result_table: str | None
    subject: str | None
    request_id: str
    sha256: str


_SAID: Final = frozenset(field.name for field in fields(Entry)) - {"seq", "sha256"}
"""The columns that a row's SHA-256 is of."""


@dataclass(frozen=True)
class Chain:
    """How the rows hang together.

    Attributes
    ----------
    entries : int
        How many there are.
    last : tuple of int and str, optional
        `seq` and SHA-256 of the last one; None of none.
    broken_at : int, optional
        `seq` of the first one that does not follow from the row before it, or is not what was
        written.
    has_seen : bool
        Whether a row that somebody kept elsewhere stands in it; true where none was asked for.
    """

    entries: int
    last: tuple[int, str] | None
    broken_at: int | None
    has_seen: bool

    @property
    def valid(self) -> bool:
        """Whether nothing was changed, and nothing taken out, as far as a chain can tell."""
        return self.broken_at is None and self.has_seen


def in_turn(connection: Connection) -> None:
    """Wait for whoever appends a row now; until the transaction ends nobody else does.

    What reads, decides and then writes takes its turn before it reads. SQLite has one writer.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(_IN_TURN)))


def append(
    connection: Connection,
    actor: Actor,
    action: Action,
    *,
    outcome: Outcome = "done",
    run_id: str | None = None,
    result_table: str | None = None,
    subject: str | None = None,
) -> None:
    """Append a row in the transaction that does what the row tells of.

    Parameters
    ----------
    connection : Connection
    actor : Actor
    action : Action
    outcome : Outcome
    run_id, result_table : str, optional
        The run or sweep, and the table of results, that it was about.
    subject : str, optional
        The key, population or contract that it was about.
    """
    in_turn(connection)
    last = select(audit.c.sha256).order_by(audit.c.seq.desc()).limit(1)
    before = connection.execute(last).scalar_one_or_none()
    said = {
        "at_ms": now_ms(connection),
        "owner": actor.owner,
        "key_id": actor.key_id,
        "action": action,
        "outcome": outcome,
        "route": actor.route[:200],
        "run_id": _short(run_id),
        "result_table": _short(result_table),
        "subject": _short(subject),
        "request_id": actor.request_id,
    }
    connection.execute(insert(audit).values(**said, sha256=_sha256(said, before)))


def _sha256(said: dict[str, Any], before: str | None) -> str:
    """SHA-256 of a row's columns, but its number, and of the row before, as JSON sorted by name.

    >>> _sha256({"owner": "ann"}, None)[:16]
    'b401aa86fc6651ca'
    """
    text = json.dumps({**said, "before": before}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _short(text: str | None) -> str | None:
    """What a column of names holds: a caller may have put anything into a path."""
    return None if text is None else "".join(c if c.isprintable() else "?" for c in text)[:200]


class Audit:
    """What was done through a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, actor: Actor, action: Action, **about: Any) -> None:
        """Append a row in a transaction of its own; `about` as in `append`."""
        with self._database.write() as connection:
            append(connection, actor, action, **about)

    def entries(
        self,
        *,
        limit: int,
        before: int | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        **equal: str | None,
    ) -> list[Entry]:
        """Rows, newest first.

        Parameters
        ----------
        limit : int
        before : int, optional
            Rows older than the one of this `seq`.
        since_ms, until_ms : int, optional
            From this time on, and before that.
        **equal
            Columns and what they must hold; None is no condition.
        """
        query = select(*columns(Entry, audit))
        if before is not None:
            query = query.where(audit.c.seq < before)
        if since_ms is not None:
            query = query.where(audit.c.at_ms >= since_ms)
        if until_ms is not None:
            query = query.where(audit.c.at_ms < until_ms)
        for name, value in equal.items():
            if value is not None:
                query = query.where(audit.c[name] == value)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(audit.c.seq.desc()).limit(limit))
            return [row_as(Entry, row) for row in found]

    def chain(self, seen: tuple[int, str] | None = None) -> Chain:
        """Look at every row, the oldest first.

        Parameters
        ----------
        seen : tuple of int and str, optional
            `seq` and SHA-256 of a row that somebody kept elsewhere.

        Returns
        -------
        Chain
        """
        n_entries, last, broken_at, has_seen = 0, None, None, seen is None
        before: str | None = None
        query = select(*columns(Entry, audit)).order_by(audit.c.seq)
        with self._database.read() as connection:
            found = connection.execution_options(yield_per=_PART).execute(query)
            for entry in (row_as(Entry, row) for row in found):
                said = {name: value for name, value in vars(entry).items() if name in _SAID}
                if broken_at is None and entry.sha256 != _sha256(said, before):
                    broken_at = entry.seq
                before = entry.sha256
                last = (entry.seq, entry.sha256)
                has_seen = has_seen or last == seen
                n_entries += 1
        return Chain(n_entries, last, broken_at, has_seen)
