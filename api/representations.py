"""How a file or a table is sent: which form and part of it, unless the caller has it.

    form by Accept -> a tag of the content -> 304? -> rows of JSON, a range of Parquet, or the whole

The tag is the content's SHA-256, the form and the part: equal content has an equal tag, whatever
the run. What everybody may see has other tags than what few may.

Not here: the forms themselves (`forms`), turns and threads (`downloads`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import pyarrow.parquet as pq
from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from api import forms
from api.downloads import Download, downloads_of
from api.forms import FORMS, JSON, PARQUET, SUFFIX, accepted
from api.lists import page_of
from api.problems import responses
from api.semantics import tag_matches
from api.service import ServiceDep

MAX_ROWS: Final = 10_000
ROWS: Final = 1000
"""Rows of a page of JSON, at most and unless said otherwise."""
TABLE: Final = responses(400, 404, 406, 409, 416, 422, 503) | {
    200: {"content": {form: {} for form in FORMS}},
    206: {"description": "Partial Content: a range of bytes of Parquet"},
    304: {"description": "Not Modified"},
}
"""Documentation of what an endpoint that gives a table may answer with."""
FILE: Final = responses(404, 409, 503) | {304: {"description": "Not Modified"}}
"""Likewise of one that gives a file."""
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


async def file_response(
    request: Request,
    path: Path,
    media_type: str,
    *,
    whole: bool,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A file as it is, or 304 where the caller has it.

    Parameters
    ----------
    request : Request
    path : Path
    media_type : str
    whole : bool
        Whether it tells all, or is as everybody may see it.
    headers : mapping, optional

    Raises
    ------
    UnknownResultError
        If there is no such file.
    """
    downloads = downloads_of(request)
    headers = _kept_by(await downloads.tag(path, forms.file_sha256), "", whole) | dict(
        headers or {}
    )
    return _known(request, headers) or Download(
        request, lambda: forms.file_bytes(path), media_type=media_type, headers=headers
    )


class Rows:
    """Which rows of a table are asked for, if they are not asked for whole."""

    def __init__(self, limit: int | None, page_token: str | None, secret: bytes) -> None:
        self.limit = limit
        self.page_token = page_token
        self.secret = secret

    def refuse(self) -> None:
        """Refuse to be read where a table is given whole.

        Raises
        ------
        RequestValidationError
        """
        named = {"limit": self.limit, "page_token": self.page_token}
        words = "only JSON is given by pages; leave it out, the other forms are given whole"
        errors = [
            {"type": "whole", "loc": ("query", name), "msg": words, "input": None}
            for name, value in named.items()
            if value is not None
        ]
        if errors:
            raise RequestValidationError(errors)


def _rows(
    service: ServiceDep,
    limit: Annotated[
        int | None,
        Query(ge=1, le=MAX_ROWS, description=f"Rows of JSON, at most; {ROWS} unless given."),
    ] = None,
    page_token: Annotated[
        str | None,
        Query(max_length=1000, description="`next_page_token` of the rows before; JSON only."),
    ] = None,
) -> Rows:
    return Rows(limit, page_token, service.home.secret())


RowsDep = Annotated[Rows, Depends(_rows)]
"""The rows that are asked for, as an endpoint takes them."""


async def table_response(request: Request, path: Path, rows: Rows, *, whole: bool) -> Response:
    """A table in the form that a request accepts, or 304 where the caller has it.

    Parameters
    ----------
    request : Request
    path : Path
        Of a Parquet file.
    rows : Rows
    whole : bool
        Whether it tells all, or is as everybody may see it.

    Raises
    ------
    NotAcceptableError
    RequestValidationError
        If the page's token is damaged, or a page is asked for in a form that has none.
    UnknownResultError
        If there is no such file.
    HTTPException
        416 for a range beyond the file, 400 for one that is none.
    """
    form = accepted(",".join(request.headers.getlist("accept")))
    if form == JSON:
        return await _page(request, path, rows, whole=whole)
    rows.refuse()
    downloads = downloads_of(request)
    # a range of bytes is of these bytes; the other forms are made anew of the same rows
    sha256 = forms.file_sha256 if form == PARQUET else forms.content_sha256
    headers = _kept_by(await downloads.tag(path, sha256), form.rpartition(".")[2], whole)
    if known := _known(request, headers):
        return known
    headers["Content-Disposition"] = f'attachment; filename="{path.stem}.{SUFFIX[form]}"'
    if form == PARQUET:
        return await _bytes(request, path, headers)
    return Download(request, lambda: forms.WRITERS[form](path), media_type=form, headers=headers)


async def _page(request: Request, path: Path, rows: Rows, *, whole: bool) -> Response:
    downloads = downloads_of(request)
    part = page_of(request, rows.limit or ROWS, rows.page_token, rows.secret)
    first = 0 if part.after is None else int(part.after) + 1
    tag = await downloads.tag(path, forms.content_sha256)
    headers = _kept_by(tag, f"json-{first}-{part.limit}", whole)
    if known := _known(request, headers):
        return known
    about = await downloads.reads.of(pq.read_metadata, path)
    shown, token = part.cut(range(first, min(first + part.wanted, about.num_rows)), str)
    return Download(
        request,
        lambda: forms.json_rows(path, first, len(shown), token),
        media_type=JSON,
        headers=headers,
    )


async def _bytes(request: Request, path: Path, headers: dict[str, str]) -> Response:
    """A Parquet file, or the range of its bytes that is asked for."""
    size = (await downloads_of(request).reads.of(path.stat)).st_size
    headers["Accept-Ranges"] = "bytes"
    asked = request.headers.get("range")
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        asked = None
    found = _range(asked, size)
    first, last = found or (0, size)
    if found:
        headers["Content-Range"] = f"bytes {first}-{last - 1}/{size}"
    return Download(
        request,
        lambda: forms.file_bytes(path, first, last),
        media_type=PARQUET,
        headers=headers,
        status_code=206 if found else 200,
        length=last - first,
    )


def _range(asked: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of what a Range header asks for; None: the whole.

    Several ranges at once, and units other than bytes, may be left unread (RFC 9110, 14.2).

    >>> _range("bytes=2-", 10), _range("bytes=-3", 10), _range("bytes=0-99", 10)
    ((2, 10), (7, 10), (0, 10))
    """
    if asked is None or not asked.startswith("bytes=") or "," in asked:
        return None
    parts = _RANGE.fullmatch("".join(asked.split()))
    if parts is None or parts[0] == "bytes=-":
        raise HTTPException(400, "the Range header is none: send bytes=FIRST-LAST, or none")
    first, last = parts.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            raise HTTPException(400, "the Range header ends before it begins")
    if start >= size:
        beyond = {"Content-Range": f"bytes */{size}"}
        raise HTTPException(416, f"the file has {size} bytes; ask for some of them", beyond)
    return start, end


def _kept_by(sha256: str, form: str, whole: bool) -> dict[str, str]:
    """Headers of what may be kept by the caller alone, and is asked for again each time."""
    parts = [sha256, *([form] if form else []), *([] if whole else ["open"])]
    return {
        "ETag": f'"{"-".join(parts)}"',
        "Vary": "Accept, Authorization",
        "Cache-Control": "private, no-cache",
    }


def _known(request: Request, headers: Mapping[str, str]) -> Response | None:
    """304, if the caller has what these headers are of."""
    if tag_matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=dict(headers))
    return None
