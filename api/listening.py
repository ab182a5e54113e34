"""A socket that listens and runs out of nothing: how many connections there may be, and whose.

    descriptors asked for -> so many connections -> one more is closed unread, and so is who has all

Without descriptors a connection that waits would be found again and again, at the cost of a core:
a spare one closes it, and the log says so once a second.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import resource
import socket
import time
import weakref
from collections.abc import Sequence
from typing import Any, Final

import structlog

from ihp_compute.errors import InfrastructureError

_BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted."""
_TURNED_AWAY: Final = 128
"""Connections over the bound that are being told so."""
_OTHER_FILES: Final = 384
"""Descriptors for everything but connections: results, databases, libraries."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = structlog.get_logger(__name__)


class Listener(socket.socket):
    """A socket that listens, and gives out no more connections than it may.

    Connections bear the listener's protocol number: only of `IPPROTO_TCP` asyncio knows that small
    answers need not wait for an acknowledgement (TCP_NODELAY; without it each takes 40 ms).

    Parameters
    ----------
    host : str
    port : int
        Any free one if 0.
    most : int
        Connections open at once, those being turned away among them. One more is closed unread.

    Raises
    ------
    InfrastructureError
        If the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, *, most: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._most = most
        # of the last few no address has all: others get in, and are told at least
        self._most_of_one = most - max(1, most // 10)
        self._open: weakref.WeakKeyDictionary[socket.socket, str] = weakref.WeakKeyDictionary()
        self._said_s = -1.0
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # a peer that is gone without a word is noticed within two minutes
        self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                self.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        try:
            self.bind((host, port))
            self.listen()
        except OSError as error:
            self.close()
            raise InfrastructureError(
                f"{host}:{port} cannot be listened on ({error.strerror}); choose another port "
                "with --port, or with --metrics for the metrics"
            ) from error

    def listen(self, _backlog: int = 0, /) -> None:
        """Listen; asyncio names the number of connections accepted in a row, not the kernel's."""
        super().listen(_BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection.

        Raises
        ------
        BlockingIOError
            If none waits, or the one that waited was turned away.
        """
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._drop_one(error)
            raise BlockingIOError from error
        peer = peer_of(address)
        of_whom = [whose for other, whose in self._open.items() if other.fileno() >= 0]
        if len(of_whom) >= self._most or of_whom.count(peer) >= self._most_of_one:
            connection.close()
            self._say("connections_dropped", "more connections than can be told to wait")
            raise BlockingIOError
        self._open[connection] = peer
        return connection, address

    def close(self) -> None:
        """Close it, and the spare descriptor."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        super().close()

    def _drop_one(self, error: OSError) -> None:
        """Close the connection that waits, by a spare descriptor.

        Left waiting, it is found again and again, at the cost of a whole core.
        """
        self._say("out_of_descriptors", os.strerror(error.errno or 0))
        if self._spare is None:
            raise error  # asyncio then waits a second by itself
        os.close(self._spare)
        self._spare = None
        with contextlib.suppress(OSError):
            super().accept()[0].close()
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    def _say(self, event: str, detail: str) -> None:
        now_s = time.monotonic()
        if self._said_s < 0 or now_s - self._said_s >= 1:
            self._said_s = now_s
            log.warning(event, detail=detail)


def peer_of(address: Sequence[Any]) -> str:
    """Whose connections are counted together: an IPv4 address, a network (/64) of IPv6.

    >>> peer_of(("192.0.2.7", 5000)), peer_of(("2001:db8::7", 5000, 0, 0))
    ('192.0.2.7', '2001:db8::/64')
    """
    host = str(address[0]).partition("%")[0]
    if ":" not in host:
        return host
    found = ipaddress.IPv6Address(host)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))


def room_for(connections: int) -> int:
    """How many connections there are descriptors for, after asking for enough of them.

    Returns
    -------
    int
        `connections`, or fewer where the machine allows this process no more.
    """
    needed = connections + _TURNED_AWAY + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    # of few descriptors a half is for connections, and half of that for telling them to wait
    fewer = min(connections, max(1, soft // 4, soft - _OTHER_FILES - _TURNED_AWAY))
    log.warning("few_descriptors", limit=soft, needed=needed, connections=fewer)
    return fewer


def most_open(connections: int) -> int:
    """Connections that may be open together with those that are being turned away."""
    return connections + min(_TURNED_AWAY, connections)
