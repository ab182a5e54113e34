"""Named places: which names stand for which folder or bucket, and what may be said with them.

An operator names locations in `IHP_LOCATIONS`, JSON of name to a folder or to

    {"type": "s3", "bucket": …, "prefix": …, "region": …, "endpoint": …}

and nobody else names a bucket or a host: whoever asks says `LOCATION:PREFIX`. Credentials are the
environment's alone, `AWS_…`; they stand in no configuration of ours and travel to no worker.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from ihp_compute.errors import LocationError

VARIABLE: Final = "IHP_LOCATIONS"
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
PREFIX: Final = rf"^{_PART}(/{_PART})*$"
"""What a prefix may be: parts of letters, digits, dots and dashes, and never a way up."""
_NAMED: Final = re.compile(rf"^({_PART}):([^/].*)$")
_URI: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:/")


class Bucket(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="s3"):
    """A bucket of an S3-compatible store, or the part of it below a prefix.

    Attributes
    ----------
    bucket : str
    prefix : str
        Of every key; empty: the whole bucket.
    region : str
    endpoint : str
        `http(s)://host[:port]` of a store that is not Amazon's; empty: Amazon's.
    """

    bucket: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, msgspec.Meta(pattern=rf"^({_PART}(/{_PART})*)?$", max_length=500)] = ""
    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]*$")] = "us-east-1"
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+/?)?$")] = ""

    @property
    def root(self) -> str:
        """Bucket and prefix, as every path of `pyarrow.fs` begins."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    @property
    def host(self) -> str:
        """Whom a message names."""
        return self.endpoint or f"Amazon S3 ({self.region})"


Location: TypeAlias = Path | Bucket


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket, by the name of its location."""

    location: str
    bucket: Bucket
    prefix: str

    def __str__(self) -> str:
        """As whoever asks says it."""
        return f"{self.location}:{self.prefix}"

    @property
    def path(self) -> Path:
        """The same words as a path, as requests and manifests hold places."""
        return Path(str(self))

    @property
    def root(self) -> str:
        """Path of `pyarrow.fs` below which the place's objects lie."""
        return f"{self.bucket.root}/{self.prefix}" if self.prefix else self.bucket.root

    def below(self, *parts: str) -> Place:
        """A place below this one."""
        return Place(self.location, self.bucket, "/".join(filter(None, (self.prefix, *parts))))


def locations_of(configured: Mapping[str, object]) -> dict[str, Location]:
    """Locations as they are configured.

    Raises
    ------
    LocationError
        With the name whose entry is neither a folder nor a bucket.
    """
    found: dict[str, Location] = {}
    for name, said in configured.items():
        if not re.fullmatch(_PART, name):
            raise LocationError(
                f"{VARIABLE}: {name!r} is no name of a location; expected letters, digits, dots "
                "and dashes"
            )
        if isinstance(said, str | Path):
            if _URI.match(str(said)):
                raise LocationError(
                    f"{VARIABLE}: {name} is a URI; expected a folder, or an object of type s3 with "
                    "bucket, prefix, region and endpoint"
                )
            found[name] = Path(said).expanduser()
            continue
        try:
            kind: Literal["folder"] | type[Bucket] = Bucket
            found[name] = msgspec.convert(said, kind)
        except msgspec.ValidationError as error:
            raise LocationError(
                f"{VARIABLE}: {name}: {error}; expected a folder, or an object of type s3 with "
                "bucket, prefix, region and endpoint"
            ) from None
    return found


def locations() -> dict[str, Location]:
    """The locations of this process's environment, by name.

    Raises
    ------
    LocationError
        If the variable holds no JSON object of locations.
    """
    said = os.environ.get(VARIABLE, "")
    try:
        configured = json.loads(said or "{}")
    except ValueError:
        configured = None
    if not isinstance(configured, dict):
        raise LocationError(f"{VARIABLE}: expected a JSON object of locations by name")
    return locations_of(configured)


def location_of(said: str) -> Path | Place:
    """A whole location by its name, or a place in it by `LOCATION:PREFIX`.

    Raises
    ------
    LocationError
        As `place_of`; every path that names none is refused.
    """
    known = locations()
    if said in known:
        found = known[said]
        return found if isinstance(found, Path) else Place(said, found, "")
    if _NAMED.match(said) is None:
        there = ", ".join(sorted(known)) or "none"
        raise LocationError(f"{said}: no location {said} is configured, there are: {there}")
    return place_of(said)


def lasting(path: Path) -> Path:
    """A path that holds wherever a process starts: words of a place, or the folder's whole path."""
    place = place_of(path)
    return place.resolve() if isinstance(place, Path) else place.path


def place_of(path: Path | str) -> Path | Place:
    """What somebody's words name: a folder, a bucket's or of this machine, or a place in a bucket.

    A path of a folder stays as it is. `LOCATION:PREFIX` of a location that is a folder is the
    folder below it.

    Raises
    ------
    LocationError
        If the words are a URI, or name a location that is not configured or lead out of one.
    """
    said = str(path)
    if _URI.match(said):
        scheme = said.split(":", 1)[0]
        raise LocationError(
            f"{scheme}: a URI names no place here, as buckets and hosts are the operator's to "
            f"name; name a location in {VARIABLE}, then give LOCATION:PREFIX"
        )
    named = _NAMED.match(said)
    if named is None:
        return Path(path)
    name, prefix = named[1], named[2].rstrip("/")
    known = locations()
    if name not in known:
        if Path(path).exists():
            return Path(path)
        there = ", ".join(sorted(known)) or "none"
        raise LocationError(
            f"{said}: no location {name} is configured, there are: {there}; name it in {VARIABLE}, "
            f"or write ./{said} for a folder of this name"
        )
    if not re.fullmatch(PREFIX, prefix):
        raise LocationError(
            f"{name}:{prefix}: expected LOCATION:PREFIX with a prefix like 2024/state: letters, "
            "digits, dots and dashes between slashes"
        )
    location = known[name]
    return location / prefix if isinstance(location, Path) else Place(name, location, prefix)
