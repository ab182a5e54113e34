"""The appeal pack: one partnership's settlement and all that it rests on, to read and check.

    OUT/index.html           pages to print, then the people
    OUT/walk.csv             the steps, with dollars, rate, citation
    OUT/trace.csv            the formulas, with numbers put in
    OUT/cells.csv            the rate cells of both years
    OUT/reconciliation.csv   from what was paid to what is counted
    OUT/people.csv           attributed people of both years            restricted
    OUT/over_cap.csv         those of them above the cap                restricted
    OUT/over_cap_lines.csv   their lines that counted                   restricted

Amounts that the run holds are the run's; people's lines and the reconciliation are measured again
from its population, by its terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ihp_compute.errors import RunError
from ihp_compute.explain.origin import plans_of
from ihp_compute.explain.partnership import PartnershipExplained, explain_partnership
from ihp_compute.explain.people import LINE_COLUMNS, consenting, lines_over_cap, people_of
from ihp_compute.explain.reconciliation import dollars_of, reconciliation
from ihp_compute.explain.trace import trace
from ihp_compute.folders import OTHERWISE, Kind, check_target, write_manifest
from ihp_compute.measure import Plan
from ihp_compute.population import open_population
from ihp_compute.publishing import beside, publish
from ihp_compute.report import PackPage, write_pack_page
from ihp_compute.results import ATTRIBUTION, CELLS, PAID_AHEAD, read_manifest, result
from ihp_compute.table_files import write_table

PACK: Final = Kind(
    "pack",
    entries=("partnership_id", "run"),
    error=RunError,
    no_folder="{folder}: is not an appeal pack",
    no_manifest="{folder}: is not an appeal pack",
    unreadable="{manifest}: cannot be read ({reason}); write the pack again",
    another="{manifest}: expected the manifest of a pack, got {found!r}",
    incomplete="{manifest}: lacks {missing}; write the pack again",
    is_file="{folder}: is a file, expected a folder to make; choose another --out",
    occupied="{folder}: {what}, which will not be overwritten; choose another --out",
)
PAGE: Final = "index.html"


@dataclass(frozen=True)
class Pack:
    """A pack as it was written.

    Attributes
    ----------
    folder : Path
    partnership_id : str
    rows : mapping
        Rows of each of its tables, by name.
    """

    folder: Path
    partnership_id: str
    rows: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {
            "partnership_id": self.partnership_id,
            "folder": str(self.folder),
            "page": str(self.folder / PAGE),
            "rows": dict(self.rows),
        }


def write_pack(
    run_dir: Path, partnership_id: str, out: Path, *, on: date | None = None, replace: bool = False
) -> Pack:
    """Write the appeal pack of one partnership. Restricted: it names people and their claims.

    Parameters
    ----------
    run_dir : Path
    partnership_id : str
    out : Path
        Folder to make; it appears whole or not at all.
    on : date, optional
        Day of disclosure, on which a consent to show lines on substance use must hold; today.
    replace : bool
        Whether to take the place of a pack that stands there.

    Returns
    -------
    Pack

    Raises
    ------
    RunError
        If the folder is not a finished run, the partnership is not in it, its population changed or
        moved, or something else stands in the place of the folder.
    """
    check_target(out, PACK)
    if out.exists() and any(out.iterdir()) and not replace:
        raise RunError(f"{out}: a pack stands there; {OTHERWISE}")
    explained = explain_partnership(run_dir, partnership_id)
    manifest = read_manifest(run_dir, go_on=True)
    plan = next(p for p in plans_of(run_dir) if partnership_id in p.contracts.contracts)
    way = manifest["completion"]["measurements"][plan.measurement]
    groups = [g for g in plan.roster.groups if plan.contracts.settles(g) == partnership_id]
    population = open_population(plan.origin.path)
    agreement = plan.contracts.at(plan.performance_year)[partnership_id]
    cells = _of(run_dir, CELLS, partnership_id)
    people = people_of(run_dir, plan, groups, int(way["first_rule_set"]))
    over_cap = sorted(
        (row for row in people if row["above_cap_cents"]),
        key=lambda row: (row["year"], -row["above_cap_cents"], row["member_id"]),
    )
    consent = consenting(population, on or datetime.now(UTC).date())
    tables: dict[str, list[dict[str, Any]]] = {
        "walk": explained.document()["walk"],
        "trace": trace(agreement, cells, explained.walk),
        "cells": cells,
        "reconciliation": _reconciled(
            plan, explained, groups, people, _paid_ahead(run_dir, plan, groups)
        ),
        "people": people,
        "over_cap": [{name: row[name] for name in _OVER_CAP} for row in over_cap],
        "over_cap_lines": lines_over_cap(plan, population, over_cap, consent),
    }
    page = PackPage(
        manifest=manifest,
        partnership=explained.settlement,
        walk=explained.walk,
        intervals=explained.intervals,
        agreement=agreement,
        attribution=[row for group in groups for row in _of(run_dir, ATTRIBUTION, group)],
        tables=tables,
    )
    with beside(out) as folder:
        for name, rows in tables.items():
            write_table(_table(name, rows), folder / f"{name}.csv")
        write_pack_page(page, folder / PAGE)
        write_manifest(
            folder, {"kind": PACK.name, "partnership_id": partnership_id, "run": manifest["digest"]}
        )
        publish(folder, out)
    return Pack(out, partnership_id, {name: len(rows) for name, rows in tables.items()})


_OVER_CAP: Final = (
    "member_id", "year", "member_months", "uncapped_cents", "above_cap_cents", "cost_cents",
)  # fmt: skip


def _reconciled(
    plan: Plan,
    explained: PartnershipExplained,
    groups: Sequence[str],
    people: Sequence[Mapping[str, Any]],
    paid_ahead_cents: Sequence[int],
) -> list[dict[str, Any]]:
    """Both years' dollars; what the run holds of the same people must be what they add up to."""
    places = [plan.roster.groups.index(group) for group in groups]
    found = reduce(add, (dollars_of(shard, plan, places) for shard in plan.shards))
    rows = reconciliation(
        found, plan.years, paid_ahead_cents, (None, explained.settlement["observed_cents"])
    )
    of_base = paid_ahead_cents[0] + sum(
        row["cost_cents"] for row in people if row["year"] == plan.base_year
    )
    last = next(r for r in reversed(rows) if r["year"] == plan.base_year)
    if last["cents"] != of_base:
        raise RunError(
            "the base year's dollars are not those of the run; verify it with ihp verify"
        )
    return rows


def _paid_ahead(run_dir: Path, plan: Plan, groups: Sequence[str]) -> list[int]:
    """Population-based payments of both years that are the groups' cost."""
    rows = [row for group in groups for row in _of(run_dir, PAID_AHEAD, group)]
    return [
        sum(row["payment_cents"] for row in rows if row["counted_in"] and row["year"] == year)
        for year in plan.years
    ]


def _of(run_dir: Path, declared: Any, partnership_id: str) -> list[dict[str, Any]]:
    table = result(run_dir, declared)
    rows = table.filter(pc.equal(table.column("partnership_id"), partnership_id)).to_pylist()
    return [
        {name: value for name, value in row.items() if name != "partnership_id"} for row in rows
    ]


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table; of none, the columns that they would have."""
    if rows:
        return pa.Table.from_pylist([dict(row) for row in rows])
    columns = {"over_cap": _OVER_CAP, "over_cap_lines": LINE_COLUMNS}.get(name, ())
    return pa.table({column: pa.array([], pa.string()) for column in columns})
