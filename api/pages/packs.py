"""The appeal pack of a partnership, as one file: restricted, it names people and their claims.

    may they see members? -> noted in the audit -> made of the run and its population, once a day
        -> one archive of the pages and tables of `ihp explain --partnership --out`

A pack is of a day, because a consent to show lines on substance use must hold on it.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from api.auth import ForbiddenError, RunsReader
from api.making import making_of
from api.opened import MEMBER_SCOPE, sees_all
from api.pages.frame import PageRoute
from api.problems import ConflictError, UnknownResultError
from api.queued import finished
from api.reports import WHOLE
from api.representations import file_response
from api.results import note_member_rows
from api.service import ServiceDep
from ihp_compute.errors import RunError
from ihp_compute.explain import write_pack
from ihp_compute.publishing import whole
from ihp_compute.results import TABLES, result

router = APIRouter(prefix="/runs", route_class=PageRoute, include_in_schema=False)
ZIP: Final = "application/zip"
_MADE: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: the same pack, the same bytes."""


@router.get("/{run_id}/packs/pack.zip")
async def pack(
    run_id: str,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    partnership: Annotated[str, Query(max_length=200)],
) -> Response:
    """The appeal pack of one partnership."""
    run, folder = await to_thread.run_sync(finished, service, "run", run_id)
    if not sees_all(principal):
        raise ForbiddenError(f"an appeal pack names people, and needs the scope {MEMBER_SCOPE}")
    if partnership not in await to_thread.run_sync(_partnerships, folder):
        raise UnknownResultError("no partnership of this name is settled by this run")
    await to_thread.run_sync(note_member_rows, request, "pack", run)
    today = datetime.now(UTC).date()
    stem = f"{today}-{partnership.encode().hex()}"
    path = folder / WHOLE / "packs" / f"{stem}.zip"
    await making_of(request).of(path, lambda: write_archive(folder, partnership, path, today))
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in partnership)
    headers = {"Content-Disposition": f'attachment; filename="pack-{name}.zip"'}
    return await file_response(request, path, ZIP, whole=True, headers=headers)


def _partnerships(folder: Path) -> list[str]:
    found: list[str] = result(folder, TABLES["settlement"])["partnership_id"].to_pylist()
    return found


def write_archive(folder: Path, partnership: str, path: Path, on: date) -> None:
    """Write a run's pack of a partnership as an archive.

    Raises
    ------
    ConflictError
        If its population changed, moved or is gone.
    """
    with tempfile.TemporaryDirectory(prefix="ihp-pack-", dir=folder.parent) as drafts:
        try:
            made = write_pack(folder, partnership, Path(drafts) / "pack", on=on)
        except RunError as error:
            raise ConflictError(str(error).replace(str(folder), "the run")) from error
        with whole(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(made.folder.iterdir()):
                entry = zipfile.ZipInfo(file.name, _MADE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w") as out, file.open("rb") as held:
                    shutil.copyfileobj(held, out)
