"""The grid of a sweep: which terms move, over which values, and how many rows that makes.

    [axes]
    "settlement.gain.share"                   = { from = 0.3, to = 0.7, count = 10 }
    "settlement.gain.bands.inner.below"       = [0.02, 0.03]
    "settlement.loss.bands"                   = ["none", "0:0.02:0;0.02:none:0.5"]

A term is named by its path. A list gives its values; a range gives `count` of them from one end to
the other, as Decimals of nine places. Every value of an axis meets every value of the others, the
first axis varying slowest.

An axis of `MEASURED_ANEW` reaches below a run's totals: each of its values is a measured run.

Not here: whether a value fits its term (the contract says), what moves with it (`scenarios`).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import TermError, decimal_of
from ihp_compute.errors import GridError

PLACES: Final = Decimal("1e-9")
ROW_LIMIT: Final = 1_000_000
"""Rows of a sweep (scenarios × partnerships) unless somebody asks for more: some 100 MB."""
VALUE_LIMIT: Final = 100_000
"""Values of one axis."""
VALUE_BOUND: Final = Decimal("1e15")
"""Numbers of an axis stay below this, either way: nine places of more are no exact Decimals."""
_RANGE: Final = frozenset({"from", "to", "count"})
_SWEPT: Final = ("settlement.", "target.")
_ALSO_SWEPT: Final = frozenset(
    {
        "observed.completion",
        "risk.normalise",
        "risk.growth_corridor",
        "risk.credibility",
        "agreement.first_performance_year",
    }
)
MEASURED_ANEW: Final = frozenset({"cost.claim_cap"})
"""Terms below the totals for which a run is measured again, value by value."""
_MEASURED: Final = ("attribution.", "cost.", "risk.", "observed.", "completion.", "quality.")


@dataclass(frozen=True)
class Axis:
    """A term and the values it takes: Decimals, or text and flags where the term has them."""

    path: str
    values: tuple[Decimal | str | bool, ...]


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep, in the order given."""

    axes: tuple[Axis, ...]

    @property
    def n_scenarios(self) -> int:
        """How many combinations there are; one without any axis."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Values of each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def measured(self) -> tuple[Axis, ...]:
        """The axes whose terms decide what is measured."""
        return tuple(axis for axis in self.axes if axis.path in MEASURED_ANEW)

    @property
    def settled(self) -> Grid:
        """The grid without those."""
        return Grid(tuple(axis for axis in self.axes if axis.path not in MEASURED_ANEW))

    def scenarios(self) -> Iterator[dict[str, Decimal | str | bool]]:
        """Every combination in order: value by path."""
        paths = [axis.path for axis in self.axes]
        for values in product(*(axis.values for axis in self.axes)):
            yield dict(zip(paths, values, strict=True))

    def check_size(self, n_partnerships: int, limit: int = ROW_LIMIT) -> None:
        """Refuse more rows than a limit, before any of them is made.

        Raises
        ------
        GridError
            With the number of rows and the limit.
        """
        rows = self.n_scenarios * n_partnerships
        if rows > limit:
            raise GridError(
                f"the grid has {self.n_scenarios:,} scenarios × {n_partnerships:,} partnerships = "
                f"{rows:,} rows, more than the limit of {limit:,}; take fewer values, or raise the "
                "limit"
            )

    def document(self) -> list[list[Any]]:
        """Paths and values as text, for digests and metadata."""
        return [[axis.path, [value_text(value) for value in axis.values]] for axis in self.axes]


def read_grid(path: Path) -> Grid:
    """A grid of a TOML file.

    Raises
    ------
    GridError
        If the file is missing, not TOML, or no grid.
    """
    if not path.is_file():
        raise GridError(f"{path}: no such file, expected a grid (.toml) with a table [axes]")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GridError(f"{path.name}: not TOML: {error}; expected a table [axes]") from None
    unknown = sorted(set(tree) - {"axes"})
    if unknown:
        raise GridError(f"{path.name}: {unknown[0]}: unknown key, expected a table [axes]")
    if not isinstance(tree.get("axes"), dict):
        raise GridError(f"{path.name}: found no table [axes], expected axes by term path")
    return grid_of(tree["axes"], where=path.name)


def grid_of(axes: Mapping[str, Any], where: str = "axes") -> Grid:
    """A grid of axes by term path; dotted keys may be tables in tables.

    Parameters
    ----------
    axes : mapping of path to list, or to a table of from, to and count
    where : str
        Where the axes stand, for messages.

    Raises
    ------
    GridError
        If an axis is wrong, or its term cannot be swept from a run's totals.
    """
    found = [Axis(path, _values(raw, f"{where}: {path}")) for path, raw in _flat(axes, where)]
    paths = [axis.path for axis in found]
    for path in paths:
        if paths.count(path) > 1:
            raise GridError(f"{where}: {path}: found twice, expected each term at most once")
        check_path(path, where)
        whole = next((other for other in paths if path.startswith(f"{other}.")), None)
        if whole is not None:
            raise GridError(
                f"{where}: {path}: found with {whole}, which gives it as a whole; expected one of "
                "the two"
            )
    if not found:
        raise GridError(f"{where}: found no axis, expected at least one term path with its values")
    return Grid(tuple(found))


def check_path(path: str, where: str = "axes") -> None:
    """Refuse a term that totals do not allow to move.

    Raises
    ------
    GridError
    """
    if path in _ALSO_SWEPT or path in MEASURED_ANEW or path.startswith(_SWEPT):
        return
    if path.startswith(_MEASURED):
        raise GridError(
            f"{where}: {path}: decides what is measured, below the totals a sweep starts from, and "
            f"is not {' or '.join(sorted(MEASURED_ANEW))}, for which it measures anew; give it in "
            "the contract (or a contract set's overrides) and make a new run"
        )
    raise GridError(
        f"{where}: {path}: moves no payment; a sweep moves settlement.*, target.* and "
        f"{', '.join(sorted(_ALSO_SWEPT))}"
    )


def _flat(tree: Mapping[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, raw in tree.items():
        path = f"{prefix}{key}"
        if isinstance(raw, Mapping) and not _RANGE & set(raw) and raw:
            yield from _flat(raw, where, f"{path}.")
        else:
            yield path, raw


def _values(raw: Any, where: str) -> tuple[Decimal | str | bool, ...]:
    if isinstance(raw, Mapping):
        return _range(raw, where)
    if not isinstance(raw, list) or not raw:
        raise GridError(
            f"{where}: found {_shown(raw)}, expected a list of values, or from, to and count"
        )
    _check_count(len(raw), where)
    values = tuple(_value(one, where) for one in raw)
    if len(set(values)) < len(values):
        raise GridError(f"{where}: found a value twice, expected each once")
    return values


def _value(raw: Any, where: str) -> Decimal | str | bool:
    if isinstance(raw, str | bool):
        return raw
    return _number(raw, where)


def _number(raw: Any, where: str) -> Decimal:
    try:
        found = decimal_of(raw)
    except TermError as error:
        raise GridError(f"{where}: {error}") from None
    if not abs(found) < VALUE_BOUND:
        raise GridError(f"{where}: found {_shown(found)}, expected a number below {VALUE_BOUND}")
    return found


def _range(raw: Mapping[str, Any], where: str) -> tuple[Decimal, ...]:
    if set(raw) != _RANGE:
        found = ", ".join(sorted(raw)) or "nothing"
        raise GridError(f"{where}: found {found}, expected from, to and count")
    count = raw["count"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise GridError(f"{where}.count: found {_shown(count)}, expected a whole number from 1")
    _check_count(count, where)
    first, last = _number(raw["from"], where), _number(raw["to"], where)
    if count == 1 and first != last:
        raise GridError(f"{where}: found one point from {first} to {last}, expected from = to")
    if count > 1 and first >= last:
        raise GridError(f"{where}: found from {first} to {last}, expected a rising range")
    if count == 1:
        return (first.quantize(PLACES),)
    points = [(first + (last - first) * i / (count - 1)).quantize(PLACES) for i in range(count)]
    if len(set(points)) < count:
        raise GridError(f"{where}: found {count} points closer than nine places, expected fewer")
    return tuple(points)


def _check_count(count: int, where: str) -> None:
    if count > VALUE_LIMIT:
        raise GridError(f"{where}: found {count:,} values, expected at most {VALUE_LIMIT:,}")


def _shown(raw: Any) -> str:
    return str(raw)[:60]


def value_text(value: Decimal | str | bool) -> str:
    """A value as text: numbers in plain digits.

    >>> value_text(Decimal("0.500000000"))
    '0.5'
    """
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value).lower()
