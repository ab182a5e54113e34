from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from api.problems import BusyError
from api.reading import Reads


def test_what_a_read_returns_or_raises_is_given() -> None:
    async def all_of_it() -> None:
        reads = Reads(1)
        assert await reads.of(int, "7", base=8) == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await reads.of(int, "x")
        assert await reads.of(int, "8") == 8

    asyncio.run(all_of_it())


def test_reads_that_hang_keep_their_threads_and_the_next_one_is_refused_in_time() -> None:
    async def all_of_it() -> None:
        reads, back = Reads(2), threading.Event()
        for _ in range(2):
            with pytest.raises(BusyError):
                await reads.within(0.05, back.wait)
        with pytest.raises(BusyError):
            await reads.within(0.05, int)  # no third thread
        back.set()
        assert await reads.of(int) == 0

    asyncio.run(all_of_it())


def test_an_iterator_is_read_to_its_end_and_closed() -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            yield from range(1, 4)
        finally:
            closed.set()

    async def all_of_it() -> None:
        reads = Reads(1)
        assert [n async for n in reads.each(numbers)] == [1, 2, 3]
        assert closed.is_set()
        closed.clear()
        some = reads.each(numbers)
        assert await anext(some) == 1
        await some.aclose()
        assert closed.is_set()

    asyncio.run(all_of_it())


def test_an_iterator_left_while_a_thread_is_inside_is_closed_once_the_thread_is_out() -> None:
    inside, back, closed = threading.Event(), threading.Event(), threading.Event()

    def hanging() -> Iterator[int]:
        try:
            inside.set()
            back.wait()
            yield 1
        finally:
            closed.set()

    async def all_of_it() -> None:
        reads = Reads(1)
        reading = asyncio.ensure_future(anext(reads.each(hanging)))
        await asyncio.to_thread(inside.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not closed.is_set()
        back.set()
        assert await reads.of(int) == 0  # the one thread is free again
        assert closed.is_set()

    asyncio.run(all_of_it())
