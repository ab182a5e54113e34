"""What everybody may see of a run's tables: small cells are hidden, with what would tell them.

    counts of tables -> cells -> equations -> hidden, fixed at first showing -> tables with nulls

Counts of people, or of people behind an event, from 1 to 10 are hidden with all that their rows
say, and so are others from which they would follow: by totals, siblings, rates, another table,
another run. Decides which, by counts of people and by names alone, so that runs of the same people
hide the same. Leaves to others: the whole tables (`results`), pages (`report`), who may see what
(`api`).
"""

from __future__ import annotations

from ihp_compute.results.suppression.open_tables import OpenForm, has_open_form, open_form
from ihp_compute.results.suppression.pattern import keep_pattern, pattern_file, was_shown
from ihp_compute.results.suppression.single_table import hidden_rows

__all__ = [
    "OpenForm",
    "has_open_form",
    "hidden_rows",
    "keep_pattern",
    "open_form",
    "pattern_file",
    "was_shown",
]
