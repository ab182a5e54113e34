"""Which exhibit of a run stands on which of its pages, and which tables hold its numbers.

    the report's file -> its pieces -> a page's sections, their links leading to where each stands

No page shows all: a statewide report is far larger than what a first look should load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ihp_compute.report import Pieces

OVERVIEW: Final = ""
STATEMENTS: Final = "statements"
DATA: Final = "data"
METHODS: Final = "methods"
FILES: Final = "downloads"


@dataclass(frozen=True)
class Part:
    """A page of a run.

    Attributes
    ----------
    name : str
        What the way to it says.
    sections : tuple of str
        Anchors of the report's sections on it, in order.
    """

    name: str
    sections: tuple[str, ...] = ()


PARTS: Final = {
    OVERVIEW: Part("Overview", ("settlement", "certainty", "walk")),
    STATEMENTS: Part("Statements", ("statements",)),
    "care": Part("Use of care", ("attribution", "utilisation", "outcomes")),
    "programme": Part("Quality and cost", ("quality-scores", "cost-index", "comparison")),
    DATA: Part("Data and ledger", ("excluded", "ledger", "quality")),
    METHODS: Part("Methods", ("limits", "review", "definitions", "inputs")),
    FILES: Part("Downloads"),
}
"""A run's pages by what ends their path."""

NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "settlement": ("settlement", "settlement_state", "payments"),
    "certainty": ("intervals", "chances", "distribution", "sensitivities"),
    "walk": ("walk", "score_changes"),
    "statements": ("walk", "cells", "corridor", "distribution"),
    "attribution": ("attribution",),
    "utilisation": ("utilisation",),
    "outcomes": ("outcomes", "outcome_changes"),
    "quality-scores": ("quality", "quality_measures"),
    "cost-index": ("cost_index", "cost_drivers"),
    "comparison": ("comparison",),
    "excluded": ("exclusions",),
    "ledger": ("ledger", "cells", "caps"),
    "quality": ("data_quality", "data_review"),
}
"""Tables of which a section's charts and tables are made."""

_ANCHOR: Final = re.compile(r'\sid="([^"]+)"')
_LINK: Final = re.compile(r'href="#([^"]+)"')


class Exhibits:
    """A run's report, cut and laid out over its pages.

    Parameters
    ----------
    run_id : str
    cut : Pieces
    """

    def __init__(self, run_id: str, cut: Pieces) -> None:
        self._place = f"/runs/{run_id}"
        self._cut = cut
        self.names = {anchor: bytes.fromhex(anchor[2:]).decode() for anchor in cut.statements}
        self._part_of = dict(self._anchors())

    def _anchors(self) -> Sequence[tuple[str, str]]:
        found = []
        for anchor, text in self._cut.sections.items():
            part = next((name for name, of in PARTS.items() if anchor in of.sections), METHODS)
            found += [(own, part) for own in (anchor, *_ANCHOR.findall(text))]
        return found

    @property
    def banner(self) -> str:
        """What stands over everything, its links leading from any page."""
        return self._linked(self._cut.banner, None)

    @property
    def head(self) -> str:
        """The headline of the overview."""
        return self._linked(self._cut.head, OVERVIEW)

    def sections(self, part: str) -> dict[str, str]:
        """The sections of a page by their anchors."""
        return {
            anchor: self._linked(text, part)
            for anchor, text in self._cut.sections.items()
            if self._part_of[anchor] == part
        }

    def statement(self, anchor: str) -> str:
        """The statement of a partnership."""
        return self._linked(self._cut.statements[anchor], STATEMENTS)

    def _linked(self, text: str, part: str | None) -> str:
        """Markup whose links lead to the page on which their place is."""

        def leads(link: re.Match[str]) -> str:
            anchor = link[1]
            name = self.names.get(anchor)
            if name is not None:
                where = f"{self._place}/{STATEMENTS}?partnership={quote(name, safe='')}"
            else:
                on = self._part_of.get(anchor, part)
                where = "" if on in (part, None) else f"{self._place}/{on}".rstrip("/")
            return f'href="{where}#{anchor}"'

        return _LINK.sub(leads, text)


def title_of(section: str) -> str:
    """What a section's heading says, in plain text."""
    return section.partition("</span>")[2].partition("</h2>")[0]


def numbers_of(anchor: str, folder: Path) -> list[str]:
    """Tables of a run that hold the numbers of a section."""
    return [name for name in NUMBERS.get(anchor, ()) if (folder / f"{name}.parquet").is_file()]
