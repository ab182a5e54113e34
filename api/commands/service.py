"""`ihp serve` and `ihp keys`: the HTTP service with its dispatcher, and who may use it."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.console import app, emit_json, say, show_table
from ihp_compute.errors import InfrastructureError

if TYPE_CHECKING:
    from api.settings import Settings
    from cluster.store import Store

Home = Annotated[
    Path | None, typer.Option(help="Folder of the service; IHP_HOME unless given.", metavar="DIR")
]
GRACE_S = 2
"""How long open requests may go on once the service is told to stop."""

keys_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="8000 unless given.")] = None,
    home: Home = None,
    host: Annotated[str | None, typer.Option(help="127.0.0.1 unless given.")] = None,
) -> None:
    """Serve the HTTP API, with a dispatcher and a warm Ray cluster beside it, until told to stop.

    Prints a new API key at each start; earlier ones stay good until they expire or are revoked.
    The dispatcher is a process of its own: it outlives a server that is killed, and the next
    server on the same folder finds it or starts another.
    """
    _serve(_settings(home=home, port=port, host=host))


def _settings(**given: Any) -> Settings:
    for name in ("alembic", "fastapi", "pydantic_settings", "ray", "structlog", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise InfrastructureError(
                f"the service needs {name}, which is not installed; "
                "install ihp-compute with its extras: ihp-compute[service,cluster]"
            )
    from pydantic import ValidationError  # noqa: PLC0415 (the service is an extra)

    from api.settings import Settings  # noqa: PLC0415 (likewise)

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        names = ", ".join(f"IHP_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise typer.BadParameter(f"the service's settings do not fit: {names}") from error


def _serve(settings: Settings) -> None:
    # the service is an extra, and no other command waits for it to load
    import uvicorn  # noqa: PLC0415

    from api.app import create_app  # noqa: PLC0415
    from api.auth import OPERATOR_SCOPES, issue_key  # noqa: PLC0415
    from api.service import Service  # noqa: PLC0415
    from cluster.supervisor import Supervisor  # noqa: PLC0415

    _log_to_stderr()
    settings.folder.make()
    listening = _listen(settings.host, settings.port)
    front = settings.folder.front_lock()
    if not front.acquire(pid=os.getpid()):
        raise InfrastructureError(
            f"{settings.folder.path}: another `ihp serve` (process {front.note().get('pid')}) "
            "lives here; stop it, or name another folder with --home"
        )
    store = _store(settings)
    supervisor = Supervisor(settings.folder, arguments=_dispatcher_arguments(settings))
    service = Service(settings, store, supervisor.alive, lambda: server.should_exit)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        supervisor.start()
        _, key = issue_key(
            store.keys,
            settings.folder,
            owner="operator",
            note="printed by ihp serve",
            scopes=OPERATOR_SCOPES,
            days=settings.key_days,
        )
        host, port = listening.getsockname()[:2]
        say(f"serving http://{host}:{port} from {settings.folder.path}")
        typer.echo(f"API key: {key}")
        sys.stdout.flush()
        server.run(sockets=[listening])
    except SystemExit:
        pass  # the signal, raised again once the server has closed its connections
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # stopping is under way and takes seconds
        supervisor.stop()
        store.close()
        front.release()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InfrastructureError(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another with --port"
        ) from error
    return listening


def _dispatcher_arguments(settings: Settings) -> list[str]:
    arguments = ["--ray-address", settings.ray_address]
    if settings.database_url is not None:
        arguments += ["--database", settings.database_url]
    if settings.cpus is not None:
        arguments += ["--cpus", str(settings.cpus)]
    return arguments


def _store(settings: Settings) -> Store:
    from cluster.store import Store  # noqa: PLC0415 (the service is an extra)

    settings.folder.make()
    return Store(settings.database)


def _log_to_stderr() -> None:
    import structlog  # noqa: PLC0415 (the service is an extra)

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@keys_app.command("create")
def create_key(
    scope: Annotated[list[str], typer.Option(help="May be given more than once.")],
    owner: Annotated[str, typer.Option(help="Whose key it is.")] = "operator",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: Home = None,
) -> None:
    """Make an API key and print it, once."""
    from api.auth import SCOPES, issue_key  # noqa: PLC0415 (the service is an extra)

    unknown = sorted(set(scope) - set(SCOPES))
    if unknown:
        raise typer.BadParameter(
            f"expected some of {', '.join(SCOPES)}, got {unknown[0]}", param_hint="--scope"
        )
    settings = _settings(home=home)
    store = _store(settings)
    try:
        key_id, key = issue_key(
            store.keys,
            settings.folder,
            owner=owner,
            note=note,
            scopes=scope,
            days=settings.key_days,
        )
    finally:
        store.close()
    say(f"key {key_id} of {owner}: {', '.join(scope)}; it is shown this once")
    typer.echo(f"API key: {key}")


@keys_app.command("list")
def list_keys(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the API keys, without the keys themselves."""
    from api.auth import KeyView  # noqa: PLC0415 (the service is an extra)

    store = _store(_settings(home=home))
    try:
        views = [KeyView.of(key) for key in store.keys.issued()]
    finally:
        store.close()
    if as_json:
        emit_json([view.model_dump(mode="json") for view in views])
        return
    columns = dict.fromkeys(("id", "owner", "note", "scopes", "state", "expires"), "left")
    rows = [
        [view.id, view.owner, view.note, " ".join(view.scopes), view.state, f"{view.expires_at:%F}"]
        for view in views
    ]
    show_table("API keys", columns, rows)


@keys_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `ihp keys list` shows it.")],
    home: Home = None,
) -> None:
    """Make an API key useless from now on."""
    store = _store(_settings(home=home))
    try:
        done = store.keys.revoke(key_id)
    finally:
        store.close()
    if not done:
        raise typer.BadParameter("no key of this id is in use; `ihp keys list` shows them")
    say(f"key {key_id} is revoked")
