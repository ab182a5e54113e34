"""What a process has measured, by content: a run of other settlement terms takes it as it stands.

    how shards are measured + who settles + programme + population -> SHA-256
        -> sums of all shards, and the files of them of the run that they were measured for

The name is made of what is sent to the shards (`Plan.for_shards`), so that no term can be forgotten
in it: one that is not sent is none that they read. Sums stand in memory, in a form that nobody can
change; member-years and totals stay where their run wrote them, believed by their SHA-256. So do
the tables that other terms may leave as they were, whose rows stand in memory too.

Decided here: what is kept, and how much of it. Not here: when it is taken (`pipeline`).
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from ihp_compute.content import content_sha256
from ihp_compute.measure import Measured, Plan, ProgrammePart
from ihp_compute.results import TableFile

MOST_BYTES: Final = 512 << 20
"""Of all sums that a process keeps."""

Ways = Sequence[tuple[Plan, Measured]]
"""Each measurement of a run: its plan, with completion where costs are completed, and its sums."""


@dataclass(frozen=True)
class _Kept:
    """Sums with their arrays apart, which whoever unpickles them shares and cannot change."""

    pickled: bytes
    arrays: Sequence[bytes]
    files: Sequence[TableFile]

    @property
    def n_bytes(self) -> int:
        tables = (file.table.nbytes for file in self.files if file.table is not None)
        return len(self.pickled) + sum(map(len, self.arrays)) + sum(tables)


class MeasuredBefore:
    """Measured parts of the runs of a process; those not asked for the longest go first.

    Parameters
    ----------
    most_bytes : int
        Of all sums together.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, sha256: str, ways: Sequence[Plan]) -> tuple[Ways, Sequence[TableFile]] | None:
        """What these measurements came to, without member-years, and the files of them."""
        with self._lock:
            kept = self._kept.get(sha256)
            if kept is None:
                return None
            self._kept.move_to_end(sha256)
        parts = pickle.loads(kept.pickled, buffers=kept.arrays)  # noqa: S301 (of this process)
        found = [
            (_completed(way, *completion), measured)
            for way, (completion, measured) in zip(ways, parts, strict=True)
        ]
        return found, kept.files

    def keep(
        self, sha256: str, ways: Sequence[Plan], found: Ways, files: Sequence[TableFile]
    ) -> None:
        """Keep what measurements came to, once their run stands, or that its files stand there.

        Arrays are copied: those that came from workers lie in memory that the cluster needs.
        """
        with self._lock:
            known = self._kept.pop(sha256, None)
            if known is not None:
                self._kept[sha256] = replace(known, files=files)
                return
        arrays: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(
            [
                (
                    (complete.completion.parts, complete.notes[len(way.notes) :]),
                    replace(measured, member_years=()),
                )
                for way, (complete, measured) in zip(ways, found, strict=True)
            ],
            protocol=5,
            buffer_callback=arrays.append,
        )
        kept = _Kept(pickled, [bytes(array.raw()) for array in arrays], files)
        with self._lock:
            self._kept[sha256] = kept
            while sum(one.n_bytes for one in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)


def measuring_sha256(ways: Sequence[Plan], programme: Sequence[ProgrammePart]) -> str:
    """The name of what these measurements come to, with the parts of a programme in the first."""
    settles = tuple(
        tuple(way.contracts.settles(group) for group in way.roster.groups) for way in ways
    )
    population = ways[0].shards[0].population_sha256
    return content_sha256(
        (population, settles, tuple(programme), tuple(way.for_shards() for way in ways))
    )


def _completed(
    way: Plan, parts: Mapping[tuple[int, int, int], Fraction], notes: Sequence[str]
) -> Plan:
    return way.completed_by(parts, notes) if way.completes else way
