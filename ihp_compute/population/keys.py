"""Which member stands in which shard: the key of an id, and the shard of a key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.population.hashes import text_buffers
from kernels import text_key

_KEY_PERSON: Final = np.frombuffer(b"ihp-member-1".ljust(16, b"\0"), "<u8")


def member_keys(ids: Iterable[str] | pa.Array) -> NDArray[np.uint64]:
    """The 64-bit key of each member id: blake2b of its UTF-8 bytes, read little-endian.

    Part of the method version: shards and bootstrap draws follow from it. Meant for distinct ids;
    a caller with lines encodes them to distinct ids first.

    >>> [hex(int(key)) for key in member_keys(["M1"])]
    ['0xe5968539196cba65']
    """
    texts = ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
    keys: NDArray[np.uint64] = text_key(*text_buffers(texts), _KEY_PERSON)
    return keys


KeyT = TypeVar("KeyT", np.uint64, NDArray[np.uint64])


def shard_of(member_key: KeyT, n_shards: int) -> KeyT:
    """Shard number of a key, or an array of keys: the key modulo the number of shards."""
    return member_key % np.uint64(n_shards)
