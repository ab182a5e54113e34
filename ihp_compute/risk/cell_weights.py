"""Weights of a grouper's cells: a member's cell comes with the population, its weight from a table.

    cell, weight[, first_year, last_year]        CSV, weights in units of 1.000

A grouper (ACG and others) puts each member into one cell; these are not the rate cells of a
contract. The cell stands in the population's table of scores, where its row needs no score, and the
table of weights is imported under a name. A weight has effective years; a
cell without a weight for the year leaves its member without a score, under the declared policy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.errors import RiskModelError
from ihp_compute.population import Population
from ihp_compute.risk.models import read_json, read_rows, weight_micro
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.scores import Fill
from ihp_compute.risk.supplied import SuppliedScores

COLUMNS: Final = ("cell", "weight")
YEARS: Final = ("first_year", "last_year")
ALWAYS: Final = (1900, 2999)


class CellWeight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weight of one cell in millionths, from first to last year, both included."""

    cell: str
    weight_micro: int
    first_year: int
    last_year: int


class CellWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole table."""

    weights: tuple[CellWeight, ...]
    source: str
    source_sha256: str


def read(path: Path) -> CellWeights:
    """Read a table of cell weights.

    Raises
    ------
    RiskModelError
        If a column is missing or not known, a weight or year cannot be read, or a cell has two
        weights in a year.
    """
    found: dict[str, list[CellWeight]] = {}
    for line, row in read_rows(path, COLUMNS):
        others = sorted(row.keys() - {*COLUMNS, *YEARS})
        if others:
            raise RiskModelError(
                f"{path.name}: found the columns {', '.join(others)}, expected "
                f"{', '.join((*COLUMNS, *YEARS))}; years of a weight stand in the last two"
            )
        where = f"{path.name}, line {line}: cell {row['cell']!r}"
        try:
            micro = weight_micro(row["weight"], least=0)
        except RiskModelError as problem:
            raise RiskModelError(f"{where}: {problem}") from problem
        try:
            first, last = (
                int(row.get(column) or always) for column, always in zip(YEARS, ALWAYS, strict=True)
            )
        except ValueError as problem:
            raise RiskModelError(f"{where}: expected whole years or none") from problem
        if first > last:
            raise RiskModelError(f"{where}: expected years in order, got {first} to {last}")
        one = CellWeight(row["cell"], micro, first, last)
        for other in found.get(one.cell, []):
            if other.first_year <= one.last_year and one.first_year <= other.last_year:
                raise RiskModelError(f"{where} has two weights in a year; give each its years")
        found.setdefault(one.cell, []).append(one)
    if not found:
        raise RiskModelError(f"{path.name}: expected columns {', '.join(COLUMNS)} and rows")
    weights = tuple(one for ones in found.values() for one in ones)
    return CellWeights(weights, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def save(table: CellWeights, name: str, *, store: Path | None = None) -> str:
    """Keep a table under a name; returns its digest."""
    text = msgspec.json.encode(table)
    sha256 = hashlib.sha256(text).hexdigest()
    model_store.keep(text, sha256, name, store=store, about={"kind": "cells"})
    return sha256


def _pointer(name: str, store: Path | None) -> dict[str, Any]:
    path = (store or model_store.default_store()) / "names" / f"{name}.json"
    if not model_store.NAME.fullmatch(name) or not path.is_file():
        return {}
    return dict(read_json(path, dict[str, Any]))


def is_cells(name: str, *, store: Path | None = None) -> bool:
    """Whether the name stands for a table of cell weights."""
    return _pointer(name, store).get("kind") == "cells"


def provider(name: str, population: Population, *, store: Path | None = None) -> SuppliedScores:
    """Provider of the weights of the members' cells.

    Raises
    ------
    RiskModelError
        If the population carries no cells, or those of several models.
    """
    pointer = _pointer(name, store)
    path = (store or model_store.default_store()) / "models" / f"{pointer['sha256']}.json"
    table = read_json(path, CellWeights)
    codes = population.codes("risk_cell").to_pylist()
    models = population.codes("risk_model").to_pylist()
    if not any(codes):
        raise RiskModelError(
            f"{name!r} gives weights to cells, and the population holds no cells; fill the column "
            "of cells in the table risk_score and ingest again"
        )
    named = [model for model in models if model]
    model = name if name in named else named[0]
    if name not in named and len(named) > 1:
        raise RiskModelError(
            f"the population holds cells of {', '.join(named)}; import the weights under the name "
            "of the one they are for"
        )
    number = {cell: i for i, cell in enumerate(codes) if cell}
    first, last = (int(year) for year in population.manifest["service_years"])
    held = {
        (year, number[one.cell]): one
        for one in table.weights
        if one.cell in number
        for year in range(max(first, one.first_year), min(last, one.last_year) + 1)
    }
    dated = {
        of: (one.first_year, one.last_year)
        for of, one in held.items()
        if (one.first_year, one.last_year) != ALWAYS
    }
    return SuppliedScores(
        name, str(pointer["sha256"]), models.index(model), Fill("error"),
        {of: one.weight_micro for of, one in held.items()}, dated,
    )  # fmt: skip
