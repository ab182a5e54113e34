"""What somebody who signs must find: who answers, what was reviewed, how sure, by which standard.

The standards are those of the Actuarial Standards Board, by number and in our words: 23 data
quality, 25 credibility, 41 communications, 45 risk adjustment, 56 modeling. What needs a person
stands in the run's statement; without it the page is UNREVIEWED.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ihp_compute.measure import STATEMENT_FIELDS, unstated
from ihp_compute.report import numbers
from ihp_compute.report.partnerships import Partnership
from ihp_compute.report.rows import Row, RowsOf
from ihp_compute.results import OWN
from ihp_compute.settlement import CHANGES

UNREVIEWED: Final = "UNREVIEWED"
CERTIFIED: Final = "CERTIFIED"
_SIGNS: Final = ("savings_above_zero", "savings_above_zero_with_clinics", "savings_above_gate")
_PAID: Final = ("payment_above_zero", "payment_below_zero")


def marks(manifest: Mapping[str, Any], weak_terms: int, *, certified: bool = False) -> list[str]:
    """What every page must say of this one, in capitals; empty of a reviewed, final, whole one."""
    status = (manifest.get("completion") or {}).get("status", "")
    return [
        *([UNREVIEWED] if unstated(_statement(manifest)) else []),
        *([status] if status == "INTERIM" else []),
        *(["DRAFT TERMS"] if weak_terms else []),
        *([CERTIFIED] if certified else []),
    ]


def _statement(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    return manifest.get("statement") or {}


def review_section(
    manifest: Mapping[str, Any], rows: RowsOf, partnerships: Sequence[Partnership], noticed: Row
) -> Row:
    """What each standard asks, answered from the run and its statement."""
    stated = _statement(manifest)
    read = [row for row in rows["ledger"] if row["stage"] == "ingest"]
    put_aside = [row for row in read if row["fate"] == "unreadable"]
    counts = manifest.get("counts") or {}
    return {
        "fields": [
            (numbers.label(name).capitalize(), stated.get(name, "")) for name in STATEMENT_FIELDS
        ],
        "stated": stated,
        "unstated": [numbers.label(name) for name in unstated(stated)],
        "inputs": len(manifest.get("inputs", ())),
        "lines": numbers.summed(row["lines"] for row in read),
        "dollars": numbers.summed(row["paid_cents"] for row in read),
        "unread": numbers.summed(row["lines"] for row in put_aside),
        "unread_dollars": numbers.summed(row["paid_cents"] for row in put_aside),
        "findings": len(noticed["findings"]),
        "accepted": [one["gate"] for one in noticed["accepted"]],
        "credibility": [
            (p.row["partnership_id"], step.detail)
            for p in partnerships
            for step in p.walk
            if step.step == "credibility"
        ],
        "unscored": [
            (name.partition(":")[0], n)
            for name, n in counts.items()
            if name.endswith(":n_unscored")
        ],
        "libraries": ", ".join(
            f"{name} {version}" for name, version in (manifest.get("libraries") or {}).items()
        ),
    }


def beside_the_result(rows: RowsOf, partnerships: Sequence[Partnership]) -> Row:
    """Chances over the draws, and what the data would pay with one term changed."""
    chances: dict[tuple[str, str], Row] = {
        (row["partnership_id"], row["conditioning"]): row for row in rows["chances"]
    }
    moved: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows["sensitivities"]:
        moved[row["partnership_id"]][row["scenario"]] = row["difference_cents"]
    shown = [name for name in CHANGES if any(name in of for of in moved.values())]
    names = [p.row["partnership_id"] for p in partnerships]

    def chance(name: str, conditioning: str, what: str) -> str:
        found = chances.get((name, conditioning))
        if found is None:
            return numbers.DASH
        borrowed = what.endswith("_with_clinics") and found["clinic_year_from"] != OWN
        whose = f" ({found['clinic_year_from']})" if borrowed else ""
        return numbers.percent(found[what], places=0) + whose

    def difference(name: str, scenario: str) -> str:
        found = moved[name].get(scenario)
        return numbers.DASH if found is None else numbers.usd(found, plus=True)

    return {
        "chances": [
            (
                name,
                [chance(name, "target_resampled", what) for what in _SIGNS],
                [chance(name, "target_fixed", what) for what in _PAID],
                numbers.usd(chances[name, "target_fixed"]["mean_payment_cents"]),
                numbers.usd(chances[name, "target_resampled"]["payment_without_effect_cents"]),
            )
            for name in names
            if (name, "target_fixed") in chances
        ],
        "by_chance": len(partnerships) / 20,
        "scenarios": [CHANGES[name].meaning for name in shown],
        "sensitivities": [
            (name, [difference(name, scenario) for scenario in shown])
            for name in names
            if name in moved
        ],
        "all": [
            numbers.usd(sum(of.get(scenario, 0) for of in moved.values()), plus=True)
            for scenario in shown
        ],
    }
