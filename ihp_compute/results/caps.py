"""What floor and cap moved in the cost of each partnership and year, and of how many people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ihp_compute.results.part import Part

_COUNTED: Final = {"n_above_cap": "above_cap", "n_floored": "floored"}
_CENTS: Final = ("uncapped", "floored", "above_cap", "cost")


def cap_rows(part: Part) -> Iterator[dict[str, Any]]:
    """Rows of `tables.CAPS`: sums of the member-years by the cost rules that settle each."""
    plan, measured, settled = part
    rules = dict(zip(plan.roster.groups, plan.group_rule_set, strict=True))
    sums: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    names = {one.partnership_id for one in settled}
    for row in measured.once("caps", partial(_of_tables, n_rule_sets=len(plan.rule_sets))):
        group = row["group_id"]
        if group not in rules or plan.contracts.settles(group) not in names:
            continue
        own = sums[plan.contracts.settles(group), row["year"]]
        own["n_members"] += row["year_count"]
        for name in _COUNTED:
            own[name] += row[f"{name}_{rules[group]}_sum"]
        for name in _CENTS:
            own[f"{name}_cents"] += row[f"{name}_r{rules[group]}_cents_sum"]
    for (name, year), own in sorted(sums.items()):
        yield {"partnership_id": name, "year": year, **own}


def _of_tables(tables: Sequence[pa.Table], n_rule_sets: int) -> list[dict[str, Any]]:
    return [row for table in tables for row in _by_group(table, n_rule_sets)]


def _by_group(table: pa.Table, n_rule_sets: int) -> list[dict[str, Any]]:
    """Sums of a shard's member-years by group and year."""
    cents = [f"{name}_r{r}_cents" for r in range(n_rule_sets) for name in _CENTS]
    columns = {
        "group_id": table["group_id"].cast(pa.string()),
        "year": table["year"],
        **{name: table[name] for name in cents},
        **{
            f"{name}_{r}": pc.greater(table[f"{of}_r{r}_cents"], 0).cast(pa.int64())
            for r in range(n_rule_sets)
            for name, of in _COUNTED.items()
        },
    }
    found: list[dict[str, Any]] = (
        pa.table(columns)
        .group_by(["group_id", "year"])
        .aggregate(
            [
                ("year", "count"),
                *((name, "sum") for name in columns if name not in ("group_id", "year")),
            ]
        )
        .to_pylist()
    )
    return found
