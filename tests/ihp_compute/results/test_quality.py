"""Tables of quality, made again from raw rows by sentences of the method page and plain Python.

A state with measures in place of scores: four measures in two domains, one of them better when
lower, small denominators, a year before. All partnerships share a contract but IHP-02, which has
weights and a given end of its own, and IHP-03, whose contract takes measures from claims.
"""

from __future__ import annotations

import csv
import math
import os
import random
import shutil
from collections.abc import Iterator
from fractions import Fraction
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute import contracts
from ihp_compute.errors import ContractError, MissingQualityError
from ihp_compute.ingest import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report.page import render
from ihp_compute.settlement import settle_table

HALF = "mn-ihp-2.0-track-2"
YEAR = 2024
DOMAINS = {
    "asthma": "clinical",
    "diabetes": "clinical",
    "bleeds": "clinical",
    "talks": "experience",
}
LOWER = {"bleeds", "ed_visits", "readmissions"}
FROM_CLAIMS = ("ed_visits", "readmissions", "follow_up", "well_child")
SET = f"""
[set]
name = "own"
[default]
contract = "{HALF}"
[partnerships.IHP-02.overrides]
"quality.domain_weight.clinical" = 3
"quality.domain_weight.experience" = 1
"quality.ceiling.asthma" = {{ value = 0.7, source = "amendment 1, p. 2" }}
[partnerships.IHP-03.overrides]
"quality.claims_measures" = ["ed_visits", "readmissions", "follow_up", "well_child"]
"""


def measures() -> Iterator[dict[str, Any]]:
    """Cases by chance, of a size by partnership and measure; some too few, some not there."""
    chance = random.Random(3)  # noqa: S311 - invented figures
    for p in range(1, 26):
        for name, domain in DOMAINS.items():
            if chance.random() < 0.1:
                continue
            level = chance.uniform(0.3, 0.9)
            for year in (YEAR - 1, YEAR):
                n = chance.choice((12, 29, 30, 44, 80, 210, 1500))
                rate = level if year == YEAR - 1 else level + chance.uniform(-0.1, 0.15)
                yield {
                    "partnership_id": f"IHP-{p:02}", "performance_year": year, "measure": name,
                    "domain": domain, "numerator": min(n, round(n * rate)), "denominator": n,
                    "higher_is_better": "" if name not in LOWER else "false",
                }  # fmt: skip


@pytest.fixture(scope="module")
def folder(raw_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("quality")
    raw = place / "raw"
    shutil.copytree(raw_state, raw, copy_function=os.link)
    for supplied in raw.glob("quality_*"):
        supplied.unlink()
    rows = list(measures())
    with (raw / "quality_measure.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    ingest(raw, place / "population", shards=2)
    (place / "own.toml").write_text(SET, encoding="utf-8")
    request = RunRequest(place / "population", (str(place / "own.toml"),), replicates=5)
    run(request, place / "run")
    return place / "run"


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return found


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Measures of the year by partnership and name; from claims, those of the outcomes."""
    found = {
        (row["partnership_id"], row["measure"]): row | {"source": "supplied"}
        for row in measures()
        if row["performance_year"] == YEAR
    }
    for row in rows_of(folder, "outcomes"):
        whose = row["scope"], row["dimension"], row["year"], row["measure"] in FROM_CLAIMS
        if whose == ("partnership", "all", YEAR, True) and row["scope_id"].startswith("IHP"):
            found[row["scope_id"], row["measure"]] = {
                "numerator": int(row["numerator"]), "denominator": row["denominator"],
                "domain": "claims", "source": "claims",
            }  # fmt: skip
    return found


def read_again(
    cases: dict[tuple[str, str], dict[str, Any]],
) -> dict[tuple[str, str], dict[str, Any]]:
    """Every row of `quality_measures` by the method page, exact."""
    before = {
        (row["partnership_id"], row["measure"]): Fraction(row["numerator"], row["denominator"])
        for row in measures()
        if row["performance_year"] == YEAR - 1 and row["denominator"] >= 30
    }
    ranks = {}
    for name in {measure for _, measure in cases}:
        rates = [
            Fraction(row["numerator"], row["denominator"])
            for (_, measure), row in cases.items()
            if measure == name and row["denominator"] >= 30
        ]
        rates.sort(reverse=name in LOWER)
        if rates:
            ranks[name] = [rates[max(1, math.ceil(len(rates) * p / 100)) - 1] for p in (30, 90)]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (p, name), row in cases.items():
        if row["source"] == "claims" and p != "IHP-03":
            continue
        counted = row["denominator"] >= 30
        made: dict[str, Any] = {"counted": counted, "domain": row["domain"], "points": Fraction(0)}
        if counted:
            low, high = ranks[name]
            if (p, name) == ("IHP-02", "asthma"):
                high = Fraction(7, 10)
            rate, sign = Fraction(row["numerator"], row["denominator"]), 1
            if name in LOWER:
                rate, low, high, sign = -rate, -low, -high, -1
            if low < high:
                made["attainment"] = max(Fraction(0), min(Fraction(1), (rate - low) / (high - low)))
            else:
                made["attainment"] = Fraction(rate >= high)
            prior = before.get((p, name))
            made["improvement"] = Fraction(0)
            if prior is not None and sign * prior < high:
                gone = (rate - sign * prior) / (high - sign * prior)
                made["improvement"] = max(Fraction(0), min(Fraction(1), gone))
            made["points"] = max(made["attainment"], made["improvement"])
            made |= {"floor": abs(low), "ceiling": abs(high), "prior_rate": prior or Fraction(0)}
        found[p, name] = made
    for (p, _), made in found.items():
        beside = [other for (q, _), other in found.items() if q == p and other["counted"]]
        weights = {"clinical": 3, "experience": 1} if p == "IHP-02" else {}
        domains = {other["domain"]: weights.get(other["domain"], 1) for other in beside}
        made["weight"] = Fraction(0)
        if made["counted"]:
            alike = sum(other["domain"] == made["domain"] for other in beside)
            made["weight"] = Fraction(domains[made["domain"]], sum(domains.values()) * alike)
    return found


def test_every_measure_is_what_the_page_makes_of_it(
    folder: Path, cases: dict[tuple[str, str], dict[str, Any]]
) -> None:
    again = read_again(cases)
    written = {
        (row["partnership_id"], row["measure"]): row for row in rows_of(folder, "quality_measures")
    }
    assert written.keys() == again.keys()
    for key, row in written.items():
        made = again[key]
        given = cases[key]
        assert row["source"] == given["source"]
        assert row["higher_is_better"] == (key[1] not in LOWER)
        assert (row["numerator"], row["denominator"]) == (given["numerator"], given["denominator"])
        assert (row["counted"], row["domain"]) == (made["counted"], made["domain"])
        for name in ("floor", "ceiling", "prior_rate", "attainment", "improvement", "points"):
            assert row[name] == float(made.get(name, 0)), (key, name)
        assert row["weight"] == float(made["weight"])


def test_the_state_has_every_kind_of_measure(folder: Path) -> None:
    """Else the test above would hold for less than it says."""
    rows = rows_of(folder, "quality_measures")
    assert any(row["improvement"] > row["attainment"] for row in rows)
    assert any(not row["higher_is_better"] and 0 < row["points"] < 1 for row in rows)
    assert any(row["flag"] == "small_denominator" for row in rows)
    assert any(row["flag"] == "" for row in rows)
    assert any(row["flag"] == "no_prior" for row in rows)
    assert {row["source"] for row in rows} == {"supplied", "claims"}


def test_scores_are_sums_of_points_and_settle(
    folder: Path, cases: dict[tuple[str, str], dict[str, Any]]
) -> None:
    again = read_again(cases)
    exact: dict[str, Fraction] = {}
    for (p, _), made in again.items():
        exact[p] = exact.get(p, Fraction(0)) + made["weight"] * made["points"]
    rows = {row["partnership_id"]: row for row in rows_of(folder, "quality")}
    assert rows.keys() == exact.keys()
    walk = {
        row["partnership_id"]: row["detail"]
        for row in rows_of(folder, "walk")
        if row["step"] == "quality"
    }
    for name, row in rows.items():
        score = round(exact[name] * 1_000_000)
        assert row["score"] == score / 1_000_000
        assert row["flag"] == ""
        assert f"score {score / 1_000_000:.6f}" in walk[name]


def test_the_error_is_the_sum_over_all_counts(folder: Path) -> None:
    """Of each measure that counts, over every count that its cases allow, one by one."""
    by_partnership: dict[str, float] = {}
    for row in rows_of(folder, "quality_measures"):
        n, k = row["denominator"], row["numerator"]
        if not row["counted"] or n > 300 or k in (0, n):
            continue
        points = [_points(row, i / n) for i in range(n + 1)]
        chances = [math.comb(n, i) * (k / n) ** i * (1 - k / n) ** (n - i) for i in range(n + 1)]
        mean = math.fsum(c * p for c, p in zip(chances, points, strict=True))
        squares = math.fsum(c * (p - mean) ** 2 for c, p in zip(chances, points, strict=True))
        name = row["partnership_id"]
        by_partnership[name] = by_partnership.get(name, 0.0) + row["weight"] ** 2 * squares
    large = {
        row["partnership_id"]
        for row in rows_of(folder, "quality_measures")
        if row["counted"] and row["denominator"] > 300
    }
    checked = 0
    for row in rows_of(folder, "quality"):
        if row["partnership_id"] in large:
            continue
        checked += 1
        error = math.sqrt(by_partnership.get(row["partnership_id"], 0.0))
        assert row["std_error"] == pytest.approx(error, rel=1e-9, abs=1e-12)
        assert row["low"] == pytest.approx(max(0.0, row["score"] - 1.959963984540054 * error))
        assert row["high"] == pytest.approx(min(1.0, row["score"] + 1.959963984540054 * error))
    assert checked >= 5


def _points(row: dict[str, Any], rate: float) -> float:
    low, high, prior = row["floor"], row["ceiling"], row["prior_rate"]
    if not row["higher_is_better"]:
        rate, low, high, prior = -rate, -low, -high, -prior
    attained = min(1.0, max(0.0, (rate - low) / (high - low))) if low < high else rate >= high
    if row["flag"] or prior >= high:
        return float(attained)
    return max(attained, min(1.0, max(0.0, (rate - prior) / (high - prior))))


def test_what_a_score_moved_is_the_payment_less_that_at_one(folder: Path) -> None:
    """Settled again from target and cost alone, at its score and at 1."""
    settled = rows_of(folder, "settlement")
    scores = {row["partnership_id"]: row for row in rows_of(folder, "quality")}

    def payments(score: str) -> list[int]:
        table = pa.table(
            {
                "partnership_id": [row["partnership_id"] for row in settled],
                "n_members": [row["n_members"] for row in settled],
                "performance_year": [YEAR] * len(settled),
                "target_usd": [row["target_cents"] / 100 for row in settled],
                "observed_usd": [row["observed_cents"] / 100 for row in settled],
                "quality_score": [
                    score or f"{scores[row['partnership_id']]['score']:.6f}" for row in settled
                ],
            }
        )
        found = settle_table(table, HALF).payment_cents
        return [int(cents) for cents in found]

    own, full = payments(""), payments("1")
    assert own == [row["payment_cents"] for row in settled]
    moved = {row["partnership_id"]: a - b for row, a, b in zip(settled, own, full, strict=True)}
    assert {name: row["share_cents"] for name, row in scores.items()} == moved
    assert min(moved.values()) < 0
    assert all(row["pbp_cents"] == 0 for row in scores.values())


def test_the_report_shows_points_errors_and_dollars(folder: Path) -> None:
    page = unescape(render(folder))
    assert 'id="quality-scores"' in page
    assert "claims-based, not certified" in page
    for row in rows_of(folder, "quality")[:3]:
        assert f"{row['score']:.4f}" in page
        assert f"{row['low']:.3f} to {row['high']:.3f}" in page
    assert "small denominator: fewer cases than the contract's least" in page


def test_a_contract_that_takes_nothing_that_counts_has_no_score(
    folder: Path, tmp_path: Path
) -> None:
    """Refused before claims are measured, or after, where a contract takes measures from them."""
    population = folder.parent / "population"
    for terms in (
        'quality.least_cases" = 1000000',
        'quality.claims_measures" = ["readmissions"]\n"quality.least_cases" = 1000000',
    ):
        (tmp_path / "few.toml").write_text(
            f'[set]\nname = "few"\n[default]\ncontract = "{HALF}"\n[default.overrides]\n"{terms}\n',
            encoding="utf-8",
        )
        request = RunRequest(population, (str(tmp_path / "few.toml"),), replicates=0)
        with pytest.raises(MissingQualityError, match="found no quality score of IHP-01"):
            run(request, tmp_path / "run")


def test_terms_of_a_set_are_terms_of_the_contract(folder: Path) -> None:
    """A named term that a set gives is its partnership's alone, with the source that is said."""
    found = contracts.load_set([folder.parent / "own.toml"], [f"IHP-{p:02}" for p in range(1, 26)])
    own = found.at(YEAR)["IHP-02"].value("quality.ceiling.asthma")
    assert (str(own.value), own.basis, own.source.at) == ("0.7", "supplied", "amendment 1, p. 2")
    assert "quality.ceiling.asthma" not in found.at(YEAR)["IHP-01"].values


def test_a_contract_that_takes_what_a_run_does_not_measure_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "child.toml").write_text(
        f'[set]\nname = "child"\n[default]\ncontract = "{HALF}"\n[default.overrides]\n'
        '"quality.claims_measures" = ["well_child"]\n',
        encoding="utf-8",
    )
    request = RunRequest(
        folder.parent / "population", (str(tmp_path / "child.toml"),), programme="none"
    )
    with pytest.raises(ContractError, match="found well_child, which the programme of this run"):
        run(request, tmp_path / "run")
