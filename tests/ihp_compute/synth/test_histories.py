"""Planted histories of claims: ingest finds the answers beside the state, older readings do not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.passes import ingest
from ihp_compute.ledger import IngestFate
from ihp_compute.synth import costs as synth_costs
from ihp_compute.synth import network
from ihp_compute.synth import people as synth_people
from ihp_compute.synth.claims import draw_claims
from ihp_compute.synth.codes import DENIED_VISIT, VOIDED_VISIT
from ihp_compute.synth.decoys import with_decoys
from ihp_compute.synth.effects import planted
from ihp_compute.synth.histories import PLANTED
from ihp_compute.synth.lines import Lines
from ihp_compute.synth.member_years import MemberYears
from ihp_compute.synth.payment import run_out_end
from ihp_compute.synth.raw_claims import Block, claims_block
from ihp_compute.synth.shapes import SHAPES
from ihp_compute.synth.state import synth
from ihp_compute.units import day_of

MEMBERS, SEED = 4_000, 23  # one block
CALENDAR: Final = synth_people.Calendar(2023, 2024)
Row = dict[str, Any]
Reading = Callable[[list[Row]], int]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("histories") / "state"
    synth(MEMBERS, SEED, folder)
    return folder


@pytest.fixture(scope="module")
def truth(state: Path) -> Any:
    return json.loads((state / "truth.json").read_text())


@pytest.fixture(scope="module")
def block() -> Block:
    """The claims of the state, with the kind of each row."""
    people = synth_costs.people(MEMBERS, SEED, CALENDAR, planted({}))
    net = network.network(MEMBERS, SEED, CALENDAR)
    return claims_block(people, net, SEED, 0, 0, MEMBERS, through_day=day_of(run_out_end(2024)))


def of_kind(block: Block, name: str) -> dict[str, pa.Table]:
    """Rows of a kind, by table."""
    place = [kind.name for kind in PLANTED].index(name)
    return {
        "medical_claim": block.medical.filter(pa.array(block.medical_kinds == place)),
        "pharmacy_claim": block.pharmacy.filter(pa.array(block.pharmacy_kinds == place)),
    }


def fates(document: dict[str, Any], *tables: str) -> dict[str, tuple[int, int]]:
    """Lines and cents by fate, of these tables, fates without lines left out."""
    lines: Counter[str] = Counter()
    cents: Counter[str] = Counter()
    for entry in document["ledger"]:
        if entry["source_table"] in tables:
            lines[entry["fate"]] += entry["lines"]
            cents[entry["fate"]] += entry["paid_cents"]
    return {fate: (n, cents[fate]) for fate, n in lines.items() if n}


# --- what comes out


def assert_ledger(document: dict[str, Any], truth: Any) -> None:
    """Every table, fate, line and cent is what the truth says."""
    assert set(truth["ledger"]) == {"medical_claim", "pharmacy_claim", "eligibility"}
    for table, of in truth["ledger"].items():
        known = {fate: (row["lines"], row["paid_cents"]) for fate, row in of.items()}
        assert fates(document, table) == {fate: row for fate, row in known.items() if row[0]}


def test_ingest_gives_the_ledger_beside_the_state(state: Path, truth: Any, tmp_path: Path) -> None:
    assert_ledger(ingest(state, tmp_path / "population", shards=3), truth)


@pytest.mark.parametrize(
    ("members", "seed", "base_year"),
    [(1, 2, 2023), (300, 5, 2019), (4_100, 9, 2023)],
    ids=["one member", "years apart", "two blocks"],
)
def test_small_states_and_several_blocks_have_answers_too(
    members: int, seed: int, base_year: int, tmp_path: Path
) -> None:
    truth = synth(members, seed, tmp_path / "raw", base_year=base_year)
    assert_ledger(ingest(tmp_path / "raw", tmp_path / "population", shards=2), truth)


@pytest.mark.parametrize("through", ["2024-03-14", "2024-12-31", "2025-02-10", "2026-12-31"])
def test_a_state_cut_at_a_day_of_payment_has_the_answers_of_that_day(
    through: str, tmp_path: Path
) -> None:
    """Rows meet the fate that they have while what changes them is not paid yet."""
    cut = date.fromisoformat(through)
    truth = synth(MEMBERS, SEED, tmp_path / "raw", paid_through=cut)
    assert truth["paid_through"] == through
    for table in ("medical_claim", "pharmacy_claim"):
        paid = pq.read_table(tmp_path / "raw" / table / "part-00000.parquet").column("paid_date")
        last = pc.max(paid).as_py()
        assert last <= cut
    assert_ledger(ingest(tmp_path / "raw", tmp_path / "population", shards=3), truth)


def test_a_cut_state_is_the_whole_one_without_what_was_paid_later(tmp_path: Path) -> None:
    cut, end = date(2024, 11, 20), date(2026, 12, 31)
    for name, through in (("cut", cut), ("all", end)):
        synth(1_500, SEED, tmp_path / name, paid_through=through)
    for table in ("medical_claim", "pharmacy_claim"):
        early, whole = (
            pq.read_table(tmp_path / name / table / "part-00000.parquet") for name in ("cut", "all")
        )
        kept = whole.filter(pc.less_equal(whole.column("paid_date"), pa.scalar(cut)))
        assert kept.to_pylist() == early.to_pylist()
        assert len(early) < len(whole)


def test_every_kind_befalls_some_claims(truth: Any) -> None:
    assert list(truth["histories"]) == [kind.name for kind in PLANTED]
    assert all(of["claims"] > 0 for of in truth["histories"].values())
    assert sum(kind.share for kind in PLANTED if kind.scope != "drawn") < 0.1


KINDS: Final = [kind.name for kind in PLANTED if kind.name != "unreadable"]  # a file of its own


@pytest.mark.parametrize("name", KINDS)
def test_each_history_by_itself_ends_as_its_answer_says(
    state: Path, truth: Any, block: Block, tmp_path: Path, name: str
) -> None:
    """Nothing but the rows of one kind: their fates, and the cents that stand."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for table, rows in of_kind(block, name).items():
        pq.write_table(rows, raw / f"{table}.parquet")
    pq.write_table(pq.read_table(state / "eligibility"), raw / "eligibility.parquet")
    document = ingest(raw, tmp_path / "population", shards=1, threads=1)
    found = fates(document, "medical_claim", "pharmacy_claim")
    known = truth["histories"][name]
    assert {fate: lines for fate, (lines, _) in found.items()} == known["lines"]
    assert found.get("retained", (0, 0))[1] == known["retained_cents"]


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("later_amounts=additional", Choices(later_amounts="additional")),
        ("equal_rows=billed", Choices(equal_rows="billed")),
    ],
)
def test_the_other_reading_of_an_open_choice_is_known_too(
    state: Path, truth: Any, tmp_path: Path, option: str, choices: Choices
) -> None:
    document = ingest(state, tmp_path / "population", shards=2, choices=choices)
    found = fates(document, "medical_claim", "pharmacy_claim")["retained"][1]
    more = [
        of["retained_cents_if"][option] - of["retained_cents"]
        for of in truth["histories"].values()
        if option in of.get("retained_cents_if", {})
    ]
    assert more
    assert min(more) > 0
    stands = sum(of["retained"]["paid_cents"] for of in truth["ledger"].values())
    assert found == stands + sum(more)


# --- older readings, each wrong in one way


def sum_of_all(rows: list[Row]) -> int:
    """Every row is a cost, whatever others say of it."""
    return sum(row["cents"] for row in rows)


def distinct_rows(rows: list[Row]) -> int:
    """Rows that are equal in every column are one, and else each is a cost."""
    return sum(row["cents"] for row in {tuple(row["all"].items()): row for row in rows}.values())


def without_negatives(rows: list[Row]) -> int:
    """What is negative is left out."""
    return sum(row["cents"] for row in rows if row["cents"] > 0)


def _in_order(rows: Iterable[Row]) -> list[Row]:
    """By paid date; on one day what voids comes last, which was wrong."""
    return sorted(rows, key=lambda row: (row["paid_date"], row["voids"]))


def _last_of_each(rows: list[Row], *names: str) -> int:
    """The last row of each; a void leaves nothing of it."""
    last = {tuple(row[name] for name in names): row for row in _in_order(rows)}
    return sum(row["cents"] for row in last.values() if not row["voids"])


def line_by_line(rows: list[Row]) -> int:
    """The last row of each line stands, a negative one too; a void voids a line."""
    return _last_of_each(rows, "person_id", "plan", "claim_id", "line")


def lines_as_text(rows: list[Row]) -> int:
    """Likewise, lines told apart by how their numbers are written."""
    return _last_of_each(rows, "person_id", "plan", "claim_id", "line_text")


def number_of_member(rows: list[Row]) -> int:
    """A claim is a member's number, of whichever plan and year; lines by number."""
    return _last_of_each(rows, "person_id", "claim_id", "line")


def links_as_written(rows: list[Row]) -> int:
    """What is named is the claim, a filler too."""
    named = [{**row, "claim_id": row["named"] or row["claim_id"]} for row in rows]
    return _last_of_each(named, "person_id", "plan", "claim_id", "line")


def _by_version(rows: list[Row], claim: str) -> dict[Any, list[list[Row]]]:
    """Versions of each claim, in the order in which they came."""
    versions: dict[Any, dict[Any, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in _in_order(rows):
        version = row["paid_date"], row["voids"], row["x_adjstmt_ind"]
        versions[row["person_id"], row["plan"], row[claim]][version].append(row)
    return {name: list(of.values()) for name, of in versions.items()}


def voids_come_last(rows: list[Row]) -> int:
    """The last version of a claim stands, unless it is a void; a void is the last of its day."""
    last = [of[-1] for of in _by_version(rows, "claim_id").values()]
    return sum(row["cents"] for version in last for row in version if not row["voids"])


def voids_cancel_what_they_name(rows: list[Row]) -> int:
    """A void cancels the claim that it names, whatever its amount; versions are not tied."""
    named = {row["named"] for row in rows if row["voids"]}
    return sum(row["cents"] for row in rows if not row["voids"] and row["claim_id"] not in named)


def with_a_start(rows: list[Row]) -> int:
    """A row without the claim's first day is none."""
    return sum(row["cents"] for row in rows if row["start"])


def with_an_end(rows: list[Row]) -> int:
    """A row without the claim's last day is none."""
    return sum(row["cents"] for row in rows if row["end"])


FAILS: Final[dict[str, tuple[Reading, ...]]] = {
    "replaced": (sum_of_all, without_negatives),
    "replaced_with_fewer_lines": (line_by_line, sum_of_all),
    "replaced_renumbered": (line_by_line, sum_of_all),
    "replaced_by_another_number": (line_by_line, voids_come_last),
    "replaced_across_plans": (line_by_line, number_of_member),
    "absent_replaced_twice": (line_by_line, voids_come_last),
    "replaced_by_bill_type": (line_by_line,),
    "restated": (sum_of_all, distinct_rows),
    "restated_in_another_spelling": (lines_as_text,),
    "restated_in_a_decimal_spelling": (lines_as_text,),
    "voided": (without_negatives,),
    "reversed": (line_by_line, voids_come_last, without_negatives),
    "visit_voided": (without_negatives,),
    "voided_by_header": (line_by_line, without_negatives),
    "voided_by_bill_type": (line_by_line, without_negatives),
    "voided_with_unmarked_negatives": (line_by_line, sum_of_all),
    "voided_then_replaced": (without_negatives,),
    "voided_and_billed_on_one_day": (line_by_line, voids_come_last),
    "voided_and_replaced_on_one_day": (line_by_line, voids_come_last),
    "voided_without_amount_on_one_day": (voids_come_last, sum_of_all),
    "all_on_one_day": (line_by_line, voids_come_last),
    "void_of_what_was_replaced": (line_by_line, voids_come_last),
    "void_that_names_the_first": (voids_cancel_what_they_name, line_by_line),
    "orphan_void": (sum_of_all,),
    "orphan_void_by_bill_type": (sum_of_all, without_negatives),
    "taken_back": (line_by_line, voids_come_last, without_negatives),
    "taken_back_before_replacement": (line_by_line, voids_come_last),
    "credit": (line_by_line, voids_come_last),
    "gross_credit": (line_by_line, voids_come_last),
    "gross_debit": (line_by_line, voids_come_last),
    "one_number_of_two_plans": (number_of_member,),
    "number_of_two_years": (number_of_member, line_by_line),
    "number_of_two_years_replaced": (number_of_member, line_by_line),
    "fillers": (links_as_written,),
    "duplicate": (sum_of_all,),
    "delivered_twice": (sum_of_all, distinct_rows),
    "stay_without_end": (with_an_end,),
    "stay_without_start": (with_a_start,),
}
OTHER_FATES: Final = {
    "denied",
    "visit_denied",
    "unknown_member",
    "outside_eligibility",
    "unreadable",
}
"""Damage that is no history."""


def as_read(tables: Iterable[pa.Table]) -> list[Row]:
    """Rows as the readings above want them."""
    return [
        {
            "all": row,
            "person_id": row["person_id"],
            "plan": row["plan"],
            "claim_id": row["claim_id"],
            "line": float(row["claim_line_number"] or 0),
            "line_text": row["claim_line_number"],
            "paid_date": row["paid_date"],
            "cents": int((row["paid_amount"] or 0) * 100),
            "x_adjstmt_ind": row["x_adjstmt_ind"],
            "voids": row["x_adjstmt_ind"] == "1" or (row.get("bill_type_code") or "")[-1:] == "8",
            "named": row["x_orgnl_clm_num"],
            "start": row.get("claim_start_date"),
            "end": row.get("claim_end_date"),
        }
        for table in tables
        for row in table.to_pylist()
    ]


@pytest.mark.parametrize(
    ("name", "reading"),
    [(name, reading) for name, readings in FAILS.items() for reading in readings],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_older_reading_leaves_other_dollars(
    truth: Any, block: Block, name: str, reading: Reading
) -> None:
    rows = as_read(of_kind(block, name).values())
    assert reading(rows) != truth["histories"][name]["retained_cents"]


def test_every_history_has_a_reading_that_fails_on_it() -> None:
    assert set(FAILS) | OTHER_FATES == {kind.name for kind in PLANTED}


def test_readings_fail_by_their_fault_alone(truth: Any, block: Block) -> None:
    """Where a history has nothing of what a reading gets wrong, the reading finds the answer."""
    for name, reading in (
        ("replaced", line_by_line),
        ("replaced", voids_come_last),
        ("restated", lines_as_text),
        ("restated_in_another_spelling", line_by_line),
        ("voided", line_by_line),
        ("voided", voids_cancel_what_they_name),
        ("voided_by_header", voids_come_last),
        ("voided_by_bill_type", voids_come_last),
        ("voided_then_replaced", voids_come_last),
        ("replaced_with_fewer_lines", voids_come_last),
        ("one_number_of_two_plans", line_by_line),
        ("replaced_by_another_number", links_as_written),
        ("taken_back", sum_of_all),
        ("duplicate", distinct_rows),
        ("stay_without_end", with_a_start),
    ):
        rows = as_read(of_kind(block, name).values())
        assert reading(rows) == truth["histories"][name]["retained_cents"], (name, reading)


# --- how they are planted


def test_histories_leave_the_dollars_that_the_clean_claims_had(tmp_path: Path) -> None:
    """What stands when all is paid is what the people cost, whatever is planted."""
    truth = synth(MEMBERS, SEED, tmp_path / "all", paid_through=date(2026, 12, 31))
    people = synth_costs.people(MEMBERS, SEED, CALENDAR, planted({}))
    rng = synth_people.generator(SEED, 4, 0)
    years = MemberYears.of(people, 0, MEMBERS)
    net = network.network(MEMBERS, SEED, CALENDAR)
    claims = with_decoys(rng, years, net, draw_claims(rng, years, net)).sorted()
    lines = Lines(rng, years, claims, 0)
    stands = ~np.isin(SHAPES.role, [DENIED_VISIT, VOIDED_VISIT])[claims.template]
    clean = int(lines.paid_cents[stands[lines.claim]].sum())
    assert sum(of["retained"]["paid_cents"] for of in truth["ledger"].values()) == clean


def test_answers_add_up(truth: Any) -> None:
    """Lines of a fate that only planted rows meet are those of the kinds."""
    for fate in IngestFate:
        if fate is IngestFate.RETAINED:
            continue
        planted = sum(of["lines"].get(fate.label, 0) for of in truth["histories"].values())
        assert planted == truth["errors"][fate.label] > 0
