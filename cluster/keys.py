"""API keys as the database holds them: an HMAC each, never the key itself.

Not here: how a key is made and hashed, what a scope allows (`api.auth`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from cluster.audit import COMMAND_LINE, Actor, append, in_turn
from cluster.database import AWAY, Database, columns, new_id, now_ms, row_as
from cluster.schema import DatabaseNow, api_keys

DAY_MS: Final = 86_400_000
_PRINTED: Final = "printed by ihp serve"
"""Note of the keys that were made at each start, before the operator had one."""
USED_MS: Final = 60_000
"""How long a noted use of a key is good enough: one write a minute, however often it is used."""


class UnknownKeyError(Exception):
    """No key has this id."""


@dataclass(frozen=True)
class Key:
    """An API key without its secret; times in milliseconds since 1970."""

    id: str
    owner: str
    note: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int
    revoked_ms: int | None
    last_used_ms: int | None
    operator: bool


def in_use() -> ColumnElement[bool]:
    """Whether a key is good: neither revoked nor expired, by the clock of the database."""
    return and_(api_keys.c.revoked_ms.is_(None), api_keys.c.expires_ms > DatabaseNow())


class Keys:
    """The API keys of a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        key_hmac: str,
        *,
        owner: str,
        note: str,
        scopes: Sequence[str],
        days: int,
        operator: bool = False,
        by: Actor = COMMAND_LINE,
    ) -> str:
        """Keep an API key's HMAC; returns the key's id.

        Parameters
        ----------
        key_hmac, owner, note : str
        scopes : sequence of str
        days : int
            How long it is good.
        operator : bool
            Whether it is the operator's: the one before it is revoked.
        by : Actor
            Who makes it.
        """
        key_id = new_id()
        with self._database.write() as connection:
            in_turn(connection)
            created_ms = now_ms(connection)
            if operator:
                before = api_keys.c.operator | (api_keys.c.note == _PRINTED)
                _revoke(connection, before, by)
            connection.execute(
                insert(api_keys).values(
                    id=key_id,
                    owner=owner,
                    note=note,
                    scopes=list(scopes),
                    key_hmac=key_hmac,
                    created_ms=created_ms,
                    expires_ms=created_ms + days * DAY_MS,
                    operator=operator,
                )
            )
            append(connection, by, "key_made", subject=key_id)
        return key_id

    def find(self, key_hmac: str) -> Key | None:
        """The key with this HMAC, unless it is unknown, expired or revoked."""
        return self._in_use(api_keys.c.key_hmac == key_hmac)

    def in_use(self, key_id: str) -> Key | None:
        """The key of this id, unless it is unknown, expired or revoked."""
        return self._in_use(api_keys.c.id == key_id)

    def _in_use(self, which: ColumnElement[bool]) -> Key | None:
        table = api_keys
        with self._database.read() as connection:
            row = connection.execute(
                select(*columns(Key, table), DatabaseNow().label("now_ms")).where(which, in_use())
            ).one_or_none()
        if row is None:
            return None
        if row.last_used_ms is None or row.now_ms - row.last_used_ms > USED_MS:
            self._note_use(row.id)
        return _key(row)

    def _note_use(self, key_id: str) -> None:
        """Note that a key is used, unless somebody writes: whoever uses it waits for nobody."""
        with contextlib.suppress(*AWAY), self._database.write(wait_s=0) as connection:
            connection.execute(
                update(api_keys).where(api_keys.c.id == key_id).values(last_used_ms=DatabaseNow())
            )

    def issued(self, *, limit: int | None = None, before: str | None = None) -> list[Key]:
        """Keys, newest first, those older than `before` (an id)."""
        table = api_keys
        query = select(*columns(Key, table)).order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def of_id(self, key_id: str) -> Key:
        """The key of this id, in use or not.

        Raises
        ------
        UnknownKeyError
        """
        table = api_keys
        with self._database.read() as connection:
            row = connection.execute(
                select(*columns(Key, table)).where(table.c.id == key_id)
            ).one_or_none()
        if row is None:
            raise UnknownKeyError("no key has this id; GET /v1/keys lists them")
        return _key(row)

    def has_operator(self) -> bool:
        """Whether an operator's key was ever made, in use or not."""
        with self._database.read() as connection:
            found = connection.execute(select(api_keys.c.id).where(api_keys.c.operator).limit(1))
            return found.one_or_none() is not None

    def revoke(self, key_id: str, *, by: Actor = COMMAND_LINE) -> bool:
        """Make a key useless from now on; False if there is none of this id still in use."""
        with self._database.write() as connection:
            in_turn(connection)
            return bool(_revoke(connection, api_keys.c.id == key_id, by))


def _revoke(connection: Connection, which: ColumnElement[bool], by: Actor) -> int:
    """Revoke the keys in use that a condition names; how many."""
    table = api_keys
    found = connection.scalars(select(table.c.id).where(which, table.c.revoked_ms.is_(None))).all()
    for key_id in found:
        connection.execute(
            update(table).where(table.c.id == key_id).values(revoked_ms=DatabaseNow())
        )
        append(connection, by, "key_revoked", subject=key_id)
    return len(found)


def _key(row: Any) -> Key:
    key = row_as(Key, row)
    return Key(**{**vars(key), "scopes": tuple(key.scopes)})
