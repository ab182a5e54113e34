"""A finished run as one page with charts, for people who look before they read.

Decides: what is shown, in which words and colours, and which small counts are held back.
Leaves to others: every number (`results`).
"""

from __future__ import annotations

from ihp_compute.report.page import write_report

__all__ = [
    "write_report",
]
