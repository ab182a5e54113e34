"""A weight of a model or of a cell as it is written: what it may be, and how it is read."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from ihp_compute.codes import MOST_SCORE
from ihp_compute.errors import RiskModelError
from ihp_compute.units import micro_of

SMALLEST: Final = Decimal("0.000001")
SHOWN: Final = 40


def weight_micro(text: str, *, least: int = -MOST_SCORE) -> int:
    """A weight in millionths, from decimal text in units of 1.000.

    Parameters
    ----------
    text : str
    least : int
        The least weight that is allowed; the most is `MOST_SCORE`.

    Raises
    ------
    RiskModelError
        Saying what of the text is wrong; where it stands is for the caller to say.
    """
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    try:
        value = Decimal(text)
    except InvalidOperation as problem:
        raise RiskModelError(f"{shown!r} is not a number") from problem
    if not value.is_finite() or not least <= value <= MOST_SCORE:
        limits = f"from {least:,} to {MOST_SCORE:,}" if least >= 0 else f"within {MOST_SCORE:,}"
        raise RiskModelError(f"{shown} is not {limits}")
    if value != value.quantize(SMALLEST):
        raise RiskModelError(f"{shown} is below a millionth in its last places")
    return micro_of(value)
