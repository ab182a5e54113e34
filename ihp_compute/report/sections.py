"""The page's sections in their order, with the numbers that headings, contents and texts share.

A section that a run has nothing for is neither numbered nor named.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

SECTIONS: Final = {
    "settlement": "Settlement",
    "certainty": "How sure",
    "walk": "Statewide walk",
    "statements": "Statements",
    "attribution": "Attribution",
    "utilisation": "Utilisation",
    "outcomes": "Outcomes",
    "quality-scores": "Quality scores",
    "cost-index": "Cost index",
    "comparison": "Trend",
    "excluded": "Excluded",
    "ledger": "Ledger",
    "quality": "Data quality",
    "limits": "Methods and limits",
    "review": "Review",
    "definitions": "Definitions",
    "inputs": "Inputs",
}
"""Anchor and name in the contents."""


def numbered(absent: Collection[str]) -> dict[str, tuple[int, str]]:
    """Number and name of each section by its anchor, without those that are absent.

    >>> numbered({"certainty", "walk"})["statements"]
    (2, 'Statements')
    """
    shown = [anchor for anchor in SECTIONS if anchor not in absent]
    return {anchor: (n, SECTIONS[anchor]) for n, anchor in enumerate(shown, start=1)}
