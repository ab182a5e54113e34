"""Sums of what members' two scores are made of, by group and rate cell, and of who stayed.

Sums are of integers and add over shards. Not here: the parts of a score (`risk`), what the sums
come to (`results.score_changes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure.attribution import Attribution
from ihp_compute.risk import ScoreParts
from ihp_compute.units import sums_by

SCORE_PARTS: Final = ("months", "demographic", "codes", "filled", "model")
"""What is summed by year and rate cell: member months, and months times each part of a score."""


def score_change(
    parts: ScoreParts | None, attributions: Sequence[Attribution], *, n_groups: int
) -> NDArray[np.int64]:
    """Sums of one shard's groups, the state after them.

    Returns
    -------
    int64[n_groups + 1, 2, n_rate_cells + 1, n_parts]
        By group, year and rate cell, `SCORE_PARTS`, micro-units times months. In the cell after
        the last, of the performance year, who was a member of the group in the base year too and is
        scored by the model in both: their months, and in `codes` months of the performance year
        times what their codes add more than in the base year. Without parts nothing: of 0 groups.
    """
    if parts is None:
        return np.zeros((0, 2, len(RATE_CELLS) + 1, len(SCORE_PARTS)), np.int64)
    found = np.zeros((n_groups + 1, 2, len(RATE_CELLS) + 1, len(SCORE_PARTS)), np.int64)
    none = np.zeros_like(parts.model_micro)
    for y, (a, model) in enumerate(zip(attributions, (none, parts.model_micro), strict=True)):
        here = np.flatnonzero(a.group >= 0)
        group = a.group[here].astype(np.int64)
        values = (
            np.ones_like(group),
            parts.demographic_micro[y][here],
            parts.codes_micro[y][here],
            parts.filled_micro[y][here],
            model[here],
        )
        for c, months in enumerate(a.months[:, here]):
            if months.any():
                for p, value in enumerate(values):
                    found[:-1, y, c, p] = sums_by(group, months * value, n_groups)
    base, now = attributions
    both = (base.group >= 0) & (now.group >= 0) & parts.scored & (base.months.sum(axis=0) > 0)
    months = now.months.sum(axis=0)
    more = months * (parts.codes_micro[1] - parts.codes_micro[0])
    same = np.flatnonzero(both & (base.group == now.group))
    for p, values in ((SCORE_PARTS.index("months"), months), (SCORE_PARTS.index("codes"), more)):
        found[:-1, 1, -1, p] = sums_by(now.group[same].astype(np.int64), values[same], n_groups)
        found[-1, 1, -1, p] = values[both].sum()
    found[-1, :, :-1] = found[:-1, :, :-1].sum(axis=0)
    return found
