"""How numbers are written for people: dollars, rates, counts, and the cells that are held back.

One place decides the sign and the small-cell rule of the page; dollars are written by `units`. The
stored integers are the results, these are words. Colours and columns belong to the callers.
"""

from __future__ import annotations

from typing import Final

from ihp_compute.results import SMALL_CELL, is_small
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


def held_back(value: int) -> str:
    """A count of people or their events, with 1 to 10 held back.

    >>> held_back(0), held_back(7), held_back(1200)
    ('0', '1–10', '1,200')
    """
    return f"1{DASH}{SMALL_CELL}" if is_small(value) else count(value)


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
