"""The report of a run: one self-contained page, the first thing an actuary sees.

    draft terms -> what was run -> the state -> settlement -> how sure -> walk of each partnership
        -> utilisation -> who and what was left out -> every dollar's fate -> methods and limits

It reads a finished run's folder and nothing else: a report can be made again from the results
without a claim line. Numbers are written as the tables hold them; nothing is settled here. Every
chart has its numbers in a table beside it. The page is for inside the boundary, where partnership
sizes are known to both parties; all other counts of people and events from 1 to 10 are held back,
with the rates made of them. That is primary suppression, not enough for publication.

Not here: how a chart is drawn (`report_charts`), how a number is written (`figures`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

from ihp_compute import figures, tables
from ihp_compute.explain import Step, result, steps
from ihp_compute.ledger import LINE_FATES, IngestFate, RunFate
from ihp_compute.provenance import read_manifest
from ihp_compute.report_charts import (
    Bar,
    Chart,
    Dumbbell,
    ForestRow,
    Whisker,
    dumbbells,
    forest,
    waterfall,
)

REPORT: Final = "report.html"
WEAK_BASES: Final = frozenset({"recalled", "assumed"})
FLAG_MARKS: Final = {"below_minimum_size": "\N{DAGGER}", "empty_cell": "\N{DOUBLE DAGGER}"}
OTHER_MARK: Final = "\N{ASTERISK}"
WEAK_MARK: Final = "\N{SECTION SIGN}"
"""Standard error above the gate."""
INNER, OUTER = 0.80, 0.95
"""Levels of the two whiskers."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Partnership:
    """A partnership's settlement row with its walk and its percentile intervals.

    Attributes
    ----------
    row : dict
        Of `tables.SETTLEMENT`.
    walk : list of Step
    intervals : dict
        (measure, conditioning, level) to a row of `tables.INTERVALS`.
    """

    row: Row
    walk: list[Step]
    intervals: dict[tuple[str, str, float], Row]

    @property
    def flags(self) -> list[str]:
        """Why to be careful, each once."""
        return sorted({flag for r in self.intervals.values() for flag in r["flag"].split()})

    def interval(self, measure: str, conditioning: str, level: float) -> tuple[float, float] | None:
        """Low and high end, or None without replicates."""
        found = self.intervals.get((measure, conditioning, level))
        return (found["low"], found["high"]) if found else None

    def std_error(self, measure: str, conditioning: str) -> float | None:
        """Standard error over the replicates, or None without them."""
        found = self.intervals.get((measure, conditioning, OUTER))
        return found["std_error"] if found else None

    @property
    def gate_rate(self) -> float | None:
        """The gate on the side where the savings fell, as a positive fraction of the target."""
        row = self.row
        if not row["target_cents"]:
            return None
        if row["missed_by_cents"]:
            return (abs(row["savings_cents"]) + row["missed_by_cents"]) / abs(row["target_cents"])
        gate = next((step for step in self.walk if step.step == "gate"), None)
        if gate is None or not gate.amount_cents:
            return None
        return abs(gate.amount_cents) / abs(row["target_cents"])

    @property
    def sure_at(self) -> str:
        """The highest level whose interval leaves zero out."""
        for level in (0.95, 0.90, 0.80):
            ends = self.interval("savings_rate", "target_resampled", level)
            if ends and (ends[0] > 0 or ends[1] < 0):
                return figures.percent(level, places=0)
        return "no" if self.intervals else figures.DASH


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run's folder.

    Parameters
    ----------
    run_dir : Path
        A finished run: manifest.json and the result tables of `tables`.

    Returns
    -------
    Path
        The file written; one HTML page without script, links or references to other files.

    Raises
    ------
    RunError
        If the folder is not a finished run or a table is missing or damaged.
    """
    page = render(run_dir)
    path = run_dir / REPORT
    unfinished = path.with_suffix(".html.part")
    unfinished.write_text(page, encoding="utf-8")
    unfinished.replace(path)
    return path


@cache
def _template() -> jinja2.Template:
    """The page, compiled once a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        usd=figures.usd,
        usd_short=figures.usd_short,
        percent=figures.percent,
        count=figures.count,
        held_back=figures.held_back,
        words=figures.label,
    )
    return environment.get_template(REPORT)


def render(run_dir: Path) -> str:
    """The report as HTML text. Parameters and errors as `write_report`."""
    manifest = read_manifest(run_dir)
    partnerships = _partnerships(run_dir)
    utilisation = result(run_dir, "utilisation", tables.UTILISATION).to_pylist()
    exclusions = result(run_dir, "exclusions", tables.EXCLUSIONS).to_pylist()
    ledger = result(run_dir, "ledger", tables.LEDGER).to_pylist()
    return _template().render(
        manifest=manifest,
        draft=_draft(manifest),
        facts=_facts(manifest),
        device_note=_device_note(manifest),
        years=(manifest["base_year"], manifest["performance_year"]),
        state=_state(partnerships),
        partnerships=partnerships,
        forest=_forest(partnerships),
        state_walk=_state_walk(partnerships),
        statements=[_statement(p) for p in partnerships],
        utilisation=_utilisation(utilisation, manifest),
        exclusions=_exclusions(exclusions),
        ledger=_ledger(ledger),
        provenance=_provenance(manifest),
        weak_bases=WEAK_BASES,
        dash=figures.DASH,
        small_cell=figures.SMALL_CELL,
        rendered_levels=(INNER, OUTER),
    )


# --- reading -------------------------------------------------------------------------------------


def _partnerships(run_dir: Path) -> list[Partnership]:
    """All partnerships, largest first."""
    walks: dict[str, list[Row]] = defaultdict(list)
    for row in result(run_dir, "walk", tables.WALK).to_pylist():
        walks[row["partnership_id"]].append(row)
    found: dict[str, dict[tuple[str, str, float], Row]] = defaultdict(dict)
    for row in result(run_dir, "intervals", tables.INTERVALS).to_pylist():
        if row["method"] == "percentile":
            key = (row["measure"], row["conditioning"], round(row["level"], 4))
            found[row["partnership_id"]][key] = row
    settlement = result(run_dir, "settlement", tables.SETTLEMENT).to_pylist()
    settlement.sort(key=lambda row: (-row["n_members"], row["partnership_id"]))
    return [
        Partnership(row, steps(walks[row["partnership_id"]]), found[row["partnership_id"]])
        for row in settlement
    ]


def _draft(manifest: Mapping[str, Any]) -> Row:
    terms = manifest.get("draft_terms") or {}
    return {
        "weak": int(terms.get("recalled_or_assumed", 0)),
        "total": int(terms.get("total", 0)),
        "names": list(terms.get("names", ())),
    }


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was run, in the order in which a reader asks."""
    replicates = int(manifest["replicates"])
    contracts = ", ".join(c["name"] for c in manifest.get("contracts", ()))
    return [
        ("Performance year", str(manifest["performance_year"])),
        ("Base year", str(manifest["base_year"])),
        ("Claims paid through", str(manifest["paid_through"])),
        ("Contracts", contracts or figures.DASH),
        ("Risk model", _named(manifest.get("risk_model"))),
        ("Replicates", f"{figures.count(replicates)} draws of members, seed {manifest['seed']}"),
        ("Device", str(manifest["device"]).upper()),
        ("Digest", str(manifest["digest"])),
    ]


def _named(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name", figures.DASH))
    return str(value) if value else figures.DASH


def _device_note(manifest: Mapping[str, Any]) -> str:
    """What must be said about the device on the first page; empty if it was the one asked for."""
    asked, used = manifest.get("device_requested", manifest["device"]), manifest["device"]
    if asked == used:
        return ""
    if used == "cpu":
        return (
            "Device: automatic choice was asked for and no GPU could be used, so the CPU did the "
            "arithmetic. Results are integers and do not depend on the device."
        )
    return f"Device: {asked} was asked for, {used} was used."


def _provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(kind, name, hash or value) of everything that the digest rests on."""
    rows: list[tuple[str, str, str]] = []
    population = manifest.get("population")
    if isinstance(population, Mapping):
        rows.append(("population", "", str(population.get("digest", figures.DASH))))
    elif manifest.get("population_digest"):
        rows.append(("population", "", str(manifest["population_digest"])))
    rows += [
        ("contract", str(c.get("name", "")), str(c.get("sha256", figures.DASH)))
        for c in manifest.get("contracts", ())
    ]
    model = manifest.get("risk_model")
    if isinstance(model, Mapping):
        rows.append(("risk model", str(model.get("name", "")), str(model.get("sha256", ""))))
    rows += [
        ("input", str(i.get("file", "")), str(i.get("sha256", figures.DASH)))
        for i in manifest.get("inputs", ())
    ]
    rows += [
        (figures.label(key), "", str(manifest[key]))
        for key in ("method_version", "engine_version", "runner")
        if manifest.get(key) is not None
    ]
    return rows


# --- the state -----------------------------------------------------------------------------------


def _state(partnerships: Sequence[Partnership]) -> Row:
    rows = [p.row for p in partnerships]
    total = {
        name: sum(row[name] for row in rows)
        for name in (
            "n_members", "member_months", "target_cents", "observed_cents", "savings_cents",
            "payment_cents",
        )
    }  # fmt: skip
    missed = [row for row in rows if not row["gate_passed"] and row["missed_by_cents"] > 0]
    return {
        **total,
        "n": len(rows),
        "savings_rate": total["savings_cents"] / total["target_cents"]
        if total["target_cents"]
        else 0.0,
        "n_passed": sum(row["gate_passed"] for row in rows),
        "n_missed": len(missed),
        "n_paid": sum(row["payment_cents"] > 0 for row in rows),
        "paid_cents": sum(max(row["payment_cents"], 0) for row in rows),
        "n_owing": sum(row["payment_cents"] < 0 for row in rows),
        "owed_cents": -sum(min(row["payment_cents"], 0) for row in rows),
        "nearest": min(missed, key=lambda row: row["missed_by_cents"], default=None),
        "n_sure": sum(p.sure_at == figures.percent(OUTER, places=0) for p in partnerships),
        "n_flagged": sum(bool(p.flags) for p in partnerships),
        "n_weak": sum(_is_weak(p) for p in partnerships),
        "has_intervals": any(p.intervals for p in partnerships),
    }


def _is_weak(partnership: Partnership) -> bool:
    """Whether the standard error of the savings rate exceeds the gate."""
    error = partnership.std_error("savings_rate", "target_resampled")
    gate = partnership.gate_rate
    return error is not None and gate is not None and error > gate


def _marks(partnership: Partnership) -> str:
    marks = [FLAG_MARKS.get(flag, OTHER_MARK) for flag in partnership.flags]
    return " ".join([*marks, WEAK_MARK] if _is_weak(partnership) else marks)


def _forest(partnerships: Sequence[Partnership]) -> Row:
    rows = []
    for p in partnerships:
        gate = p.gate_rate
        side = p.row["savings_cents"] >= 0
        rows.append(
            ForestRow(
                name=p.row["partnership_id"],
                n_members=p.row["n_members"],
                rate=Whisker(
                    p.row["savings_rate"],
                    p.interval("savings_rate", "target_resampled", INNER),
                    p.interval("savings_rate", "target_resampled", OUTER),
                ),
                payment=Whisker(
                    p.row["payment_cents"],
                    p.interval("payment_cents", "target_fixed", INNER),
                    p.interval("payment_cents", "target_fixed", OUTER),
                ),
                gates=(gate, None) if side or gate is None else (None, -gate),
                passed=p.row["gate_passed"],
                flagged=bool(p.flags),
            )
        )
    state = _state(partnerships)
    return {
        "chart": forest(
            rows,
            title="Savings rate and payment with their intervals",
            description=(
                f"{len(rows)} partnerships from largest to smallest. Thick line: 80 % interval; "
                f"thin line: 95 %. {state['n_sure']} savings rates differ from zero at 95 %. "
                "All values stand in the table that follows."
            ),
        ),
        "marks": {p.row["partnership_id"]: _marks(p) for p in partnerships},
    }


# --- walks ---------------------------------------------------------------------------------------


def _state_walk(partnerships: Sequence[Partnership]) -> Row | None:
    """The walks of all partnerships added up, if they have the same steps."""
    if not partnerships:
        return None
    names = [[step.step for step in p.walk] for p in partnerships]
    shared = [name for name in names[0] if all(name in other for other in names)]
    if not shared or any(set(other) - set(shared) - {"agreed_base"} for other in names):
        shared = [name for name in shared if name != "share"]
    rows = [
        {
            "position": position,
            "step": name,
            "amount_cents": sum(
                step.amount_cents for p in partnerships for step in p.walk if step.step == name
            ),
            "detail": "",
            "citation": "",
            "basis": "",
        }
        for position, name in enumerate(shared)
    ]
    return _charts(steps(rows), "All partnerships")


def _statement(partnership: Partnership) -> Row:
    return {
        "p": partnership,
        "anchor": _anchor(partnership.row["partnership_id"]),
        **_charts(partnership.walk, partnership.row["partnership_id"]),
    }


def _anchor(partnership_id: str) -> str:
    """A fragment identifier that no name can break out of."""
    return "p-" + partnership_id.encode().hex()


def _charts(walk: Sequence[Step], name: str) -> Row:
    """The two halves of a walk: to the observed cost, and from savings to payment."""
    cut = next((i for i, step in enumerate(walk) if step.step == "observed"), len(walk) - 1)
    return {
        "to_target": _half(walk[: cut + 1], f"{name}: from base to observed cost", from_zero=False),
        "to_payment": _half(walk[cut + 1 :], f"{name}: from savings to payment", from_zero=True),
        "walk": walk,
    }


def _half(walk: Sequence[Step], title: str, *, from_zero: bool) -> Chart | None:
    if not walk:
        return None
    bars = [
        Bar(
            figures.label(step.step),
            step.amount_cents,
            step.after_cents,
            step.before_cents,
            outcome=step.step in {"target", "observed", "payment"},
        )
        for step in walk
        if step.step != "agreed_base" or step.amount_cents  # none was agreed: nothing to draw
    ]
    words = "; ".join(
        f"{figures.label(s.step)} {figures.usd(s.amount_cents, plus=s.before_cents is not None)}"
        for s in walk
    )
    return waterfall(bars, title=title, description=f"{words}.", from_zero=from_zero)


# --- utilisation, exclusions, ledger -------------------------------------------------------------


def _utilisation(rows: Sequence[Row], manifest: Mapping[str, Any]) -> Row:
    """Rates of both years per group; rates made of counts from 1 to 10 are held back."""
    base, performance = manifest["base_year"], manifest["performance_year"]
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        found[row["group"]][row["year"]] = row
    reserved = (tables.COMPARISON, tables.UNATTRIBUTED)
    order = sorted(
        found,
        key=lambda group: (
            reserved.index(group) + 1 if group in reserved else 0,
            -max(row["n_members"] for row in found[group].values()),
            group,
        ),
    )
    measures = (
        ("Stays per 1,000", "stays_per_1000", ("stays",), _per_thousand),
        ("ED visits per 1,000", "ed_visits_per_1000", ("ed_visits",), _per_thousand),
        ("Readmitted in 30 days", "readmission_rate", ("stays", "readmissions"), _share),
    )
    panels = []
    for heading, name, counts, words in measures:
        panel = [
            Dumbbell(
                _group_name(group),
                _rate(found[group].get(base), name, counts),
                _rate(found[group].get(performance), name, counts),
            )
            for group in order
        ]
        panels.append((heading, words, panel))
    table = []
    for index, group in enumerate(order):
        cells = []
        for _, words, panel in panels:
            pair = (panel[index].before, panel[index].after)
            before, after = (words(v) if v is not None else "held back" for v in pair)
            change = (
                figures.percent(pair[1] / pair[0] - 1, places=1, plus=True)
                if pair[0] and pair[1] is not None
                else figures.DASH
            )
            cells.append((before, after, change))
        table.append(
            {
                "group": _group_name(group),
                "members": [
                    figures.held_back(found[group][year]["n_members"])
                    if year in found[group]
                    else figures.DASH
                    for year in (base, performance)
                ],
                "cells": cells,
            }
        )
    chart = dumbbells(
        panels,
        years=(str(base), str(performance)),
        title="Utilisation, base and performance year",
        description=(
            f"Hollow points: {base}; filled points: {performance}. Hospital stays and emergency "
            "department visits per 1,000 member years, and the share of stays followed by a "
            "readmission within 30 days. All values stand in the table that follows."
        ),
    )
    return {"chart": chart if order else None, "table": table}


def _per_thousand(rate: float) -> str:
    return f"{rate:,.1f}"


def _share(rate: float) -> str:
    return figures.percent(rate, places=1)


def _group_name(group: str) -> str:
    return group.capitalize() if group in (tables.COMPARISON, tables.UNATTRIBUTED) else group


def _rate(row: Row | None, name: str, counts: Iterable[str]) -> float | None:
    if row is None or any(figures.is_small(row[c]) for c in (*counts, "n_members")):
        return None
    return float(row[name])


def _exclusions(rows: Sequence[Row]) -> list[Row]:
    """Rows by year and dollars; dollars of a held-back count are held back with it."""
    ordered = sorted(rows, key=lambda row: (row["year"], -row["paid_cents"], row["reason"]))
    return [
        {
            **row,
            "members": figures.held_back(row["n_members"]),
            "months": "held back"
            if figures.is_small(row["n_members"])
            else figures.count(row["member_months"]),
            "dollars": "held back"
            if figures.is_small(row["n_members"])
            else figures.usd(row["paid_cents"]),
        }
        for row in ordered
    ]


def _ledger(rows: Sequence[Row]) -> Row:
    """Lines and dollars by stage, fate and table, and whether the two stages meet."""
    names = [t for t in tables.SOURCE_TABLES if any(row["table"] == t for row in rows)]
    rows = [row for row in rows if row["table"] in names]  # other tables carry no claim
    stages: list[Row] = []
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    by_table: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        for cell in (
            totals[row["stage"], row["fate"]],
            by_table[row["stage"], row["fate"], row["table"]],
        ):
            cell[0] += row["lines"]
            cell[1] += row["paid_cents"]
    for stage, fates in (
        ("ingest", [fate.label for fate in IngestFate]),
        ("run", [fate.label for fate in LINE_FATES]),
    ):
        stages.append(
            {
                "stage": stage,
                "fates": [
                    {
                        "fate": fate,
                        "total": totals[stage, fate],
                        "tables": [by_table[stage, fate, name] for name in names],
                    }
                    for fate in fates
                ],
                "total": [sum(totals[stage, fate][i] for fate in fates) for i in (0, 1)],
                "tables": [
                    [sum(by_table[stage, fate, name][i] for fate in fates) for i in (0, 1)]
                    for name in names
                ],
            }
        )
    retained = totals["ingest", IngestFate.RETAINED.label]
    met = stages[1]["total"]
    counted = totals["run", RunFate.COUNTED.label]
    above = totals["run", RunFate.ABOVE_CAP.label][1]
    floored = totals["run", RunFate.FLOORED.label][1]
    return {
        "names": names,
        "stages": stages,
        "retained": retained,
        "met": met,
        "balanced": list(retained) == list(met),
        "lines_off": met[0] - retained[0],
        "cents_off": met[1] - retained[1],
        "counted": counted,
        "above_cap": above,
        "floored": floored,
        "cost": counted[1] - above + floored,
        "chart": _ledger_chart(stages, counted, above, floored),
    }


def _ledger_chart(stages: Sequence[Row], counted: list[int], above: int, floored: int) -> Chart:
    """From every dollar read down to the cost that settles."""
    here = stages[0]["total"][1]
    bars = [Bar("read", here, here, outcome=True)]
    for stage, last in ((stages[0], IngestFate.RETAINED.label), (stages[1], RunFate.COUNTED.label)):
        for row in stage["fates"]:
            cents = row["total"][1]
            if row["fate"] == last:
                here = cents
                bars.append(Bar(figures.label(last), here, here, outcome=True))
            elif cents:
                bars.append(Bar(figures.label(row["fate"]), -cents, here - cents, here))
                here -= cents
    here = counted[1]
    if above:
        bars.append(Bar("above cap", -above, here - above, here))
        here -= above
    if floored:
        bars.append(Bar("floored", floored, here + floored, here))
        here += floored
    bars.append(Bar("cost that settles", here, here, outcome=True))
    words = "; ".join(f"{bar.name} {figures.usd(bar.amount)}" for bar in bars)
    return waterfall(
        bars, title="Paid dollars from reading to cost", description=f"{words}.", from_zero=True
    )
