"""Whether a model makes sense, asked when it is loaded: a silent zero is the usual defect.

    names -> segments -> code map -> hierarchies -> program, segment by segment -> coefficients

For every segment the program is walked with all bits that could be set; what may be left at the
end must have a coefficient, and every coefficient must be for something that may be left. All
findings are reported together. A segment that no member can be of, because others before it take
everybody whom it fits, is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from itertools import combinations

import numpy as np

from ihp_compute.contracts import EVERY_CLAIM, NEWBORNS, RISK_ADJUSTABLE, TIMINGS
from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models.members import GROUPS, SEX_CODES, Profiles, holds, tests_of
from ihp_compute.risk.models.schema import (
    EDIT_AGES,
    HIERARCHIES,
    KINDS,
    OPERATIONS,
    SYSTEMS,
    Condition,
    Model,
    Rule,
    Segment,
    Step,
)
from ihp_compute.risk.models.weights import weight_micro

SHOWN = 12
MONTHS_OF_A_YEAR = 12


def audit(model: Model) -> None:
    """Refuse a model that does not make sense.

    Raises
    ------
    RiskModelError
        With every finding, the first dozen in full.
    """
    findings = [*_names(model)]
    if not findings:
        findings = [*_unreached(model), *_rules(model), *_hierarchies(model), *_coefficients(model)]
    if findings:
        more = f"; and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
        raise RiskModelError(f"risk model {model.name}: {'; '.join(findings[:SHOWN])}{more}")


def _twice(what: str, names: list[str]) -> list[str]:
    return [f"{what} {name!r} is listed {n} times" for name, n in Counter(names).items() if n > 1]


def _names(model: Model) -> list[str]:
    features = [f.name for f in model.features]
    segments = [s.name for s in model.segments]
    flags = [f.name for f in model.flags]
    known = set(features)
    found = _twice("feature", features) + _twice("segment", segments) + _twice("flag", flags)
    found += [f"feature {f.name!r} has unknown kind {f.kind!r}" for f in model.features
              if f.kind not in KINDS]  # fmt: skip
    if model.hierarchy_mode not in HIERARCHIES:
        found.append(f"unknown hierarchy mode {model.hierarchy_mode!r}")
    if model.edit_age not in EDIT_AGES:
        found.append(f"unknown edit age {model.edit_age!r}")
    if model.timing not in ("", *TIMINGS):
        found.append(f"unknown timing {model.timing!r}; use one of {', '.join(TIMINGS)}")
    if model.newborn not in ("", *NEWBORNS):
        found.append(f"unknown newborn rule {model.newborn!r}; use one of {', '.join(NEWBORNS)}")
    if model.diagnoses_from not in ("", EVERY_CLAIM, RISK_ADJUSTABLE):
        found.append(
            f"unknown rule of diagnoses {model.diagnoses_from!r}; use {EVERY_CLAIM} or "
            f"{RISK_ADJUSTABLE}"
        )
    if not 0 <= model.minimum_months <= MONTHS_OF_A_YEAR:
        found.append(f"minimum_months is {model.minimum_months}, expected 0 to 12")
    if model.default_column not in model.columns:
        found.append(f"default column {model.default_column!r} is not among the columns")
    for test in tests_of(model):
        for group, (name, names) in GROUPS.items():
            strange = set(getattr(test, group) or ()) - set(names)
            found += [f"unknown {name} {one!r}; use {', '.join(names)}" for one in sorted(strange)]
    for index, step in enumerate(model.steps):
        where = f"step {index + 1} ({step.op})"
        if step.op not in OPERATIONS:
            found.append(f"{where}: unknown operation")
        found += [f"{where}: unknown feature {n!r}" for n in sorted(_used(step) - known)]
        found += [
            f"{where}: cell {cell.out} is of sex {cell.sex!r}, expected F or M"
            for cell in step.cells
            if cell.sex not in SEX_CODES
        ]
        unknown = (set(step.segments) - set(segments)) | (
            (set(step.flags) | set(step.variants)) - set(flags)
        )
        found += [f"{where}: unknown segment or flag {name!r}" for name in sorted(unknown)]
    for rule in model.rules:
        if rule.system not in SYSTEMS or not rule.bits or set(rule.bits) - known:
            found.append(f"code {rule.system} {rule.code}: unknown system, or unknown or no bits")
    for hierarchy in model.hierarchies:
        strange = {hierarchy.parent, *hierarchy.children} - known
        found += [f"hierarchy of {hierarchy.parent!r}: unknown feature {n!r}" for n in strange]
    return found


def _used(step: Step) -> set[str]:
    names = {step.out, step.default, *step.clear, *step.unless, *step.of, *step.gate}
    names |= {*step.first, *step.second, *step.outs}
    names |= {name for group in step.all_of for name in group}
    names |= {name for group, out in step.ranks for name in (*group, out)}
    names |= {cell.out for cell in step.cells}
    return names - {""}


def _unreached(model: Model) -> list[str]:
    """Segments that no member can be of, and which others take the members whom they fit."""
    tests = [s.test for s in model.segments] + [Condition(age=s.ages) for s in model.segments]
    people = Profiles(tests).stand_ins
    whole = (people.age >= 0) & (people.sex > 0)
    fits = [holds(s.test, people) & whole for s in model.segments]
    first = np.full(len(people), len(fits), np.int64)
    for place in range(len(fits) - 1, -1, -1):
        first[fits[place]] = place
    found = []
    for place, segment in enumerate(model.segments):
        weighed = fits[place] & holds(Condition(age=segment.ages), people)
        if (weighed & (first == place)).any():
            continue
        hiding = [model.segments[other].name for other in np.unique(first[weighed])]
        why = f"hidden by {' and '.join(hiding)} before it" if hiding else "it fits nobody"
        found.append(
            f"segment {segment.name}: no member can be of it, {why}; give it ages, aid groups or "
            "rate cells of its own, or put it first"
        )
    return found


def overlap(a: Rule, b: Rule) -> bool:
    """Whether some member and day fit both rules' sex, age and dates."""
    if a.sex and b.sex and a.sex != b.sex:
        return False
    low, high = (
        max((a.age or (0, 999))[0], (b.age or (0, 999))[0]),
        min((a.age or (0, 999))[1], (b.age or (0, 999))[1]),
    )
    if low >= high:
        return False
    return max(a.first, b.first) <= min(a.last or "9999", b.last or "9999")


def _rules(model: Model) -> list[str]:
    by_code: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in model.rules:
        by_code[rule.system, rule.code].append(rule)
    found = []
    for (system, code), rules in by_code.items():
        for a, b in combinations(rules, 2):
            if a == b:
                found += [f"code {system} {code} has the same row twice"]
            elif overlap(a, b):
                found.append(
                    f"code {system} {code} has rows that overlap in sex, age and dates "
                    f"({'+'.join(a.bits)} and {'+'.join(b.bits)})"
                )
        for rule in rules:
            if rule.sex not in SEX_CODES:
                found.append(f"code {system} {code}: sex {rule.sex!r}, expected F, M or none")
            found += [
                f"code {system} {code}: {day!r} is not a date, expected YYYY-MM-DD"
                for day in (rule.first, rule.last)
                if not is_day(day)
            ]
            for bounds in (rule.age, rule.edit_age):
                if bounds is not None and bounds[0] >= bounds[1]:
                    found.append(f"code {system} {code}: empty age range {bounds}")
            if rule.last and rule.last < rule.first:
                found.append(f"code {system} {code}: ends {rule.last} before it starts")
    return found


def is_day(text: str) -> bool:
    """Whether a text is empty or an ISO date."""
    try:
        return not text or date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _hierarchies(model: Model) -> list[str]:
    order = {feature.name: bit for bit, feature in enumerate(model.features)}
    below = {h.parent: set(h.children) for h in model.hierarchies}
    found = _twice("hierarchy of", [h.parent for h in model.hierarchies])
    bits = [order[h.parent] for h in model.hierarchies]
    if bits != sorted(bits):
        found.append("hierarchies are not listed in the order of the features")
    for parent, children in below.items():
        if parent in children:
            found.append(f"hierarchy of {parent!r} clears itself")
        if model.hierarchy_mode == "sequential":
            continue
        for child in children:
            found += [
                f"hierarchy is not closed: {parent} > {child} > {last}, but {parent} does not "
                f"clear {last}; declare the model sequential"
                for last in sorted(below.get(child, set()) - children - {parent})
            ]
    return found


def emitted(model: Model, segment: Segment) -> set[str]:
    """Every bit that may be set at the end for a member of the segment."""
    left = {bit for rule in model.rules for bit in rule.bits}
    for step in model.steps:
        if step.segments and segment.name not in step.segments:
            continue
        always = not step.flags
        if step.gate and not left & set(step.gate):
            continue
        if (step.op == "EXCLUDE" and always) or (
            step.op == "PATCH" and always and not left & set(step.unless)
        ):
            left -= set(step.clear)
        elif step.op == "GROUP" and left & set(step.of):
            left = (left - set(step.of) if always else left) | {step.out}
        elif (step.op == "ANY" and left & set(step.of)) or (
            step.op == "AND" and all(left & set(group) for group in step.all_of)
        ):
            left.add(step.out)
        elif step.op == "RANK":
            left |= {out for group, out in step.ranks if left & set(group)} | {step.default}
        elif step.op == "CROSS":
            left |= {
                step.outs[i * len(step.second) + j]
                for i, one in enumerate(step.first)
                for j, other in enumerate(step.second)
                if one in left and other in left
            }
        elif step.op == "COUNT":
            most = min(len(left & set(step.of)), len(step.outs) - 1)
            left |= set(step.outs[: most + 1])
        elif step.op == "DURATION":
            left |= set(step.outs)
        elif step.op == "CELL":
            left |= {
                cell.out
                for cell in step.cells
                if max(cell.age[0], segment.ages[0]) < min(cell.age[1], segment.ages[1])
            }
        left.discard("")
    return left


def _coefficients(model: Model) -> list[str]:
    unscored = {feature.name for feature in model.features if feature.kind == "FLAG"}
    known = {feature.name for feature in model.features}
    keys = [f"{c.segment}/{c.column}/{c.term}" for c in model.coefficients]
    found = _twice("coefficient", keys)
    have: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in model.coefficients:
        if one.term not in known:
            found.append(f"coefficient {one.segment}/{one.term}: unknown term")
            continue
        have[one.segment, one.column].add(one.term)
        try:
            weight_micro(one.value)
        except RiskModelError as problem:
            found.append(f"coefficient {one.segment}/{one.term}: {problem}")
    expected = {(s.name, column) for s in model.segments for column in model.columns}
    found += [f"coefficients for unknown segment or column {k}" for k in set(have) - expected]
    for segment in model.segments:
        may_be = emitted(model, segment) - unscored
        for column in model.columns:
            terms = have.get((segment.name, column), set())
            where = f"segment {segment.name}{f' column {column}' if column else ''}"
            found += [
                f"{where}: {term} can be set but has no coefficient"
                for term in sorted(may_be - terms)
            ]
            found += [
                f"{where}: coefficient of {term}, which no step can set"
                for term in sorted(terms - may_be)
            ]
    return found
