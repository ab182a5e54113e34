"""A connection that speaks HTTP, with its deadlines: head and body in time, and an answer taken.

Uvicorn has no such bounds, and nothing above it can set them: a request whose head never ends
reaches no application. A connection over the bound is told 503, a head that does not end 408, and
whoever takes nothing of an answer is cut off. `server` has each looked at now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.listening import peer_of
from api.problems import MEDIA_TYPE

_LINGER_S: Final = 1.0


@dataclass(frozen=True)
class Bounds:
    """What a connection may take.

    Attributes
    ----------
    connections : int
        How many may be open; one more is told 503.
    waiting : int
        How many of these one address may have whose request is not there yet: nobody is known by
        then, and one network may have one address. One more is told 503.
    head_s : float
        From the first byte of a request to the end of its head.
    body_s : float
        From there to the end of its body.
    idle_s : float
        How long a connection may be kept without a request.
    send_s : float
        How long an answer may wait for a reader who takes nothing of it.
    """

    connections: int
    waiting: int
    head_s: float
    body_s: float
    idle_s: float
    send_s: float


class Connection(H11Protocol):
    """One connection, with its deadlines."""

    def __init__(self, *given: Any, bounds: Bounds, **named: Any) -> None:
        super().__init__(*given, **named)
        self._bounds = bounds
        self._awaited: str | None = None  # "head" or "body": what the peer owes
        self._awaited_since_s = 0.0
        self._unsent = 0  # bytes that waited for the reader when last looked at
        self.peer = ""
        self._taken = False  # whether the reader has taken some since
        self._stalled_since_s = 0.0

    @property
    def waits(self) -> bool:
        """Whether no request is answered on it: there is none, or not its whole head."""
        return self.cycle is None or self.cycle.response_complete

    # the loop makes transports that read and write of TCP and TLS; uvicorn declares the same
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it in, or say that there are too many."""
        if len(self.connections) >= self._bounds.connections:
            words = "too many connections are open; try again"
            transport.set_protocol(_TurnedAway(transport, self.loop, words))
            return
        self.peer = peer_of(transport.get_extra_info("peername") or ("",))
        others = (one for one in self.connections if isinstance(one, Connection) and one.waits)
        if sum(one.peer == self.peer for one in others) >= self._bounds.waiting:
            words = "too many connections of this address wait for a request; send one, or close it"
            transport.set_protocol(_TurnedAway(transport, self.loop, words))
            return
        super().connection_made(transport)
        self._stalled_since_s = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(
            self._bounds.idle_s, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """Go on with what came behind the request."""
        super().on_response_complete()
        # without a byte of the next request the connection is idle, and owes nothing
        if self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]:
            self._note()
        else:
            self._awaited = None

    def resume_writing(self) -> None:
        """Go on sending: the reader took enough."""
        self._taken = True
        super().resume_writing()

    def look(self, now_s: float) -> None:
        """Close what is over its time."""
        if not self.transport.is_closing():
            late_s = now_s - self._awaited_since_s
            if self._awaited == "head" and late_s > self._bounds.head_s:
                self._refuse(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"the request did not come within {self._bounds.head_s:g} s; send it again",
                )
            elif self._awaited == "body" and late_s > self._bounds.body_s + _LINGER_S:
                # whoever reads the body answers 408 at its time; this is for those nobody reads
                self._cut_off()
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent or self._taken:
            self._stalled_since_s = now_s
        elif now_s - self._stalled_since_s > self._bounds.send_s:
            self._cut_off()
        self._unsent, self._taken = unsent, False

    def send_400_response(self, msg: str) -> None:
        """Say that what came is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _note(self) -> None:
        theirs = self.conn.their_state
        awaited = {h11.IDLE: "head", h11.SEND_BODY: "body"}.get(theirs)
        if awaited != self._awaited:
            self._awaited, self._awaited_since_s = awaited, self.loop.time()

    def _cut_off(self) -> None:
        """Reset the connection: the kernel too forgets what it kept for the reader."""
        accepted = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self._cut_off()  # an answer is under way, and cannot be taken back
                return
            self.cycle.disconnected = True  # whoever makes one need not
            self.cycle.message_event.set()
        head, body = _problem(status, detail)
        try:
            for event in (
                h11.Response(status_code=status, headers=head, reason=status.phrase.encode()),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # the end of an answer: there is nothing more to be said
        self.transport.close()


class _TurnedAway(asyncio.Protocol):
    """A connection over the bound: told so, heard out for a moment, closed.

    Closed at once it might lose the answer: bytes that nobody read turn a close into a reset.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, detail: str
    ) -> None:
        head, body = _problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        lines = [b"HTTP/1.1 503 Service Unavailable", *(b"%s: %s" % pair for pair in head)]
        transport.write(b"\r\n".join([*lines, b"Retry-After: 5", b"", body]))
        if transport.can_write_eof():
            transport.write_eof()
            loop.call_later(_LINGER_S, transport.abort)
        else:
            transport.close()


def _problem(status: HTTPStatus, detail: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a problem; below the application it has no path and no number."""
    body = json.dumps(
        {
            "type": f"urn:ihp:problem:{status.phrase.lower().replace(' ', '-')}",
            "title": status.phrase,
            "status": int(status),
            "detail": detail,
        }
    ).encode()
    head = [
        (b"Content-Type", MEDIA_TYPE.encode()),
        (b"Content-Length", str(len(body)).encode()),
        (b"Connection", b"close"),
    ]
    return head, body
