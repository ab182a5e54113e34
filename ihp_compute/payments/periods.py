"""What a payment is for: a quarter, or the true-up of a year."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Period:
    """A quarter of a year, 1 to 4; None: the true-up of the year."""

    year: int
    quarter: int | None = None

    @classmethod
    def of_quarter(cls, text: str) -> Self:
        """The quarter that a text names.

        Raises
        ------
        ValueError
            If it names none.

        >>> Period.of_quarter("2024Q3")
        Period(year=2024, quarter=3)
        """
        found = re.fullmatch(r"(\d{4})[Qq]([1-4])", text.strip(), re.ASCII)
        if found is None:
            raise ValueError(f"expected a year and a quarter, as in 2024Q3, got {text}")
        return cls(int(found[1]), int(found[2]))

    @property
    def first(self) -> int:
        """First month of the quarter, January 0."""
        return 0 if self.quarter is None else 3 * (self.quarter - 1)

    def __str__(self) -> str:
        """As a reader writes it.

        >>> print(Period(2024, 3), Period(2024))
        2024Q3 true-up of 2024
        """
        return f"true-up of {self.year}" if self.quarter is None else f"{self.year}Q{self.quarter}"
