"""What other savings would pay, how draws of a payment lie, what the cap takes away."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report.payoffs import payoffs
from ihp_compute.report.rows import RowsOf
from ihp_compute.results import TABLES, result
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import settle_table

CONTRACT = "mn-ihp-2.0-track-2"


@pytest.fixture(scope="module")
def settled(small_population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose cap is low enough to take something from members of a small state."""
    folder = tmp_path_factory.mktemp("payoff")
    terms = folder / "capped.toml"
    terms.write_text(
        f'[set]\nname = "capped"\n[default]\ncontract = "{CONTRACT}"\n'
        '[default.overrides]\n"cost.claim_cap" = 20_000\n',
        encoding="utf-8",
    )
    request = RunRequest(small_population, (str(terms),), replicates=40, programme="none")
    return run(request, folder / "run", LocalRunner(1)).run_dir


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = result(folder, TABLES[name]).to_pylist()
    return rows


def test_a_gate_lies_between_two_costs_a_cent_apart(settled: Path) -> None:
    """The gate of this contract is 2 % of the target on either side."""
    targets = {row["partnership_id"]: row["target_cents"] for row in _rows(settled, "settlement")}
    n_gates: Counter[str] = Counter()
    for low, high in pairwise(_rows(settled, "corridor")):
        name = low["partnership_id"]
        if name == high["partnership_id"] and low["gate_passed"] != high["gate_passed"]:
            n_gates[name] += 1
            assert low["observed_cents"] - high["observed_cents"] == 1
            met = low if low["gate_passed"] else high
            assert abs(abs(met["savings_cents"]) - targets[name] * 0.02) <= 1
            assert met["payment_cents"] != 0
    assert set(n_gates.values()) == {2}
    assert n_gates.keys() == targets.keys()


def test_other_costs_pay_what_the_contract_pays_them(settled: Path) -> None:
    """As `ihp settle` has it of the same totals."""
    quality = {row["partnership_id"]: row["score"] for row in _rows(settled, "quality")}
    own = {row["partnership_id"]: row for row in _rows(settled, "settlement")}
    rows = [row for row in _rows(settled, "corridor") if row["partnership_id"] in quality][::7]
    given = pa.table(
        {
            "partnership_id": [row["partnership_id"] for row in rows],
            "n_members": [own[row["partnership_id"]]["n_members"] for row in rows],
            "target_usd": [f"{own[r['partnership_id']]['target_cents'] / 100:.2f}" for r in rows],
            "observed_usd": [f"{row['observed_cents'] / 100:.2f}" for row in rows],
            "quality_score": [str(quality[row["partnership_id"]]) for row in rows],
        }
    )
    paid = settle_table(given, CONTRACT).table["payment_usd"].to_pylist()
    assert [round(usd * 100) for usd in paid] == [row["payment_cents"] for row in rows]


def test_the_outer_parts_of_the_draws_are_the_ends_of_the_95_percent_interval(
    settled: Path,
) -> None:
    ends: dict[tuple[str, ...], tuple[float, float]] = {
        (row["scope"], row["partnership_id"], row["conditioning"], row["measure"]): (
            row["low"], row["high"],
        )
        for row in _rows(settled, "intervals")
        if row["method"] == "percentile" and row["level"] == 0.95
    }  # fmt: skip
    parts: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in _rows(settled, "distribution"):
        parts.setdefault((row["scope"], row["scope_id"], row["conditioning"]), []).append(row)
    assert parts
    for key, of in parts.items():
        assert [row["part"] for row in of] == list(range(1, 21))
        for measure in ("savings_cents", "payment_cents"):
            values = [row[measure] for row in of]
            assert values == sorted(values)
            assert (values[0], values[-1]) == ends[(*key, measure)]


def test_what_the_cap_took_away_is_the_members_costs_above_it(settled: Path) -> None:
    members = _rows(settled, "member_years")
    for row in _rows(settled, "caps"):
        own = [
            one
            for one in members
            if (one["group_id"], one["year"]) == (row["partnership_id"], row["year"])
        ]
        assert row["n_members"] == len(own)
        assert row["n_above_cap"] == sum(one["above_cap_r0_cents"] > 0 for one in own)
        assert row["above_cap_cents"] == sum(one["above_cap_r0_cents"] for one in own)
        assert (
            row["uncapped_cents"] + row["floored_cents"] - row["above_cap_cents"]
            == row["cost_cents"]
        )
    assert any(row["n_above_cap"] for row in _rows(settled, "caps"))


def test_chance_alone_pays_less_to_who_saves_nothing_than_the_draws_of_who_saves(
    settled: Path,
) -> None:
    saved = {
        row["partnership_id"] for row in _rows(settled, "settlement") if row["savings_rate"] > 0.05
    }
    rows = [
        row
        for row in _rows(settled, "chances")
        if row["conditioning"] == "target_fixed" and row["partnership_id"] in saved
    ]
    assert rows
    assert all(row["payment_without_effect_cents"] < row["mean_payment_cents"] for row in rows)


def test_a_chart_has_twenty_draws_of_savings_and_of_payments_and_says_what_they_are(
    settled: Path,
) -> None:
    charts = payoffs(RowsOf(settled))
    assert charts.keys() == {row["partnership_id"] for row in _rows(settled, "settlement")}
    for name, chart in charts.items():
        text = chart.__html__()
        assert text.count('class="draw ') == 40
        assert text.count("gate −2.00 %") + text.count("gate 2.00 %") == 2
        assert chart.description.startswith("Settled at "), name
        assert "of 20 equally likely draws" in chart.description
