"""Folders put into a bucket, so that they are there whole or not at all, and read from it.

    a folder of this machine -> objects under their SHA-256 -> sizes looked at -> the manifest, last

There is no rename in a bucket, and none is needed: an object under the hash of its content counts
for nothing until a manifest names it, and a manifest is one object, written at once. Who fails
midway leaves objects that nothing names; they go a day later, with what a replaced manifest named.
Between two who publish to one place at a time the later manifest stands: the store's client knows
no writing where nothing stands. The command line looks first; a service publishes to a place of its
own for each attempt, and its database says which counts.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import DataError
from ihp_compute.folders import MANIFEST, file_sha256, is_below
from ihp_compute.storage import buckets
from ihp_compute.storage.cache import locked_folder, removed, the_cache
from ihp_compute.storage.files import BESIDE, OBJECTS, manifest_text, objects_of
from ihp_compute.storage.locations import Place, place_of

UNNAMED_S: Final = 24 * 3600.0
"""How long an object stays that no manifest names: a publication takes less."""
_AT_A_TIME: Final = 8
_VIEWS: Final[dict[tuple[str, str], Path]] = {}
"""Folders of this process's views, by the place that each shows and its manifest's text."""


def standing(place: Place) -> dict[str, Any] | None:
    """The manifest of what was published at a place; None where nothing was.

    Raises
    ------
    DataError
        If what is there is no manifest.
    InfrastructureError
    """
    try:
        found = json.loads(manifest_text(place))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{place}/{MANIFEST}: is no manifest; remove it, or choose another place")
    return found


def publish_to(place: Place, folder: Path) -> None:
    """Put a finished folder at a place, in place of what stood there.

    Parameters
    ----------
    place : Place
    folder : Path
        With a manifest, whose `files` name what else is of it; what they do not name goes beside.
        Of a folder without one a manifest is made that names all its files.

    Raises
    ------
    DataError
        If a file is not the one that the manifest names.
    InfrastructureError
        If the bucket cannot be written; nothing is to be seen of it then.
    """
    content = _manifest_of(folder)
    manifest = json.loads(content)
    before = standing(place)
    sweep_unnamed(place)
    young_s = time.time() - UNNAMED_S / 2
    kept = set() if before is None else set(_hashes(before))
    there = {
        one.name: one.bytes
        for one in buckets.listed(place.below(OBJECTS))
        if one.name in kept or (one.modified_s or 0.0) > young_s
    }
    named = dict(zip(_hashes(manifest), manifest["files"], strict=True))
    missing = [
        (sha256, name)
        for sha256, name in named.items()
        if there.get(sha256) != (folder / name).stat().st_size
    ]
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="publish") as pool:
        sent = [pool.submit(_put, place, folder / name, sha256) for sha256, name in missing]
        try:
            for one in sent:
                one.result()
        finally:
            for one in sent:
                one.cancel()
    objects_of(place, manifest)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST and name not in manifest["files"]:
            put_beside(place, path, name)
    buckets.write(place, MANIFEST, iter([content]))


def _manifest_of(folder: Path) -> bytes:
    """A folder's manifest, or one of nothing but the hashes of its files."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / MANIFEST).read_bytes()
    files = {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return json.dumps({"kind": "files", "files": files}, indent=2).encode()


def put_beside(place: Place, path: Path, name: str) -> None:
    """Put a small file beside what was published: it is no part of it, and may come later.

    Raises
    ------
    InfrastructureError
    """
    buckets.write(place, f"{BESIDE}/{name}", iter([path.read_bytes()]))


def sweep_unnamed(root: Place) -> int:
    """Remove objects below a place that nothing names, a day after; how many went.

    What a manifest named until it was replaced stays for a day after that: somebody may read it.
    What the store tells no time of stays too: it may be a moment old.

    Raises
    ------
    InfrastructureError
    """
    old_s = time.time() - UNNAMED_S
    found = buckets.listed(root)
    manifests = {
        one.name.removesuffix(MANIFEST): one
        for one in found
        if one.name == MANIFEST or one.name.endswith(f"/{MANIFEST}")
    }
    named: dict[str, set[str]] = {}
    gone = 0
    for one in found:
        before, _, last = one.name.rpartition(f"{OBJECTS}/")
        if not one.is_older(old_s) or f"{before}{OBJECTS}/{last}" != one.name or "/" in last:
            continue
        if before in manifests and not manifests[before].is_older(old_s):
            continue
        if before not in named:
            named[before] = _named_at(root, before) if before in manifests else set()
        if last not in named[before]:
            buckets.remove(root, one.name)
            gone += 1
    return gone


def bring(place: Place, folder: Path) -> None:
    """Copy what was published at a place into an empty folder, every file hashed on its way.

    Raises
    ------
    DataError
        If nothing was published there, or an object is not the one that was.
    InfrastructureError
    """
    text = _text(place)
    objects = objects_of(place, json.loads(text))
    for name in objects.named:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with objects.open(name) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    _bring_beside(place, folder)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def view(place: Place) -> Path:
    """A folder that shows what was published at a place, for reading, while this process lives.

    Raises
    ------
    DataError, InfrastructureError
        As `bring`.
    """
    text = _text(place)
    shown = _VIEWS.get((str(place), text))
    if shown is not None:
        return shown
    objects = objects_of(place, json.loads(text))
    own = locked_folder(the_cache().root / "views")
    atexit.register(removed, own)
    folder = own / Path(place.prefix).name
    folder.mkdir()
    for name in objects.named:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(objects.pin(name))
    _bring_beside(place, folder)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    _VIEWS[str(place), text] = folder
    return folder


def is_view(folder: Path) -> bool:
    """Whether a folder only shows what lies in a bucket: what is written there is lost."""
    return folder in _VIEWS.values()


def as_said(words: str) -> str:
    """A message with places in the words that they were asked for, and not where they are shown."""
    for (place, _), folder in _VIEWS.items():
        words = words.replace(str(folder), place)
    return words


def keep_beside(folder: Path) -> None:
    """Put what was written beside a run into the bucket, where the folder is a view of a place.

    Raises
    ------
    InfrastructureError
    """
    for (said, _), shown in _VIEWS.items():
        if shown != folder:
            continue  # of another place, whose location may be configured no longer
        place = place_of(said)
        if isinstance(place, Path):
            continue
        kept = {one.name for one in buckets.listed(place.below(BESIDE))}
        for path in shown.rglob("*"):
            name = path.relative_to(shown).as_posix()
            if path.is_file() and not path.is_symlink() and name not in (MANIFEST, *kept):
                put_beside(place, path, name)


def at_hand(path: Path | str, of_kind: str = "population") -> Path:
    """A path that a command can read: a folder, or a place by the words that name it.

    What is of the kind that is read from its bucket stays where it is, by its words; anything else
    is shown in a folder (`view`).

    Raises
    ------
    LocationError, DataError, InfrastructureError
    """
    place = place_of(path)
    if isinstance(place, Path):
        return place
    manifest = standing(place)
    if manifest is None:
        raise DataError(f"{place}: nothing was published there, it has no {MANIFEST}")
    return place.path if manifest.get("kind") == of_kind else view(place)


@contextlib.contextmanager
def publishing(out: Path, *, replace: bool = False) -> Iterator[tuple[Path, Path]]:
    """A folder to make, and how results name it; at the end it is where `out` says.

    Parameters
    ----------
    out : Path
        A folder, which is given back as it is, or the words for a place in a bucket.
    replace : bool
        Whether what stands at the place may be replaced.

    Raises
    ------
    LocationError, InfrastructureError
    DataError
        If something stands at the place.
    """
    place = place_of(out)
    if isinstance(place, Path):
        yield place, place
        return
    if not replace:
        _refuse(place)
    drafts = locked_folder(the_cache().root / "drafts")
    try:
        folder = drafts / Path(place.prefix).name
        yield folder, place.path
        if not replace:
            _refuse(place)
        publish_to(place, folder)
    finally:
        removed(drafts)


def _refuse(place: Place) -> None:
    found = standing(place)
    if found is not None:
        raise DataError(
            f"{place}: a {found.get('kind', 'manifest')} stands there already, and is a record; "
            "choose another --out"
        )


def _put(place: Place, path: Path, sha256: str) -> None:
    if file_sha256(path) != sha256:
        raise DataError(f"{path}: is not the file that its manifest names; make the folder again")
    buckets.write(place, f"{OBJECTS}/{sha256}", _pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(buckets.PIECE_BYTES):
            yield piece


def _text(place: Place) -> str:
    try:
        return manifest_text(place)
    except FileNotFoundError:
        raise DataError(f"{place}: nothing was published there, it has no {MANIFEST}") from None


def _bring_beside(place: Place, folder: Path) -> None:
    beside = place.below(BESIDE)
    for one in buckets.listed(beside):
        if not is_below(one.name):
            continue
        target = folder / one.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(buckets.read(beside, one.name, limit=1 << 26))


def _named_at(root: Place, before: str) -> set[str]:
    manifest = standing(root.below(*before.rstrip("/").split("/")) if before else root)
    return set() if manifest is None else set(_hashes(manifest))


def _hashes(manifest: Mapping[str, Any]) -> list[str]:
    """The SHA-256 of each file that a manifest names, in the order of `files`."""
    return [
        str(stamp["sha256"] if isinstance(stamp, dict) else stamp)
        for stamp in manifest.get("files", {}).values()
    ]
