"""What is known of members beside claims: the flags of the table `member_factors`, on a day.

    rows of a person and days, each flag yes, no or blank -> by member, the flags that hold

A flag that no row in force on the day says, or that says nothing, does not hold; how many members
no row is in force for is counted by whoever asks. Rows of one member add up: yes stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import MEMBER_FACTORS
from ihp_compute.errors import RiskModelError
from ihp_compute.input_columns import YES
from ihp_compute.population import Population, ShardColumns, member_keys
from ihp_compute.units import day_of

FAR_DAY = 2**31 - 1


@dataclass(frozen=True)
class MemberFactors:
    """Rows of `member_factors`, by key; small, picklable.

    Attributes
    ----------
    key : uint64[n]
        Ascending.
    first_day, last_day : int32[n]
        Days between which a row holds, both included.
    bits : uint8[n]
        Bit i: the row says yes to `MEMBER_FACTORS[i]`.
    """

    key: NDArray[np.uint64]
    first_day: NDArray[np.int32]
    last_day: NDArray[np.int32]
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, population: Population) -> MemberFactors:
        """The factors of a population.

        Raises
        ------
        RiskModelError
            If it has none.
        """
        table = population.reference("member_factors")
        if table is None:
            raise RiskModelError(
                f"{population.path}: has no member_factors, of which the risk model asks; add the "
                "table to the raw folder and ingest again"
            )
        ids = [
            person or member
            for person, member in zip(
                *(table.column(name).to_pylist() for name in ("person_id", "member_id")),
                strict=True,
            )
        ]
        bits = np.zeros(table.num_rows, np.uint8)
        for bit, name in enumerate(MEMBER_FACTORS):
            said = [text.lower().removesuffix(".0") in YES for text in _texts(table, name)]
            bits |= np.array(said, np.uint8) << np.uint8(bit)
        key = member_keys(ids)
        order = np.argsort(key, kind="stable")
        return cls(
            key[order],
            _days(table, "start_date", -FAR_DAY)[order],
            _days(table, "end_date", FAR_DAY)[order],
            bits[order],
        )

    def on(self, shard: ShardColumns, day: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Flags of a shard's members that hold on a day, and whether a row says anything then.

        Returns
        -------
        bits : uint8[n_members]
        stated : bool[n_members]
        """
        member_key = shard.column("members", "member_key")
        at = np.searchsorted(member_key, self.key)
        known = at < len(member_key)
        known[known] = member_key[at[known]] == self.key[known]
        rows = np.flatnonzero(known & (self.first_day <= day) & (day <= self.last_day))
        bits = np.zeros(len(member_key), np.uint8)
        np.bitwise_or.at(bits, at[rows], self.bits[rows])
        stated = np.zeros(len(member_key), np.bool_)
        stated[at[rows]] = True
        return bits, stated


def _texts(table: pa.Table, name: str) -> list[str]:
    return [text or "" for text in table.column(name).to_pylist()]


def _days(table: pa.Table, name: str, blank: int) -> NDArray[np.int32]:
    return np.array(
        [day_of(date.fromisoformat(text)) if text else blank for text in _texts(table, name)],
        np.int32,
    )
