"""From a model's names to the kernels' numbers: bits, masks, rules, steps, coefficient rows.

Features are numbered in the order listed, those that codes can set first, so that condition bits
stand in the low words. Rules whose dates miss the model's code years are left out; rows without a
day of service are then held against the year alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models.audit import audit
from ihp_compute.risk.models.members import SEX_CODES
from ihp_compute.risk.models.schema import SYSTEMS, Model, Rule, Step, digest
from ihp_compute.units import NO_DAY, day_of, micro_of
from kernels.members.condition_flags import ANY_AGE, RULE_COLUMNS
from kernels.members.risk_score import AGES, OPERATIONS, STEP_COLUMNS


def clean_codes(codes: Iterable[str], system: str) -> list[str]:
    """Codes as the maps write them: upper case, no dots, blanks or hyphens; NDC of 11 digits."""
    plain = ["".join(code.upper().replace(".", "").split()) for code in codes]
    return [_of_eleven_digits(code) for code in plain] if system == "NDC" else plain


def _of_eleven_digits(code: str) -> str:
    parts = code.split("-")
    if len(parts) == len(NDC_WIDTHS):
        return "".join(part.zfill(n) for part, n in zip(parts, NDC_WIDTHS, strict=True))
    return "".join(parts).zfill(sum(NDC_WIDTHS)) if code else ""


NDC_WIDTHS: Final = (5, 4, 2)
LAST_DAY: Final = 2**31 - 1
MOST_SEGMENTS: Final = 30


@dataclass(frozen=True)
class CodeTable:
    """The code map of one system, ready for `condition_flags`."""

    lists: dict[str, int]
    """Rule list of each code; a code not here is list 0, which is empty."""
    rule_start: NDArray[np.int32]
    rules: NDArray[np.int32]
    rule_masks: NDArray[np.uint64]

    def entry(self, codes: Iterable[str]) -> NDArray[np.int32]:
        """Rule list by code number, for a dictionary of codes: int32[n_codes]."""
        found = self.lists
        return np.array([found.get(code, 0) for code in codes], np.int32)


@dataclass(frozen=True)
class Compiled:
    """A model as arrays; picklable. Shapes and dtypes are those of the kernels."""

    model: Model
    sha256: str
    names: tuple[str, ...]
    """Feature name of each bit."""
    n_input: int
    n_words: int
    tables: dict[str, CodeTable]
    steps: NDArray[np.int32]
    masks: NDArray[np.uint64]
    children: NDArray[np.uint64]
    table: NDArray[np.int32]
    coefficients_micro: NDArray[np.int64]
    """Row = segment number * number of columns + column number."""

    @cached_property
    def segment_names(self) -> tuple[str, ...]:
        """Segment names by number."""
        return tuple(segment.name for segment in self.model.segments)

    @cached_property
    def bit(self) -> dict[str, int]:
        """Bit of each feature."""
        return {name: bit for bit, name in enumerate(self.names)}


def slim(compiled: Compiled) -> Compiled:
    """The same without the code lists and the model's long tables: enough to score, quick to send.

    Codes must have been numbered before (`CodeTable.entry`).
    """
    return replace(
        compiled,
        model=msgspec.structs.replace(compiled.model, rules=(), coefficients=()),
        tables={system: replace(t, lists={}) for system, t in compiled.tables.items()},
    )


class _Tables:
    """Masks and small integer tables, shared where equal."""

    def __init__(self, bit: dict[str, int], n_words: int) -> None:
        self.bit, self.n_words = bit, n_words
        self.masks: list[NDArray[np.uint64]] = []
        self._known: dict[frozenset[str], int] = {}
        self.table: list[int] = []

    def mask(self, names: Iterable[str]) -> int:
        key = frozenset(names)
        if key not in self._known:
            self._known[key] = len(self.masks)
            self.masks.append(mask_of((self.bit[name] for name in key), self.n_words))
        return self._known[key]

    def gate(self, names: tuple[str, ...]) -> int:
        return self.mask(names) if names else -1

    def put(self, numbers: Iterable[int]) -> int:
        start = len(self.table)
        self.table += numbers
        return start

    def bits(self, names: Iterable[str]) -> list[int]:
        return [self.bit[name] if name else -1 for name in names]


def mask_of(bits: Iterable[int], n_words: int) -> NDArray[np.uint64]:
    """Bit set of the bit numbers: uint64[n_words]."""
    wide = 0
    for bit in bits:
        wide |= 1 << bit
    return np.array([wide >> 64 * w & (2**64 - 1) for w in range(n_words)], np.uint64)


def compile_model(
    model: Model, *, hierarchies: str | None = None, code_years: tuple[int, int] | None = None
) -> Compiled:
    """Audit a model and turn it into arrays.

    Parameters
    ----------
    model : Model
    hierarchies : str, optional
        "sequential" or "simultaneous" in place of what the model declares.
    code_years : tuple of int, optional
        First and last year of the rows to be mapped, in place of the model's own.

    Raises
    ------
    RiskModelError
        If the audit finds anything, or the model is too large for the kernels.
    """
    audit(model)
    if len(model.segments) > MOST_SEGMENTS:
        raise RiskModelError(f"risk model {model.name}: more than {MOST_SEGMENTS} segments")
    coded = {name for rule in model.rules for name in rule.bits}
    names = tuple(
        [f.name for f in model.features if f.name in coded]
        + [f.name for f in model.features if f.name not in coded]
    )
    bit = {name: number for number, name in enumerate(names)}
    n_input = -(-max(len(coded), 1) // 64)
    n_words = max(n_input, -(-len(names) // 64))
    children = np.zeros((64 * n_input, n_input), np.uint64)
    for hierarchy in model.hierarchies:
        if hierarchy.parent in coded:
            below = [bit[name] for name in hierarchy.children if name in coded]
            children[bit[hierarchy.parent]] = mask_of(below, n_input)
    tables = _Tables(bit, n_words)
    mode = hierarchies or model.hierarchy_mode
    steps = [
        _step(step, model, tables, simultaneous=mode == "simultaneous") for step in model.steps
    ]
    coefficients = np.zeros((len(model.segments) * len(model.columns), 64 * n_words), np.int64)
    row = {
        (segment.name, column): i * len(model.columns) + j
        for i, segment in enumerate(model.segments)
        for j, column in enumerate(model.columns)
    }
    for one in model.coefficients:
        coefficients[row[one.segment, one.column], bit[one.term]] = micro_of(one.value)
    years = code_years or model.code_years
    return Compiled(
        model=model,
        sha256=digest(model),
        names=names,
        n_input=n_input,
        n_words=n_words,
        tables={system: _code_table(model, system, bit, n_input, years) for system in SYSTEMS},
        steps=np.array(steps, np.int32).reshape(len(steps), len(STEP_COLUMNS)),
        masks=np.array(tables.masks, np.uint64).reshape(len(tables.masks), n_words),
        children=children,
        table=np.array(tables.table, np.int32),
        coefficients_micro=coefficients,
    )


def _step(step: Step, model: Model, tables: _Tables, *, simultaneous: bool) -> list[int]:
    numbers = {segment.name: i for i, segment in enumerate(model.segments)}
    flags = {flag.name: i for i, flag in enumerate(model.flags)}
    segments = sum(1 << numbers[name] for name in (step.segments or numbers))
    needed = sum(1 << flags[name] for name in step.flags)
    out = tables.bit[step.out] if step.out else 0
    a = b = c = d = -1
    x = y = z = 0
    if step.op == "PATCH":
        a, b = tables.mask(step.clear), tables.mask(step.unless)
    elif step.op == "HIER":
        a, x = tables.mask(h.parent for h in model.hierarchies), int(simultaneous)
    elif step.op == "EXCLUDE":
        a = tables.mask(step.clear)
    elif step.op == "GROUP":
        a, x = tables.mask(step.of), 1
    elif step.op == "ANY":
        a = tables.mask(step.of)
    elif step.op == "AND":
        if len(step.all_of) > 4:
            raise RiskModelError(f"risk model {model.name}: {step.out} joins more than 4 masks")
        a, b, c, d = [*(tables.mask(group) for group in step.all_of), -1, -1, -1, -1][:4]
    elif step.op == "RANK":
        pairs = [(tables.mask(group), tables.bit[name]) for group, name in step.ranks]
        a, y = tables.gate(step.gate), len(pairs)
        x, z = tables.put(v for pair in pairs for v in pair), tables.bits([step.default])[0]
    elif step.op == "CROSS":
        x = tables.put(
            [
                len(step.first), len(step.second), *tables.bits(step.first),
                *tables.bits(step.second), *tables.bits(step.outs),
            ]
        )  # fmt: skip
    elif step.op in ("COUNT", "DURATION"):
        a = tables.mask(step.of) if step.op == "COUNT" else -1
        b, x, y = tables.gate(step.gate), tables.put(tables.bits(step.outs)), len(step.outs)
    else:
        x, y, z = _cells(step, flags, tables, model.name)
    operation = OPERATIONS.index("AND" if step.op == "ANY" else step.op)
    return [operation, segments, needed, out, a, b, c, d, x, y, z]


def _cells(step: Step, flags: dict[str, int], tables: _Tables, name: str) -> tuple[int, int, int]:
    first = flags[step.variants[0]] if step.variants else 0
    if [flags[v] for v in step.variants] != list(range(first, first + len(step.variants))):
        raise RiskModelError(f"risk model {name}: variants of a CELL step must be adjacent flags")
    grid = np.full((1 << len(step.variants), 3, AGES), -1, np.int64)
    for cell in step.cells:
        variant = sum(1 << step.variants.index(flag) for flag in cell.when)
        place = grid[variant, SEX_CODES[cell.sex], slice(*cell.age)]
        if (place >= 0).any():
            raise RiskModelError(f"risk model {name}: cell {cell.out} overlaps another cell")
        place[:] = tables.bit[cell.out]
    return tables.put(int(v) for v in grid.ravel()), first, len(step.variants)


def _code_table(
    model: Model, system: str, bit: dict[str, int], n_input: int, years: tuple[int, int]
) -> CodeTable:
    first_day = day_of(date(years[0], 1, 1))
    last_day = day_of(date(years[1], 12, 31))
    by_code: dict[str, list[tuple[int, ...]]] = {}
    masks: dict[tuple[str, ...], NDArray[np.uint64]] = {}
    for rule in model.rules:
        if rule.system != system:
            continue
        row = _rule(rule)
        if row[5] > last_day or row[6] <= first_day:
            continue
        key = tuple(sorted(rule.bits))
        if key not in masks:
            masks[key] = mask_of((bit[name] for name in key), n_input)
        by_code.setdefault(rule.code, []).append((*row, *(int(v) for v in masks[key])))
    lists: dict[tuple[tuple[int, ...], ...], int] = {(): 0}
    of_code = {
        code: lists.setdefault(tuple(sorted(rows)), len(lists)) for code, rows in by_code.items()
    }
    flat = [row for rows in lists for row in rows]
    return CodeTable(
        lists=of_code,
        rule_start=np.concatenate([[0], np.cumsum([len(rows) for rows in lists])]).astype(np.int32),
        rules=np.array([row[: len(RULE_COLUMNS)] for row in flat], np.int32).reshape(
            len(flat), len(RULE_COLUMNS)
        ),
        rule_masks=np.array([row[len(RULE_COLUMNS) :] for row in flat], np.uint64).reshape(
            len(flat), n_input
        ),
    )


def _rule(rule: Rule) -> tuple[int, ...]:
    age = rule.age or (ANY_AGE, 0)
    edit = rule.edit_age or (ANY_AGE, 0)
    first = day_of(date.fromisoformat(rule.first)) if rule.first else NO_DAY
    last = day_of(date.fromisoformat(rule.last)) + 1 if rule.last else LAST_DAY
    return (SEX_CODES[rule.sex], *age, *edit, first, last)
