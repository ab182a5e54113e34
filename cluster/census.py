"""How many runs stand where, how long they take and why they fail, over the whole database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import case, func, select

from cluster.database import Database
from cluster.schema import DatabaseNow, runs
from cluster.states import FINAL, STATES

RUN_SECONDS: Final = (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
"""Upper edges of the classes that durations are counted in, in seconds."""
KINDS: Final = ("run", "sweep")


@dataclass(frozen=True)
class Seconds:
    """How long runs took: how many in all, up to each edge of `RUN_SECONDS`, and together."""

    n_runs: int
    up_to: tuple[int, ...]
    total_s: float


@dataclass(frozen=True)
class Counted:
    """One count; keys are kind and state, or kind and reason."""

    by_state: dict[tuple[str, str], int]
    oldest_queued_s: dict[str, float]
    seconds: dict[tuple[str, str], Seconds]
    failures: dict[tuple[str, str], int]


class Census:
    """Counts runs.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> Counted:
        """Every run that was ever submitted, in one look at the database."""
        took_ms = runs.c.finished_ms - runs.c.started_ms
        up_to = [
            func.sum(case((took_ms <= int(edge * 1000), 1), else_=0)).label(f"up_to_{n}")
            for n, edge in enumerate(RUN_SECONDS)
        ]
        with self._database.read() as connection:
            rows = connection.execute(
                select(
                    runs.c.kind,
                    runs.c.state,
                    func.count().label("n_runs"),
                    func.count(took_ms).label("n_timed"),
                    func.coalesce(func.sum(took_ms), 0).label("total_ms"),
                    *up_to,
                ).group_by(runs.c.kind, runs.c.state)
            ).all()
            queued = connection.execute(
                select(runs.c.kind, DatabaseNow() - func.min(runs.c.created_ms))
                .where(runs.c.state == "queued")
                .group_by(runs.c.kind)
            ).all()
            failed = connection.execute(
                select(runs.c.kind, func.coalesce(runs.c.reason, "unknown"), func.count())
                .where(runs.c.state == "failed")
                .group_by(runs.c.kind, runs.c.reason)
            ).all()
        by_state: dict[tuple[str, str], int] = {
            (kind, state): 0 for kind in KINDS for state in STATES
        }
        by_state |= {(row.kind, row.state): int(row.n_runs) for row in rows}
        seconds = {
            (row.kind, row.state): Seconds(
                int(row.n_timed),
                tuple(int(getattr(row, f"up_to_{n}")) for n in range(len(RUN_SECONDS))),
                int(row.total_ms) / 1000,
            )
            for row in rows
            if row.state in FINAL
        }
        oldest = dict.fromkeys(KINDS, 0.0)
        oldest |= {kind: max(0, age_ms) / 1000 for kind, age_ms in queued}
        return Counted(by_state, oldest, seconds, {(k, r): int(n) for k, r, n in failed})
