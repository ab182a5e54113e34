"""Members and claims as the first pass remembers them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest import spill
from ihp_compute.ingest.door import books
from ihp_compute.ingest.door.books import MemberBook
from ihp_compute.ingest.findings import Tally
from ihp_compute.ingest.spill import Spill
from ihp_compute.population.keys import member_keys


def test_a_key_leads_back_to_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids met again and again, in any order and array, are held once; "" has key 0."""
    monkeypatch.setattr(books, "_MOST_WAITING", 3)
    book = MemberBook()
    for met in (["b", "a", ""], ["c"], ["a", "d", "b", ""]):
        keys = book.keys(pa.array(met))
        assert keys.tolist() == [int(member_keys([text])[0]) if text else 0 for text in met]
    book.check()
    asked = np.array([*member_keys(["d", "a", "c", "b"]), 0], np.uint64)
    assert book.ids_of(asked).to_pylist() == ["d", "a", "c", "b", ""]


def test_two_ids_with_one_key_stop_the_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever they meet; the message names neither."""
    monkeypatch.setattr(books, "member_keys", lambda ids: np.full(len(ids), 7, np.uint64))
    book = MemberBook()
    book.keys(pa.array(["0001", ""]))
    book.keys(pa.array(["0001"]))
    book.check()
    book.keys(pa.array(["0002"]))
    with pytest.raises(DataError, match="two member ids have one 64-bit key") as refused:
        book.check()
    assert "000" not in str(refused.value)


def test_claims_are_counted_once_over_batches() -> None:
    tally = Tally()
    words: Any = np.array([5, 5, 0, 2**63, 2**63, 5, 9], np.uint64)
    tally.see_claims(words)
    tally.see_claims(words[3:])
    tally.see_claims(np.zeros(2, np.uint64))
    assert tally.distinct_claims() == 3


@pytest.mark.parametrize("left", [0, 1 << 13])
def test_claims_set_aside_are_counted_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """A part without claims among them; many go to a file, few stay."""
    monkeypatch.setattr(spill, "_LEFT_IN_MEMORY", left)
    kept, whole = Spill(tmp_path, 3), Tally()
    for words in ([7, 1, 2**63, 1], [], [1, 8, 2**62, 2**64 - 1]):
        part = Tally()
        for batch in (words, words[:2]):
            part.see_claims(np.array(batch, np.uint64))
        part.claim_hashes = kept.set_aside(part.claim_hashes)
        whole.add(part)
    assert whole.distinct_claims() == 6
    assert len(list(tmp_path.iterdir())) == (0 if left else 2)
    kept.close()
