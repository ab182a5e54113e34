"""How numbers are written for people: dollars, rates, counts, and the cells that are held back.

One place decides the sign and what stands where a cell is hidden; dollars are written by `units`.
The stored integers are the results, these are words. Colours and columns belong to the callers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ihp_compute.units import dollars, half_even

MINUS: Final = "\N{MINUS SIGN}"
DASH: Final = "\N{EN DASH}"
_SCALES: Final = ((100_000_000_000, "bn"), (100_000_000, "m"), (100_000, "k"))


def usd(cents: float, *, places: int = 0, plus: bool = False) -> str:
    """Cents as dollars with thousands separators: `places` 0 or 2; `plus` writes the plus sign.

    >>> usd(-123456), usd(123456, places=2, plus=True), usd(0)
    ('−$1,235', '+$1,234.56', '$0')
    """
    return dollars(cents, places=places, minus=MINUS, plus="+" if plus else "")


def usd_short(cents: float, *, plus: bool = False) -> str:
    """Cents as dollars in three digits, for axes and headlines.

    >>> usd_short(512_345_600), usd_short(-98_765_432_100), usd_short(4_200), usd_short(2_500_000)
    ('$5.12 m', '−$988 m', '$42', '$25.0 k')
    """
    size = abs(cents)
    for scale, name in _SCALES:
        if size >= scale:
            value = size / scale
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{_sign(cents, plus=plus)}${value:,.{digits}f} {name}"
    return usd(cents, plus=plus)


def percent(rate: float, *, places: int = 2, plus: bool = False) -> str:
    """A fraction as a percentage.

    >>> percent(0.02134), percent(-0.5, places=0), percent(-0.00001)
    ('2.13 %', '−50 %', '0.00 %')
    """
    shown = round(rate * 100, places)
    return f"{_sign(shown, plus=plus)}{abs(shown):,.{places}f} %"


def score(micro: int, *, plus: bool = False) -> str:
    """Millionths as a score of four places, half to even; with `plus` a change, with its sign.

    >>> score(1_153_543), score(-20_000, plus=True), score(0, plus=True)
    ('1.1535', '−0.0200', '0.0000')
    """
    text = f"{abs(half_even(micro, 100)) / 10_000:.4f}"
    return f"{_sign(micro, plus=plus)}{text}"


def count(value: int) -> str:
    """A count with thousands separators.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{_sign(value)}{abs(value):,}"


HELD: Final = "held back"
"""What stands where a cell is hidden."""


def held_back(value: int | None) -> str:
    """A count of people or their events; what is hidden is said to be.

    >>> held_back(None), held_back(7), held_back(1200)
    ('held back', '7', '1,200')
    """
    return HELD if value is None else count(value)


def summed(values: Iterable[int | None]) -> int | None:
    """A sum, hidden where a part is.

    >>> summed([1, 2]), summed([1, None])
    (3, None)
    """
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def label(name: str) -> str:
    """A column's or step's name in words.

    >>> label("outside_eligibility")
    'outside eligibility'
    """
    return name.replace("_", " ")


def _sign(value: float, *, plus: bool = False) -> str:
    if value < 0:
        return MINUS
    return "+" if plus and value > 0 else ""
