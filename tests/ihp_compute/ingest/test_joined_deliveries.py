"""What a delivery reaches is decided anew and the rest put beside it: together as if at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ihp_compute.data_quality import GateTerms
from ihp_compute.ingest import Choices
from ihp_compute.ingest.passes import ingest
from ihp_compute.population.record import GONE
from ihp_compute.population.shards import Population, open_population
from tests.ihp_compute.ingest.test_deliveries import (
    Deliveries,
    Tables,
    assert_equal,
    differ,
    put_aside,
    write,
)

Row = dict[str, Any]


@pytest.fixture
def rows(
    member: Callable[..., Row], line: Callable[..., Row], drug: Callable[..., Row]
) -> list[tuple[str, Row]]:
    """Rows that meet, in claims, on days and among a member's codes, whichever comes first."""
    stay = {
        "claim_type": "institutional", "bill_type_code": "111", "drg_code": "470",
        "revenue_center_code": "0120",
    }  # fmt: skip
    urgent = {
        "claim_type": "institutional", "bill_type_code": "131", "revenue_center_code": "0450",
        "hcpcs_code": "99283",
    }  # fmt: skip
    may = {"claim_start_date": "2023-05-09", "claim_end_date": "2023-05-09"}
    of_2 = {"person_id": "0002"}
    return [
        *(("eligibility", row) for row in (
            member(), member(enrollment_start_date="2024-01-01", enrollment_end_date=""),
            member(**of_2, enrollment_end_date="2023-04-30"),
            member(**of_2, enrollment_start_date="2023-05-01", birth_date="2023-05-10"),
            member(person_id="0003", data_source="feed", snapshot_date="2023-05-01"),
            member(person_id="0003", data_source="feed", snapshot_date="2023-08-01",
                   enrollment_start_date="2023-04-01"),
        )),
        *(("medical_claim", row) for row in (
            # two claims that a third joins, and one that names what is not here
            line(claim_id="A"), line(claim_id="B", paid_amount="60.00"),
            line(claim_id="B", claim_line_number="2", x_orgnl_clm_num="A", x_adjstmt_ind="4",
                 paid_date="2023-06-01"),
            line(claim_id="C", x_orgnl_clm_num="gone", x_adjstmt_ind="4", paid_date="2023-06-01"),
            line(claim_id="D", x_orgnl_clm_num="gone", x_adjstmt_ind="1", paid_amount="-100.00",
                 paid_date="2023-07-01"),
            line(claim_id="A", payer="other", paid_amount="9.00"),
            # alike but for the payment, and to the letter
            line(claim_id="E", **may), line(claim_id="E", **may),
            line(claim_id="E2", **may, paid_date="2023-09-01", diagnosis_code_2="J45.909"),
            line(claim_id="E3", **may, paid_date="", hcpcs_code="99214"),
            # emergency lines of one day, and stays
            line(claim_id="U", **urgent, diagnosis_code_1=""),
            line(claim_id="U2", **urgent, diagnosis_code_1="", paid_date="2023-08-08"),
            line(claim_id="S", **stay, admission_date="2023-03-01", claim_end_date="2023-03-04"),
            line(claim_id="S", **stay, claim_line_number="2", paid_date="2023-08-01"),
            line(claim_id="S2", **stay, admission_date="2023-02-20", diagnosis_code_1=""),
            line(claim_id="S3", **stay, **may, **of_2),
            # whom enrolment reaches late
            line(claim_id="F", **of_2), line(claim_id="G", **of_2, **may),
            line(claim_id="G", **of_2, **may, claim_line_number="2", paid_amount="-3.00"),
            line(claim_id="H", person_id="0003"), line(claim_id="I", person_id="0004"),
            line(claim_id="T", person_id="0003", revenue_center_code="0001", **may),
            line(claim_id="J", claim_start_date="2024-02-02", claim_end_date="2024-02-02",
                 rendering_npi="1888888888", billing_tin="12-3456789"),
            line(claim_id="K", claim_start_date="2022-12-31", hcpcs_code="A0001"),
        )),
        *(("pharmacy_claim", row) for row in (
            drug(), drug(claim_id="R2"), drug(claim_id="R3", paid_date="2023-03-12"),
            drug(claim_id="R4", ndc_code="00093015001", **of_2), drug(claim_id="A"),
        )),
    ]  # fmt: skip


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    which=st.lists(st.integers(0, 3), min_size=40, max_size=40),
    equal=st.sampled_from(("duplicate", "billed")),
    later=st.sampled_from(("restated", "additional")),
)
def test_whatever_comes_first_rows_come_to_what_they_do_at_once(
    which: list[int],
    equal: str,
    later: str,
    rows: list[tuple[str, Row]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No reference table comes again, so that only those are decided anew whom rows reach."""
    parts: list[Tables] = [{} for _ in range(4)]
    for (table, row), at in zip(rows, which, strict=False):
        parts[at].setdefault(table, []).append(row)
    for table in ("medical_claim", "eligibility"):  # the first ingest is of a whole folder
        parts[0].setdefault(table, [next(row for name, row in rows if name == table)])
    parts[0]["provider_roster"] = [{"partnership_id": "P", "npi": "0123456789"}]
    parts = [part for part in parts if part]
    assume(differ(parts))
    made = Deliveries(tmp_path_factory.mktemp("joined"))
    options: Any = {
        "gates": GateTerms(accept={}),
        "choices": Choices(equal_rows=equal, later_amounts=later),  # type: ignore[arg-type]
    }
    assert_equal(made.one_by_one(parts, **options), made.at_once(parts, **options))
    shutil.rmtree(made.root)


@pytest.fixture
def deliveries(tmp_path: Any) -> Deliveries:
    return Deliveries(tmp_path)


def pieces(population: Population) -> list[list[int]]:
    """Of the one shard's cold record: where each piece's rows have their lines, as it says."""
    shard = population.shards[0]
    found = []
    for name in shard.record_claims:
        with pa.ipc.open_file(population.path / name) as reader:
            found.append(reader.read_all().column("line").to_pylist())
    return found


def one_by_one(made: Deliveries, parts: list[Tables]) -> list[Population]:
    """The populations of deliveries, one after another, of one shard."""
    found: list[Population] = []
    for n, tables in enumerate(parts):
        folder = made.root / f"delivery-{n}"
        for name, own in tables.items():
            write(folder, name, own)
        out = made.root / f"one-{n}"
        ingest(folder, out, **({"onto": found[-1].path} if found else {"shards": 1}))
        found.append(open_population(out))
    return found


def test_claims_that_stand_stay_in_their_files(
    deliveries: Deliveries, member: Callable[..., Row], line: Callable[..., Row]
) -> None:
    """Of two members one is reached, by a void: both rows of hers move, nobody else's."""
    other = {"person_id": "0002"}
    parts: list[Tables] = [
        {
            "eligibility": [member(), member(**other)],
            "medical_claim": [
                line(), line(claim_id="C2"), line(claim_id="X", **other),
                line(claim_id="Y", **other, x_clm_dnd_ind="0"),
            ],
        },
        {"medical_claim": [line(claim_id="Z", **other, claim_start_date="2023-01-02")]},
        {
            "medical_claim": [
                line(x_adjstmt_ind="1", paid_amount="-100.00", paid_date="2023-06-01")
            ]
        },
    ]  # fmt: skip
    _, second, third = one_by_one(deliveries, parts)
    assert [len(rows) for rows in pieces(second)] == [4, 1]
    assert [len(rows) for rows in pieces(third)] == [4, 1, 3]
    for before, name in ((second, "00000"), (second, "00000-2")):
        file = f"record/claims/{name}.arrow"
        assert (before.path / file).stat().st_ino == (third.path / file).stat().st_ino
    with pa.ipc.open_file(third.path / "record/places/00000.arrow") as reader:
        line_of = reader.read_all().column("line").to_pylist()
    assert sorted(line_of[:4]) == [GONE, GONE, -1, 1]
    assert line_of[4] == 0
    assert {row["fate"] for row in third.shards[0].record().to_pylist()} == {
        "retained", "voided", "denied",
    }  # fmt: skip
    found = third.shards[0].record(columns=["claim_id", "line"], where=("claim_id", "C1"))
    assert found.column("line").to_pylist() == [-1, -1]
    assert sum(put_aside(third).values()) == 3
