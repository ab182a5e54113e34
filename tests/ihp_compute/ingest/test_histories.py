"""Histories of claims: which rows stand, whatever they are called and however they came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ihp_compute.ingest.final_action import Choices

Row = dict[str, Any]


@pytest.fixture
def kept(bench: Any, member: Any) -> Callable[..., int]:
    """Cents that an ingest retains of rows of `medical_claim`."""

    def ingest(rows: list[Row], **options: Any) -> int:
        folder = bench.folder(eligibility=[member()], medical_claim=rows)
        document, _ = bench.ingest(folder, **options)
        found: int = bench.fates(document).get("retained", (0, 0))[1]
        return found

    return ingest


# --- what a claim is


@pytest.mark.parametrize("column", ["data_source", "payer", "plan"])
def test_two_sources_that_share_a_number_are_two_claims(kept: Any, line: Any, column: str) -> None:
    rows = [line(**{column: "a"}), line(**{column: "b"}, paid_date="2023-05-01", paid_amount="250")]
    assert kept(rows) == 35_000


def test_a_stated_link_crosses_payers_and_is_counted(bench: Any, member: Any, line: Any) -> None:
    rows = [
        line(payer="a"),
        line(
            payer="b", claim_id="R", x_orgnl_clm_num="C1", x_adjstmt_ind="4",
            paid_date="2023-05-01", paid_amount="60",
        ),
    ]  # fmt: skip
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"superseded": (1, 10_000), "retained": (1, 6_000)}
    assert bench.noticed(document, "links_across_payers") == [(1, 6_000)]


def test_a_number_that_starts_anew_is_another_claim(bench: Any, member: Any, line: Any) -> None:
    """Lines of it repeat on service dates that have nothing in common."""
    rows = [
        line(),
        line(claim_start_date="2023-09-01", claim_end_date="2023-09-02", paid_date="2023-10-01"),
    ]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"retained": (2, 20_000)}
    assert bench.noticed(document, "numbers_that_start_anew") == [(2, 20_000)]


def test_what_is_taken_back_on_other_dates_is_of_the_claim_with_its_amount(
    bench: Any, member: Any, line: Any
) -> None:
    """Beside claims that start anew without such, and one of which each part has other lines."""
    autumn = {"claim_start_date": "2023-09-01", "claim_end_date": "2023-09-01"}
    later = autumn | {"paid_date": "2023-10-01"}
    rows = [
        line(claim_id="A"),
        line(claim_id="A", **later),
        line(claim_id="B"),
        line(claim_id="B", **later, paid_amount="70"),
        line(claim_id="B", claim_start_date="2023-11-01", claim_end_date="2023-11-01",
             paid_date="2023-12-01", paid_amount="-70"),
        line(claim_id="C"),
        line(claim_id="C", claim_line_number="2", **later, paid_amount="5"),
    ]  # fmt: skip
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.noticed(document, "numbers_that_start_anew") == [(5, 30_000)]
    assert bench.fates(document)["retained"] == (5, 40_500)


def test_an_adjustment_belongs_to_the_year_of_its_service_dates(kept: Any, line: Any) -> None:
    autumn = {"claim_start_date": "2023-09-01", "claim_end_date": "2023-09-01"}
    rows = [line(), line(**autumn, paid_date="2023-10-01", paid_amount="70")]
    void = line(**autumn, paid_date="2023-11-01", x_adjstmt_ind="1", paid_amount="-70")
    assert kept([*rows, void]) == 10_000
    elsewhere = {"claim_start_date": "2023-12-01", "claim_end_date": "2023-12-01"}
    assert kept([*rows, void | elsewhere]) == 17_000


def test_lines_of_one_claim_on_several_days_are_one_claim(kept: Any, line: Any) -> None:
    """No line of it repeats, so its number does not start anew: a void voids all."""
    days = ("2023-03-01", "2023-03-08", "2023-03-15")
    rows = [
        line(claim_line_number=str(k), claim_start_date=day, claim_end_date=day)
        for k, day in enumerate(days, start=1)
    ]
    void = line(
        claim_line_number="0", paid_amount="-300", x_adjstmt_ind="1", paid_date="2023-06-01"
    )
    assert kept([*rows, void | {"claim_end_date": "2023-03-15"}]) == 0


# --- fillers and links


@pytest.mark.parametrize(
    "filler", ["~", "~~", "0", "000000", "8", "8888888", "99999", "NA", "n/a", "NULL", "None", " "]
)
@pytest.mark.parametrize("column", ["x_orgnl_clm_num", "x_adjstmt_clm_num"])
def test_a_filler_names_no_claim(kept: Any, line: Any, filler: str, column: str) -> None:
    rows = [line(claim_id=f"C{k}", **{column: filler}, x_adjstmt_ind="0") for k in range(4)]
    rows.append(
        line(claim_id="R", x_orgnl_clm_num="C1", x_adjstmt_ind="4", paid_amount="60",
             paid_date="2023-05-01")
    )  # fmt: skip
    assert kept(rows) == 36_000


def test_a_number_that_names_nothing_here_ties_nothing(bench: Any, member: Any, line: Any) -> None:
    rows = [line(claim_id=f"C{k}", x_orgnl_clm_num="ELSEWHERE") for k in range(3)]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"retained": (3, 30_000)}
    assert bench.noticed(document, "links_to_nothing") == [(3, 30_000)]


@pytest.mark.parametrize("spelling", ["01", "1.0", "001", " 1"])
def test_a_line_s_number_is_a_number(kept: Any, line: Any, spelling: str) -> None:
    later = {"claim_line_number": spelling, "paid_date": "2023-05-01", "paid_amount": "45"}
    assert kept([line(), line(**later)]) == 4_500
    assert kept([line(), line(**later)], choices=Choices(later_amounts="additional")) == 14_500


# --- what rows say of the claim


@pytest.mark.parametrize(
    ("replaces", "voids"),
    [
        ({"x_adjstmt_ind": "4"}, {"x_adjstmt_ind": "1"}),
        ({"bill_type_code": "137"}, {"bill_type_code": "138"}),
        ({"bill_type_code": "0137"}, {"bill_type_code": "0138"}),
    ],
)
@pytest.mark.parametrize("own_number", [True, False])
def test_indicator_and_frequency_act_on_the_claim(
    kept: Any, line: Any, replaces: Row, voids: Row, own_number: bool
) -> None:
    billed = [line(claim_line_number=str(k), bill_type_code="131") for k in (1, 2, 3)]
    later = {"paid_date": "2023-05-01"}
    later |= {"claim_id": "N", "x_orgnl_clm_num": "C1"} if own_number else {}
    fewer = [
        line(**{**later, "claim_line_number": str(k), **replaces}, paid_amount="90") for k in (1, 2)
    ]
    assert kept([*billed, *fewer]) == 18_000
    header = line(**later, **voids, claim_line_number="", paid_amount="-300")
    assert kept([*billed, header]) == 0


@pytest.mark.parametrize("amount", ["-50", "50"])
def test_a_void_that_finds_nothing_is_no_cost_whatever_its_sign(
    bench: Any, member: Any, line: Any, amount: str
) -> None:
    rows = [line(), line(claim_id="V", bill_type_code="138", paid_amount=amount)]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {
        "orphan_void": (1, 100 * int(amount)),
        "retained": (1, 10_000),
    }


def test_unmarked_negatives_beside_a_void_belong_to_it(kept: Any, line: Any) -> None:
    billed = [line(claim_line_number=str(k), paid_amount="40") for k in (1, 2, 3)]
    taken = [
        line(claim_line_number=str(k), paid_amount="-40", paid_date="2023-05-01") for k in (1, 2, 3)
    ]
    taken[0]["x_adjstmt_ind"] = "1"
    assert kept([*billed, *taken]) == 0


def test_lines_without_a_number_are_reversed_by_their_amounts(kept: Any, line: Any) -> None:
    bill = [line(claim_line_number="", paid_amount=amount) for amount in ("50", "30")]
    later = {"claim_line_number": "", "paid_date": "2023-05-01"}
    assert kept([*bill, line(**later, paid_amount="-50")]) == 3_000
    for mark in ({}, {"x_adjstmt_ind": "1"}):
        taken = [line(**later, **mark, paid_amount=amount) for amount in ("-30", "-50")]
        assert kept([*bill, *taken]) == 0


def test_money_taken_back_is_listed_with_its_dollars(bench: Any, member: Any, line: Any) -> None:
    rows = [line(), line(paid_amount="-20", paid_date="2023-05-01")]
    document, _ = bench.ingest(bench.folder(eligibility=[member()], medical_claim=rows))
    assert bench.fates(document) == {"retained": (2, 8_000)}
    assert bench.noticed(document, "unpaired_negatives") == [(1, -2_000)]


def test_equal_rows_are_one_bill_or_several_and_both_readings_are_told(
    bench: Any, member: Any, line: Any
) -> None:
    rows = [line(), line(paid_amount="-100"), line()]
    folder = bench.folder(eligibility=[member()], medical_claim=rows)
    one, _ = bench.ingest(folder)
    each, _ = bench.ingest(folder, choices=Choices(equal_rows="billed"))
    assert bench.fates(one) == {"duplicate": (1, 10_000), "voided": (2, 0)}
    assert bench.fates(each) == {"voided": (2, 0), "retained": (1, 10_000)}
    told = [
        (row["subject"], row["lines"], row["paid_cents"])
        for document in (one, each)
        for row in document["data_quality"]
        if row["finding"] == "equal_rows"
    ]
    assert told == [
        ("if read as billed, what stands", 1, 10_000),
        ("read as duplicate, what stands", 1, 0),
        ("if read as duplicate, what stands", 1, 0),
        ("read as billed, what stands", 1, 10_000),
    ]


# --- histories whose end is known


@dataclass
class Bill:
    """A claim being billed, voided, replaced, reversed and billed again; the generator's answer."""

    rng: Random
    number: str
    day: date
    rows: list[Row] = field(default_factory=list)
    standing: dict[int, int] = field(default_factory=dict)
    moved: int = 0

    def row(self, line: int, cents: int, **marks: Any) -> None:
        """One row, paid today."""
        self.rows.append(
            {
                "claim_id": self.number,
                "claim_line_number": str(line),
                "claim_type": "professional",
                "person_id": "0001",
                "claim_start_date": "2023-03-01",
                "claim_end_date": "2023-03-01",
                "paid_date": self.day.isoformat(),
                "paid_amount": f"{cents / 100:.2f}",
                "hcpcs_code": "99213",
            }
            | marks
        )

    def fresh(self) -> dict[int, int]:
        """New lines, each of another amount than any before."""
        return {k: self.rng.randrange(1_000, 900_000) for k in range(1, self.rng.randint(1, 3) + 1)}

    def bill(self, **marks: Any) -> None:
        """Bill lines anew."""
        self.standing = self.fresh()
        for k, cents in self.standing.items():
            self.row(k, cents, **marks)

    def void(self) -> None:
        """Take all of it back, in one of the ways in which that is said."""
        way = self.rng.choice(["reversed", "marked", "header"])
        if way == "header":
            self.row(0, -sum(self.standing.values()), x_adjstmt_ind="1")
        for k, cents in self.standing.items() if way != "header" else ():
            self.row(k, -cents, **({"x_adjstmt_ind": "1"} if way == "marked" else {}))
        self.standing = {}

    def live(self, steps: int) -> None:
        """Bill, then whatever the draw says, each later or on the same day where that is clear."""
        self.bill()
        for _ in range(steps):
            if self.rng.random() < 0.7:
                self.day += timedelta(self.rng.randint(1, 30))
            else:
                self.day += timedelta(1)
            what = self.rng.choice(["void", "void and bill", "replace", "beside"])
            if what == "replace" and self.standing:
                self.bill(x_adjstmt_ind="4")
            elif what == "void" and self.standing:
                self.void()
            elif what == "void and bill" and self.standing:
                self.void()
                self.bill(**self.rng.choice([{}, {"x_adjstmt_ind": "4"}]))
            elif what == "beside":
                cents = self.rng.randrange(1, 900)
                self.row(1, -cents, x_adjstmt_ind=self.rng.choice("356"))
                self.moved -= cents
            elif not self.standing:
                self.bill()


def histories(seed: int) -> tuple[list[Row], int]:
    """Rows of several claims, and the cents in which they end."""
    rng = Random(seed)  # noqa: S311 - a draw that a test repeats
    bills = [Bill(rng, f"C{k}", date(2023, 4, 1)) for k in range(rng.randint(1, 4))]
    for bill in bills:
        bill.live(rng.randint(0, 5))
    rows = [row for bill in bills for row in bill.rows]
    return rows, sum(sum(bill.standing.values()) + bill.moved for bill in bills)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_a_history_ends_in_the_state_that_it_was_made_from(kept: Any, seed: int) -> None:
    rows, cents = histories(seed)
    assert kept(rows) == cents


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_order_files_and_names_change_nothing(bench: Any, member: Any, seed: int) -> None:
    """Rows permuted and split over files give the same content; other ids the same dollars."""
    rows, _ = histories(seed)
    rng = Random(seed + 1)  # noqa: S311 - likewise
    shuffled = rng.sample(rows, len(rows))
    cut = rng.randrange(len(rows) + 1)
    split: dict[str, list[Row]] = {
        "medical_claim__a": shuffled[:cut],
        "medical_claim__b": shuffled[cut:],
    }
    names = {f"C{k}": f"{rng.randrange(10**9):x}" for k in range(9)}
    renamed = [row | {"claim_id": names[row["claim_id"]]} for row in shuffled]
    folders = [
        bench.folder(eligibility=[member()], medical_claim=rows),
        bench.folder(eligibility=[member()], **{k: v for k, v in split.items() if v}),
        bench.folder(eligibility=[member()], medical_claim=renamed),
    ]
    first, parted, other = (bench.ingest(folder)[0] for folder in folders)
    assert first["population_digest"] == parted["population_digest"]
    assert bench.fates(first) == bench.fates(parted) == bench.fates(other)


def test_a_row_that_comes_again_stands_where_it_first_came(kept: Any, line: Any) -> None:
    """Every delivery has the old version again; the new one is later whatever the rows' order."""
    old = [line(file_date=f"2023-05-0{day}") for day in (1, 5, 9)]
    new = line(file_date="2023-05-05", paid_amount="60")
    for rows in permutations([*old, new]):
        assert kept(list(rows)) == 6_000


def test_a_header_void_that_comes_again_is_the_same_void(kept: Any, line: Any) -> None:
    """Several voids of one day and without a number would each be of a line."""
    void = {"claim_line_number": "", "x_adjstmt_ind": "1", "paid_date": "2023-05-01"}
    billed = [line(), line(claim_line_number="2", paid_amount="40")]
    voids = [line(**void, paid_amount="-140", file_date=f"2023-05-0{day}") for day in (1, 5)]
    for rows in permutations([*billed, *voids]):
        assert kept(list(rows)) == 0


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_copies_in_other_files_decide_nothing_by_their_order(
    bench: Any, member: Any, seed: int
) -> None:
    """Rows stand again under other days of their file, and under none, in any order."""
    rows, _ = histories(seed)
    rng = Random(seed + 3)  # noqa: S311 - likewise
    days = ("", "2024-02-01", "2024-02-09", "2024-03-01")
    again = [
        row | {"file_date": rng.choice(days)} for row in rows for _ in range(rng.randint(1, 3))
    ]
    later = [
        row | {"paid_amount": str(rng.randint(1, 9)), "file_date": rng.choice(days)}
        for row in rng.sample(rows, rng.randint(0, 2) if len(rows) > 1 else 0)
    ]
    given_ = [*again, *later]
    first, other = (
        bench.ingest(bench.folder(eligibility=[member()], medical_claim=of))[0]
        for of in (given_, rng.sample(given_, len(given_)))
    )
    assert first["population_digest"] == other["population_digest"]
    assert bench.fates(first) == bench.fates(other)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_a_reading_not_chosen_is_told_with_what_it_would_retain(
    bench: Any, member: Any, seed: int
) -> None:
    """Histories with rows that stand twice, and amounts that come later without a word."""
    rows, _ = histories(seed)
    rng = Random(seed + 2)  # noqa: S311 - likewise
    copies = rng.sample(rows, rng.randrange(len(rows) + 1))
    later = [
        row | {"paid_date": f"2024-06-0{rng.randint(1, 2)}", "paid_amount": str(rng.randint(1, 9))}
        for row in rng.sample(rows, rng.randint(0, 2) if len(rows) > 1 else 0)
    ]
    folder = bench.folder(eligibility=[member()], medical_claim=[*rows, *copies, *later])

    def retained(document: dict[str, Any]) -> int:
        return int(bench.fates(document).get("retained", (0, 0))[1])

    document, _ = bench.ingest(folder)
    told = {
        row["finding"]: row["paid_cents"]
        for row in document["data_quality"]
        if str(row["subject"]).startswith("if read as")
    }
    for finding, choices in (
        ("later_amounts", Choices(later_amounts="additional")),
        ("equal_rows", Choices(equal_rows="billed")),
    ):
        other, _ = bench.ingest(folder, choices=choices)
        assert told.get(finding, retained(document)) == retained(other)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    amounts=st.lists(
        st.tuples(st.integers(1, 3), st.integers(-500, 500), st.sampled_from(["", "0", "3", "5"])),
        min_size=1, max_size=8, unique_by=lambda row: row[:2],
    )
)  # fmt: skip
def test_where_nothing_is_replaced_what_stands_is_the_sum(
    kept: Any, line: Any, amounts: list[tuple[int, int, str]]
) -> None:
    rows = [
        line(claim_line_number=str(k), paid_amount=str(dollars), x_adjstmt_ind=mark)
        for k, dollars, mark in amounts
    ]
    assert kept(rows) == 100 * sum(dollars for _, dollars, _ in amounts)
