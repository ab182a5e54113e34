"""What the tables `quality_score` and `quality_measure` say of a year, read and checked.

    quality_score   -> a score of each partnership, None where it is left empty
    quality_measure -> measures: cases that met them of cases that could, and which rate is better

Not here: what measures earn (`quality_points`), which score a partnership settles by (`quality`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.input_columns import NO, YES
from ihp_compute.population import Population

TABLES: Final = ("quality_score", "quality_measure")
SUPPLIED: Final = "supplied"
CLAIMS: Final = "claims"
"""Where a measure is from."""


@dataclass(frozen=True)
class Measure:
    """One measure of one partnership in one year.

    Attributes
    ----------
    partnership_id, measure, domain : str
    numerator, denominator : int
        Cases that met it, of cases that could.
    higher_is_better : bool
        Whether a higher rate is the better one.
    source : str
        `SUPPLIED`, or `CLAIMS`: computed from claims, not certified.
    """

    partnership_id: str
    measure: str
    domain: str
    numerator: int
    denominator: int
    higher_is_better: bool = True
    source: str = SUPPLIED

    @property
    def rate(self) -> Fraction:
        """Part of the cases that met it; 0 without cases."""
        return Fraction(self.numerator, self.denominator) if self.denominator else Fraction(0)


def supplied_scores(population: Population, year: int) -> dict[str, Decimal | None]:
    """Scores that somebody gave, from 0 to 1; None where one is left empty.

    Raises
    ------
    DataError
        If a score is not a number or out of range, or stands twice.
    """
    found: dict[str, Decimal | None] = {}
    for row in _rows(population.reference("quality_score"), year):
        name = row["partnership_id"]
        if name in found:
            raise DataError(f"quality_score: {name} stands twice for {year}, expected once")
        if not str(row["score"]).strip():
            found[name] = None
            continue
        try:
            value = Decimal(str(row["score"]))
        except InvalidOperation:
            raise DataError(f"quality_score: {name}: score is not a number") from None
        if not value.is_finite() or not 0 <= value <= 1:
            raise DataError(f"quality_score: {name}: found {value}, expected 0 to 1")
        found[name] = value
    return found


def supplied_measures(population: Population, year: int) -> list[Measure]:
    """Measures that somebody gave, in the order of the table.

    Raises
    ------
    DataError
        If cases are not whole numbers or more met a measure than could, a measure stands twice, or
        rows say two things of which rate of it is better.
    """
    found: list[Measure] = []
    seen: set[tuple[str, str]] = set()
    better: dict[str, bool] = {}
    for row in _rows(population.reference("quality_measure"), year):
        where = f"quality_measure: {row['partnership_id']}, {row['measure']}"
        try:
            numerator, denominator = int(row["numerator"]), int(row["denominator"])
        except (TypeError, ValueError):
            raise DataError(f"{where}: numerator or denominator is not a whole number") from None
        if not 0 <= numerator <= denominator:
            raise DataError(
                f"{where}: found {numerator} of {denominator}, expected 0 to the denominator"
            )
        key = row["partnership_id"], row["measure"]
        if key in seen:
            raise DataError(f"{where}: stands twice for {year}, expected once")
        seen.add(key)
        higher = _flag(row.get("higher_is_better"), where)
        if better.setdefault(key[1], higher) != higher:
            raise DataError(
                f"{where}: higher_is_better: found {higher} and {not higher} for {year}, expected "
                "the same in every row of a measure"
            )
        found.append(Measure(*key, row.get("domain") or "", numerator, denominator, higher))
    return found


def years_before(population: Population, year: int) -> list[int]:
    """Earlier years of which some partnership has a score or a measure, the latest first."""
    tables = (population.reference(name) for name in TABLES)
    stated = {text for table in tables if table is not None for text in _years(table)}
    return sorted(
        (int(text) for text in stated if text.isdigit() and int(text) < year), reverse=True
    )


def given_of(population: Population, year: int) -> list[str]:
    """What a population has in place of scores of a year, in words of a message."""
    words = []
    for name in TABLES:
        table = population.reference(name)
        if table is None:
            continue
        years = _years(table)
        if str(year) not in years:
            of = ", ".join(sorted(stated or "none stated" for stated in years)) or "no year"
            words.append(f"{name} has rows of {of}, and none of {year}")
        else:
            words.append(f"{name} has rows of {year}, and none that gives it")
    return words


def _years(table: pa.Table) -> set[str]:
    return {str(year).strip() for year in table.column("performance_year").to_pylist()}


def _rows(table: pa.Table | None, year: int) -> list[Mapping[str, Any]]:
    if table is None:
        return []
    return [row for row in table.to_pylist() if str(row["performance_year"]).strip() == str(year)]


def _flag(text: str | None, where: str) -> bool:
    """Whether a higher rate is better; nothing said: it is."""
    said = str(text or "").strip().lower().removesuffix(".0")
    if said and said not in YES | NO:
        raise DataError(f"{where}: higher_is_better: found {said[:20]}, expected true or false")
    return said not in NO
