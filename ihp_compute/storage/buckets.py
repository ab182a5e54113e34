"""Objects of a bucket: listed, read, written, removed; what goes wrong is said in one sentence.

What a store refuses, or that it is away, is an `InfrastructureError` that names location and host,
and never a credential. Requests are tried again by the store's own client before that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ihp_compute.errors import DataError, InfrastructureError
from ihp_compute.storage.locations import Bucket, Place

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import S3FileSystem

_CONNECT_S: Final = 5.0
_SILENT_S: Final = 30.0
_ATTEMPTS: Final = 4
PIECE_BYTES: Final = 1 << 20
"""Read, hashed and written at a time."""

_REFUSED: Final = (
    "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT_TOKEN_ID",
    "MISSING_AUTHENTICATION_TOKEN", "UNRECOGNIZED_CLIENT", "InvalidAccessKeyId", "AccessDenied",
    "EXPIRED_TOKEN", "ExpiredToken",
)  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """An object of a bucket: its path below what was listed, size and age.

    A store may tell no time of an object, or one that its client cannot read and gives as the
    epoch (rclone's "…:55.13Z", with two digits after the point): None.
    """

    name: str
    bytes: int
    modified_s: float | None

    def is_older(self, than_s: float) -> bool:
        """Whether it is known to be of a time before."""
        return self.modified_s is not None and self.modified_s <= than_s


@lru_cache(maxsize=32)
def _client(bucket: Bucket, attempts: int, _environment: tuple[str | None, ...]) -> S3FileSystem:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem  # noqa: PLC0415 (0.1 s)

    options: dict[str, Any] = {}
    if bucket.endpoint:
        # stores other than Amazon's often know neither checksums in a trailer nor a metadata host
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "WHEN_REQUIRED")
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        scheme, _, host = bucket.endpoint.rstrip("/").partition("://")
        options = {"scheme": scheme, "endpoint_override": host}
    return S3FileSystem(
        region=bucket.region or None,
        connect_timeout=_CONNECT_S,
        request_timeout=_SILENT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=attempts),
        background_writes=False,
        **options,
    )


def _open(bucket: Bucket, attempts: int = _ATTEMPTS) -> S3FileSystem:
    """The client of a bucket; another once the environment's credentials are others."""
    names = (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
    )  # fmt: skip
    return _client(bucket, attempts, tuple(map(os.environ.get, names)))


@contextmanager
def _told(place: Place) -> Iterator[None]:
    """Turn what the store's client raises into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _named(place, str(error)) from error


def _named(place: Place, said: str) -> InfrastructureError:
    host = place.bucket.host
    found = re.search(r"AWS Error (\w+)", said)
    code = found[1] if found else "no answer"
    if code == "UNKNOWN" and (of := re.search(r"ExceptionName: (\w+)", said)):
        code = of[1]
    status = re.search(r"HTTP status (\d+)", said)
    if code in _REFUSED or (status and status[1] in ("401", "403")):
        return InfrastructureError(
            f"{place}: {host} refuses these credentials for bucket {place.bucket.bucket} ({code}); "
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do"
        )
    if code in ("NO_SUCH_BUCKET", "NoSuchBucket"):
        return InfrastructureError(
            f"{place}: {host} has no bucket {place.bucket.bucket}; make it, or correct location "
            f"{place.location} in IHP_LOCATIONS"
        )
    return InfrastructureError(
        f"{place}: {host} cannot be used ({code}); check that it runs and that the endpoint of "
        f"location {place.location} is right, then try again"
    )


def listed(place: Place) -> list[Listed]:
    """Every object below a place; empty where there is none.

    Raises
    ------
    InfrastructureError
    """
    from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

    with _told(place):
        selector = FileSelector(place.root, recursive=True, allow_not_found=True)
        found = _open(place.bucket).get_file_info(selector)
    start = len(place.root) + 1
    return [
        Listed(info.path[start:], info.size, _modified_s(info))
        for info in found
        if info.type == FileType.File
    ]


def _modified_s(info: pa.fs.FileInfo) -> float | None:
    told = None if info.mtime is None else info.mtime.timestamp()
    return told if told is not None and told > 0 else None


def read(place: Place, name: str, *, limit: int) -> bytes:
    """The whole of a small object.

    Raises
    ------
    FileNotFoundError
        If the bucket has no such object.
    DataError
        If it has more than `limit` bytes.
    InfrastructureError
    """
    with _told(place):
        try:
            with _open(place.bucket).open_input_stream(f"{place.root}/{name}") as stream:
                content: bytes = stream.read(limit + 1)
        except FileNotFoundError:
            _check_bucket(place)
            raise
    if len(content) > limit:
        raise DataError(f"{place}: {name} has more than {limit:,} bytes; it is not one of ours")
    return content


def _check_bucket(place: Place) -> None:
    """Refuse a bucket that is not there: of an object that says no more than that it is not."""
    from pyarrow.fs import FileType  # noqa: PLC0415

    name = place.bucket.bucket
    if _open(place.bucket).get_file_info(name).type == FileType.NotFound:
        raise OSError("AWS Error NO_SUCH_BUCKET")


@contextmanager
def reading(place: Place, name: str) -> Iterator[Iterator[bytes]]:
    """An object's content, piece by piece.

    Raises
    ------
    FileNotFoundError
    InfrastructureError
    """
    with _told(place):
        stream = _open(place.bucket).open_input_stream(f"{place.root}/{name}")
    with stream:
        yield _pieces(place, stream)


def _pieces(place: Place, stream: pa.NativeFile) -> Iterator[bytes]:
    while True:
        with _told(place):
            piece = stream.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def write(place: Place, name: str, pieces: Iterator[bytes]) -> None:
    """Write an object, in parts where it is large; it is there once all of it is.

    Of a writer that fails midway a store may keep what came: whoever names an object looks at its
    size first (`publishing`).

    Raises
    ------
    InfrastructureError
    """
    with _told(place):
        sink = _open(place.bucket).open_output_stream(f"{place.root}/{name}")
    for piece in pieces:
        with _told(place):
            sink.write(piece)
    with _told(place):
        sink.close()


def remove(place: Place, name: str) -> None:
    """Remove an object.

    Raises
    ------
    InfrastructureError
    """
    from pyarrow.fs import FileType  # noqa: PLC0415

    path, client = f"{place.root}/{name}", _open(place.bucket, attempts=1)
    with _told(place):
        try:
            client.delete_file(path)
        except FileNotFoundError:
            return
        except OSError:
            # afterwards pyarrow marks the object's folder, which a store may refuse
            if client.get_file_info(path).type != FileType.NotFound:
                raise
