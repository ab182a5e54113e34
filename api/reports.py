"""Reports of a finished run as files of their own: its workbook, and its page on paper.

    find the attempt that counts -> may they see all? -> the file, made when it is first asked for
        -> sent as any file is (`representations`)

A file is kept beside the run, whole and open apart, and made anew once the run is certified.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from api.auth import RunsReader
from api.making import making_of
from api.opened import (
    CERTIFIED,
    OpenPart,
    report_of,
    sees_all,
)
from api.queued import finished
from api.reading import ReadsDep
from api.representations import FILE, file_response
from api.service import ServiceDep
from cluster.opening import FOLDER, REPORT, page_name
from ihp_compute.report import write_pdf
from ihp_compute.results import OpenForm
from ihp_compute.workbook import WORKBOOK, write_workbook

PDF: Final = "application/pdf"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PRINTED: Final = "report.pdf"
WHOLE: Final = "whole"
"""Folder of whole files that a run was not asked for when it was made."""

router = APIRouter(prefix="/v1/runs/{run_id}/reports", tags=["results"])


def _file(media_type: str) -> dict[int | str, dict[str, object]]:
    return {**FILE, 200: {"content": {media_type: {}}}}


@router.get(
    f"/{WORKBOOK}", operation_id="read_workbook", response_class=Response, responses=_file(XLSX)
)
async def workbook(
    run_id: str, request: Request, principal: RunsReader, service: ServiceDep, reads: ReadsDep
) -> Response:
    """The workbook of a run: every exhibit a sheet, the walk in formulas; whole or open."""
    _, folder = await to_thread.run_sync(finished, service, "run", run_id)
    page = await reads.of(page_name, folder)
    whole = sees_all(principal)
    if whole:
        path = folder / WORKBOOK
        if page != REPORT or not await reads.of(path.is_file):
            path = folder / WHOLE / _name(page, WORKBOOK)
            await making_of(request).of(path, lambda: write_workbook(folder, path))
    else:

        def write(form: OpenForm, path: Path) -> None:
            write_workbook(folder, path, form=form)

        place = folder / FOLDER / _name(page, WORKBOOK)
        path = await OpenPart(service, folder, place, write).found(request)
    return await file_response(request, path, XLSX, whole=whole, headers=_attached(WORKBOOK))


@router.get(
    f"/{PRINTED}", operation_id="read_report_pdf", response_class=Response, responses=_file(PDF)
)
async def printed(
    run_id: str, request: Request, principal: RunsReader, service: ServiceDep, reads: ReadsDep
) -> Response:
    """The report page of a run on paper; whole or open. Where no browser prints: 503."""
    _, folder = await to_thread.run_sync(finished, service, "run", run_id)
    name = await reads.of(page_name, folder)
    whole = sees_all(principal)
    page = await report_of(request, service, folder, whole=whole)
    path = folder / (WHOLE if whole else FOLDER) / _name(name, PRINTED)
    await making_of(request).of(path, lambda: write_pdf(page, path))
    return await file_response(request, path, PDF, whole=whole, headers=_attached(PRINTED))


def _name(page: str, name: str) -> str:
    """A file's name beside a run's page: another once the run is certified."""
    return name if page == REPORT else f"{CERTIFIED}-{name}"


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
