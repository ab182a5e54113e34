"""Every call that writes may fail, or be the last of its process.

Whatever fails, what stood there stands or the new one does, whole; a failure is a sentence and exit
code 5; who was not killed leaves nothing beside; who was is swept by the next start. CI takes the
first, the last, each kind of call and some more by a seed; `make chaos` as many as it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from ihp_compute.synth.state import synth
from tests.faults.injection import WHAT, Injector, available, check, chosen

pytestmark = pytest.mark.skipif(not available(), reason="faults want Linux and gcc")

SEED: Final = 14
MORE: Final = 30 // len(WHAT)


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Injector]:
    folder = tmp_path_factory.mktemp("faults")
    synth(60, 3, folder / "raw")
    with Injector(folder) as injector:
        yield injector


@pytest.mark.parametrize("what", WHAT)
def test_whatever_write_fails_the_old_or_the_new_stands_whole(
    injector: Injector, what: str
) -> None:
    kinds = injector.calls(what)
    assert {"w", "m", "o", "d" if what == "service" else "s"} <= set(kinds)
    for fault in chosen(what, kinds, seed=SEED, more=MORE):
        check(fault, injector.came_of(fault))
