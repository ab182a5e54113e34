"""What the door hands to the shards by the spill: columns, their types, what stays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SPILLED_LINES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("claim_id", pa.string()), ("claim_line_number", pa.string()),
        ("original_claim", pa.string()), ("adjustment_claim", pa.string()),
        ("service_day", pa.int32()), ("claim_start_day", pa.int32()), ("claim_end_day", pa.int32()),
        ("paid_day", pa.int32()), ("file_day", pa.int32()), ("admission_day", pa.int32()),
        ("discharge_day", pa.int32()), ("paid_cents", pa.int64()), ("allowed_cents", pa.int64()),
        ("third_party_cents", pa.int64()), ("blank_amount", pa.bool_()),
        ("indicator", pa.uint8()), ("denial", pa.uint8()), ("kind", pa.uint8()),
        ("claim_type", pa.uint8()), ("disposition", pa.uint8()), ("has_drg", pa.bool_()),
        ("hcpcs", pa.int32()), ("revenue", pa.int32()), ("bill_type", pa.int32()),
        ("place_of_service", pa.int32()), ("ndc", pa.int32()), ("rendering_npi", pa.int32()),
        ("billing_npi", pa.int32()), ("facility_npi", pa.int32()), ("tin", pa.int32()),
        ("dx", pa.list_(pa.int32())),
    ]
)  # fmt: skip

SPILLED_ELIGIBILITY: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("fate", pa.uint8()), ("reason", pa.string()),
        ("file", pa.uint16()), ("row", pa.int64()), ("hash_1", pa.uint64()),
        ("hash_2", pa.uint64()), ("member_id", pa.string()), ("start_day", pa.int32()),
        ("end_day", pa.int32()), ("file_day", pa.int32()), ("birth_day", pa.int32()),
        ("death_day", pa.int32()), ("sex", pa.uint8()), ("aid", pa.uint8()),
        ("managed", pa.uint8()), ("flags", pa.uint8()), ("dual_status", pa.uint8()),
        ("original_reason", pa.uint8()), ("plan", pa.int32()),
    ]
)  # fmt: skip

SPILLED_SCORES: Final = pa.schema(
    [
        ("member_key", pa.uint64()), ("year", pa.int16()), ("model", pa.int32()),
        ("score_micro", pa.int64()), ("cell", pa.int32()),
    ]
)  # fmt: skip

SPILLED: Final[Mapping[str, pa.Schema]] = {
    "medical_claim": SPILLED_LINES,
    "pharmacy_claim": SPILLED_LINES,
    "eligibility": SPILLED_ELIGIBILITY,
    "risk_score": SPILLED_SCORES,
}
"""Columns of the tables that are sharded, and their types once they are read back."""


class Space:
    """Memory that a worker uses again for every batch and every shard, by name.

    Fresh memory costs as much as what is done in it. An array stands until its name is asked for
    again, so nothing of a batch or shard may outlive it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, n: int, kind: np.dtype[Any]) -> NDArray[Any]:
        """An array of n elements, whatever stands in it."""
        size = n * kind.itemsize
        kept = self._kept.get(name)
        if kept is None or len(kept) < size:
            kept = self._kept[name] = np.empty(size + size // 8, np.uint8)
        return kept[:size].view(kind)


FOLLOWING: Final = frozenset({"claim_id"})
"""Columns in which null is written for the text of the row before, itself of the same shard."""


@dataclass(frozen=True)
class Kept:
    """What stays in memory of a batch.

    constant : the value of each column that is the same in all rows, and is not written
    values : distinct values of each column of which places among them are written
    hashes : of those that are texts, `fingerprint.text_hashes`
    """

    constant: dict[str, int | str | None] = field(default_factory=dict)
    values: dict[str, NDArray[Any] | pa.Array] = field(default_factory=dict)
    hashes: dict[str, NDArray[np.uint64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ordered:
    """Rows of a batch in order of shard, those of a shard in their order.

    numbers : a value a row, perhaps in a narrower type than the schema's, or a place (`Kept`)
    texts : texts and lists, a value a row
    starts : int64[n_shards + 1], where each shard's rows start
    """

    numbers: dict[str, NDArray[Any]]
    texts: dict[str, pa.Array]
    kept: Kept
    starts: NDArray[np.int64]
