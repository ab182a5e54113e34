"""Registered populations: which prepared folder a name stands for, and what it held then.

Not here: what a prepared folder is (`ihp_compute.population`), where it may lie
(`api.populations`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, or_, select

from cluster.audit import Actor, append, in_turn
from cluster.database import Database, new_id, now_ms, row_as
from cluster.schema import populations


class UnknownPopulationError(Exception):
    """No population is registered under this name."""


class NameTakenError(Exception):
    """A population of this name is registered with other content."""


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


class Registry:
    """The populations of a service.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, *, by: Actor, **values: Any) -> tuple[Registered, bool]:
        """Register a population under its name.

        Parameters
        ----------
        by : Actor
            Who registers it, and owns what is new.
        **values
            Fields of `Registered` other than `id`, `owner` and `created_ms`.

        Returns
        -------
        Registered, bool
            The row, and whether it is new: the same content again is no error.

        Raises
        ------
        NameTakenError
            If the name stands for another place or other content.
        """
        with self._database.write() as connection:
            in_turn(connection)  # two may register one name at once
            row = connection.execute(
                select(populations).where(populations.c.name == values["name"])
            ).one_or_none()
            if row is not None:
                held = row_as(Registered, row)
                same = ("location", "prefix", "population_digest")
                if any(getattr(held, name) != values[name] for name in same):
                    raise NameTakenError(
                        f"population {held.name!r} is registered with digest "
                        f"{held.population_digest[:12]}…; choose another name"
                    )
                return held, False
            new = {
                "id": new_id(), "owner": by.owner, "created_ms": now_ms(connection), **values,
            }  # fmt: skip
            connection.execute(insert(populations).values(new))
            append(connection, by, "population_registered", subject=values["name"])
        return Registered(**new), True

    def find(self, name: str) -> Registered:
        """The population registered under this name or id.

        Raises
        ------
        UnknownPopulationError
        """
        table = populations
        with self._database.read() as connection:
            row = connection.execute(
                select(table).where(or_(table.c.name == name, table.c.id == name))
            ).one_or_none()
        if row is None:
            raise UnknownPopulationError(
                "no population of this name is registered; POST /v1/populations registers one"
            )
        return row_as(Registered, row)

    def registered(self, *, limit: int, before: str | None = None) -> list[Registered]:
        """Populations, newest first, those older than `before` (an id)."""
        query = select(populations).order_by(populations.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(populations.c.id < before)
        with self._database.read() as connection:
            return [row_as(Registered, row) for row in connection.execute(query)]

    def remove(self, held: Registered, *, by: Actor) -> None:
        """Forget a population; its folder stays, and so do runs of it."""
        with self._database.write() as connection:
            gone = connection.execute(delete(populations).where(populations.c.id == held.id))
            if gone.rowcount:
                append(connection, by, "population_removed", subject=held.name)
