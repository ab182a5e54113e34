"""One digest: what a small state comes to, under the method version that it was held at.

A digest covers every number of a run, so a value that moves anywhere moves one here. The expected
digests stand in `digests.json` with the method version; a commit that changes what histories,
targets or scores settle to raises that version, says so in the changelog and writes them anew:

    python tests/ihp_compute/test_digests.py --write
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pyarrow.parquet as pq
import pytest

import ihp_compute
from api import entry

EXPECTED: Final = Path(__file__).with_name("digests.json")
TWO_CONTRACTS: Final = """
[set]
name = "two-contracts"

[default]
contract = "mn-ihp-2.0-track-2"

[partnerships.IHP-01]
contract = "mn-ihp-1.0"
base_pmpm_usd = 512.25

[partnerships.IHP-01.overrides]
"settlement.gain.share" = 0.4
"""
OWN_WEIGHTS: Final = """
name = "own-weights"
title = "Scores by the state's own weights"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A test"

[risk.model]
value = "coarse.json"
unit = "name"
basis = "contract"
from = 2020-01-01
source = { doc = "here", at = "risk model" }
"""
GRID: Final = """
[axes]
"settlement.gain.share" = { from = 0.3, to = 0.7, count = 3 }
"settlement.loss.share" = [0.4, 0.6]
"""
GIVEN: Final = (
    (12_000, "56432100.45", ""),
    (6_100, "55000000", "0.4"),
    (12_000, "64321000.99", ""),
    (25_000, "60300000", ""),
)


def document(*arguments: str) -> Any:
    """The JSON document of a command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["ihp", *arguments, "--json"]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.suppress(SystemExit),
    ):
        entry.main()
    assert out.getvalue(), f"ihp {' '.join(arguments)}: {err.getvalue()}"
    return json.loads(out.getvalue())


def digests(folder: Path) -> dict[str, Any]:
    """Every digest of a small state, made in an empty folder and by relative paths."""
    with contextlib.chdir(folder), mock.patch.dict(os.environ, {"IHP_MODEL_STORE": "models"}):
        Path("two.toml").write_text(TWO_CONTRACTS, encoding="utf-8")
        Path("own.toml").write_text(OWN_WEIGHTS, encoding="utf-8")
        Path("grid.toml").write_text(GRID, encoding="utf-8")
        document("synth", "--members", "3000", "--seed", "14", "--out", "raw")
        population = document("ingest", "raw", "--out", "population", "--shards", "3")
        _calibrate()
        runs = {
            name: document("run", "population", "--contracts", contracts, "--out", name,
                           "--device", "cpu", *options)["digest"]
            for name, contracts, *options in (
                ("run", "two.toml", "--replicates", "200", "--seed", "7"),
                ("own-weights", "own.toml", "--replicates", "50"),
                ("interim", "two.toml", "--replicates", "0", "--paid-through", "2025-01-31"),
            )
        }  # fmt: skip
        document("sweep", "run", "--grid", "grid.toml", "--out", "sweep.parquet")
        (about,) = (json.loads(v) for v in pq.read_table("sweep.parquet").schema.metadata.values())
        contracts = document("contracts", "list")
        return {
            "method_version": ihp_compute.METHOD_VERSION,
            "population": population["population_digest"],
            "runs": runs,
            "sweep": about["digest"],
            "contracts": {contract["name"]: contract["sha256"] for contract in contracts},
            "settled": _settled([contract["name"] for contract in contracts]),
        }


def _calibrate() -> None:
    """Calibrate; leave the model as `coarse.json`, the same wherever LAPACK rounds otherwise."""
    document(
        "calibrate", "population", "--model", "cms-hcc-v28", "--timing", "concurrent",
        "--full-months", "600", "--folds", "2", "--replicates", "5", "--out", "weights.json",
    )  # fmt: skip
    model = json.loads(Path("weights.json").read_text(encoding="utf-8"))
    for coefficient in model["coefficients"]:
        coefficient["value"] = str(round(Decimal(coefficient["value"]), 3))
    model["notes"] = ["Calibrated weights, rounded."]
    Path("coarse.json").write_text(json.dumps(model), encoding="utf-8")


def _settled(contracts: list[str]) -> str:
    """SHA-256 of gains and losses of every contract shipped, settled."""
    head = (
        "partnership_id,contract,n_members,target_usd,observed_usd,quality_score,"
        "settlement.gain.share"
    )
    rows = [
        f"{name} {k},{name},{members},60000000.00,{observed},1,{share}"
        for name in contracts
        for k, (members, observed, share) in enumerate(GIVEN)
    ]
    Path("given.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    document("settle", "given.csv", "--contract", "mn-ihp-1.0", "--out", "settled.csv")
    return hashlib.sha256(Path("settled.csv").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return digests(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize(
    "item", ["method_version", "population", "runs", "sweep", "contracts", "settled"]
)
def test_a_digest_is_what_it_was(item: str, found: dict[str, Any]) -> None:
    """What a run gives belongs to its method version, not to the day on which it was run."""
    assert found[item] == json.loads(EXPECTED.read_text(encoding="utf-8"))[item]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the expected digests anew")
    if parser.parse_args().write:
        with tempfile.TemporaryDirectory() as empty:
            text = json.dumps(digests(Path(empty)), indent=1) + "\n"
        EXPECTED.write_text(text, encoding="utf-8")
