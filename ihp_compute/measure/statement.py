"""Who answers for a run, and what it is for: fields that no calculation knows.

    TOML or JSON of one table -> fields, each one text -> manifest -> report

A report without the fields that a reader must find says UNREVIEWED. Which they are follows the
standards that bind an actuary in the United States, by number: ASOP 41 (purpose, intended users,
who is responsible, on whom one relies), 23 (how data were reviewed), 56 (what the model is for).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import RunError

LONGEST: Final = 2_000
"""Characters of a field."""


@dataclass(frozen=True)
class Field:
    """A field of a statement.

    Attributes
    ----------
    meaning : str
        In a line.
    needed : bool
        Whether a report without it is UNREVIEWED.
    """

    meaning: str
    needed: bool = False


STATEMENT_FIELDS: Final[Mapping[str, Field]] = {
    "status": Field("what this is: for review, interim, final", needed=True),
    "purpose": Field("what it was made for", needed=True),
    "intended_users": Field("who may rely on it", needed=True),
    "responsible_actuary": Field("who answers for it", needed=True),
    "credentials": Field("qualifications of who answers for it"),
    "reviewer": Field("who reviewed it"),
    "date": Field("date of the statement"),
    "reliance": Field("whose data and work it relies on, and for what", needed=True),
    "data_review": Field("what was done to review the data, and what was found"),
    "limitations": Field("what it must not be used for"),
}
"""What somebody may state of a run, in the order in which it is shown."""


def statement_of(document: Any) -> dict[str, str]:
    """The fields of a statement, those left blank left out.

    Raises
    ------
    TypeError
        If it is no table.
    ValueError
        If a field is unknown, no text, too long, or holds what cannot be printed.
    """
    if not isinstance(document, Mapping):
        raise TypeError("expected a table of fields by name")
    found = {}
    for name, text in document.items():
        if name not in STATEMENT_FIELDS:
            raise ValueError(
                f"{name}: unknown field, expected some of {', '.join(STATEMENT_FIELDS)}"
            )
        said = " ".join(text.split()) if isinstance(text, str) else "\0"
        if len(said) > LONGEST or not said.isprintable():
            raise ValueError(f"{name}: expected text, up to {LONGEST:,} printable characters")
        if said:
            found[name] = said
    return {name: found[name] for name in STATEMENT_FIELDS if name in found}


def read_statement(path: Path) -> dict[str, str]:
    """A statement of a file, TOML or, where its name ends in .json, JSON.

    Raises
    ------
    RunError
        If the file is missing, cannot be read, or is no statement.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file, expected a statement (.toml or .json)")
    form = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if form == "JSON" else tomllib.loads(text)
    except ValueError as error:
        raise RunError(f"{path.name}: not {form}: {error}; expected fields by name") from None
    try:
        return statement_of(document)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path.name}: {error}") from None


def unstated(statement: Mapping[str, str]) -> list[str]:
    """Fields that a report needs and a statement lacks."""
    return [
        name for name, field in STATEMENT_FIELDS.items() if field.needed and name not in statement
    ]
