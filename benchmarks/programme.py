"""How often a programme's tables hold in their intervals what was planted in a state.

    python -m benchmarks.programme make FOLDER --members 10000 --seeds 1-10
    python -m benchmarks.programme report FOLDER

`make` writes for each seed a state with changes of emergency visits, stays and readmissions, with
disparities and an intervention, and one with changes of trend, prices and use
(docs/method/synthetic.md), ingests and runs them, and compares
`outcomes`, `outcome_changes` and the drawn intervals of `cost_index` and `comparison` with
`programme` of `truth.json`. Each state is one file of FOLDER, so that a study goes on where it
stopped; `report` writes `results/programme-<time>.json`. Errors of what is found are clustered by
state. The index is held against the comparison population (`cost_index.peer`), whose prices are
those that the truth is told against.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from benchmarks.coverage import clustered
from benchmarks.machine import commit, machine
from ihp_compute.codes import COMPARISON
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.runner import LocalRunner
from ihp_compute.synth import synth

RESULTS = Path(__file__).parent / "results"
CONTRACT: Final = "mn-ihp-2.0-track-2"
LEAST_MEMBERS: Final = 100
"""Smaller partnerships are not judged."""
CARE: Final = ("ed_visits", "stays", "readmissions")
"""Measures whose change may be planted."""
LEVEL: Final = 0.95
CHANGED: Final = "IHP-01"
"""Whose prices and use change."""
_BARE: Final = {"levels": 0.0, "thin": 0.0, "clinics": 0.0, "creep": 0.0, "savings_lost": 1.0}
"""Nothing else that moves cost."""
PLANTED: Final = {
    "care": {
        **_BARE, "ed_change": -0.07, "stay_change": -0.14, "readmission_change": -0.2,
        "ed_disparity": 0.4, "ed_disparity_homeless": 0.5, "intervention_effect": -0.2,
    },
    "cost": {**_BARE, "trend_difference": -0.06, "price_change": 0.10, "use_change": 0.05},
}  # fmt: skip
"""Changes of the size that the programme itself has told of. Of care and of cost in states of their
own, because care that changes leaves a member's dollars what they were, so that prices move."""
PROGRAMME: Final = """
name    = "study"
title   = "As shipped, the index against the comparison population"
extends = "standard"

[sources.here]
title = "A study"

[cost_index]
peer = { value = "COMPARISON", unit = "name", from = 2000-01-01, basis = "contract", source = { doc = "here", at = "peer" } }
"""  # noqa: E501 - a term of a file
_OWN_CLINIC_CODE: Final = 5
"""Every fifth partnership bills a code of its own, so that its prices are its own standard."""


@dataclass(frozen=True)
class Case:
    """What one interval holds of one planted figure.

    spread : point less truth over the standard error, on the scale on which the interval is made
    """

    seed: int
    figure: str
    of: str
    n_members: int
    truth: float
    point: float
    low: float
    high: float
    spread: float


def state(
    members: int, seed: int, work: Path, replicates: int, planted: Mapping[str, float]
) -> list[Case]:
    """A state, made, ingested, run and compared; its tables are removed."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    truth = synth(members, seed, work / "raw", plant=planted, threads=1)
    ingest(work / "raw", work / "population", shards=4, threads=1)
    programme = work / "programme.toml"
    programme.write_text(PROGRAMME, encoding="utf-8")
    request = RunRequest(
        work / "population", (CONTRACT,), replicates=replicates, seed=seed,
        programme=str(programme),
    )  # fmt: skip
    done = run(request, work / "run", LocalRunner(1))
    found = cases(done.run_dir, truth)
    shutil.rmtree(work)
    return found


def cases(run_dir: Path, truth: Mapping[str, Any]) -> list[Case]:
    """Every figure of a run that the truth tells, in partnerships that are judged."""

    def rows(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(run_dir / f"{name}.parquet").to_pylist()
        return found

    seed, told = int(truth["seed"]), truth["programme"]
    size = {row["partnership_id"]: row["n_members"] for row in truth["partnerships"]}
    judged = {name for name, n in size.items() if n >= LEAST_MEMBERS}
    found: list[Case] = []

    def add(figure: str, of: str, n: int, value: float, row: Mapping[str, Any], log: bool) -> None:
        point, low, high = (float(row[name]) for name in ("point", "low", "high"))
        if log:
            spread = float(np.log(point / value)) / float(row["std_error"])
        else:
            spread = (point - value) / float(row["std_error"])
        found.append(Case(seed, figure, of, n, value, point, low, high, spread))

    changes = rows("outcome_changes")
    for row, value, of, n in _changes(changes, told, size, judged):
        one = {"point": 1 + row["relative_change"], "low": 1 + row["low"], "high": 1 + row["high"],
               "std_error": row["std_error_log"]}  # fmt: skip
        add(f"{of} {row['measure']}, {row['basis']}", row["scope_id"], n, 1 + value, one, log=True)
    for row, value in _ratios(rows("outcomes"), told):
        error = (np.log(row["ratio_high"]) - np.log(row["ratio_low"])) / 2 / 1.959963984540054
        one = {"point": row["ratio"], "low": row["ratio_low"], "high": row["ratio_high"],
               "std_error": error}  # fmt: skip
        add(
            f"ratio of {row['dimension']}", str(row["year"]), row["n_members"], value, one, log=True
        )
    drawn = [
        row for row in rows("intervals")
        if row["conditioning"] == "drawn" and row["level"] == LEVEL
        and row["method"] == "percentile" and row["partnership_id"] in judged
    ]  # fmt: skip
    wanted = _indices(told)
    if wanted:
        wanted |= _growth(told, truth)
    for row in drawn:
        key = row["measure"], row["item"], row["partnership_id"]
        if key in wanted:
            name = key[2]
            whose = "IHP-01's " if name == CHANGED else ""
            add(f"{whose}{row['measure']}", f"{name} {row['item']}", size[name], wanted[key], row,
                log=False)  # fmt: skip
    return found


def _changes(
    rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any], size: Mapping[str, int],
    judged: set[str],
) -> Iterator[tuple[Mapping[str, Any], float, str, int]]:  # fmt: skip
    """Rows of changes with what is told, whose they are and of how many members."""
    of = {row["partnership_id"]: row for row in told["changes"]}
    others = [row for row in told["changes"] if row["partnership_id"] != CHANGED]
    if all(row[name] == of[CHANGED].get(name) for row in others for name in CARE):
        of["attributed"] = others[0]
    treated = told["intervention"]
    for row in rows:
        if row["flag"]:
            continue
        if row["dimension"] == "all" and row["scope_id"] in {*judged, *of.keys() - size.keys()}:
            value = of[row["scope_id"]].get(row["measure"])
            if value is not None:
                everybody = row["scope"] == "attributed"
                n = sum(size.values()) if everybody else size[row["scope_id"]]
                whose = "all partnerships'" if everybody else "a partnership's"
                yield row, value, whose if value else f"unplanted, {whose}", n
        elif treated["relative_change"] and (
            (row["scope"], row["dimension"], row["stratum"], row["measure"])
            == ("state", "intervention", treated["treated"], treated["measure"])
        ):  # fmt: skip
            yield row, treated["relative_change"], "the treated arm's", sum(size.values())


def _ratios(
    rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], float]]:
    for one in told["strata"]:
        for row in rows if one["ratio"] != 1 else ():
            key = row["scope"], row["dimension"], row["stratum"], row["measure"], row["reference"]
            if key == (
                "state", one["dimension"], one["stratum"], one["measure"], one["reference"],
            ):  # fmt: skip
                yield row, one["ratio"]


def _indices(told: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """By measure, year and partnership, against the comparison population."""
    level = {
        (row["group_id"], str(row["year"])): row["expected_usd"] / row["risk"]
        for row in told["cost_index"]
    }
    found = {}
    for place, row in enumerate(told["prices"]):
        name = row["group_id"]
        if name == COMPARISON or place % _OWN_CLINIC_CODE == _OWN_CLINIC_CODE - 1:
            continue
        for year in sorted(key for key in row if key != "group_id"):
            if (name, year) not in level:
                continue
            tci = level[name, year] / level[COMPARISON, year]
            found["tci", year, name] = tci
            found["price_index", year, name] = row[year]
            found["rui", year, name] = tci / row[year]
    return found


def _growth(told: Mapping[str, Any], truth: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    """In points, against the comparison population."""
    item = f"comparison {truth['base_year']}-{truth['performance_year']}"
    return {
        ("growth_difference", item, row["partnership_id"]): row["growth"] - row["comparator_growth"]
        for row in told["growth"]
    }


def summary(found: Sequence[Case]) -> list[dict[str, Any]]:
    """Coverage by figure, its error clustered by state, and how the errors are spread."""
    out = []
    for figure in sorted({case.figure for case in found}):
        mine = [case for case in found if case.figure == figure]
        seeds = np.array([case.seed for case in mine])
        inside = np.array([float(case.low <= case.truth <= case.high) for case in mine])
        spread = np.array([case.spread for case in mine])
        covered, error = clustered(inside, seeds)
        middle, middle_error = clustered(spread, seeds)
        out.append(
            {
                "figure": figure, "cases": len(mine), "states": len(set(seeds.tolist())),
                "truth": sorted({round(case.truth, 3) for case in mine})[:4],
                "coverage": covered, "coverage_std_error": error,
                "mean_spread": middle, "mean_spread_std_error": middle_error,
                "root_mean_square_spread": float(np.sqrt((spread**2).mean())),
            }
        )  # fmt: skip
    return out


def make(folder: Path, members: int, seeds: Sequence[int], replicates: int) -> None:
    """States that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, planted) in ((seed, part) for seed in seeds for part in PLANTED.items()):
        path = folder / f"{members}-{seed:04d}-{name}.json"
        if path.exists():
            continue
        began = time.process_time()
        found = state(members, seed, folder / f"work-{seed}", replicates, planted)
        document = {
            "members": members, "replicates": replicates, "planted": planted,
            "cpu_seconds": round(time.process_time() - began, 1),
            "cases": [asdict(case) for case in found],
        }  # fmt: skip
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
        print(f"seed {seed}, {name}: {len(found)} cases, {document['cpu_seconds']} s", flush=True)


def report(folder: Path) -> None:
    """Write and print what the states of a folder come to, by their size."""
    parts: dict[int, list[Case]] = {}
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        parts.setdefault(found["members"], []).extend(Case(**case) for case in found["cases"])
    if not parts:
        raise SystemExit(f"{folder}: holds no states; make some with the part make")
    now = datetime.now(UTC)
    studied = {str(members): summary(found) for members, found in sorted(parts.items())}
    document = {
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}", "commit": commit(), "machine": machine(),
        "contract": CONTRACT, "level": LEVEL, "least_members": LEAST_MEMBERS, "planted": PLANTED,
        "parts": studied,
    }  # fmt: skip
    out = RESULTS / f"programme-{now:%Y-%m-%dT%H%M%S}.json"
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for members, rows in studied.items():
        print(f"{int(members):,} members")
        for row in rows:
            print(
                f"  {row['figure']:40} {row['cases']:5,} cases  covers {row['coverage']:.3f} "
                f"({row['coverage_std_error']:.3f})  spread {row['root_mean_square_spread']:.2f} "
                f"about {row['mean_spread']:+.2f} ({row['mean_spread_std_error']:.2f})"
            )
    print(out)


def seeds_of(text: str) -> list[int]:
    """`1-10` or `3`."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    """Parts of the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("make", "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--seeds", type=seeds_of, default=[1])
    parser.add_argument("--replicates", type=int, default=1_000)
    asked = parser.parse_args()
    if asked.part == "make":
        make(asked.folder, asked.members, asked.seeds, asked.replicates)
    else:
        report(asked.folder)


if __name__ == "__main__":
    main()
