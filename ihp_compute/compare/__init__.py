"""Run against run: what was asked otherwise, and what that moved in dollars.

Decides: which entries, inputs and terms are held against each other, how dollars walk from one run
to the other. Leaves to others: every number (`results`), who may see it (the form that is given).
"""

from __future__ import annotations

from ihp_compute.compare.asked import asked_otherwise, terms_otherwise
from ihp_compute.compare.dollars import STATE, DollarWalk, dollar_walks

__all__ = [
    "STATE",
    "DollarWalk",
    "asked_otherwise",
    "dollar_walks",
    "terms_otherwise",
]
