"""What is counted on the way of rows that were read with doubt: lines and dollars by finding.

A finding moves no dollar by itself; it names what was doubtful, and how much hangs on it. What each
means, and which must be accepted, is in `data_quality`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Doubt(NamedTuple):
    """A finding, the column that it is of ("" for a row as a whole), and what else it is of."""

    column: str
    finding: str
    subject: str = ""


@dataclass
class Findings:
    """Rows and their paid cents."""

    lines: Counter[Doubt] = field(default_factory=Counter)
    cents: Counter[Doubt] = field(default_factory=Counter)

    def see(self, doubt: Doubt, lines: int, cents: int) -> None:
        """Count some rows."""
        if lines:
            self.lines[doubt] += lines
            self.cents[doubt] += cents

    def see_rows(self, doubt: Doubt, cents: NDArray[np.int64]) -> None:
        """Count rows by their paid cents."""
        self.see(doubt, len(cents), int(cents.sum()))

    def add(self, other: Findings) -> None:
        """Add those of another part."""
        self.lines.update(other.lines)
        self.cents.update(other.cents)
