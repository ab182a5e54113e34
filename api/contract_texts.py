"""A contract's text that somebody sends: what it is, or what is wrong with it and in which line.

    TOML? -> does it name no file of the server? -> the terms, as `ihp contracts check` has them

It may rest on a contract shipped and on a version that is kept (`NAME@n`), which never change. What
it may not name is a file: whoever sends a text sees no more of the server than what they send.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ihp_compute import contracts
from ihp_compute.errors import ContractError
from ihp_compute.settlement import exhibit

FILE: Final = "contract.toml"
_SAID: Final = frozenset({"sources", "source", "note", "title", "summary", "programme", "name"})
"""Keys under which there are words for a reader."""
_FILES: Final = (".arrow", ".csv", ".json", ".parquet", ".toml")
VERSION: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})@(?P<version>[1-9]\d{0,8})")

FileOf = Callable[[str, int, Path], Path]
"""The file of a kept version, made in a folder: (name, version, folder) -> file; LookupError."""


class TextError(Exception):
    """A text is no contract; `term` and `line` say where, as far as that is known."""

    def __init__(self, detail: str, term: str | None, line: int | None) -> None:
        super().__init__(detail)
        self.term = term
        self.line = line


@dataclass(frozen=True)
class Checked:
    """What a text is: as `contracts.check` says it, with an example in dollars if it is one."""

    name: str
    kind: str
    about: Mapping[str, Any]
    example: list[dict[str, Any]] | None


def check_text(text: str, file_of: FileOf, year: int | None = None) -> Checked:
    """What a text is.

    Parameters
    ----------
    text : str
    file_of : FileOf
    year : int, optional
        Performance year; without it the latest values.

    Raises
    ------
    TextError
    """
    with tempfile.TemporaryDirectory(prefix="ihp-contract-") as folder:
        path = Path(folder) / FILE
        path.write_text(text, encoding="utf-8")
        try:
            put_beside(path, file_of)
            about = contracts.check(path, year)
            example = None
            if about["kind"] == "contract":
                example = exhibit.example(contracts.load(path), year)
        except ContractError as error:
            raise _placed(str(error).removeprefix(f"{FILE}: "), text) from None
    return Checked(about["name"], about["kind"], about, example)


def names_in(tree: Mapping[str, Any]) -> Iterator[str]:
    """The contracts that a text rests on.

    Raises
    ------
    ContractError
        If it names a file.
    """
    for path, value in _texts(tree):
        if _is_file(value):
            raise ContractError(
                f"{path}: found the name of a file, expected a contract or model that the service "
                "knows: what is sent names no file of the server"
            )
    if "extends" in tree:
        yield str(tree["extends"])
    entries = [tree.get("default")]
    for part in ("partnerships", "alliances"):
        held = tree.get(part)
        entries += list(held.values()) if isinstance(held, Mapping) else []
    for entry in entries:
        if isinstance(entry, Mapping) and "contract" in entry:
            yield str(entry["contract"])


def _texts(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Texts of a tree that mean something to the program, by their paths."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, below in tree.items():
            if key not in _SAID:
                yield from _texts(below, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for below in tree:
            yield from _texts(below, path)


def _is_file(value: str) -> bool:
    """Whether a text can be the path of a file.

    >>> [_is_file(v) for v in ("../x", "weights.json", "supplied:ACG 11/2", "mn-ihp-1.0", "own@2")]
    [True, True, False, False, False]
    """
    if value.startswith(("supplied:", "sha256:")):
        return False
    return "/" in value or "\\" in value or value.lower().endswith(_FILES)


def put_beside(path: Path, file_of: FileOf) -> None:
    """Put the kept versions that a file rests on beside it."""
    for name in names_in(contracts.read_toml(path)):
        _beside(name, path.parent, file_of)


def _beside(name: str, folder: Path, file_of: FileOf, depth: int = 0) -> None:
    """Put the kept version that a text rests on beside it, and what that one rests on."""
    if name in (*contracts.names(), contracts.UNBOUND):
        return
    found = VERSION.fullmatch(name)
    if found is None:
        raise ContractError(
            f"extends or contract: found {name[:100]!r}, expected a contract shipped, or a version "
            "that is kept, NAME@n: a version stays what it is"
        )
    try:
        path = file_of(found["name"], int(found["version"]), folder)
    except LookupError:
        raise ContractError(f"extends or contract: no version {name} is kept") from None
    for below in names_in(contracts.read_toml(path)):
        if depth < _MOST_DEEP:
            _beside(below, folder, file_of, depth + 1)
            continue
        raise ContractError(
            f"extends: found more than {_MOST_DEEP} contracts one on another, expected fewer"
        )


_MOST_DEEP: Final = 20


def _placed(words: str, text: str) -> TextError:
    """What is wrong, with the term and line that the words name."""
    syntax = re.search(r"\(at line (\d+), column \d+\)", words)
    if syntax is not None:
        return TextError(words, None, int(syntax[1]))
    named = re.match(r"(?P<path>[A-Za-z0-9_.\-]+)(?:\[\d+\][A-Za-z0-9_.]*)?: ", words)
    if named is None:
        return TextError(words, None, None)
    return TextError(words, named["path"], _line_of(named["path"], text))


def _line_of(path: str, text: str) -> int | None:
    r"""The line of a text in which a term, or the nearest table around it, begins.

    >>> _line_of("settlement.gate.gain_rate.unit", "name = 'x'\n[settlement.gate.gain_rate]\n")
    2
    >>> _line_of("name", "title = 't'\nname = 3\n")
    2
    """
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        wanted = ".".join(parts[:n])
        for number, line in enumerate(lines, start=1):
            header = line.strip("[]").replace('"', "").replace(" ", "")
            if (line.startswith("[") and header == wanted) or re.match(
                rf'"?{re.escape(wanted)}"?\s*=', line
            ):
                return number
    return None
