"""What stands in an input folder is read, named, asked about or refused: nothing goes unsaid."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.codes import LINE_KINDS
from ihp_compute.errors import DataError
from ihp_compute.ingest.door import layout
from ihp_compute.ingest.door.layout import SUFFIXES, find_inputs

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def raw(bench: Any, member: Make, line: Make) -> Path:
    """A folder of one member and one claim line of 100 dollars."""
    folder: Path = bench.folder(eligibility=[member()], medical_claim=[line()])
    return folder


def _part(folder: Path, where: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows as Parquet to a place in a folder of medical claims, in place of the CSV file."""
    (folder / "medical_claim.csv").unlink(missing_ok=True)
    path = folder / "medical_claim" / where
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


# --- folders that are columns


@pytest.mark.parametrize(
    ("column", "value", "fate"),
    [
        ("x_clm_type_cd", "Z", "denied"),
        ("x_clm_dnd_ind", "denied", "denied"),
        ("claim_start_date", "2031-05-05", "outside_eligibility"),
        ("claim_start_date", "2023%2D03%2D01", "retained"),
        ("person_id", "0009", "unknown_member"),
        ("paid_amount", "100.00", "retained"),
        ("claim_id", "C%201", "retained"),
        ("X_CLM_TYPE_CD", "2", "retained"),
    ],
)
def test_a_folder_that_states_a_column_is_that_column(
    bench: Any, raw: Path, line: Make, column: str, value: str, fate: str
) -> None:
    row = _without(line(), column.lower(), "claim_end_date")
    _part(raw, f"{column}={value}/part-0.parquet", [row])
    document, population = bench.ingest(raw)
    assert bench.fates(document) == {fate: (1, 10_000)}
    if column == "X_CLM_TYPE_CD":
        (row,) = bench.rows(population, "lines")
        assert LINE_KINDS[row["kind"]] == "capitation"


@pytest.mark.parametrize("csv", [False, True])
def test_a_folder_says_what_the_column_would(
    bench: Any, raw: Path, line: Make, *, csv: bool
) -> None:
    rows = [line(claim_id=f"C{k}", x_clm_type_cd=kind) for k, kind in enumerate("12")]
    written = bench.folder(eligibility=[{}], medical_claim=rows)
    (written / "eligibility.csv").write_bytes((raw / "eligibility.csv").read_bytes())
    expected, _ = bench.ingest(written)
    for row in rows:
        where = f"year=2023/x_clm_type_cd={row['x_clm_type_cd']}/part-0.parquet"
        path = _part(raw, where, [_without(row, "x_clm_type_cd")])
        if csv:
            names = _without(row, "x_clm_type_cd")
            text = ",".join(names) + "\n" + ",".join(names.values()) + "\n"
            path.unlink()
            path.with_suffix(".csv").write_text(text)
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]
    assert set(map(tuple, document["left_out"]["columns"].values())) == {("year",)}


@pytest.mark.parametrize("value", ["", "__HIVE_DEFAULT_PARTITION__"])
def test_a_folder_without_a_value_is_blank(bench: Any, raw: Path, line: Make, value: str) -> None:
    expected, _ = bench.ingest(raw)
    _part(raw, f"file_date={value}/part-0.parquet", [_without(line(), "file_date")])
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]


def test_the_later_of_two_folders_of_a_month_stands(bench: Any, raw: Path, line: Make) -> None:
    for day, paid in (("2023-05-01", "70.00"), ("2023-06-01", "40.00")):
        row = _without(line(paid_amount=paid, x_adjstmt_ind="4"), "file_date")
        _part(raw, f"file_date={day}/part-0.parquet", [row])
    document, _ = bench.ingest(raw)
    assert bench.fates(document)["retained"] == (1, 4_000)


@pytest.mark.parametrize(
    ("name", "here", "folder"),
    [
        ("x_clm_type_cd", "1", "2"),
        ("claim_start_date", "2023-03-01", "2023-03-02"),
        ("paid_amount", "100.00", "100.01"),
        ("paid_amount", "100.00", "__HIVE_DEFAULT_PARTITION__"),
        ("person_id", "0001", "1"),
    ],
)
def test_a_column_that_says_something_else_than_its_folder_is_refused(
    bench: Any, raw: Path, line: Make, name: str, here: str, folder: str
) -> None:
    _part(raw, f"{name}={folder}/part-0.parquet", [line(**{name: here})])
    with pytest.raises(DataError, match=f"{name} states another value than the folder"):
        bench.ingest(raw)


@pytest.mark.parametrize(
    ("name", "here", "folder"),
    [
        ("claim_start_date", "20230301", "2023-03-01"),
        ("paid_amount", "100", "100.00"),
        ("claim_line_number", "01", "1"),
        ("x_clm_type_cd", 1.0, "1"),
        ("x_clm_type_cd", 1, "1.0"),
        ("file_date", "", "2023-06-01"),
    ],
)
def test_a_column_may_say_the_same_as_its_folder_or_nothing(
    bench: Any, raw: Path, line: Make, name: str, here: Any, folder: str
) -> None:
    _part(raw, f"{name}={folder}/part-0.parquet", [line(**{name: here})])
    document, _ = bench.ingest(raw)
    assert bench.fates(document) == {"retained": (1, 10_000)}


def test_two_folders_that_disagree_are_refused(raw: Path, line: Make) -> None:
    _part(raw, "year=2022/year=2023/part-0.parquet", [line()])
    with pytest.raises(DataError, match="different values of year"):
        find_inputs(raw)


# --- folders whose valid files are listed elsewhere


@pytest.mark.parametrize(
    ("marker", "found"),
    [
        ("_delta_log/00000000000000000000.json", "a Delta table"),
        (".hoodie/hoodie.properties", "a Hudi table"),
        ("metadata/v1.metadata.json", "an Iceberg table"),
        ("_spark_metadata/0", "the output of a Spark stream"),
    ],
)
@pytest.mark.parametrize("how", ["folder", "link", "link to a part", "link to a file"])
def test_a_folder_that_holds_deleted_rows_too_is_refused(
    tmp_path: Path, raw: Path, line: Make, marker: str, found: str, how: str
) -> None:
    lake = tmp_path / "lake"
    part = "year=2023/part-0.parquet"
    _part(raw, part, [line()])
    (raw / "medical_claim").rename(lake)
    (lake / marker).parent.mkdir()
    (lake / marker).write_text("{}")
    if how == "folder":
        lake.rename(raw / "medical_claim")
    elif how == "link":
        (raw / "medical_claim").symlink_to(lake)
    elif how == "link to a part":
        (raw / "medical_claim").symlink_to((lake / part).parent)
    else:
        (raw / "medical_claim.parquet").symlink_to(lake / part)
    with pytest.raises(DataError, match=rf"medical_claim.* is part of {found}.*plain Parquet"):
        find_inputs(raw)


def test_data_beside_metadata_is_an_iceberg_table(raw: Path, line: Make) -> None:
    _part(raw, "data/part-0.parquet", [line()])
    (raw / "medical_claim" / "metadata").mkdir()
    with pytest.raises(DataError, match="Iceberg"):
        find_inputs(raw)


# --- links


def test_links_to_folders_and_files_are_followed_at_any_depth(
    bench: Any, tmp_path: Path, raw: Path, line: Make
) -> None:
    expected, _ = bench.ingest(raw)
    part = _part(raw, "2023/03/part-0.parquet", [line()])
    (raw / "medical_claim" / "2023").rename(tmp_path / "elsewhere")
    (raw / "medical_claim" / "2023").symlink_to(tmp_path / "elsewhere")
    (raw / "medical_claim").rename(tmp_path / "further")
    (raw / "medical_claim").symlink_to(tmp_path / "further")
    part.rename(tmp_path / "x.parquet")
    part.symlink_to(tmp_path / "x.parquet")
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]
    assert document["left_out"]["files"] == []


def test_a_file_that_is_linked_again_is_read_once_and_named(bench: Any, raw: Path) -> None:
    (raw / "medical_claim_2.csv").symlink_to("medical_claim.csv")
    document, _ = bench.ingest(raw)
    assert bench.fates(document) == {"retained": (1, 10_000)}
    assert document["left_out"]["files"] == ["medical_claim_2.csv"]
    assert any(
        "read once: medical_claim_2.csv (is medical_claim.csv)" in n for n in document["notes"]
    )


def test_one_file_in_two_folders_that_say_different_things_is_refused(
    raw: Path, line: Make
) -> None:
    _part(raw, "file_date=2023-05-01/part-0.parquet", [line()])
    (raw / "medical_claim" / "file_date=2023-06-01").symlink_to("file_date=2023-05-01")
    with pytest.raises(DataError, match="one file, in folders that state different values"):
        find_inputs(raw)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.symlink_to("nowhere/x.parquet"), "a link to nothing"),
        (lambda path: path.symlink_to(path.name), "a link to nothing"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (_fifo, "a pipe"),
        (_socket, "a socket"),
        (lambda path: path.mkdir(), "an empty folder"),
    ],
)
@pytest.mark.parametrize(
    "where", ["risk_score.csv", "medical_claim/x.parquet", "medical_claim/a=1/x.csv.gz"]
)
def test_what_bears_the_name_of_a_table_and_is_no_file_is_refused(
    raw: Path, make: Callable[[Path], None], what: str, where: str
) -> None:
    path = raw / where
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    with pytest.raises(DataError, match=f"{where}/? bears the name .* but is {what}"):
        find_inputs(raw)


@pytest.mark.parametrize("where", ["loop", "medical_claim/loop", "a/b/loop"])
def test_links_in_a_circle_are_refused(raw: Path, where: str) -> None:
    path = raw / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(raw)
    with pytest.raises(DataError, match=f"{where} is a link to a folder that it stands in"):
        find_inputs(raw)


def test_links_that_multiply_are_refused(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty folders of two links to the next: a billion ways, none of them a circle."""
    for k in range(30):
        (tmp_path / f"f{k}").mkdir()
        for name in "ab":
            (tmp_path / f"f{k}" / name).symlink_to(tmp_path / f"f{k + 1}")
    (tmp_path / "f30").mkdir()
    (raw / "many").symlink_to(tmp_path / "f0")
    monkeypatch.setattr(layout, "_MAX_FOLDERS", 1_000)
    with pytest.raises(DataError, match="more than 1,000 folders"):
        find_inputs(raw)


def test_a_folder_too_deep_is_refused(raw: Path) -> None:
    (raw / "/".join(["deep"] * 70)).mkdir(parents=True)
    with pytest.raises(DataError, match=r"deep/deep/deep/… is more than 64 folders deep"):
        find_inputs(raw)


def test_a_name_that_is_no_text_is_refused_in_a_table_and_named_elsewhere(
    raw: Path, line: Make
) -> None:
    os.close(os.open(os.fsencode(raw) + b"/\xff.csv", os.O_CREAT))
    assert find_inputs(raw).left_out == (r"\xff.csv",)
    path = _part(raw, "part-0.parquet", [line()])
    os.rename(path, os.fsencode(path.parent) + b"/\xff\xfe.parquet")  # noqa: PTH104 - bytes
    with pytest.raises(DataError, match=r"medical_claim/\\xff\\xfe.parquet: the name is not UTF-8"):
        find_inputs(raw)


# --- names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pharmacy_claims.csv", "pharmacy_claim.csv"),
        ("Pharmacy-Claim.CSV", "pharmacy_claim.csv"),
        ("medical_claim (1).csv", "medical_claim.csv"),
        ("medical_claim_v2.csv", "medical_claim.csv"),
        ("medical claim.parquet", "medical_claim.parquet"),
        ("MedicalClaim.csv.gz", "medical_claim.csv.gz"),
        ("risk_scores.csv", "risk_score.csv"),
        ("risk_score.txt", "risk_score.csv"),
        ("risk_score.csv.zip", "risk_score.csv"),
        ("eligibility_final_2.tsv", "eligibility.csv"),
        ("provider_rosters/part-0.csv", "provider_roster/"),
        ("providerroster.xlsx", "provider_roster.csv"),
    ],
)
def test_almost_the_name_of_a_table_is_asked_about(raw: Path, name: str, meant: str) -> None:
    (raw / name).parent.mkdir(exist_ok=True)
    (raw / name).write_text("a,b\n")
    found = find_inputs(raw)
    assert found.left_out == (name,)
    shown = name if "/" not in name else name.split("/", maxsplit=1)[0] + "/"
    assert found.notes == (f"{shown} is left out: did you mean {meant}?",)


def test_a_required_table_of_almost_that_name_is_asked_about_in_the_refusal(raw: Path) -> None:
    (raw / "medical_claim.csv").rename(raw / "medical_claims.csv")
    with pytest.raises(DataError, match=r"lacks medical_claim.*did you mean medical_claim.csv\?"):
        find_inputs(raw)


@pytest.mark.parametrize("name", ["notes.txt", "lab_result.csv", "readme", "medical.csv"])
def test_other_names_are_named_and_not_asked_about(raw: Path, name: str) -> None:
    (raw / name).write_text("a,b\n")
    found = find_inputs(raw)
    assert (found.left_out, found.notes) == ((name,), ())


@pytest.mark.parametrize("name", ["_risk_score.csv", ".risk_score.parquet", "_risk_score/0.csv"])
def test_a_hidden_table_is_named(raw: Path, name: str) -> None:
    (raw / name).parent.mkdir(exist_ok=True)
    (raw / name).write_text("a,b\n")
    assert find_inputs(raw).left_out == (name.split("/", maxsplit=1)[0],)


def test_in_a_folder_of_a_table_what_is_not_read_is_named(raw: Path) -> None:
    folder = raw / "pharmacy_claim"
    for name in ("000000_0", "x.orc", "_temporary/0/part-0.parquet", "_SUCCESS", "empty/"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    found = find_inputs(raw)
    assert found.left_out == (
        "pharmacy_claim/000000_0",
        "pharmacy_claim/_temporary",
        "pharmacy_claim/empty/",
        "pharmacy_claim/x.orc",
    )
    unread, empty = found.notes
    assert unread.startswith("left out of pharmacy_claim")
    assert unread.endswith(f"{', '.join(SUFFIXES)}: pharmacy_claim/000000_0, pharmacy_claim/x.orc")
    assert empty == "folders of a table without a file: pharmacy_claim/empty/"


# --- packed files


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


@pytest.mark.parametrize(
    "name", ["MEDICAL_CLAIM.CSV.GZ", "medical_claim.csv.gz", "Medical_Claim.Csv.zst"]
)
@pytest.mark.parametrize("pack", [gzip.compress, _zstd, lambda data: data])
def test_a_packed_file_is_known_by_its_bytes_whatever_its_case(
    bench: Any, raw: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    expected, _ = bench.ingest(raw)
    plain = raw / "medical_claim.csv"
    packed = pack(plain.read_bytes())
    plain.unlink()
    (raw / name).write_bytes(packed)
    document, _ = bench.ingest(raw)
    assert document["population_digest"] == expected["population_digest"]
