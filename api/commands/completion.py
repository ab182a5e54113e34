"""`ihp completion`: how complete a year's claims are, by month of service."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from api.console import app, dollars, emit_json, say, show_table
from ihp_compute.completion import year_completion
from ihp_compute.population import open_population
from ihp_compute.units import date_of, day_of


@app.command("completion")
def completion_command(
    population: Annotated[Path, typer.Argument(help="Folder made by `ihp ingest`.")],
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
        opened.shards,
        year=last if year is None else year,
        first_year=min(first, last if year is None else year),
        cutoff_day=cutoff,
    )
    if as_json:
        emit_json(
            {
                "year": found.year,
                "paid_through": date_of(cutoff),
                "months": [
                    {"month": m, "paid_cents": cents, "factor": factor}
                    for m, (cents, factor) in enumerate(
                        zip(found.month_cents, found.factors, strict=True), start=1
                    )
                ],
                "ratio": found.ratio,
                "undated_cents": found.undated_cents,
            }
        )
        return
    show_table(
        f"completion of {found.year}, claims paid through {date_of(cutoff)}",
        {"month": "right", "paid": "right", "factor": "right"},
        [
            [str(m), dollars(cents), str(factor)]
            for m, (cents, factor) in enumerate(
                zip(found.month_cents, found.factors, strict=True), start=1
            )
        ],
    )
    if found.undated_cents:
        say(f"without a payment date and left out: {dollars(found.undated_cents)}")
    say(
        f"the year: {found.ratio}; give it as observed.completion or target.completion of a "
        "contract, by override or in its file"
    )
