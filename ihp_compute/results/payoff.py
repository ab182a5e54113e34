"""What partnerships would be paid at other costs, and how the draws of their payment lie.

    target, contract, size, quality score -> payment at costs either side of the observed one
    draws -> the middle of each twentieth part
    draws less their mean -> the payment that chance alone makes

Not here: how a settlement comes about (`settlement`), the ends of intervals (`uncertainty`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.results.part import Part
from ihp_compute.settlement import CONDITIONINGS, Case, Payoff, Scope, Settled, cases_of, payoffs
from ihp_compute.units import half_even

PARTS: Final = 20
"""Parts of the replicates: one in twenty is as often as a 95 % interval is missed."""
_HALVES: Final = range(-30, 31)
"""Savings rates of the corridor, in two-hundredths of the target."""
_BETWEEN: Final = 1024
"""Costs between two, among which a gate is looked for at once."""


@dataclass(frozen=True)
class Payoffs:
    """What each partnership of a measurement would be paid at other costs under its target."""

    settled: Sequence[Settled]
    pays: Mapping[str, Payoff]

    @classmethod
    def of(cls, part: Part) -> Payoffs:
        """Those of a measurement of a run."""
        plan, measured, settled = part
        cases = dict[str, Case](
            cases_of(measured.totals, plan.contracts, plan.performance_year, plan.quality)
        )
        return cls(
            settled, payoffs({one.partnership_id: cases[one.partnership_id] for one in settled})
        )

    def corridor(self) -> Iterator[dict[str, Any]]:
        """Rows of `tables.CORRIDOR`, from the highest cost down; none without a target."""
        for one in self.settled:
            target = one.target_cents
            if target <= 0:
                continue
            pays = self.pays[one.partnership_id]
            observed = np.array([target - target * half // 200 for half in _HALVES], np.int64)
            observed = np.unique(np.concatenate([observed, *_gates(pays, target, observed)]))[::-1]
            found = pays(target, observed)
            for place, cost in enumerate(observed.tolist()):
                yield {
                    "partnership_id": one.partnership_id,
                    "position": place,
                    "observed_cents": cost,
                    "savings_rate": (target - cost) / target,
                    "gate_passed": bool(found["passed"][place]),
                    **{
                        f"{name}_cents": int(found[name][place])
                        for name in ("savings", "shareable", "share", "payment")
                    },
                }

    def without_effect(self, one: Settled, savings_cents: NDArray[np.int64]) -> int:
        """Mean payment of draws of savings had their mean been zero.

        Parameters
        ----------
        one : Settled
        savings_cents : int64[B]
            At least one.
        """
        n = savings_cents.size
        mean = half_even(sum(savings_cents.tolist()), n)
        found = self.pays[one.partnership_id](
            one.target_cents, one.target_cents - (savings_cents - mean)
        )
        return half_even(sum(found["payment"].tolist()), n)


def _gates(pays: Payoff, target: int, observed: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Costs either side of each gate, a cent apart, between these costs in falling order."""
    passed = pays(target, observed)["passed"]
    for place in np.flatnonzero(np.diff(passed)):
        high, low = int(observed[place]), int(observed[place + 1])
        while high - low > 1:
            tried = np.unique(np.linspace(low, high, _BETWEEN).astype(np.int64))
            at = np.flatnonzero(np.diff(pays(target, tried)["passed"]))[0]
            low, high = int(tried[at]), int(tried[at + 1])
        yield np.array([low, high])


def distribution_rows(scopes: Sequence[Scope]) -> Iterator[dict[str, Any]]:
    """Rows of `tables.DISTRIBUTION`; none without draws."""
    for one in scopes:
        for conditioning in CONDITIONINGS:
            draws = one.draws[conditioning]
            n = draws.savings_cents.size - 1
            if not n:
                continue
            # the k-th smallest, k = ceil(n (2 part - 1) / 40), as of every quantile
            places = [-(-n * (2 * part - 1) // (2 * PARTS)) - 1 for part in range(1, PARTS + 1)]
            measures = {
                name: np.sort(getattr(draws, name)[1:])[places].tolist()
                for name in ("savings_cents", "savings_rate", "payment_cents")
            }
            for part in range(PARTS):
                yield {
                    "scope": one.scope,
                    "scope_id": one.scope_id,
                    "conditioning": conditioning,
                    "part": part + 1,
                    **{name: values[part] for name, values in measures.items()},
                }
