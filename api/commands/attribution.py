"""`ihp attribution`: who belongs to whom in a run, and what another rule would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from api.commands.places import READ
from api.console import app, emit_json, say, show_table
from ihp_compute.explain import OtherRule, compare_attribution
from ihp_compute.folders import check_file_place
from ihp_compute.publishing import whole
from ihp_compute.results import ATTRIBUTION, result
from ihp_compute.table_files import write_table
from ihp_compute.units import dollars


@app.command("attribution")
def attribution_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Made by `ihp run`.", **READ)],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OTHER]",
            help="Run of the same population and year by other terms: what they would do.",
            **READ,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the whole table here (.csv, .parquet, .arrow); restricted."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show members by partnership, who came and went, or who is whose by the terms of another run.

    Restricted: counts of few people are shown. What may be shown to others of the table
    attribution, `ihp tables --suppressed` writes.
    """
    if out is not None:
        check_file_place(out, replace=replace)
    if other is None:
        rows = result(run_dir, ATTRIBUTION).to_pylist()
        document: dict[str, Any] = {ATTRIBUTION.name: rows}
    else:
        found = compare_attribution(run_dir, other)
        rows, document = found.pairs, found.document()
    if out is not None:
        with whole(out) as draft:
            write_table(pa.Table.from_pylist(rows), draft)
    if as_json:
        emit_json(document)
        return
    _show_steps(rows) if other is None else _show_other(found)
    if out is not None:
        say(f"{out}: written; restricted, it has counts of few people")


def _show_steps(rows: list[dict[str, Any]]) -> None:
    names = ("members", "ties", "gained", "moved_in", "lost", "moved_out")
    show_table(
        "Attribution, by step",
        {"partnership": "left", "year": "left", "step": "left"}
        | {name.replace("_", " "): "right" for name in names},
        [
            [r["partnership_id"], str(r["year"]), r["step"], *(f"{r[n]:,}" for n in names)]
            for r in rows
        ],
    )


def _show_other(found: OtherRule) -> None:
    show_table(
        "By the terms of this run, and of the other",
        {
            "partnership": "left", "members": "right", "by the other": "right", "stay": "right",
            "payment": "right", "by the other's terms": "right", "difference": "right",
        },
        [
            [
                row["partnership_id"],
                *(f"{row[n]:,}" for n in ("members", "other_members", "members_who_stay")),
                dollars(row["payment_cents"]),
                dollars(row["other_payment_cents"]),
                dollars(row["other_payment_cents"] - row["payment_cents"], plus="+"),
            ]
            for row in found.partnerships
        ],
    )  # fmt: skip
    moved = [pair for pair in found.pairs if pair["group_id"] != pair["other_group_id"]]
    show_table(
        "Who would be whose",
        {"by this run": "left", "by the other": "left", "people": "right", "months": "right"},
        [
            [
                p["group_id"],
                p["other_group_id"],
                f"{p['members']:,}",
                f"{p['other_member_months']:,}",
            ]
            for p in sorted(moved, key=lambda p: -p["members"])
        ],
    )
