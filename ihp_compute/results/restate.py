"""The page of a finished run made again, under another statement or the same, results untouched.

    verified run -> manifest with the statement -> page -> manifest with its hash and a new seal

Nothing is computed: every result file is the one that was there, and the digest is over them. What
changes is said: the statement, the page and with them the manifest, whose seal is another one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ihp_compute.folders import MANIFEST, SEAL, file_sha256, write_manifest
from ihp_compute.publishing import beside, publish
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.verify import verify_run


@dataclass(frozen=True)
class Restated:
    """A run whose page was made again.

    Attributes
    ----------
    digest : str
        Of the results; as it was.
    seal_before, seal : str
        The manifest's own digest.
    changed : tuple of str
        Entries of the manifest, a file as `files/NAME`, that say something else than before.
    """

    digest: str
    seal_before: str
    seal: str
    changed: tuple[str, ...]


def restate(
    run_dir: Path,
    write_pages: Sequence[Callable[[Path], Path]],
    statement: Mapping[str, str] | None = None,
) -> Restated:
    """Verify a run and put its folder in place again, with another statement and pages.

    Parameters
    ----------
    run_dir : Path
        A finished run of this method version.
    write_pages : sequence of callable
        Each writes a page of the run in a folder, its workbook say, and gives its path.
    statement : mapping, optional
        Fields of a statement; without it that of the run stays.

    Raises
    ------
    RunError
        If the folder is no finished run, or is not what its run has written.
    """
    digest = verify_run(run_dir)
    held = read_manifest(run_dir, go_on=True)
    manifest: dict[str, Any] = {name: said for name, said in held.items() if name != SEAL}
    if statement is not None:
        manifest["statement"] = dict(statement)
    place = run_dir.resolve()
    with beside(place) as folder:
        shutil.copytree(place, folder, copy_function=_linked, dirs_exist_ok=True)
        (folder / MANIFEST).unlink()  # another name of the file that still stands in its place
        write_manifest(folder, manifest)
        pages = [write(folder) for write in write_pages]
        made = {page.name: file_sha256(page) for page in pages}
        manifest["files"] = {**held["files"], **made}
        write_manifest(folder, manifest)
        sealed = read_manifest(folder)
        publish(folder, place)
    return Restated(digest, held[SEAL], sealed[SEAL], tuple(_changed(held, sealed)))


def _linked(source: str, target: str) -> None:
    """The same file under another name; a copy where the file system has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    other = [name for name in now if now[name] != before.get(name) and name not in ("files", SEAL)]
    of_file = before["files"]
    return other + [f"files/{name}" for name, sha in now["files"].items() if of_file[name] != sha]
