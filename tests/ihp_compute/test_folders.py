"""A folder is what its manifest says, and another kind is refused in words of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ihp_compute.errors import DataError, PopulationError, RunError
from ihp_compute.folders import (
    MANIFEST,
    SEAL,
    Kind,
    check_seal,
    check_target,
    kind_of,
    read_manifest,
    write_manifest,
)
from ihp_compute.population import POPULATION
from ihp_compute.results import RUN
from ihp_compute.results.manifest import GONE_ON_WITH

INGEST = "Make one with `ihp ingest INPUT_DIR --out POPULATION`."


def refused(action: Any, *arguments: Any) -> tuple[type[DataError], str]:
    with pytest.raises(DataError) as caught:
        action(*arguments)
    return caught.type, str(caught.value)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (POPULATION, PopulationError, "{} is a file: give the folder that the population shall be"),
        (RUN, RunError, "{}: is a file, expected a folder to make; choose another --out"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_refused(
    tmp_path: Path, kind: Kind, error: type, words: str
) -> None:
    (tmp_path / "out").touch()
    out = tmp_path / "out"
    assert refused(check_target, out, kind) == (error, words.format(out))


OCCUPIED = (
    "{} exists and is not a population: it will not be overwritten. "
    "Give another folder, or remove it."
)

KEPT = "which will not be overwritten; choose another --out"


@pytest.mark.parametrize(
    ("kind", "manifest", "words"),
    [
        (POPULATION, None, OCCUPIED),
        (POPULATION, "{", OCCUPIED),
        (POPULATION, '{"kind": "run"}', OCCUPIED),
        (RUN, None, f"{{}}: exists and is not a run, {KEPT}"),
        (RUN, "[]", f"{{}}: exists and is not a run, {KEPT}"),
        (RUN, '{"kind": "population"}', f"{{}}: holds a population, {KEPT}"),
    ],
)  # fmt: skip
def test_a_folder_of_another_kind_is_not_overwritten(
    tmp_path: Path, kind: Kind, manifest: str | None, words: str
) -> None:
    (tmp_path / "mine").touch()
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest, encoding="utf-8")
    assert refused(check_target, tmp_path, kind) == (kind.error, words.format(tmp_path))


@pytest.mark.parametrize("kind", [POPULATION, RUN], ids=lambda kind: kind.name)
def test_a_free_place_an_empty_folder_and_the_same_kind_are_free_to_take(
    tmp_path: Path, kind: Kind
) -> None:
    check_target(tmp_path / "nowhere", kind)
    check_target(tmp_path, kind)
    write_manifest(tmp_path, {"kind": kind.name})
    check_target(tmp_path, kind)
    assert kind_of(tmp_path) == kind.name


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (POPULATION, None, f"{{0}} is not a prepared population: it has no {MANIFEST}. {INGEST}"),
        (POPULATION, "{", r"{1} cannot be read (.*). " + INGEST),
        (POPULATION, "[]", f"{{1}} does not describe a population. {INGEST}"),
        (POPULATION, '{"kind": "run"}', f"{{1}} does not describe a population. {INGEST}"),
        (POPULATION, '{"kind": "population", "layout_version": 99}',
         (f"{{0}} has population layout 99, this version reads {POPULATION.layout_version}. "
          "Prepare it again with `ihp ingest`.")),
        (POPULATION,
         (f'{{"kind": "population", "layout_version": {POPULATION.layout_version}, '
          '"method_version": "1"}'),
         ("{0} was prepared by method version 1, this program has 2. "
          "Prepare it again with `ihp ingest`.")),
        (GONE_ON_WITH, '{"kind": "run", "digest": "", "method_version": "1"}',
         ("{0}: made by method version 1, this program has 2: its results can be read, but not "
          "checked or gone on with; run it again")),
        (RUN, None, f"{{0}}: not a finished run, it has no {MANIFEST}; make one with ihp run"),
        (RUN, "{", r"{1}: cannot be read (.*); run it again"),
        (RUN, "[]", "{1}: expected the manifest of a run, got None"),
        (RUN, '{"kind": "population"}', "{1}: expected the manifest of a run, got 'population'"),
        (RUN, '{"kind": "run", "digest": ""}',
         "{1}: lacks terms, population, cut off or edited; run it again"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_of_the_kind_is_refused_in_its_words(
    tmp_path: Path, kind: Kind, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    error, found = refused(read_manifest, tmp_path, kind)
    wanted = re.escape(words.format(tmp_path, tmp_path / MANIFEST)).replace(r"\.\*", ".*")
    assert (error, bool(re.fullmatch(wanted, found))) == (kind.error, True), found


def test_a_place_that_is_no_folder_is_no_population_and_no_run(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    error, found = refused(read_manifest, nowhere, POPULATION)
    words = f"{nowhere} is not a folder, so not a prepared population. {INGEST}"
    assert (error, found) == (PopulationError, words)
    error, found = refused(read_manifest, nowhere, RUN)
    words = f"{nowhere}: not a finished run, it has no {MANIFEST}; make one with ihp run"
    assert (error, found) == (RunError, words)


@pytest.mark.parametrize("kind", [POPULATION, RUN], ids=lambda kind: kind.name)
def test_a_manifest_with_every_entry_is_read_as_it_was_written(tmp_path: Path, kind: Kind) -> None:
    manifest: dict[str, Any] = dict.fromkeys(kind.entries, 1)
    manifest |= {"kind": kind.name, "layout_version": kind.layout_version, "a": "ü"}
    manifest |= {"method_version": kind.method_version or "0"}
    write_manifest(tmp_path, manifest)
    found = read_manifest(tmp_path, kind)
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8")) == found
    check_seal(tmp_path, found, kind)
    assert {name: of for name, of in found.items() if name != SEAL} == manifest
    turned = dict(reversed(found.items()))
    check_seal(tmp_path, turned, kind)
    with pytest.raises(kind.error, match="is not what was written"):
        check_seal(tmp_path, {**found, "a": "u"}, kind)
