"""The table `cells` foots to everything above it, and a settlement can be made from it again."""

from __future__ import annotations

import runpy
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.settlement import split
from ihp_compute.settlement.risk_ratio import CORRIDOR, CREDIBILITY, RATIO_RULES

DOCUMENTS = Path(__file__).resolve().parents[3] / "docs/method"
CONTRACTS = (
    "mn-ihp-2.0-track-2",
    "mn-ihp-1.0",
    "cms-mssp-enhanced",
    "cms-reach-global",
    "northwest-metro-alliance",
    "maine-accountable-communities",
)
LOW_CAP = """
name = "low-cap"
title = "A cap that binds in several rate cells"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A test"

[cost.claim_cap]
value = 2500
unit = "USD per member per year"
from = 2018-01-01
basis = "contract"
source = { doc = "here", at = "cap" }

[target.rate_cells]
value = [
    "newborn_managed+newborn_ffs", "child_managed", "child_ffs", "disabled_ffs+disabled_managed",
    "adult_ffs", "adult_managed", "expansion_ffs", "expansion_managed", "maternity_ffs",
    "maternity_managed",
]
unit = "names"
from = 2018-01-01
basis = "contract"
source = { doc = "here", at = "cells" }
"""
SET = """
[set]
name = "several"

[default]
contract = "mn-ihp-2.0-track-2"

[partnerships.IHP-01.overrides]
"cost.claim_cap" = 50000

[partnerships.IHP-02.overrides]
"settlement.gain.share" = 0.4
"""

OPTIONS = {
    "own-base.toml": {
        "target.cell_credibility": ('"none"', "choice"),
        "target.empty_cell": ('"partnership"', "choice"),
        "target.risk_ratio_cap_by": ('"rate_cell"', "choice"),
        "target.risk_ratio_cap_up": ("0.01", "ratio"),
        "target.risk_ratio_cap_down": ("0.02", "ratio"),
        "target.rounding": ('"cents"', "choice"),
    },
    "corridor.toml": {
        "target.cell_credibility": ('"none"', "choice"),
        "risk.normalise": ('"none"', "choice"),
        "risk.growth_corridor": ("0.001", "ratio"),
        "risk.credibility": ("30_000", "member months"),
        "target.risk_ratio_cap_up": ("0.02", "ratio"),
        "target.risk_ratio_cap_down": ("0.003", "ratio"),
    },
    "carried-ratio.toml": {
        "target.cell_credibility": ('"none"', "choice"),
        "risk.growth_corridor": ("0.001", "ratio"),
        "risk.credibility": ("24_000", "member months"),
        "target.rounding": ('"cents"', "choice"),
    },
    "agreed.toml": {
        "target.base_pmpm_fixed": ("450.00", "USD per member per month"),
        "target.risk_ratio_cap_up": ("0.01", "ratio"),
        "target.risk_ratio_cap_down": ("0.01", "ratio"),
    },
}
"""Other choices that a target has, each with value and unit."""


def with_options(name: str) -> str:
    """A contract file of the choices of `OPTIONS`."""
    terms = "".join(
        f'[{path}]\nvalue = {value}\nunit = "{unit}"\nfrom = 2018-01-01\nbasis = "contract"\n'
        'source = { doc = "here", at = "terms" }\n'
        for path, (value, unit) in OPTIONS[name].items()
    )
    return (
        f'name = "{name.removesuffix(".toml")}"\ntitle = "Other choices"\nprogramme = "test"\n'
        f'extends = "mn-ihp-2.0-track-2"\n[sources.here]\ntitle = "A test"\n{terms}'
    )


Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def run_of(
    small_population: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a run under a contract; made once."""
    folder = tmp_path_factory.mktemp("cells")
    others = {name: with_options(name) for name in OPTIONS}
    for name, text in {"low-cap.toml": LOW_CAP, "set.toml": SET, **others}.items():
        (folder / name).write_text(text, encoding="utf-8")
    made: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in made:
            contract = str(folder / name) if name.endswith(".toml") else name
            made[name] = folder / f"run-{len(made)}"
            run(RunRequest(small_population, (contract,), replicates=3), made[name])
        return made[name]

    return find


def rows_of(folder: Path, table: str) -> Rows:
    found: Rows = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return found


@pytest.mark.parametrize("script_name", ["settle", "recompute"])
@pytest.mark.parametrize("name", [*CONTRACTS, "low-cap.toml", *OPTIONS])
def test_a_settlement_is_made_again_from_cells_and_contract(
    run_of: Callable[[str], Path], name: str, script_name: str
) -> None:
    """By the scripts of the documents, to the cent, with the contract's terms and nothing else."""
    folder = run_of(name)
    script = runpy.run_path(str(DOCUMENTS / f"{script_name}.py"))
    contract = str(folder.parent / name) if name.endswith(".toml") else name
    again = {row["partnership_id"]: row for row in script["settle"](folder, contract).to_pylist()}
    for row in rows_of(folder, "settlement"):
        found = again[row["partnership_id"]]
        assert round(found["target_usd"] * 100) == row["target_cents"]
        assert round(found["observed_usd"] * 100) == row["observed_cents"]
        assert round(found["payment_usd"] * 100) == row["payment_cents"]


@pytest.mark.parametrize("name", ["mn-ihp-2.0-track-2", "low-cap.toml", "set.toml"])
def test_cells_foot_to_walk_and_settlement(run_of: Callable[[str], Path], name: str) -> None:
    folder = run_of(name)
    cells = rows_of(folder, "cells")
    walks: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows_of(folder, "walk"):
        walks[row["partnership_id"]][row["step"]] = row["amount_cents"]
    for row in rows_of(folder, "settlement"):
        own = [c for c in cells if c["partnership_id"] == row["partnership_id"]]
        now = [c for c in own if c["year"] == row["performance_year"]]
        then = [c for c in own if c["year"] != row["performance_year"]]
        assert sum(c["target_cents"] for c in own) == row["target_cents"]
        assert sum(c["cost_cents"] for c in now) == row["observed_cents"]
        assert sum(c["member_months"] for c in now) == row["member_months"]
        base = sum(c["cost_cents"] for c in then) / sum(c["member_months"] for c in then)
        walk = walks[row["partnership_id"]]
        assert walk["recomputed_base"] == pytest.approx(base * row["member_months"], abs=0.51)
        before = sum(c["member_months"] * c["base_pmpm_usd"] * c["trend_factor"] for c in now)
        assert sum(
            walk[step] for step in ("recomputed_base", "credibility", "trend", "rate_mix")
        ) == pytest.approx(before * 100, abs=1)
        assert row["risk_ratio"] * before * 100 == pytest.approx(row["target_cents"], abs=1)


@pytest.mark.parametrize("name", ["corridor.toml", "carried-ratio.toml"])
def test_what_rules_of_the_ratio_move_foots_to_the_walk(
    run_of: Callable[[str], Path], name: str
) -> None:
    """Dollars by rate cell add up to the lines; the lines, from before risk, to the target."""
    folder = run_of(name)
    cells, rules = rows_of(folder, "cells"), [CORRIDOR, CREDIBILITY]
    walks: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows_of(folder, "walk"):
        walks[row["partnership_id"]][row["step"]] = row["amount_cents"]
    assert walks
    for partnership, walk in walks.items():
        own = [c for c in cells if c["partnership_id"] == partnership]
        moved = {rule: sum(c[f"{rule}_cents"] for c in own) for rule in rules}
        if name == "corridor.toml":
            assert moved == {rule: walk[rule] for rule in rules}
            assert all(moved.values()), "a state of this test in which both bind"
        else:
            assert moved == {CORRIDOR: 0, CREDIBILITY: walk[CREDIBILITY]}
            assert CORRIDOR not in walk, "the norm leaves nothing to a corridor"
        assert sum(c["target_cents"] for c in own) == walk["target"]
        changes = ("recomputed_base", "credibility", "trend", "policy", "completion", "rate_mix",
                   "risk", *RATIO_RULES)  # fmt: skip
        assert sum(walk.get(step, 0) for step in changes) == walk["target"]


@pytest.mark.parametrize("name", ["mn-ihp-2.0-track-2", "low-cap.toml", "set.toml"])
def test_cells_are_the_sums_of_member_years(run_of: Callable[[str], Path], name: str) -> None:
    """Months, people, dollars before and after the cap, mean risk; and everybody is the state."""
    folder = run_of(name)
    members = [m for m in rows_of(folder, "member_years") if m["group_id"]]
    n_rule_sets = sum(column.startswith("cost_r") for column in members[0])
    cells = rows_of(folder, "cells")
    sums: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in cells:
        sums[row["contract"], row["partnership_id"], row["year"]].append(row)
        months, people, risk = 0, 0, 0
        for m in members:
            if m["group_id"] == row["partnership_id"] and m["year"] == row["year"]:
                here = sum(m[f"months_{part}"] for part in row["rate_cell"].split("+"))
                months, people = months + here, people + bool(here)
                risk += here * m["score_micro"]
        assert (row["member_months"], row["n_members"]) == (months, people)
        assert row["own_risk_mean"] == (risk / months / 1_000_000 if months else 0)
    for (_, group, year), rows in sums.items():
        own = [m for m in members if m["group_id"] == group and m["year"] == year]
        for column, whole in (("paid_cents", "uncapped"), ("cost_cents", "cost")):
            found = sum(row[column] for row in rows)
            assert found in {sum(m[f"{whole}_r{r}_cents"] for m in own) for r in range(n_rule_sets)}
    for row in cells:
        everybody = [
            sum(m[f"months_{part}"] for part in row["rate_cell"].split("+"))
            for m in members
            if m["year"] == row["year"]
        ]
        assert row["state_member_months"] == sum(everybody)


def test_the_comparison_population_stands_under_each_contract(
    run_of: Callable[[str], Path],
) -> None:
    """Its cost follows the contract's rules, so that a contract of other rules has its own rows."""
    cells = rows_of(run_of("set.toml"), "cells")
    others = {c["contract"] for c in cells if c["partnership_id"] in ("COMPARISON", "UNATTRIBUTED")}
    assert others == {"mn-ihp-2.0-track-2", "mn-ihp-2.0-track-2 (IHP-01)"}
    assert {c["contract"] for c in cells if c["partnership_id"] == "IHP-02"} == {
        "mn-ihp-2.0-track-2"
    }
    assert not any(
        c["target_cents"] for c in cells if c["partnership_id"] in ("COMPARISON", "UNATTRIBUTED")
    )
    state = defaultdict(set)
    for c in cells:
        state[c["contract"], c["year"], c["rate_cell"]].add(
            (c["state_member_months"], c["state_cost_cents"], c["norm"], c["state_risk_mean"])
        )
    assert all(len(values) == 1 for values in state.values()), "one state under one contract"


def test_payers_parts_follow_from_member_years(run_of: Callable[[str], Path]) -> None:
    """Months by payer stand with each member; by them the payment is split, to the cent."""
    folder = run_of("mn-ihp-2.0-track-2")
    settled = {row["partnership_id"]: row for row in rows_of(folder, "settlement")}
    weights: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for m in rows_of(folder, "member_years"):
        by_payer = dict(part.rsplit(" ", 1) for part in m["payer_months"].split("; ") if part)
        assert sum(map(int, by_payer.values())) == (
            sum(m[f"months_{cell}"] for cell in RATE_CELLS) if m["group_id"] else 0
        )
        if m["group_id"] in settled and m["year"] == settled[m["group_id"]]["performance_year"]:
            for payer, months in by_payer.items():
                weights[m["group_id"]][payer] += int(months)
    paid: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows_of(folder, "payments"):
        paid[row["partnership_id"]][row["payer"]] = row["payment_cents"]
    for partnership, row in settled.items():
        assert paid[partnership] == split(row["payment_cents"], weights[partnership])


def test_what_a_cap_takes_is_shown_by_rate_cell(run_of: Callable[[str], Path]) -> None:
    cells = rows_of(run_of("low-cap.toml"), "cells")
    order = contracts.load(run_of("low-cap.toml").parent / "low-cap.toml").at(2024).cost.cell_order
    assert order[:3] == ("newborn_managed", "newborn_ffs", "child_managed")
    assert set(order) == set(RATE_CELLS)
    taken = [c["paid_cents"] - c["cost_cents"] for c in cells]
    assert sum(taken) > 0
    assert sum(amount > 0 for amount in taken) > 20
