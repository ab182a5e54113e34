"""Places that commands read and write: a folder, or `LOCATION:PREFIX` of a configured location."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from api.console import speak_by
from ihp_compute.results import OpenForm, open_form
from ihp_compute.storage import as_said, at_hand, keep_beside


def readable(said: str) -> Path:
    """What a command reads, by the words of whoever calls it."""
    speak_by(as_said)
    return at_hand(said)


def opened(run: Path, shown: Sequence[Path] | None) -> OpenForm:
    """The open form of a run, its pattern kept where the run is: it is chosen once."""
    form = open_form(run, shown or ())
    keep_beside(run)
    return form


READ: Final[dict[str, Any]] = {"parser": readable}
"""Options of every argument that names a population or a run to read."""
