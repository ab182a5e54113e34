"""Finished runs as pages with charts, for people who look before they read.

Decides: what is shown, in which words and colours, and which small counts are held back.
Leaves to others: every number (`results`).
"""

from __future__ import annotations

from ihp_compute.report.pack import PackPage, write_pack_page
from ihp_compute.report.page import write_report
from ihp_compute.report.summary import write_summary

__all__ = [
    "PackPage",
    "write_pack_page",
    "write_report",
    "write_summary",
]
