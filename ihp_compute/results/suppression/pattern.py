"""Which cells of a run are hidden: fixed when the run is first shown, and read again after.

    RUN/suppression.json, beside the manifest and outside both its digests

What was shown cannot be taken back. So the pattern of a run is chosen once, from its counts and
from the patterns of the runs of its population that were shown before it, and stands from then on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import RunError
from ihp_compute.publishing import first
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.suppression.cells import Key, told_by
from ihp_compute.results.suppression.equations import Shown, hidden_of

FILE: Final = "suppression.json"


@dataclass(frozen=True)
class Pattern:
    """What is hidden of a run.

    Attributes
    ----------
    digest, population : str
        Of the run, and of its population.
    years : (str, str)
        Base and performance.
    after : tuple of str
        Digests of the runs that were shown before it and that it reckons with.
    hidden : frozenset of Key
    exposed : frozenset of Key
        Small cells that those have shown already.
    """

    digest: str
    population: str
    years: tuple[str, str]
    after: tuple[str, ...]
    hidden: frozenset[Key]
    exposed: frozenset[Key]

    @property
    def sha256(self) -> str:
        """SHA-256 of the document: of a run's open form, whatever is shown of it."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any]:
        """The content of `FILE`."""
        return {
            "kind": "suppression",
            "run": self.digest,
            "population": self.population,
            "years": list(self.years),
            "after": list(self.after),
            "hidden": [list(key) for key in sorted(self.hidden)],
            "exposed": [list(key) for key in sorted(self.exposed)],
        }


def keep_pattern(before: Path, now: Path, digest: str) -> None:
    """Take over the pattern of the folder that this one replaces, if it is of the same results."""
    path = before / FILE
    if path.is_file() and read_manifest(before)["digest"] == digest:
        shutil.copy2(path, now / FILE)


def pattern_file(run_dir: Path) -> Path:
    """Where the pattern of a run stands once it was shown."""
    return run_dir / FILE


def was_shown(run_dir: Path) -> bool:
    """Whether the open form of a run was shown."""
    return pattern_file(run_dir).is_file()


def pattern_of(run_dir: Path, shown: Sequence[Path] = ()) -> Pattern:
    """The pattern of a run; it is fixed now if the run was not shown before.

    Parameters
    ----------
    run_dir : Path
        A finished run.
    shown : sequence of Path
        Runs of its population that were shown before it.

    Raises
    ------
    RunError
        If a folder is not a finished run, one of those before is of another population or was not
        shown, or the run was itself shown without one of them.
    """
    manifest = read_manifest(run_dir, go_on=True)
    if was_shown(run_dir):
        held = _read(run_dir, manifest)
        _refuse_later(run_dir, held, shown)
        return held
    return _fixed(run_dir, _choose(run_dir, manifest, shown), manifest)


def _choose(run_dir: Path, manifest: dict[str, Any], shown: Sequence[Path]) -> Pattern:
    population = manifest["population"]["digest"]
    before = {}
    for other in shown:
        of = read_manifest(other, go_on=True)
        if of["population"]["digest"] != population:
            raise RunError(
                f"{other}: found a run of population {of['population']['digest'][:16]}…, expected "
                f"one of {population[:16]}…, as {run_dir}; leave it out of --shown"
            )
        if not was_shown(other):
            raise RunError(
                f"{other}: its open form was not shown yet, it has no {FILE}; leave it out of "
                "--shown, or show it first with ihp tables RUN --suppress"
            )
        if of["digest"] != manifest["digest"]:
            before[of["digest"]] = Shown(of["digest"], told_by(other), _read(other, of).hidden)
    told = told_by(run_dir)
    hidden, exposed = hidden_of(told, [before[digest] for digest in sorted(before)])
    return Pattern(
        manifest["digest"], population, told.years, tuple(sorted(before)),
        frozenset(hidden), frozenset(exposed),
    )  # fmt: skip


def _fixed(run_dir: Path, pattern: Pattern, manifest: dict[str, Any]) -> Pattern:
    """Write the pattern, unless somebody else has fixed it meanwhile."""
    try:
        with first(run_dir / FILE) as draft:
            draft.write_text(json.dumps(pattern.document()) + "\n", encoding="utf-8")
    except FileExistsError:
        return _read(run_dir, manifest)
    return pattern


def _read(run_dir: Path, manifest: dict[str, Any]) -> Pattern:
    path = run_dir / FILE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        found = Pattern(
            said["run"], said["population"], tuple(said["years"]), tuple(said["after"]),
            frozenset(Key(*key) for key in said["hidden"]),
            frozenset(Key(*key) for key in said["exposed"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read ({type(error).__name__}): it was cut off or edited. Put back "
            "the file that was there: what was shown by it cannot be chosen anew"
        ) from None
    if found.digest != manifest["digest"]:
        raise RunError(
            f"{path}: is of run {found.digest[:16]}…, expected {manifest['digest'][:16]}…; put "
            "back the file that was written when this run was first shown"
        )
    return found


def _refuse_later(run_dir: Path, held: Pattern, shown: Sequence[Path]) -> None:
    """A pattern that stands reckons with no run more."""
    for other in shown:
        digest = read_manifest(other)["digest"]
        if digest not in (*held.after, held.digest):
            raise RunError(
                f"{run_dir}: was first shown without {other}, and what it has shown cannot be "
                f"taken back; leave it out of --shown, and give {run_dir} to runs that are shown "
                "later"
            )
