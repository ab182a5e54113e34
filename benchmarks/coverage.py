"""How often intervals hold the truth, and whether savings are right on average.

    python -m benchmarks.coverage full  FOLDER --members 60000 --seeds 1-20     through claims
    python -m benchmarks.coverage draws FOLDER --members 600000 --seeds 1-20    of member-years
    python -m benchmarks.coverage report FOLDER

`full` makes states of claims, ingests and runs them, and compares each settlement with the truth.
`draws` takes the member-years of larger states as they would come out of a run (groups, months,
rate cells and scores; `tests/benchmarks` holds them to a run's), draws every member-year's cost
anew from its own law, and has replicate totals, settlement and intervals made by the engine each
time. Each state is one file of FOLDER, so that a study goes on where it stopped; `report` writes
`results/coverage-<time>.json` and the chart beside it.

The truth is `docs/method/truth.py`. Of `target_resampled`: 1 - expected cost / expected target. Of
`target_fixed`: the same under the base year's cost as observed.
"""

from __future__ import annotations

import argparse
import json
import runpy
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.machine import commit, machine
from ihp_compute import contracts
from ihp_compute.codes import COMPARISON, RATE_CELLS, UNATTRIBUTED
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report.charts.sheet import ROW, Chart, Scale, Sheet
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import settle
from ihp_compute.synth import costs as synth_costs
from ihp_compute.synth import people as synth_people
from ihp_compute.synth import synth
from ihp_compute.synth.effects import NOTHING
from ihp_compute.synth.expected import cap_name, expected_cells
from ihp_compute.synth.member_years import MemberYears
from ihp_compute.synth.network import partnership_ids
from ihp_compute.uncertainty import Rows, Totals, YearRows, intervals, replicate_totals

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
TRUE_SAVINGS = runpy.run_path(str(ROOT / "docs/method/truth.py"))["true_savings"]
CONTRACT = "mn-ihp-2.0-track-2"
CALENDAR = synth_people.Calendar(2023, 2024)
PLANTED = {
    "levels": 0.10,
    "creep": 0.02,
    "creep_in_cells": 0.03,
    "creep_of_one": 0.05,
    "acuity": 0.02,
    "acuity_in_cells": 0.03,
    "acuity_of_one": 0.03,
    "movers": 0.03,
    "thin": 0.9,
    "clinics": 0.0,
}
"""Everything but clinic-years, which these intervals do not carry."""
BANDS = ((250, 700), (700, 2_500), (2_500, 6_000), (6_000, 20_000), (20_000, 80_000))
JUDGED = BANDS[2:]
VERDICTS = {True: "passes", False: "fails", None: ""}
LEVEL = 0.9
COVERS = (0.87, 0.93)
MOST_BIAS = 0.003
LEAST_DRAWS = 3_000
"""Fewer judge nothing."""
GROUPS = (*partnership_ids(), COMPARISON, UNATTRIBUTED)


@dataclass(frozen=True)
class Case:
    """One partnership of one state or draw, under one question."""

    seed: int
    partnership_id: str
    conditioning: str
    n_members: int
    truth: float
    point: float
    low: float
    high: float
    std_error: float
    of_member_years: float = nan
    """Of a state of claims: the point that its member-years alone come to, without its claims."""


# --- through claims -------------------------------------------------------------------------------


def full_state(
    members: int, seed: int, work: Path, replicates: int, planted: Mapping[str, float] = PLANTED
) -> list[Case]:
    """A state of claims, ingested and run; its tables are removed."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    truth = synth(members, seed, work / "raw", plant=planted, threads=1)
    ingest(work / "raw", work / "population", shards=4, threads=1)
    request = RunRequest(work / "population", (CONTRACT,), replicates=replicates, seed=seed)
    run(request, work / "run", LocalRunner(1))
    cells = pq.read_table(work / "run/cells.parquet").to_pylist()
    base = {
        (row["partnership_id"], row["rate_cell"]): row["cost_cents"] / 100
        for row in cells
        if row["year"] == truth["base_year"]
    }
    truths = truths_of(truth, base)
    sizes = {
        row["partnership_id"]: row["n_members"]
        for row in pq.read_table(work / "run/settlement.parquet").to_pylist()
    }
    twins = {
        (c.partnership_id, c.conditioning): c.point for c in Drawn(members, seed, planted).cases()
    }
    found = [
        Case(
            seed,
            row["partnership_id"],
            row["conditioning"],
            sizes[row["partnership_id"]],
            truths[row["conditioning"]][row["partnership_id"]],
            row["point"], row["low"], row["high"], row["std_error"],
            twins[row["partnership_id"], row["conditioning"]],
        )
        for row in pq.read_table(work / "run/intervals.parquet").to_pylist()
        if (row["scope"], row["measure"], row["method"], row["level"])
        == ("partnership", "savings_rate", "percentile", LEVEL)
    ]  # fmt: skip
    shutil.rmtree(work)
    return found


def truths_of(
    truth: Mapping[str, Any],
    observed_base: Mapping[tuple[str, str], float],
    contract: str | Path = CONTRACT,
) -> dict[str, dict[str, float]]:
    """True savings rates by question; the base as observed in dollars by group and rate cell."""
    terms = contracts.load(contract).at(truth["performance_year"])
    cap = terms["cost.claim_cap"]
    fixed = [
        row
        if row["year"] != truth["base_year"]
        else {
            **row,
            "expected_usd": {cap_name(cap): observed_base[row["group_id"], row["rate_cell"]]},
        }
        for row in truth["cells"]
    ]
    return {
        "target_resampled": TRUE_SAVINGS(truth, terms),
        "target_fixed": TRUE_SAVINGS({**truth, "cells": fixed}, terms),
    }


# --- draws of member-years ------------------------------------------------------------------------


class Drawn:
    """Member-years of a state whose costs are drawn again and again.

    Parameters
    ----------
    members, seed : int
    planted : mapping
    """

    def __init__(self, members: int, seed: int, planted: Mapping[str, float] = PLANTED) -> None:
        self.seed = seed
        self.people = synth_costs.people(members, seed, CALENDAR, {**NOTHING, **planted})
        self.truth = {
            "base_year": CALENDAR.base_year,
            "performance_year": CALENDAR.performance_year,
            "partnerships": [{"partnership_id": name} for name in partnership_ids()],
            "cells": expected_cells(self.people),
        }
        years = [self._year(year) for year in (0, 1)]
        keys = np.arange(members, dtype=np.uint64)
        rows = Rows.of(keys, *(year for year, _ in years))
        self.places = [rows.columns[4 + year] - 1 for year in (0, 1)]  # -1: no cost of that year
        self.shares = [
            np.where(place >= 0, share.reshape(-1)[place], 0.0)
            for place, (_, share) in zip(self.places, years, strict=True)
        ]
        self.rows = rows
        performing = years[1][0].group
        self.n_members = np.bincount(performing[performing >= 0], minlength=len(GROUPS))
        self.number = 0

    def _year(self, year: int) -> tuple[YearRows, NDArray[np.float64]]:
        """Months by rate cell, with the place of a cost in stead of it; shares of enrolled days."""
        people, n = self.people, self.people.n_members
        months = np.zeros((len(RATE_CELLS), n), np.int64)
        share = np.zeros((len(RATE_CELLS), n))
        columns = CALENDAR.columns(year)
        cell = 2 * people.aid[:, columns].astype(np.int64) + people.kind[:, columns]
        of = MemberYears.of(people, 0, n)
        days = of.days[year::2] / np.maximum(of.total_days[year::2], 1)[:, None]
        member = np.arange(n)
        for month in range(12):
            there = days[:, month] > 0
            months[cell[:, month], member] += there
            share[cell[:, month], member] += days[:, month]
        place = np.where(months > 0, np.arange(months.size).reshape(months.shape) + 1, 0)
        group = np.where(people.counted(year), people.group[:, year], len(GROUPS) - 1)
        group = np.where(people.eligible[:, year], group, -1).astype(np.int32)
        return YearRows(group, months, people.score_micro[:, year], [place]), share

    def draw(self, number: int) -> None:
        """Draw all costs anew."""
        synth_costs.realise(self.people, 1_000_003 * (number + 1) + self.seed)
        self.number = number

    def totals(self, cap_usd: Decimal | None, replicates: int) -> Totals:
        """Replicate totals of the costs as drawn, after a claim cap."""
        columns = self.rows.columns.copy()
        n = self.people.n_members
        for year in (0, 1):
            cents = self.people.cost_cents[:, year]
            if cap_usd is not None:
                cents = np.minimum(cents, int(cap_usd * 100))
            cost = cents[self.places[year] % n] * self.shares[year]
            columns[4 + year] = np.rint(cost).astype(np.int64)
        return replicate_totals(
            replace(self.rows, columns=columns), self.n_members,
            np.zeros((len(GROUPS), 1), np.int64),
            groups=GROUPS, replicates=replicates, seed=self.number + 1, device="cpu",
        )  # fmt: skip

    def cases(self, contract: str | Path = CONTRACT, replicates: int = 0) -> Iterator[Case]:
        """Every partnership under both questions; without replicates an interval is a point."""
        cap = contracts.load(contract).at(CALENDAR.performance_year)["cost.claim_cap"]
        totals = self.totals(cap, replicates)
        settled = settle(
            totals, contracts.load_set((contract,), partnership_ids()),
            base_year=CALENDAR.base_year, performance_year=CALENDAR.performance_year,
            quality=dict.fromkeys(partnership_ids(), Decimal(1)),
        )  # fmt: skip
        observed = totals.values[:, :, 0, 4] / 100
        base = {
            (group, cell): float(observed[g, c])
            for g, group in enumerate(GROUPS)
            for c, cell in enumerate(RATE_CELLS)
        }
        truths = truths_of(self.truth, base, contract)
        for one in settled:
            for conditioning, draws in one.draws.items():
                point = float(draws.savings_rate[0])
                low, high, error = point, point, 0.0
                for i in intervals(draws.savings_rate):
                    if (i.method, i.level) == ("percentile", LEVEL):
                        low, high, error = i.low, i.high, i.std_error
                yield Case(
                    self.seed, one.partnership_id, conditioning, one.n_members,
                    truths[conditioning][one.partnership_id], point, low, high, error,
                )  # fmt: skip


# --- what it comes to -----------------------------------------------------------------------------


def clustered(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """Mean, and its standard error where values of one cluster stand together."""
    mean = float(values.mean())
    _, place = np.unique(clusters, return_inverse=True)
    sums = np.bincount(place, values - mean)
    n = len(sums)
    if n < 2:
        return mean, float("nan")
    return mean, float(np.sqrt((sums**2).sum() * n / (n - 1)) / len(values))


def summary(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Coverage and bias by band and question; where a band is judged, whether both are right."""
    found = []
    for low, high in BANDS:
        for conditioning in ("target_resampled", "target_fixed"):
            mine = [
                c for c in cases if low <= c.n_members < high and c.conditioning == conditioning
            ]
            if not mine:
                continue
            seeds = np.array([c.seed for c in mine])
            inside = np.array([float(c.low <= c.truth <= c.high) for c in mine])
            off = np.array([c.point - c.truth for c in mine])
            covered, covered_error = clustered(inside, seeds)
            bias, bias_error = clustered(off, seeds)
            z = float(student.ppf(0.975, max(len(set(seeds.tolist())) - 1, 1)))
            ends = bias - z * bias_error, bias + z * bias_error
            apart = np.array([c.point - c.of_member_years for c in mine])
            found.append(
                {
                    "band": [low, high],
                    "conditioning": conditioning,
                    "draws": len(mine),
                    "states": len(set(seeds.tolist())),
                    "coverage": covered,
                    "coverage_std_error": covered_error,
                    "truth_below": float(np.mean([c.truth < c.low for c in mine])),
                    "truth_above": float(np.mean([c.truth > c.high for c in mine])),
                    "bias": bias,
                    "bias_std_error": bias_error,
                    "bias_95": list(ends),
                    "coverage_95": [covered - z * covered_error, covered + z * covered_error],
                    "less_member_years": None
                    if np.isnan(apart).any()
                    else dict(zip(("mean", "std_error"), clustered(apart, seeds), strict=True)),
                    "spread_over_std_error": float(
                        np.sqrt(np.mean(off**2) / np.mean([c.std_error**2 for c in mine]))
                    ),
                    "passes": COVERS[0] <= covered <= COVERS[1]
                    and max(-ends[0], ends[1]) <= MOST_BIAS
                    if (low, high) in JUDGED and len(mine) >= LEAST_DRAWS
                    else None,
                }
            )
    return found


def report(folder: Path) -> None:
    """Write and print what the states of a folder come to."""
    parts: dict[str, list[Case]] = defaultdict(list)
    about: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = found.pop("cases")
        name = path.stem.rpartition("-")[0]
        parts[name] += [Case(*row) for row in rows]
        seconds = found.pop("cpu_seconds")
        known = about.setdefault(name, {**found, "states": 0, "cpu_seconds": 0.0})
        known["states"] += 1
        known["cpu_seconds"] = round(known["cpu_seconds"] + seconds, 1)
    if not parts:
        raise SystemExit(f"{folder}: holds no states; make some with the parts full and draws")
    studied = {
        name: {**about[name], "bands": summary(cases)} for name, cases in sorted(parts.items())
    }
    when = datetime.now(tz=UTC)
    out = RESULTS / f"coverage-{when:%Y-%m-%dT%H%M%S}.json"
    document = {"time": f"{when:%Y-%m-%dT%H:%M:%SZ}", "commit": commit(), "contract": CONTRACT,
                "level": LEVEL, "machine": machine(), "parts": studied}  # fmt: skip
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    drawing = chart(studied).__html__()
    drawing = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    drawing = drawing.replace("<title>", f"<style>{STYLE}</style><title>", 1)
    out.with_suffix(".svg").write_text(drawing + "\n", encoding="utf-8")
    for name, part in studied.items():
        print(f"{name}: {part['states']} states, {part['cpu_seconds']:.0f} s of a core")
        for row in part["bands"]:
            print(
                f"  {row['band'][0]:>6,}-{row['band'][1]:<7,} {row['conditioning']:16} "
                f"{row['draws']:>6,} cases  covers {row['coverage']:.3f} "
                f"({row['coverage_std_error']:.3f})  bias {row['bias']:+.4f} "
                f"({row['bias_95'][0]:+.4f} to {row['bias_95'][1]:+.4f})  "
                f"{VERDICTS[row['passes']]}"
            )
            if row["less_member_years"]:
                print(
                    "                 settlement of claims less that of their member-years: "
                    "{mean:+.5f} ({std_error:.5f})".format(**row["less_member_years"])
                )
    print(out)


STYLE = (
    "text{font:12px sans-serif;fill:#222}.note{fill:#666}.axis{stroke:#999}"
    ".wanted{fill:#e6efe6}.ci{stroke:#245;stroke-width:2}.point{fill:#245}.stripe{fill:#f5f5f5}"
)


def chart(parts: Mapping[str, Mapping[str, Any]]) -> Chart:
    """Coverage and bias of every part, band and question, with 95 % intervals."""
    rows = [(name, row) for name, part in parts.items() for row in part["bands"]]
    top, left, each, gap = 60, 430, 300, 50
    bottom = top + ROW * len(rows)
    sheet = Sheet(
        left + 2 * each + gap + 20, bottom + 30, "Coverage and bias of 90 % intervals",
        "Share of intervals that hold the truth, and mean of settlement less truth, by size of the "
        "partnership, with 95 % intervals of their own; the bands are what is asked for",
    )  # fmt: skip
    scales = (Scale(0.80, 1.0, left, left + each),
              Scale(-0.012, 0.012, left + each + gap, left + 2 * each + gap))  # fmt: skip
    for k, (scale, name, (low, high), written) in enumerate(
        zip(
            scales, ("covers", "bias, of target"), (COVERS, (-MOST_BIAS, MOST_BIAS)),
            ("{:.0%}", "{:+.1%}"), strict=True,
        )
    ):  # fmt: skip
        sheet.box(scale(low), top, scale(high) - scale(low), bottom - top, "wanted")
        for value in ((0.8, 0.85, 0.9, 0.95, 1.0), (-0.01, -0.005, 0.0, 0.005, 0.01))[k]:
            sheet.line(scale(value), top, scale(value), bottom, "axis")
            sheet.text(scale(value), bottom + 16, written.format(value), "note", anchor="middle")
        sheet.text(scale.left, 36, name)
    for index, (name, row) in enumerate(rows):
        y = top + ROW * index + ROW / 2
        low, high = row["band"]
        part, _, clinics = name.split("-")
        shared = f", clinic-years {float(clinics):.0%}" if float(clinics) else ""
        sheet.text(
            0, y + 4, f"{part}{shared}, {low:,} to {high:,} people, "
            f"{row['conditioning'].split('_')[1]}, {row['draws']:,} cases",
        )  # fmt: skip
        for scale, name_of in zip(scales, ("coverage", "bias"), strict=True):
            low, high = row[f"{name_of}_95"]
            sheet.line(scale(low), y, scale(high), y, "ci")
            if scale.low <= row[name_of] <= scale.high:
                sheet.dot(scale(row[name_of]), y, 4, "point")
    return sheet.done()


# --- commands -------------------------------------------------------------------------------------


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _keep(path: Path, about: Mapping[str, Any], cases: Sequence[Case]) -> None:
    rows = [list(asdict(case).values()) for case in cases]
    staged = path.with_suffix(".part")
    staged.write_text(json.dumps({**about, "cases": rows}), encoding="utf-8")
    staged.replace(path)


def main() -> None:
    """Run one part of the study."""
    parser = argparse.ArgumentParser(prog="benchmarks.coverage", description=__doc__)
    parser.add_argument("part", choices=("full", "draws", "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int, default=60_000)
    parser.add_argument("--seeds", type=_seeds, default=_seeds("1-20"))
    parser.add_argument("--draws", type=int, default=30, help="of each state")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--clinics", type=float, default=0.0, help="clinic-years, for draws")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.part == "report":
        report(options.folder)
        return
    planted = {**PLANTED, "clinics": options.clinics}
    for seed in options.seeds:
        name = f"{options.part}-{options.members}-{options.clinics:g}-{seed}"
        path = options.folder / f"{name}.json"
        if path.exists():
            continue
        started = time.process_time()
        if options.part == "full":
            work = options.folder / f"work-{seed}"
            cases = full_state(options.members, seed, work, options.replicates, planted)
        else:
            state = Drawn(options.members, seed, planted)
            cases = []
            for number in range(options.draws):
                state.draw(number)
                cases += state.cases(replicates=options.replicates)
        about = {
            "part": options.part,
            "members": options.members,
            "planted": planted,
            "replicates": options.replicates,
            "cpu_seconds": round(time.process_time() - started, 1),
        }
        _keep(path, about, cases)
        print(name, f"{len(cases)} cases, {about['cpu_seconds']} s of a core", flush=True)


if __name__ == "__main__":
    main()
