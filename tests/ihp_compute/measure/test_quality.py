"""Quality scores by hand: points, weights, what is dropped, what is refused.

Expected points are worked by hand in each test. The reading in `test_quality_read_slowly` stands
apart from the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute import contracts
from ihp_compute.contracts import Agreement
from ihp_compute.errors import ContractError, DataError
from ihp_compute.measure.quality import MeasuredScore, interim_scores, quality_of
from ihp_compute.measure.quality_points import MeasurePoints, points_of
from ihp_compute.measure.quality_tables import CLAIMS, Measure
from ihp_compute.population import Population

HALF = "mn-ihp-2.0-track-2"


class _Reference(Population):
    """A population of reference tables alone."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        self.tables = {name: pa.Table.from_pylist(rows) for name, rows in tables.items()}

    def reference(self, name: str) -> pa.Table | None:
        return self.tables.get(name)


def agreement(**terms: Any) -> Agreement:
    """Half of a gain rests on quality; other terms by path, `floor__asthma` of `quality.`."""
    values = {f"quality.{path.replace('__', '.')}": value for path, value in terms.items()}
    return contracts.load(HALF).override(values).at(2023)


def row(partnership: str, value: str, year: str = "2023") -> dict[str, Any]:
    return {"partnership_id": partnership, "performance_year": year, "score": value}


def given_row(
    partnership: str, numerator: str, year: str = "2023", measure: str = "asthma", **more: Any
) -> dict[str, Any]:
    return {
        "partnership_id": partnership, "performance_year": year, "measure": measure,
        "domain": None, "numerator": numerator, "denominator": "40", **more,
    }  # fmt: skip


def measures(**rates: int) -> list[Measure]:
    """One measure of 100 cases a partnership."""
    return [Measure(name, "asthma", "clinical", n, 100) for name, n in rates.items()]


def reversed_measures(**rates: int) -> list[Measure]:
    return [
        Measure(name, "bleeds", "", n, 100, higher_is_better=False) for name, n in rates.items()
    ]


def points(
    rows: Sequence[Measure], before: Sequence[Measure] = (), **terms: Any
) -> dict[str, tuple[MeasurePoints, ...]]:
    whose = {m.partnership_id: HALF for m in rows}
    return points_of(rows, before, agreement(**terms).quality, whose)


def scores(
    rows: Sequence[Measure], before: Sequence[Measure] = (), **terms: Any
) -> dict[str, Decimal | None]:
    return {
        name: MeasuredScore.of(found).score for name, found in points(rows, before, **terms).items()
    }


def earned(found: Mapping[str, Sequence[MeasurePoints]]) -> dict[str, Fraction]:
    return {name: one.points for name, (one, *_) in found.items()}


def scores_of(population: Population, *names: str, **terms: Any) -> Mapping[str, Decimal | None]:
    return quality_of(population, 2023, dict.fromkeys(names, agreement(**terms))).scores


def test_supplied_scores_stand_as_they_are() -> None:
    population = _Reference(
        quality_score=[row("A", "0.82"), row("B", "1"), row("A", "0.1", "2022")]
    )
    assert scores_of(population, "A", "B") == {"A": Decimal("0.82"), "B": Decimal(1)}


def test_without_tables_nobody_has_a_score() -> None:
    assert scores_of(_Reference(), "A") == {}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("A", "1.2")], "A: found 1.2, expected 0 to 1"),
        ([row("A", "good")], "A: score is not a number"),
        ([row("A", "0.5"), row("A", "0.6")], "A stands twice for 2023"),
    ],
)
def test_an_impossible_score_is_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scores_of(_Reference(quality_score=rows), "A")


def test_points_rise_from_a_low_to_a_high_rank_of_the_state() -> None:
    found = earned(points(measures(**{f"P{i}": 10 * i for i in range(1, 11)})))
    assert found["P3"] == 0
    assert found["P6"] == Fraction(1, 2)
    assert found["P9"] == found["P10"] == 1


def test_of_a_measure_where_less_is_better_the_lowest_rates_earn_most() -> None:
    """Worst first: 100, 90, 80 … so points begin at 80 and are all earned at 20 and below."""
    found = earned(points(reversed_measures(**{f"P{i}": 10 * i for i in range(1, 11)})))
    assert found["P8"] == found["P10"] == 0
    assert found["P5"] == Fraction(1, 2)
    assert found["P1"] == found["P2"] == 1


def test_equal_rates_earn_all_points() -> None:
    assert set(earned(points(measures(A=40, B=40, C=40))).values()) == {Fraction(1)}
    assert set(earned(points(reversed_measures(A=40, B=40))).values()) == {Fraction(1)}


def test_a_small_denominator_is_dropped_and_the_rest_carry_its_weight() -> None:
    rows = [
        *measures(A=90, B=10),
        Measure("A", "diabetes", "clinical", 0, 29),
        Measure("B", "diabetes", "clinical", 30, 30),
    ]
    assert scores(rows) == {"A": Decimal(1), "B": Decimal("0.5")}
    (asthma, diabetes) = points(rows)["A"]
    assert [asthma.weight, diabetes.weight] == [1, 0]
    assert (diabetes.counted, diabetes.flag) == (False, "small_denominator")


def test_a_domain_without_a_measure_that_counts_leaves_its_weight_to_the_others() -> None:
    rows = [
        *measures(A=10, B=90),
        Measure("A", "talks", "experience", 5, 12),
        Measure("B", "talks", "experience", 50, 60),
    ]
    assert [one.weight for one in points(rows)["A"]] == [1, 0]
    assert [one.weight for one in points(rows)["B"]] == [Fraction(1, 2), Fraction(1, 2)]


def test_domains_weigh_alike_whatever_their_number_of_measures() -> None:
    rows = [
        Measure(name, measure, domain, n, 100)
        for measure, domain in (("a", "clinical"), ("b", "clinical"), ("c", "experience"))
        for name, n in (("low", 10), ("high", 90))
    ]
    rows.append(Measure("mixed", "a", "clinical", 90, 100))
    rows.append(Measure("mixed", "b", "clinical", 90, 100))
    rows.append(Measure("mixed", "c", "experience", 10, 100))
    assert scores(rows)["mixed"] == Decimal("0.5")
    weighed: dict[str, Any] = {"domain_weight__clinical": 3, "domain_weight__experience": "1"}
    assert scores(rows, **weighed)["mixed"] == Decimal("0.75")
    uneven: dict[str, Any] = {"measure_weight__a": 1, "measure_weight__b": 4}
    assert [one.weight for one in points(rows, **weighed, **uneven)["mixed"]] == [
        Fraction(3, 20), Fraction(12, 20), Fraction(5, 20),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            {"domain_weight__clinical": 3},
            "domain_weight.experience: found nothing, expected its weight: clinical has one",
        ),
        (
            {"measure_weight__asthma": 3},
            "measure_weight.bleeds: found nothing, expected its weight: asthma has one",
        ),
    ],
)
def test_a_weight_beside_which_others_have_none_is_refused(
    terms: dict[str, Any], message: str
) -> None:
    rows = [
        *measures(A=10),
        Measure("A", "bleeds", "clinical", 10, 100),
        Measure("A", "talks", "experience", 10, 100),
    ]
    with pytest.raises(ContractError, match=message):
        points(rows, **terms)


def test_a_domain_of_weight_nought_counts_for_nothing_and_alone_makes_no_score() -> None:
    rows = [*measures(A=90), Measure("B", "talks", "experience", 1, 100)]
    terms: dict[str, Any] = {"domain_weight__clinical": 0, "domain_weight__experience": 1}
    assert scores(rows, **terms) == {"A": None, "B": Decimal(1)}


def test_a_partnership_of_small_numbers_only_has_no_score() -> None:
    found = points([Measure("A", "m", "", 5, 10), Measure("A", "n", "", 9, 29)])
    assert MeasuredScore.of(found["A"]).score is None
    assert MeasuredScore.of(found["A"]).std_error == 0
    assert [one.weight for one in found["A"]] == [0, 0]


def test_improvement_counts_where_it_is_more() -> None:
    """B at 40 stands at the floor, 0 of attainment; from 20 to 40 it went a third of the way to 80.

    A fell, C stands at the ceiling.
    """
    rows, before = measures(A=60, B=40, C=80), measures(A=70, B=20, C=75)
    found = points(rows, before)
    b = found["B"][0]
    assert [b.attainment, b.improvement, b.points] == [0, Fraction(1, 3), Fraction(1, 3)]
    a = found["A"][0]
    assert [a.attainment, a.improvement, a.points] == [Fraction(1, 2), 0, Fraction(1, 2)]
    assert earned(points(rows, before, improvement=False))["B"] == 0


def test_improvement_of_a_measure_where_less_is_better() -> None:
    rows, before = reversed_measures(A=10, B=40, C=60), reversed_measures(B=60, C=50)
    found = points(rows, before)
    assert found["B"][0].curve is not None
    assert (found["B"][0].curve.floor, found["B"][0].curve.ceiling) == (
        Fraction(60, 100), Fraction(10, 100),
    )  # fmt: skip
    assert found["B"][0].improvement == found["B"][0].attainment == Fraction(2, 5)
    assert found["C"][0].improvement == 0


def test_who_fell_from_beyond_the_ceiling_has_improved_in_nothing() -> None:
    """Both differences are negative, and their ratio is not."""
    found = points(measures(A=40, B=80), measures(A=95))["A"][0]
    assert [found.attainment, found.improvement] == [0, 0]
    assert found.curve is not None
    assert found.curve.prior == Fraction(95, 100)


def test_a_small_rate_of_last_year_is_none_to_improve_on() -> None:
    before = [Measure("A", "asthma", "clinical", 2, 29)]
    found = points(measures(A=40, B=80), before)["A"][0]
    assert [found.improvement, found.flag] == [0, "no_prior"]
    found = points(measures(A=40, B=80), before, prior_least_cases=29)["A"][0]
    assert found.flag == ""
    assert found.improvement == (Fraction(40, 100) - Fraction(2, 29)) / (
        Fraction(80, 100) - Fraction(2, 29)
    )


def test_given_ends_hold_whatever_others_reach() -> None:
    terms: dict[str, Any] = {"floor__asthma": "0.2", "ceiling__asthma": "0.6"}
    found = earned(points(measures(A=30, B=40, C=60, D=10), **terms))
    assert found == {"A": Fraction(1, 4), "B": Fraction(1, 2), "C": Fraction(1), "D": Fraction(0)}


def test_a_given_ceiling_below_the_others_floor_is_all_or_nothing_at_the_ceiling() -> None:
    found = earned(points(measures(A=20, B=30, C=60), ceiling__asthma="0.25"))
    assert found == {"A": Fraction(0), "B": Fraction(1), "C": Fraction(1)}


def test_a_given_floor_beyond_the_others_ceiling_is_all_or_nothing_at_the_floor() -> None:
    found = earned(points(measures(A=20, B=70, C=80), floor__asthma="0.9"))
    assert set(found.values()) == {Fraction(0)}


@pytest.mark.parametrize(
    ("rows", "terms"),
    [
        (measures(A=30), {"floor__asthma": "0.6", "ceiling__asthma": "0.2"}),
        (reversed_measures(A=30), {"floor__bleeds": "0.2", "ceiling__bleeds": "0.6"}),
    ],
)
def test_a_floor_better_than_its_ceiling_is_refused(
    rows: list[Measure], terms: dict[str, Any]
) -> None:
    with pytest.raises(ContractError, match=r"quality\.floor.* expected at (most|least) it"):
        points(rows, **terms)


def test_each_contract_makes_its_own_points_of_the_rates_of_all() -> None:
    rows = [given_row("A", "8"), given_row("B", "20"), given_row("C", "40")]
    strict = agreement(floor_percentile="0.9")
    found = quality_of(
        _Reference(quality_measure=rows), 2023, {"A": agreement(), "B": strict, "C": strict}
    )
    assert found.scores == {"A": 0, "B": 0, "C": 1}


def test_measures_of_the_year_are_read_and_checked() -> None:
    rows = [given_row("A", "40"), given_row("B", "0"), given_row("A", "0", "2021")]
    assert scores_of(_Reference(quality_measure=rows), "A", "B") == {
        "A": Decimal(1),
        "B": Decimal(0),
    }
    for bad, message in (
        ([given_row("A", "41")], "found 41 of 40"),
        ([given_row("A", "many")], "not a whole number"),
        ([given_row("A", "4"), given_row("A", "4")], "stands twice"),
        ([given_row("A", "4", higher_is_better="maybe")], "found maybe, expected true or false"),
        (
            [given_row("A", "4", higher_is_better="no"), given_row("B", "4", higher_is_better="")],
            "B, asthma: higher_is_better: found True and False",
        ),
    ):
        with pytest.raises(DataError, match=message):
            scores_of(_Reference(quality_measure=bad), "A", "B")


def test_rows_say_which_rate_is_better_and_nothing_says_a_higher_one() -> None:
    for said, score_of_few in (("false", 1), ("0.0", 1), ("", 0), ("true", 0), (None, 0)):
        rows = [
            given_row("A", "4", higher_is_better=said),
            given_row("B", "40", higher_is_better=said),
        ]
        assert scores_of(_Reference(quality_measure=rows), "A", "B")["A"] == score_of_few


def test_last_years_rows_are_what_is_improved_on() -> None:
    rows = [
        given_row("A", "20"), given_row("B", "40"), given_row("C", "10"),
        given_row("C", "0", "2022"), given_row("B", "40", "2022"),
    ]  # fmt: skip
    found = quality_of(_Reference(quality_measure=rows), 2023, dict.fromkeys("ABC", agreement()))
    assert found.scores == {
        "A": Decimal("0.333333"), "B": Decimal(1), "C": Decimal("0.25"),
    }  # fmt: skip
    assert found.measured["C"].points[0].improvement == Fraction(1, 4)


def test_a_stranger_to_the_roster_is_in_the_ranks_and_has_no_score() -> None:
    rows = [given_row("A", "20"), given_row("Z", "40")]
    found = quality_of(_Reference(quality_measure=rows), 2023, {"A": agreement()})
    assert found.scores == {"A": 0, "Z": None}


def test_a_term_named_after_nothing_is_told() -> None:
    rows = [given_row("A", "20")]
    given_terms: dict[str, Any] = {"floor__astma": "0.1", "domain_weight__clinical": 1}
    found = quality_of(_Reference(quality_measure=rows), 2023, {"A": agreement(**given_terms)})
    assert found.notes == (
        f"{HALF}: quality.domain_weight.clinical is named after nothing that a partnership has",
        f"{HALF}: quality.floor.astma is named after nothing that a partnership has",
    )


def test_a_supplied_score_that_is_left_empty_is_made_of_measures() -> None:
    population = _Reference(
        quality_score=[row("A", ""), row("B", "0.5")],
        quality_measure=[given_row("A", "40"), given_row("B", "10")],
    )
    assert scores_of(population, "A", "B") == {"A": Decimal(1), "B": Decimal("0.5")}


def from_claims(**rates: int) -> list[Measure]:
    return [Measure(name, "readmissions", "", n, 100, False, CLAIMS) for name, n in rates.items()]


def test_a_contract_takes_from_claims_the_measures_that_it_names() -> None:
    """A and B have one supplied measure; A's readmissions are the better ones."""
    population = _Reference(quality_measure=[given_row("A", "10"), given_row("B", "40")])
    takes = agreement(claims_measures="readmissions")
    agreements = {"A": takes, "B": agreement()}
    waits = quality_of(population, 2023, agreements)
    assert (waits.waiting, waits.scores) == (("A",), {"A": None, "B": Decimal(1)})
    found = quality_of(population, 2023, agreements, from_claims(A=5, B=20))
    assert found.waiting == ()
    assert found.scores == {"A": Decimal("0.5"), "B": Decimal(1)}
    assert [
        (one.measure.measure, one.measure.domain, one.measure.source, one.weight)
        for one in found.measured["A"].points
    ] == [
        ("asthma", "", "supplied", Fraction(1, 2)),
        ("readmissions", "claims", "claims", Fraction(1, 2)),
    ]
    assert len(found.measured["B"].points) == 1


def test_more_events_than_cases_are_no_share_and_do_not_count() -> None:
    rows = [*from_claims(A=5), Measure("B", "readmissions", "", 101, 100, False, CLAIMS)]
    found = quality_of(
        _Reference(), 2023, dict.fromkeys("AB", agreement(claims_measures="readmissions")), rows
    )
    assert found.scores == {"A": Decimal(1), "B": None}
    assert found.measured["B"].points[0].flag == "not_a_share"


def test_a_supplied_measure_under_the_name_of_one_from_claims_is_refused() -> None:
    population = _Reference(quality_measure=[given_row("A", "10", measure="readmissions")])
    agreements = {"A": agreement(claims_measures="readmissions")}
    with pytest.raises(DataError, match=r"found readmissions, which quality\.claims_measures"):
        quality_of(population, 2023, agreements, from_claims(A=5))


def test_until_there_is_a_score_an_earlier_one_may_stand_in() -> None:
    population = _Reference(
        quality_measure=[given_row("A", "10", "2021"), given_row("B", "40", "2021")]
    )
    prior = contracts.load(HALF).override({"settlement.quality.interim": "prior"}).at(2023)
    found, told = interim_scores(population, 2023, {"A": prior, "B": prior}, {})
    assert found == {"A": Decimal(0), "B": Decimal(1)}
    assert "by the score of 2021" in told[0]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.booleans())
def test_a_better_rate_never_scores_less(rates: list[int], higher: bool) -> None:
    make = measures if higher else reversed_measures
    found = scores(make(**{f"P{i:02}": n for i, n in enumerate(rates)}))
    order = sorted(((n, i) for i, n in enumerate(rates)), reverse=not higher)
    scored = [value for value in (found[f"P{i:02}"] for _, i in order) if value is not None]
    assert len(scored) == len(rates)
    assert scored == sorted(scored)
    assert all(0 <= value <= 1 for value in scored)
