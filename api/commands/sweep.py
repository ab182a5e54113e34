"""`ihp sweep`: every partnership under a grid of other terms, from a run's totals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.commands.places import READ, opened
from api.commands.tables import Shown, check_shown
from api.console import app, emit_json, progress, say, stdout
from ihp_compute.remeasured import sweep_anew, ways_of
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps import ROW_LIMIT, check_output, read_grid, shown_to_all, write


@app.command("sweep")
def sweep_command(
    run: Annotated[Path, typer.Argument(help="Made by `ihp run`.", metavar="RUN", **READ)],
    grid: Annotated[Path, typer.Option(help="Axes by term path (.toml).")],
    out: Annotated[Path, typer.Option(help="Rows to write: .parquet, .arrow or .csv.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is in --out.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; all cores unless given.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Most rows, scenarios × partnerships.")
    ] = ROW_LIMIT,
    suppress: Annotated[
        bool,
        typer.Option(
            "--suppress",
            help="Only what everybody may see: rows of partnerships that the run hides are null.",
        ),
    ] = False,
    shown: Shown = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Settle a run's partnerships under every combination of terms of a grid.

    A grid file has a table [axes]: "settlement.gain.share" = { from = 0.3, to = 0.7, count = 10 }
    or = [0.4, 0.5], a line a term. Each other value of "cost.claim_cap" is measured anew, which
    takes as long as the run did.
    """
    check_shown(shown, suppress=suppress)
    check_output(out, replace=replace)
    axes = read_grid(grid)
    n_anew = len(ways_of(run, axes, limit=limit).anew)
    if n_anew:
        say(f"{n_anew} combination{'s' * (n_anew > 1)} of values to measure anew, each as a run")
    with progress("sweep") as tell:
        swept = sweep_anew(
            run, axes, LocalRunner(threads), tell, beside=out.absolute().parent, limit=limit
        )
    if suppress:
        swept = shown_to_all(swept, opened(run, shown))
    write(swept, out, replace=replace)
    if as_json:
        emit_json({"out": str(out), **swept.document()})
        return
    for line in swept.about["draft_terms"]:
        stdout.print(line, markup=False)
    say(
        f"{axes.n_scenarios:,} scenarios × {swept.about['partnerships']:,} partnerships × "
        f"{swept.about['replicates']:,} replicates ({swept.about['conditioning']}) "
        f"in {swept.seconds:.2f} s"
    )
    if not swept.is_open:
        say(f"digest {swept.digest}")
    hidden = swept.table.column("payment_cents").null_count
    held = f", {hidden:,} of them hidden" if suppress else ""
    say(f"{out}: {swept.table.num_rows:,} rows{held}")
