"""The report in pieces, for pages that show some of them beside what a report has not.

A piece is the report's own markup, so that an exhibit looks the same wherever it stands. Pieces are
cut from a report that was written, so nothing is made again and they say what its file says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SECTION: Final = re.compile(r'(?=<h2 id="([a-z-]+)">)')
_STATEMENT: Final = re.compile(
    r'<section class="statement" id="([^"]+)">\n<h3>.*?</section>\n', re.DOTALL
)
_SHEET: Final = re.compile(r'<div id="sheet-[0-9]+">\n</div>\n')
"""A sheet of paper without the statements that stood on it."""


@dataclass(frozen=True)
class Pieces:
    """The pieces of a report, as HTML.

    Attributes
    ----------
    banner : str
        Draft terms, what nobody has stated, an interim year.
    head : str
        The title, the headline and what was run.
    sections : mapping
        Each section by its anchor, numbered as in the report; `statements` without those below.
    statements : mapping
        Each partnership's statement by its anchor.
    """

    banner: str
    head: str
    sections: Mapping[str, str]
    statements: Mapping[str, str]


def pieces(page: str) -> Pieces:
    """The pieces of a run's report.

    Parameters
    ----------
    page : str
        The text of a report's file.
    """
    banner, _, rest = page[max(page.find("<header"), 0) :].partition("<main>")
    rest = rest.partition("<footer")[0]
    head, *cut = _SECTION.split(rest)
    sections = dict(zip(cut[::2], cut[1::2], strict=True))
    statements = {
        found[1]: found[0] for found in _STATEMENT.finditer(sections.get("statements", ""))
    }
    if statements:
        sections["statements"] = _SHEET.sub("", _STATEMENT.sub("", sections["statements"]))
    # the page that shows it has a banner of its own
    banner = banner.replace("<header", '<section aria-label="Status"', 1)
    banner = banner.replace("</header>", "</section>")
    return Pieces(banner, head.partition("<nav")[0], sections, statements)
