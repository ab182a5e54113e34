"""`ihp pbp`: the population-based payment of a quarter, or the true-up of a year."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ
from api.console import app, emit_json, named, progress, say, stdout
from ihp_compute.payments import Paid, Period, check_output, pay, write
from ihp_compute.runner import LocalRunner
from ihp_compute.units import dollars


@app.command("pbp")
def pbp_command(
    population: Annotated[
        Path, typer.Argument(help="Prepared population.", metavar="POPULATION", **READ)
    ],
    contracts: Annotated[
        list[str], typer.Option(help="Contract name, term file or statewide contract set.")
    ],
    out: Annotated[Path, typer.Option(help="Rows to write: .csv, .parquet or .arrow.")],
    quarter: Annotated[
        str | None, typer.Option(metavar="YEARQn", help="Quarter to pay, as in 2024Q3.")
    ] = None,
    true_up: Annotated[
        int | None, typer.Option(min=1900, max=2200, help="Year to true up, once it is over.")
    ] = None,
    paid_through: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Visits and diagnoses paid later are not known; fees always are.",
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="GATE=REASON", help="Let a gate trip, for this reason; repeatable."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is in --out.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; all cores unless given.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Pay every partnership whose contract has a rate, by payer, risk contract or not.

    People are those of the year before by the roster of 1 January; a true-up moves months.
    """
    period = _period(quarter, true_up)
    check_output(out, replace=replace)
    with progress("pbp") as tell:
        paid = pay(
            population,
            contracts,
            period,
            LocalRunner(threads),
            tell,
            paid_through=None if paid_through is None else paid_through.date(),
            accept=named(accept, "--accept"),
        )
    write(paid, out, replace=replace)
    if as_json:
        emit_json({"out": str(out), **paid.document()})
        return
    _show(paid, out)


def _period(quarter: str | None, true_up: int | None) -> Period:
    """The period asked for.

    Raises
    ------
    typer.BadParameter
        If none is, or both, or a quarter is none.
    """
    if (quarter is None) == (true_up is None):
        raise typer.BadParameter(
            "expected a quarter to pay or a year to true up, one of both",
            param_hint="--quarter, --true-up",
        )
    if quarter is None:
        return Period(int(true_up or 0))
    try:
        return Period.of_quarter(quarter)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--quarter") from None


def _show(paid: Paid, out: Path) -> None:
    for line in (*paid.drafts, *paid.notes):
        stdout.print(line, markup=False)
    for what, count in paid.counts.items():
        if what.startswith("without_") and count["members"]:
            say(
                f"{what.replace('_', ' ')}: {count['members']:,} people, "
                f"{count['member_months']:,} member months, {dollars(count['payment_cents'])}"
            )
    below = paid.counts["fees_below_zero"]
    if below["member_months"]:
        say(
            f"fees below zero take nothing off: {below['member_months']:,} member months, "
            f"{dollars(below['fees_cents'])}"
        )
    totals = paid.totals()
    say(
        f"{paid.about['period']}: {paid.counts['members']['members']:,} people, "
        f"{totals['member_months']:,} member months, {dollars(totals['payment_cents'])}, fees "
        f"taken off {dollars(totals['offset_cents'])}"
    )
    say(f"{out}: {paid.table.num_rows:,} rows")
