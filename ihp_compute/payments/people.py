"""The people of partnerships that are paid, by shard: how sick, what they live with, their months.

shard -> people on 1 January -> those of a partnership with a rate -> factors, payers, fees
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import MEMBER_FACTORS, SOCIAL_FACTORS
from ihp_compute.contracts import PopulationBasedTerms
from ihp_compute.measure import ProspectivePlan
from ihp_compute.population import Shard
from ihp_compute.risk import MemberFactors
from ihp_compute.units import year_bounds

_SHIFT = MEMBER_FACTORS.index(SOCIAL_FACTORS[0])


@dataclass(frozen=True)
class People:
    """People of partnerships that are paid, and sums over the whole state.

    Attributes
    ----------
    group : int32[n]
        Index into `Roster.groups`.
    score_micro : int64[n], millionths
    score_missing : bool[n]
        Whether the score came from the contract's policy.
    score_months : int64[n]
        Countable months of the year before.
    factors : uint8[n]
        Bit i: `SOCIAL_FACTORS[i]` holds on 1 January.
    stated : bool[n]
        Whether a row of `member_factors` is in force on 1 January.
    payer : int32[n, 12]
        Payer of each month that counts, in `payer_names`; -1 where it does not.
    month_cell : uint8[n, 12]
        Rate cell of each of these months.
    member_key : uint64[n]
    fees_cents : int64[n, 12]
        Fees of each month; zero where none are asked for.
    state_score, state_months : int
        Scores × months, and months, of everybody eligible in the year before.
    spanned_months : int64[12]
        People of the state of whom a span stands in each month.
    """

    group: NDArray[np.int32]
    score_micro: NDArray[np.int64]
    score_missing: NDArray[np.bool_]
    score_months: NDArray[np.int64]
    factors: NDArray[np.uint8]
    stated: NDArray[np.bool_]
    payer: NDArray[np.int32]
    month_cell: NDArray[np.uint8]
    member_key: NDArray[np.uint64]
    fees_cents: NDArray[np.int64]
    state_score: int
    state_months: int
    spanned_months: NDArray[np.int64]

    @property
    def mean_micro(self) -> Fraction | None:
        """The state's month-weighted mean score in millionths; None where it is not above 0."""
        return Fraction(self.state_score, self.state_months) if self.state_score > 0 else None

    @classmethod
    def together(cls, parts: Sequence[People]) -> People:
        """All shards' people, in the order of the parts."""
        rows = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in (
                "group", "score_micro", "score_missing", "score_months", "factors", "stated",
                "payer", "month_cell", "member_key", "fees_cents",
            )
        }  # fmt: skip
        return cls(
            **rows,
            state_score=sum(part.state_score for part in parts),
            state_months=sum(part.state_months for part in parts),
            spanned_months=np.sum([part.spanned_months for part in parts], axis=0),
        )


def people_of(
    shard: Shard,
    *,
    plan: ProspectivePlan,
    terms: Sequence[PopulationBasedTerms | None],
    factors: MemberFactors | None,
    with_fees: bool,
) -> People:
    """The people of a shard.

    Parameters
    ----------
    shard : Shard
    plan : ProspectivePlan
    terms : sequence of PopulationBasedTerms or None
        Of each partnership, in the order of the roster's groups; None: it is not paid.
    factors : MemberFactors or None
        None: nobody's are known.
    with_fees : bool
        Whether fees take something off.
    """
    found = plan.people(shard)
    is_paid = np.array([one is not None for one in terms] + [False], np.bool_)
    own = np.minimum(found.group, len(terms))  # -1 is the last: nobody's, as who has no partnership
    chosen = np.flatnonzero(is_paid[own])
    bits, stated = np.zeros(shard.n_members, np.uint8), np.zeros(shard.n_members, np.bool_)
    if factors is not None:
        bits, stated = factors.on(shard, year_bounds(plan.year)[0])
    fees = np.zeros((shard.n_members, 12), np.int64)
    if with_fees:
        for codes in dict.fromkeys(one.fee_codes for one in terms if one is not None):
            whose = np.array(
                [one is not None and one.fee_codes == codes for one in terms] + [False]
            )
            fees += np.where(whose[own][:, None], plan.fees(shard, codes), 0)
    eligible = found.group >= 0
    return People(
        group=found.group[chosen],
        score_micro=found.score_micro[chosen],
        score_missing=found.score_missing[chosen],
        score_months=found.score_months[chosen],
        factors=(bits >> np.uint8(_SHIFT))[chosen],
        stated=stated[chosen],
        payer=found.payer[chosen],
        month_cell=found.month_cell[chosen],
        member_key=shard.column("members", "member_key")[chosen],
        fees_cents=fees[chosen],
        state_score=int((found.score_micro * found.score_months)[eligible].sum()),
        state_months=int(found.score_months[eligible].sum()),
        spanned_months=found.spanned_months,
    )
