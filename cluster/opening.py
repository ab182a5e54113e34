"""The open form of runs of a home: fixed after every run shown here, made before a run succeeds.

    the runs shown before it -> its pattern, fixed once -> tables and report, files in its folder

A pattern is chosen by one process at a time: two runs first shown at once would each be chosen
without the other. What is not made yet when somebody asks for it is made then. Leaves to others
what is hidden (`ihp_compute.results`) and who may see more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Final

from cluster.home import Home
from cluster.kept import at_hand, keep_beside
from cluster.queue import Queue
from cluster.runs import Run
from cluster.states import State
from ihp_compute.errors import RunError
from ihp_compute.publishing import whole
from ihp_compute.report import write_report
from ihp_compute.results import (
    CERTIFICATION,
    OpenForm,
    open_form,
    pattern_file,
    read_manifest,
    was_shown,
)
from ihp_compute.table_files import write_table

FOLDER: Final = "open-3"
"""Another name once what is shown changes: what an earlier version made is then made anew."""
REPORT: Final = "report.html"
_PAGE: Final = 200


def opened(queue: Queue, home: Home, run_dir: Path) -> OpenForm:
    """The open form of a run in this folder.

    Raises
    ------
    RunError
        If it has none: another version made the run, or a file of it is damaged.
    """
    if was_shown(run_dir):
        keep_beside(run_dir, pattern_file(run_dir).name)
        return _kept(run_dir, pattern_file(run_dir).stat().st_mtime_ns)
    with home.one_at_a_time("opening"):
        form = open_form(run_dir, () if was_shown(run_dir) else _shown(queue, home, run_dir))
        keep_beside(run_dir, pattern_file(run_dir).name)
        return form


@lru_cache(maxsize=16)
def _kept(run_dir: Path, _fixed_ns: int) -> OpenForm:
    """An open form that was read before: a state's pattern takes a twentieth of a second."""
    return open_form(run_dir)


def open_table(form: OpenForm, name: str) -> Path:
    """A table of an open form as a file in the run's folder.

    Raises
    ------
    RunError
        If the folder does not hold the table.
    """
    path = form.run_dir / FOLDER / f"{name}.parquet"
    if not path.is_file():
        table = form.table(name)
        with whole(path) as draft:
            write_table(table, draft)
    return path


def open_report(form: OpenForm) -> Path:
    """The report of an open form as a file, made again once the run is certified."""
    path = form.run_dir / FOLDER / page_name(form.run_dir)
    return path if path.is_file() else write_report(form.run_dir, path, form=form)


def page_name(run_dir: Path) -> str:
    """Name of a report's file: another once the run is certified, so that it is made anew."""
    return "certified.html" if (run_dir / CERTIFICATION).is_file() else REPORT


def make_open(queue: Queue, home: Home, run_dir: Path) -> None:
    """Make all that a run shows to everybody, so that nobody waits for it.

    Raises
    ------
    RunError
        As `opened`.
    """
    form = opened(queue, home, run_dir)
    for name in form.tables:
        open_table(form, name)
    open_report(form)


def _shown(queue: Queue, home: Home, run_dir: Path) -> list[Path]:
    """Folders of the runs of its population whose open form was shown, or is about to be."""
    population = read_manifest(run_dir)["population"]["digest"]
    found = []
    for run in chain(_runs(queue, "committing"), _runs(queue, "succeeded")):
        other = at_hand(home.attempt(run.id, run.attempt))
        if other != run_dir and was_shown(other) and _population(other) == population:
            found.append(other)
    return found


def _runs(queue: Queue, state: State) -> Iterator[Run]:
    before = None
    while page := queue.runs("run", limit=_PAGE, before=before, state=state):
        yield from page
        before = page[-1].id


def _population(run_dir: Path) -> str | None:
    """Digest of the population of a run; None where its manifest is damaged."""
    try:
        return str(read_manifest(run_dir)["population"]["digest"])
    except RunError:
        return None
