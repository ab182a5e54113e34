"""Contracts that were sent to the service: each text kept under a name, as version 1, 2 ….

A version is never changed and never goes. The database has the texts; a file of one is made below
the home where a process wants to read it, and made again if it is not the text that was kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, insert, select

from cluster.audit import Actor, append, in_turn
from cluster.database import Database, columns, new_id, now_ms, row_as
from cluster.schema import contracts
from ihp_compute.publishing import whole


class UnknownVersionError(Exception):
    """No contract of this name and version is kept."""


@dataclass(frozen=True)
class Version:
    """One version of a contract; time in milliseconds since 1970."""

    name: str
    version: int
    toml: str
    toml_sha256: str
    owner: str
    created_ms: int

    @property
    def full_name(self) -> str:
        """NAME@n, which means this text for ever."""
        return f"{self.name}@{self.version}"

    def file(self, folder: Path) -> Path:
        """The text as a file of a folder, made if it is not there as it was kept."""
        path = folder / f"{self.full_name}.toml"
        content = self.toml.encode()
        try:
            if path.read_bytes() == content:
                return path
        except FileNotFoundError:
            folder.mkdir(mode=0o700, exist_ok=True)
        with whole(path) as draft:
            draft.write_bytes(content)
        return path


class ContractVersions:
    """The contracts that were sent to a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, toml: str, *, by: Actor) -> tuple[Version, bool]:
        """Keep a text as the next version of a name.

        Parameters
        ----------
        name, toml : str
        by : Actor
            Who sends it.

        Returns
        -------
        Version, bool
            The version, and whether it is new: the latest text again is no version more.
        """
        sha256 = hashlib.sha256(toml.encode()).hexdigest()
        with self._database.write() as connection:
            in_turn(connection)  # or two would make one number
            row = connection.execute(
                select(*columns(Version, contracts))
                .where(contracts.c.name == name)
                .order_by(contracts.c.version.desc())
                .limit(1)
            ).one_or_none()
            held = None if row is None else row_as(Version, row)
            if held is not None and held.toml_sha256 == sha256:
                return held, False
            number = 1 if held is None else held.version + 1
            made = Version(name, number, toml, sha256, by.owner, now_ms(connection))
            connection.execute(insert(contracts).values(id=new_id(), **vars(made)))
            append(connection, by, "contract_version_made", subject=made.full_name)
        return made, True

    def find(self, name: str, version: int | None = None) -> Version:
        """A version of a contract; the latest unless one is named.

        Raises
        ------
        UnknownVersionError
        """
        query = select(*columns(Version, contracts)).where(contracts.c.name == name)
        if version is not None:
            query = query.where(contracts.c.version == version)
        with self._database.read() as connection:
            row = connection.execute(
                query.order_by(contracts.c.version.desc()).limit(1)
            ).one_or_none()
        if row is None:
            raise UnknownVersionError(
                "no contract of this name and version is kept; GET /v1/contracts lists them"
            )
        return row_as(Version, row)

    def latest(self) -> list[Version]:
        """The latest version of every name, by name."""
        newest = (
            select(contracts.c.name, func.max(contracts.c.version).label("version"))
            .group_by(contracts.c.name)
            .subquery()
        )
        query = select(*columns(Version, contracts)).join(
            newest,
            (contracts.c.name == newest.c.name) & (contracts.c.version == newest.c.version),
        )
        with self._database.read() as connection:
            found = connection.execute(query.order_by(contracts.c.name))
            return [row_as(Version, row) for row in found]

    def versions(self, name: str, *, limit: int, before: int | None = None) -> list[Version]:
        """Versions of a name, newest first, those before one."""
        query = select(*columns(Version, contracts)).where(contracts.c.name == name)
        if before is not None:
            query = query.where(contracts.c.version < before)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(contracts.c.version.desc()).limit(limit))
            return [row_as(Version, row) for row in found]
