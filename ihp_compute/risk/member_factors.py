"""What is known of members beside claims: the flags of the table `member_factors`, on a day.

    rows of a person and days, each flag yes, no or blank -> by member, the flags that hold

A flag that no row in force on the day says, or that says nothing, does not hold; how many members
no row is in force for is counted by whoever asks. Rows of one member add up: yes stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import MEMBER_FACTORS
from ihp_compute.errors import RiskModelError
from ihp_compute.population import SAID_YES, PersonRows, Population, ShardColumns, member_factors


@dataclass(frozen=True)
class MemberFactors:
    """Rows of `member_factors`; small, picklable.

    Attributes
    ----------
    rows : PersonRows
        Of the columns `MEMBER_FACTORS`.
    """

    rows: PersonRows

    @classmethod
    def of(cls, population: Population) -> MemberFactors:
        """The factors of a population.

        Raises
        ------
        RiskModelError
            If it has none.
        """
        rows = member_factors(population)
        if rows is None:
            raise RiskModelError(
                f"{population.path}: has no member_factors, of which the risk model asks; add the "
                "table to the raw folder and ingest again"
            )
        return cls(rows.only(MEMBER_FACTORS))

    def on(self, shard: ShardColumns, day: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Flags of a shard's members that hold on a day, and whether a row says anything then.

        Returns
        -------
        bits : uint8[n_members]
            Bit i: a row says yes to `MEMBER_FACTORS[i]`.
        stated : bool[n_members]
        """
        member_key = shard.column("members", "member_key")
        (said,) = self.rows.on(member_key, [day])
        bits = np.zeros(member_key.size, np.uint8)
        for bit, answer in enumerate(said):
            bits |= (answer == SAID_YES).astype(np.uint8) << np.uint8(bit)
        return bits, self.rows.in_force(member_key, day)
