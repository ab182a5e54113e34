"""Cost and fates by hand: what counts, the cap, rate cells, and a ledger that foots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ihp_compute.codes import LINE_KINDS, RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.contracts.rules import CostTerms
from ihp_compute.errors import ContractError
from ihp_compute.ledger import CLAIM_TABLES, RunFate
from ihp_compute.measure.attribution import NOT_COUNTABLE, Attribution
from ihp_compute.measure.cost import Cost, costs
from ihp_compute.measure.line_fates import line_fates, member_line_fates
from ihp_compute.units import NO_DAY, day_of

TERMS = CostTerms(
    amount="paid",
    incurred_by="claim_end",
    zero_paid_encounter="as_paid",
    floor_at_zero=True,
    claim_cap_cents=None,
    keep_above_cap_micro=0,
    prorate_cap=False,
    services=frozenset({"inpatient", "primary_care", "pharmacy"}),
)
CUTOFF = day_of(date(2025, 6, 30))
YEARS = (2022, 2024)
INPATIENT, DENTAL = SERVICE_CATEGORIES.index("inpatient"), SERVICE_CATEGORIES.index("dental")
FFS, CAPITATION, ENCOUNTER, SUPPLEMENTAL = range(len(LINE_KINDS))
Maker = Callable[..., Any]


def line(
    cents: int, month: int = 3, day: int = 5, *, year: int = 2024, **other: Any
) -> dict[str, Any]:
    return {
        "paid_cents": cents,
        "service_day": day_of(date(year, month, day)),
        "category": INPATIENT,
        **other,
    }


def standing(
    group: list[int], cells: Any = 0, year: int = 2024, spanned: Any = 0b111111111111
) -> Attribution:
    """An attribution decided by hand: groups, and a rate cell or twelve for each member."""
    n = len(group)
    month_cell = np.broadcast_to(np.array(cells, np.uint8), (n, 12)).copy()
    return Attribution(
        year=year,
        group=np.array(group, np.int32),
        step=np.zeros(n, np.uint8),
        n_visits=np.zeros(n, np.int32),
        last_visit=np.full(n, -1),
        tied=np.zeros(n, np.bool_),
        reason=np.zeros(n, np.uint8),
        months=np.array([(month_cell == c).sum(axis=1) for c in range(len(RATE_CELLS))]),
        month_cell=month_cell,
        enrolled_months=np.full(n, 12, np.int64),
        spanned=np.full(n, spanned, np.uint16),
    )


def measured(shard: Any, cells: Any = 0, **changes: Any) -> Cost:
    terms = replace(TERMS, **changes)
    there = standing([0] * shard.n_members, cells)
    ((found,),) = costs(shard, (terms,), cutoff_day=CUTOFF, attributions=(there,), by_category=True)
    return found


def test_a_reversed_claim_lowers_cost(tiny_shard: Maker) -> None:
    found = measured(tiny_shard({"lines": [line(90_000), line(-90_000), line(1_234)]}))
    assert found.capped_cents.tolist() == [1_234]


def test_excluded_services_capitation_and_supplements_are_never_cost(tiny_shard: Maker) -> None:
    lines = [
        line(1),
        line(2, category=DENTAL),
        line(4, kind=CAPITATION),
        line(8, kind=SUPPLEMENTAL),
        line(16, kind=ENCOUNTER),
    ]
    found = measured(tiny_shard({"lines": lines}))
    assert found.uncapped_cents.tolist() == [17]
    assert found.paid_cents.tolist() == [1 + 2 + 8 + 16]
    assert found.category_cents[INPATIENT].tolist() == [17]


def test_the_claims_end_decides_the_year(tiny_shard: Maker) -> None:
    """A stay over New Year is cost of the year of discharge, in its January; else of December."""
    over = line(
        500,
        12,
        30,
        year=2023,
        claim_start_day=day_of(date(2023, 12, 29)),
        claim_end_day=day_of(date(2024, 1, 4)),
    )
    shard = tiny_shard({"lines": [over]})
    found = measured(shard, [2] + [0] * 11)
    assert found.uncapped_cents.tolist() == [500]
    assert found.cell_cents[2].tolist() == [500]
    for rule in ("claim_start", "line"):
        assert measured(shard, incurred_by=rule).uncapped_cents.tolist() == [0]
        before = standing([0], [0] * 11 + [2], year=2023)
        terms = replace(TERMS, incurred_by=rule)
        ((found,),) = costs(shard, (terms,), cutoff_day=CUTOFF, attributions=(before,))
        assert found.cell_cents[2].tolist() == [500]


def test_the_day_that_incurs_a_line_decides_its_month(tiny_shard: Maker) -> None:
    """A stay from March to May, a line of April: one month of three counts and has its own cell."""
    days = {
        "claim_start_day": day_of(date(2024, 3, 20)),
        "claim_end_day": day_of(date(2024, 5, 2)),
    }
    shard = tiny_shard({"lines": [line(500, 4, 5, **days)]})
    for rule, month in (("claim_start", 3), ("line", 4), ("claim_end", 5)):
        for counts in (3, 4, 5):
            cells = [NOT_COUNTABLE] * 12
            cells[counts - 1] = counts
            found = measured(shard, cells, incurred_by=rule)
            assert found.uncapped_cents.tolist() == [500 if counts == month else 0]
            assert found.cell_cents[counts].tolist() == found.uncapped_cents.tolist()
            assert found.paid_cents.tolist() == [500]


def test_more_rule_sets_than_a_byte_numbers_are_measured(tiny_shard: Maker) -> None:
    shard = tiny_shard({"lines": [line(700)]})
    rule_sets = [replace(TERMS, claim_cap_cents=1 + r) for r in range(300)]
    found, ledger = ledger_of(shard, rule_sets, [standing([1])], 2, (0, 299))
    assert found[0][299].capped_cents.tolist() == [300]
    assert ledger[0, 0, RunFate.COUNTED].tolist() == [1, 700]
    assert ledger[0, 0, RunFate.ABOVE_CAP].tolist() == [0, 400]


def test_the_amount_is_the_contracts(tiny_shard: Maker) -> None:
    shard = tiny_shard(
        {
            "lines": [
                line(100, allowed_cents=150, third_party_cents=30, kind=ENCOUNTER),
                line(0, allowed_cents=70, third_party_cents=5, kind=ENCOUNTER),
                line(0, allowed_cents=900),
            ]
        }
    )
    assert measured(shard).uncapped_cents[0] == 100
    assert measured(shard, amount="allowed").uncapped_cents[0] == 150 + 70 + 900
    assert measured(shard, amount="paid_less_third_party").uncapped_cents[0] == 70 - 5
    shadow = {"zero_paid_encounter": "allowed"}
    assert measured(shard, **shadow).uncapped_cents[0] == 100 + 70
    both = {"amount": "paid_less_third_party", **shadow}
    assert measured(shard, **both).uncapped_cents[0] == 70 + 65


def test_claims_paid_after_the_cutoff_wait(tiny_shard: Maker) -> None:
    lines = [line(1, paid_day=CUTOFF), line(2, paid_day=CUTOFF + 1), line(4, paid_day=NO_DAY)]
    assert measured(tiny_shard({"lines": lines})).uncapped_cents.tolist() == [5]


def test_the_cap_works_on_the_member_year(tiny_shard: Maker) -> None:
    """Three claims of 80,000.00 under a cap of 200,000.00 that keeps 10 % above it."""
    shard = tiny_shard({"lines": [line(8_000_000, month) for month in (1, 2, 3)]})
    found = measured(shard, claim_cap_cents=20_000_000, keep_above_cap_micro=100_000)
    assert found.capped_cents.tolist() == [20_400_000]
    assert found.above_cap_cents.tolist() == [3_600_000]


def test_a_capped_year_is_given_back_to_its_rate_cells(tiny_shard: Maker) -> None:
    """A member who moves from child to adult: a cap of 100.00 over costs of 100.00 and 200.00."""
    shard = tiny_shard({"lines": [line(10_000, 1), line(20_000, 8)]})
    cells = [0] * 6 + [2] * 6
    found = measured(shard, cells, claim_cap_cents=10_000)
    assert found.cell_cents[0].tolist() == [3_333]
    assert found.cell_cents[2].tolist() == [6_667]


def test_a_cap_may_follow_the_months(tiny_shard: Maker) -> None:
    shard = tiny_shard({"lines": [line(90_000, 1)]})
    cells = [0] * 3 + [NOT_COUNTABLE] * 9
    found = measured(shard, cells, claim_cap_cents=40_000, prorate_cap=True)
    assert found.capped_cents.tolist() == [10_000]


def test_a_negative_year_is_floored_and_reported(tiny_shard: Maker) -> None:
    shard = tiny_shard({"lines": [line(-700), line(300)]})
    found = measured(shard)
    assert (found.capped_cents.tolist(), found.floored_cents.tolist()) == ([0], [400])
    assert measured(shard, floor_at_zero=False).capped_cents.tolist() == [-400]


def test_rule_sets_measured_together_are_those_measured_alone(tiny_shard: Maker) -> None:
    rule_sets = (
        replace(TERMS, claim_cap_cents=300),
        replace(TERMS, amount="allowed"),
        replace(TERMS, services=frozenset({"dental"})),
        replace(TERMS, incurred_by="line"),
    )
    lines = [line(100 * i, i, allowed_cents=7 * i, category=i % 29) for i in range(1, 13)]
    shard = tiny_shard({"lines": lines}, {"lines": [line(5, year=2022)]})
    there = [standing([0, 1], year=year) for year in YEARS]
    together = costs(shard, rule_sets, cutoff_day=CUTOFF, attributions=there)
    for p, attribution in enumerate(there):
        for r, terms in enumerate(rule_sets):
            ((alone,),) = costs(shard, (terms,), cutoff_day=CUTOFF, attributions=(attribution,))
            assert together[p][r].year == attribution.year == YEARS[p]
            assert np.array_equal(together[p][r].cell_cents, alone.cell_cents)
            assert np.array_equal(together[p][r].paid_cents, alone.paid_cents)


# --- fates ---------------------------------------------------------------------------------------


def ledger_of(shard: Any, rule_sets: Any, there: Any, n_partnerships: int, rules: Any) -> Any:
    found = costs(shard, rule_sets, cutoff_day=CUTOFF, attributions=there)
    ledger, _ = line_fates(
        shard,
        rule_sets,
        cutoff_day=CUTOFF,
        attributions=there,
        costs=found,
        group_rule_set=rules,
        n_partnerships=n_partnerships,
        n_files=3,
    )
    return found, ledger


def test_every_line_has_its_fate(tiny_shard: Maker) -> None:
    shard = tiny_shard(
        {
            "lines": [
                line(1, paid_day=CUTOFF + 1),
                line(2, year=2023),
                line(4, kind=CAPITATION),
                line(8, 12),
                line(16, category=DENTAL),
                line(32, kind=SUPPLEMENTAL),
                line(64),
                line(128, year=2022),
                line(2_048, 11),
            ]
        },
        {"lines": [line(256), line(512, kind=CAPITATION), line(4_096, 11, kind=CAPITATION)]},
        {"lines": [line(1_024, source_table=1, file=2)]},
    )
    months, enrolled = [0] * 10 + [NOT_COUNTABLE] * 2, 0b101111111111
    there = [standing([-1, -1, -1], year=2022), standing([0, 1, -1], months, spanned=enrolled)]
    _, ledger = ledger_of(shard, (TERMS,), there, 1, (0, 0))
    cents = ledger[0, 0, :, 1].tolist()
    assert cents == [1, 2, 2_048 + 4_096, 4 + 512, 8 + 128, 256, 16 + 32, 64, 0, 0]
    assert ledger[0, 0, :, 0].tolist() == [1, 1, 2, 2, 2, 1, 2, 1, 0, 0]
    assert ledger[1, 2, RunFate.EXCLUDED_MEMBER].tolist() == [1, 1_024]
    assert ledger[:, :, :, 0].sum() == 13
    fates, rows = member_line_fates(
        shard,
        0,
        (TERMS,),
        cutoff_day=CUTOFF,
        attributions=there,
        group_rule_set=(0, 0),
        n_partnerships=1,
    )
    assert rows == slice(0, 9)
    assert [RunFate(fate).label for fate in fates] == [
        "paid_after_cutoff",
        "outside_period",
        "capitation",
        "excluded_member",
        "excluded_service",
        "excluded_service",
        "counted",
        "excluded_member",
        "outside_eligibility",
    ]


def test_contracts_that_disagree_on_a_lines_year_are_refused(tiny_shard: Maker) -> None:
    terms = (TERMS, replace(TERMS, incurred_by="line"))
    there = [standing([0], year=year) for year in YEARS]
    with pytest.raises(ContractError, match="must agree, got claim_end, line"):
        ledger_of(tiny_shard({"lines": [line(1)]}), terms, there, 1, (0, 1))


some_lines = st.lists(
    st.builds(
        lambda cents, month, year, kind, category, late, file: line(
            cents,
            month,
            year=year,
            kind=kind,
            category=category,
            paid_day=CUTOFF + late,
            source_table=file % 2,
            file=file,
        ),
        st.integers(-90_000, 100_000),
        st.integers(1, 12),
        st.sampled_from([2022, 2023, 2024]),
        st.integers(0, 3),
        st.sampled_from([INPATIENT, DENTAL, SERVICE_CATEGORIES.index("pharmacy")]),
        st.integers(-1, 1),
        st.integers(0, 2),
    ),
    max_size=8,
)
groups = st.lists(st.integers(-1, 3), min_size=3, max_size=3)


@settings(max_examples=150, deadline=None)
@given(
    members=st.lists(some_lines, min_size=3, max_size=3),
    base=groups,
    performance=groups,
    data=st.data(),
)
def test_counted_less_the_cap_plus_the_floor_is_the_cost_that_settles(
    tiny_shard: Maker, members: Any, base: Any, performance: Any, data: Any
) -> None:
    """Groups 0 and 1 settle, each under a rule set of its own; 2 and 3 do not."""
    shard = tiny_shard(*({"lines": lines} for lines in members))
    cells = data.draw(st.lists(st.sampled_from([0, 3, NOT_COUNTABLE]), min_size=12, max_size=12))
    # a month that counts is one of enrolment; others may be
    spanned = data.draw(st.integers(0, 2**12 - 1))
    spanned |= sum(1 << month for month, cell in enumerate(cells) if cell != NOT_COUNTABLE)
    there = [standing(base, cells, 2022, spanned), standing(performance, 1, 2024)]
    rule_sets = (
        replace(TERMS, claim_cap_cents=50_000, keep_above_cap_micro=200_000),
        replace(TERMS, services=frozenset({"dental"}), claim_cap_cents=20_000, prorate_cap=True),
    )
    rules = (0, 1, 0, 1)
    found, ledger = ledger_of(shard, rule_sets, there, 2, rules)
    settles = sum(
        int(found[p][rules[group]].capped_cents[m])
        for p, attribution in enumerate(there)
        for m, group in enumerate(attribution.group)
        if 0 <= group < 2
    )
    cents = ledger[..., 1].sum(axis=(0, 1))
    counted, above, floored = (
        int(cents[fate]) for fate in (RunFate.COUNTED, RunFate.ABOVE_CAP, RunFate.FLOORED)
    )
    assert counted - above + floored == settles
    given_cents = shard.column("lines", "paid_cents")
    assert cents[: RunFate.COUNTED + 1].sum() == given_cents.sum()
    assert ledger[..., 0].sum() == given_cents.size
    for table in range(len(CLAIM_TABLES)):
        here = shard.column("lines", "source_table") == table
        lines = ledger[table, :, : RunFate.COUNTED + 1]
        assert lines[..., 0].sum() == here.sum()
        assert lines[..., 1].sum() == given_cents[here].sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": "charged"}, "cost.amount: found charged, expected paid or allowed"),
        ({"incurred_by": "admission"}, "cost.incurred_by: found admission, expected claim_end"),
        ({"services": frozenset({"yoga"})}, "cost.services: found .*yoga.* expected a list"),
        ({"claim_cap_cents": -1}, "cost.claim_cap: found -0.01, expected a number at least 0"),
        ({"claim_cap_cents": 10**15}, "cost.claim_cap: found 1.*, expected a number below"),
        ({"keep_above_cap_micro": 1_000_001}, "cost.keep_above_cap: found 1.000001, expected"),
    ],
)
def test_terms_that_no_cost_can_mean_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        replace(TERMS, **change)


def test_an_empty_shard_costs_nothing(tiny_shard: Maker) -> None:
    found = measured(tiny_shard())
    assert found.cell_cents.shape == (len(RATE_CELLS), 0)
