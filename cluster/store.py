"""A service's memory, which survives every process: one database in four parts."""

from __future__ import annotations

from cluster.database import Database
from cluster.keys import Keys
from cluster.leases import Leases
from cluster.queue import Queue
from cluster.registry import Registry


class Store:
    """One database, opened once in each process, and its parts.

    Parameters
    ----------
    url : str
        SQLAlchemy URL; see `Database`.

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

    Raises
    ------
    InfrastructureError
        If the database cannot be opened or is newer than this program.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.keys = Keys(self._database)
        self.registry = Registry(self._database)
        self.queue = Queue(self._database)
        self.leases = Leases(self._database)

    def close(self) -> None:
        """Give every connection back."""
        self._database.close()
