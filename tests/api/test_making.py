"""Files that are made when they are first asked for."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from api.making import Making
from api.problems import BusyError
from api.reading import Reads


def test_what_many_ask_for_at_once_is_made_once(tmp_path: Path) -> None:
    made = []

    def make() -> None:
        made.append(1)
        path.write_text("x")

    path = tmp_path / "file"

    async def ask() -> None:
        making = Making(Reads(2))
        found = await asyncio.gather(*(making.of(path, make) for _ in range(5)))
        assert found == [path] * 5
        await making.of(path, make)

    asyncio.run(ask())
    assert made == [1]


def test_who_does_not_wait_finds_it_later_and_it_is_not_begun_again(tmp_path: Path) -> None:
    goes_on, begun = threading.Event(), []
    path = tmp_path / "file"

    def make() -> None:
        begun.append(1)
        goes_on.wait(60)
        path.write_text("x")

    async def ask() -> None:
        making = Making(Reads(2))
        for _ in range(2):
            with pytest.raises(BusyError, match="not made within"):
                await making.of(path, make, limit_s=0.01)
        goes_on.set()
        await making.of(path, make)

    asyncio.run(ask())
    assert begun == [1]


def test_what_fails_is_tried_again(tmp_path: Path) -> None:
    def make() -> None:
        raise ValueError("no")

    async def ask() -> None:
        making = Making(Reads(2))
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await making.of(tmp_path / "file", make)

    asyncio.run(ask())


def test_who_stopped_waiting_is_told_why_it_was_not_made(tmp_path: Path) -> None:
    """Once, and then it is tried again: a page that asks each second would never learn of it."""
    goes_on, begun = threading.Event(), []
    path = tmp_path / "file"

    def make() -> None:
        begun.append(1)
        goes_on.wait(60)
        raise ValueError("an earlier version made it")

    async def ask() -> None:
        making = Making(Reads(2))
        with pytest.raises(BusyError):
            await making.of(path, make, limit_s=0.01)
        goes_on.set()
        with pytest.raises(ValueError, match="an earlier version"):
            await making.of(path, make)
        with pytest.raises(ValueError, match="an earlier version"):
            await making.of(path, make)

    asyncio.run(ask())
    assert len(begun) >= 1
