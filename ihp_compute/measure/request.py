"""What somebody asks of a run: one document, whichever way it comes and wherever it is kept.

    command line | HTTP body -> RunRequest <-> document: row of the queue, manifest of the run

An option is declared once, as a field of `RunRequest` with its limits. A document holds JSON's own
values under the names of the fields; what it leaves out has the field's default.

Not here: what follows from a request (`plan`), lengths that the service allows (`api.runs`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import STANDARD
from ihp_compute.errors import RunError
from ihp_compute.measure.statement import statement_of

DEVICES: Final = ("auto", "cpu", "gpu")


def _same(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _reasons(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {_text(name): _text(reason) for name, reason in sorted(value.items())}


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(_text(name) for name in value)


@dataclass(frozen=True)
class Option:
    """How one field of a request stands in a document, and what it may be.

    Attributes
    ----------
    expected : str
        For messages: name: expected …
    read, written : callable
        From a document's value, and to it. `read` raises TypeError or ValueError.
    limits : mapping
        Of a number: `ge`, `le`, `lt` as in the module `operator`.
    choices : tuple of str
        Of a word; empty: any.
    """

    expected: str
    read: Callable[[Any], Any]
    written: Callable[[Any], Any] = _same
    limits: Mapping[str, int] = field(default_factory=dict)
    choices: tuple[str, ...] = ()

    @property
    def least(self) -> int:
        """The smallest number allowed."""
        return self.limits["ge"]

    def allows(self, value: Any) -> bool:
        """Whether a value is within the limits."""
        within = all(getattr(operator, how)(value, limit) for how, limit in self.limits.items())
        return within and (not self.choices or value in self.choices)


def _option(*declared: Any, **more: Any) -> dict[str, Option]:
    return {"option": Option(*declared, **more)}


_YEAR: Final = _option("a year from 1900 to 2200", _whole, limits={"ge": 1900, "le": 2200})


@dataclass(frozen=True)
class RunRequest:
    """What somebody asks for; None means: the contract set's default, else the population's."""

    population: Path = field(
        metadata=_option("the path of a folder", lambda value: Path(_text(value)), str)
    )
    contracts: tuple[str, ...] = field(metadata=_option("a list of contracts", _names, list))
    performance_year: int | None = field(default=None, metadata=_YEAR)
    base_year: int | None = field(default=None, metadata=_YEAR)
    paid_through: date | None = field(
        default=None,
        metadata=_option(
            "a date as YYYY-MM-DD", lambda value: date.fromisoformat(_text(value)), date.isoformat
        ),
    )
    replicates: int = field(
        default=2000,
        metadata=_option("0 to 1,000,000", _whole, limits={"ge": 0, "le": 1_000_000}),
    )
    seed: int = field(
        default=1,
        metadata=_option("a whole number of 64 bits", _whole, limits={"ge": 0, "lt": 2**64}),
    )
    device: str = field(
        default="auto", metadata=_option("auto, cpu or gpu", _text, choices=DEVICES)
    )
    accept: Mapping[str, str] = field(
        default_factory=dict, metadata=_option("a reason for each gate by name", _reasons, dict)
    )
    statement: Mapping[str, str] = field(
        default_factory=dict, metadata=_option("fields of a statement", statement_of, dict)
    )

    earlier: tuple[Path, ...] = field(
        default=(),
        metadata=_option(
            "folders of earlier runs",
            lambda value: tuple(map(Path, _names(value))),
            lambda value: [str(path) for path in value],
        ),
    )

    programme: str = field(
        default=STANDARD, metadata=_option("a programme by name, a file, or none", _text)
    )

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Every option by name, in the order of the fields."""
        return {entry.name: entry.metadata["option"] for entry in fields(cls)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> RunRequest:
        """The request that a document holds.

        Parameters
        ----------
        document : mapping
            As `document` gives it; what has a default may be left out.

        Raises
        ------
        RunError
            If a name is unknown or missing, or a value is not what its option expects.
        """
        options = cls.options()
        for name in document:
            if name not in options:
                raise RunError(
                    f"request of a run: found {name!r}, expected some of {', '.join(options)}"
                )
        for name in ("population", "contracts"):
            if name not in document:
                raise RunError(f"request of a run: has no {name}, without which there is no run")
        found = {
            name: _read(name, option, document[name], empty=getattr(cls, name, ...))
            for name, option in options.items()
            if name in document
        }
        return cls(**found)

    def document(self) -> dict[str, Any]:
        """The request in JSON's own values, every option by name; `of` reads it back."""
        values = {name: (option, getattr(self, name)) for name, option in self.options().items()}
        return {
            name: None if value is None else option.written(value)
            for name, (option, value) in values.items()
        }

    def check(self, name: str) -> None:
        """Refuse a value that its option does not allow.

        Raises
        ------
        RunError
        """
        option, value = self.options()[name], getattr(self, name)
        if not option.allows(value):
            raise RunError(f"{name}: expected {option.expected}, got {value}")


def _read(name: str, option: Option, value: Any, *, empty: Any) -> Any:
    """A value of a document; null stands where the option's default is None."""
    if value is None and empty is None:
        return None
    try:
        read = option.read(value)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{name}: expected {option.expected}, got a value of type {type(value).__name__}"
        ) from error
    if not option.allows(read):
        raise RunError(f"{name}: expected {option.expected}, got {value}")
    return read
