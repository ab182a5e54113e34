"""`ihp backup` and `ihp restore`: a service's home in one file, and back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.commands.service import Home, settings_of
from api.console import Json, app, emit_json, say

if TYPE_CHECKING:
    from cluster.backup import Backup


@app.command("backup")
def backup_command(
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE.tar")],
    home: Home = None,
    without_results: Annotated[
        bool,
        typer.Option("--without-results", help="Leave out what runs and sweeps came to."),
    ] = False,
    populations: Annotated[
        bool, typer.Option("--populations", help="With the populations of the location `default`.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a service's home into one file, while the service may go on.

    It holds the database, the secret that keys are hashed with, contract files and results, so it
    is readable by its owner only; keep it as you keep the home. A database in PostgreSQL is not in
    it: take that by `pg_dump` first, then this.
    """
    settings = settings_of(home=home)
    from cluster.backup import take_backup  # noqa: PLC0415 (the service is an extra)

    taken = take_backup(
        settings.folder,
        settings.database,
        out,
        results=not without_results,
        populations=populations,
        replace=replace,
    )
    _show(taken, f"{out}: written", as_json=as_json)


@app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.tar", help="What `ihp backup` wrote.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a service's home of a backup, after comparing every file with what was written.

    The home must be new. Keys go on being good; runs that were under way are taken up again.
    """
    settings = settings_of(home=home)
    from cluster.backup import restore  # noqa: PLC0415 (the service is an extra)

    restored = restore(file, settings.folder)
    _show(restored, f"{settings.folder.path}: restored", as_json=as_json)


def _show(backup: Backup, what: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(asdict(backup))
        return
    without = "" if backup.has_database else "; the database is elsewhere, and not in it"
    say(
        f"{what}, {backup.n_files:,} files, {backup.n_bytes:,} bytes, results of "
        f"{backup.n_results:,} runs and sweeps{without}"
    )
