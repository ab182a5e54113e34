"""Members and claims as the first pass remembers them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.errors import DataError
from ihp_compute.ingest.door import books
from ihp_compute.ingest.door.books import MemberBook
from ihp_compute.ingest.findings import Tally
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
