"""What must come out of a synthetic state: lines and dollars by table and fate, and by history."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ihp_compute.ledger import CLAIM_TABLES, IngestFate
from ihp_compute.synth.columns import Array, Ints
from ihp_compute.synth.histories import PLANTED, Kind

_N_KINDS, _N_FATES = len(PLANTED), len(IngestFate)


@dataclass(frozen=True)
class Answers:
    """Known answers of some claims; those of several blocks add up.

    claims : int64[kinds], claims that met each kind of `PLANTED`
    ledger : int64[claim tables, fates, 2], lines and paid cents
    histories : int64[kinds, fates, 2], likewise, of the rows that belong to each kind
    """

    claims: Ints
    ledger: Ints
    histories: Ints

    @classmethod
    def none(cls) -> Answers:
        """Of no claims."""
        return cls.of(np.zeros(_N_KINDS, np.int64))

    @classmethod
    def of(cls, claims: Ints, *parts: tuple[Array, Array, Array, Ints]) -> Answers:
        """Of rows in parts, each (place in `CLAIM_TABLES`, fate, kind or -1, paid cents)."""
        ledger = np.zeros((len(CLAIM_TABLES), _N_FATES, 2), np.int64)
        histories = np.zeros((_N_KINDS, _N_FATES, 2), np.int64)
        for table, fate, kind, cents in parts:
            some = np.flatnonzero(kind >= 0)
            _count(ledger, table, fate, cents)
            _count(histories, kind[some], fate[some], cents[some])
        return cls(claims, ledger, histories)

    def __add__(self, other: Answers) -> Answers:
        """Of both."""
        return Answers(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def by_table(self) -> dict[str, dict[str, dict[str, int]]]:
        """The ledger: lines and paid cents by table and fate."""
        return {
            table: {
                fate.label: {"lines": int(lines), "paid_cents": int(cents)}
                for fate, (lines, cents) in zip(IngestFate, of, strict=True)
            }
            for table, of in zip(CLAIM_TABLES, self.ledger, strict=True)
        }

    @property
    def by_history(self) -> dict[str, dict[str, Any]]:
        """Of each kind its meaning, claims, lines by fate, and the cents that stand.

        Where an option reads the kind in another way, what stands then too.
        """
        return {kind.name: self._of(place, kind) for place, kind in enumerate(PLANTED)}

    def _of(self, place: int, kind: Kind) -> dict[str, Any]:
        lines, cents = self.histories[place].T
        stands = int(cents[IngestFate.RETAINED])
        found: dict[str, Any] = {
            "meaning": kind.meaning,
            "claims": int(self.claims[place]),
            "lines": {fate.label: int(lines[fate]) for fate in IngestFate if lines[fate]},
            "retained_cents": stands,
        }
        if kind.other_reading:
            more = int(cents[IngestFate.SUPERSEDED] + cents[IngestFate.DUPLICATE])
            found["retained_cents_if"] = {kind.other_reading: stands + more}
        return found


def _count(into: Ints, first: Array, fate: Array, cents: Ints) -> None:
    """Add lines and cents by a number and a fate; exact, as cents of a block stay below 2^53."""
    cell = first.astype(np.int64) * _N_FATES + fate
    size, shape = len(into) * _N_FATES, into.shape[:2]
    into[..., 0] += np.bincount(cell, minlength=size).reshape(shape)
    sums = np.bincount(cell, cents.astype(np.float64), size)
    into[..., 1] += sums.astype(np.int64).reshape(shape)
