"""Files of a prepared folder, wherever it lies: in a folder of this machine, or in a bucket.

A reader asks for a file by its name below the folder and gets its bytes, memory-mapped. Of a folder
nothing more is done. Of a place in a bucket the manifest says which object a name stands for, and
the object is fetched when it is first asked for.

    PREFIX/manifest.json        the folder's own, byte for byte; it makes all the others count
    PREFIX/objects/SHA256       what it names
    PREFIX/beside/NAME          what was put beside a run later: who certified it, what was shown
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.folders import MANIFEST, is_below
from ihp_compute.storage import buckets
from ihp_compute.storage.cache import Fetch, Holder, the_cache
from ihp_compute.storage.locations import Place

OBJECTS: Final = "objects"
BESIDE: Final = "beside"
MANIFEST_BYTES: Final = 1 << 28


class Files(Protocol):
    """Where files of a folder are read from; pickles, so that a worker reads them itself."""

    def open(self, name: str) -> pa.NativeFile:
        """A file's bytes, memory-mapped; raises OSError where it is not there."""
        ...

    def where(self, name: str) -> str:
        """What a message calls a file."""
        ...

    def only(self, names: Iterable[str]) -> Files:
        """The same, of no more than these files."""
        ...

    def hold(self, holder: Holder) -> None:
        """Have `holder` let go of what it keeps mapped where room is scarce."""
        ...


@dataclass(frozen=True)
class Folder:
    """Files of a folder of this machine, or of a disk that machines share."""

    path: Path

    def open(self, name: str) -> pa.NativeFile:
        """As `Files`."""
        return pa.memory_map(str(self.path / name), "r")

    def where(self, name: str) -> str:
        """As `Files`."""
        return str(self.path / name)

    def only(self, names: Iterable[str]) -> Folder:
        """As `Files`: a folder is where it is."""
        del names
        return self

    def hold(self, holder: Holder) -> None:
        """As `Files`: a folder's files take no room of anybody."""


@dataclass(frozen=True)
class Named:
    """The object that a name stands for."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Objects:
    """Files of a place in a bucket.

    Attributes
    ----------
    place : Place
    named : mapping of name to Named
    """

    place: Place
    named: Mapping[str, Named]

    def open(self, name: str) -> pa.NativeFile:
        """As `Files`.

        Raises
        ------
        DataError
            If the object is not the one that was published.
        InfrastructureError
            If the bucket cannot be read, or the cache has no room.
        """
        of = self._of(name)
        return pa.BufferReader(
            the_cache().mapped(of.sha256, of.bytes, self._fetch(name), self.where(name))
        )

    def pin(self, name: str) -> Path:
        """A file of the cache that stays there while this process lives.

        Raises
        ------
        DataError, InfrastructureError
            As `open`.
        """
        of = self._of(name)
        return the_cache().pin(of.sha256, of.bytes, self._fetch(name), self.where(name))

    def refetch(self, name: str) -> None:
        """Read an object from the bucket again, whatever is kept of it here.

        Raises
        ------
        DataError, InfrastructureError
            As `open`.
        """
        of = self._of(name)
        the_cache().renew(of.sha256, of.bytes, self._fetch(name), self.where(name))

    def where(self, name: str) -> str:
        """As `Files`."""
        return f"{self.place}/{name}"

    def only(self, names: Iterable[str]) -> Objects:
        """As `Files`."""
        return Objects(self.place, {name: self.named[name] for name in names if name in self.named})

    def hold(self, holder: Holder) -> None:
        """As `Files`."""
        the_cache().hold(holder)

    def _of(self, name: str) -> Named:
        if name not in self.named:
            raise FileNotFoundError(f"{self.where(name)} is not named by its manifest")
        return self.named[name]

    def _fetch(self, name: str) -> Fetch:
        return partial(_object, self.place, self.named[name].sha256, self.where(name))


@contextmanager
def _object(place: Place, sha256: str, name: str) -> Iterator[Iterator[bytes]]:
    try:
        with buckets.reading(place, f"{OBJECTS}/{sha256}") as pieces:
            yield pieces
    except FileNotFoundError:
        raise DataError(f"{name}: is missing in the bucket; publish it again") from None


def manifest_text(place: Place) -> str:
    """The manifest of what was published at a place.

    Raises
    ------
    FileNotFoundError
        If nothing was.
    DataError
        If it is no text.
    InfrastructureError
    """
    content = buckets.read(place, MANIFEST, limit=MANIFEST_BYTES)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{place}/{MANIFEST}: is no text, expected JSON") from None


def objects_of(place: Place, manifest: Mapping[str, Any]) -> Objects:
    """The files that a manifest names, after a look whether all are there.

    Raises
    ------
    DataError
        If the manifest names no files, or one is missing or of another size.
    InfrastructureError
    """
    stamps = manifest.get("files")
    if not isinstance(stamps, dict):
        raise DataError(f"{place}/{MANIFEST}: names no files, expected `files` by name")
    there = {one.name: one.bytes for one in buckets.listed(place.below(OBJECTS))}
    named = {}
    for name, stamp in stamps.items():
        of = stamp if isinstance(stamp, dict) else {"sha256": stamp}
        if not is_below(name):
            raise DataError(f"{place}/{MANIFEST}: names a file outside its folder; publish it anew")
        sha256 = str(of.get("sha256"))
        size = of.get("bytes", there.get(sha256))
        if sha256 not in there or there[sha256] != size:
            what = "is cut off or another object" if sha256 in there else "is missing"
            raise DataError(
                f"{place}/{name}: {what} in the bucket, where its manifest names it; publish it "
                "again"
            )
        named[name] = Named(sha256, size)
    return Objects(place, named)
