"""Care changed against the comparator, and who has how much of it: two sections of the page.

    outcome_changes -> each group's change at the state's mix of risk, its interval, dollars
    outcomes        -> strata of all partnerships' people against the reference stratum

Both are of standardised rates. What is hidden is said to be; counties are in the table alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.report import numbers
from ihp_compute.report.charts import Multiple, multiples
from ihp_compute.report.rows import Row, RowsOf

MEASURES: Final = {
    "ed_visits": "Emergency visits",
    "stays": "Hospital stays",
    "readmissions": "Readmissions",
    "cost": "Cost",
}
"""Those on the page, in its order: fewer of them is wished for."""
WITHOUT_DOLLARS: Final = ("readmissions",)
"""Whose dollars are in those of stays already."""
COUNTY: Final = "county_fips"
SCOPES: Final = ("state", "attributed", "programme", "track", "partnership")
_FEW: Final = ("no_denominator", "no_expected", "no_events", "no_comparator", "no_reference")


def outcomes_section(rows: RowsOf, manifest: Mapping[str, Any]) -> Row:
    """What the page shows of outcomes; nothing where a run has none."""
    return {
        "changes": _changes(rows),
        "arms": _arms(rows),
        "strata": _strata(rows, manifest["performance_year"]),
        "headings": tuple(MEASURES.values()),
        "dollars": [name not in WITHOUT_DOLLARS for name in MEASURES],
    }


# --- changes --------------------------------------------------------------------------------------


def _changes(rows: RowsOf) -> Row | None:
    """Every group's standardised changes against the comparator, and sums of groups first."""
    found = rows.where(
        "outcome_changes", dimension=["all"], basis=["standardised"], measure=list(MEASURES)
    )
    by_scope: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found:
        by_scope.setdefault((row["scope"], row["scope_id"]), {})[row["measure"]] = row
    whom = next((row["comparator"] for row in found if row["comparator"]), "")
    # a programme or track of all partnerships is said once, and nobody is held against themselves
    order = sorted((key for key in by_scope if key != ("partnership", COMPARISON)), key=_place)
    order = [key for key in order if not _is_repeated(by_scope, key)]
    if not order:
        return None
    names = [_name(*key) for key in order]
    table = [
        {"name": name, "cells": [_cell(by_scope[key].get(measure)) for measure in MEASURES]}
        for name, key in zip(names, order, strict=True)
    ]
    panels = [
        (heading, [_changed(by_scope[key].get(measure)) for key in order])
        for measure, heading in MEASURES.items()
    ]
    chart = multiples(
        names,
        panels,
        title="Change of standardised rates against the comparator",
        description=(
            "Each point is 1 plus the relative change from base to performance year, with its "
            f"95 % interval; 1 is as {_whom(whom)} changed. All values stand in the table that "
            "follows."
        ),
    )
    return {"chart": chart, "table": table, "comparator": _whom(whom)}


def _place(key: tuple[str, str]) -> tuple[int, bool, str]:
    scope, scope_id = key
    return SCOPES.index(scope), scope_id == UNATTRIBUTED, scope_id


def _is_repeated(
    by_scope: Mapping[tuple[str, str], Mapping[str, Row]], key: tuple[str, str]
) -> bool:
    """Whether a programme or track says what all partnerships do."""
    if key[0] not in ("programme", "track"):
        return False
    whole, own = by_scope.get(("attributed", "attributed"), {}), by_scope[key]
    told = [(own[name]["relative_change"], whole[name]["relative_change"]) for name in whole]
    return all(a is not None and b is not None and math.isclose(a, b) for a, b in told)


def _name(scope: str, scope_id: str) -> str:
    if scope == "state":
        return "The state"
    if scope == "attributed":
        return "All partnerships"
    return scope_id.capitalize() if scope_id in (COMPARISON, UNATTRIBUTED) else scope_id


def _whom(comparator: str) -> str:
    words = {"comparison": "the comparison population", "others": "everybody else"}
    return words.get(comparator, comparator.replace("region:", "people of the region "))


def _says(row: Row | None, name: str) -> bool:
    """Whether a row of changes or ratios tells this number."""
    return row is not None and row[name] is not None and not _why(row)


def _why(row: Row) -> str:
    """The word that says why a number is 0; empty where it is none."""
    return next((word for word in (row["flag"] or "").split() if word in _FEW), "")


def _changed(row: Row | None) -> Multiple | None:
    if row is None or not _says(row, "relative_change"):
        return None
    return Multiple(1 + row["relative_change"], 1 + row["low"], 1 + row["high"], wished=-1)


def _cell(row: Row | None) -> Row:
    """Change, its interval and dollars as the table writes them."""
    if row is None:
        return {"change": numbers.DASH, "interval": "", "dollars": numbers.DASH}
    if row["relative_change"] is None:
        return {"change": numbers.HELD, "interval": "", "dollars": numbers.HELD}
    if _why(row):
        return {"change": numbers.DASH, "interval": "", "dollars": numbers.DASH}
    low, high = (numbers.percent(row[end], places=1, plus=True) for end in ("low", "high"))
    return {
        "change": numbers.percent(row["relative_change"], places=1, plus=True),
        "interval": f"{low} to {high}",
        "dollars": numbers.usd_short(row["usd_cents"]),
    }


def _arms(rows: RowsOf) -> list[Row]:
    """Arms of an intervention against its comparison, everybody of the state."""
    found = rows.where(
        "outcome_changes",
        scope=["state"],
        dimension=["intervention"],
        basis=["standardised"],
        measure=list(MEASURES),
    )
    arms: dict[str, dict[str, Row]] = {}
    for row in found:
        if row["comparator"]:
            arms.setdefault(row["stratum"], {})[row["measure"]] = row
    return [
        {"name": arm, "cells": [_cell(own.get(measure)) for measure in MEASURES]}
        for arm, own in sorted(arms.items())
    ]


# --- strata ---------------------------------------------------------------------------------------


def _strata(rows: RowsOf, year: int) -> Row | None:
    """Strata of all partnerships' people, by dimension, against the reference of each."""
    found = [
        row
        for row in rows.where("outcomes", scope=["attributed"], year=[year], measure=list(MEASURES))
        if row["dimension"] not in ("all", COUNTY, "intervention")
    ]
    by_stratum: dict[str, dict[str, dict[str, Row]]] = {}
    for row in found:
        strata = by_stratum.setdefault(row["dimension"], {})
        strata.setdefault(row["stratum"], {})[row["measure"]] = row
    lines = []
    for dimension, strata in by_stratum.items():
        told = (row["reference"] for own in strata.values() for row in own.values())
        name = next((text for text in told if text is not None), "")
        own = [
            _stratum(stratum, measured, is_reference=stratum == name)
            for stratum, measured in sorted(
                strata.items(), key=lambda item: (item[0] != name, item[0] == "unknown", item[0])
            )
        ]
        if name:
            lines.append({"dimension": numbers.label(dimension), "reference": name, "strata": own})
    if not lines:
        return None
    return {"table": lines, "chart": _strata_chart(lines)}


def _stratum(name: str, measured: Mapping[str, Row], *, is_reference: bool) -> Row:
    people = next(iter(measured.values()))["n_members"]
    return {
        "name": name,
        "people": numbers.HELD if people is None else numbers.count(people),
        "is_reference": is_reference,
        "cells": [_rate_cell(measured.get(measure), is_reference) for measure in MEASURES],
        "ratios": [_ratio(measured.get(measure), is_reference) for measure in MEASURES],
    }


def _ratio(row: Row | None, is_reference: bool) -> Multiple | None:
    if row is None or is_reference or not _says(row, "ratio"):
        return None
    return Multiple(row["ratio"], row["ratio_low"], row["ratio_high"], wished=-1)


def _rate_cell(row: Row | None, is_reference: bool) -> Row:
    """Standardised rate, and ratio with its interval."""
    if row is None:
        return {"rate": numbers.DASH, "ratio": "", "interval": ""}
    if row["rate_standardised"] is None:
        return {"rate": numbers.HELD, "ratio": "", "interval": ""}
    rate = row["rate_standardised"]
    written = {
        "readmissions": lambda: numbers.percent(rate, places=1),
        "cost": lambda: f"${rate:,.0f}",
    }.get(row["measure"], lambda: f"{rate:,.0f}")()
    if "no_denominator" in row["flag"] or "no_expected" in row["flag"]:
        return {"rate": numbers.DASH, "ratio": "", "interval": ""}
    if is_reference or _why(row):
        return {"rate": written, "ratio": "1" if is_reference else numbers.DASH, "interval": ""}
    return {
        "rate": written,
        "ratio": f"{row['ratio']:.2f}",
        "interval": f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}",
    }


def _strata_chart(lines: Sequence[Row]) -> Any:
    """Ratios of the strata that are no reference, under their dimension."""
    names: list[str] = []
    heads: list[int] = []
    columns: list[list[Multiple | None]] = [[] for _ in MEASURES]
    alone = [line for line in lines if len(line["strata"]) <= 2]
    for line in [*alone, *(line for line in lines if line not in alone)]:
        others = [one for one in line["strata"] if not one["is_reference"]]
        if line in alone:
            heads.append(len(names))
            names += [f"{line['dimension']}: {one['name']}" for one in others]
        else:
            heads.append(len(names))
            names += [f"{line['dimension']} (1: {line['reference']})"]
            names += [one["name"] for one in others]
            for column in columns:
                column.append(None)
        for one in others:
            for column, ratio in zip(columns, one["ratios"], strict=True):
                column.append(ratio)
    return multiples(
        names,
        list(zip(MEASURES.values(), columns, strict=True)),
        title="Standardised rates of strata over those of their reference",
        description=(
            "Points are ratios of standardised rates with their 95 % intervals; 1 is the stratum "
            "of most people. All values stand in the table that follows."
        ),
        heads=heads,
    )
