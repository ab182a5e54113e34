"""A delivery adds: whatever order and parts claims come in, the population is that of them all."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ihp_compute.data_quality import GateTerms
from ihp_compute.errors import DataError, GateError, PopulationError
from ihp_compute.folders import SEAL, file_sha256, write_manifest
from ihp_compute.ingest import Choices
from ihp_compute.ingest.passes import ingest
from ihp_compute.input_columns import CODED
from ihp_compute.population.record import RECORDS
from ihp_compute.population.shards import Population, open_population
from ihp_compute.population.verify import verify

Row = dict[str, Any]
Tables = dict[str, list[Row]]
SOUGHT = ("source_table", "fate")
ADDS = ("medical_claim", "pharmacy_claim", "eligibility")


def summed(ledger: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], Counter[str]]:
    """Lines and cents of a ledger by some of its columns."""
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for row in ledger:
        key = tuple(row[name] for name in keys)
        found.setdefault(key, Counter()).update(
            {"lines": row["lines"], "paid_cents": row["paid_cents"]}
        )
    return found


def recorded(population: Population) -> dict[str, Counter[tuple[Any, ...]]]:
    """The cold record without what says where a row stood and which of equal rows is kept."""
    found = {}
    for name in RECORDS:
        rows: Counter[tuple[Any, ...]] = Counter()
        for shard in population.shards:
            for row in shard.record(name).to_pylist():
                for column in ("line", "file", "row"):
                    row.pop(column, None)
                rows[tuple(_texts(population, row))] += 1
        found[name] = rows
    return found


def _texts(population: Population, row: Row) -> Iterable[Any]:
    """A row's values, codes by their texts."""
    for name, value in sorted(row.items()):
        if name in CODED:
            codes = population.codes(CODED[name])
            values = value if isinstance(value, list) else [value]
            yield name, tuple(codes[code].as_py() for code in values)
        else:
            yield name, value


def put_aside(population: Population) -> Counter[tuple[Any, ...]]:
    """The quarantine of all tables, without where a row stood."""
    found: Counter[tuple[Any, ...]] = Counter()
    for table in ADDS:
        aside = population.put_aside(table)
        for row in [] if aside is None else aside.to_pylist():
            kept = {k: v for k, v in row.items() if k not in ("file", "row", "delivery")}
            found[table, *kept.items()] += 1
    return found


def write(folder: Path, name: str, rows: list[Row]) -> None:
    """A CSV file of a delivery."""
    path = folder / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def differ(parts: list[Tables]) -> bool:
    """Whether no claim or eligibility file comes a second time, which would be refused."""
    files = [(table, str(rows)) for part in parts for table, rows in part.items() if table in ADDS]
    return len(set(files)) == len(files)


class Deliveries:
    """Ingests deliveries one after another, and all at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.n = 0

    def one_by_one(
        self, deliveries: list[Tables], **options: Any
    ) -> tuple[dict[str, Any], Population]:
        """The last of the populations made of deliveries, a folder each."""
        before: Path | None = None
        for tables in deliveries:
            folder, out = self._places()
            for name, rows in tables.items():
                write(folder, name, rows)
            kept = {"shards": 3} if before is None else {"onto": before}
            document = ingest(folder, out, threads=1, **kept, **options)
            before = out
        assert before is not None
        return document, open_population(before)

    def at_once(
        self, deliveries: list[Tables], **options: Any
    ) -> tuple[dict[str, Any], Population]:
        """The population of one folder that holds what the deliveries come to."""
        folder, out = self._places()
        for n, tables in enumerate(deliveries):
            for name, rows in tables.items():
                write(folder, f"{name}/{n}" if name in ADDS else name, rows)
        document = ingest(folder, out, threads=1, shards=2, **options)
        return document, open_population(out)

    def _places(self) -> tuple[Path, Path]:
        self.n += 1
        folder = self.root / f"raw-{self.n}"
        folder.mkdir()
        return folder, self.root / f"population-{self.n}"


def assert_equal(
    joined: tuple[dict[str, Any], Population], fresh: tuple[dict[str, Any], Population]
) -> None:
    """Everything that an ingest says and keeps is the same, but for files' names and places."""
    (one, a), (other, b) = joined, fresh
    assert one["population_digest"] == other["population_digest"]
    assert summed(one["ledger"], *SOUGHT) == summed(other["ledger"], *SOUGHT)
    for key in ("tables", "members", "member_months", "amounts", "choices", "balanced"):
        assert one[key] == other[key]
    assert without_files(one["data_quality"]) == without_files(other["data_quality"])
    assert {n for n in one["notes"] if ".csv" not in n} == {
        n for n in other["notes"] if ".csv" not in n
    }
    assert recorded(a) == recorded(b)
    assert put_aside(a) == put_aside(b)
    assert a.payment_days() == b.payment_days()
    for name in ("codes", "service_years", "full_years", "last_paid_day", "horizon_month"):
        assert a.manifest[name] == b.manifest[name]
    assert verify(a.path)["population_digest"] == a.digest


def without_files(rows: Iterable[Row]) -> Counter[tuple[Any, ...]]:
    """What was noticed, files added up."""
    found: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        key = tuple(
            (k, v) for k, v in row.items() if k not in ("file", "lines", "paid_cents", "share")
        )
        found[key, "lines"] += row["lines"]
        found[key, "paid_cents"] += row["paid_cents"]
    return found


@pytest.fixture
def deliveries(tmp_path: Path) -> Deliveries:
    return Deliveries(tmp_path)


@pytest.fixture
def state(
    member: Callable[..., Row], line: Callable[..., Row], drug: Callable[..., Row]
) -> dict[str, list[Row]]:
    """Rows of three people of every kind that a later delivery may change the meaning of."""
    return {
        "eligibility": [
            member(),
            member(person_id="0002", enrollment_end_date=""),
            member(person_id="0002", enrollment_start_date="2022-01-01", gender="male",
                   enrollment_end_date="2022-12-31"),
            member(person_id="0003", snapshot_date="2023-05-01", data_source="feed"),
            member(person_id="0003", snapshot_date="2023-08-01", data_source="feed",
                   enrollment_end_date="2023-06-30"),
            member(person_id="0004", enrollment_start_date="2023-02-30"),
        ],
        "medical_claim": [
            line(),
            line(claim_line_number="2", hcpcs_code="99283", revenue_center_code="0450",
                 bill_type_code="131", claim_type="institutional"),
            line(),  # again, to the letter
            line(claim_id="V", person_id="0002"),
            line(claim_id="V", person_id="0002", paid_amount="-100.00", paid_date="2023-05-02",
                 x_adjstmt_ind="1"),
            line(claim_id="R", person_id="0002", paid_amount="80.00"),
            line(claim_id="R2", person_id="0002", paid_amount="90.00", paid_date="2023-06-01",
                 x_adjstmt_ind="4", x_orgnl_clm_num="R", payer="other"),
            line(claim_id="L", paid_amount="30.00"),
            line(claim_id="L", paid_amount="35.00", paid_date="2023-07-01"),
            line(claim_id="N", paid_amount="-12.00", person_id="0003"),
            line(claim_id="D", x_clm_dnd_ind="0", diagnosis_code_2="I10", file_date="2023-09-09"),
            line(claim_id="late", person_id="0003", claim_start_date="2023-09-01",
                 claim_end_date="2023-09-01"),
            line(claim_id="stray", person_id="0005", rendering_npi="1999999999"),
            line(claim_id="bad", paid_amount="much", data_source="s2"),
            line(claim_id="", person_id=""),
            line(claim_id="S", claim_type="institutional", bill_type_code="111", drg_code="470",
                 admission_date="2023-03-01", discharge_date="2023-03-05",
                 claim_end_date="2023-03-05", revenue_center_code="0120"),
            line(claim_id="S", claim_line_number="7", claim_type="institutional",
                 paid_date="2024-02-01", bill_type_code="111", paid_amount="5.555"),
        ],
        "pharmacy_claim": [
            drug(), drug(claim_id="R2", person_id="0002"), drug(quantity="many"),
            drug(paid_amount="-10.00", paid_date="2023-06-01"),
        ],
        "provider_roster": [
            {"partnership_id": "P", "npi": "0123456789"},
            {"partnership_id": "P", "npi": "1999999999"},
        ],
        "risk_score": [
            {"person_id": who, "year": "2023", "model": "m", "score": "1.5"}
            for who in ("0001", "0003", "0005")
        ],
        "quality_score": [
            {"partnership_id": "P", "performance_year": "2023", "score": "0.9"}
        ],
    }  # fmt: skip


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, dict[str, list[int]], list[frozenset[str]]]:
    """Deliveries: how many, which one each row comes with, which reference tables each holds."""
    n = draw(st.integers(2, 3))
    which = {
        table: draw(st.lists(st.integers(0, n - 1), min_size=20, max_size=20)) for table in ADDS
    }
    tables = st.frozensets(st.sampled_from(("provider_roster", "risk_score", "quality_score")))
    return n, which, [draw(tables) for _ in range(n)]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=cuts(), later=st.sampled_from(("restated", "additional")))
def test_deliveries_in_any_parts_come_to_what_one_folder_does(
    cut: tuple[int, dict[str, list[int]], list[frozenset[str]]],
    later: str,
    state: Tables,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Voids, replacements and duplicates apart, enrolment late, snapshots, tables replaced."""
    n, which, references = cut
    parts: list[Tables] = [{} for _ in range(n)]
    for table in ADDS:
        for row, at in zip(state[table], which[table], strict=False):
            parts[at].setdefault(table, []).append(row)
    for table in ("medical_claim", "eligibility"):  # the first ingest is of a whole folder
        parts[0].setdefault(table, [state[table][0]])
    for k, (part, tables) in enumerate(zip(parts, references, strict=True)):
        for table in tables:
            part[table] = state[table][: len(state[table]) - (k % 2)] or state[table]
    parts = [part for part in parts if part]
    assume(differ(parts))
    made = Deliveries(tmp_path_factory.mktemp("deliveries"))
    options = {"gates": GateTerms(accept={})}
    first = Choices(later_amounts=later)  # type: ignore[arg-type]
    fresh = made.at_once(_come_to(parts), choices=first, **options)
    assert_equal(made.one_by_one(parts, choices=first, **options), fresh)
    shutil.rmtree(made.root)


def _come_to(parts: list[Tables]) -> list[Tables]:
    """The same, each reference table only in the last part that has it."""
    last = {table: k for k, part in enumerate(parts) for table in part}
    return [
        {table: rows for table, rows in part.items() if table in ADDS or last[table] == k}
        for k, part in enumerate(parts)
    ]


def test_ledger_inputs_quarantine_and_explanations_name_the_delivery(
    deliveries: Deliveries, state: Tables
) -> None:
    later = {"medical_claim": state["medical_claim"][4:6]}
    first = {**state, "medical_claim": state["medical_claim"][:4]}
    document, population = deliveries.one_by_one([first, later])
    assert [
        (entry["source_table"], entry["file"], entry["delivery"])
        for entry in population.manifest["inputs"]
        if entry["source_table"] == "medical_claim"
    ] == [("medical_claim", "medical_claim.csv", 1), ("medical_claim", "medical_claim.csv", 2)]
    by_delivery = summed(
        (row for row in document["ledger"] if row["source_table"] == "medical_claim"),
        "delivery", "fate",
    )  # fmt: skip
    assert by_delivery[1, "voided"]["lines"] == by_delivery[2, "voided"]["lines"] == 1
    aside = population.put_aside("medical_claim")
    assert aside is not None
    assert {(row["delivery"], row["fate"]) for row in aside.to_pylist()} == {
        (1, "voided"), (1, "duplicate"), (2, "voided"),
    }  # fmt: skip


def test_what_is_added_to_is_not_changed_and_shards_without_new_rows_are_linked(
    deliveries: Deliveries, state: Tables
) -> None:
    _, first = deliveries.one_by_one([state])
    before = {path: file_sha256(path) for path in first.path.rglob("*") if path.is_file()}
    again = {"medical_claim": [{**state["medical_claim"][0], "claim_id": "new"}]}
    write(deliveries.root / "more", "medical_claim", again["medical_claim"])
    ingest(deliveries.root / "more", deliveries.root / "joined", onto=first.path, threads=1)
    assert before == {path: file_sha256(path) for path in before}
    verify(first.path)
    joined = open_population(deliveries.root / "joined")
    shared = {
        name
        for name in joined.manifest["files"]
        if name in first.manifest["files"]
        and (joined.path / name).stat().st_ino == (first.path / name).stat().st_ino
    }
    changed = [index for index in range(3) if f"shards/{index:05d}/lines.arrow" not in shared]
    assert len(changed) == 1
    assert {"reference/provider_roster.arrow", "reference/quality_score.arrow"} <= shared


def test_a_file_that_came_before_is_refused_and_nothing_is_left(
    deliveries: Deliveries, state: Tables
) -> None:
    _, first = deliveries.one_by_one([state])
    folder = deliveries.root / "again"
    write(folder, "medical_claim/renamed", state["medical_claim"])
    with pytest.raises(DataError, match=r"medical_claim/renamed.csv is medical_claim.csv"):
        ingest(folder, deliveries.root / "joined", onto=first.path, threads=1)
    assert not (deliveries.root / "joined").exists()
    assert verify(first.path)["population_digest"] == first.digest


def test_a_reference_table_may_come_again_unchanged(deliveries: Deliveries, state: Tables) -> None:
    roster = {"provider_roster": state["provider_roster"]}
    document, population = deliveries.one_by_one([state, roster])
    assert_equal((document, population), deliveries.at_once([state]))


def test_shards_and_choices_are_taken_over(deliveries: Deliveries, state: Tables) -> None:
    first = {**state, "medical_claim": state["medical_claim"][:8]}
    rest = {"medical_claim": state["medical_claim"][8:]}
    _, before = deliveries.one_by_one([first], choices=Choices(equal_rows="billed"))
    write(deliveries.root / "rest", "medical_claim", rest["medical_claim"])
    document = ingest(
        deliveries.root / "rest", deliveries.root / "joined", onto=before.path, threads=1
    )
    joined = document, open_population(deliveries.root / "joined")
    fresh = deliveries.at_once([first, rest], choices=Choices(equal_rows="billed"))
    assert_equal(joined, fresh)
    assert joined[1].manifest["n_shards"] == before.manifest["n_shards"]
    with pytest.raises(DataError, match="shards"):
        ingest(deliveries.root / "rest", deliveries.root / "x", onto=before.path, shards=4)


def test_a_population_without_a_cold_record_is_refused(
    deliveries: Deliveries, state: Tables, tmp_path: Path
) -> None:
    _, first = deliveries.one_by_one([state])
    stated = json.loads((first.path / "manifest.json").read_text())
    stated["files"] = {n: s for n, s in stated["files"].items() if not n.startswith("record/")}
    write_manifest(first.path, {k: v for k, v in stated.items() if k != SEAL})
    write(tmp_path / "more", "medical_claim", state["medical_claim"][:1])
    with pytest.raises(PopulationError, match="no cold record"):
        ingest(tmp_path / "more", tmp_path / "joined", onto=first.path)


def test_a_delivery_is_judged_by_itself_too(
    deliveries: Deliveries, member: Callable[..., Row], line: Callable[..., Row]
) -> None:
    """Rows that nobody can read would drown among those that came before."""
    first = {
        "eligibility": [member()],
        "medical_claim": [line(claim_id=f"C{k}") for k in range(10)],
    }
    unreadable = {"medical_claim": [line(claim_id=f"X{k}", paid_amount="?") for k in range(4)]}
    with pytest.raises(GateError, match=r"unreadable_rows: .*delivery 2"):
        deliveries.one_by_one([first, unreadable])


def test_cover_that_was_lost_in_retrospect_ends_with_the_latest_snapshot(
    deliveries: Deliveries, member: Callable[..., Row], line: Callable[..., Row]
) -> None:
    of = {"data_source": "feed"}
    first = {
        "eligibility": [
            member(snapshot_date="2023-04-30", **of),
            member(person_id="0002", snapshot_date="2023-04-30", **of),
            member(person_id="0003"),
        ],
        "medical_claim": [line(), line(claim_id="C2", person_id="0002")],
    }
    later = {"eligibility": [member(snapshot_date="2023-05-31", **of)]}
    document, population = deliveries.one_by_one([first, later])
    assert document["members"] == 2
    fates = summed(document["ledger"], *SOUGHT)
    assert fates["eligibility", "superseded"]["lines"] == 2
    assert fates["medical_claim", "unknown_member"]["lines"] == 1
    assert [
        row["lines"] for row in document["data_quality"] if row["finding"] == "earlier_snapshots"
    ] == [2]
    assert_equal((document, population), deliveries.at_once([first, later]))
