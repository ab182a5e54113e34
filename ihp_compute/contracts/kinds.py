"""What a term may hold: its unit, its limits and its choices; what a number rests on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

NONE: Final = "none"

Basis = Literal["statute", "contract", "published", "recalled", "assumed"]
"""What a contract's file says that a value rests on, the strongest first."""
WRITTEN_BASES: Final[tuple[Basis, ...]] = get_args(Basis)
CARRIED: Final = "carried"
"""Basis of a value in a year after its source ends: it is the last one known."""
SUPPLIED: Final = "supplied"
"""Basis of a value that stands beside the contract, in a set, a table or a grid."""
BASES: Final = ("statute", "contract", "published", CARRIED, SUPPLIED, "recalled", "assumed")
"""What a value may rest on, the strongest first."""
DRAFT_BASES: Final = (CARRIED, SUPPLIED, "recalled", "assumed")
"""Bases that make a settlement a draft: nobody has shown a document that says so."""
NO_RULE: Final = "no rule"
"""What stands for a basis where an agreement has no such rule."""


@dataclass(frozen=True)
class Kind:
    """What a term may be: its unit, the type of its values and their range.

    `form` is number, flag, choice, table (a choice, or the path of one), text, names, codes, places
    of service, year, day of a year, cells, bands or size table; codes lie within the ranges of
    `choices`. `places` are the
    decimal places that a number may have, 0 a whole number, None any. `least` is how many names a
    list holds at least; `orders`, where given, are the only lists there are.
    """

    meaning: str
    unit: str
    form: str = "number"
    low: Decimal | None = None
    high: Decimal | None = None
    optional: bool = False
    choices: tuple[str, ...] = ()
    places: int | None = None
    least: int = 0
    orders: tuple[tuple[str, ...], ...] = ()

    def expected(self) -> str:
        """The values allowed, in words."""
        if self.form == "number":
            ends = []
            if self.low is not None:
                ends.append(f"at least {self.low}")
            if self.high is not None:
                ends.append(f"at most {self.high}")
            text = "a whole number" if self.places == 0 else "a number"
            text += " " + " and ".join(ends) if ends else ""
            text += f", to {self.places} decimal places" if self.places else ""
        elif self.form == "flag":
            text = "true or false"
        elif self.form == "choice":
            text = " or ".join(self.choices)
        elif self.form == "names" and self.orders:
            text = "a list: " + ", or ".join(" then ".join(order) for order in self.orders)
        elif self.form == "names":
            text = f"a list of {self.least} or more names" if self.least else "a list of names"
            text += " among " + ", ".join(self.choices)
        elif self.form == "codes":
            text = "a list of procedure codes, and ranges FIRST-LAST of them, within "
            text += ", ".join(self.choices)
        elif self.form == "places of service":
            text = "a list of places of service, of two digits each"
        elif self.form == "day of a year":
            text = "a month and a day, MM-DD"
        elif self.form == "table":
            text = f"{', '.join(self.choices)}, or the path of a table (.csv, .parquet, .arrow)"
        elif self.form == "text":
            text = "a name"
        elif self.form == "year":
            text = "a year from 2000 to 2100"
        elif self.form == "cells":
            text = "a list of rate cells, merged cells joined by +, each of the twelve at most once"
        elif self.form == "bands":
            text = "bands that touch, each with above, below and share"
        else:
            text = "rows [members, rate] with members rising and rates not rising"
        if self.form == "number" and self.choices:
            text += ", " + " or ".join(self.choices)
        return text + (", or none" if self.optional else "")


def ratio(meaning: str, unit: str = "ratio", *, places: int | None = None) -> Kind:
    """A ratio from 0 to 1; `none` is allowed."""
    return Kind(meaning, unit, low=Decimal(0), high=Decimal(1), optional=True, places=places)


def usd(meaning: str, unit: str = "USD", *, places: int | None = None) -> Kind:
    """Dollars, at least 0; `none` is allowed."""
    return Kind(meaning, unit, low=Decimal(0), optional=True, places=places)


def choice(meaning: str, *choices: str, optional: bool = False) -> Kind:
    """One of a few words."""
    return Kind(meaning, "choice", "choice", choices=choices, optional=optional)
