"""Member-years, the audit artefact: one row for each member and year, as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure.attribution import EXCLUSION_REASONS, Attribution
from ihp_compute.measure.cost import Cost
from ihp_compute.measure.plan import Plan
from ihp_compute.measure.utilisation import Utilisation
from ihp_compute.risk import Scores

STEPS = ("none", "health_care_home", "primary_care", "specialist")


def member_years_of(
    member_key: NDArray[np.uint64],
    plan: Plan,
    years: Sequence[tuple[Attribution, Scores, Sequence[Cost], Utilisation]],
) -> pa.Table:
    """One row a member and year: the audit artefact from which every total can be recomputed."""
    attributions, scores, costs, uses = zip(*years, strict=True)
    n = member_key.size

    def rows(kind: type, values: Iterable[Any]) -> NDArray[Any]:
        """Values of the years side by side, member by member."""
        out: NDArray[Any] = np.empty((n, len(years)), kind)
        for column, value in zip(out.T, values, strict=True):
            column[:] = value
        return out.reshape(-1)

    labels = {
        "group": (("", *plan.roster.groups), (a.group + 1 for a in attributions)),
        "exclusion": (EXCLUSION_REASONS, (a.reason for a in attributions)),
        "step": (STEPS, (a.step for a in attributions)),
    }
    columns: dict[str, pa.Array] = {
        "member_key": rows(np.uint64, (member_key for _ in years)),
        "year": rows(np.int16, (a.year for a in attributions)),
        **{
            name: pa.DictionaryArray.from_arrays(pa.array(rows(np.int16, codes)), pa.array(names))
            for name, (names, codes) in labels.items()
        },
        "n_visits": rows(np.int32, (a.n_visits for a in attributions)),
        "tied": rows(np.bool_, (a.tied for a in attributions)),
        "score_micro": rows(np.int64, (score.score_micro for score in scores)),
        "score_missing": rows(np.bool_, (score.missing for score in scores)),
    }
    for name in ("stays", "ed_visits", "readmissions"):
        columns[name] = rows(np.int16, (getattr(use, name) for use in uses))
    for c, cell in enumerate(RATE_CELLS):
        columns[f"months_{cell}"] = rows(np.int8, (a.months[c] for a in attributions))
    for r in range(len(costs[0])):
        for name in ("uncapped", "above_cap", "floored", "capped"):
            cents = (getattr(cost[r], f"{name}_cents") for cost in costs)
            columns[f"{'cost' if name == 'capped' else name}_r{r}_cents"] = rows(np.int64, cents)
    table = pa.table(columns)
    return table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))
