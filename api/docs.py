"""The API to read and to try, as a page: Swagger UI from files of this machine, no other host.

The page lies under `/v1` and wants a key like its neighbours; the files that it is made of tell
nothing and lie under `/static`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api.auth import AnyKey

FOLDER: Final = Path(__file__).parent / "static"
SWAGGER: Final = ("fastapi_swagger", "resources")
"""An installed package and its folder of Swagger UI's files; it is located, never imported."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>IHP Compute API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="../static/swagger-ui.css">
<script defer src="../static/swagger-ui-bundle.js"></script>
<script defer src="../static/docs.js"></script>
</head>
<body>
<main id="docs"></main>
<noscript>The description itself is <a href="openapi.json">openapi.json</a>.</noscript>
</body>
</html>
"""

router = APIRouter(prefix="/v1/docs", tags=["service"])


def static_files() -> StaticFiles:
    """The files under `/static`: ours, and those of Swagger UI."""
    return StaticFiles(directory=FOLDER, packages=[SWAGGER])


@router.get("", include_in_schema=False)
async def page(_principal: AnyKey) -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})
