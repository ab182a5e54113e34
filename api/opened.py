"""What everybody may see of a run, in the service: without leave to see members' rows, this alone.

    may they see all? -> a file of the open form: made when the run ended, else now

Not here: what is hidden and where its files lie (`cluster.opening`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import Request

from api.auth import Principal
from api.making import MAKE_S, making_of
from api.problems import ConflictError, UnknownResultError
from api.reading import Reads
from api.service import Service
from cluster import opening
from cluster.opening import FOLDER, REPORT, page_name
from ihp_compute.errors import RunError
from ihp_compute.publishing import whole
from ihp_compute.report import write_report
from ihp_compute.results import OpenForm, was_shown
from ihp_compute.sweeps import SWEEP
from ihp_compute.table_files import read_table, write_table

MEMBER_SCOPE: Final = "results:member"
CERTIFIED: Final = "certified"
"""Folder of the whole report of a certified run, beside what never changes."""
SAID: Final = "open_form.json"
"""File of the manifest as everybody may see it."""
_FEW: Final = re.compile(r"(?<![\w.,/$-])([1-9]|10)(?![\w,%-]|\.\d|\s%)")
_DOLLARS: Final = re.compile(r"\$[0-9,]+(\.[0-9]+)?")


def sees_all(principal: Principal) -> bool:
    """Whether they may see members' rows, and so whole tables."""
    return MEMBER_SCOPE in principal.scopes


def open_words(words: str) -> str:
    """A sentence about data as everybody may see it: no count from 1 to 10, no dollars beside one.

    >>> open_words("IHP-02: 3 members of 2024 cost $1,250.10; expected 11 at least")
    'IHP-02: few members of 2024 cost $…; expected 11 at least'
    """
    told, found = _FEW.subn("few", words)
    return _DOLLARS.sub("$…", told) if found else words


def opened(service: Service, folder: Path) -> OpenForm:
    """The open form of a run in this folder.

    Raises
    ------
    ConflictError
        If it has none: another version made the run, or a file of it is damaged.
    """
    try:
        return opening.opened(service.store.queue, service.home, folder)
    except RunError as error:
        raise ConflictError(str(error).replace(str(folder), "the run")) from error


@dataclass(frozen=True)
class OpenPart:
    """A file of an open form, made once: what is hidden of a run that was shown stays so.

    Attributes
    ----------
    service : Service
    folder : Path
        Of the run.
    path : Path
        Of the file.
    write : callable
        Writes it: (open form, path).
    """

    service: Service
    folder: Path
    path: Path
    write: Callable[[OpenForm, Path], object]

    async def found(self, request: Request, limit_s: float = MAKE_S) -> Path:
        """The file, made now where nobody asked for it before; waited for so long.

        Raises
        ------
        ConflictError
            As `opened`.
        UnknownResultError
            If the run's folder does not hold what the file is made of.
        BusyError
            If that takes too long.
        """
        return await making_of(request).of(
            self.path, self._make, is_there=self._is_there, limit_s=limit_s
        )

    def _is_there(self) -> bool:
        return was_shown(self.folder) and self.path.is_file()

    def _make(self) -> None:
        self.write(opened(self.service, self.folder), self.path)


def open_table(service: Service, folder: Path, name: str) -> OpenPart:
    """A table of a run as everybody may see it."""

    def write(form: OpenForm, _path: Path) -> None:
        try:
            opening.open_table(form, name)
        except RunError as error:
            raise UnknownResultError(str(error).replace(str(folder), "the run")) from error

    return OpenPart(service, folder, folder / FOLDER / f"{name}.parquet", write)


def open_manifest(service: Service, folder: Path, sha256: Callable[[Path], str]) -> OpenPart:
    """The manifest of a run as everybody may see it.

    Under `open_form` it names each table's SHA-256, taken by a function as tags of tables are, so
    that who was shown one can say which content it was.
    """

    def write(form: OpenForm, path: Path) -> None:
        said = form.manifest()
        said["open_form"]["tables"] = {
            name: sha256(opening.open_table(form, name))
            for name in form.tables
            if (folder / f"{name}.parquet").is_file()
        }
        with whole(path) as draft:
            draft.write_text(json.dumps(said), encoding="utf-8")

    return OpenPart(service, folder, folder / FOLDER / SAID, write)


def open_report(service: Service, folder: Path, name: str) -> OpenPart:
    """The report of a run as everybody may see it; `name` as `page_name` has it."""

    def write(form: OpenForm, _path: Path) -> None:
        opening.open_report(form)

    return OpenPart(service, folder, folder / FOLDER / name, write)


def open_sweep(service: Service, folder: Path, rows: Path) -> OpenPart:
    """The rows of a sweep as everybody may see them, beside them; `folder` is the run's."""

    def write(form: OpenForm, path: Path) -> None:
        with whole(path) as draft:
            write_table(form.hide(read_table(rows), SWEEP), draft)

    return OpenPart(service, folder, rows.with_name(f"{FOLDER}-{rows.name}"), write)


async def whole_report(request: Request, folder: Path, limit_s: float = MAKE_S) -> Path:
    """The whole report of a run as a file: the stored one until the run is certified."""
    reads: Reads = request.app.state.reads
    name = await reads.of(page_name, folder)
    if name == REPORT:
        return folder / REPORT
    path = folder / CERTIFIED / name
    return await making_of(request).of(path, lambda: write_report(folder, path), limit_s=limit_s)


async def report_of(
    request: Request, service: Service, folder: Path, *, whole: bool, limit_s: float = MAKE_S
) -> Path:
    """The report of a run as a file: whole, or as everybody may see it; waited for so long."""
    if whole:
        return await whole_report(request, folder, limit_s)
    reads: Reads = request.app.state.reads
    name = await reads.of(page_name, folder)
    return await open_report(service, folder, name).found(request, limit_s)
