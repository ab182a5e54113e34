"""Models whose tables their owner licenses (CDPS, CDPS+Rx, MRX and others): read, never shipped.

A licensed user keeps a folder:

    model.toml          name, version, year, segments, ladders, cells, optional post-steps
    codes.csv           system, code, category[, sex, age_low, age_high, first, last]
    weights.csv         segment, term, weight

A *ladder* is a list of categories from the worst down, of which only the first present counts;
CDPS is ladders of diagnoses, and MRX of drugs. A *cell* is a demographic term by sex and age. An
*interaction* is a term for categories that are present together, in named segments. A *segment* is
for ages, and for aid groups or rate cells of the contract where it names them; the first that fits
is taken. A code may have several categories: each row of it adds one, and ladders act within each.
The folder becomes a `Model` like any other and passes the same audit, so a category without weight
or a weight without category is refused, and nothing is scored as a silent zero.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Final

import msgspec

from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models.audit import is_day, overlap
from ihp_compute.risk.models.compile import clean_codes
from ihp_compute.risk.models.rows import read_rows
from ihp_compute.risk.models.schema import (
    COLLECTIONS,
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
from ihp_compute.risk.models.weights import weight_micro

DESCRIPTION: Final = "model.toml"
CODE_COLUMNS: Final = ("system", "code", "category")
WEIGHT_COLUMNS: Final = ("segment", "term", "weight")
AGE_COLUMNS: Final = ("age_low", "age_high")
ALL_AGES: Final = (0, 999)

Ladders = tuple[tuple[str, ...], ...]


class SegmentTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A segment: name, ages, and the aid groups or rate cells that it is for; none: for all."""

    name: str
    ages: tuple[int, int] = (0, 128)
    aid_groups: tuple[str, ...] | None = None
    """Of `codes.AID_GROUPS`; the member's is that of most months of the year."""
    rate_cells: tuple[str, ...] | None = None
    """Of `codes.RATE_CELLS`, likewise."""


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
    timing: str = ""
    """One of a contract's `TIMINGS`; here and below, empty or 0: the model states nothing."""
    collection: str = ""
    """The same in other words, a value of `schema.COLLECTIONS`."""
    minimum_months: int = 0
    newborn: str = ""
    diagnoses_from: str = ""


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
    except (OSError, ValueError, msgspec.ValidationError) as problem:
        raise RiskModelError(f"{path.name}: {problem}") from problem
    if not about.license:
        raise RiskModelError(f"{path.name}: state under which license you hold these tables")
    codes = read_rows(folder / "codes.csv", CODE_COLUMNS)
    weights = read_rows(folder / "weights.csv", WEIGHT_COLUMNS)
    categories = sorted({row["category"] for _, row in codes})
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
        segments=tuple(
            Segment(
                s.name,
                Condition(age=s.ages, aid_groups=s.aid_groups, rate_cells=s.rate_cells),
                s.ages,
            )
            for s in about.segments
        ),
        rules=tuple(_rules(codes, about.ladders)),
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
        coefficients=tuple(_coefficient(line, row) for line, row in weights),
        post_steps=_normalization(about.normalization),
        timing=_timing(about),
        minimum_months=about.minimum_months,
        newborn=about.newborn,
        diagnoses_from=about.diagnoses_from,
        notes=(f"Licensed tables, held under: {about.license}",),
        sources=tuple(
            Source(file, hashlib.sha256((folder / file).read_bytes()).hexdigest())
            for file in (DESCRIPTION, "codes.csv", "weights.csv")
        ),
    )


def _timing(about: Description) -> str:
    """The timing that a description states, in itself or by the year of its codes."""
    by_collection = {collection: timing for timing, collection in COLLECTIONS.items()}
    if about.collection and about.collection not in by_collection:
        raise RiskModelError(
            f"{DESCRIPTION}: collection {about.collection!r}, expected one of "
            f"{', '.join(by_collection)}"
        )
    follows = by_collection.get(about.collection, "")
    if about.timing and follows and about.timing != follows:
        raise RiskModelError(
            f"{DESCRIPTION}: timing {about.timing!r} collects codes of the "
            f"{COLLECTIONS.get(about.timing, 'same_year').replace('_', ' ')}, and collection says "
            f"{about.collection!r}; state one of them"
        )
    return about.timing or follows


def _normalization(text: str) -> tuple[PostStep, ...]:
    if not text:
        return ()
    try:
        micro = weight_micro(text, least=0)
    except RiskModelError as problem:
        raise RiskModelError(f"{DESCRIPTION}: normalization {problem}") from problem
    if micro == 0:
        raise RiskModelError(f"{DESCRIPTION}: normalization divides, and must not be 0")
    return (PostStep("divide", text, 3, DESCRIPTION),)


def _coefficient(line: int, row: dict[str, str]) -> Coefficient:
    try:
        weight_micro(row["weight"])
    except RiskModelError as problem:
        raise RiskModelError(
            f"weights.csv, line {line}: weight of {row['segment']}/{row['term']}: {problem}"
        ) from problem
    return Coefficient(row["segment"], "", row["term"], row["weight"])


def _rules(rows: list[tuple[int, dict[str, str]]], ladders: Ladders) -> Iterator[Rule]:
    """Rules of all codes: rows of one code under the same conditions are one, with all categories.

    Rows of a code under other conditions that some member and day fit too are told apart by sex,
    age and day, so that each has the categories of all rows that fit.
    """
    ladder_of = {category: i for i, ladder in enumerate(ladders) for category in ladder}
    by_code: dict[tuple[str, str], dict[Rule, dict[str, int]]] = {}
    for line, row in rows:
        rule = _rule(line, row)
        same = by_code.setdefault((rule.system, rule.code), {}).setdefault(rule, {})
        if row["category"] in same:
            raise RiskModelError(
                f"codes.csv, line {line}: code {row['system']} {row['code']} of "
                f"{row['category']} stands in line {same[row['category']]} already"
            )
        same[row["category"]] = line
    for joined in by_code.values():
        crossing = [
            (a, b)
            for (one, a), (other, b) in combinations(joined.items(), 2)
            if overlap(one, other)
        ]
        for a, b in crossing:
            for (category, line), (other, before) in product(b.items(), a.items()):
                if category == other or (
                    category in ladder_of and ladder_of[category] == ladder_of.get(other)
                ):
                    raise RiskModelError(
                        f"codes.csv, lines {before} and {line}: rows of one code overlap in sex, "
                        f"age and dates, to {other} and {category}, of which one would be meant; "
                        "end one where the other starts"
                    )
        if crossing:
            yield from _apart(joined)
        else:
            for rule, categories in joined.items():
                yield msgspec.structs.replace(rule, bits=tuple(sorted(categories)))


def _apart(joined: dict[Rule, dict[str, int]]) -> Iterator[Rule]:
    """Rules that overlap as rules that do not, each with the categories of all that fit there."""
    sexes = ("F", "M") if any(rule.sex for rule in joined) else ("",)
    ages = sorted({edge for rule in joined for edge in (rule.age or ALL_AGES)})
    days = sorted(
        {"", *(rule.first for rule in joined)} | {_after(rule.last) for rule in joined if rule.last}
    )
    for sex, (low, high), (first, end) in product(sexes, pairwise((*ages,)), pairwise((*days, ""))):
        here = Rule("", "", (), sex=sex, age=(low, high), first=first, last=_before(end))
        fits = [rule for rule in joined if overlap(rule, here)]
        if fits:
            bits = {category for rule in fits for category in joined[rule]}
            yield msgspec.structs.replace(
                here, system=fits[0].system, code=fits[0].code, bits=tuple(sorted(bits)),
                age=None if here.age == ALL_AGES else here.age,
            )  # fmt: skip


def _after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def _before(day: str) -> str:
    return (date.fromisoformat(day) - timedelta(days=1)).isoformat() if day else ""


def _rule(line: int, row: dict[str, str]) -> Rule:
    """The conditions of a row, without its category."""
    where = f"codes.csv, line {line}: code {row['code']}"
    try:
        low, high = (int(row.get(c) or end) for c, end in zip(AGE_COLUMNS, ALL_AGES, strict=True))
    except ValueError as problem:
        raise RiskModelError(f"{where}: ages must be whole") from problem
    age = (low, high) if row.get("age_low") or row.get("age_high") else None
    first, last = row.get("first") or "", row.get("last") or ""
    if low >= high or row.get("sex", "") not in ("", "F", "M"):
        raise RiskModelError(f"{where}: expected sex F, M or none, and age_low below age_high")
    for day in (first, last):
        if day and not is_day(day):
            raise RiskModelError(f"{where}: {day!r} is not a date, expected YYYY-MM-DD")
    if last and last < first:
        raise RiskModelError(f"{where}: ends {last} before it starts")
    code = clean_codes([row["code"]], row["system"])[0]
    return Rule(row["system"], code, (), row.get("sex") or "", age, first=first, last=last)
