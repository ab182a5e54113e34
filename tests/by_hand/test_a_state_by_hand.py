"""A whole state settled a second time, from the raw tables and the pages of the method alone.

The other reader stands in three files beside this one, which import nothing of ours. Where a page
leaves a rule open, or says something else than the program does, a figure here differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "ihp_compute" / "contracts" / "shipped"
BASE, YEAR = 2023, 2024
TRACK_2 = "mn-ihp-2.0-track-2"
CONTRACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "IHP-02": ("northwest-metro-alliance", {}),
    "IHP-03": ("maine-accountable-communities", {}),
    "IHP-04": ("mn-ihp-1.0-virtual", {}),
    "IHP-05": ("vermont-medicaid-aco", {}),
    "IHP-06": ("cms-mssp-basic-e", {}),
    "IHP-07": ("cms-mssp-enhanced", {}),
    "IHP-08": (
        TRACK_2,
        {
            "cost.claim_cap": 5000, "cost.keep_above_cap": 0.2, "cost.prorate_cap": True,
            "target.rounding": "cents", "target.base_pmpm_fixed": 402.15,
        },
    ),
    "IHP-09": (
        TRACK_2,
        {
            "cost.services": ["inpatient", "emergency", "primary_care", "laboratory", "pharmacy"],
            "cost.amount": "paid_less_third_party", "cost.zero_paid_encounter": "allowed",
            "target.cell_least_months": 12, "target.risk_ratio_cap_up": 0.02,
            "target.risk_ratio_cap_down": 0.01,
        },
    ),
    "IHP-10": (
        TRACK_2,
        {
            "cost.services": [
                "outpatient_hospital", "specialist", "radiology", "therapy", "substance_use",
            ],
            "target.rate_cells": [
                "child_ffs+child_managed", "adult_ffs+adult_managed",
                "expansion_ffs+expansion_managed", "disabled_ffs", "disabled_managed",
                "newborn_ffs+newborn_managed+maternity_ffs+maternity_managed",
            ],
        },
    ),
    "IHP-11": (
        TRACK_2,
        {
            "cost.services": ["fqhc_rhc", "mental_health", "home_health", "ambulatory_surgery"],
            "target.cell_credibility": "none",
        },
    ),
}  # fmt: skip
"""By partnership; all others have track 2 as it is shipped."""


@dataclass
class Settled:
    """One state, as the pages have it (`state`, `raw`) and as a run has it (`run`)."""

    state: Any
    raw: dict[str, list[dict[str, Any]]]
    people: dict[int, str]
    population: Path
    run: Path

    def rows(self, table: str) -> list[dict[str, Any]]:
        return pq.read_table(self.run / f"{table}.parquet").to_pylist()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(f'"{v}"' for v in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


@pytest.fixture(scope="module", params=[None, date(2024, 12, 10)], ids=["whole", "cut"])
def settled(
    request: pytest.FixtureRequest, untidy_state: Path, claims_by_hand: ModuleType,
    claims_with_fates: list[dict[str, Any]],
    state_by_hand: ModuleType, money_by_hand: ModuleType, population: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Settled:  # fmt: skip
    """With every claim that came, and with those paid by December of the performance year."""
    folder = tmp_path_factory.mktemp("settled")
    lines = ['[set]\nname = "by-hand"', f'[default]\ncontract = "{TRACK_2}"']
    for who, (name, values) in CONTRACTS.items():
        given = ", ".join(f'"{path}" = {_text(value)}' for path, value in values.items())
        lines.append(f'[partnerships.{who}]\ncontract = "{name}"\noverrides = {{ {given} }}')
    (folder / "set.toml").write_text("\n".join(lines) + "\n")
    cutoff: date | None = request.param
    run(
        RunRequest(
            population, (str(folder / "set.toml"),), performance_year=YEAR, base_year=BASE,
            paid_through=cutoff, replicates=0,
        ),
        folder / "run",
    )  # fmt: skip
    names = ("eligibility", "provider_roster", "risk_score", "quality_score")
    raw = {name: claims_by_hand.table(untidy_state, name) for name in names}
    claims = [dict(row) for row in claims_with_fates]
    terms = money_by_hand.terms_of(SHIPPED, TRACK_2, {})(YEAR)
    codes = state_by_hand.Codes.read(ROOT / "docs" / "method" / "codes.md")
    state = state_by_hand.state_of(raw, claims, codes, terms, BASE, YEAR, cutoff)
    return Settled(state, raw, _people(population), population, folder / "run")


@pytest.fixture(scope="module")
def claims_with_fates(untidy_state: Path, claims_by_hand: ModuleType) -> list[dict[str, Any]]:
    claims = claims_by_hand.claim_rows(untidy_state)
    claims_by_hand.give_fates(claims)
    return claims


@pytest.fixture(scope="module")
def population(untidy_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_hand") / "population"
    ingest(untidy_state, folder, shards=3)
    return folder


def _people(population: Path) -> dict[int, str]:
    from pyarrow import ipc  # noqa: PLC0415 - one reader

    found: dict[int, str] = {}
    for path in sorted(population.glob("shards/*/identity.arrow")):
        rows = ipc.open_file(path).read_all().to_pylist()
        found |= {row["member_key"]: row["member_id"] for row in rows}
    return found


def test_every_row_has_the_fate_that_the_pages_give_it(settled: Settled) -> None:
    mine: Counter[tuple[str, str]] = Counter()
    cents: Counter[tuple[str, str]] = Counter()
    for row in settled.state.claims:
        mine[row["table"], row["fate"]] += 1
        cents[row["table"], row["fate"]] += row["paid"]
    ledger = [row for row in settled.rows("ledger") if row["stage"] == "ingest"]
    ledger = [row for row in ledger if row["source_table"] != "eligibility"]
    assert mine == {(r["source_table"], r["fate"]): r["lines"] for r in ledger}
    assert cents == {(r["source_table"], r["fate"]): r["paid_cents"] for r in ledger}


def test_everybody_stands_where_the_pages_put_them(settled: Settled) -> None:
    """Reason, group, step, visits, months of each rate cell and score, in both years."""
    state, seen = settled.state, 0
    for row in settled.rows("member_years"):
        key = settled.people[row["member_key"]], row["year"]
        seen += 1
        assert (row["exclusion"] or "") == state.reason.get(key, ""), key
        assert (row["group_id"] or "") == state.group.get(key, ""), key
        if row["n_visits"]:
            assert (row["step"], row["n_visits"]) == (state.step[key], state.visits[key]), key
        months = {c: row[f"months_{c}"] for c in state.cells[key] if row[f"months_{c}"]}
        assert months == state.cells[key], key
        if months:
            assert row["score_micro"] == state.score[key], key
    assert seen == len(state.reason) + len(state.group)


def test_exclusions_come_to_the_same_people_months_and_dollars(settled: Settled) -> None:
    state = settled.state
    dollars: Counter[tuple[str, int]] = Counter()
    for row in state.claims:
        counts = row["fate"] == "retained" and row["x_clm_type_cd"] not in ("2", "B", "V")
        if counts and row["end"].year in (BASE, YEAR) and state.known(row, row["end"].year):
            dollars[row["person_id"], row["end"].year] += row["paid"]
    found: dict[tuple[int, str], list[int]] = {}
    for (person, year), reason in state.reason.items():
        months = sum(m in state.months[person] for m in range(year * 12, year * 12 + 12))
        of = found.setdefault((year, reason), [0, 0, 0])
        found[year, reason] = [of[0] + 1, of[1] + months, of[2] + dollars[person, year]]
    columns = ("n_members", "member_months", "paid_cents")
    rows = settled.rows("exclusions")
    assert {(r["year"], r["reason"]): [r[c] for c in columns] for r in rows} == found


def test_every_target_and_payment_is_that_of_the_pages_to_the_cent(
    settled: Settled, state_by_hand: ModuleType, money_by_hand: ModuleType
) -> None:
    scores = {row["partnership_id"]: float(row["score"]) for row in settled.raw["quality_score"]}
    payments: dict[str, dict[str, int]] = {}
    for row in settled.rows("payments"):
        payments.setdefault(row["partnership_id"], {})[row["payer"]] = row["payment_cents"]
    cells = settled.rows("cells")
    known: dict[str, Any] = {}
    for row in settled.rows("settlement"):
        who = row["partnership_id"]
        name, values = CONTRACTS.get(who, (TRACK_2, {}))
        at: Callable[[int], Any] = money_by_hand.terms_of(SHIPPED, name, values)
        terms = at(YEAR)
        key = who if who in CONTRACTS else ""
        sums = known[key] if key in known else state_by_hand.sums(settled.state, terms)
        known[key] = sums
        found = money_by_hand.target_of(who, sums, at, BASE, YEAR)
        _check_cells([cell for cell in cells if cell["partnership_id"] == who], sums, found)
        observed, core = (
            sum(sums[who, YEAR, cell][kind] for cell in terms["target.rate_cells"])
            for kind in ("cost", "paid")
        )
        members = sum(g == who and y == YEAR for (_, y), g in settled.state.group.items())
        payment = money_by_hand.payment_of(
            terms, found["target"], observed, core, members, scores[who]
        )
        told = row["n_members"], row["target_cents"], row["observed_cents"], row["payment_cents"]
        assert told == (members, found["target"], observed, payment), who
        assert row["risk_ratio"] == pytest.approx(found["ratio"], rel=1e-12), who
        by_months = terms["payers.split"] == "member_months"
        weights = settled.state.payer_months(who) if by_months else {}
        assert payments[who] == money_by_hand.split(payment, weights), who


def _check_cells(rows: list[dict[str, Any]], sums: Any, found: dict[str, Any]) -> None:
    columns = {
        "n_members": "members", "member_months": "months", "paid_cents": "paid",
        "cost_cents": "cost",
    }  # fmt: skip
    for row in rows:
        who, year, cell = row["partnership_id"], row["year"], row["rate_cell"]
        own, state = sums[who, year, cell], sums["STATE", year, cell]
        assert {c: row[c] for c in columns} == {c: own[k] for c, k in columns.items()}, row
        told = row["state_member_months"], row["state_cost_cents"]
        assert told == (state["months"], state["cost"]), row
        assert row["target_cents"] == (found["cells"][cell] if year == YEAR else 0), row
    assert rows or not found["target"], "cells of nobody alone are none"
