"""`ihp audit verify`: whether what a service kept of who did what is still what it wrote."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Final

import typer

from api.commands.service import Home, settings_of
from api.console import Json, app, emit_json, say
from ihp_compute.errors import DataError, InfrastructureError

audit_app = typer.Typer(help="Hold the audit to what was written.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
_SEEN: Final = re.compile(r"([1-9][0-9]{0,18}):([0-9a-f]{64})")


@audit_app.callback()
def _of_its_own() -> None:
    """A group, though it has one command."""


@audit_app.command("verify")
def verify_audit(
    seen: Annotated[
        str | None,
        typer.Option(
            help="An entry that was noted elsewhere, which must still stand.", metavar="SEQ:SHA256"
        ),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look at every entry, each chained to the one before it, and say which is the last.

    Note the last one elsewhere: given as --seen later, it tells of entries that were cut off.
    """
    noted = None
    if seen is not None:
        parts = _SEEN.fullmatch(seen)
        if parts is None:
            raise typer.BadParameter("expected SEQ:SHA256, as this command prints it")
        noted = int(parts[1]), parts[2]
    settings = settings_of(home=home)
    from cluster.store import Store  # noqa: PLC0415 (the service is an extra)

    if settings.database_url is None and not settings.folder.path.is_dir():
        raise InfrastructureError(
            f"{settings.folder.path}: no service has lived here; name its home with --home"
        )
    store = Store(settings.database)
    try:
        chain = store.audit.chain(noted)
    finally:
        store.close()
    if as_json:
        last = chain.last and {"seq": chain.last[0], "sha256": chain.last[1]}
        emit_json({"valid": chain.valid, **asdict(chain), "last": last})
    if chain.broken_at is not None:
        raise DataError(
            f"the audit is not what was written: entry {chain.broken_at} does not follow from the "
            "one before it; compare with a backup"
        )
    if not chain.has_seen:
        raise DataError(
            f"the audit has no entry {seen}: it was cut short or written anew; compare with a "
            "backup"
        )
    if not as_json:
        named = "none" if chain.last is None else f"{chain.last[0]}:{chain.last[1]}"
        say(f"{chain.entries:,} entries, each as it was written; the last is {named}")
