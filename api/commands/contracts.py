"""`ihp settle` settles given aggregates; `ihp contracts` lists, shows and checks contracts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.console import Json, app, emit_json, say, show_table, stdout
from ihp_compute import contracts, table_files
from ihp_compute.contracts import KINDS, NAMED
from ihp_compute.errors import DataError
from ihp_compute.folders import check_file_place
from ihp_compute.publishing import whole
from ihp_compute.settlement import exhibit, settle_table
from ihp_compute.table_files import READABLE
from ihp_compute.units import dollars

Year = Annotated[int | None, typer.Option(help="Performance year; the latest values without it.")]

contracts_app = typer.Typer(help="Contracts: list, show, copy, check, paths.", no_args_is_help=True)
app.add_typer(contracts_app, name="contracts")

SHOWN_ROWS = 40


@app.command("settle")
def settle_command(
    table: Annotated[Path, typer.Argument(help=f"Aggregates: {READABLE}.")],
    contract_name: Annotated[
        str, typer.Option("--contract", help="Contract name or file of rows that name none.")
    ],
    out: Annotated[Path, typer.Option(help="Settled rows: .csv, .parquet or .arrow.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Settle a table of targets and observed costs, one row out per row in.

    The table has the columns partnership_id, n_members, target_usd, observed_usd; it may have
    contract, performance_year (without it the latest values), quality_score (0 to 1), and any
    column named by a term's path, which takes the term's place in its row (ihp contracts paths
    lists them). Capitals do not matter, nor whether commas, semicolons or tabs separate. Of a
    workbook the first sheet is read, with a header in its first row.

    Example: ihp settle totals.xlsx --contract mn-ihp-2.0-track-2 --out settled.csv
    """
    if out.exists() and table.exists() and out.samefile(table):
        raise DataError(f"{out}: is the table to settle; choose another --out")
    check_file_place(out, replace=replace)
    settled = settle_table(table_files.read_table(table), contract_name, where=table.name)
    check_file_place(out, replace=replace)
    with whole(out) as draft:
        table_files.write_table(settled.table, draft)
    total = int(settled.payment_cents.sum())
    if as_json:
        emit_json(
            {
                "out": str(out),
                "rows": settled.table.num_rows,
                "draft_terms": list(settled.drafts),
                "notes": list(settled.notes),
                "payment_cents": total,
            }
        )
        return
    for line in settled.drafts:
        stdout.print(line, markup=False)
    for line in settled.notes:
        say(line)
    show_table(
        f"{settled.table.num_rows:,} rows settled into {out}",
        {
            "partnership": "left", "year": "right", "contract": "left", "savings": "right",
            "rate": "right", "gate": "right", "share": "right", "payment": "right",
        },
        [_shown(row) for row in settled.table.slice(0, SHOWN_ROWS).to_pylist()],
    )  # fmt: skip
    if settled.table.num_rows > SHOWN_ROWS:
        say(f"and {settled.table.num_rows - SHOWN_ROWS:,} more rows in {out}")
    say(f"payments in all: {dollars(total)}")


def _shown(row: dict[str, Any]) -> list[str]:
    def usd(name: str) -> str:
        return dollars(round(row[name] * 100))

    gate = f"no {'loss' if row['savings_usd'] < 0 else 'gain'} settles"
    if row["gate_rate"] is not None:
        gate = f"{row['gate_rate']:.2%} {'met' if row['gate_passed'] else 'missed'}"
    return [
        row["partnership_id"],
        str(row["performance_year"] or ""),
        row["contract"],
        usd("savings_usd"),
        f"{row['savings_rate']:+.2%}",
        gate,
        usd("share_usd"),
        usd("payment_usd"),
    ]


@contracts_app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the contracts shipped."""
    found = [contracts.load(name) for name in contracts.names()]
    if as_json:
        emit_json(
            [
                {
                    "name": c.name,
                    "title": c.title,
                    "programme": c.programme,
                    "summary": c.summary,
                    "sha256": c.sha256,
                }
                for c in found
            ]
        )
        return
    for c in found:
        stdout.print(f"{c.name:36}{c.title}", markup=False)
        stdout.print(f"{'':36}{c.summary}", markup=False)


@contracts_app.command("new")
def new_command(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Contract name or file to copy.")],
    name: Annotated[str, typer.Option("--as", help="Name of the copy.")],
    folder: Annotated[Path, typer.Option("--in", help="Folder to write NAME.toml into.")] = Path(),
    as_json: Json = False,
) -> None:
    """Copy a contract under a name of its own, to put the terms of an agreement into."""
    path, made = contracts.copy(source, name, folder)
    if as_json:
        emit_json({"file": str(path), "name": made.name, "sha256": made.sha256})
        return
    stdout.print(f"{path}: {made.name}, a copy of {source}; change its terms, then", markup=False)
    stdout.print(f"  ihp contracts check {path}", markup=False)


@contracts_app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="Contract name or file.")],
    year: Year = None,
    as_json: Json = False,
) -> None:
    """Print a contract: steps in order, each value with its page, and an example in dollars."""
    found = contracts.load(name)
    agreement = found.at(year)
    if as_json:
        emit_json(exhibit.document(found, agreement))
        return
    for line in exhibit.lines(found, agreement):
        stdout.print(line, markup=False)


@contracts_app.command("paths")
def paths_command(as_json: Json = False) -> None:
    """List every term that a contract has: its path, unit, meaning and what it may be."""
    rows = [
        {
            "path": path,
            "unit": kind.unit,
            "meaning": kind.meaning,
            "expected": kind.expected(),
        }
        for path, kind in {**KINDS, **{f"{p}NAME": kind for p, kind in NAMED.items()}}.items()
    ]
    if as_json:
        emit_json(rows)
        return
    for row in rows:
        stdout.print(f"{row['path']}  [{row['unit']}]", markup=False)
        stdout.print(f"    {row['meaning']}", markup=False)
        stdout.print(f"    {row['expected']}", markup=False)


@contracts_app.command("check")
def check_command(
    file: Annotated[Path, typer.Argument(help="Contract or contract-set file (.toml).")],
    year: Year = None,
    as_json: Json = False,
) -> None:
    """Read a contract or a contract set, and say what is wrong or that nothing is."""
    checked = contracts.check(file, year)
    if as_json:
        emit_json(checked)
        return
    for line in (*checked["draft_terms"], *checked["newer_terms"], *checked["notes"]):
        stdout.print(line, markup=False)
    stdout.print(
        f"{file.name}: {checked['kind']} {checked['name']} is well formed; "
        f"{checked['terms']} terms, sha256 {checked['sha256'][:12]}",
        markup=False,
    )
