"""A sweep of the claim cap is the runs that somebody would make of each, swept and put together."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute import contracts as contract
from ihp_compute.contracts.files import FOLDER
from ihp_compute.errors import GridError, PopulationError
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.remeasured import MEASUREMENTS, sweep_anew, ways_of
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps import Swept, grid_of, sweep, verify_sweep, write

NAME = "mn-ihp-2.0-track-2"
YEAR = 2024
SHARES = [0.4, 0.6]
CAP = "cost.claim_cap"


@pytest.fixture(scope="module")
def made(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run of the contract by name, or of a file of it."""
    folder = tmp_path_factory.mktemp("runs")
    runs: dict[str, Path] = {}

    def of(contracts: str) -> Path:
        if contracts not in runs:
            request = RunRequest(small_population, (contracts,), replicates=12, programme="none")
            runs[contracts] = folder / str(len(runs))
            run(request, runs[contracts], LocalRunner(2))
        return runs[contracts]

    return of


def capped(cap: int, folder: Path) -> str:
    """The contract's own text with another cap."""
    text = (FOLDER / f"{NAME}.toml").read_text(encoding="utf-8")
    moved, n = re.subn(r"(\[cost\.claim_cap\]\nvalue\s*=\s*)[0-9_.]+", rf"\g<1>{cap}", text)
    assert n == 1
    path = folder / f"capped-{cap}.toml"
    path.write_text(moved.replace(f'"{NAME}"', f'"capped-{cap}"', 1), encoding="utf-8")
    return str(path)


def rows(swept: Swept, **wanted: Any) -> list[dict[str, Any]]:
    """Rows of a sweep, without the scenario's number and what they are compared with."""
    apart = {"scenario_id", "difference_cents", CAP} & set(swept.table.schema.names)
    found = swept.table.drop_columns(sorted(apart))
    kept = swept.table.to_pylist()
    return [
        row
        for row, whole in zip(found.to_pylist(), kept, strict=True)
        if all(whole[name] == value for name, value in wanted.items())
    ]


def test_each_cap_pays_what_a_run_of_it_pays(made: Callable[[str], Path], tmp_path: Path) -> None:
    own = contract.load(NAME).at(YEAR)[CAP]
    axes = {"settlement.gain.share": SHARES, CAP: [3000, own, 20_000]}
    told: list[tuple[int, int]] = []
    swept = sweep_anew(
        made(NAME), grid_of(axes), LocalRunner(2), lambda *now: told.append(now), beside=tmp_path
    )
    over_shares = grid_of({"settlement.gain.share": SHARES})
    for cap in (3000, 20_000):
        other = made(capped(cap, tmp_path))
        assert rows(swept, **{CAP: cap}) == rows(sweep(other, over_shares))
    assert rows(swept, **{CAP: float(own)}) == rows(sweep(made(NAME), over_shares))
    payments = {row["payment_cents"] for row in swept.table.to_pylist() if row["scope"] == "state"}
    assert len(payments) > len(SHARES)
    paid = pq.read_table(made(NAME) / "settlement.parquet").column("payment_cents").to_pylist()
    first = swept.table.to_pylist()[0]
    assert first["difference_cents"] == first["payment_cents"] - sum(paid)
    ids = swept.table.column("scenario_id").to_pylist()
    assert ids == sorted(ids)
    assert [row[CAP] for row in swept.table.to_pylist()[:: len(paid) + 1]] == [
        3000, float(own), 20_000
    ] * 2  # fmt: skip
    assert told[-1] == (swept.table.num_rows, swept.table.num_rows)
    runs = [one["values"][CAP] for one in swept.about["measured"]]
    assert runs == [str(own.normalize().quantize(1)), "3000", "20000"]
    write(swept, tmp_path / "s.parquet")
    assert verify_sweep(tmp_path / "s.parquet") == swept.digest
    assert {path.name for path in tmp_path.iterdir()} == {
        "s.parquet", "capped-3000.toml", "capped-20000.toml"
    }  # fmt: skip


def test_a_sweep_that_is_stopped_keeps_the_measurements_that_are_whole(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    own = contract.load(NAME).at(YEAR)[CAP]
    grid = grid_of({CAP: [4000, own], "settlement.gain.share": SHARES})
    kept: list[Swept] = []
    per_cap = len(SHARES) * (pq.read_metadata(made(NAME) / "settlement.parquet").num_rows + 1)

    def stop(done: int, _of: int) -> None:
        if done in seen and done == per_cap:  # the second measurement has begun
            raise KeyError
        seen.append(done)

    seen: list[int] = []
    with pytest.raises(KeyError):
        sweep_anew(made(NAME), grid, LocalRunner(2), stop, beside=tmp_path, keep=kept.append)
    (part,) = kept
    assert part.table.num_rows == per_cap
    assert set(part.table.column("scenario_id").to_pylist()) == {3, 4}
    assert part.about["partial"] is True
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_measured_is_refused_before_anything_is(
    made: Callable[[str], Path], small_population: Path, tmp_path: Path
) -> None:
    for axes, words in (
        ({CAP: [-5]}, "found -5"),
        ({CAP: list(range(1000, 1000 + MEASUREMENTS + 2))}, "52 combinations, each a measured run"),
    ):
        with pytest.raises(GridError, match=words):
            ways_of(made(NAME), grid_of(axes))
    with pytest.raises(GridError, match="measure a run of it"):
        sweep(made(NAME), grid_of({CAP: [Decimal(5000)]}))
    manifest = made(NAME) / "manifest.json"
    text = manifest.read_text()
    try:
        moved = text.replace(str(small_population), str(tmp_path / "gone"))
        assert moved != text
        manifest.write_text(moved)
        with pytest.raises(PopulationError, match="gone"):
            sweep_anew(made(NAME), grid_of({CAP: [5000]}), beside=tmp_path)
    finally:
        manifest.write_text(text)
