"""A finished run as an .xlsx workbook: every exhibit a sheet, the walk in live formulas.

Decides: which sheets there are, how cents become dollars, what stands as a formula.
Leaves to others: every number (`results`), what the formulas say (`settlement`), words (`report`).
"""

from __future__ import annotations

from ihp_compute.workbook.book import WORKBOOK, require_workbook, write_workbook

__all__ = ["WORKBOOK", "require_workbook", "write_workbook"]
