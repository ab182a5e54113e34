"""Results of a service's runs in a bucket: put before the database counts them, brought back after.

    IHP_RUNS=LOCATION or LOCATION:PREFIX        below it RUN/ATTEMPT, as below `runs` of a home

The bucket's copy lasts and the home's is worked with: what the home lacks, of another machine or
after a loss, is brought from the bucket when it is asked for. A place holds what one attempt wrote,
and the database says which attempt counts, so nothing is ever written over. A location that is a
folder is used as it is, in place of `runs` of the home.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ihp_compute.errors import LocationError
from ihp_compute.publishing import beside, publish
from ihp_compute.storage import (
    UNNAMED_S,
    Place,
    bring,
    buckets,
    location_of,
    publish_to,
    put_beside,
    standing,
    sweep_unnamed,
)

VARIABLE: Final = "IHP_RUNS"
_PUT: Final = ".put-beside"
"""Beside a run in the home: files that were put beside it in the bucket, too."""


def folder() -> Path | None:
    """The folder of a location that is one; None where runs stay in the home, or in a bucket."""
    found = _root()
    return found if isinstance(found, Path) else None


def check() -> None:
    """Refuse a location of runs that is none or cannot be read.

    Raises
    ------
    LocationError, InfrastructureError
    """
    found = _root()
    if isinstance(found, Place):
        standing(found.below("none"))


def keep(attempt: Path) -> None:
    """Put what an attempt wrote into the bucket, where there is one.

    Parameters
    ----------
    attempt : Path
        Its folder, RUN/ATTEMPT below the home's runs.

    Raises
    ------
    InfrastructureError
    """
    place = _place(attempt)
    if place is not None:
        publish_to(place, attempt)


def keep_beside(attempt: Path, name: str) -> None:
    """Put a file that came later beside what an attempt wrote; once.

    Raises
    ------
    InfrastructureError
    """
    place, mark = _place(attempt), attempt / f"{_PUT}-{name}"
    if place is not None and not mark.exists():
        put_beside(place, attempt / name, name)
        mark.touch()


def at_hand(attempt: Path) -> Path:
    """The folder of an attempt that counts, brought from the bucket where the home lacks it.

    A folder that the bucket lacks too is not there.

    Raises
    ------
    DataError
        If an object is not the one that was put.
    InfrastructureError
    """
    place = _place(attempt)
    if place is not None and not attempt.is_dir() and standing(place) is not None:
        with beside(attempt) as draft:
            bring(place, draft)
            publish(draft, attempt)
    return attempt


def sweep(counts: Callable[[str], int | None]) -> int:
    """Remove what counts for nothing a day after it was put; how many objects went.

    Parameters
    ----------
    counts : callable
        The attempt of a run that counts, 0 if none does, None of a run that is not known here.

    Raises
    ------
    InfrastructureError
    """
    root = _root()
    if not isinstance(root, Place):
        return 0
    gone, old_s = sweep_unnamed(root), time.time() - UNNAMED_S
    known: dict[str, int | None] = {}
    for one in buckets.listed(root):
        run, _, rest = one.name.partition("/")
        if not one.is_older(old_s) or not rest:
            continue
        if run not in known:
            known[run] = counts(run)
        counted = known[run]
        if counted is not None and rest.partition("/")[0] != str(counted):
            buckets.remove(root, one.name)
            gone += 1
    return gone


def _root() -> Path | Place | None:
    said = os.environ.get(VARIABLE, "")
    if not said:
        return None
    try:
        return location_of(said)
    except LocationError as error:
        raise LocationError(f"{VARIABLE}: {error}") from None


def _place(attempt: Path) -> Place | None:
    root = _root()
    return root.below(attempt.parent.name, attempt.name) if isinstance(root, Place) else None
