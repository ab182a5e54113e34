"""Files that are made when they are first asked for, and kept.

    is it there? -> is it being made? -> a free thread -> made once -> whoever waits goes on

Who asks waits for so long and is told 503 then; the file is made all the same, and the next who
asks finds it, or waits for the same work and not for another, or is told why it could not be made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fastapi import Request

from api.problems import BusyError
from api.reading import Reads

MAKE_S: Final = 120.0
"""How long a request may wait: a state of millions on a few cores."""
THREADS: Final = 2
"""Files made at once."""
MOST: Final = 100
"""Files that are made or wait for it; more are refused."""


class Making:
    """Threads that make files for requests.

    Parameters
    ----------
    reads : Reads
        Threads that look whether a file is there.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="making")
        self._going: dict[Path, asyncio.Future[None]] = {}
        self._owed: dict[Path, BaseException | None] = {}

    async def of(
        self,
        path: Path,
        make: Callable[[], object],
        *,
        is_there: Callable[[], bool] | None = None,
        limit_s: float = MAKE_S,
    ) -> Path:
        """The file, made now unless it is there.

        Parameters
        ----------
        path : Path
        make : callable
            Writes it, whole or not at all.
        is_there : callable, optional
            Whether nothing needs to be made; that there is such a file unless given.
        limit_s : float
            How long to wait for it.

        Raises
        ------
        BusyError
            If that takes longer, or too much is to be made.
        """
        there = is_there or path.is_file
        if path not in self._going:
            if await self._reads.of(there):
                return path
            if path not in self._going:
                if (failed := self._owed.pop(path, None)) is not None:
                    raise failed
                self._begin(path, make, there)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.shield(self._going[path])
        except TimeoutError:
            if path in self._going:
                self._owed[path] = None
                while len(self._owed) > MOST:
                    self._owed.pop(next(iter(self._owed)))
            raise BusyError(f"it is not made within {limit_s:g} s; try again") from None
        return path

    def _begin(self, path: Path, make: Callable[[], object], there: Callable[[], bool]) -> None:
        if len(self._going) >= MOST:
            raise BusyError("too much is being made; try again")

        def once() -> None:
            if not there():
                make()

        def ended(going: asyncio.Future[None]) -> None:
            self._going.pop(path, None)
            failed = None if going.cancelled() else going.exception()
            if path in self._owed:  # who stopped waiting comes again, and is told then
                self._owed[path] = failed
            if failed is None:
                self._owed.pop(path, None)

        going = asyncio.get_running_loop().run_in_executor(self._threads, once)
        self._going[path] = going
        going.add_done_callback(ended)


def making_of(request: Request) -> Making:
    """The threads of the application that a request is for."""
    making: Making = request.app.state.making
    return making
