"""How Sphinx makes the site of these pages: `make docs`.

Nothing is fetched, when it is made or when it is read: the theme brings what it needs.
Pages of the project that stand elsewhere are taken in whole, with their links turned to the site.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ihp_compute import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parents[1]
TAKEN_IN: Final = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "ihp_compute/contracts/shipped/README.md": "term-files.md",
    "tests/faults/README.md": "faults.md",
}
"""Pages elsewhere in the project, and the page of the site that shows each."""

project = "IHP Compute"
author = "IHP Compute"
copyright = "IHP Compute, Apache-2.0"  # noqa: A001 - Sphinx reads this name
version = release = __version__

extensions = ["myst_parser"]
suppress_warnings = ["myst.header"]  # tables of declarations start at the third level
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

html_theme = "furo"
html_title = "IHP Compute"
html_copy_source = False
html_show_sphinx = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


def _turned(text: str, folder: str, page: str) -> str:
    """Links of a text that stands in `folder` of the project, as the site's `page` has them."""

    def turn(link: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(folder, link[1]))  # noqa: PTH118 - no file is meant
        shown = TAKEN_IN.get(target, os.path.relpath(target, "docs"))
        at = Path(page).parent
        return f"]({os.path.relpath(shown, at)}{link[2] or ''})"

    return re.sub(r"\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", turn, text)


def _read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Take in what a page names, and turn the links of every page."""
    page = f"{name}.md"

    def whole(found: re.Match[str]) -> str:
        path = (ROOT / "docs" / page).parent / found[1]
        folder = os.path.relpath(path.resolve().parent, ROOT)
        return _turned(path.read_text(encoding="utf-8"), folder, page)

    own = _turned(source[0], os.path.normpath(f"docs/{Path(page).parent}"), page)
    source[0] = re.sub(r"^```\{include\} (\S+)\n```$", whole, own, flags=re.MULTILINE)


STYLES: Final = {
    ' style="display: none;"': ' display="none"',
    ' style="opacity: 50%"': ' opacity="0.5"',
}
"""Styles of the theme's drawings, and the attribute that says the same: a policy allows it."""


def _plain(app: Sphinx, failed: Exception | None) -> None:
    """Leave no style in an element of a page.

    Raises
    ------
    ValueError
        If the theme has one that is not known here.
    """
    if failed is not None:
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for style, attribute in STYLES.items():
            text = text.replace(style, attribute)
        left = re.search(r"<[a-z][^<>]*\sstyle=\"[^\"]*\"", text)
        if left:
            raise ValueError(f"{path.name}: {left[0]}: say it by an attribute in docs/conf.py")
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Have pages read and written our way."""
    app.connect("source-read", _read)
    app.connect("build-finished", _plain)
