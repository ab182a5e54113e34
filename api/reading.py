"""Files are read in threads of their own, so many at once, each for so long.

    a free thread within the time -> read -> the value, or 503 when the time is over

A disk that hangs takes these threads alone: keys are checked and runs are shown while it does. A
thread that hangs keeps its place until it comes back, so their number never grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, ParamSpec, TypeVar

from fastapi import Depends, Request

from api.problems import BusyError

READ_S: Final = 10.0
"""How long a read, or the wait for a thread, may take."""
THREADS: Final = 16

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")


class Reads:
    """Threads that read files for requests.

    Parameters
    ----------
    threads : int
        How many reads go on at once.
    what : str
        What is read, in the words of a refusal.
    """

    def __init__(self, threads: int = THREADS, what: str = "file") -> None:
        self._what = what
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"{what}s")
        self._free = asyncio.Semaphore(threads)

    async def of(
        self,
        read: Callable[_Given, _Value],
        *arguments: _Given.args,
        **named: _Given.kwargs,
    ) -> _Value:
        """What a function that reads files returns; see `within`."""
        return await self.within(READ_S, read, *arguments, **named)

    async def within(
        self,
        limit_s: float,
        read: Callable[_Given, _Value],
        *arguments: _Given.args,
        **named: _Given.kwargs,
    ) -> _Value:
        """What a function that reads files returns.

        Parameters
        ----------
        limit_s : float
            How long the wait for a thread may take, and then how long the function.
        read : callable
        *arguments, **named
            Of the function.

        Raises
        ------
        BusyError
            If the time is over. The function goes on in its thread, and nobody sees its end.
        """
        reading = await self._begun(limit_s, lambda: read(*arguments, **named))
        return await self._ended(reading, limit_s)

    async def each(self, make: Callable[[], Iterator[_Value]]) -> AsyncGenerator[_Value, None]:
        """The items of an iterator that reads files, closed when nobody wants more of them.

        Parameters
        ----------
        make : callable
            Makes the iterator; a generator's own `finally` gives back what it holds.

        Raises
        ------
        BusyError
            If one item takes longer than `READ_S`.
        """
        items = make()
        reading: asyncio.Future[_Value | None] | None = None
        try:
            while True:
                reading = await self._begun(READ_S, lambda: next(items, None))
                item = await self._ended(reading, READ_S)
                if item is None:
                    return
                yield item
        finally:
            # a thread may be inside the iterator still: then it is closed once the thread is out
            if reading is None or reading.done():
                _close(items)
            else:
                reading.add_done_callback(lambda _: _close(items))

    async def _begun(self, limit_s: float, call: Callable[[], _Value]) -> asyncio.Future[_Value]:
        try:
            async with asyncio.timeout(limit_s):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError(f"too many {self._what}s are being read; try again") from None
        reading = asyncio.get_running_loop().run_in_executor(self._threads, call)
        reading.add_done_callback(self._given_back)
        return reading

    async def _ended(self, reading: asyncio.Future[_Value], limit_s: float) -> _Value:
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(reading)
        except TimeoutError:
            if reading.done():
                raise
            raise BusyError(
                f"a {self._what} was not read within {limit_s:g} s; try again"
            ) from None

    def _given_back(self, reading: asyncio.Future[_Value]) -> None:
        self._free.release()
        if not reading.cancelled():
            reading.exception()  # whoever asked may be gone


def _close(items: Iterator[_Value]) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


def _reads(request: Request) -> Reads:
    reads: Reads = request.app.state.reads
    return reads


ReadsDep = Annotated[Reads, Depends(_reads)]
