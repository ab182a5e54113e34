"""The report's rate cells reproduce the ratios of the walks, and show no cell of few people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ihp_compute.report.numbers import DASH
from ihp_compute.report.rate_cells import rate_cells_of


@pytest.fixture(scope="module")
def folder(small_run: Path) -> Path:
    return small_run


def _number(text: str) -> int:
    return int(text.replace("$", "").replace(",", ""))


def _rows(folder: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return found


def test_what_is_shown_adds_up_to_the_settlement(folder: Path) -> None:
    shown = rate_cells_of(folder)
    for row in _rows(folder, "settlement"):
        *cells, whole = shown[row["partnership_id"]]
        assert whole["name"] == "all"
        assert sum(_number(cell["months"]) for cell in cells) == row["member_months"]
        assert _number(whole["months"]) == row["member_months"]
        assert _number(whole["after"]) == round(row["target_cents"] / 100)
        assert float(whole["ratio"]) == pytest.approx(row["risk_ratio"], abs=6e-5)


def test_the_ratio_of_a_rate_cell_follows_from_the_means_beside_it(folder: Path) -> None:
    followed = 0
    for cells in rate_cells_of(folder).values():
        for cell in cells[:-1]:
            own, state, norm = cell["means"]
            if " to " not in own or cell["ratio"] == DASH:  # pooled; of no dollars
                continue
            assert norm == state  # the norm is the state's mean of the rate cell
            (own_base, own_now), (base, now) = own.split(" to "), norm.split(" to ")
            if DASH not in (own_base, own_now):
                followed += 1
                ratio = float(own_now) / float(now) / (float(own_base) / float(base))
                assert float(cell["ratio"]) == pytest.approx(ratio, rel=5e-4)
    assert followed > 10


def test_no_rate_cell_with_few_people_stands_alone(folder: Path) -> None:
    people: dict[tuple[str, str], list[int]] = {}
    for row in _rows(folder, "cells"):
        name = row["partnership_id"], row["rate_cell"].replace("_", " ")
        people.setdefault(name, []).append(row["n_members"])
    small = {name for name, counts in people.items() if any(1 <= n <= 10 for n in counts)}
    assert small
    for partnership, cells in rate_cells_of(folder).items():
        assert not small & {(partnership, cell["name"]) for cell in cells}


def test_on_paper_a_source_is_written_once_and_no_walk_is_drawn_again(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    start = page.index('<ol class="sources')
    sources = re.findall("<li>(.*?)</li>", page[start : page.index("</ol>", start)])
    assert len(sources) == len(set(sources)) > 5
    walks = page[page.index('<section class="statement"') : page.index('id="attribution"')]
    cited = re.findall(
        r'<span class="cited">(.*?)</span><span class="place" aria-hidden="true">(\d+)', walks
    )
    assert len(cited) > 100
    assert all(sources[int(place) - 1] == text for text, place in cited)
    paper = page[page.index("@page") : page.index("</style>")]
    assert ".statement .halves, .cited" in paper
