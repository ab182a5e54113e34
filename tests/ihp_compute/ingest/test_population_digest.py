"""The digest's view of reference tables, against the plain way of writing it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute import METHOD_VERSION
from ihp_compute.population import digest
from ihp_compute.population.digest import HASHED_TABLES, digest_of, lines_of

value = st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["", "a", "ab", '"', "\\", "é"]))


@given(rows=st.lists(st.tuples(value, value, value), max_size=20), block=st.integers(1, 7))
def test_lines_are_the_rows_as_sorted_json(rows: list[tuple[str | None, ...]], block: int) -> None:
    names = ("b", "a", "c d")
    table = pa.table(
        {name: pa.array([row[k] for row in rows], pa.string()) for k, name in enumerate(names)}
    )
    lines = lines_of(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "_BLOCK", block)
        found = b"".join(map(bytes, lines.blocks()))
    plain = [json.dumps(dict(zip(names, row, strict=True)), sort_keys=True) + "\n" for row in rows]
    assert lines.n_rows == len(rows)
    assert found == "".join(sorted(plain)).encode()


def test_the_digest_is_sha256_over_sums_and_lines() -> None:
    sums = np.arange(3 * len(HASHED_TABLES), dtype=np.uint64).reshape(-1, 3)
    text = f"ihp population {METHOD_VERSION}\n" + "".join(
        f"{names[0]} {a} {b:016x} {c:016x}\n"
        for names, (a, b, c) in zip(HASHED_TABLES, sums.tolist(), strict=True)
    )
    text += 'roster 2\n{"npi": "1"}\n{"npi": "2"}\n'
    references = {"roster": lines_of(pa.table({"npi": ["2", "1"]}))}
    assert digest_of(sums, references) == hashlib.sha256(text.encode()).hexdigest()
