"""`ihp serve` and `ihp keys`: the HTTP service with its dispatcher, and who may use it."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from api.console import app, emit_json, say, show_table
from ihp_compute import freed_memory
from ihp_compute.errors import InfrastructureError

if TYPE_CHECKING:
    from api.connections import Bounds
    from api.listening import Listener
    from api.settings import Settings
    from cluster.store import Store

Home = Annotated[
    Path | None, typer.Option(help="Folder of the service; IHP_HOME unless given.", metavar="DIR")
]
HANGS_S = 2.0
"""How long a thread of a request may still keep a stopped service from ending."""

_SCRAPERS: Final = 16
"""Connections to the metrics at once."""
_LAST_PORT: Final = 65_535

keys_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@app.command()
def serve(
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="8000 unless given.")] = None,
    home: Home = None,
    host: Annotated[str | None, typer.Option(help="127.0.0.1 unless given.")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate with its chain, PEM.", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Its key, PEM, not locked.", metavar="FILE")
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Serve other machines without TLS.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(help="Serve Prometheus's metrics here; wants no key.", metavar="HOST:PORT"),
    ] = None,
) -> None:
    """Serve the HTTP API, with a dispatcher and a warm Ray cluster beside it, until told to stop.

    The first start on a home prints the operator's API key, once; `ihp keys create --operator`
    replaces it. The dispatcher is a process of its own: it outlives a server that is killed, and
    the next server on the same folder finds it or starts another.
    """
    freed_memory.give_back()  # before anything reads a table
    _serve(
        settings_of(
            home=home,
            port=port,
            host=host,
            tls_cert=tls_cert,
            tls_key=tls_key,
            plain_http=plain_http or None,
            metrics=metrics,
        )
    )


def settings_of(**given: Any) -> Settings:
    """The service's settings: what is given, else `IHP_…` variables; refused where it is absent."""
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
    from api.app import create_app  # noqa: PLC0415
    from api.auth import issue_operator_key  # noqa: PLC0415
    from api.metrics import MetricsApp  # noqa: PLC0415
    from api.server import Door, Server  # noqa: PLC0415
    from api.service import Service  # noqa: PLC0415
    from cluster import kept  # noqa: PLC0415
    from cluster.supervisor import Supervisor  # noqa: PLC0415

    tls = _tls(settings)
    counting = _metrics_address(settings)
    _log_to_stderr()
    bounds = _bounds(settings)
    listening = _listening(settings.host, settings.port, bounds.connections)
    os.umask(0o077)  # what libraries open beside our files is nobody else's either
    kept.check()
    settings.folder.make()
    front = settings.folder.front_lock()
    if not front.acquire(pid=os.getpid()):
        raise InfrastructureError(
            f"{settings.folder.path}: another `ihp serve` (process {front.note().get('pid')}) "
            "lives here; stop it, or name another folder with --home"
        )
    store = _store(settings)
    supervisor = Supervisor(settings.folder, arguments=_dispatcher_arguments(settings))
    service = Service(settings, store, supervisor.standing, lambda: server.should_exit)
    main = Door(listening, create_app(service), bounds, tls)
    service.metrics.watch(
        census=store.census,
        dispatcher_alive=supervisor.alive,
        connections=lambda: main.connections,
    )
    doors = [main]
    if counting is not None:
        few = replace(bounds, connections=_SCRAPERS)
        app_of_metrics = MetricsApp(service.metrics)
        doors.append(Door(_listening(*counting, _SCRAPERS), app_of_metrics, few))
    server = Server(doors)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    stopping = threading.Thread(target=supervisor.stop, name="stopping")
    server.when_told = stopping.start  # beside requests that still go on
    try:
        supervisor.start()
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        say(f"serving http{'s' if tls else ''}://{shown}:{port} from {settings.folder.path}")
        if not store.keys.has_operator():
            _, key = issue_operator_key(store.keys, settings.folder, days=settings.key_days)
            typer.echo(f"API key: {key}")
        sys.stdout.flush()
        server.run()
    except SystemExit:
        pass  # the signal, before there was a server to take it
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # stopping is under way and takes seconds
        if stopping.ident is None:
            stopping.start()
        stopping.join()
        store.close()
        front.release()
        _leave_threads_behind()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _leave_threads_behind() -> None:
    """End the process soon though a thread hangs in a file, say: Python would wait for ever."""

    def end() -> None:
        time.sleep(HANGS_S)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    threading.Thread(target=end, name="end", daemon=True).start()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """How connections are kept secret; without TLS nobody but this machine is served unasked."""
    from api.server import tls_context  # noqa: PLC0415 (the service is an extra)

    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise typer.BadParameter("a certificate and its key go together: --tls-cert and --tls-key")
    if settings.tls_cert is not None and settings.tls_key is not None:
        try:
            return tls_context(settings.tls_cert, settings.tls_key)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--tls-cert") from error
    if not settings.plain_http and not _stays_here(settings.host):
        raise typer.BadParameter(
            f"{settings.host} reaches other machines, and keys and results would cross the network "
            "unencrypted; give --tls-cert and --tls-key, or --plain-http behind a proxy that has "
            "them",
            param_hint="--host",
        )
    return None


def _stays_here(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host or None, None)}
    except OSError:
        return True  # no address: listening will say so
    return bool(host) and all(ipaddress.ip_address(a.split("%")[0]).is_loopback for a in found)


def _bounds(settings: Settings) -> Bounds:
    from api.connections import Bounds  # noqa: PLC0415 (the service is an extra)
    from api.listening import room_for  # noqa: PLC0415 (likewise)

    room = room_for(settings.max_connections)
    return Bounds(
        connections=room,
        waiting=max(1, settings.max_waiting * room // settings.max_connections),
        head_s=settings.head_s,
        body_s=settings.body_s,
        idle_s=settings.idle_s,
        send_s=settings.send_s,
    )


def _listening(host: str, port: int, connections: int) -> Listener:
    from api.listening import Listener, most_open  # noqa: PLC0415 (the service is an extra)

    return Listener(host, port, most=most_open(connections))


def _metrics_address(settings: Settings) -> tuple[str, int] | None:
    if settings.metrics is None:
        return None
    host, _, port = settings.metrics.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise typer.BadParameter(
            f"expected HOST:PORT, got {settings.metrics!r}", param_hint="--metrics"
        )
    return host.strip("[]"), int(port)


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
    elsewhere = settings.database_url is not None
    return Store(settings.database, owner=settings.folder if elsewhere else None)


def _log_to_stderr() -> None:
    import structlog  # noqa: PLC0415 (the service is an extra)

    # it would print what errors say, and they may quote a value; the gate logs where they arose
    logging.getLogger("uvicorn.error").disabled = True
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
    scope: Annotated[
        list[str] | None, typer.Option(help="May be given more than once.", show_default=False)
    ] = None,
    owner: Annotated[str, typer.Option(help="Whose key it is.")] = "operator",
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[
        int | None, typer.Option(min=1, help="How long it is good; 365 unless given.")
    ] = None,
    operator: Annotated[
        bool,
        typer.Option("--operator", help="Replace the operator's key; the earlier one is revoked."),
    ] = False,
    home: Home = None,
) -> None:
    """Make an API key and print it, once."""
    from api.auth import OPERATOR, SCOPES, issue_key, issue_operator_key  # noqa: PLC0415 (extra)

    if operator == bool(scope):
        raise typer.BadParameter(
            f"some of {', '.join(SCOPES)}, or --operator, which has all but results:member",
            param_hint="--scope",
        )
    scopes = scope or []
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise typer.BadParameter(
            f"expected some of {', '.join(SCOPES)}, got {unknown[0]}", param_hint="--scope"
        )
    if operator and owner != OPERATOR:
        raise typer.BadParameter("the operator's key is the operator's", param_hint="--owner")
    settings = settings_of(home=home)
    store = _store(settings)
    good_days = days or settings.key_days
    try:
        if operator:
            key_id, key = issue_operator_key(store.keys, settings.folder, days=good_days)
        else:
            key_id, key = issue_key(
                store.keys,
                settings.folder,
                owner=owner,
                note=note,
                scopes=scopes,
                days=good_days,
            )
    finally:
        store.close()
    what = "the operator's scopes" if operator else ", ".join(scopes)
    say(f"key {key_id} of {owner}, good for {good_days} days: {what}; it is shown this once")
    typer.echo(f"API key: {key}")


@keys_app.command("list")
def list_keys(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the API keys, without the keys themselves."""
    from api.auth import KeyView  # noqa: PLC0415 (the service is an extra)

    store = _store(settings_of(home=home))
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
    store = _store(settings_of(home=home))
    try:
        done = store.keys.revoke(key_id)
    finally:
        store.close()
    if not done:
        raise typer.BadParameter("no key of this id is in use; `ihp keys list` shows them")
    say(f"key {key_id} is revoked")
