"""API keys as the database holds them: an HMAC each, never the key itself.

Not here: how a key is made and hashed, what a scope allows (`api.auth`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, insert, select, update

from cluster.database import Database, columns, new_id, now_ms, row_as
from cluster.schema import DatabaseNow, api_keys

DAY_MS: Final = 86_400_000


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


class Keys:
    """The API keys of a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key_hmac: str, *, owner: str, note: str, scopes: Sequence[str], days: int) -> str:
        """Keep an API key's HMAC; returns the key's id."""
        key_id = new_id()
        with self._database.write() as connection:
            created_ms = now_ms(connection)
            connection.execute(
                insert(api_keys).values(
                    id=key_id,
                    owner=owner,
                    note=note,
                    scopes=list(scopes),
                    key_hmac=key_hmac,
                    created_ms=created_ms,
                    expires_ms=created_ms + days * DAY_MS,
                )
            )
        return key_id

    def find(self, key_hmac: str) -> Key | None:
        """The key with this HMAC, unless it is unknown, expired or revoked."""
        table = api_keys
        with self._database.read() as connection:
            row = connection.execute(
                select(*columns(Key, table)).where(
                    table.c.key_hmac == key_hmac,
                    table.c.revoked_ms.is_(None),
                    table.c.expires_ms > DatabaseNow(),
                )
            ).one_or_none()
        return None if row is None else _key(row)

    def issued(self) -> list[Key]:
        """Every key, newest first."""
        table = api_keys
        with self._database.read() as connection:
            found = connection.execute(select(*columns(Key, table)).order_by(table.c.id.desc()))
            return [_key(row) for row in found]

    def revoke(self, key_id: str) -> bool:
        """Make a key useless from now on; False if there is none of this id still in use."""
        table = api_keys
        with self._database.write() as connection:
            done = connection.execute(
                update(table)
                .where(table.c.id == key_id, table.c.revoked_ms.is_(None))
                .values(revoked_ms=DatabaseNow())
            )
        return done.rowcount == 1


def _key(row: Row[Any]) -> Key:
    key = row_as(Key, row)
    return Key(**{**vars(key), "scopes": tuple(key.scopes)})
