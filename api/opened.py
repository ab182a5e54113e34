"""What everybody may see of a run, in the service: without leave to see members' rows, this alone.

    may they see all? -> the pattern, fixed at first showing after every run shown here -> files

Files of the open form lie in the run's folder, each made when it is first asked for.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from api.auth import Principal
from api.problems import ConflictError, UnknownResultError
from api.service import Service
from ihp_compute.errors import RunError
from ihp_compute.folders import whole
from ihp_compute.report import write_report
from ihp_compute.results import OpenForm, open_form, read_manifest, was_shown
from ihp_compute.sweeps import SWEEP
from ihp_compute.table_files import read_table, write_table

MEMBER_SCOPE: Final = "results:member"
FOLDER: Final = "open"
_PAGE: Final = 200
_FIXING: Final = threading.Lock()
"""Two runs first shown at once would each be chosen without the other."""


def sees_all(principal: Principal) -> bool:
    """Whether they may see members' rows, and so whole tables."""
    return MEMBER_SCOPE in principal.scopes


def opened(service: Service, folder: Path) -> OpenForm:
    """The open form of a run in this folder.

    Raises
    ------
    ConflictError
        If it has none: another version made the run, or a file of it is damaged.
    """
    try:
        if was_shown(folder):
            return open_form(folder)
        with _FIXING:
            return open_form(folder, () if was_shown(folder) else _shown(service, folder))
    except RunError as error:
        raise ConflictError(str(error).replace(str(folder), "the run")) from error


def open_file(form: OpenForm, name: str) -> Path:
    """A table of an open form as a file.

    Raises
    ------
    UnknownResultError
        If the run's folder does not hold the table.
    """
    path = form.run_dir / FOLDER / f"{name}.parquet"
    if not path.is_file():
        try:
            table = form.table(name)
        except RunError as error:
            raise UnknownResultError(str(error).replace(str(form.run_dir), "the run")) from error
        with whole(path) as draft:
            write_table(table, draft)
    return path


def open_sweep(form: OpenForm, rows: Path) -> Path:
    """The rows of a sweep over the run of an open form, as a file beside them."""
    path = rows.with_name(f"{FOLDER}-{rows.name}")
    if not path.is_file():
        with whole(path) as draft:
            write_table(form.hide(read_table(rows), SWEEP), draft)
    return path


def open_report(form: OpenForm) -> Path:
    """The report of an open form as a file."""
    path = form.run_dir / FOLDER / "report.html"
    return path if path.is_file() else write_report(form.run_dir, path, form=form)


def _shown(service: Service, folder: Path) -> list[Path]:
    """Folders of the runs of its population whose open form was shown."""
    population = read_manifest(folder)["population"]["digest"]
    found, before = [], None
    while True:
        page = service.store.queue.runs("run", limit=_PAGE, before=before, state="succeeded")
        for run in page:
            other = service.home.attempt(run.id, run.attempt)
            of_population = was_shown(other) and (
                read_manifest(other)["population"]["digest"] == population
            )
            if other != folder and of_population:
                found.append(other)
        if len(page) < _PAGE:
            return found
        before = page[-1].id
