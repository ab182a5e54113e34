"""The population-based payment of a small state, worked by hand, and what holds of any state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ihp_compute.contracts import PopulationBasedTerms, load_set
from ihp_compute.errors import ContractError, DataError, GateError, RunError
from ihp_compute.ingest.passes import ingest
from ihp_compute.payments import Paid, Period, check_output, pay, write
from ihp_compute.payments.months import Months
from ihp_compute.payments.rates import rates_cents
from ihp_compute.runner import LocalRunner
from tests.ihp_compute.payments.payment_cases import Row, enrolled, entry, line, write_tables

NORTH, SOUTH, OTHER = (f"100000000{k}" for k in range(1, 4))
YEAR = 2024
QUARTERS = tuple(Period(YEAR, q) for q in (1, 2, 3, 4))
TRUE_UP = Period(YEAR)
KEPT = ("n_members", "member_months", "payment_cents", "offset_cents")


PEOPLE = [
    enrolled("STAYS"),
    enrolled("LEAVES", end="2024-04-30"),
    enrolled("JOINS", start="2023-01-01", end="2023-12-31"),
    enrolled("JOINS", start="2024-02-01"),
    enrolled("NEWBORN", start="2024-03-01", birth_date="2024-03-05"),
    enrolled("SOUTHERN"),
    enrolled("NOBODY"),
]
VISITS = [
    *(line(who, "2023-05-10", NORTH) for who in ("STAYS", "LEAVES", "JOINS")),
    line("NEWBORN", "2024-03-20", NORTH),
    line("SOUTHERN", "2023-06-01", SOUTH),
]
FEES = [
    line("STAYS", "2024-05-10", OTHER, "S0280", "3.00"),
    line("STAYS", "2024-06-10", OTHER, "S0281", "50.00"),
    line("LEAVES", "2024-06-10", OTHER, "S0280", "50.00"),
]
FACTORS = [
    {"person_id": "STAYS", "start_date": "2023-07-01", "end_date": "", "homelessness": "1"},
    {"person_id": "LEAVES", "start_date": "2024-01-02", "end_date": "", "homelessness": "1"},
    {"person_id": "JOINS", "start_date": "2023-01-01", "end_date": "2023-12-31",
     "homelessness": "1"},
    {"person_id": "SOUTHERN", "start_date": "", "end_date": "", "homelessness": "0"},
]  # fmt: skip
SCORES = {"STAYS": "1.5", "LEAVES": "0.5", "JOINS": "1.0", "SOUTHERN": "1.0", "NOBODY": "1.0"}
TERMS = {
    "pbp.rate": "8.00",
    "pbp.medical_weight": "0.5",
    "pbp.social_weight.homelessness": "0.3",
    "risk.missing": "group_average",
}

Made = Callable[..., Path]


def state(folder: Path, **other: list[Row]) -> Path:
    """A population of the people above, tables replaced by name."""
    kept = [line("ZZ", d, OTHER) for d in ("2023-01-02", "2024-12-31")]
    tables = {
        "eligibility": [enrolled("ZZ"), *PEOPLE],
        "medical_claim": [*kept, *VISITS, *FEES],
        "provider_roster": [
            entry(OTHER, "COMPARISON"), entry(NORTH, "North"), entry(SOUTH, "South"),
        ],
        "risk_score": [
            {"person_id": p, "year": "2023", "model": "acg", "score": s}
            for p, s in {**SCORES, "ZZ": "1.0"}.items()
        ],
        "member_factors": FACTORS,
    }  # fmt: skip
    write_tables(folder / "raw", **tables | other)
    ingest(folder / "raw", folder / "population", shards=2, threads=1)
    return folder / "population"


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return state(tmp_path_factory.mktemp("pbp"))


def contract(
    folder: Path, terms: dict[str, str] | None = None, north: dict[str, str] | None = None
) -> tuple[str]:
    """A set in which both have the terms above, and North some of its own."""
    path = folder / "set.toml"
    own = {**TERMS, **(terms or {})}
    lines = ['[set]\nname = "own"\n[default]\ncontract = "mn-ihp-2.0-track-1"']
    lines += ["[default.overrides]", *(f'"{name}" = "{value}"' for name, value in own.items())]
    if north is not None:
        lines += ["[partnerships.North.overrides]"]
        lines += [f'"{name}" = "{value}"' for name, value in north.items()]
    path.write_text("\n".join(lines))
    return (str(path),)


def rows(paid: Paid) -> dict[tuple[str, str], tuple[int, ...]]:
    return {
        (row["partnership_id"], row["payer"]): tuple(row[name] for name in KEPT)
        for row in paid.table.to_pylist()
    }


def paid_for(population: Path, terms: tuple[str], period: Period, **more: Any) -> Paid:
    return pay(population, terms, period, LocalRunner(1), **more)


# --- a year by hand ------------------------------------------------------------------------------
# The state's mean of 2023 is 1.0: six people of twelve months, 1.5 + 0.5 + four times 1.0, over 6.
# STAYS    8.00 x (1 + 0.5 x 0.5 + 0.3) = 12.40; twelve months; fees 3.00 in May, 50.00 in June
# LEAVES   8.00 x (1 - 0.25)            =  6.00; four months; no factor on 1 January
# JOINS    8.00                                ; not in January, and so not in the first quarter
# NEWBORN  nobody's in 2023
# SOUTHERN 8.00 of South; twelve months


@pytest.mark.parametrize(
    ("period", "north"),
    [
        (QUARTERS[0], (2, 6, 3 * 1240 + 3 * 600, 0)),
        (QUARTERS[1], (3, 9, 3 * 1240 + 3 * 600 + 3 * 800, 0)),
        (QUARTERS[2], (2, 6, 3 * 1240 + 3 * 800, 0)),
        (QUARTERS[3], (2, 6, 3 * 1240 + 3 * 800, 0)),
        # LEAVES gives May and June back, JOINS gets February and March, STAYS loses its fees
        (TRUE_UP, (3, 0, -2 * 600 + 2 * 800 - 300 - 1240, 1540)),
    ],
    ids=str,
)
def test_a_year_by_hand(
    population: Path, tmp_path: Path, period: Period, north: tuple[int, ...]
) -> None:
    found = rows(paid_for(population, contract(tmp_path), period))
    months = 0 if period == TRUE_UP else 3
    assert found == {("North", "ffs"): north, ("South", "ffs"): (1, months, months * 800, 0)}


def test_a_fee_in_a_month_that_does_not_count_takes_nothing_off(
    population: Path, tmp_path: Path
) -> None:
    """LEAVES has a fee of $50.00 in June, when it is gone; only that of STAYS is taken off."""
    found = rows(paid_for(population, contract(tmp_path), TRUE_UP))
    assert found["North", "ffs"][3] == 300 + 1240


def test_the_roster_is_that_of_1_january(tmp_path: Path) -> None:
    """North's provider left for South at New Year, and so did its people; the year after says no
    more."""
    roster = [
        entry(OTHER, "COMPARISON"),
        entry(NORTH, "North", end="2023-12-31"),
        entry(NORTH, "South", start="2024-01-01", end="2024-01-01"),
        entry(SOUTH, "South"),
        entry(NORTH, "North", start="2024-01-02"),
    ]
    population = state(tmp_path, provider_roster=roster)
    found = rows(paid_for(population, contract(tmp_path), QUARTERS[3]))
    assert found == {("South", "ffs"): (3, 9, 3 * 1240 + 3 * 800 + 3 * 800, 0)}


def test_each_month_is_charged_to_its_own_payer(tmp_path: Path) -> None:
    """STAYS joins Plan A in February: the quarter is paid for by ffs, and trued up by both."""
    people = [row for row in PEOPLE if row["person_id"] != "STAYS"]
    managed = {"x_mc_plan_id": "Plan A"}
    moved = [
        enrolled("STAYS", end="2024-01-31"),
        enrolled("STAYS", start="2024-02-01", **managed),
    ]
    population = state(tmp_path, eligibility=[enrolled("ZZ"), *people, *moved])
    terms = contract(tmp_path)
    plan = "Plan A"
    first = rows(paid_for(population, terms, QUARTERS[0]))
    assert ("North", plan) not in first
    trued = rows(paid_for(population, terms, TRUE_UP))
    assert trued["North", plan] == (1, 2, 2 * 1240 - 300 - 1240, 1540)
    assert trued["North", "ffs"] == (3, -2, -2 * 1240 - 2 * 600 + 2 * 800, 0)


def test_a_partnership_without_a_rate_is_named_and_not_paid(
    population: Path, tmp_path: Path
) -> None:
    found = paid_for(population, contract(tmp_path, north={"pbp.rate": "none"}), QUARTERS[0])
    assert [name for name, _ in rows(found)] == ["South"]
    assert "not paid, for pbp.rate is none: North" in found.notes
    with pytest.raises(ContractError, match=r"pbp.rate: found none in 2024 for every partnership"):
        paid_for(population, contract(tmp_path, {"pbp.rate": "none"}), QUARTERS[0])


@pytest.mark.parametrize("split", ["member_months", "quality", "own_results"])
def test_an_alliance_is_paid_by_its_contract_member_by_member(
    population: Path, tmp_path: Path, split: str
) -> None:
    """A payment in advance is each member's: it waits for no score and no result to split by."""
    alone = contract(tmp_path)
    (tmp_path / "alliance").mkdir()
    (together,) = contract(tmp_path / "alliance")
    text = f'\n[alliances.BOTH]\nmembers = ["North", "South"]\nsplit = "{split}"\n'
    Path(together).write_text(Path(together).read_text() + text)
    for period in (QUARTERS[1], TRUE_UP):
        found = rows(paid_for(population, (together,), period))
        assert {partnership for partnership, _ in found} == {"North", "South"}
        assert found == rows(paid_for(population, alone, period))


def test_an_alliance_with_a_rate_of_its_own_pays_its_members_that(
    population: Path, tmp_path: Path
) -> None:
    (path,) = contract(tmp_path, {"pbp.medical_weight": "0"})
    text = (
        '\n[alliances.ONE]\nmembers = ["North"]\nsplit = "member_months"\n'
        '[alliances.ONE.overrides]\n"pbp.rate" = "10.00"\n'
    )
    Path(path).write_text(Path(path).read_text() + text)
    found = rows(paid_for(population, (path,), QUARTERS[2]))
    # STAYS 10.00 x 1.3, JOINS 10.00; SOUTHERN stays at 8.00
    assert found["North", "ffs"] == (2, 6, 3 * 1300 + 3 * 1000, 0)
    assert found["South", "ffs"] == (1, 3, 3 * 800, 0)


def test_the_rate_never_falls_below_nothing(population: Path, tmp_path: Path) -> None:
    terms = contract(tmp_path, {"pbp.medical_weight": "3"})
    found = rows(paid_for(population, terms, QUARTERS[2]))
    # STAYS 8.00 x (1 + 1.5 + 0.3), JOINS 8.00; LEAVES is gone
    assert found["North", "ffs"] == (2, 6, 3 * 2240 + 3 * 800, 0)
    first = rows(paid_for(population, terms, QUARTERS[0]))
    assert first["North", "ffs"] == (2, 6, 3 * 2240, 0)  # LEAVES 1 - 1.5: three months of nothing


# --- what is missing -----------------------------------------------------------------------------


def test_people_without_factors_are_counted_or_refused(population: Path, tmp_path: Path) -> None:
    found = paid_for(population, contract(tmp_path), QUARTERS[1])
    assert found.counts["without_factors"] == {
        "members": 2, "member_months": 6, "payment_cents": 3 * 600 + 3 * 800,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"^2 people have a month and no row of member_factors"):
        paid_for(
            population, contract(tmp_path, {"pbp.missing_factors": "error"}), TRUE_UP
        )  # LEAVES from 2 January, JOINS until 31 December


def test_a_state_without_factors_and_scores_pays_what_weighs_neither(tmp_path: Path) -> None:
    population = state(tmp_path, member_factors=[], risk_score=[])
    (tmp_path / "raw" / "member_factors.csv").unlink(missing_ok=True)
    plain = contract(
        tmp_path, {"pbp.medical_weight": "none", "pbp.social_weight.homelessness": "none"}
    )
    found = paid_for(population, plain, QUARTERS[0])
    assert rows(found)["North", "ffs"] == (2, 6, 6 * 800, 0)
    assert found.counts["without_factors"]["members"] == 0
    social = contract(tmp_path, {"pbp.medical_weight": "none"})
    found = paid_for(population, social, QUARTERS[0])
    assert found.counts["without_factors"]["members"] == 3
    assert "the population has no member_factors: no social factor holds for anybody" in found.notes


def test_filled_scores_are_counted_with_their_dollars(tmp_path: Path) -> None:
    """JOINS has the mean of the others of its rate cell: 1.5 + 0.5 + 1 + 1 + 1 over 5."""
    scores = [
        {"person_id": p, "year": "2023", "model": "acg", "score": s}
        for p, s in {**SCORES, "ZZ": "1.0"}.items()
        if p != "JOINS"
    ]
    population = state(tmp_path, risk_score=scores)
    found = paid_for(population, contract(tmp_path), QUARTERS[3])
    assert found.counts["without_score"] == {
        "members": 1, "member_months": 3, "payment_cents": 2400,
    }  # fmt: skip
    with pytest.raises(DataError, match=r"and no score of 'supplied:acg'"):
        paid_for(population, contract(tmp_path, {"risk.missing": "error"}), QUARTERS[3])


def test_a_gate_judges_how_many_scores_are_filled(tmp_path: Path) -> None:
    crowd = [f"P{i:03}" for i in range(100)]
    population = state(
        tmp_path,
        eligibility=[enrolled("ZZ"), *PEOPLE, *(enrolled(who) for who in crowd)],
        medical_claim=[
            *(line("ZZ", d, OTHER) for d in ("2023-01-02", "2024-12-31")), *VISITS,
            *(line(who, "2023-05-10", NORTH) for who in crowd),
        ],
    )  # fmt: skip
    terms = contract(tmp_path)
    with pytest.raises(GateError, match=r"unscored_months"):
        paid_for(population, terms, QUARTERS[0])
    found = paid_for(population, terms, QUARTERS[0], accept={"unscored_months": "late file"})
    assert found.counts["without_score"]["members"] == 100
    assert any("late file" in note for note in found.notes)


def test_fees_below_zero_take_nothing_off(tmp_path: Path) -> None:
    kept = [line("ZZ", d, OTHER) for d in ("2023-01-02", "2024-12-31")]
    back = line("STAYS", "2024-05-10", OTHER, "S0280", "-3.00")
    population = state(tmp_path, medical_claim=[*kept, *VISITS, back])
    found = paid_for(population, contract(tmp_path), TRUE_UP)
    assert rows(found)["North", "ffs"][3] == 0
    assert found.counts["fees_below_zero"] == {"member_months": 1, "fees_cents": -300}


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "says"),
    [
        (Period(2023, 1), "people of 2023 are those of 2022, which is not a full calendar year"),
        (Period(2025, 2), "nobody is enrolled in 2025-04, the first month of 2025Q2"),
        (Period(2025), "2025 is not a full calendar year of the data, which hold 2023 to 2024"),
    ],
    ids=str,
)
def test_a_period_that_the_data_do_not_hold_is_refused(
    population: Path, tmp_path: Path, period: Period, says: str
) -> None:
    terms = contract(tmp_path, {"pbp.medical_weight": "none"})
    with pytest.raises(RunError, match=says):
        paid_for(population, terms, period)


@pytest.mark.parametrize("text", ["2024", "2024Q0", "2024Q5", "24Q1", "2024-Q1", "Q1", ""])
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a year and a quarter, as in 2024Q3"):
        Period.of_quarter(text)


def test_a_settlement_s_draft_terms_are_without_those_of_the_payment(
    population: Path, tmp_path: Path
) -> None:
    """No settlement rests on them; the payment does, and names them."""
    terms = contract(tmp_path)
    found = load_set(terms, ["North", "South"])
    assert not [name for name in found.draft_terms(YEAR)["names"] if "pbp." in name]
    assert "pbp.rate (supplied)" in paid_for(population, terms, QUARTERS[0]).drafts[0]


# --- the file ------------------------------------------------------------------------------------


def test_a_file_is_the_same_in_every_form_and_is_not_replaced_unasked(
    population: Path, tmp_path: Path
) -> None:
    found = paid_for(population, contract(tmp_path), TRUE_UP)
    for name in ("pbp.csv", "pbp.parquet"):
        write(found, tmp_path / name)
    read = pq.read_table(tmp_path / "pbp.parquet")
    in_dollars = pa_csv.read_csv(tmp_path / "pbp.csv")
    assert in_dollars.select(read.column_names).to_pylist() == read.to_pylist()
    assert {*in_dollars.column_names} - {*read.column_names} == {"payment_usd", "offset_usd"}
    assert read.column_names == ["partnership_id", "payer", *KEPT]
    with pytest.raises(DataError, match="is there already"):
        check_output(tmp_path / "pbp.csv")
    with pytest.raises(DataError, match=r"expected a name ending in .csv, .parquet, .arrow"):
        check_output(tmp_path / "pbp.txt")
    write(found, tmp_path / "pbp.csv", replace=True)


def test_shards_and_threads_change_nothing(small_population: Path, raw_state: Path) -> None:
    other = raw_state.parent / "pbp-population"
    ingest(raw_state, other, shards=3)
    terms = contract(raw_state.parent)
    for period in (QUARTERS[1], TRUE_UP):
        one = pay(small_population, terms, period, LocalRunner(1))
        assert one.table.equals(pay(other, terms, period, LocalRunner(2)).table)


def test_a_state_s_quarters_and_true_up_foot_by_partnership_and_plan(
    small_population: Path, tmp_path: Path
) -> None:
    """At one rate, what the five files say of months is what they say of dollars, fees apart."""
    terms = contract(
        tmp_path, {"pbp.medical_weight": "none", "pbp.social_weight.homelessness": "none"}
    )
    months: Counter[tuple[str, str]] = Counter()
    cents: Counter[tuple[str, str]] = Counter()
    offsets = 0
    for period in (*QUARTERS, TRUE_UP):
        for key, (n, some, paid, offset) in rows(paid_for(small_population, terms, period)).items():
            assert n > 0
            months[key] += some
            cents[key] += paid + offset
            offsets += offset
    assert offsets > 0
    assert len({payer for _, payer in months}) > 2
    assert min(months.values()) >= 0
    assert dict(cents) == {key: 800 * n for key, n in months.items()}


# --- what holds of anybody -----------------------------------------------------------------------

some_cents = st.integers(-5_000, 20_000)
people = st.lists(
    st.tuples(
        st.lists(st.integers(-1, 3), min_size=12, max_size=12),
        st.integers(0, 10_000),
        st.lists(some_cents, min_size=12, max_size=12),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=6,
)


@given(people)
def test_quarters_and_true_up_are_the_year_for_each_person_and_in_all(
    given_people: list[tuple[list[int], int, list[int], int]],
) -> None:
    payer, rate, fees, group = (list(column) for column in zip(*given_people, strict=True))
    periods = [
        Months.of(period, np.array(payer, np.int32), np.array(rate), np.array(fees))
        for period in (*QUARTERS, TRUE_UP)
    ]
    for i, (own, cents, taken, _) in enumerate(given_people):
        due = [(p, cents, max(0, min(cents, fee))) for p, fee in zip(own, taken, strict=True)]
        due = [one for one in due if one[0] >= 0]
        assert sum(int(one.months[i].sum()) for one in periods) == len(due)
        assert sum(int(one.payment_cents[i].sum()) for one in periods) == sum(
            worth - off for _, worth, off in due
        )
    sums = [one.by(np.array(group, np.int32)[:, None], 3, 4) for one in periods]
    year = np.zeros((3, 4, 3), np.int64)
    for own, cents, taken, g in given_people:
        for p, fee in zip(own, taken, strict=True):
            if p >= 0:
                off = max(0, min(cents, fee))
                year[g, p] += (1, cents - off, off)
    for k, name in enumerate(("member_months", "payment_cents", "offset_cents")):
        assert (sum(getattr(one, name) for one in sums) == year[..., k]).all()
    for period, one, summed in zip((*QUARTERS, TRUE_UP), periods, sums, strict=True):
        seen = {
            (i, group[i], p)
            for i, charged in enumerate(one.payer.tolist())
            for p in charged
            if p >= 0
        }
        assert summed.n_members.sum() == len(seen), period


two_places = st.decimals(-2, 3, places=3)


@given(
    st.decimals(0, 500, places=4),
    two_places,
    st.lists(two_places, min_size=6, max_size=6),
    st.lists(st.tuples(st.integers(0, 40_000_000), st.integers(0, 63)), min_size=1, max_size=5),
    st.fractions(Fraction(1, 10), 5_000_000, max_denominator=1000),
)
def test_a_rate_is_the_formula_rounded_once(
    rate: Decimal,
    medical: Decimal,
    social: list[Decimal],
    who: list[tuple[int, int]],
    mean: Fraction,
) -> None:
    terms = PopulationBasedTerms(rate, medical, tuple(social), "no_factor", ())
    found = rates_cents(
        terms,
        np.array([score for score, _ in who]),
        np.array([bits for _, bits in who], np.uint8),
        mean_micro=mean,
    )
    for cents, (score, bits) in zip(found.tolist(), who, strict=True):
        held = sum((Fraction(w) for i, w in enumerate(social) if bits >> i & 1), Fraction(0))
        part = max(Fraction(0), 1 + Fraction(medical) * (score / mean - 1) + held)
        assert cents == round(100 * Fraction(rate) * part)
