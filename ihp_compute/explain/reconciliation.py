"""From what was paid for a partnership's people to what its settlement counts, line by line.

    paid of all their lines of a year -> less each fate but counted -> other amounts than paid
        -> floor, cap, completion -> population-based payment, if it is cost -> observed

Lines are those whose incurred day lies in the year, of people attributed in that year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import INCURRED_BY, incurred_by
from ihp_compute.errors import RunError
from ihp_compute.ledger import LINE_FATES, RunFate
from ihp_compute.measure import Plan, completed, costs, line_fates
from ihp_compute.population import Shard
from ihp_compute.units import year_bounds

_AMOUNTS: Final = ("amount_rule", "floored", "above_cap", "completed_by_run")


@dataclass(frozen=True)
class Dollars:
    """What a partnership's people of two years cost, in cents.

    Attributes
    ----------
    by_fate : int64[2, n_line_fates]
        Paid cents of their lines of the year, by `RunFate`.
    amounts : int64[2, 4]
        What the contract's amount of a line makes of those counted; what the floor gave, what the
        cap took (negative), what completion by the run added.
    """

    by_fate: NDArray[np.int64]
    amounts: NDArray[np.int64]

    def __add__(self, other: Dollars) -> Dollars:
        """Of two disjoint sets of people."""
        return Dollars(self.by_fate + other.by_fate, self.amounts + other.amounts)


def dollars_of(shard: Shard, plan: Plan, groups: Sequence[int]) -> Dollars:
    """One shard's part; groups are those of the roster that the partnership is.

    The shard is measured as in the run.
    """
    attributions = plan.attributed(shard)
    seen = plan.seen(shard)
    raw = costs(seen, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=attributions)
    done = completed(seen, plan, attributions, raw)
    _, fate = line_fates(
        seen, plan.rule_sets, cutoff_day=plan.cutoff_day, attributions=attributions, costs=done,
        group_rule_set=plan.group_rule_set, n_partnerships=plan.roster.n_partnerships,
        n_files=plan.n_files,
    )  # fmt: skip
    day = seen.column("lines", INCURRED_BY[incurred_by(plan.rule_sets)])
    paid = seen.column("lines", "paid_cents")
    of_line = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("lines")))
    rule_set = plan.group_rule_set[groups[0]]
    by_fate = np.zeros((2, len(LINE_FATES)), np.int64)
    amounts = np.zeros((2, len(_AMOUNTS)), np.int64)
    for y, attribution in enumerate(attributions):
        own = np.isin(attribution.group, groups)
        first, end = year_bounds(attribution.year)
        rows = np.flatnonzero((day >= first) & (day < end) & own[of_line])
        np.add.at(by_fate[y], fate[rows], paid[rows])
        before, after = raw[y][rule_set], done[y][rule_set]
        amounts[y] = (
            before.uncapped_cents[own].sum() - by_fate[y, RunFate.COUNTED],
            before.floored_cents[own].sum(),
            -before.above_cap_cents[own].sum(),
            (after.capped_cents - before.capped_cents)[own].sum(),
        )
    return Dollars(by_fate, amounts)


def reconciliation(
    found: Dollars,
    years: Sequence[int],
    paid_ahead_cents: Sequence[int],
    observed_cents: Sequence[int | None],
) -> list[dict[str, Any]]:
    """Lines of both years, each year's last the cost that is held against the other's.

    Parameters
    ----------
    found : Dollars
    years : sequence of int
    paid_ahead_cents : sequence of int
        Population-based payments that are cost.
    observed_cents : sequence of int or None
        What the run came to; None where it is the sum itself. What lies between the two is the
        completion that a contract states.

    Returns
    -------
    list of dict
        position, line, year, cents; a line that moves nothing in either year is left out.

    Raises
    ------
    RunError
        If the last line is not the sum of those before it.
    """
    of_year = []
    for y, (ahead, stated) in enumerate(zip(paid_ahead_cents, observed_cents, strict=True)):
        lines = {"paid": int(found.by_fate[y].sum())}
        for fate in LINE_FATES:
            if fate != RunFate.COUNTED:
                lines[f"less_{fate.label}"] = -int(found.by_fate[y, fate])
        lines |= dict(zip(_AMOUNTS, map(int, found.amounts[y]), strict=True))
        lines["population_based_payment"] = ahead
        so_far = sum(lines.values())
        lines["completion_of_contract"] = 0 if stated is None else stated - so_far
        of_year.append({**lines, "observed": so_far if stated is None else stated})
    shown = [
        line
        for line in of_year[0]
        if line in ("paid", "observed") or any(lines[line] for lines in of_year)
    ]
    rows = []
    for year, lines in zip(years, of_year, strict=True):
        if sum(lines[line] for line in shown[:-1]) != lines["observed"]:
            raise RunError(f"the dollars of {year} do not add up; verify the run with ihp verify")
        rows += [
            {"position": position, "line": line, "year": year, "cents": lines[line]}
            for position, line in enumerate(shown)
        ]
    return rows
