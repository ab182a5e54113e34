"""What the first pass remembers for all its workers: the codes and the members that were met.

Decides: the number of a code, provisional while files are read and final once all are, and that no
two member ids share a key. Not here: how a code is spelled (`input_columns`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.input_columns import CODE_SYSTEMS
from ihp_compute.population import member_keys, text_hashes
from ihp_compute.sorting import WORD_BITS
from kernels import key_place, word_order

_MOST_WAITING: Final = 1 << 18
_NO_KEYS: Final = np.empty(0, np.uint64)


class CodeBook:
    """Numbers codes in the order met, for all workers; then sorts them by their bytes.

    `known` are codes of earlier deliveries by system, "" first: each keeps its place as its number.
    Those in `lone` are as good as not met, though nobody else has their numbers.
    """

    def __init__(
        self,
        known: Mapping[str, Sequence[str]] = MappingProxyType({}),
        lone: Mapping[str, Iterable[str]] = MappingProxyType({}),
    ) -> None:
        self._lock = threading.Lock()
        self._number = {
            system: {code: number for number, code in enumerate(known.get(system, ("",)))}
            for system in CODE_SYSTEMS
        }
        self._next = {system: len(known.get(system, ("",))) for system in CODE_SYSTEMS}
        for system, codes in lone.items():
            for code in codes:
                self._number[system].pop(code, None)

    def numbers(self, system: str, codes: Sequence[str]) -> NDArray[np.int32]:
        """Provisional number of each code."""
        known = self._number[system]
        found = list(map(known.get, codes))
        if None in found:
            with self._lock:
                for code, number in zip(codes, found, strict=True):
                    if number is None and code not in known:
                        known[code] = self._next[system]
                        self._next[system] += 1
            found = list(map(known.get, codes))
        return np.array(found, np.int32)

    def unmet(self, system: str, codes: Sequence[str]) -> list[str]:
        """Those that were not met yet."""
        return [code for code in codes if code not in self._number[system]]

    def sort(self) -> tuple[dict[str, pa.Array], dict[str, NDArray[np.int32]]]:
        """Sorted codes of every system, and the final number of each provisional one."""
        sorted_codes, final = {}, {}
        for system, known in self._number.items():
            ordered = sorted(known, key=str.encode)  # "" sorts first
            remap = np.zeros(self._next[system], np.int32)
            remap[[known[code] for code in ordered]] = np.arange(len(known), dtype=np.int32)
            sorted_codes[system] = pa.array(ordered, pa.string())
            final[system] = remap
        return sorted_codes, final


class MemberBook:
    """The key of every member id met; stops when two ids have one key.

    Ids wait until there are many and are then sorted by key among those known, so that each is
    held once and equal keys meet.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = _NO_KEYS, _NO_KEYS, pa.array([], pa.string())
        self._waiting: list[tuple[NDArray[np.uint64], NDArray[np.uint64], pa.Array]] = []

    def keys(self, ids: pa.Array) -> NDArray[np.uint64]:
        """Key of each id; 0 for "". One array of ids holds none twice.

        Raises
        ------
        DataError
            If another id has the same key.
        """
        keys, hashes = member_keys(ids), text_hashes(ids)
        keys[hashes == 0] = 0
        with self._lock:
            self._waiting.append((keys, hashes, ids))
            waiting = sum(len(keys) for keys, _, _ in self._waiting)
            if waiting > max(_MOST_WAITING, len(self._known[0])):
                self._settle()
        return keys

    def know(self, keys: NDArray[np.uint64], ids: pa.Array) -> None:
        """Take note of ids of an earlier delivery and their keys; none stands twice."""
        with self._lock:
            hashes = text_hashes(ids)
            self._waiting.append((np.where(hashes == 0, np.uint64(0), keys), hashes, ids))

    def check(self) -> None:
        """Compare all that is still waiting.

        Raises
        ------
        DataError
            If two ids have one key.
        """
        with self._lock:
            self._settle()

    def ids_of(self, keys: NDArray[np.uint64]) -> pa.Array:
        """The id that has each key, "" for 0; every key was met, and all were compared."""
        known, _, ids = self._known
        return ids.take(pa.array(key_place(keys, known)))

    def _settle(self) -> None:
        parts = [self._known, *self._waiting]
        self._waiting = []
        keys = np.concatenate([keys for keys, _, _ in parts])
        hashes = np.concatenate([hashes for _, hashes, _ in parts])
        order, keys = word_order(keys, WORD_BITS)
        hashes = hashes.take(order)
        same = keys[1:] == keys[:-1]
        if (same & (hashes[1:] != hashes[:-1])).any():
            raise DataError(
                "two member ids have one 64-bit key, so their claims cannot be told "
                "apart. Prefix every id with a text of your own and ingest again."
            )
        first = np.r_[len(keys) > 0, ~same] if len(keys) else np.zeros(0, bool)
        ids = pa.chunked_array([ids for _, _, ids in parts], pa.string())
        met = ids.take(pa.array(order[first])).combine_chunks()
        self._known = keys[first], hashes[first], met
