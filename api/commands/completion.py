"""`ihp completion` and `ihp true-up`: how complete claims are, and what later ones move."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ
from api.console import app, emit_json, say, show_table
from ihp_compute.contracts import INCURRED_BY
from ihp_compute.measure import PaymentDays, year_completion
from ihp_compute.population import open_population
from ihp_compute.results import true_up
from ihp_compute.units import date_of, day_of, dollars, six_places


@app.command("completion")
def completion_command(
    population: Annotated[
        Path, typer.Argument(help="Made by `ihp ingest`.", metavar="POPULATION", **READ)
    ],
    year: Annotated[int | None, typer.Option(help="Year of service; the last full one.")] = None,
    paid_through: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Claims paid later are left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Develop a year's claims by chain ladder; its ratio is what a contract's completion takes."""
    opened = open_population(population)
    first, last = opened.manifest["full_years"]
    cutoff = (
        int(opened.manifest["last_paid_day"])
        if paid_through is None
        else day_of(paid_through.date())
    )
    found = year_completion(
        PaymentDays.of(opened.payment_days(), INCURRED_BY["claim_end"]),
        year=last if year is None else year,
        first_year=min(first, last if year is None else year),
        cutoff_day=cutoff,
    )
    months = [
        (month, cents, None if factor is None else six_places(factor))
        for month, (cents, factor) in enumerate(
            zip(found.month_cents, found.factors, strict=True), start=1
        )
    ]
    if as_json:
        emit_json(
            {
                "year": found.year,
                "paid_through": date_of(cutoff),
                "run_out_months": found.run_out_months,
                "months": [
                    {"month": month, "paid_cents": cents, "factor": factor}
                    for month, cents, factor in months
                ],
                "ratio": None if found.ratio is None else six_places(found.ratio),
                "undated_cents": found.undated_cents,
            }
        )
        return
    show_table(
        f"completion of {found.year}, claims paid through {date_of(cutoff)}, {found.run_out}",
        {"month": "right", "paid": "right", "factor": "right"},
        [
            [str(month), dollars(cents), "not known" if factor is None else str(factor)]
            for month, cents, factor in months
        ],
    )
    if found.undated_cents:
        say(f"without a payment date, taken as complete: {dollars(found.undated_cents)}")
    say(
        f"the year: {found.shown}; a run completes by itself, or takes it as observed.completion "
        "or target.completion of a contract whose completion.method is given"
    )


@app.command("true-up")
def true_up_command(
    final: Annotated[
        Path, typer.Argument(help="Run of the final settlement.", metavar="FINAL", **READ)
    ],
    interim: Annotated[
        list[Path],
        typer.Option(help="Run of an earlier settlement; repeatable.", metavar="RUN", **READ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show final less interim: what the final settlement still pays or recoups.

    It nets what the earlier settlements have paid, each named with its digest.
    """
    found = true_up(final, *interim)
    if as_json:
        emit_json(found.document())
        return
    for one in found.nets:
        moved = sum(one.moved_cents.values())
        say(
            f"nets {one.run} ({one.status}, paid through {one.paid_through}, digest "
            f"{one.digest[:16]}): moved {dollars(moved, plus='+')}"
        )
    for what in found.differs:
        say(f"the two runs differ in {what}, not in claims alone")
    show_table(
        f"{found.performance_year}: final (paid through {found.final_through}) less interim "
        f"(paid through {found.interim_through})",
        {
            "partnership": "left",
            "interim": "right",
            "final": "right",
            "final less interim": "right",
        },
        [
            [
                name,
                dollars(found.interim_cents.get(name, 0)),
                dollars(found.final_cents.get(name, 0)),
                dollars(moved),
            ]
            for name, moved in found.moved_cents.items()
        ],
    )
    say(f"in all: {dollars(sum(found.moved_cents.values()))}")
