"""Settlement of given aggregates: a table with a target and an observed cost on each row.

    rows -> checked -> grouped by contract, year and the shape of their own terms -> steps -> rows

No target step runs: `target_usd` is final. A column named by a term's path overrides that term for
its row; an empty cell overrides nothing. Such a value rests on what the table says: its basis is
`supplied`, and `PATH.source` may say where it is written. Rows of one group run through one program
at once, their own terms as sources: the same operations as a run over claims. An empty score is
what `settlement.quality.missing` says; the mean is that of the table's rows of its contract and
year.

Reads and writes by extension: .csv (all text), .parquet, .arrow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute import contracts
from ihp_compute.contracts import (
    AMOUNTS,
    KINDS,
    MISSING_QUALITY_TERM,
    REFUSE,
    Agreement,
    Contract,
    Draft,
    Kind,
    QualityFill,
    TermError,
    decimal_of,
    kind_of,
    missing_text,
    parse,
    quality_fill,
    rests_on_quality,
    same_content,
    split_band_path,
    text_of,
)
from ihp_compute.errors import ContractError, DataError, MissingQualityError
from ihp_compute.settlement.program import Compiled, Program
from ihp_compute.settlement.steps import (
    QUALITY_SCORE,
    caps_without_base,
    gate_by_size,
    gates_by_size,
    write_settlement,
)
from ihp_compute.table_files import with_plain_names
from ihp_compute.units import CENTS_PER_USD, cents_of, dollars

REQUIRED: Final = ("partnership_id", "n_members", "target_usd", "observed_usd")
OPTIONAL: Final = ("contract", "performance_year", QUALITY_SCORE)
SOURCE: Final = ".source"
"""After the path of a term: the column that says where its values are written."""
MOST_NOTES: Final = 10
"""Partnerships named that stand more than once."""
RESTS_ON: Final = ("settlement.", "agreement.first_performance_year")
"""Terms that a settlement of given aggregates rests on, by the start of their path."""


@dataclass(frozen=True)
class SettledTable:
    """Settled rows in the order given.

    Attributes
    ----------
    table : pa.Table
        partnership_id, contract, performance_year (null where none was given), n_members,
        target_usd, observed_usd, savings_usd, savings_rate, gate_rate (null where nothing settles
        on that side), gate_passed, then the other `contracts.AMOUNTS`, each with `_usd`:
        shareable, share, what steps moved, payment. Dollars are float64 of exact cents. Where a
        score was missing and filled, quality_fill says by what (null elsewhere). Columns that say
        where a term's values are written come last, as they were given.
    payment_cents : int64[n_rows]
    drafts : tuple of str
        A line per contract with terms of which nobody has shown the document.
    notes : tuple of str
        Columns left out, columns that move nothing here, and scores that were filled.
    """

    table: pa.Table
    payment_cents: NDArray[np.int64]
    drafts: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """A row, parsed: cents, and its own terms as numbers or as shapes that change the program.

    `contract` is empty where the row names none.
    """

    partnership_id: str
    contract: str
    year: int | None
    n_members: int
    target_cents: int
    observed_cents: int
    numbers: Mapping[str, Decimal]
    shapes: tuple[tuple[str, str], ...]

    @property
    def group(self) -> tuple[Any, ...]:
        """Rows of one group share a program."""
        return self.contract, self.year, tuple(sorted(self.numbers)), self.shapes


def settle_table(
    table: pa.Table, contract: str | Path | Contract, *, where: str = "table"
) -> SettledTable:
    """Settle every row of a table.

    Parameters
    ----------
    table : pa.Table
        partnership_id, n_members, target_usd, observed_usd; optional contract (a name, instead of
        `contract`), performance_year, quality_score, and columns named by term paths.
    contract : str, Path or Contract
        Contract of the rows that name none: a name, a file, or one that is loaded.
    where : str
        The table's name, for messages.

    Raises
    ------
    DataError
        If a column is missing or a value is no number, not finite, or out of range; or a score is
        missing on which a payment rests.
    ContractError
        If a contract or path is unknown, or an override does not fit its term.
    """
    table = with_plain_names(table, where, _is_of_band)
    columns, notes = _columns(table, where)
    given = contract if isinstance(contract, Contract) else contracts.load(contract)
    rows = list(_rows(table, columns, where))
    nameless = sum(not row.partnership_id for row in rows)
    if nameless:
        notes.append(f"{where}: {nameless} rows without partnership_id")
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.group, []).append(i)
    n = len(rows)
    found: dict[str, NDArray[Any]] = {}
    drafts: dict[str, Draft] = {}
    named = {given.name: given}
    filled: dict[int, str] = {}
    fills: dict[tuple[str, str], list[int]] = {}
    unscored: list[tuple[str, str]] = []
    scores: dict[tuple[str, int | None], list[Decimal]] = {}
    for row in rows:
        if QUALITY_SCORE in row.numbers:
            cohort = row.contract or given.name, row.year
            scores.setdefault(cohort, []).append(row.numbers[QUALITY_SCORE])
    for places in groups.values():
        members = [rows[i] for i in places]
        base = contracts.load(members[0].contract) if members[0].contract else given
        if not same_content(base, named.setdefault(base.name, base)):
            raise ContractError(
                f"{where}: row {places[0] + 1}: found {base.file}, another contract under the name "
                f"{base.name}, expected names of their own"
            )
        agreement = _agreement_of(members[0], base, where, places[0])
        values, fill, moved = _settle_group(
            members, agreement, scores.get((base.name, members[0].year), ()), unscored
        )
        if fill is not None:
            filled |= dict.fromkeys(places, fill.policy)
            of_policy = fills.setdefault((agreement.name, fill.policy), [0, 0])
            of_policy[0] += len(places)
            of_policy[1] += moved
        draft = agreement.draft(RESTS_ON, members[0].numbers)
        drafts[base.name] = drafts[base.name].joined(draft) if base.name in drafts else draft
        unbased = caps_without_base(agreement, members[0].numbers)
        said = [base.newer_line] if base.newer else []
        notes += [note for note in (*said, *unbased) if note not in notes]
        for name, array in values.items():
            if name not in found:
                found[name] = np.empty(n, dtype=array.dtype)
            found[name][places] = array
    if unscored:
        column = "" if QUALITY_SCORE in table.column_names else f"no column {QUALITY_SCORE}; "
        raise MissingQualityError(f"{where}: {column}{missing_text(sorted(unscored))}")
    notes += [_filled_text(where, *key, *sums) for key, sums in fills.items()]
    notes += _repeated(rows, found.get("payment", np.empty(0, np.int64)), where)
    return SettledTable(
        table=_with_sources(_with_fills(_result(rows, found, given.name), filled), table),
        payment_cents=found.get("payment", np.empty(0, np.int64)),
        drafts=tuple(filter(None, (draft.line(name) for name, draft in drafts.items()))),
        notes=tuple(notes),
    )


def _repeated(rows: Sequence[_Row], payment_cents: NDArray[np.int64], where: str) -> list[str]:
    """Notes on partnerships that stand more than once in a year.

    Rows that differ in contract, score or terms are scenarios. Others are counted twice.
    """
    places: dict[tuple[str, int | None], dict[tuple[Any, ...], list[int]]] = {}
    for i, row in enumerate(rows):
        scenario = row.contract, tuple(sorted(row.numbers.items())), row.shapes
        of_year = places.setdefault((row.partnership_id, row.year), {})
        of_year.setdefault(scenario, []).append(i)
    notes, n_scenarios, n_of = [], 0, 0
    for (name, year), scenarios in places.items():
        if len(scenarios) > 1:
            n_of, n_scenarios = n_of + 1, n_scenarios + len(scenarios)
        for repeated in scenarios.values():
            if len(repeated) > 1 and name:
                paid = dollars(int(payment_cents[repeated].sum()))
                when = "" if year is None else f" of {year}"
                notes.append(
                    f"{where}: {name}{when} stands {len(repeated)} times, first in rows "
                    f"{repeated[0] + 1} and {repeated[1] + 1}: each is settled and counted, "
                    f"{paid} in all"
                )
    if len(notes) > MOST_NOTES:
        notes = [*notes[:MOST_NOTES], f"{where}: and {len(notes) - MOST_NOTES:,} more stand so"]
    if n_of:
        notes.append(
            f"{where}: {n_of:,} partnerships stand in {n_scenarios:,} scenarios, rows that differ "
            "in contract, score or terms; payments in all add them up"
        )
    return notes


def _columns(table: pa.Table, where: str) -> tuple[list[str], list[str]]:
    """Columns that are terms, and notes on those that do nothing."""
    names = table.column_names
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise DataError(
            f"{where}: found no column {missing[0]}, expected {', '.join(REQUIRED)}; it has "
            f"{', '.join(names)}"
        )
    terms, notes, left_out = [], [], []
    for name in names:
        if name in REQUIRED or name in OPTIONAL:
            continue
        if kind_of(name) is not None or split_band_path(name) is not None:
            terms.append(name)
            if not name.startswith(("settlement.", "agreement.")):
                notes.append(f"{where}: column {name} moves nothing: the target is given")
        elif _is_source(name):
            if name.removesuffix(SOURCE) not in names:
                raise DataError(
                    f"{where}: found column {name} and no column {name.removesuffix(SOURCE)}, "
                    "expected both"
                )
        elif "." in name:
            close = difflib.get_close_matches(name, list(KINDS), n=2)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ContractError(f"{where}: column {name}: no contract has this path{hint}")
        else:
            close = difflib.get_close_matches(name, [*REQUIRED, *OPTIONAL], n=1, cutoff=0.8)
            if close:
                raise DataError(f"{where}: unknown column {name}; did you mean {close[0]}?")
            left_out.append(name)
    if left_out:
        notes.append(f"{where}: columns left out: {', '.join(left_out)}")
    return terms, notes


def _is_of_band(name: str) -> bool:
    """Whether a column names a band of a contract, whose name may have capitals."""
    return split_band_path(name.removesuffix(SOURCE)) is not None


def _is_source(name: str) -> bool:
    """Whether a column says where a term's values are written."""
    path = name.removesuffix(SOURCE)
    return path != name and (kind_of(path) is not None or split_band_path(path) is not None)


def _with_sources(settled: pa.Table, table: pa.Table) -> pa.Table:
    for name in table.column_names:
        if _is_source(name):
            settled = settled.append_column(name, table.column(name))
    return settled


def _blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _rows(table: pa.Table, terms: Sequence[str], where: str) -> Iterator[_Row]:
    wanted = [name for name in (*REQUIRED, *OPTIONAL, *terms) if name in table.column_names]
    for i, cells in enumerate(table.select(wanted).to_pylist(), start=1):
        at = f"{where}: row {i}"
        target, observed = (
            _cents(cells[name], f"{at}, {name}") for name in ("target_usd", "observed_usd")
        )
        if target == 0:
            raise DataError(f"{at}, target_usd: found 0, expected dollars above 0")
        named = cells.get("contract")
        year = cells.get("performance_year")
        numbers, shapes = _own_terms(cells, terms, at)
        if not _blank(cells.get(QUALITY_SCORE)):
            numbers[QUALITY_SCORE] = _score(cells[QUALITY_SCORE], f"{at}, {QUALITY_SCORE}")
        yield _Row(
            partnership_id="" if _blank(cells["partnership_id"]) else str(cells["partnership_id"]),
            contract="" if _blank(named) else str(named).strip(),
            year=None if _blank(year) else _whole(year, f"{at}, performance_year", 1900, 2200),
            n_members=_whole(cells["n_members"], f"{at}, n_members", 1, 10**10),
            target_cents=target,
            observed_cents=observed,
            numbers=numbers,
            shapes=shapes,
        )


def _own_terms(
    cells: Mapping[str, Any], terms: Sequence[str], at: str
) -> tuple[dict[str, Decimal], tuple[tuple[str, str], ...]]:
    numbers: dict[str, Decimal] = {}
    shapes = []
    for path in terms:
        cell = cells[path]
        if _blank(cell):
            continue
        raw = cell.strip() if isinstance(cell, str) else cell
        kind = kind_of(path)
        if kind is not None and kind.form == "number" and path.startswith("settlement."):
            value = _own_value(kind, raw, f"{at}, {path}")
            if isinstance(value, Decimal):
                numbers[path] = value
                continue
        elif kind is not None:  # also where the term moves nothing here
            _own_value(kind, raw, f"{at}: {path}")
        if path.startswith(("settlement.", "agreement.")):
            shapes.append((path, raw if isinstance(raw, str) else text_of(raw)))
    return numbers, tuple(shapes)


def _own_value(kind: Kind, raw: Any, at: str) -> Any:
    try:
        return parse(kind, raw)
    except TermError as error:
        raise ContractError(f"{at}: {error}") from None


def _number(cell: Any, at: str) -> Decimal:
    try:
        return decimal_of(cell.strip() if isinstance(cell, str) else cell)
    except TermError as error:
        raise DataError(f"{at}: {error}") from None


def _cents(cell: Any, at: str) -> int:
    if _blank(cell):
        raise DataError(f"{at}: found nothing, expected dollars")
    value = _number(cell, at)
    if value < 0:
        raise DataError(f"{at}: found {value}, expected dollars of at least 0")
    if value >= 10**13:
        raise DataError(f"{at}: found {value}, expected dollars below 10,000,000,000,000")
    return cents_of(value)


def _whole(cell: Any, at: str, low: int, high: int) -> int:
    value = None if _blank(cell) else _number(cell, at)
    if value is None or not low <= value <= high or value != int(value):
        found = "nothing" if value is None else value
        raise DataError(f"{at}: found {found}, expected a whole number from {low:,}")
    return int(value)


def _score(cell: Any, at: str) -> Decimal:
    value = _number(cell, at)
    if not 0 <= value <= 1:
        raise DataError(f"{at}: found {value}, expected a score from 0 to 1")
    return value


def _agreement_of(row: _Row, contract: Contract, where: str, place: int) -> Agreement:
    """The agreement that a row, and every row of its group, settles under."""
    if not row.shapes:
        return contract.at(row.year)
    at = f"{where}: row {place + 1}"
    try:
        return contract.override(dict(row.shapes), where=at).at(row.year)
    except ContractError as error:
        told = str(error)
        raise ContractError(told if told.startswith(at) else f"{at}: {told}") from None


def _settle_group(
    rows: Sequence[_Row],
    agreement: Agreement,
    scores: Sequence[Decimal],
    unscored: list[tuple[str, str]],
) -> tuple[dict[str, NDArray[Any]], QualityFill | None, int]:
    """Outputs of rows that share a program; what stood in for scores, and the cents that it moved.

    `scores` are those of rows of the same contract and year that have one. Rows whose score is
    missing, and may not be, are added to `unscored`.
    """
    first = rows[0]
    fill = None
    if QUALITY_SCORE not in first.numbers:
        resting = [row for row in rows if rests_on_quality(agreement, row.numbers)]
        if resting and agreement[MISSING_QUALITY_TERM] == REFUSE:
            unscored += [
                (row.partnership_id or "a nameless row", agreement.name) for row in resting
            ]
        elif resting:
            fill = quality_fill(agreement, scores, resting[0].partnership_id)
    sources = _sources(rows, agreement)
    if fill is None:
        return _program(agreement, sources).run(sources), None, 0
    at_fill, beside = (
        sources
        if score is None
        else {**sources, QUALITY_SCORE: np.full(len(rows), float(score), np.float64)}
        for score in (fill.score, fill.compared_with)
    )
    found, other = (_program(agreement, given).run(given) for given in (at_fill, beside))
    return found, fill, int((found["payment"] - other["payment"]).sum())


def _sources(rows: Sequence[_Row], agreement: Agreement) -> dict[str, NDArray[Any]]:
    """Target, observed cost and the rows' own terms, in cents where they are dollars."""
    first = rows[0]
    sources: dict[str, NDArray[Any]] = {
        "target": np.array([row.target_cents for row in rows], dtype=np.int64),
        "observed": np.array([row.observed_cents for row in rows], dtype=np.int64),
    }
    for path in first.numbers:
        kind = KINDS.get(path)
        scale = CENTS_PER_USD if kind is not None and kind.unit == "USD" else 1
        sources[path] = np.array([float(row.numbers[path] * scale) for row in rows])
    for path in gates_by_size(agreement):
        if path not in sources:
            sizes = agreement["settlement.gate.size_table"]
            sources[path] = np.array([float(gate_by_size(sizes, row.n_members)) for row in rows])
    return sources


def _program(agreement: Agreement, sources: Mapping[str, Any]) -> Compiled:
    program = Program()
    outputs = write_settlement(
        program,
        agreement,
        program.source("target"),
        program.source("observed"),
        by_row=frozenset(sources) - {"target", "observed"},
    )
    return program.compile(outputs)


def _filled_text(where: str, contract: str, policy: str, rows: int, moved_cents: int) -> str:
    """What a policy for missing scores filled, and what it moves."""
    beside = "with the share whole" if policy == "none" else "at score 0"
    return (
        f"{where}: {rows:,} row{'s' if rows > 1 else ''} of {contract} without {QUALITY_SCORE}, "
        f"filled by {MISSING_QUALITY_TERM} = {policy}: payments are {dollars(moved_cents)} more "
        f"than {beside}"
    )


def _with_fills(settled: pa.Table, filled: Mapping[int, str]) -> pa.Table:
    """The rows with a column of what stood in for a missing score, if something did."""
    if not filled:
        return settled
    fills = pa.array([filled.get(i) for i in range(settled.num_rows)], pa.string())
    return settled.append_column("quality_fill", fills)


def _result(rows: Sequence[_Row], found: Mapping[str, NDArray[Any]], given: str) -> pa.Table:
    def usd(cents: Any) -> pa.Array:
        return pa.array(np.asarray(cents, dtype=np.int64) / CENTS_PER_USD)

    gate = found.get("gate_rate", np.empty(0))
    columns: dict[str, Any] = {
        "partnership_id": pa.array([row.partnership_id for row in rows], pa.string()),
        "contract": pa.array([row.contract or given for row in rows], pa.string()),
        "performance_year": pa.array([row.year for row in rows], pa.int16()),
        "n_members": pa.array([row.n_members for row in rows], pa.int64()),
        "target_usd": usd([row.target_cents for row in rows]),
        "observed_usd": usd([row.observed_cents for row in rows]),
        "savings_usd": usd(found.get("savings", [])),
        "savings_rate": pa.array(found.get("savings_rate", np.empty(0))),
        "gate_rate": pa.array(gate, mask=gate < 0),
        "gate_passed": pa.array(found.get("passed", np.empty(0)) != 0, pa.bool_()),
    }
    columns.update({f"{name}_usd": usd(found.get(name, [])) for name in AMOUNTS[1:]})
    return pa.table(columns)
