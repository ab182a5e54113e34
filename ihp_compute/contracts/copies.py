"""A copy of a contract under a name of its own, for the terms of a signed agreement.

    FROM (shipped, or a file) -> its text with another name -> NAME.toml -> read back, compared

The copy has every term, source and basis of what it was made from: it is the same contract until
somebody changes it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from ihp_compute.contracts.contract import Contract
from ihp_compute.contracts.files import (
    check_name,
    load,
    locate,
    read_toml,
    same_content,
    shipped_name,
)
from ihp_compute.errors import ContractError

_KEY: Final = r"(?m)^{key}\s*=\s*(\"[^\"\n]*\"|'[^'\n]*')"
"""A line of the file's head, up to its text."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def copy(source: str, name: str, folder: Path) -> tuple[Path, Contract]:
    """Write a contract under another name into a folder, as NAME.toml.

    Parameters
    ----------
    source : str
        A contract's name, or a file.
    name : str
        Letters, digits, points, hyphens and underlines; not that of a contract shipped.
    folder : Path

    Returns
    -------
    Path, Contract
        The file, and what it holds.

    Raises
    ------
    ContractError
        If the name cannot be used, the file is there already, or the contract cannot be copied.
    """
    check_name("--as", "name", name)
    if not _NAME.fullmatch(name):
        raise ContractError(
            f"--as: found {name}, expected letters, digits, points, hyphens and underlines"
        )
    if shipped_name(name):
        raise ContractError(f"--as: found {name}, a contract shipped, expected a name of its own")
    original = load(source)
    place = locate(Path(source))
    path = folder / f"{name}.toml"
    text = _renamed(place, name, folder)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ContractError(
            f"{path}: is there already and will not be overwritten; choose another name"
        ) from None
    made = None
    try:
        made = load(path)
    finally:
        if made is None or not same_content(made, replace(original, name=name)):
            path.unlink()
    if not path.exists():
        raise ContractError(
            f"{place.name}: cannot be copied line by line; write a file that extends it"
        )
    return path, made


def _renamed(place: Path, name: str, folder: Path) -> str:
    """The file's text with another name; a file that it extends is named from the copy's folder."""
    text = place.read_text(encoding="utf-8")
    text = re.sub(_KEY.format(key="name"), f'name = "{name}"', text, count=1)
    tree = read_toml(place)
    extended = str(tree.get("extends", ""))
    if extended.endswith(".toml"):
        named = os.path.relpath((place.parent / extended).resolve(), folder.resolve())
        line = f"extends = {json.dumps(named, ensure_ascii=False)}"
        text = re.sub(_KEY.format(key="extends"), lambda _: line, text, count=1)
    first = f"# A copy of {tree['name']}: every value, source and basis is as there until changed."
    return f"{first}\n{text}"
