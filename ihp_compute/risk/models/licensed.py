"""Models whose tables their owner licenses (CDPS, CDPS+Rx, MRX and others): read, never shipped.

A licensed user keeps a folder:

    model.toml          name, version, year, segments, ladders, cells, optional post-steps
    codes.csv           system, code, category[, sex, age_low, age_high, first, last]
    weights.csv         segment, term, weight

A *ladder* is a list of categories from the worst down, of which only the first present counts;
CDPS is ladders of diagnoses, and MRX of drugs. A *cell* is a demographic term by sex and age. An
*interaction* is a term for categories that are present together, in named segments. The folder
becomes a `Model` like any other and passes the same audit, so a category without weight or a
weight without category is refused, and nothing is scored as a silent zero.
"""

from __future__ import annotations

import csv
import hashlib
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models.schema import (
    Cell,
    Coefficient,
    Condition,
    Feature,
    Flag,
    Hierarchy,
    Model,
    PostStep,
    Rule,
    Segment,
    Source,
    Step,
)

DESCRIPTION: Final = "model.toml"
CODE_COLUMNS: Final = ("system", "code", "category")
WEIGHT_COLUMNS: Final = ("segment", "term", "weight")


class SegmentTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A segment: name, ages, and whether it is only ever assigned by the members' table."""

    name: str
    ages: tuple[int, int] = (0, 128)


class CellTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A demographic term."""

    term: str
    sex: str
    ages: tuple[int, int]


class InteractionTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A term for categories present together; each inner list means any of them."""

    term: str
    all_of: tuple[tuple[str, ...], ...]
    segments: tuple[str, ...] = ()


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What model.toml holds."""

    version: str
    year: int
    license: str
    segments: tuple[SegmentTerms, ...]
    cells: tuple[CellTerms, ...]
    ladders: tuple[tuple[str, ...], ...] = ()
    interactions: tuple[InteractionTerms, ...] = ()
    normalization: str = ""


def read(folder: Path, name: str) -> Model:
    """Read a licensed model's folder; the caller audits it.

    Raises
    ------
    RiskModelError
        If a file is missing, a column or field is unknown or missing, or a ladder or weight names
        something that the other files do not know.
    """
    path = folder / DESCRIPTION
    try:
        about = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Description)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as problem:
        raise RiskModelError(f"{path.name}: {problem}") from problem
    if not about.license:
        raise RiskModelError(f"{path.name}: state under which license you hold these tables")
    codes = _rows(folder / "codes.csv", CODE_COLUMNS)
    weights = _rows(folder / "weights.csv", WEIGHT_COLUMNS)
    categories = sorted({row["category"] for row in codes})
    ranked = [category for ladder in about.ladders for category in ladder]
    unknown = sorted(set(ranked) - set(categories))
    if unknown or len(set(ranked)) < len(ranked):
        raise RiskModelError(
            f"{path.name}: ladders must name each category once, and only categories that "
            f"codes.csv maps; unknown: {', '.join(unknown) or 'none'}"
        )
    ordered = [*ranked, *(c for c in categories if c not in ranked)]
    return Model(
        name=name,
        version=about.version,
        family="licensed",
        year=about.year,
        code_years=(about.year, about.year),
        features=(
            *(Feature(c, "CC") for c in ordered),
            *(Feature(i.term, "TERM") for i in about.interactions),
            *(Feature(c, "TERM") for c in dict.fromkeys(cell.term for cell in about.cells)),
        ),
        flags=(Flag("ANYONE", (Condition(),)),),
        segments=tuple(Segment(s.name, Condition(age=s.ages), s.ages) for s in about.segments),
        rules=tuple(_rule(row) for row in codes),
        hierarchies=tuple(
            Hierarchy(category, ladder[i + 1 :])
            for ladder in about.ladders
            for i, category in enumerate(ladder[:-1])
        ),
        steps=(
            Step("HIER"),
            *(
                Step("AND", segments=i.segments, out=i.term, all_of=i.all_of)
                for i in about.interactions
            ),
            Step("CELL", cells=tuple(Cell(c.term, c.sex, c.ages) for c in about.cells)),
        ),
        columns=("",),
        coefficients=tuple(
            Coefficient(row["segment"], "", row["term"], row["weight"]) for row in weights
        ),
        post_steps=(
            (PostStep("divide", about.normalization, 3, path.name),) if about.normalization else ()
        ),
        notes=(f"Licensed tables, held under: {about.license}",),
        sources=tuple(
            Source(file, hashlib.sha256((folder / file).read_bytes()).hexdigest())
            for file in (DESCRIPTION, "codes.csv", "weights.csv")
        ),
    )


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [c for c in columns if c not in (reader.fieldnames or ())]
            if absent:
                raise RiskModelError(f"{path.name}: no column {', '.join(absent)}")
            return list(reader)
    except OSError as problem:
        raise RiskModelError(f"{path.name}: cannot be read: {problem}") from problem


def _rule(row: dict[str, Any]) -> Rule:
    low, high = row.get("age_low") or "", row.get("age_high") or ""
    try:
        age = (int(low or 0), int(high or 999)) if low or high else None
    except ValueError as problem:
        raise RiskModelError(f"codes.csv: code {row['code']}: ages must be whole") from problem
    return Rule(
        row["system"],
        row["code"].upper().replace(".", ""),
        (row["category"],),
        sex=row.get("sex") or "",
        age=age,
        first=row.get("first") or "",
        last=row.get("last") or "",
    )
