"""What a population's manifest must say, held against types and bounds before it is believed.

A manifest lies in a folder that anybody may have written: what is read from it is a count, a digest
or a name below the folder, or it is refused with the part that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec

from ihp_compute.folders import is_below

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Text = Annotated[str, msgspec.Meta(max_length=1000)]
_Year = Annotated[int, msgspec.Meta(ge=0, le=2200)]  # 0: no line is retained
_Day = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
_Cents = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
MOST_SHARDS: Final = 100_000
"""As many as the names of their folders have digits for."""


class _Stamp(msgspec.Struct, frozen=True):
    sha256: _Sha256
    bytes: _Count
    mtime_ns: _Nanoseconds
    ctime_ns: _Nanoseconds | None = None


class _Account(msgspec.Struct, frozen=True):
    source_table: _Text
    file: _Text
    delivery: _Count
    fate: _Text
    lines: _Count
    paid_cents: _Cents


class _Input(msgspec.Struct, frozen=True):
    source_table: _Text
    file: _Text
    delivery: _Count
    sha256: _Sha256


class _Manifest(msgspec.Struct, frozen=True):
    population_digest: _Sha256
    n_shards: Annotated[int, msgspec.Meta(ge=1, le=MOST_SHARDS)]
    files: dict[str, _Stamp]
    inputs: list[_Input]
    ledger: list[_Account]
    members: _Count
    member_months: _Count
    full_years: list[_Year]
    last_paid_day: _Day | None
    method_version: _Text
    service_years: list[_Year] | None = None


def faults(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a manifest, the part named and its value left out; nothing if it is sound.

    >>> next(faults({"n_shards": "8"}))
    'Expected `int`, got `str` - at `$.n_shards`'
    """
    try:
        held = msgspec.convert(manifest, _Manifest)
    except msgspec.ValidationError as error:
        yield str(error)
        return
    for number, name in enumerate(held.files, start=1):
        if not is_below(name):
            yield f"Expected a path below the folder - at `$.files`, entry {number}"
            return
