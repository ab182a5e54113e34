"""Who belongs to whom: members by step, ties, and who came and went, for each group.

Sizes of partnerships are shown; other counts from 1 to 10 are held back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.report import numbers
from ihp_compute.report.rows import Row

STEPS: Final = ("health_care_home", "primary_care", "specialist")
MOVES: Final = ("ties", "gained", "moved_in", "lost", "moved_out")
_RESERVED: Final = (COMPARISON, UNATTRIBUTED)


def attribution_section(rows: Sequence[Row], manifest: Mapping[str, Any]) -> Row:
    """Rows of the table by group, partnerships first, in words; a sum of each, and the roster."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["partnership_id"]].append(row)
    order = sorted(found, key=lambda group: (group in _RESERVED, group))
    years = manifest["base_year"], manifest["performance_year"]
    return {
        "rows": [_words(group, found[group], years) for group in order],
        "steps": [numbers.label(step) for step in STEPS],
        "roster": manifest.get("roster", ""),
    }


def _words(group: str, rows: Sequence[Row], years: tuple[int, int]) -> Row:
    members: Counter[int] = Counter()
    by_step: Counter[str] = Counter()
    moves: Counter[str] = Counter()
    for row in rows:
        members[row["year"]] += row["members"]
        if row["year"] == years[1]:
            by_step[row["step"]] += row["members"]
            moves.update({name: row[name] for name in MOVES})
    whole = numbers.held_back if group in _RESERVED else numbers.count
    return {
        "group": group.capitalize() if group in _RESERVED else group,
        "members": [whole(members[year]) for year in years],
        "steps": [numbers.held_back(by_step[step]) for step in STEPS]
        if group != UNATTRIBUTED
        else [numbers.DASH] * len(STEPS),
        "moves": [numbers.held_back(moves[name]) for name in MOVES],
    }
