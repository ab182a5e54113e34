"""A population is opened, mapped and believed only while its digests hold."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.errors import PopulationError
from ihp_compute.ingest.passes import ingest
from ihp_compute.input_columns import CODE_SYSTEMS
from ihp_compute.population import shards, tables
from ihp_compute.population.keys import member_keys, shard_of
from ihp_compute.population.shards import open_population
from ihp_compute.population.verify import verify


@pytest.fixture
def made(bench: Any, member: Any, line: Any) -> Any:
    """Two members, one visit, a roster."""
    roster = [{"npi": "0123456789", "partnership_id": "A", "start_date": "20230101"}]
    people = [member(), member(person_id="0002")]
    folder = bench.folder(eligibility=people, medical_claim=[line()], provider_roster=roster)
    return bench.ingest(folder)[1]


def test_a_member_key_is_the_stated_function_of_the_id() -> None:
    """Law of the method: blake2b, 8 bytes, person `ihp-member-1`, little-endian."""
    ids = ["", "0001", "1", "Ä" * 100]
    expected = [
        int.from_bytes(
            hashlib.blake2b(i.encode(), digest_size=8, person=b"ihp-member-1").digest(), "little"
        )
        for i in ids
    ]
    keys = member_keys(ids)
    assert keys.dtype == np.uint64
    assert keys.tolist() == expected
    assert shard_of(keys, 7).tolist() == [key % 7 for key in expected]


def test_every_member_stands_in_its_shard(made: Any) -> None:
    assert sum(shard.n_members for shard in made.shards) == 2
    for shard in made.shards:
        keys = shard.column("members", "member_key")
        assert (shard_of(keys, len(made.shards)) == shard.index).all()
        ids = shard.strings("identity", "member_id").to_pylist()
        assert member_keys(ids).tolist() == keys.tolist() == sorted(keys.tolist())


def test_columns_are_read_only_views_of_mapped_files(made: Any) -> None:
    for shard in made.shards:
        for table, schema in tables.SHARD_TABLES.items():
            batch = shard.batch(table)
            assert batch.schema == schema
            for field in schema:
                assert batch.column(field.name).null_count == 0
                if pa.types.is_string(field.type):
                    continue
                column = shard.column(table, field.name)
                assert not column.flags.writeable
        for name in tables.OFFSETS.names:
            offsets = shard.offsets(name)
            assert offsets.dtype == np.int64
            assert offsets[0] == 0
            assert offsets[-1] == shard.batch(name).num_rows
            assert len(offsets) == shard.n_members + 1


def test_a_population_stays_mapped_until_its_manifest_changes(made: Any) -> None:
    again = open_population(made.path)
    for one, other in zip(made.shards, again.shards, strict=True):
        assert one.batch("lines") is other.batch("lines")
    manifest = made.path / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["shards/00000/lines.arrow"]["mtime_ns"] += 1
    manifest.write_text(json.dumps(content))
    anew = open_population(made.path)
    assert anew.shards[0].batch("lines") is not made.shards[0].batch("lines")


def test_a_manifest_is_read_once_until_it_is_another(made: Any, monkeypatch: Any) -> None:
    read: list[Path] = []
    reading = shards.read_manifest

    def counted(folder: Path) -> dict[str, Any]:
        read.append(folder)
        return reading(folder)

    monkeypatch.setattr(shards, "read_manifest", counted)
    path = made.path / "manifest.json"
    before = path.read_text()
    path.write_text(before)
    os.utime(path, ns=(0, 0))  # another time
    assert open_population(made.path).digest == open_population(made.path).digest == made.digest
    assert len(read) == 1
    other = before.replace(made.digest, made.digest[::-1])  # of the same size
    path.write_text(other)
    os.utime(path, ns=(0, 1))  # a clock may tick slower than a test
    assert open_population(made.path).digest == made.digest[::-1]
    path.unlink()
    with pytest.raises(PopulationError, match=r"manifest\.json"):
        open_population(made.path)


def test_a_table_that_was_let_go_is_read_on_and_mapped_anew(made: Any) -> None:
    shard = next(shard for shard in made.shards if shard.column("line_detail", "hcpcs").size)
    before, other = shard.column("line_detail", "hcpcs"), shard.batch("lines")
    mapped = shard.batch("line_detail")
    shard.release("line_detail", "diagnoses")
    shard.release("line_detail")
    assert shard.batch("line_detail") is not mapped
    assert shard.batch("lines") is other
    assert np.array_equal(shard.column("line_detail", "hcpcs"), before)


def test_a_small_result_is_made_once_for_a_content(made: Any) -> None:
    calls: list[int] = []

    def make() -> int:
        calls.append(7)
        return 7

    for population in (made, open_population(made.path)):
        assert population.remember("seven", make) == 7
    assert calls == [7]


def test_a_shard_travels_as_its_folder_and_number(made: Any) -> None:
    for shard in made.shards:
        shard.column("members", "member_key")
        copy = pickle.loads(pickle.dumps(shard))  # noqa: S301
        assert copy.index == shard.index
        assert np.array_equal(
            copy.column("members", "member_key"), shard.column("members", "member_key")
        )
        assert len(pickle.dumps(shard)) < 1_000


def test_references_and_codes_are_text(made: Any) -> None:
    roster = made.reference("provider_roster").to_pylist()
    assert [row["npi"] for row in roster] == ["0123456789"]
    assert roster[0]["start_date"] == "2023-01-01"
    assert roster[0]["health_care_home"] == roster[0]["end_date"] == ""
    assert made.reference("quality_score") is None
    for system in CODE_SYSTEMS:
        codes = made.codes(system).to_pylist()
        assert codes[0] == ""
        assert codes == sorted(codes, key=str.encode)
    for wrong in (lambda: made.codes("zip"), lambda: made.reference("zip")):
        with pytest.raises(KeyError):
            wrong()


def test_a_folder_that_is_no_population_says_what_to_do(tmp_path: Path, made: Any) -> None:
    with pytest.raises(PopulationError, match=r"not a folder.*ihp ingest"):
        open_population(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PopulationError, match=r"no manifest\.json.*ihp ingest"):
        open_population(tmp_path / "empty")
    (tmp_path / "empty" / "manifest.json").write_text("{")
    with pytest.raises(PopulationError, match="cannot be read"):
        open_population(tmp_path / "empty")
    (tmp_path / "empty" / "manifest.json").write_text('{"kind": "run"}')
    with pytest.raises(PopulationError, match="does not describe a population"):
        open_population(tmp_path / "empty")
    manifest = made.manifest | {"layout_version": 99}
    (made.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PopulationError, match="layout 99"):
        open_population(made.path)


def test_a_changed_file_is_noticed_by_size_time_and_content(made: Any) -> None:
    path = made.path / "shards" / "00000" / "members.arrow"
    content = path.read_bytes()
    path.write_bytes(content)  # a copy: another time stamp, the same content
    assert open_population(made.path).digest == made.digest
    path.write_bytes(content + b"\0")
    with pytest.raises(PopulationError, match=r"members\.arrow no longer has the content"):
        open_population(made.path)
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    path.write_bytes(changed)
    with pytest.raises(PopulationError, match=r"members\.arrow no longer has the content"):
        open_population(made.path)
    path.unlink()
    with pytest.raises(PopulationError, match=r"lacks shards/00000/members\.arrow"):
        open_population(made.path)


def test_a_change_that_hides_its_time_is_found(made: Any) -> None:
    """When the file is opened, by the time of the change to its name, which nobody can set."""
    assert verify(made.path)["population_digest"] == made.digest
    path = made.path / "shards" / "00001" / "lines.arrow"
    status = path.stat()
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(PopulationError, match=r"lines\.arrow"):
        open_population(made.path)
    with pytest.raises(PopulationError, match=r"lines\.arrow"):
        verify(made.path)


def test_verify_recomputes_the_digest_from_the_rows(made: Any) -> None:
    manifest = made.manifest | {"population_digest": "0" * 64}
    (made.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PopulationError, match="the rows hash to"):
        verify(made.path)


def test_large_input_is_cut_into_more_shards_and_gives_memory_back(
    bench: Any, member: Any, line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself an ingest takes 64 shards, and of large input more; the content is the same."""
    people = [member(person_id=f"{k:04d}") for k in range(200)]
    folder = bench.folder(eligibility=people, medical_claim=[line()])
    small = ingest(folder, tmp_path / "small")
    assert open_population(tmp_path / "small").manifest["n_shards"] == 64
    monkeypatch.setattr("ihp_compute.ingest.input_files._SHARD_BYTES", 10)
    monkeypatch.setattr("ihp_compute.ingest.passes._LARGE_BYTES", 0)
    large = ingest(folder, tmp_path / "large")
    assert open_population(tmp_path / "large").manifest["n_shards"] > 64
    assert large["population_digest"] == small["population_digest"]
