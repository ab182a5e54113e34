"""A run of other settlement terms takes what the process has measured, and comes to what it would.

What is taken is known by what shards are sent; a term that measuring reads makes another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.content import content_sha256
from ihp_compute.contracts import KINDS, ContractSet, Kind
from ihp_compute.errors import IhpError
from ihp_compute.measure import Plan, RunRequest, make_plan, measurements
from ihp_compute.measured_before import MeasuredBefore, measuring_sha256
from ihp_compute.pipeline import measured_by, run
from ihp_compute.runner import LocalRunner

CONTRACT = "mn-ihp-2.0-track-2"
SHARE = "settlement.gain.share"
CAP = "cost.claim_cap"
NEVER_MEASURED = ("settlement.", "payers.", "agreement.")


class Counting(LocalRunner):
    """How many batches of shards were measured."""

    def __init__(self) -> None:
        super().__init__(1)
        self.measured = 0

    def map(self, task: Any, shards: Sequence[Any]) -> Iterator[Any]:
        self.measured += len(shards) if task.func.__name__ == "measure" else 0
        return super().map(task, shards)


@pytest.fixture(scope="module")
def request_of_small(small_population: Path) -> RunRequest:
    return RunRequest(small_population, (CONTRACT,), replicates=20, programme="none")


@pytest.fixture(scope="module")
def shipped(request_of_small: RunRequest) -> ContractSet:
    return make_plan(request_of_small).contracts


def other(contracts: ContractSet, **values: Any) -> ContractSet:
    """The contracts with other terms; `__` stands for the point of a path."""
    given = {path.replace("__", "."): value for path, value in values.items()}
    return of_terms(contracts, given)


def of_terms(contracts: ContractSet, given: dict[str, Any]) -> ContractSet:
    (shared,) = {id(one): one for one in contracts.contracts.values()}.values()
    own = shared.override(given, where="test")
    return replace(contracts, contracts=dict.fromkeys(contracts.contracts, own))


@pytest.mark.parametrize(
    ("programme", "path", "value"),
    [
        ("none", "settlement.gain.share", Decimal("0.3")),
        ("standard", "settlement.gain.share", Decimal("0.3")),
        ("standard", "settlement.quality.weight", Decimal("0.9")),
        ("standard", "payers.split", "cost"),
        ("standard", "target.trend", Decimal("0.01")),
        ("standard", "target.cell_credibility", "none"),
    ],
)  # fmt: skip
def test_other_settlement_terms_measure_nothing_and_come_to_what_a_fresh_run_does(
    request_of_small: RunRequest, shipped: ContractSet, tmp_path: Path, programme: str, path: str,
    value: Any,
) -> None:  # fmt: skip
    request = replace(request_of_small, programme=programme)
    before, runner = MeasuredBefore(), Counting()
    first = run(request, tmp_path / "first", runner, before=before)
    sent = runner.measured
    assert sent
    terms = of_terms(shipped, {path: value})
    done: list[tuple[int, int]] = []
    again = run(
        request, tmp_path / "again", runner, lambda *at: done.append(at), contracts=terms,
        before=before,
    )  # fmt: skip
    assert runner.measured == sent
    assert done == [(5, 5)]
    fresh = run(request, tmp_path / "fresh", LocalRunner(1), contracts=terms)
    assert again.digest == fresh.digest != first.digest
    same_files(tmp_path / "again", tmp_path / "fresh")
    assert shared(tmp_path / "first", tmp_path / "again") >= UNTOUCHED


UNTOUCHED = {"member_years.parquet", "totals.arrow", "ledger.parquet", "utilisation.parquet"}


def same_files(one: Path, other: Path) -> None:
    """Every file but those that name the run, byte for byte."""
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in other.iterdir()}
    for name in names - {"manifest.json", "report.html"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def shared(one: Path, other: Path) -> set[str]:
    """Files that two runs have together."""
    inodes = {path.stat().st_ino for path in one.iterdir()}
    return {path.name for path in other.iterdir() if path.stat().st_ino in inodes}


@pytest.mark.parametrize("what", ["edited", "gone"])
def test_a_table_that_stays_as_it_was_is_written_anew_where_its_file_does_not(
    request_of_small: RunRequest, shipped: ContractSet, tmp_path: Path, what: str
) -> None:
    before, runner = MeasuredBefore(), Counting()
    run(request_of_small, tmp_path / "first", runner, before=before)
    sent, place = runner.measured, tmp_path / "first" / "ledger.parquet"
    content = place.read_bytes()
    if what == "gone":
        place.unlink()
    else:
        place.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    found = place.read_bytes() if what == "edited" else None
    terms = other(shipped, settlement__gain__share=Decimal("0.3"))
    run(request_of_small, tmp_path / "again", runner, contracts=terms, before=before)
    assert runner.measured == sent
    assert (tmp_path / "again" / "ledger.parquet").read_bytes() == content
    assert found is None or place.read_bytes() == found, "the earlier run's is left as it is"


def test_a_term_that_measuring_reads_is_measured(
    request_of_small: RunRequest, shipped: ContractSet, tmp_path: Path
) -> None:
    before, runner = MeasuredBefore(), Counting()
    run(request_of_small, tmp_path / "first", runner, before=before)
    sent = runner.measured
    terms = other(shipped, cost__claim_cap=Decimal(50_000))
    found = run(request_of_small, tmp_path / "again", runner, contracts=terms, before=before)
    assert runner.measured == 2 * sent
    fresh = run(request_of_small, tmp_path / "fresh", LocalRunner(1), contracts=terms)
    assert found.digest == fresh.digest


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("member_years.parquet", "edited"), ("member_years.parquet", "gone"),
        ("member_years.parquet", "cut short"), ("totals.arrow", "edited"),
    ],
)  # fmt: skip
def test_files_that_are_not_as_they_were_written_are_never_taken(
    request_of_small: RunRequest, shipped: ContractSet, tmp_path: Path, name: str, what: str
) -> None:
    before, runner = MeasuredBefore(), Counting()
    run(request_of_small, tmp_path / "first", runner, before=before)
    sent = runner.measured
    place = tmp_path / "first" / name
    content = place.read_bytes()
    if what == "gone":
        place.unlink()
    elif what == "edited":
        place.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    else:
        place.write_bytes(content[:-1])
    terms = other(shipped, settlement__gain__share=Decimal("0.3"))
    found = run(request_of_small, tmp_path / "again", runner, contracts=terms, before=before)
    assert runner.measured == 2 * sent
    assert (tmp_path / "again" / name).read_bytes() == content
    fresh = run(request_of_small, tmp_path / "fresh", LocalRunner(1), contracts=terms)
    assert found.digest == fresh.digest


def test_what_does_not_fit_is_not_kept(request_of_small: RunRequest, tmp_path: Path) -> None:
    before, runner = MeasuredBefore(most_bytes=1000), Counting()
    first = run(request_of_small, tmp_path / "first", runner, before=before)
    sent = runner.measured
    again = run(request_of_small, tmp_path / "again", runner, before=before)
    assert runner.measured == 2 * sent
    assert again.digest == first.digest


def values_of(kind: Kind) -> Iterator[Any]:
    """Some values of a term, of which one may fit where another does not."""
    if kind.form == "flag":
        yield from (True, False)
    elif kind.form == "choice":
        yield from kind.choices
    elif kind.form == "number":
        low, high = kind.low or Decimal(0), kind.high
        top = low + 7 if high is None else high
        whole = kind.places == 0
        middle = (low + top) / 2
        yield from (low + 1, top) if whole else (middle, top)
        yield low
    if kind.optional:
        yield "none"


def test_rate_cells_that_other_contracts_have_make_the_programmes_tables_anew(
    request_of_small: RunRequest, shipped: ContractSet, tmp_path: Path
) -> None:
    """Totals may stay where cells are merged; trends by them do not."""
    request = replace(request_of_small, programme="standard")
    before = MeasuredBefore()
    run(request, tmp_path / "first", LocalRunner(1), before=before)
    cells = next(iter(shipped.at(2024).values()))["target.rate_cells"]
    merged = ["+".join(cells[:2]), *cells[2:]]
    terms = of_terms(shipped, {"target.rate_cells": merged})
    again = run(request, tmp_path / "again", LocalRunner(1), contracts=terms, before=before)
    fresh = run(request, tmp_path / "fresh", LocalRunner(1), contracts=terms)
    assert again.digest == fresh.digest
    same_files(tmp_path / "again", tmp_path / "fresh")


def test_every_declared_term_that_changes_what_is_measured_changes_its_name(
    request_of_small: RunRequest, shipped: ContractSet
) -> None:
    """And none of a settlement does: whatever is taken is what would have been measured."""
    request = replace(request_of_small, replicates=2, programme="none")
    runner = LocalRunner(1)

    def sent(contracts: ContractSet) -> tuple[str, Sequence[Plan]]:
        whole = make_plan(request, contracts)
        ways = measurements(replace(whole, shards=whole.shards[:1]))
        return measuring_sha256(ways, ()), ways

    def measured(ways: Sequence[Plan]) -> str:
        return content_sha256([one for _, one in measured_by(ways, (), runner)])

    name, ways = sent(shipped)
    content = measured(ways)
    same: set[str] = set()
    others: set[str] = set()
    for path, kind in KINDS.items():
        for value in values_of(kind):
            try:
                found, ways = sent(of_terms(shipped, {path: value}))
            except IhpError:
                continue  # this value does not go with the other terms
            if found != name:
                others.add(path)
                break
            if path not in same:
                assert measured(ways) == content, path
            same.add(path)
    assert not {path for path in others if path.startswith(NEVER_MEASURED)}
    assert {"settlement.gain.share", "settlement.loss.share", "target.trend"} <= same
    assert {"cost.claim_cap", "cost.amount", "cost.incurred_by", "risk.missing"} <= others
