"""The scale of resources: what a unit of each service costs the whole state, each year by itself.

    lines of all eligible people -> dollars and units by service -> rates; services too rare: pooled

A service is a whole acute inpatient claim, by its DRG and one unit; else a line, by its procedure,
else its revenue centre, else its drug, in the units that it states, or one. A service with fewer
lines above zero in a year than the programme asks for, and what names no service, is one service of
its category: one unit a line. The scale is ours and open, made of nothing but the population.

Not here: whose services they are, and what comes of the rates (`cost_index`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import SERVICE_CATEGORIES
from ihp_compute.measure.attribution import eligible_cells
from ihp_compute.measure.cost import COSTS, slots
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.population import Population, ShardColumns
from ihp_compute.units import half_even, sums_by
from kernels.members.service_use import POOLED, ServiceUse, service_use

N_CATEGORIES: Final = len(SERVICE_CATEGORIES)
INPATIENT: Final = SERVICE_CATEGORIES.index("inpatient")
_PLACES: Final = 32  # more than categories: a service and a category as one number
AMOUNTS: Final = {"allowed": "allowed_cents", "paid": "paid_cents"}
"""Column of lines that each choice of `cost_index.amount` takes."""


@dataclass(frozen=True)
class Services:
    """Which lines are services, and the numbers of services; 0 is no service of its own.

    Attributes
    ----------
    amount : str
        Column of lines.
    categories : tuple of str
        Those that count, in the order in which a cap is spread over them.
    revenue_start, ndc_start, drg_start, n : int
        A procedure's number is its code's; behind them stand revenue centres, drugs, DRGs.
    """

    amount: str
    categories: tuple[str, ...]
    revenue_start: int
    ndc_start: int
    drg_start: int
    n: int

    @classmethod
    def of(cls, population: Population, amount: str, categories: Sequence[str]) -> Self:
        """Numbers by the code tables of a population."""
        sizes = [len(population.codes(name)) for name in ("hcpcs", "revenue", "ndc", "drg")]
        ends = np.cumsum(sizes).tolist()
        return cls(AMOUNTS[amount], tuple(categories), *ends)

    @property
    def bits(self) -> int:
        """Bit c is set when category c counts."""
        return sum(1 << SERVICE_CATEGORIES.index(name) for name in self.categories)

    @property
    def order(self) -> NDArray[np.uint8]:
        """Every category once, those that count first and in their order."""
        rest = [name for name in SERVICE_CATEGORIES if name not in self.categories]
        places = [SERVICE_CATEGORIES.index(name) for name in (*self.categories, *rest)]
        return np.array(places, np.uint8)

    def use(
        self,
        shard: ShardColumns,
        plan: ShardPlan,
        month_cell: NDArray[np.uint8],
        rates: Rates,
        *,
        group: NDArray[np.int32] | None = None,
        n_groups: int = 0,
        cap_cents: int = -1,
        with_scale: bool = False,
    ) -> ServiceUse:
        """Services of both years of a shard, dated by the end of the claim.

        Parameters
        ----------
        shard : Shard
        plan : ShardPlan
        month_cell : uint8[2, n_members, 12]
            Of the members and months that count.
        rates : Rates
        group : int32[2, n_members], optional
            By which sums are made; nobody's unless given.
        n_groups, cap_cents, with_scale
            As for `service_use`; a cap of -1 is none.
        """
        first_day, slot_of_day = slots(plan.years)
        drg = shard.column("stays", "drg")
        return service_use(
            shard.column("lines", self.amount),
            shard.column("line_detail", "units_milli"),
            shard.column("lines", "claim_end_day"),
            shard.column("lines", "paid_day"),
            shard.column("lines", "category"),
            shard.column("lines", "kind"),
            shard.column("line_detail", "hcpcs"),
            shard.column("line_detail", "revenue"),
            shard.column("line_detail", "ndc"),
            shard.column("line_detail", "stay"),
            shard.offsets("lines"),
            shard.column("stays", "discharge_day"),
            np.where(drg > 0, drg + self.drg_start, 0).astype(np.int32),
            shard.offsets("stays"),
            np.full(month_cell.shape[:2], -1, np.int32) if group is None else group,
            month_cell,
            slot_of_day,
            rates.rate,
            rates.pool_cents,
            self.order,
            first_day=first_day,
            cutoff_day=plan.cutoff_day,
            kind_bits=COSTS,
            category_bits=self.bits,
            claim_category=INPATIENT,
            revenue_start=self.revenue_start,
            ndc_start=self.ndc_start,
            cap_cents=cap_cents,
            n_groups=n_groups,
            with_scale=with_scale,
        )


@dataclass(frozen=True)
class Rates:
    """What a service uses.

    Attributes
    ----------
    rate : float64[2, n_services]
        Cents for a thousandth of a unit, one division; `POOLED` where the category's stands.
    pool_cents : int64[2, n_categories]
        Cents for a line of a pooled service.
    """

    rate: NDArray[np.float64]
    pool_cents: NDArray[np.int64]

    @classmethod
    def none(cls, n_services: int) -> Self:
        """No rates yet."""
        return cls(np.full((2, n_services), POOLED), np.zeros((2, N_CATEGORIES), np.int64))


@dataclass(frozen=True)
class ScaleSums:
    """Services above zero of all eligible people; years are (base, performance).

    Attributes
    ----------
    services : int64[2, n_services, 4]
        Lines, cents, thousandths of units, and lines that state no units.
    thin : int64[n, 3]
        Of services that may be too rare, by (year, service, category) as one number, ascending:
        that number, lines, cents.
    claims : int64[2]
        Acute inpatient claims above zero, and those of them without a DRG, over both years.
    least_lines : int
        A service with fewer in a year has no rate of its own.
    """

    services: NDArray[np.int64]
    thin: NDArray[np.int64]
    claims: NDArray[np.int64]
    least_lines: int

    def __add__(self, other: ScaleSums) -> ScaleSums:
        """Sums of two disjoint sets of members."""
        services = self.services + other.services
        thin = np.concatenate([self.thin, other.thin])
        whole = replace(self, services=services, claims=self.claims + other.claims)
        return replace(whole, thin=_by_number(thin[whole.is_thin[thin[:, 0] // _PLACES]]))

    @property
    def is_thin(self) -> NDArray[np.bool_]:
        """Of each year and service, one after another, whether it has no rate of its own."""
        thin = self.services[:, :, 0] < self.least_lines
        thin[:, 0] = True
        return thin.reshape(-1)

    @property
    def unit_lines(self) -> tuple[int, int]:
        """Lines with a rate by their units, and those of them that state none and count as one."""
        own = np.where(self.is_thin, 0, self.services[:, :, 0].reshape(-1)).sum()
        unstated = np.where(self.is_thin, 0, self.services[:, :, 3].reshape(-1)).sum()
        return int(own), int(unstated)

    def rates(self) -> Rates:
        """Dollars over units of each service, and over lines of what is pooled."""
        _, cents, units, _ = np.moveaxis(self.services, 2, 0)
        thin = self.is_thin.reshape(cents.shape)
        rate = np.where(thin, POOLED, cents / np.where(thin, 1, units))
        service, category = np.divmod(self.thin[:, 0], _PLACES)
        place = service // cents.shape[1] * N_CATEGORIES + category
        lines, pooled = (sums_by(place, self.thin[:, k], 2 * N_CATEGORIES) for k in (1, 2))
        pool = [half_even(c, n) if n else 0 for c, n in zip(pooled, lines, strict=True)]
        return Rates(rate, np.array(pool, np.int64).reshape(2, N_CATEGORIES))

    @classmethod
    def of(cls, shard: ShardColumns, plan: ShardPlan, services: Services, least_lines: int) -> Self:
        """Sums of one shard."""
        cells = [
            eligible_cells(
                shard, year, roster=plan.roster, visits=plan.visits, terms=plan.attribution,
                cutoff_day=cutoff_day,
            )
            for year, cutoff_day in zip(plan.years, plan.cutoff_days, strict=True)
        ]  # fmt: skip
        use = services.use(shard, plan, np.stack(cells), Rates.none(services.n), with_scale=True)
        with_claims = use.claim_place >= 0
        bare = cls(
            use.scale,
            np.zeros((0, 3), np.int64),
            np.array(
                [
                    np.count_nonzero(with_claims),
                    np.count_nonzero(with_claims & (use.claim_place % services.n == 0)),
                ]
            ),
            least_lines,
        )
        rare = np.append(bare.is_thin, np.False_)  # place -1: no service of the scale
        lines = np.flatnonzero(np.take(rare, use.line_place))
        claims = np.flatnonzero(rare[use.claim_place])
        place = use.line_place[lines].astype(np.int64)
        number = place * _PLACES + shard.column("lines", "category")[lines]
        cents = shard.column("lines", services.amount)[lines]
        of_claims = use.claim_place[claims].astype(np.int64) * _PLACES + INPATIENT
        found = np.stack(
            [
                np.concatenate([number, of_claims]),
                np.ones(lines.size + claims.size, np.int64),
                np.concatenate([cents, use.claim_cents[claims]]),
            ],
            axis=1,
        )
        return replace(bare, thin=_by_number(found))


def _by_number(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows (number, lines, cents) with one row a number."""
    number, place = np.unique(rows[:, 0], return_inverse=True)
    sums = [sums_by(place, rows[:, k], number.size) for k in (1, 2)]
    return np.stack([number, *sums], axis=1)
