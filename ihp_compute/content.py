"""SHA-256 of a value by what it holds, the same in every process that makes it.

Bytes of a pickle are not: they tell which equal texts are one object, and how sets happen to lie.
What is unknown here is taken apart as pickle would take it, so whatever travels to a worker has a
digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

import numpy as np
import pyarrow as pa

import ihp_compute
import kernels

_PLAIN: Final = (type(None), bool, int, float, str, bytes)
_NAMED: Final = (type, FunctionType, BuiltinFunctionType)


def content_sha256(value: Any) -> str:
    """SHA-256 of a value's content, in hexadecimal.

    Parameters
    ----------
    value : any
        Plain values, collections, arrays, Arrow tables, and objects that can be pickled.

    Raises
    ------
    TypeError
        If a part of it cannot be pickled: a function without a name, a lock.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def program_sha256() -> str:
    """SHA-256 of the program that computes: what another has kept is none of its results."""
    digest = hashlib.sha256()
    for package in (ihp_compute, kernels):
        root = Path(next(iter(package.__path__)))
        for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


_CODE: Final = frozenset({".py", ".cu", ".cuh", ".toml", ".json"})


def _parts(value: Any) -> Iterator[bytes | memoryview]:
    kind = type(value)
    if kind in _PLAIN:
        yield _sized(kind.__name__, value if kind is bytes else repr(value).encode())
    elif kind in (tuple, list):
        yield _sized(kind.__name__, b"", len(value))
        for one in value:
            yield from _parts(one)
    elif kind is dict:
        yield _sized("dict", b"", len(value))
        for key, one in value.items():
            yield from _parts(key)
            yield from _parts(one)
    elif kind in (set, frozenset):
        yield _sized(kind.__name__, b"".join(sorted(_digest(one) for one in value)))
    elif kind is np.ndarray and value.dtype.kind in "biuf":
        yield _sized(f"array {value.dtype.str} {value.shape}", b"", value.nbytes)
        yield np.ascontiguousarray(value).data.cast("B") if value.size else b""
    elif kind is pa.Table:
        yield _sized("table", repr(value.schema).encode(), value.num_rows)
        for column in value.itercolumns():
            yield from _column(column)
    elif isinstance(value, PurePath):  # pickled in the parts that it was made of, by Python 3.13
        yield _sized("path", os.fsencode(value))
    elif isinstance(value, _NAMED):
        if "<" in value.__qualname__:
            raise TypeError(f"{value.__qualname__} has no name that another process knows")
        yield _sized("named", f"{value.__module__}.{value.__qualname__}".encode())
    else:
        yield _sized("object", b"")
        yield from _reduced(value)


def _reduced(value: Any) -> Iterator[bytes | memoryview]:
    taken: str | tuple[Any, ...] = value.__reduce_ex__(4)
    if isinstance(taken, str):
        yield _sized("global", taken.encode())
        return
    made, arguments, state, items, pairs = (*taken, None, None, None)[:5]
    if isinstance(state, dict):
        state = {name: one for name, one in state.items() if not _is_kept(value, name)}
    for part in (made, arguments, state):
        yield from _parts(part)
    for each in (items, pairs):
        yield from _parts(None if each is None else list(each))


def _is_kept(value: Any, name: str) -> bool:
    """Whether an attribute keeps what the others told when asked: it is no part of equality."""
    if isinstance(getattr(type(value), name, None), cached_property):
        return True
    return is_dataclass(value) and any(
        field.name == name and not field.compare for field in fields(value)
    )


def _column(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type) and not column.null_count:
        yield np.ascontiguousarray(column.to_numpy()).data.cast("B") if len(column) else b""
    else:
        yield from _parts(column.to_pylist())


def _digest(value: Any) -> bytes:
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.digest()


def _sized(kind: str, content: bytes, size: int | None = None) -> bytes:
    """A part with its kind and size before it, so that no two values say the same."""
    return f"{kind}:{len(content) if size is None else size}\n".encode() + content
