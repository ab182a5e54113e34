"""Whether a calibration returns the weights that were planted, at the size of a state.

    python -m benchmarks.weights FOLDER --members 200000 --seed 1

Makes a state of planted weights (docs/method/synthetic.md), ingests it and calibrates CMS-HCC V28
on each year's capped cost, with aid groups as predictors and codes of the same year. Estimates of
terms with `LEAST_MONTHS` stand against the truth by a joint chi-squared test, with the covariance
that the calibration reports, clustered by member. Writes `results/weights-<time>.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2

from benchmarks.machine import commit, machine
from ihp_compute.calibration import CalibrationRequest, calibrate_population
from ihp_compute.ingest import ingest
from ihp_compute.runner import LocalRunner
from ihp_compute.synth import synth

RESULTS = Path(__file__).parent / "results"
LEAST_MONTHS = 1_200
CONTRACT = """
name = "own"
title = "The demonstration contract, scored by codes of the year"
programme = "study"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A study"

[risk.timing]
value = "concurrent"
unit = "choice"
from = 2018-01-01
basis = "contract"
source = { doc = "here", at = "timing" }
"""


def judged(report: dict[str, Any], planted: dict[str, float]) -> dict[str, Any]:
    """Of each segment with enough terms: the joint test, and every judged term."""
    found = {}
    for segment, features in report["features"].items():
        places = [
            k for k, one in enumerate(features)
            if one["member_months"] >= LEAST_MONTHS and one["estimate_usd"] is not None
        ]  # fmt: skip
        if not places:
            continue
        terms = [features[k] for k in places]
        off = np.array([one["estimate_usd"] - planted.get(one["term"], 0.0) for one in terms])
        rows = report["covariance_usd2"][segment]
        covariance = np.array([[rows[i][k] for k in places] for i in places], np.float64)
        statistic = float(off @ np.linalg.solve(covariance, off))
        found[segment] = {
            "chi_squared": statistic,
            "degrees_of_freedom": len(places),
            "p": float(chi2.sf(statistic, len(places))),
            "terms": [
                {
                    "term": one["term"],
                    "member_months": one["member_months"],
                    "planted_usd": planted.get(one["term"], 0.0),
                    "estimate_usd": one["estimate_usd"],
                    "standard_error_usd": one["standard_error_usd"],
                }
                for one in terms
            ],
        }
    return found


def study(folder: Path, members: int, seed: int) -> dict[str, Any]:
    """Make, ingest, calibrate and judge; seconds of each."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal started
        seconds[name] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()

    truth = synth(members, seed, folder / "raw", plant={"weights": 1})
    lap("synth")
    ingest(folder / "raw", folder / "population")
    lap("ingest")
    contract = folder / "own.toml"
    contract.write_text(CONTRACT, encoding="utf-8")
    years = {}
    for year, planted in truth["weights"]["usd"].items():
        request = CalibrationRequest(
            contract=str(contract), model=truth["weights"]["model"], year=int(year),
            predictors=("aid_group",),
        )  # fmt: skip
        report = calibrate_population(
            folder / "population", folder / f"own-{year}.json", request, LocalRunner()
        )
        lap(f"calibrate {year}")
        years[year] = {
            "members": report["members"],
            "mean_annual_cost_usd": report["mean_annual_cost_usd"],
            "segments": judged(report, planted),
        }
    return {"members": members, "seed": seed, "seconds": seconds, "years": years}


def main() -> None:
    """Study and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="new folder for state and population")
    parser.add_argument("--members", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    now = datetime.now(UTC)
    found = study(asked.folder, asked.members, asked.seed)
    document = {"at": now.isoformat(), "machine": machine(), **commit(), **found}
    out = RESULTS / f"weights-{now:%Y-%m-%dT%H%M%S}.json"
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(out)
    for year, one in found["years"].items():
        for segment, test in one["segments"].items():
            print(
                f"{year} {segment}: chi-squared {test['chi_squared']:.1f} on "
                f"{test['degrees_of_freedom']}, p {test['p']:.3f}"
            )


if __name__ == "__main__":
    main()
