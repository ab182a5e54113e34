"""What of a settlement stays with the state once the federal government has borne its share.

    shares by rate cell, weighed by the target  ->  a partnership's share  ->  payment less it

The share is one float64, the same in every replicate: what is federal of a rate cell is a rule, and
how a payment is made up of rate cells stands as observed. A payment owed to the state is shared
alike: the federal part of it goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import Agreement
from ihp_compute.settlement.cells import SettledCell


def federal_share(agreement: Agreement, cells: Sequence[SettledCell], year: int) -> float:
    """Σ target × share of the rate cell ÷ Σ target, rounded once; 0 where no target is.

    Parameters
    ----------
    agreement : Agreement
    cells : sequence of SettledCell
        Rate cells of the partnership's target, as observed.
    year : int
        Performance year; a rate cell at `none` has the share 0.

    Raises
    ------
    ContractError
        If rate cells of different shares are merged.
    """
    shares = {
        cell.rate_cell: Fraction(agreement.contract.federal_share(year, cell.rate_cell).value or 0)
        for cell in cells
    }
    target = sum(cell.target_cents for cell in cells)
    if not target:
        return 0.0
    return float(sum(cell.target_cents * shares[cell.rate_cell] for cell in cells) / target)


def net_of_federal(payment_cents: NDArray[Any], share: float) -> NDArray[np.int64]:
    """Each payment less its federal part, the part half to even on the cent; int64 as given."""
    return payment_cents - np.rint(payment_cents * share).astype(np.int64)
