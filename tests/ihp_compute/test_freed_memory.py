"""What a process does with memory that it frees is decided once, by whoever comes first."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from ihp_compute import freed_memory
from ihp_compute.runner import LocalRunner


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the C library is told by a process that has decided nothing."""
    found: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            found.append((option, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    monkeypatch.setattr(freed_memory, "_decided", [])
    return found


def test_a_recalculation_keeps_what_it_frees(told: list[tuple[int, int]]) -> None:
    LocalRunner(1)
    assert [option for option, _ in told] == [-3, -1, -8]
    assert freed_memory.give_back() == "kept"
    assert len(told) == 3


def test_a_recalculation_inside_a_service_gives_back(told: list[tuple[int, int]]) -> None:
    assert freed_memory.give_back() == "given back"
    before = list(told)
    LocalRunner(1)
    assert freed_memory.keep() == "given back"
    assert told == before


def test_a_c_library_without_the_options_is_left_as_it_is(monkeypatch: Any) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    monkeypatch.setattr(freed_memory, "_decided", [])
    assert freed_memory.keep() == "kept"
