"""Tables of what a run measures beside settlements; empty where its programme has none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from ihp_compute.content import content_sha256
from ihp_compute.measure import programme_scopes
from ihp_compute.results.part import Part
from ihp_compute.results.programme.comparison import comparison_rows
from ihp_compute.results.programme.cost_index import cost_index_rows
from ihp_compute.results.programme.outcomes import outcome_tables
from ihp_compute.results.programme.pools import pool_rows
from ihp_compute.results.programme.trends import READ_OF_CONTRACTS
from ihp_compute.results.programme_tables import PROGRAMME_TABLES
from ihp_compute.results.tables import INTERVALS

__all__ = ["PROGRAMME_TABLES", "Rows", "pool_rows", "programme_rows"]

Rows = Mapping[str, pa.Table]
"""Tables by name; of `intervals` the rows that they add."""


def programme_rows(parts: Sequence[Part]) -> Rows:
    """The programme's tables but `pool`, and rows that they add to `intervals`.

    They rest on what was measured and on no settlement, so that they may be made beside it; not
    beside each other, since each more thread of Python makes the others wait. A run over the same
    measurements, which differs in nothing that they rest on, takes them as they are.

    Parameters
    ----------
    parts : sequence of Part
        The measurements of a run; the programme is measured in the first.
    """
    return parts[0].measured.again("programme", _rests_on(parts), lambda: _made(parts))


def _rests_on(parts: Sequence[Part]) -> str:
    """SHA-256 of what the tables rest on beside what measuring does."""
    plans = [part.plan for part in parts]
    by_contract = [
        [
            (who, *(agreement[path] for path in READ_OF_CONTRACTS))
            for who, agreement in plan.contracts.at(plan.performance_year).items()
        ]
        for plan in plans
    ]
    alliances = [dict(plan.contracts.alliances) for plan in plans]
    programme = plans[0].programme
    told_by = None if programme is None else (programme.sha256, programme.year)
    return content_sha256((told_by, programme_scopes(*plans), by_contract, alliances))


def _made(parts: Sequence[Part]) -> Rows:
    indices, trends = cost_index_rows(parts), comparison_rows(parts)
    both = [*indices.get(INTERVALS.name, ()), *trends.get(INTERVALS.name, ())]
    rows = {**indices, **trends, INTERVALS.name: both}
    declared = {**PROGRAMME_TABLES, INTERVALS.name: INTERVALS}
    made = {
        name: pa.Table.from_pylist(own, schema=declared[name].arrow) for name, own in rows.items()
    }
    return {**made, **outcome_tables(parts)}
