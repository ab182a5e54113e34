"""What a run measures of use of care, from its programme and what its population holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.contracts import load_programme
from ihp_compute.measure.emergency import avoidable_shares
from ihp_compute.measure.programme.outcomes import Outcomes
from ihp_compute.measure.utilisation import compile_use
from tests.ihp_compute.measure.use_cases import SHARES, VISITS

CODES = {
    "dx": ["", "630", "I10", "J069", "J0690", "J10", "O80", "OO", "P0739", "Z3800", "o80"],
    "hcpcs": ["", "99213", "99381", "99382", "99395", "99396", "S0302", "S0613", "S0614"],
}


class Population:
    """Code lists, and a classifier of emergency visits if there is one."""

    def __init__(self, classifier: dict[str, str] | None = None) -> None:
        self._classifier = classifier

    def codes(self, system: str) -> pa.Array:
        return pa.array(CODES[system])

    def reference(self, name: str) -> pa.Table | None:
        if name != "ed_classifier" or self._classifier is None:
            return None
        return _table(self._classifier)


def _table(classifier: dict[str, str]) -> pa.Table:
    columns = {"dx_prefix": list(classifier), "avoidable_share": list(classifier.values())}
    return pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))


def _rule(programme: str, population: Any) -> Any:
    return compile_use(VISITS, population, load_programme(programme, 2024))


def test_a_run_without_a_programme_measures_stays_visits_and_readmissions() -> None:
    rule = _rule("none", Population(SHARES))
    assert rule.measured == ("stays", "ed_visits", "readmissions")


def test_the_standard_programme_measures_what_the_population_can_tell() -> None:
    assert "ed_avoidable" not in _rule("standard", Population()).measured
    rule = _rule("standard", Population(SHARES))
    assert rule.measured == (
        "stays", "ed_visits", "ed_avoidable", "readmissions", "follow_up", "well_child",
    )  # fmt: skip
    assert (rule.follow_up_days, rule.child.from_age, rule.child.to_age) == (14, 3, 21)
    assert rule.child.least_months == 11
    preventive = [
        c for c, is_one in zip(CODES["hcpcs"], rule.child.preventive, strict=True) if is_one
    ]
    assert preventive == ["99382", "99395", "S0302", "S0613"]


def test_pregnancy_and_the_perinatal_period_are_chapters_of_icd_10() -> None:
    """A code of ICD-9-CM begins with a digit; codes are in upper case."""
    rule = _rule("none", Population())
    maternal = [c for c, is_one in zip(CODES["dx"], rule.maternal, strict=True) if is_one]
    assert maternal == ["O80", "OO", "P0739"]


def test_what_a_population_lacks_is_a_finding() -> None:
    def told(population: Any) -> set[str]:
        # what is lacking is asked of the population alone: no plan is needed
        return {one.finding for one in Outcomes.absent(None, population)}  # type: ignore[arg-type]

    assert told(Population()) == {"outcomes_without_factors", "no_ed_classifier"}
    assert told(Population(SHARES)) == {"outcomes_without_factors"}


def test_the_longest_prefix_decides() -> None:
    shares = avoidable_shares(_table(SHARES), CODES["dx"])
    assert dict(zip(CODES["dx"], shares.tolist(), strict=True)) == {
        "": 0, "630": 0, "I10": 0, "J069": 700_000, "J0690": 700_000, "J10": 250_000, "O80": 0,
        "OO": 0, "P0739": 0, "Z3800": 0, "o80": 0,
    }  # fmt: skip


CODE = st.text("A0Z9", min_size=1, max_size=4)
SHARE = st.integers(0, 1_000_000).map(lambda micro: str(Decimal(micro).scaleb(-6)))


@given(st.dictionaries(CODE, SHARE, max_size=8), st.sets(CODE, max_size=12))
def test_shares_are_those_of_the_prefixes_read_one_by_one(
    classifier: dict[str, str], codes: set[str]
) -> None:
    diagnoses = ["", *sorted(codes)]
    expected = []
    for code in diagnoses:
        known = [code[:n] for n in range(len(code), 0, -1) if code[:n] in classifier]
        expected.append(int(Decimal(classifier[known[0]]) * 1_000_000) if known else 0)
    assert avoidable_shares(_table(classifier), diagnoses).tolist() == expected
