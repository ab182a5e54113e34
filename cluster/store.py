"""A service's memory, which survives every process: one database in its parts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from cluster.audit import Audit
from cluster.census import Census
from cluster.contract_versions import ContractVersions
from cluster.database import Database, now_ms
from cluster.home import Home
from cluster.keys import Keys
from cluster.leases import Leases
from cluster.news import News
from cluster.queue import Queue
from cluster.registry import Registry
from cluster.schema import belongs
from ihp_compute.errors import InfrastructureError

_ONLY: Final = 1


class Store:
    """One database, opened once in each process, and its parts.

    Parameters
    ----------
    url : str
        SQLAlchemy URL; see `Database`.
    owner : Home, optional
        Whose this database is from now on, if it does not lie in a home; see `claim`.

    Attributes
    ----------
    keys : Keys
        Who may ask.
    registry : Registry
        Populations by name.
    queue : Queue
        Runs, as whoever asks for them sees them.
    leases : Leases
        Runs, as whoever works on them sees them.
    census : Census
        How many runs stand where.
    audit : Audit
        What was done by whom.
    contracts : ContractVersions
        Contracts that were sent, by name and version.
    news : News
        What happens to runs, for whoever watches.

    Raises
    ------
    InfrastructureError
        If the database cannot be opened, is newer than this program, or is another home's.
    """

    def __init__(self, url: str, *, owner: Home | None = None) -> None:
        self._database = Database(url)
        self.keys = Keys(self._database)
        self.registry = Registry(self._database)
        self.queue = Queue(self._database)
        self.leases = Leases(self._database)
        self.census = Census(self._database)
        self.audit = Audit(self._database)
        self.contracts = ContractVersions(self._database)
        self.news = News(self._database)
        if owner is not None:
            try:
                self.claim(owner)
            except BaseException:
                self.close()
                raise

    def claim(self, home: Home) -> None:
        """Say that this database is a home's; the first home that says so has it for good.

        Results, and the secret that keys are hashed with, lie in the home: of two on one database
        each would be told of results that it does not have.

        Parameters
        ----------
        home : Home

        Raises
        ------
        InfrastructureError
            If it is another's.
        """
        mine = home.identity()
        try:
            with self._database.write() as connection:
                held = connection.execute(select(belongs.c.home)).scalar_one_or_none()
                if held is None:
                    connection.execute(
                        insert(belongs).values(id=_ONLY, home=mine, since_ms=now_ms(connection))
                    )
        except IntegrityError:  # another was first, a moment ago
            with self._database.read() as connection:
                held = connection.execute(select(belongs.c.home)).scalar_one()
        if held not in (None, mine):
            raise InfrastructureError(
                f"{home.path}: the database belongs to another home, where its results lie; name "
                "that home with --home, or give this one a database of its own in IHP_DATABASE_URL"
            )

    def close(self) -> None:
        """Give every connection back."""
        self._database.close()
