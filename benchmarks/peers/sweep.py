"""A sweep in NumPy: what needs no scenario is hoisted, the rest vectorised over replicates.

Gate, share, quality and cap of target, for gains and losses, then exact summaries:
sums, counts, and three quantiles by `np.partition`, which selects without sorting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scenario:
    """Terms of one scenario; a cap of None binds nothing."""

    gain_gate: float
    loss_gate: float
    gain_share: float
    loss_share: float
    gain_cap: float | None = None


def summaries(
    target: NDArray[np.float64],
    observed: NDArray[np.float64],
    scenarios: Sequence[Scenario],
    quality_factor: NDArray[np.float64] | float,
    ranks: Sequence[int],
) -> NDArray[np.int64]:
    """Observed payment, sum, gains, losses and quantiles of every scenario and partnership.

    Parameters
    ----------
    target, observed : float64[n_partnerships, 1 + B]
        Whole cents; column 0 is the data as observed.
    scenarios : sequence of Scenario
    quality_factor : float64[n_partnerships, 1] or float
        What the quality score leaves of a gain.
    ranks : sequence of int
        Ranks from 0 among the B replicates.

    Returns
    -------
    int64[n_scenarios, n_partnerships, 4 + len(ranks)]
    """
    savings = target - observed
    gain, loss = np.maximum(savings, 0.0), np.maximum(-savings, 0.0)
    gain_rate, loss_rate = gain / target, loss / target
    out = np.empty((len(scenarios), len(target), 4 + len(ranks)), dtype=np.int64)
    kth = sorted(set(ranks))
    for s, terms in enumerate(scenarios):
        earned = np.where(gain_rate >= terms.gain_gate, gain, 0.0)
        earned *= terms.gain_share
        earned *= quality_factor
        if terms.gain_cap is not None:
            np.minimum(earned, terms.gain_cap * target, out=earned)
        owed = np.where(loss_rate >= terms.loss_gate, loss, 0.0)
        owed *= terms.loss_share
        payment = np.rint(earned)
        payment -= np.rint(owed)
        draws = payment[:, 1:]
        out[s, :, 0] = payment[:, 0]
        out[s, :, 1] = draws.sum(axis=1)
        out[s, :, 2] = np.count_nonzero(draws > 0, axis=1)
        out[s, :, 3] = np.count_nonzero(draws < 0, axis=1)
        out[s, :, 4:] = np.partition(draws, kth, axis=1)[:, list(ranks)]
    return out


def summaries_by_side(
    target: NDArray[np.float64],
    observed: NDArray[np.float64],
    scenarios: Sequence[Scenario],
    quality_factor: NDArray[np.float64] | float,
    ranks: Sequence[int],
) -> NDArray[np.int64]:
    """As `summaries`, with every distinct gain side and loss side settled once.

    A replicate gains or owes, never both. So sums and counts of a scenario are those of its two
    sides, and its sorted payments are the losing ones of the one, then the gains of the other.
    """
    savings = target - observed
    gain, loss = np.maximum(savings, 0.0), np.maximum(-savings, 0.0)
    gain_rate, loss_rate = gain / target, loss / target
    n = target.shape[1] - 1

    def gains(gate: float, share: float, cap: float | None) -> tuple[NDArray[Any], ...]:
        earned = np.where(gain_rate >= gate, gain, 0.0)
        earned *= share
        earned *= quality_factor
        if cap is not None:
            np.minimum(earned, cap * target, out=earned)
        return _side(np.rint(earned))

    def losses(gate: float, share: float) -> tuple[NDArray[Any], ...]:
        owed = np.where(loss_rate >= gate, loss, 0.0)
        owed *= share
        return _side(-np.rint(owed))

    gain_sides = {key: gains(*key) for key in {_gain_side(one) for one in scenarios}}
    loss_sides = {key: losses(*key) for key in {_loss_side(one) for one in scenarios}}
    out = np.empty((len(scenarios), len(target), 4 + len(ranks)), dtype=np.int64)
    places = np.array(ranks)
    rows = np.arange(len(target))[:, None]
    for s, one in enumerate(scenarios):
        seen, total, n_gain, gained = gain_sides[_gain_side(one)]
        owing, owed_total, n_loss, owed = loss_sides[_loss_side(one)]
        out[s, :, 0] = seen + owing
        out[s, :, 1] = total + owed_total
        out[s, :, 2] = n_gain
        out[s, :, 3] = n_loss
        # below the losing ones a payment is a loss, above n - n_gain a gain, between them nothing
        out[s, :, 4:] = np.where(
            places < n_loss[:, None],
            owed[rows, places],
            np.where(places >= n - n_gain[:, None], gained[rows, places], 0.0),
        )
    return out


def _gain_side(one: Scenario) -> tuple[float, float, float | None]:
    return one.gain_gate, one.gain_share, one.gain_cap


def _loss_side(one: Scenario) -> tuple[float, float]:
    return one.loss_gate, one.loss_share


def _side(payment: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """Observed, sum, how many are not nothing, and all sorted: of one side's payments."""
    draws = payment[:, 1:]
    return payment[:, 0], draws.sum(axis=1), np.count_nonzero(draws, axis=1), np.sort(draws, axis=1)


def scenarios_of(rows: Sequence[Mapping[str, Any]], base: Scenario) -> list[Scenario]:
    """Scenarios of a grid by term path; what is not moved is the base's."""
    return [
        Scenario(
            gain_gate=float(row.get("settlement.gate.gain_rate", base.gain_gate)),
            loss_gate=float(row.get("settlement.gate.loss_rate", base.loss_gate)),
            gain_share=float(row.get("settlement.gain.share", base.gain_share)),
            loss_share=float(row.get("settlement.loss.share", base.loss_share)),
            gain_cap=(
                float(row["settlement.gain.cap_of_target"])
                if "settlement.gain.cap_of_target" in row
                else base.gain_cap
            ),
        )
        for row in rows
    ]
