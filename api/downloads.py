"""Downloads: how many at once, in parts, each as long as somebody takes it.

    a turn, else 503 -> parts, the next one read when the last was taken -> the turn back

A body that fits into memory many times over is made whole, and its reader keeps nobody's turn. Of
a larger one no more is in memory than the parts under way. It ends when its reader leaves or its
key is revoked, and is cut, never closed in good order, where it could not be sent whole.

Not here: what happens to a reader that takes nothing (the server's protocol).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import structlog
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from api.presence import unless_gone
from api.problems import BusyError, UnknownResultError
from api.reading import Reads
from api.service import Service
from api.watching import Watch

WHOLE_BYTES: Final = 1 << 19
"""A body of so many bytes is made whole before it is sent."""
TAG_S: Final = 60.0
"""How long it may take to read a file for its tag."""
MOST_TAGS: Final = 4096
log = structlog.get_logger(__name__)


class Downloads:
    """Who sends results, and the tags of what was sent.

    Parameters
    ----------
    service : Service
        Says how many at once, and how long others wait for their turn.
    watch : Watch
        Tells which keys ended.
    """

    def __init__(self, service: Service, watch: Watch) -> None:
        settings = service.settings
        self._settings = settings
        self._counted = service.metrics.downloads
        self._turns = asyncio.Semaphore(settings.max_downloads)
        self._tags: OrderedDict[tuple[object, ...], asyncio.Task[str]] = OrderedDict()
        self.reads = Reads(settings.max_downloads, "result")
        self.watch = watch
        self.n_open = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One of so many turns.

        Raises
        ------
        BusyError
            If none comes in time.
        """
        try:
            async with asyncio.timeout(self._settings.download_wait_s):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError(
                f"{self._settings.max_downloads} downloads are under way; try again"
            ) from None
        self.n_open += 1
        try:
            with self._counted.track_inprogress():
                yield
        finally:
            self.n_open -= 1
            self._turns.release()

    async def tag(self, path: Path, sha256: Callable[[Path], str]) -> str:
        """SHA-256 of a file as a function has it, once for all who ask at once.

        Raises
        ------
        UnknownResultError
            If the file is gone.
        """
        try:
            about = await self.reads.of(path.stat)
        except FileNotFoundError:
            raise UnknownResultError("the file of this result is gone") from None
        key = (path, about.st_mtime_ns, about.st_size, sha256)
        task = self._tags.get(key)
        if task is None:
            task = asyncio.create_task(self.reads.within(TAG_S, sha256, path))
            self._tags[key] = task
            while len(self._tags) > MOST_TAGS:
                self._tags.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except Exception:
            self._tags.pop(key, None)
            raise


class Download(Response):
    """A body in parts that are read when the one before has been taken.

    Parameters
    ----------
    request : Request
    make : callable
        Makes the iterator of parts.
    media_type : str
    headers : mapping
    status_code : int
    length : int, optional
        Bytes in all, where known.
    """

    def __init__(
        self,
        request: Request,
        make: Callable[[], Iterator[bytes]],
        *,
        media_type: str,
        headers: Mapping[str, str],
        status_code: int = 200,
        length: int | None = None,
    ) -> None:
        self.media_type = media_type
        self.status_code = status_code
        self.background = None
        self.body = b""
        self.init_headers(headers)
        self._content_length(length)
        self._downloads = downloads_of(request)
        self._key_id: str = request.state.principal.key_id
        self._make = make

    def _content_length(self, length: int | None) -> None:
        if length is not None:
            self.headers["content-length"] = str(length)
        elif "content-length" in self.headers:
            del self.headers["content-length"]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a turn and send, as long as somebody takes it."""
        await unless_gone(receive, self._sent(send))

    async def _sent(self, send: Send) -> None:
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._downloads.turn())
            parts = self._downloads.reads.each(self._make)
            held.push_async_callback(parts.aclose)
            head = bytearray()
            while len(head) <= WHOLE_BYTES and (part := await anext(parts, None)) is not None:
                head += part
            if len(head) <= WHOLE_BYTES:
                await held.aclose()
                self._content_length(len(head))
                await self._start(send)
                await send({"type": "http.response.body", "body": bytes(head)})
                return
            await self._start(send)
            await send({"type": "http.response.body", "body": bytes(head), "more_body": True})
            del head
            await self._rest(send, parts)

    async def _start(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )

    async def _rest(self, send: Send, parts: AsyncIterator[bytes]) -> None:
        """Send what follows. Returning early, the server cuts the connection: all was not sent."""
        async with self._downloads.watch.on("", self._key_id, stream=False) as watcher:
            try:
                async for part in parts:
                    if watcher.key_ended:
                        return
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            except (BusyError, OSError, pa.ArrowException) as error:
                log.warning("download cut", error=type(error).__name__)
                return
            await send({"type": "http.response.body"})


def downloads_of(request: Request) -> Downloads:
    """The downloads of the application that a request came to."""
    downloads: Downloads = request.app.state.downloads
    return downloads
