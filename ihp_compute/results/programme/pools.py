"""Rows of `pool`: what each alliance settled to, split among its members."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ihp_compute.contracts import BY_RESULTS
from ihp_compute.errors import ContractError
from ihp_compute.results.part import Part
from ihp_compute.results.programme.trends import MARKET, MEMBER, trends
from ihp_compute.results.programme_tables import POOL
from ihp_compute.settlement import pool


def pool_rows(parts: Sequence[Part]) -> dict[str, list[dict[str, Any]]]:
    """Rows of `pool`, by whatever programme; none without an alliance.

    Raises
    ------
    ContractError
        If a split is by own results, and a member or the comparison population has no months in
        one of the years.
    """
    return {POOL.name: [row for part in parts for row in _rows(part)]}


def _rows(part: Part) -> Sequence[dict[str, Any]]:
    plan, totals = part.plan, part.measured.group_totals
    alliances = plan.contracts.alliances
    if not alliances:
        return ()
    months = totals.column("perf_months")[:, :, 0].sum(axis=1)
    member_months = dict(zip(totals.groups, months.tolist(), strict=True))
    quality = {name: own for name, own in plan.quality.items() if isinstance(own, Decimal)}
    results = _results(part)
    return [
        {
            "alliance_id": share.alliance_id,
            "partnership_id": share.partnership_id,
            "position": share.position,
            "weight": float(share.weight),
            "amount_cents": share.amount_cents,
        }
        for one in part.settled
        if one.partnership_id in alliances
        for share in pool(
            alliances[one.partnership_id], one.payment_cents,
            member_months=member_months, quality=quality, difference_cents=results,
        )
    ]  # fmt: skip


def _results(part: Part) -> dict[str, int]:
    """What each member lies below the market's trend, where a split is by it."""
    plan = part.plan
    asked = [one for one in plan.contracts.alliances.values() if one.split == BY_RESULTS]
    if not asked or plan.programme is None:
        return {}
    least_months = int(plan.programme["comparison.least_months"])
    found = {
        one.scope_id: int(one.trend.difference_cents[0])
        for one in trends(part, (MARKET,), least_months, further=False)
        if one.scope == MEMBER
    }
    for alliance in asked:
        for name in alliance.members:
            if name not in found:
                raise ContractError(
                    f"{plan.contracts.name}: alliances.{alliance.alliance_id}.split: found "
                    f"own_results, and no trend of {name} against the comparison population, as "
                    "one of them has no months in a year; expected months of both in both years: "
                    "split by something else"
                )
    return found
