"""HHS-HCC V07 and V08 from a folder of published tables: `ihp risk import`.

    folder (weights, hierarchies, groups, maps) + diagnosis map + program facts -> Model

The folder names the categories that a code may set, the weights and which groups there are. The
diagnosis map, where given, replaces the codes' rows with splits by age and sex, the code editor's
ages and effective dates; without it codes that stand for alternatives set them all, and the import
says how many. The program facts are what neither carries; where the folder names groups, the
folder's win, and a list naming a group that the folder does not have stands for its members.

Order of the program, per segment (Infant under 2, Child under 21, Adult):

    hierarchies -> drug interactions -> severe and transplant gates -> groups -> counts -> duration
    infants: maturity x severity in one cell, sex by maturity

On Medicaid members the score is an analytic index, not a payment: platinum and no cost-sharing
factor unless the members' table says otherwise.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
    read_json,
)

PROGRAM: Final = Path(__file__).with_name("hhs_hcc_program.json")
SEGMENTS: Final = {"Infant": (0, 2), "Child": (2, 21), "Adult": (21, 128)}
METALS: Final = ("Platinum", "Gold", "Silver", "Bronze", "Catastrophic")
PREFIX: Final = "HHS_HCC"
OLDEST: Final = 999
ON_MEDICAID: Final = (
    "On Medicaid members: an analytic index, not a payment model; platinum and no cost-sharing "
    "factor unless stated per member."
)
FILES: Final = {
    "weights": "weights.csv",
    "categories": "category_definition.json",
    "hierarchies": "hierarchy_definition.json",
    "groups": "group_definition.json",
    "diagnoses": "diag_to_category_map.txt",
    "ndc": "ndc_to_category_map.txt",
    "hcpcs": "proc_to_category_map.txt",
}
OPTIONAL: Final = {"acf": "acf_to_category_map.txt"}
DIAGNOSIS_COLUMNS: Final = (
    "DGNS_CD", "CC_CD", "ACC_CD", "DGNS_CD_EFF_STRT_DT", "DGNS_CD_EFF_END_DT",
    "MIN_AGE_DGNS_INCLUDE", "MAX_AGE_DGNS_EXCLUDE", "CC_AGE_SPLIT_MIN_AGE_INC",
    "CC_AGE_SPLIT_MAX_AGE_EXC", "CC_SEX_SPLIT",
)  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """A model and what to tell about its import."""

    model: Model
    counts: dict[str, int] = field(default_factory=dict)


def import_folder(
    folder: Path,
    name: str,
    *,
    diagnosis_map: Path | None = None,
    program: Path | None = None,
    year: int | None = None,
) -> Imported:
    """Read a folder of HHS-HCC tables into a model.

    Parameters
    ----------
    folder : Path
        Folder with the files of `FILES`; drug cost factors (acf) are optional.
    name : str
        Name of the model.
    diagnosis_map : Path, optional
        CSV with the columns of `DIAGNOSIS_COLUMNS`.
    program : Path, optional
        Program facts in place of those shipped.
    year : int, optional
        Benefit year; None reads it from the folder's name.

    Raises
    ------
    RiskModelError
        If a file is missing or cannot be read, or the year is unknown.
    """
    paths = {what: folder / file for what, file in FILES.items()}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise RiskModelError(
            f"{folder}: not a folder of HHS-HCC tables; missing {', '.join(missing)}"
        )
    paths |= {what: folder / f for what, f in OPTIONAL.items() if (folder / f).is_file()}
    if year is None:
        if not re.fullmatch(r"20\d\d", folder.resolve().name):
            raise RiskModelError(f"{folder}: the folder's name is not a benefit year; give --year")
        year = int(folder.resolve().name)
    facts = read_json(program or PROGRAM, dict[str, Any])
    found = re.search(r"v(0\d)", str(folder.resolve()))
    version = f"V{found.group(1)}, " if found else ""
    draft = _Draft(paths, facts, year, diagnosis_map)
    model = draft.model(name, f"HHS-HCC {version}benefit year {year}", program)
    return Imported(model, draft.counts)


def _rows(path: Path) -> Iterator[list[str]]:
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if line.strip():
            yield [part.strip() for part in line.split("\t")]


class _Draft:
    """The folder's tables, read once; one method per part of the model."""

    def __init__(
        self, paths: dict[str, Path], facts: dict[str, Any], year: int, diagnosis_map: Path | None
    ) -> None:
        self.paths, self.facts, self.year, self.diagnosis_map = paths, facts, year, diagnosis_map
        self.counts: dict[str, int] = {}
        self.weights = self._weights()
        self.groups = self._groups()
        self.hierarchies = self._hierarchies()
        self.rules = (*self._diagnoses(), *self._drugs())
        self.coded = {bit for rule in self.rules for bit in rule.bits}
        self.hccs = sorted(bit for bit in self.coded if bit.startswith(PREFIX))
        self.counts["codes"] = len({(rule.system, rule.code) for rule in self.rules})

    def hcc(self, text: str) -> str:
        """Name of a category from any of the spellings of the tables."""
        plain = text.replace(".", "")
        return PREFIX + (self.facts["hcc_names_in_map"].get(plain) or plain.zfill(3))

    def _hccs(self, numbers: Iterable[str]) -> tuple[str, ...]:
        return tuple(n for n in (PREFIX + number for number in numbers) if n in self.coded)

    # --- tables -------------------------------------------------------------------------------

    def _weights(self) -> dict[str, dict[str, dict[str, str]]]:
        found: dict[str, dict[str, dict[str, str]]] = {segment: {} for segment in SEGMENTS}
        with self.paths["weights"].open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                terms = found.get(row.get("model", ""))
                if terms is None or any(metal not in row for metal in METALS):
                    raise RiskModelError(
                        f"{self.paths['weights'].name}: expected columns model, category, "
                        f"{', '.join(METALS)} and models {', '.join(SEGMENTS)}"
                    )
                term = row["category"].upper()
                if term in terms:
                    raise RiskModelError(f"{self.paths['weights'].name}: {term} is listed twice")
                terms[term] = {metal: row[metal] for metal in METALS}
        return found

    def _groups(self) -> dict[str, dict[str, list[str]]]:
        given = read_json(self.paths["groups"], dict[str, dict[str, str]])
        found: dict[str, dict[str, list[str]]] = {}
        for segment in ("Adult", "Child"):
            members = given.get(segment)
            if members is None:
                listed = self.facts[f"groups_{segment.lower()}"]
                found[segment] = {g: [PREFIX + n for n in ns] for g, ns in listed.items()}
                continue
            groups: dict[str, list[str]] = {}
            for hcc, group in members.items():
                groups.setdefault(group.upper(), []).append(hcc.upper())
            found[segment] = groups
        return found

    def _hierarchies(self) -> tuple[Hierarchy, ...]:
        given = read_json(self.paths["hierarchies"], dict[str, dict[str, Any]])
        return tuple(
            Hierarchy(
                parent.upper(), tuple(child.upper() for child in given[parent]["remove_code"])
            )
            for parent in sorted(given)
        )

    def _diagnoses(self) -> list[Rule]:
        codes: dict[str, set[str]] = {}
        for code, category, *_ in _rows(self.paths["diagnoses"]):
            codes.setdefault(code, set()).add(self.hcc(category))
        if self.diagnosis_map is None:
            self.counts["unsplit_codes"] = len(codes)
            return [Rule("ICD10", code, tuple(sorted(bits))) for code, bits in codes.items()]
        rules = self._mapped(self.diagnosis_map)
        mapped = {rule.code for rule in rules}
        self.counts["codes_only_in_folder"] = len(set(codes) - mapped)
        current = {rule.code for rule in rules if self._in_year(rule)}
        self.counts["codes_of_the_year_only_in_map"] = len(current - set(codes))
        self.counts["codes_of_other_years_in_map"] = len(mapped - current)
        self.counts["unsplit_codes"] = len(set(codes) - mapped)
        rules += [
            Rule("ICD10", code, tuple(sorted(codes[code]))) for code in sorted(set(codes) - mapped)
        ]
        return rules

    def _in_year(self, rule: Rule) -> bool:
        return rule.first <= f"{self.year}-12-31" and (rule.last or "9999") >= f"{self.year}-01-01"

    def _mapped(self, path: Path) -> list[Rule]:
        rules = []
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            absent = [c for c in DIAGNOSIS_COLUMNS if c not in (reader.fieldnames or ())]
            if absent:
                raise RiskModelError(f"{path.name}: no column {', '.join(absent)}")
            for row in reader:
                bits = [self.hcc(row["CC_CD"])]
                if row["ACC_CD"] not in ("", "0"):
                    bits.append(self.hcc(row["ACC_CD"]))
                rule = Rule(
                    "ICD10",
                    row["DGNS_CD"].strip().upper(),
                    tuple(bits),
                    sex={"female": "F", "male": "M"}.get(row["CC_SEX_SPLIT"], ""),
                    age=_ages(row["CC_AGE_SPLIT_MIN_AGE_INC"], row["CC_AGE_SPLIT_MAX_AGE_EXC"]),
                    edit_age=_ages(row["MIN_AGE_DGNS_INCLUDE"], row["MAX_AGE_DGNS_EXCLUDE"]),
                    first=row["DGNS_CD_EFF_STRT_DT"],
                    last=row["DGNS_CD_EFF_END_DT"],
                )
                rules.append(rule)
        # a third category of a code stands in a second row under the same conditions
        joined: dict[Rule, set[str]] = {}
        for rule in rules:
            joined.setdefault(msgspec.structs.replace(rule, bits=()), set()).update(rule.bits)
        return [
            msgspec.structs.replace(alike, bits=tuple(sorted(bits)))
            for alike, bits in joined.items()
        ]

    def _drugs(self) -> list[Rule]:
        rules: dict[Rule, None] = {}
        for system, what in (("NDC", "ndc"), ("HCPCS", "hcpcs")):
            for code, number, *_ in _rows(self.paths[what]):
                rules[Rule(system, code, (f"RXC_{int(number):02d}",))] = None
        if "acf" in self.paths:
            for code, factor, *_ in _rows(self.paths["acf"]):
                system = "NDC" if code.isdigit() else "HCPCS"
                base = factor.upper().removesuffix("_CHILD")
                rules[Rule(system, code, (base,))] = None
        merged: dict[tuple[str, str], list[str]] = {}
        for rule in rules:
            merged.setdefault((rule.system, rule.code), []).extend(rule.bits)
        return [Rule(s, code, tuple(sorted(bits))) for (s, code), bits in merged.items()]

    # --- program ------------------------------------------------------------------------------

    def _of(self, segment: str, hccs: str, groups: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Categories and groups of a list; a group that is not here stands for its members."""
        have = self.groups[segment]
        plain = [PREFIX + n for n in self.facts[hccs]]
        named = []
        for group in self.facts[groups]:
            if group in have:
                named.append(group)
            else:
                plain += [PREFIX + n for n in self.facts["groups_adult"][group]]
        return tuple(n for n in plain if n in self.coded), tuple(named)

    def _paid(self, segment: str) -> tuple[list[str], list[str]]:
        """Categories with a weight of their own in a segment, and those grouped."""
        grouped = [n for names in self.groups[segment].values() for n in names if n in self.coded]
        weighted = set(self.weights[segment])
        return [n for n in self.hccs if n in weighted and n not in grouped], grouped

    def steps(self) -> tuple[Step, ...]:
        drugs = sorted(b for b in self.coded if not b.startswith(PREFIX))
        steps = []
        if drugs:
            rxc = tuple(b for b in drugs if b.startswith("RXC_"))
            steps.append(Step("EXCLUDE", segments=("Infant",), clear=tuple(drugs)))
            steps.append(Step("EXCLUDE", segments=("Child",), clear=rxc))
        steps.append(Step("HIER"))
        steps += self._interactions()
        for segment in ("Child", "Adult"):
            steps += self._counted(segment)
        return (*steps, *self._infants(), *self._cells(), *self._cost_factors(drugs))

    def _interactions(self) -> Iterator[Step]:
        for drug, one in self.facts["rxc"]["interactions"].items():
            if drug not in self.coded:
                continue
            yield Step("AND", segments=("Adult",), out=one["term"].upper(),
                       all_of=((drug,), self._hccs(one["any_of"])))  # fmt: skip
        for term, expression in self.facts["rxc"]["rxc_09"]:
            if "RXC_09" not in self.coded:
                continue
            parts = [re.findall(r"\d[\d_]*", part) for part in expression.split(" and ")]
            yield Step("AND", segments=("Adult",), out=term.upper(),
                       all_of=(("RXC_09",), *(self._hccs(part) for part in parts)))  # fmt: skip

    def _counted(self, segment: str) -> Iterator[Step]:
        here = (segment,)
        paid, grouped = self._paid(segment)
        unpaid = tuple(n for n in self.hccs if n not in paid and n not in grouped)
        if unpaid:
            yield Step("EXCLUDE", segments=here, clear=unpaid)
        gates = {"SEVERE": "severe", "TRANSPLANT": "transplant"}
        for gate, stem in gates.items():
            hccs, _ = self._of(segment, f"{stem}_hccs", f"{stem}_groups")
            yield Step("ANY", segments=here, out=f"ANY_{gate}", of=hccs)
        for group, members in self.groups[segment].items():
            of = tuple(n for n in members if n in self.coded)
            yield Step("GROUP", segments=here, out=group, of=of)
        uncounted = {PREFIX + n for n in self.facts.get("uncounted_hccs", ["022"])}
        counted = (*(n for n in paid if n not in uncounted), *self.groups[segment])
        for gate, stem in gates.items():
            _, groups = self._of(segment, f"{stem}_hccs", f"{stem}_groups")
            if groups:
                yield Step("ANY", segments=here, out=f"ANY_{gate}", of=groups)
            outs = self._by_count(segment, f"{gate}_HCC_COUNT")
            if outs:
                yield Step("COUNT", segments=here, of=counted, gate=(f"ANY_{gate}",), outs=outs)
        months = [t for t in self.weights[segment] if re.fullmatch(r"HCC_ED\d+", t)]
        if months:
            last = max(int(t.removeprefix("HCC_ED")) for t in months)
            names = [f"HCC_ED{n}" if f"HCC_ED{n}" in months else "" for n in range(1, last + 1)]
            yield Step("DURATION", segments=here, gate=counted, outs=("", *names, ""))

    def _by_count(self, segment: str, stem: str) -> tuple[str, ...]:
        """Term by count, from the names of the weights: COUNT3, COUNT6_7, COUNT8PLUS."""
        bands = {}
        for term in self.weights[segment]:
            found = re.fullmatch(rf"{stem}(\d+)(?:_(\d+)|(PLUS))?", term)
            if found:
                low = int(found[1])
                bands[low] = (int(found[2]) if found[2] else low, bool(found[3]), term)
        if not bands:
            return ()
        outs = [""] * (max(high for high, _, _ in bands.values()) + 1)
        for low, (high, _, term) in bands.items():
            outs[low : high + 1] = [term] * (high + 1 - low)
        return tuple(outs) if bands[max(bands)][1] else (*outs, "")

    def _infants(self) -> Iterator[Step]:
        here = ("Infant",)
        maturity = [(name, self._hccs(hccs)) for name, hccs in self.facts["infant_maturity"]]
        birth = tuple(n for _, hccs in maturity for n in hccs)
        severity = {int(k): list(v) for k, v in self.facts["infant_severity"].items()}
        for before, moved in self.facts.get("infant_severity_before", {}).items():
            if self.year < int(before):
                for hcc, level in moved.items():
                    severity = {k: [n for n in v if n != hcc] for k, v in severity.items()}
                    severity[int(level)].append(hcc)
        levels = sorted(severity, reverse=True)
        names = [*(name for name, _ in maturity), "AGE1"]
        yield Step("EXCLUDE", segments=here, flags=("AGE_1",), clear=birth)
        yield Step("RANK", segments=here, default="MATURITY_AGE1",
                   ranks=tuple((hccs, f"MATURITY_{name}") for name, hccs in maturity))  # fmt: skip
        ranks = tuple((self._hccs(severity[n]), f"SEVERITY_{n}") for n in levels)
        yield Step("RANK", segments=here, default="SEVERITY_1", ranks=ranks)
        yield Step(
            "CROSS", segments=here, first=tuple(f"MATURITY_{name}" for name in names),
            second=tuple(f"SEVERITY_{n}" for n in levels),
            outs=tuple(f"{name}_X_SEVERITY{n}" for name in names for n in levels),
        )  # fmt: skip
        yield Step("RANK", segments=here, flags=("MALE",), ranks=((birth, "AGE0_MALE"),),
                   default="AGE1_MALE")  # fmt: skip
        yield Step("EXCLUDE", segments=here, clear=tuple(self.hccs))

    def _cells(self) -> Iterator[Step]:
        for segment in ("Child", "Adult"):
            cells = []
            for term in self.weights[segment]:
                found = re.fullmatch(r"([MF])AGE_LAST_(\d+)_(\d+|GT)", term)
                if found:
                    high = 128 if found[3] == "GT" else int(found[3]) + 1
                    cells.append(Cell(term, found[1], (int(found[2]), high)))
            yield Step("CELL", segments=(segment,), cells=tuple(cells))

    def _cost_factors(self, drugs: list[str]) -> Iterator[Step]:
        for factor in drugs:
            if factor.startswith("RXC_"):
                continue
            for segment in ("Child", "Adult"):
                term = next(
                    (
                        t
                        for t in (f"{factor}_{segment.upper()}", factor)
                        if t in self.weights[segment]
                    ),
                    "",
                )
                if term and term != factor:
                    yield Step("AND", segments=(segment,), out=term, all_of=((factor,),))
                if term != factor:
                    yield Step("EXCLUDE", segments=(segment,), clear=(factor,))

    # --- the model ----------------------------------------------------------------------------

    def _coefficients(self) -> tuple[Coefficient, ...]:
        found = []
        dropped = 0
        for segment, terms in self.weights.items():
            grouped = self._paid(segment)[1] if segment in self.groups else []
            for term, by_metal in terms.items():
                if term in grouped:
                    dropped += 1
                    continue
                found += [Coefficient(segment, m, term, by_metal[m]) for m in METALS]
        self.counts["weights_of_grouped_categories_left_out"] = dropped
        return tuple(found)

    def _csr(self) -> dict[str, str]:
        by_year = self.facts.get("csr", {})
        years = [y for y in by_year if int(y) <= self.year]
        return dict(by_year[max(years, key=int)]) if years else {}

    def model(self, name: str, version: str, program: Path | None) -> Model:
        """The finished model; not audited yet."""
        steps = self.steps()
        kinds = {**dict.fromkeys(sorted(self.coded), "CC")}
        kinds |= {n: n[:3] for n in sorted(self.coded) if not n.startswith(PREFIX)}
        for step in steps:
            made = (step.out, *step.outs, step.default, *(out for _, out in step.ranks),
                    *(cell.out for cell in step.cells))  # fmt: skip
            for term in made:
                flag = term.startswith(("ANY_", "MATURITY_", "SEVERITY_"))
                kind = "FLAG" if flag else "GROUP" if step.op == "GROUP" else "TERM"
                kinds.setdefault(term, kind)
        kinds.pop("", None)
        labels = read_json(self.paths["categories"], dict[str, dict[str, Any]])
        described = {k.upper(): str(v.get("descr", "")) for k, v in labels.items()}
        files = [*self.paths.values(), program or PROGRAM]
        if self.diagnosis_map is not None:
            files.append(self.diagnosis_map)
        csr = self._csr()
        return Model(
            name=name,
            version=version,
            family="HHS-HCC",
            year=self.year,
            code_years=(self.year, self.year),
            features=tuple(Feature(n, kind, described.get(n, "")) for n, kind in kinds.items()),
            flags=(
                Flag("AGE_1", (Condition(age=(1, 2)),)),
                Flag("MALE", (Condition(sex="M"),)),
            ),
            segments=tuple(Segment(n, Condition(age=ages), ages) for n, ages in SEGMENTS.items()),
            rules=self.rules,
            hierarchies=tuple(h for h in self.hierarchies if h.parent in self.coded),
            steps=steps,
            columns=METALS,
            default_column="Platinum",
            coefficients=self._coefficients(),
            edit_age="service_date",
            timing="concurrent",
            diagnoses_from="risk_adjustable",
            csr=csr,
            post_steps=(PostStep("multiply_csr", "", 3, "CSR variant"),) if csr else (),
            notes=(
                ON_MEDICAID,
                f"Program: {self.facts.get('source', self.facts.get('_about', ''))}",
            ),
            sources=tuple(
                Source(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
            ),
        )  # fmt: skip


def _ages(low: str, high: str) -> tuple[int, int] | None:
    """Half-open ages, None where they exclude nobody."""
    bounds = (int(low or 0), int(high or OLDEST))
    return None if bounds == (0, OLDEST) else bounds
