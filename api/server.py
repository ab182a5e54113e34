"""The server: doors with connections behind them, each bounded in time, all bounded in number.

    accept, while there is room (`listening`) -> head, body and answer in time (`connections`)

One address may not have all connections by asking for nothing: those without a request are bounded
by address too. Deadlines are looked at twice a second, for all connections at once. What is
bounded, and how, is said by `settings`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from api.connections import Bounds, Connection
from api.listening import Listener
from ihp_compute.errors import InfrastructureError

GRACE_S: Final = 2
"""How long open requests may go on once the server is told to stop."""
_TICKS: Final = 5
"""Uvicorn ticks ten times a second; deadlines are looked at at every fifth."""

log = structlog.get_logger(__name__)


@dataclass
class Door:
    """An address with the application behind it.

    Attributes
    ----------
    listener : Listener
    app : callable
        By ASGI.
    bounds : Bounds
    tls : ssl.SSLContext, optional
    """

    listener: Listener
    app: ASGIApp
    bounds: Bounds
    tls: ssl.SSLContext | None = None
    state: ServerState = field(default_factory=ServerState)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.state.connections)


class Server(uvicorn.Server):
    """Serves some doors until SIGTERM, SIGINT or `should_exit`; the first door's app is the main.

    Parameters
    ----------
    doors : sequence of Door

    Attributes
    ----------
    when_told : callable
        Called once when the server is told to stop, before requests are waited for.
    """

    def __init__(self, doors: Sequence[Door]) -> None:
        super().__init__(
            uvicorn.Config(
                doors[0].app,
                loop="asyncio",
                http=H11Protocol,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._doors = doors
        self.server_state = doors[0].state
        self.when_told: Callable[[], None] = lambda: None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. Comes back within seconds of a signal, whatever threads of requests still do."""
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(_noted)
        asyncio.set_event_loop(loop)
        loop.run_until_complete(self.serve(sockets))
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            # a task whose thread hangs does not end; `asyncio.run` would wait for it for ever
            loop.run_until_complete(asyncio.wait(left, timeout=1))
        if not asyncio.all_tasks(loop):
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Open the doors."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise InfrastructureError("the service cannot start; its log has the place")
        loop = asyncio.get_running_loop()
        self.servers = []
        for door in self._doors:
            config = self.config
            if door is not self._doors[0]:
                config = uvicorn.Config(door.app, http=H11Protocol, ws="none", log_config=None)
                config.load()
            # declared as whole seconds; the loop's clock, which gets it, takes any
            config.timeout_keep_alive = door.bounds.idle_s  # type: ignore[assignment]
            times: dict[str, Any] = {}
            if door.tls is not None:
                times = {
                    "ssl_handshake_timeout": door.bounds.head_s,
                    "ssl_shutdown_timeout": door.bounds.send_s,
                }
            self.servers.append(
                await loop.create_server(
                    partial(
                        Connection,
                        config,
                        door.state,
                        self.lifespan.state,
                        bounds=door.bounds,
                    ),
                    sock=door.listener,
                    ssl=door.tls,
                    backlog=1,  # one at a time: those already open have their turn between
                    **times,
                )
            )
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Look at every deadline now and then; whether to stop."""
        leave = await super().on_tick(counter)
        if counter % _TICKS == 0:
            now_s = asyncio.get_running_loop().time()
            for door in self._doors:
                door.state.default_headers = self.server_state.default_headers
                for connection in list(door.state.connections):
                    if isinstance(connection, Connection):
                        connection.look(now_s)
        return leave

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, let open requests end for a moment."""
        self.when_told()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal; from then on signals are left aside, as stopping is under way."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)


def _noted(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.error("event_loop", what=context.get("message"), error=type(error).__name__)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer, by a certificate with its chain and the key that belongs to it.

    Raises
    ------
    ValueError
        If they cannot be read, do not belong together, or the key wants a password.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")  # asks nobody
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror or "not PEM"
        raise ValueError(
            f"{certificate} with {key}: no certificate with its unlocked key in PEM ({reason})"
        ) from error
    return context
