"""Finished runs as pages with charts, for people who look before they read.

Decides: what is shown, in which words and colours, and which small counts are held back.
Leaves to others: every number (`results`).
"""

from __future__ import annotations

from ihp_compute.report.about import draft, facts
from ihp_compute.report.frame import FILTERS, style
from ihp_compute.report.pack import PackPage, write_pack_page
from ihp_compute.report.page import write_report
from ihp_compute.report.paper import require_browser, write_pdf
from ihp_compute.report.pieces import Pieces, pieces
from ihp_compute.report.review import marks
from ihp_compute.report.summary import write_summary

__all__ = [
    "FILTERS",
    "PackPage",
    "Pieces",
    "draft",
    "facts",
    "marks",
    "pieces",
    "require_browser",
    "style",
    "write_pack_page",
    "write_pdf",
    "write_report",
    "write_summary",
]
