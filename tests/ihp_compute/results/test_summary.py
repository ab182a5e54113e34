"""A programme in a few figures: each is made again from a run's tables, roster and totals."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.console import exit_code
from ihp_compute.errors import RunError, SummaryError
from ihp_compute.folders import MANIFEST, SEAL, write_manifest
from ihp_compute.ingest.passes import ingest
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report import numbers, write_summary
from ihp_compute.results import OpenForm, kept_terms, open_form, summarise
from ihp_compute.results.summary import Figure, Summary
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement import settle
from ihp_compute.synth.state import synth
from ihp_compute.uncertainty import read_totals

CONTRACT = "mn-ihp-2.0-track-2"
REPLICATES = 60
MONEY = ("savings_cents", "shared_cents", "owed_cents", "kept_cents")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state a year before, of a part of the same people's ids."""
    folder = tmp_path_factory.mktemp("earlier")
    synth(2300, 11, folder / "raw", base_year=2022, performance_year=2023)
    ingest(folder / "raw", folder / "population", shards=3)
    return folder / "population"


@pytest.fixture(scope="module")
def runs(
    small_population: Path, earlier: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """2023 and 2024."""
    folder = tmp_path_factory.mktemp("years")
    return _run(earlier, folder / "2023"), _run(small_population, folder / "2024")


@pytest.fixture(scope="module")
def forms(
    runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[Path, OpenForm]:
    """Copies of the runs, of which everybody sees what their open forms show."""
    place = tmp_path_factory.mktemp("shown")
    folders = [Path(shutil.copytree(one, place / one.name)) for one in runs]
    return {folder: open_form(folder) for folder in folders}


def _run(population: Path, out: Path, **asked: Any) -> Path:
    request = RunRequest(population, (CONTRACT,), **{"replicates": REPLICATES, **asked})
    return run(request, out, LocalRunner(1)).run_dir


def _of(summary: Summary, year: int | None) -> dict[str, Figure]:
    return {one.figure: one for one in summary.figures if one.year == year}


def _manifest(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return held


def _placed(folder: Path) -> dict[str, int]:
    """The figure of the roster's places, where it states any."""
    known = _manifest(folder)["provider_locations"]
    return {} if known is None else {"provider_locations": known}


def _drawn(folder: Path) -> list[np.ndarray]:
    """Savings and payments by partnership and replicate, settled from the kept totals."""
    manifest, terms = _manifest(folder), kept_terms.read(folder)
    settled = settle(
        read_totals(folder / "totals.arrow"), terms.contracts, base_year=manifest["base_year"],
        performance_year=manifest["performance_year"], quality=terms.quality,
    )  # fmt: skip
    draws = [one.draws["target_resampled"] for one in settled]
    return [
        np.stack([one.savings_cents for one in draws]),
        np.stack([one.payment_cents for one in draws]),
    ]


def _ends(values: np.ndarray) -> tuple[int, int]:
    """The k-th smallest of the draws, k = max(1, ceil(p B)), for p = 0.025 and 0.975."""
    inorder = sorted(values[1:].tolist())
    places = (max(1, -(-len(inorder) * p // 1000)) for p in (25, 975))
    low, high = (inorder[k - 1] for k in places)
    return low, high


def _kept(folder: Path) -> np.ndarray:
    savings, payments = _drawn(folder)
    return (savings - payments).sum(axis=0)


def test_figures_of_a_year_are_sums_of_its_settlements(runs: tuple[Path, Path]) -> None:
    found = summarise(runs)
    for folder, year in zip(runs, (2023, 2024), strict=True):
        rows = pq.read_table(folder / "settlement.parquet").to_pylist()
        paid = [row["payment_cents"] for row in rows]
        saved = sum(row["savings_cents"] for row in rows)
        assert {name: one.value for name, one in _of(found, year).items()} == {
            "people_served": sum(row["n_members"] for row in rows),
            "partnerships": len(rows),
            "practitioners": _manifest(folder)["practitioners"],
            **_placed(folder),
            "savings_cents": saved,
            "shared_cents": sum(cents for cents in paid if cents > 0),
            "owed_cents": -sum(cents for cents in paid if cents < 0),
            "kept_cents": saved - sum(paid),
        }
        assert min(paid) < 0 < max(paid)


def test_practitioners_and_places_are_counted_on_the_roster_of_the_raw_tables(
    raw_state: Path, runs: tuple[Path, Path]
) -> None:
    last = date(2024, 12, 31)

    def day(value: Any, blank: date) -> date:
        return value if isinstance(value, date) else date.fromisoformat(value) if value else blank

    valid = [
        row
        for row in pq.read_table(raw_state / "provider_roster.parquet").to_pylist()
        if row["partnership_id"] != "COMPARISON"
        and day(row["start_date"], date.min) <= last <= day(row["end_date"], date.max)
    ]
    found = _of(summarise(runs[1:]), 2024)
    for figure, column in (("practitioners", "npi"), ("provider_locations", "location_id")):
        assert found[figure].value == len({row[column] for row in valid} - {""}) > 10


@pytest.mark.parametrize(
    ("n_locations", "without", "note"),
    [
        (12, 0, None), (12, 1, "1 entry of the roster"), (0, 30, "30 entries of the roster"),
        (None, 30, "states no location_id"),
    ],
)  # fmt: skip
def test_places_of_the_roster_are_a_figure_where_it_states_them(
    runs: tuple[Path, Path], tmp_path: Path, n_locations: int | None, without: int, note: str | None
) -> None:
    folder = Path(shutil.copytree(runs[1], tmp_path / "run"))
    said = {k: v for k, v in _manifest(folder).items() if k != SEAL}
    write_manifest(
        folder,
        said | {"provider_locations": n_locations, "entries_without_location": without},
    )
    found = summarise([folder])
    figure = _of(found, 2024).get("provider_locations")
    assert (None if figure is None else figure.value) == n_locations
    notes = [text for text in found.notes if "location_id" in text]
    assert (not notes) if note is None else (note in notes[0])
    page = write_summary(found, tmp_path / "page.html").read_text()
    shown = "\N{EN DASH}" if n_locations is None else str(n_locations)
    assert f"<dt>Provider locations, 2024</dt><dd>{shown}<small>" in page


def test_the_interval_of_savings_is_that_of_the_state(runs: tuple[Path, Path]) -> None:
    found = summarise(runs)
    for folder, year in zip(runs, (2023, 2024), strict=True):
        (row,) = (
            row
            for row in pq.read_table(folder / "intervals.parquet").to_pylist()
            if (row["scope"], row["measure"], row["method"], row["conditioning"], row["level"])
            == ("state", "savings_cents", "percentile", "target_resampled", 0.95)
        )
        figure = _of(found, year)["savings_cents"]
        assert (figure.low, figure.high) == (row["low"], row["high"])


def test_what_is_kept_is_drawn_together_and_not_a_difference_of_ends(
    runs: tuple[Path, Path],
) -> None:
    found = _of(summarise(runs), 2024)
    savings, payments = _drawn(runs[1])
    shared = np.maximum(payments, 0).sum(axis=0)
    owed = np.maximum(-payments, 0).sum(axis=0)
    for name, draws in zip(MONEY, (savings.sum(axis=0), shared, owed, _kept(runs[1])), strict=True):
        assert (found[name].low, found[name].high) == _ends(draws), name
    kept, saved, paid = (found[name] for name in ("kept_cents", "savings_cents", "shared_cents"))
    assert (kept.low or 0) > (saved.low or 0) - (paid.high or 0)


def test_years_add_up_replicate_by_replicate(runs: tuple[Path, Path]) -> None:
    found = summarise(runs)
    over_all = _of(found, None)
    assert list(over_all) == list(MONEY)
    for name in MONEY:
        years = [_of(found, year)[name].value for year in (2023, 2024)]
        assert over_all[name].value == sum(value or 0 for value in years)
    kept = over_all["kept_cents"]
    assert (kept.low, kept.high) == _ends(_kept(runs[0]) + _kept(runs[1]))
    assert summarise(runs[::-1]).figures == found.figures
    alone = summarise(runs[1:])
    for name in MONEY:
        one, same = _of(alone, None)[name], _of(alone, 2024)[name]
        assert (one.value, one.low, one.high) == (same.value, same.low, same.high)


def test_years_that_are_not_drawn_together_have_no_interval_of_their_sum(
    runs: tuple[Path, Path], earlier: Path, tmp_path: Path
) -> None:
    for asked in ({"seed": 5}, {"replicates": REPLICATES - 1}):
        other = _run(earlier, tmp_path / "-".join(asked), **asked)
        found = summarise([other, runs[1]])
        assert all(one.low is None is one.high for one in found.over_all)
        assert _of(found, 2023)["kept_cents"].low is not None
        assert [one.value for one in found.over_all] == [
            one.value for one in summarise(runs).over_all
        ]
        assert any("sums over years have no interval" in note for note in found.notes)


def test_a_run_without_replicates_has_figures_and_no_interval(
    earlier: Path, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    found = summarise([_run(earlier, tmp_path / "run", replicates=0)])
    assert [(one.figure, one.value) for one in found.figures] == [
        (one.figure, one.value) for one in summarise(runs[:1]).figures
    ]
    assert all(one.low is None is one.high for one in found.figures)
    assert [text for text in found.notes[1:] if "location_id" not in text] == [
        "2023 has no intervals: its run has no replicates."
    ]


def test_contracts_that_see_other_claims_are_settled_each_by_its_own(
    small_population: Path, tmp_path: Path
) -> None:
    """One run of three measurements, not final: that is said too."""
    text = (
        f'[set]\nname = "several"\n[default]\ncontract = "{CONTRACT}"\n[default.overrides]\n'
        '"completion.method" = "equal_runout"\n[partnerships.IHP-02.overrides]\n'
        '"completion.method" = "computed"\n[partnerships.IHP-03.overrides]\n'
        '"completion.method" = "given"\n"observed.completion" = 0.9\n'
    )
    (tmp_path / "set.toml").write_text(text)
    request = RunRequest(
        small_population, (str(tmp_path / "set.toml"),), replicates=9,
        paid_through=date(2024, 12, 31),
    )  # fmt: skip
    folder = run(request, tmp_path / "run", LocalRunner(1)).run_dir
    assert len(_manifest(folder)["completion"]["measurements"]) == 3
    summary = summarise([folder])
    rows = pq.read_table(folder / "settlement.parquet").to_pylist()
    found = _of(summary, 2024)
    assert found["savings_cents"].value == sum(row["savings_cents"] for row in rows)
    paid = sum(row["payment_cents"] for row in rows)
    assert found["kept_cents"].value == (found["savings_cents"].value or 0) - paid
    assert any("INTERIM" in note for note in summary.notes)


def test_several_populations_are_said(runs: tuple[Path, Path]) -> None:
    assert "2 populations" in " ".join(summarise(runs).notes)
    whole, *others = [text for text in summarise(runs[1:]).notes if "location_id" not in text]
    assert whole.startswith("Whole: counts of 1 to 10 people are shown")
    assert others == []


def test_years_without_a_partnership_in_common_are_said(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    synth(2300, 11, raw, base_year=2022, performance_year=2023)
    for name in ("provider_roster", "quality_score", "quality_measure"):
        table = pq.read_table(raw / f"{name}.parquet")
        place = table.column_names.index("partnership_id")
        others = [p if p == "COMPARISON" else f"OTHER-{p}" for p in table.column(place).to_pylist()]
        field = table.schema.field(place)
        pq.write_table(table.set_column(place, field, [others]), raw / f"{name}.parquet")
    ingest(raw, tmp_path / "population", shards=3)
    other = _run(tmp_path / "population", tmp_path / "run", replicates=0)
    said = "2023 and 2024 have no partnership in common."
    assert said in summarise([other, runs[1]]).notes
    assert said not in summarise(runs).notes


def test_use_of_care_is_that_of_all_partnerships(runs: tuple[Path, Path]) -> None:
    found = {one.measure: one for one in summarise(runs[1:]).years[0].use}
    sums: dict[int, dict[str, int]] = {2023: {}, 2024: {}}
    for row in pq.read_table(runs[1] / "utilisation.parquet").to_pylist():
        if row["group_id"] not in ("COMPARISON", "UNATTRIBUTED"):
            for name in ("ed_visits", "stays", "readmissions", "index_stays", "member_months"):
                sums[row["year"]][name] = sums[row["year"]].get(name, 0) + row[name]
    for measure, events in (("ed_visits_per_1000", "ed_visits"), ("stays_per_1000", "stays")):
        before, after = (12_000 * of[events] / of["member_months"] for of in sums.values())
        one = found[measure]
        assert (one.base_rate, one.rate) == pytest.approx((before, after))
        assert one.change == pytest.approx(after / before - 1)
    of = sums[2024]
    assert found["readmission_rate"].rate == pytest.approx(of["readmissions"] / of["index_stays"])


def test_changes_of_use_against_the_comparator_have_an_interval(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """Those of the table, at the state's mix of risk, of all partnerships together."""
    (year,) = summarise(runs[1:]).years
    told = {
        row["measure"]: row
        for row in pq.read_table(runs[1] / "outcome_changes.parquet").to_pylist()
        if (row["scope"], row["dimension"], row["basis"]) == ("attributed", "all", "standardised")
    }
    page = write_summary(summarise(runs[1:]), tmp_path / "page.html").read_text()
    shown = 0
    for one, events in zip(year.use, ("ed_visits", "stays", "readmissions"), strict=True):
        found = (one.comparator_change, one.relative_change, one.low, one.high)
        row = told[events]
        assert one.comparator == row["comparator"] == "comparison"
        names = ("comparator_change", "relative_change", "low", "high")
        assert found == tuple(row[name] for name in names)
        assert row["low"] < row["relative_change"] < row["high"]
        ends = [numbers.percent(row[name], places=1, plus=True) for name in ("low", "high")]
        assert " to ".join(ends) in page
        shown += 1
    assert shown >= 2


def test_a_run_without_a_programme_has_no_change_against_anybody(
    small_population: Path, tmp_path: Path
) -> None:
    folder = _run(small_population, tmp_path / "run", replicates=0, programme="none")
    use = summarise([folder]).years[0].use
    assert [one.relative_change for one in use] == [None, None, None]
    assert use[0].change is not None
    assert "no interval" in write_summary(summarise([folder]), tmp_path / "page.html").read_text()


def test_a_change_against_few_people_is_held_back(
    forms: dict[Path, OpenForm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison's people with an emergency visit in a year are taken for few."""
    runs = list(forms)
    whole = {one.measure: one for one in summarise(runs[1:], forms).years[0].use}
    behind = {
        row["n_with"]
        for row in pq.read_table(runs[1] / "outcomes.parquet").to_pylist()
        if (row["scope_id"], row["dimension"], row["measure"]) == ("COMPARISON", "all", "ed_visits")
    }
    monkeypatch.setattr("ihp_compute.results.summary.is_small", lambda n: n in behind)
    assert all(one.relative_change for one in summarise(runs[1:]).years[0].use)
    held = {one.measure: one for one in summarise(runs[1:], forms).years[0].use}
    assert held["ed_visits_per_1000"].relative_change is None
    assert held["ed_visits_per_1000"].change == whole["ed_visits_per_1000"].change
    assert held["stays_per_1000"] == whole["stays_per_1000"]


def test_two_runs_of_one_year_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    again = Path(shutil.copytree(runs[1], tmp_path / "again"))
    for folders in ((runs[1], runs[1]), (runs[0], runs[1], again)):
        with pytest.raises(SummaryError, match="performance year 2024, which") as refused:
            summarise(folders)
        assert exit_code(refused.value) == 2
    with pytest.raises(SummaryError, match="no run is given"):
        summarise([])


def _edit_manifest(folder: Path) -> None:
    write_as_is = {**_manifest(folder), "practitioners": 7_777}
    (folder / MANIFEST).write_text(json.dumps(write_as_is))


def _edit_settlement(folder: Path) -> None:
    path = folder / "settlement.parquet"
    table = pq.read_table(path)
    cents = table.column("payment_cents").to_numpy() + 1
    place = table.column_names.index("payment_cents")
    pq.write_table(table.set_column(place, table.schema.field(place), [cents]), path)


def _forget_practitioners(folder: Path) -> None:
    said = {k: v for k, v in _manifest(folder).items() if k not in ("practitioners", SEAL)}
    write_manifest(folder, said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit_manifest, "is not what was written"),
        (_edit_settlement, "settlement: another digest"),
        (_forget_practitioners, "how many practitioners"),
        (lambda folder: (folder / "totals.arrow").unlink(), "cannot be read back"),
        (lambda folder: (folder / MANIFEST).unlink(), "not a finished run"),
    ],
)
def test_an_unfinished_or_changed_run_is_refused(
    runs: tuple[Path, Path], tmp_path: Path, change: Any, message: str
) -> None:
    folder = Path(shutil.copytree(runs[1], tmp_path / "run"))
    change(folder)
    with pytest.raises(RunError, match=message):
        summarise([runs[0], folder])


def test_a_year_of_a_few_people_shows_no_dollars_and_no_sum_over_years_does(
    forms: dict[Path, OpenForm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = list(forms)
    whole = summarise(runs)
    people = _of(whole, 2023)["people_served"].value
    monkeypatch.setattr("ihp_compute.results.summary.is_small", lambda n: n == people)
    assert people != _of(whole, 2024)["people_served"].value
    assert _of(summarise(runs), 2023) == _of(whole, 2023)
    found = summarise(runs, forms)
    of_2023 = _of(found, 2023)
    assert [name for name, one in of_2023.items() if one.value is not None] == [
        "partnerships",
        "practitioners",
        *_placed(runs[0]),
    ]
    assert all(one.value is one.low is one.high is None for one in found.over_all)
    assert _of(found, 2024) == _of(whole, 2024)
    page = write_summary(found, tmp_path / "page.html").read_text()
    shown = write_summary(whole, tmp_path / "whole.html").read_text()
    for name in MONEY:
        for figure in (_of(whole, 2023)[name], _of(whole, None)[name]):
            words = f"${abs(round((figure.value or 0) / 100)):,}"
            assert words in shown
            assert words not in page


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_stands_alone_and_says_what_it_does_not_show(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    found = summarise(runs)
    page = write_summary(found, tmp_path / "summary.html").read_text(encoding="utf-8")
    tags = _Tags(page).seen
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags}
    refs = [a[k] or "" for _, a in tags for k in ("href", "src") if k in a]
    assert all(ref.startswith("#") for ref in refs)
    assert "url(" not in page
    for tag in ("main", "table", "tr", "td", "th", "dl", "div", "p", "ul", "svg", "figure"):
        assert page.count(f"</{tag}>") == len(re.findall(rf"<{tag}[ >]", page)), tag
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert len([a for tag, a in tags if tag == "rect" and a.get("class") in ("up", "down")]) == 2
    words = re.sub(r"\s+", " ", page)
    for said in (
        "no control group",
        "No count is held back",
        "UNREVIEWED",
        "2 populations",
        "Crude",
    ):
        assert said in words, said
    saved = _of(found, None)["savings_cents"].value or 0
    assert f"${abs(round(saved / 100)):,}" in page
    for folder in runs:
        assert _manifest(folder)["digest"] in page


def test_the_command_prints_a_document_and_writes_the_page(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out, given = tmp_path / "summary.html", [str(folder) for folder in runs]
    made = CliRunner().invoke(app, ["summary", *given, "--out", str(out), "--json"])
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    assert document.pop("out") == str(out)
    assert document == json.loads(json.dumps(summarise(runs).document()))
    assert [tuple(one) for one in document["figures"]] == [
        ("figure", "year", "value", "unit", "low", "high")
    ] * 20
    assert out.is_file()
    again = CliRunner().invoke(app, ["summary", *given, "--out", str(out)])
    assert "is there already" in str(again.exception)
    told = CliRunner().invoke(app, ["summary", *given])
    assert told.exit_code == 0
    assert "kept" in told.stdout
