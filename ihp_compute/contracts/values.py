"""Values of terms: read from TOML or a cell of text, checked against their kind, written back.

Numbers are `Decimal` as written; bands touch without gap or overlap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

from ihp_compute.codes import RATE_CELLS, range_of
from ihp_compute.contracts.kinds import NONE, Kind
from ihp_compute.contracts.steps import STEPS, fault_of


class TermError(ValueError):
    """A value does not fit its term: what was found and what was expected, without the place."""


@dataclass(frozen=True)
class Band:
    """A marginal band of savings or losses: shares `share` of what lies between its edges.

    Edges are ratios of the target, as positive numbers on either side; `below` None is no end.
    """

    name: str
    above: Decimal
    below: Decimal | None
    share: Decimal


BAND_FIELDS: Final = ("above", "below", "share")
NUMBERS_BELOW: Final = Decimal(10) ** 13
"""No number of a term is as large, of either sign; dollars below it are cents in 64 bits."""


def parse(kind: Kind, raw: Any) -> Any:
    """A value as its term holds it, checked.

    Parameters
    ----------
    kind : Kind
    raw : object
        As TOML gives it (Decimal for floats), as text of a table cell, or parsed already.

    Returns
    -------
    Decimal, int, bool, str, tuple or None
        None stands for `none`, unless that is one of the kind's own words.

    Raises
    ------
    TermError
        With what was found and what was expected.
    """
    if raw is None or (raw == NONE and NONE not in kind.choices):
        if kind.optional:
            return None
        raise TermError(f"found none, expected {kind.expected()}")
    if kind.form == "number" and raw in kind.choices:
        return raw
    parsers = {
        "number": _number,
        "flag": _flag,
        "choice": _one_of,
        "text": _text,
        "table": _word_or_table,
        "names": _names,
        "codes": _codes,
        "places of service": _places,
        "day of a year": _day_of_a_year,
        "year": _year,
        "cells": _cells,
        "bands": _bands,
        "size table": _size_table,
    }
    return parsers[kind.form](kind, raw)


def _wrong(kind: Kind, raw: Any) -> TermError:
    found = str(raw).lower() if isinstance(raw, bool) else str(raw)
    return TermError(f"found {found}, expected {kind.expected()}")


def decimal_of(raw: Any) -> Decimal:
    """A finite Decimal of a TOML number, a float as it prints, or text.

    Raises
    ------
    TermError
        If it is no finite number.
    """
    if isinstance(raw, bool):
        raise TermError(f"found {str(raw).lower()}, expected a number")
    try:
        value = Decimal(repr(raw) if isinstance(raw, float) else raw)
    except (InvalidOperation, TypeError, ValueError):
        raise TermError(f"found {raw}, expected a number") from None
    if not value.is_finite():
        raise TermError(f"found {raw}, expected a finite number")
    return value


def bounded(raw: Any) -> Decimal:
    """A Decimal as `decimal_of` reads it, of a size that a term can have.

    Raises
    ------
    TermError
        If it is no number, or reaches `NUMBERS_BELOW`.
    """
    value = decimal_of(raw)
    if abs(value) >= NUMBERS_BELOW:
        raise TermError(f"found {raw}, expected a number below {NUMBERS_BELOW:,}")
    return value


def _number(kind: Kind, raw: Any) -> Decimal:
    try:
        value = decimal_of(raw)
    except TermError:
        raise _wrong(kind, raw) from None
    if (kind.low is not None and value < kind.low) or (kind.high is not None and value > kind.high):
        raise _wrong(kind, raw)
    bounded(value)
    if kind.places is not None and not _fits_places(value, kind.places):
        raise _wrong(kind, raw)
    return value


def _fits_places(value: Decimal, places: int) -> bool:
    return value == value.quantize(Decimal(1).scaleb(-places))


def _flag(kind: Kind, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if raw in ("true", "on", "false", "off"):
        return raw in ("true", "on")
    raise _wrong(kind, raw)


def _one_of(kind: Kind, raw: Any) -> str:
    if raw not in kind.choices:
        raise _wrong(kind, raw)
    return str(raw)


def _text(kind: Kind, raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise _wrong(kind, raw)
    return raw


def _word_or_table(kind: Kind, raw: Any) -> str:
    if raw not in kind.choices and not (isinstance(raw, str) and names_a_table(raw)):
        raise _wrong(kind, raw)
    return str(raw)


def names_a_table(text: str) -> bool:
    """Whether a value is the path of a table.

    >>> [names_a_table(text) for text in ("own/eligible.csv", "all", "Codes.PARQUET")]
    [True, False, True]
    """
    return text.lower().endswith((".csv", ".parquet", ".arrow"))


def _year(kind: Kind, raw: Any) -> int:
    value = decimal_of(raw)
    if not 2000 <= value <= 2100 or value != int(value):
        raise _wrong(kind, raw)
    return int(value)


def _names(kind: Kind, raw: Any) -> tuple[str, ...]:
    names = raw.split(";") if isinstance(raw, str) else raw
    if not isinstance(names, list | tuple) or any(name not in kind.choices for name in names):
        raise _wrong(kind, raw)
    if len(set(names)) < len(names):
        raise TermError(f"found a name twice in {raw}, expected each at most once")
    if len(names) < kind.least or (kind.orders and tuple(names) not in kind.orders):
        raise _wrong(kind, raw)
    if kind.choices == STEPS and (fault := fault_of(names)):
        raise TermError(fault)
    return tuple(names)


def _texts(kind: Kind, raw: Any) -> tuple[str, ...]:
    """Distinct texts; none at all for nothing, or for an empty cell."""
    texts = (
        [text.strip() for text in raw.split(";") if text.strip()] if isinstance(raw, str) else (raw)
    )
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise _wrong(kind, raw)
    if len(set(texts)) < len(texts):
        raise TermError(f"found a name twice in {raw}, expected each at most once")
    return tuple(texts)


def _codes(kind: Kind, raw: Any) -> tuple[str, ...]:
    codes = _texts(kind, raw)
    within = [range_of(choice) for choice in kind.choices]
    for code in codes:
        try:
            letter, low, high = range_of(code)
        except ValueError:
            raise TermError(f"found {code}, expected {kind.expected()}") from None
        if not any(sign == letter and a <= low and high <= b for sign, a, b in within):
            raise TermError(f"found {code}, expected {kind.expected()}")
    return codes


def _places(kind: Kind, raw: Any) -> tuple[str, ...]:
    places = _texts(kind, raw)
    if not all(re.fullmatch(r"\d\d", place, re.ASCII) for place in places):
        raise _wrong(kind, raw)
    return places


def _day_of_a_year(kind: Kind, raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"\d\d-\d\d", raw, re.ASCII):
        raise _wrong(kind, raw)
    try:
        date.fromisoformat(f"2000-{raw}")  # a leap year: 29 February is a day
    except ValueError:
        raise _wrong(kind, raw) from None
    return raw


def _cells(kind: Kind, raw: Any) -> tuple[str, ...]:
    cells = raw.split(";") if isinstance(raw, str) else raw
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        raise _wrong(kind, raw)
    parts = [part for cell in cells for part in cell.split("+")]
    if not parts or set(parts) - set(RATE_CELLS) or len(set(parts)) < len(parts):
        raise _wrong(kind, raw)
    return tuple(cells)


def _size_table(kind: Kind, raw: Any) -> tuple[tuple[int, Decimal], ...]:
    if isinstance(raw, str):
        raw = [row.split(":") for row in raw.split(";")]
    if (
        not isinstance(raw, list)
        or not raw
        or any(not isinstance(row, list) or len(row) != 2 for row in raw)
    ):
        raise _wrong(kind, raw)
    given = [(bounded(row[0]), bounded(row[1])) for row in raw]
    rows = tuple((int(members), rate) for members, rate in given)
    if any(n != members for (n, _), (members, _) in zip(rows, given, strict=True)):
        raise _wrong(kind, raw)
    if any(a[0] >= b[0] or a[1] < b[1] for a, b in pairwise(rows)):
        raise _wrong(kind, raw)
    if any(n < 1 or not 0 <= rate <= 1 for n, rate in rows):
        raise _wrong(kind, raw)
    return rows


def _bands(kind: Kind, raw: Any) -> tuple[Band, ...]:
    if isinstance(raw, str):
        raw = _bands_of_text(raw)
    if not isinstance(raw, dict) or not raw:
        raise _wrong(kind, raw)
    bands = []
    for name, row in raw.items():
        if not isinstance(row, dict):
            raise TermError(f"found {name} = {row}, expected a band with above, below and share")
        unknown = [key for key in row if key not in BAND_FIELDS]
        missing = [key for key in BAND_FIELDS if key not in row]
        if unknown or missing:
            what = f"unknown key {unknown[0]}" if unknown else f"no {missing[0]}"
            raise TermError(f"found {what} in band {name}, expected above, below and share")
        bands.append(
            Band(
                name,
                bounded(row["above"]),
                None if row["below"] == NONE else bounded(row["below"]),
                bounded(row["share"]),
            )
        )
    return check_bands(bands)


def _bands_of_text(text: str) -> dict[str, dict[str, Any]]:
    """Bands of a table cell: `above:below:share;above:below:share`, below may be none."""
    rows = [row.split(":") for row in text.split(";")]
    if any(len(row) != 3 for row in rows):
        raise TermError(f"found {text}, expected above:below:share;above:below:share")
    return {
        f"band_{i}": dict(zip(BAND_FIELDS, (part.strip() for part in row), strict=True))
        for i, row in enumerate(rows, start=1)
    }


def check_bands(bands: list[Band]) -> tuple[Band, ...]:
    """The bands, if they rise and touch.

    Raises
    ------
    TermError
        At a gap, an overlap, a band of negative width or a share outside 0 to 1.
    """
    for band in bands:
        if not 0 <= band.share <= 1:
            raise TermError(f"found share {band.share} in band {band.name}, expected 0 to 1")
        if band.above < 0:
            raise TermError(f"found above {band.above} in band {band.name}, expected at least 0")
        if band.below is not None and band.below < band.above:
            raise TermError(
                f"found band {band.name} from {band.above} to {band.below}, "
                "expected below at least above"
            )
    for inner, outer in pairwise(bands):
        if inner.below is None:
            raise TermError(f"found band {outer.name} beyond the open end of {inner.name}")
        if inner.below != outer.above:
            what = "a gap" if inner.below < outer.above else "an overlap"
            raise TermError(
                f"found {what} between bands {inner.name} (below {inner.below}) and "
                f"{outer.name} (above {outer.above}), expected them to touch"
            )
    return tuple(bands)


def text_of(value: Any) -> str:
    """A value as a contract prints it."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and value and isinstance(value[0], Band):
        return "; ".join(
            f"{b.name} {b.above}–{'∞' if b.below is None else b.below} × {b.share}" for b in value
        )
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "; ".join(f"{n:,}: {rate}" for n, rate in value)
    if isinstance(value, tuple):
        return ", ".join(value) if value else "nothing"
    return f"{value}"
