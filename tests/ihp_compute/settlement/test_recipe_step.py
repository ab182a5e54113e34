"""Adding a settlement step takes what ARCHITECTURE.md says: two modules and TOML, nothing else.

A copy of the packages gets a step `bonus`, a flat amount on top of a gain that is paid, by text put
in at the places that the recipe names. Another process settles with the copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

DECLARATION = """
    Step(
        "bonus",
        terms={"settlement.bonus.gain_usd": usd("paid on top of a gain")},
        after="share",
        moves=("bonus",),
        line="bonus",
    ),
"""
OPERATION = """
def _bonus(settlement: Settlement) -> None:
    bonus = settlement.usd("settlement.bonus.gain_usd")
    if bonus is not None:
        p, gain = settlement.program, settlement.amount["gain"]
        settlement.amount["gain"] = p.select(p.number(0) < gain, gain + bonus, gain)


def _bonus_line(outcome: Outcome) -> Line:
    path = "settlement.bonus.gain_usd"
    return Line(outcome.cents("bonus"), f"flat {text_of(outcome.agreement[path])}", (path,))


"""
ENTRY = """
    "bonus": Operation(_bonus, _bonus_line),
"""
NO_SUCH_RULE = """
[settlement.bonus]
gain_usd = { value = "none", unit = "USD", from = 2000-01-01, basis = "assumed", \
source = { doc = "practice", at = "unbound" } }
"""
ADDED = {
    "ihp_compute/contracts/steps.py": [("\n)\n\nSETTLEMENT_STEPS", DECLARATION)],
    "ihp_compute/settlement/steps.py": [
        ("\n@dataclass(frozen=True)\nclass Operation:", OPERATION),
        ('\n}\n"""What each step of', ENTRY),
    ],
    "ihp_compute/contracts/shipped/unbound.toml": [("\n[payers]", NO_SUCH_RULE)],
}
"""By file: what is put in, and the text before which it stands."""

CONTRACT = """
name = "with-bonus"
title = "A contract with a bonus"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A test"

[settlement.steps]
value = ["gate", "counting", "share", "quality", "withhold", "cap", "adjustments", "bonus"]
unit = "names"
from = 2018-01-01
basis = "contract"
source = { doc = "here", at = "steps" }

[settlement.bonus.gain_usd]
value = 1_250.50
unit = "USD"
from = 2018-01-01
basis = "contract"
source = { doc = "here", at = "p. 3" }
"""

SETTLING = """
import json, sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

import ihp_compute, kernels
from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import ContractError
from ihp_compute.settlement import exhibit, settle, steps
from ihp_compute.settlement.given import settle_table
from ihp_compute.uncertainty.totals import Totals, column_names

contract = contracts.load(Path("with-bonus.toml"))
given = pa.table({
    "partnership_id": ["gain", "loss"],
    "n_members": [12_000] * 2,
    "target_usd": [1_000_000] * 2,
    "observed_usd": [900_000, 1_100_000],
    "quality_score": [1, 1],
})
groups = ("P1", "COMPARISON", "UNATTRIBUTED")
values = np.zeros((len(groups), len(RATE_CELLS), 1, 6), np.int64)
values[:, 0, 0] = [1_000, 10**9, 1_000, 10**9, 10**8, 9 * 10**7]
totals = Totals(
    groups, column_names(1), values, np.array([100, 100, 100]), np.zeros((3, 1), np.int64)
)
(settled,) = settle(
    totals, contracts.ContractSet("test", {"P1": contract}), base_year=2021, performance_year=2021,
    quality={"P1": Decimal(1)},
)
rows = [{**vars(row), "position": i} for i, row in enumerate(settled.walk)]
try:
    contract.override({"settlement.steps": "gate;bonus;share"})
    refusal = ""
except ContractError as error:
    refusal = str(error)
json.dump({
    "packages": [ihp_compute.__file__, kernels.__file__],
    "given": settle_table(given, contract).table.to_pylist(),
    "plain": settle_table(given, "mn-ihp-2.0-track-2").table.to_pylist(),
    "payment_cents": settled.payment_cents,
    "walk": [vars(step) for step in steps(rows)],
    "shown": list(exhibit.lines(contract, contract.at(2021))),
    "refusal": refusal,
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the copy says after the step was added."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("ihp_compute", "kernels"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for name, additions in ADDED.items():
        path = folder / name
        text = path.read_text(encoding="utf-8")
        for before, added in additions:
            assert text.count(before) == 1, f"{name} has no one place before {before!r}"
            text = text.replace(before, added.rstrip("\n") + before)
        path.write_text(text, encoding="utf-8")
    (folder / "with-bonus.toml").write_text(CONTRACT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SETTLING],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(folder / "compiled"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(folder) for file in answer["packages"])
    return answer


def test_the_recipe_names_every_file_that_a_step_touches() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    recipe = text.split("### Add a settlement step\n")[1].split("\n#")[0]
    named = set(re.findall(r"`(ihp_compute/[\w/.-]+)`", recipe))
    assert named == set(ADDED)


def test_a_new_step_pays(found: dict[str, Any]) -> None:
    """Half of a gain and the bonus, half of a loss; nothing under a contract without the step."""
    gain, loss = found["given"]
    assert (gain["share_usd"], gain["bonus_usd"], gain["payment_usd"]) == (50_000, 1250.5, 51250.5)
    assert (loss["bonus_usd"], loss["payment_usd"]) == (0, -50_000)
    assert [(row["bonus_usd"], row["payment_usd"]) for row in found["plain"]] == [
        (0, 50_000),
        (0, -50_000),
    ]


def test_a_new_step_is_a_line_of_the_walk(found: dict[str, Any]) -> None:
    bonus, payment = found["walk"][-2:]
    assert (bonus["step"], bonus["amount_cents"]) == ("bonus", 125_050)
    assert (bonus["detail"], bonus["citation"]) == ("flat 1250.50", "here: p. 3")
    assert bonus["after_cents"] - bonus["before_cents"] == 125_050
    assert payment["amount_cents"] == bonus["after_cents"] == found["payment_cents"]


def test_a_new_step_is_shown_with_its_terms(found: dict[str, Any]) -> None:
    shown = "\n".join(found["shown"])
    part = shown.split("\nStep 8: bonus\n")[1].split("\n\n")[0]
    assert part.splitlines() == [
        "  settlement.bonus.gain_usd  (paid on top of a gain)",
        "    → 1250.50 USD, from 2018-01-01",
        "      contract: A test, p. 3",
    ]
    assert "· bonus $1,250.50 ·" in shown


def test_a_new_step_has_its_place(found: dict[str, Any]) -> None:
    assert "found bonus before share; expected it after" in found["refusal"]
