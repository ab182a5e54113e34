from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.errors import RunError
from ihp_compute.measure.request import DEVICES, RunRequest

TEXTS = st.text(max_size=20)
YEARS = st.none() | st.integers(1900, 2200)
REQUESTS = st.builds(
    RunRequest,
    population=TEXTS.map(Path),
    contracts=st.lists(TEXTS, max_size=3).map(tuple),
    performance_year=YEARS,
    base_year=YEARS,
    paid_through=st.none() | st.dates(),
    replicates=st.integers(0, 1_000_000),
    seed=st.integers(0, 2**64 - 1),
    device=st.sampled_from(DEVICES),
    accept=st.dictionaries(TEXTS, TEXTS, max_size=2),
)
LEAST: dict[str, Any] = {"population": "state", "contracts": ["a", "b"]}


@given(request=REQUESTS)
def test_a_document_holds_every_field_and_is_read_back_from_json(request: RunRequest) -> None:
    document = json.loads(json.dumps(request.document()))
    assert list(document) == [field.name for field in fields(RunRequest)]
    assert RunRequest.of(document) == request


def test_what_a_document_leaves_out_has_its_default() -> None:
    assert RunRequest.of(LEAST) == RunRequest(Path("state"), ("a", "b"))


def test_a_row_of_an_earlier_program_is_read() -> None:
    """Rows of the queue had no device, and their options in this form."""
    row = {
        **LEAST,
        "performance_year": 2024,
        "base_year": None,
        "paid_through": "2025-06-30",
        "replicates": 10,
        "seed": 2**64 - 1,
    }
    assert RunRequest.of(row) == RunRequest(
        Path("state"),
        ("a", "b"),
        performance_year=2024,
        paid_through=date(2025, 6, 30),
        replicates=10,
        seed=2**64 - 1,
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeed": 1}, r"found 'seeed', expected some of population, contracts, .*seed"),
        ({"seed": -1}, "seed: expected a whole number of 64 bits, got -1"),
        ({"seed": 2**64}, "seed: expected a whole number of 64 bits"),
        ({"seed": None}, "seed: expected .* type NoneType"),
        ({"seed": True}, "seed: expected .* type bool"),
        ({"replicates": 1_000_001}, "replicates: expected 0 to 1,000,000, got 1000001"),
        ({"replicates": 2.0}, "replicates: expected .* type float"),
        ({"base_year": 20240}, "base_year: expected a year from 1900 to 2200, got 20240"),
        ({"paid_through": "2024-02-30"}, "paid_through: expected a date as YYYY-MM-DD"),
        ({"device": "tpu"}, "device: expected auto, cpu or gpu, got tpu"),
        ({"contracts": "a"}, "contracts: expected a list of contracts"),
        ({"contracts": [1]}, "contracts: expected a list of contracts"),
        ({"population": None}, "population: expected the path of a folder"),
        ({"allow_inconsistent": "amended"}, "found 'allow_inconsistent', expected some of"),
        ({"accept": "amended"}, "accept: expected a reason for each gate by name"),
        ({"accept": {"inconsistent": None}}, "accept: expected a reason for each gate"),
        ({"accept": None}, "accept: expected .* type NoneType"),
    ],
)
def test_a_document_that_is_wrong_is_refused_in_words(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says):
        RunRequest.of({**LEAST, **changes})


@pytest.mark.parametrize("name", LEAST)
def test_a_document_without_population_or_contracts_is_refused(name: str) -> None:
    with pytest.raises(RunError, match=f"has no {name}"):
        RunRequest.of({key: value for key, value in LEAST.items() if key != name})
