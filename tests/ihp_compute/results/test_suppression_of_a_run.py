"""The open form of a run, attacked: by totals, siblings, rates, two tables, two runs, a sweep.

The attacker reads the open tables alone, knows how rows add up, and solves for what is null; the
stored tables say afterwards whether a small count was recovered. None of this is the engine's own.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.errors import DataError, RunError
from ihp_compute.measure.utilisation import USE_MEASURES
from ihp_compute.pipeline import RunRequest, run
from ihp_compute.report import write_report
from ihp_compute.results import (
    TABLES,
    has_open_form,
    open_form,
    summarise,
    verify_run,
    was_shown,
)
from ihp_compute.results.suppression.cells import Key
from ihp_compute.results.suppression.open_tables import without_prior
from ihp_compute.runner import LocalRunner
from ihp_compute.sweeps import SWEEP, grid_of, shown_to_all, sweep, verify_sweep, write

CONTRACT = "mn-ihp-2.0-track-2"
OTHERS = (COMPARISON, UNATTRIBUTED)
SUMS = ("attributed", "programme", "track")
Unknown = tuple[Any, ...]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(shown_run: Path) -> Path:
    return shown_run


@pytest.fixture(scope="module")
def opened(folder: Path) -> dict[str, Rows]:
    form = open_form(folder)
    return {name: form.table(name).to_pylist() for name in form.tables}


@pytest.fixture(scope="module")
def stored(folder: Path) -> dict[str, Rows]:
    return {
        name: pq.read_table(folder / f"{name}.parquet").to_pylist()
        for name in TABLES
        if name != "member_years"
    }


class Attack:
    """Equations over counts; those that are shown are numbers, the others unknown."""

    def __init__(self) -> None:
        self.known: dict[Unknown, Fraction] = {}
        self.rows: list[dict[Unknown, Fraction]] = []

    def sees(self, what: Unknown, value: Any) -> None:
        if value is not None:
            self.known[what] = Fraction(value)

    def adds_up(self, total: Unknown, parts: Iterable[Unknown]) -> None:
        self.rows.append({total: Fraction(1), **dict.fromkeys(parts, Fraction(-1))})

    def solved(self) -> dict[Unknown, float]:
        """Unknowns that follow: those of whose unit vector the equations are a combination.

        By projection on the span of the equations, a part that hangs together at a time.
        """
        place: dict[Unknown, int] = {}
        entries, right = [], []
        for i, row in enumerate(self.rows):
            right.append(-float(sum(v * self.known[k] for k, v in row.items() if k in self.known)))
            for k, v in row.items():
                if k not in self.known:
                    entries.append((i, place.setdefault(k, len(place)), float(v)))
        n, m = len(self.rows), len(place)
        at, column, value = (np.array(x) for x in zip(*entries, strict=True))
        matrix = csr_array((value, (at, column)), shape=(n, m))
        joined = coo_array((np.ones(len(at)), (at, n + column)), shape=(n + m, n + m))
        _, label = connected_components(joined, directed=False)
        names, found = list(place), {}
        for part in np.unique(label[n:]):
            rows, cells = np.flatnonzero(label[:n] == part), np.flatnonzero(label[n:] == part)
            dense = matrix[rows][:, cells].toarray()
            inverse = np.linalg.pinv(dense @ dense.T, rcond=1e-10, hermitian=True)
            within = np.einsum("ij,ij->j", dense, inverse @ dense)
            values = dense.T @ (inverse @ np.array(right)[rows])
            for j in np.flatnonzero(within > 1 - 1e-6):
                found[names[cells[j]]] = values[j]
        return found


def attack(tables: Mapping[str, Rows], measure: str | None, count: str) -> Attack:
    """What a reader makes of the outcomes of one measure, or of people where it is None."""
    found = Attack()
    cells: dict[tuple[Any, ...], set[tuple[str, str]]] = defaultdict(set)
    strata: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for row in tables["outcomes"]:
        if measure is not None and row["measure"] != measure:
            continue
        at = row["scope"], row["scope_id"], row["dimension"], row["stratum"], row["year"]
        found.sees(at, row[count])
        cells[at[2:]].add(at[:2])
        strata[at[0], at[1], at[2], at[4]].add(at[3])
        if row[count] is None and row["rate"] is not None and row["denominator"]:
            found.sees(at, round(row["rate"] * row["denominator"]))  # a rate times its denominator
    for table, scope in (("settlement_state", "scope"), ("utilisation", "")):
        for row in tables[table] if measure is None else ():
            year = row.get("year", max(r["year"] for r in tables["outcomes"]))
            who = (row[scope], row["scope_id"]) if scope else ("partnership", row["group_id"])
            if who[0] != "state":
                found.sees((*who, "all", "all", year), row["n_members"])
    for (scope, scope_id, dimension, year), of in strata.items():
        if dimension not in ("all", "intervention"):
            parts = [(scope, scope_id, dimension, s, year) for s in sorted(of)]
            found.adds_up((scope, scope_id, "all", "all", year), parts)
    for at, whose in cells.items():
        groups = sorted(w for w in whose if w[0] == "partnership")
        own = [(*w, *at) for w in groups if w[1] not in OTHERS]
        for whole in sorted(w for w in whose if w[0] in SUMS):
            found.adds_up((*whole, *at), own)  # one contract: programme and track are all
        if ("state", "state") in whose:
            found.adds_up(("state", "state", *at), [(*w, *at) for w in groups])
    if measure is None:
        _steps(tables, found)
    return found


def _steps(tables: Mapping[str, Rows], found: Attack) -> None:
    by: dict[tuple[str, int], list[Unknown]] = defaultdict(list)
    moves: dict[str, dict[str, list[Unknown]]] = defaultdict(lambda: defaultdict(list))
    years = sorted({row["year"] for row in tables["attribution"]})
    for row in tables["attribution"]:
        group, year = row["partnership_id"], row["year"]
        at = ("step", group, row["step"], year)
        found.sees(at, row["members"])
        by[group, year].append(at)
        for name in ("gained", "lost", "moved_in", "moved_out"):
            found.sees((*at, name), row[name])
            moves[group][name].append((*at, name))
    for (group, year), parts in by.items():
        found.adds_up(("partnership", group, "all", "all", year), parts)
    for group, of in moves.items():
        now, before = (("partnership", group, "all", "all", year) for year in reversed(years))
        sums: dict[Unknown, Fraction] = {now: Fraction(1), before: Fraction(-1)}
        sums |= dict.fromkeys([*of["gained"], *of["moved_in"]], Fraction(-1))
        sums |= dict.fromkeys([*of["lost"], *of["moved_out"]], Fraction(1))
        found.rows.append(sums)


def truth(stored: Mapping[str, Rows], measure: str | None, count: str) -> dict[Unknown, int]:
    found: dict[Unknown, int] = {}
    for row in stored["outcomes"]:
        if measure is None or row["measure"] == measure:
            found[_of(row)] = row[count]
    if measure is None:
        for row in stored["attribution"]:
            at: Unknown = ("step", row["partnership_id"], row["step"], row["year"])
            found[at] = row["members"]
            for name in ("gained", "lost", "moved_in", "moved_out"):
                found[*at, name] = row[name]
    return found


def _of(row: Mapping[str, Any]) -> Unknown:
    return row["scope"], row["scope_id"], row["dimension"], row["stratum"], row["year"]


def small_ones(solved: Mapping[Unknown, float], true: Mapping[Unknown, int]) -> list[Unknown]:
    return [k for k in solved if 1 <= true.get(k, 0) <= 10]


@pytest.mark.parametrize(
    ("measure", "count"),
    [
        (None, "n_members"),
        ("stays", "n_with"),
        ("cost", "n_with"),
        ("readmissions", "denominator"),
    ],
)
def test_no_small_count_is_recovered(
    opened: dict[str, Rows], stored: dict[str, Rows], measure: str | None, count: str
) -> None:
    true = truth(stored, measure, count)
    found = attack(opened, measure, count)
    assert not [k for k, v in found.known.items() if 1 <= true.get(k, 0) <= 10 and v == true[k]]
    solved = found.solved()
    assert all(abs(v - true[k]) < 1e-3 for k, v in solved.items() if k in true)
    assert not small_ones(solved, true)


def test_the_attack_recovers_what_hiding_small_rows_alone_leaves(stored: dict[str, Rows]) -> None:
    naive = dict(stored)
    naive["outcomes"] = [
        row | ({"n_members": None} if 1 <= row["n_members"] <= 10 else {})
        for row in stored["outcomes"]
    ]
    naive["attribution"] = [
        {k: None if k in MOVED and 1 <= v <= 10 else v for k, v in row.items()}
        for row in stored["attribution"]
    ]
    for table in ("settlement_state", "utilisation"):
        naive[table] = [
            row | ({"n_members": None} if 1 <= row["n_members"] <= 10 else {})
            for row in stored[table]
        ]
    true = truth(stored, None, "n_members")
    assert len(small_ones(attack(naive, None, "n_members").solved(), true)) > 5


OF_ONE_YEAR = ("tci", "rui", "price_index")
MOVED = ("members", "ties", "gained", "lost", "moved_in", "moved_out")


def test_every_table_of_a_run_says_who_stands_behind_its_rows() -> None:
    closed = [name for name, table in TABLES.items() if not has_open_form(table)]
    assert closed == ["member_years", "paid_ahead"]
    for table in TABLES.values():
        for kind in table.behind:
            columns = {c.column for c in kind.counts if not c.column.endswith("_people")}
            assert columns <= set(table.names)
            assert {name for c in kind.counts for name in c.falls} <= set(table.names)


def test_measures_that_fall_with_others_are_counted_where_it_is_declared() -> None:
    """A name that no table counts would bind nothing."""
    counted = {
        name.removeprefix("=")
        for table in TABLES.values()
        for kind in table.behind
        for name in (*kind.rests_on, *(one.measure for one in kind.counts))
    } | set(USE_MEASURES)
    for table in TABLES.values():
        for kind in table.behind:
            bound = {*kind.after, *kind.within, *kind.within.values(), *kind.with_people}
            bound |= {m for others in kind.after.values() for m in others} | {*kind.of_measures}
            assert bound <= counted, table.name


def test_a_hidden_row_keeps_its_keys_and_nothing_else(
    opened: dict[str, Rows], stored: dict[str, Rows]
) -> None:
    """Whoever has 1 to 10 people has no value; what is shown is what is stored."""
    for name in ("settlement", "outcomes", "exclusions", "settlement_state", "cost_index"):
        keys, values = (
            TABLES[name].keys,
            [c for c in TABLES[name].names if c not in TABLES[name].keys],
        )
        hidden = 0
        for seen, true in zip(opened[name], stored[name], strict=True):
            assert [seen[k] for k in keys] == [true[k] for k in keys]
            if 1 <= true["n_members"] <= 10:
                assert all(seen[c] is None for c in values)
                hidden += 1
            assert all(seen[c] in (None, true[c]) for c in values)
        assert hidden or name == "exclusions"


def test_what_rests_on_a_hidden_partnership_is_hidden_everywhere(opened: dict[str, Rows]) -> None:
    hidden = {row["partnership_id"] for row in opened["settlement"] if row["n_members"] is None}
    assert hidden
    for name, value in (
        ("walk", "amount_cents"), ("intervals", "point"), ("payments", "payment_cents"),
        ("sensitivities", "payment_cents"), ("chances", "payment_above_zero"),
    ):  # fmt: skip
        of = [row for row in opened[name] if row["partnership_id"] in hidden]
        assert all(row[value] is None for row in of if row.get("measure") not in OF_ONE_YEAR)
    assert not [row for row in opened["cells"] if row["partnership_id"] in hidden]


def test_cells_pool_to_eleven_people_and_foot(
    opened: dict[str, Rows], stored: dict[str, Rows]
) -> None:
    summed = ("member_months", "cost_cents", "target_cents")
    people: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0] * len(summed))
    for row in stored["cells"]:
        at = row["partnership_id"], row["year"]
        people[at][row["rate_cell"]] = row["n_members"]
        sums[at] = [a + row[name] for a, name in zip(sums[at], summed, strict=True)]
    shown: dict[tuple[str, int], Rows] = defaultdict(list)
    for row in opened["cells"]:
        shown[row["partnership_id"], row["year"]].append(row)
    assert shown
    pools = 0
    for at, rows in shown.items():
        assert [sum(row[name] for row in rows) for name in summed] == sums[at]
        alone = {row["rate_cell"] for row in rows} - {"pooled"}
        assert not [cell for cell in alone if 1 <= people[at][cell] <= 10]
        pool = [n for cell, n in people[at].items() if cell not in alone]
        if any(pool):
            pools += 1
            assert max(pool) > 10
    assert pools


def _capped(folder: Path, place: Path, above: list[int]) -> Path:
    """A copy of a run in which the cap took a dollar from each of so many people, by its rows."""
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("suppression.json"))
    caps = pq.read_table(place / "caps.parquet").to_pylist()
    by_size = sorted(caps, key=lambda row: (row["year"], -row["n_members"]))
    for row, n in zip(by_size, [*above, *[0] * len(caps)], strict=False):
        row |= {"n_above_cap": n, "above_cap_cents": 100 * n}
        row["cost_cents"] = row["uncapped_cents"] - row["above_cap_cents"]
    pq.write_table(pa.Table.from_pylist(caps, TABLES["caps"].arrow), place / "caps.parquet")
    ledger = pq.read_table(place / "ledger.parquet").to_pylist()
    ledger.append(
        ledger[-1] | {"stage": "run", "fate": "above_cap", "file": "", "lines": 0,
                      "paid_cents": 100 * sum(above)}
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(ledger, TABLES["ledger"].arrow), place / "ledger.parquet")
    return place


def test_dollars_of_few_people_above_the_cap_are_hidden_and_do_not_follow(
    folder: Path, tmp_path: Path
) -> None:
    """Cost before the cap less the cost would give them, and the ledger's sum less the others."""
    form = open_form(_capped(folder, tmp_path / "run", [40, 3, 25]))
    seen = [row for row in form.table("caps").to_pylist() if row["n_members"] is not None]
    hidden = [row for row in seen if row["n_above_cap"] is None]
    assert len(hidden) == 2
    for row in hidden:
        assert row["above_cap_cents"] is None
        assert row["uncapped_cents"] is None
        assert row["cost_cents"] is not None
    assert [row["n_above_cap"] for row in seen if row["n_above_cap"]] == [40]
    assert all(row["paid_cents"] is None for row in form.table("cells").to_pylist())
    sums = {row["fate"]: row["paid_cents"] for row in form.table("ledger").to_pylist()}
    assert sums["above_cap"] == 6_800


def test_where_the_cap_takes_from_few_in_all_dollars_counted_are_hidden_with_another_fate(
    folder: Path, tmp_path: Path
) -> None:
    form = open_form(_capped(folder, tmp_path / "run", [4]))
    hidden: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in form.table("ledger").to_pylist():
        if row["stage"] == "run" and row["paid_cents"] is None:
            hidden[row["source_table"], row["file"]].add(row["fate"])
    assert "above_cap" in {fate for fates in hidden.values() for fate in fates}
    counted = [fates for fates in hidden.values() if "counted" in fates]
    assert counted
    assert all(len(fates) > 1 for fates in counted)


def test_words_of_a_walk_tell_of_no_rate_cell(opened: dict[str, Rows]) -> None:
    words = [row["detail"] for row in opened["walk"] if row["step"] == "credibility"]
    assert any(words)
    assert not any("thin" in text or "rate cells" in text for text in words if text)


def test_a_sweep_hides_whom_its_run_hides(folder: Path, opened: dict[str, Rows]) -> None:
    swept = sweep(folder, grid_of({"settlement.gain.share": [0.4, 0.5]}), LocalRunner(1)).table
    rows = open_form(folder).hide(swept, SWEEP).to_pylist()
    hidden = {row["partnership_id"] for row in opened["settlement"] if row["n_members"] is None}
    assert {r["partnership_id"] for r in rows if r["payment_cents"] is None} == hidden
    assert all(row["settlement.gain.share"] is not None for row in rows)


def test_a_rate_of_last_year_that_few_may_have_met_is_hidden(
    folder: Path, opened: dict[str, Rows]
) -> None:
    """A rate counts from 30 cases: below 11 in 30 it may be that of ten people or fewer."""
    table = pq.read_table(folder / "quality_measures.parquet").slice(0, 3)
    priors = {"prior_rate": [0.2, 0.5, 0.0], "improvement": [0.9, 0.9, 0.0]}
    for name, values in {**priors, "attainment": [0.1] * 3, "points": [0.9, 0.9, 0.1]}.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.set_column(at, field.with_nullable(nullable=True), [values])
    seen = without_prior(table, 30).to_pylist()
    assert [row["prior_rate"] for row in seen] == [None, 0.5, 0.0]
    assert [row["improvement"] for row in seen] == [None, 0.9, 0.0]
    assert [row["points"] for row in seen] == [None, 0.9, 0.1]
    assert not [row for row in opened["quality_measures"] if 0 < (row["prior_rate"] or 0) < 11 / 30]


def test_an_open_manifest_has_no_small_count(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(folder, place)
    manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    manifest["inputs"][0]["rows"] = 7
    manifest["completion"]["measurements"][0]["base_lines_cut"] = 9
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    seen = open_form(place).manifest()
    assert seen["suppressed"] is True
    assert seen["inputs"][0]["rows"] is None
    assert seen["completion"]["measurements"][0]["base_lines_cut"] is None
    assert any((one["rows"] or 0) > 10 for one in seen["inputs"])


def test_an_open_manifest_has_no_digest_by_which_a_guess_could_be_tried(folder: Path) -> None:
    """Of a table in which a count is hidden there are ten, and one of ten digests would be it."""
    said = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    seen = open_form(folder).manifest()
    text = json.dumps(seen)
    of_whole = [*said["table_digests"].values(), *said["files"].values(), said["manifest_digest"]]
    assert len(of_whole) > 20
    assert not [digest for digest in of_whole if digest in text]
    assert seen["digest"] == said["digest"]
    assert seen["open_form"]["pattern"] == open_form(folder).pattern.sha256


def test_an_open_sweep_says_that_it_is_one(folder: Path, tmp_path: Path) -> None:
    swept = sweep(folder, grid_of({"settlement.gain.share": [0.4]}), LocalRunner(1))
    seen = shown_to_all(swept, open_form(folder))
    assert seen.document()["suppressed"] is True
    assert seen.table.column("payment_cents").null_count
    write(seen, tmp_path / "open.parquet")
    with pytest.raises(DataError, match="open form of a sweep"):
        verify_sweep(tmp_path / "open.parquet")


def test_an_open_summary_holds_back_what_its_run_hides(folder: Path, tmp_path: Path) -> None:
    """A summary counts everybody who settles: what hides that hides people and dollars."""
    place = tmp_path / "run"
    shutil.copytree(folder, place)
    form = open_form(place)
    whole = summarise([place])
    shown = summarise([place], {place: form})
    assert shown.document()["suppressed"] is True
    assert "Open form" in shown.notes[0]
    assert [f.value for f in shown.figures] == [f.value for f in whole.figures]
    year = form.pattern.years[1]
    key = Key("attributed", "attributed", "all", "all", year, "")
    hidden = replace(form.pattern, hidden=form.pattern.hidden | {key})
    held = summarise([place], {place: replace(form, pattern=hidden)})
    by_name = {f.figure: f.value for f in held.years[0].figures}
    assert by_name["people_served"] is None
    assert by_name["savings_cents"] is None
    assert all(change.rate is None for change in held.years[0].use)
    assert all(f.value is None for f in held.over_all)


def test_the_pattern_is_fixed_at_first_showing(folder: Path, tmp_path: Path) -> None:
    """Outside both digests, read again after, and never chosen anew."""
    place = tmp_path / "run"
    shutil.copytree(folder, place)
    (place / "suppression.json").unlink(missing_ok=True)
    assert not was_shown(place)
    digest = verify_run(place)
    first = open_form(place).pattern
    assert was_shown(place)
    assert verify_run(place) == digest
    held = json.loads((place / "suppression.json").read_text(encoding="utf-8"))
    key = ["partnership", COMPARISON, "all", "all", first.years[1], ""]
    held["hidden"].append(key)
    (place / "suppression.json").write_text(json.dumps(held), encoding="utf-8")
    assert tuple(key) in open_form(place).pattern.hidden
    (place / "suppression.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="cut off or edited"):
        open_form(place)


def test_two_runs_of_the_same_people_hide_the_same(
    small_population: Path, folder: Path, tmp_path: Path
) -> None:
    """Other draws and other terms of settlement move no row in or out."""
    request = RunRequest(small_population, ("cms-mssp-basic-a",), replicates=0, seed=9)
    other = run(request, tmp_path / "other", LocalRunner(1)).run_dir
    kinds = ("partnership", "attributed", "state", "excluded")
    one, two = (
        {k for k in open_form(at).pattern.hidden if k.scope in kinds and k.measure == ""}
        for at in (folder, other)
    )
    assert one == two


def test_a_run_of_other_people_keeps_hidden_what_was_hidden(folder: Path, tmp_path: Path) -> None:
    """A later run with a row less small keeps it hidden, and shows what the first has shown."""
    first, later = tmp_path / "first", tmp_path / "later"
    for place in (first, later):
        shutil.copytree(folder, place)
        (place / "suppression.json").unlink(missing_ok=True)
    pattern = open_form(first).pattern
    manifest = (later / "manifest.json").read_text(encoding="utf-8")
    (later / "manifest.json").write_text(manifest.replace(pattern.digest, "ab" * 32))
    table = pq.read_table(later / "exclusions.parquet")
    rows = table.to_pylist()
    small = next(row for row in rows if 1 <= row["n_members"] <= 10)
    small["n_members"] = 40
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), later / "exclusions.parquet")
    key = ("excluded", "excluded", "reason", small["reason"], str(small["year"]), "")
    assert key in pattern.hidden
    told = open_form(later, [first]).pattern
    assert told.after == (pattern.digest,)
    assert pattern.hidden <= told.hidden
    assert key in told.hidden
    with pytest.raises(RunError, match="first shown without"):
        open_form(first, [later])


def test_the_page_of_the_open_form_names_no_hidden_partnership(
    folder: Path, tmp_path: Path, opened: dict[str, Rows]
) -> None:
    page = write_report(folder, tmp_path / "open.html", form=open_form(folder))
    text = page.read_text(encoding="utf-8")
    assert "Open form." in text
    assert "another cannot take back" in text
    hidden = {row["partnership_id"] for row in opened["settlement"] if row["n_members"] is None}
    statements = text[text.index('id="statements"') : text.index('id="attribution"')]
    assert not [name for name in hidden if f">{name} <" in statements]
