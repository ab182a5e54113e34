"""What is settled by scope, and how sure it is: rows of `settlement_state` and `intervals`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ihp_compute.settlement import CONDITIONINGS, SUMMED, Scope, Settled
from ihp_compute.uncertainty import intervals

MEASURES: Final = ("savings_rate", "savings_cents", "payment_cents", "state_net_cents")


def scope_rows(scopes: Sequence[Scope]) -> Iterator[dict[str, Any]]:
    """Rows of `tables.SETTLEMENT_STATE`."""
    for one in scopes:
        sums = {name: one.total(name) for name in ("n_members", "member_months", *SUMMED)}
        yield {"scope": one.scope, "scope_id": one.scope_id, **sums}


def interval_rows(scopes: Sequence[Scope]) -> Iterator[dict[str, Any]]:
    """Rows of `tables.INTERVALS`; none without draws."""
    for one in scopes:
        flags = " ".join(dict.fromkeys(flag for own in one.settled for flag in _flags(own)))
        for conditioning in CONDITIONINGS:
            for measure in MEASURES:
                for interval in intervals(getattr(one.draws[conditioning], measure)):
                    yield {
                        "scope": one.scope,
                        "partnership_id": one.scope_id,
                        "measure": measure,
                        "item": "",
                        "conditioning": conditioning,
                        "flag": flags,
                        **vars(interval),
                    }


def _flags(settled: Settled) -> list[str]:
    """Why to be careful with a partnership's settlement."""
    given = {
        "below_minimum_size": settled.below_minimum_size,
        "empty_cell": settled.empty_cell_replicates,
        "quality_filled": settled.quality_fill,
        "thin_cell": settled.thin_cells,
    }
    return [flag for flag, why in given.items() if why]
