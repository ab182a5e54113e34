from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ihp_compute.content import content_sha256, program_sha256
from ihp_compute.measure import RunRequest, make_plan
from ihp_compute.pipeline import measure, run
from ihp_compute.runner import LocalRunner


@dataclass(frozen=True)
class Terms:
    name: str
    share: Decimal
    _known: dict[str, Decimal] = field(default_factory=dict, init=False, compare=False)

    @cached_property
    def loss_share(self) -> Decimal:
        return 1 - self.share


def asked(terms: Terms) -> Terms:
    """The same terms, of which something was asked before."""
    terms._known["loss"] = terms.loss_share
    return terms


def test_equal_values_have_one_digest_however_they_were_made() -> None:
    text = "ab"
    rows = pa.table({"code": pa.array(["x", "y", "x"]), "cents": [1, 2, 3]})
    encoded = rows.set_column(0, "code", rows.column(0).dictionary_encode())
    chunked = pa.concat_tables([encoded.slice(0, 1), encoded.slice(1)])
    pairs: list[tuple[Any, Any]] = [
        ((text, text), ("ab", f"{text[0]}b")),
        ({"a", "b", "c"}, {"c", "b", "a"}),
        (Terms("a", Decimal("0.50")), Terms("a", Decimal("0.50"))),
        (Terms("a", Decimal("0.50")), asked(Terms("a", Decimal("0.50")))),
        (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).copy("F")),
        (encoded, chunked),
        (partial(sorted, reverse=True), partial(sorted, reverse=True)),
        (Counter("aab"), Counter({"a": 2, "b": 1})),
        (Path("/a/b"), Path("/a") / "b"),
    ]
    for one, other in pairs:
        assert content_sha256(one) == content_sha256(other), one


def test_what_differs_has_another_digest() -> None:
    values: list[Any] = [
        None, 0, False, "", b"", (), [], {}, set(), 0.0, -0.0, "0", ("a", "b"), ("ab", ""),
        (("a",), "b"), np.zeros(2, np.int64), np.zeros(2, np.int32), np.zeros((1, 2), np.int64),
        Terms("a", Decimal("0.5")), Terms("a", Decimal("0.50")), sorted, partial(sorted), Path("0"),
        pa.table({"a": [1, 2]}), pa.table({"b": [1, 2]}), pa.table({"a": [1, None]}),
    ]  # fmt: skip
    assert len({content_sha256(value) for value in values}) == len(values)


def test_what_no_other_process_knows_by_name_has_no_digest() -> None:
    with pytest.raises(TypeError, match="no name"):
        content_sha256(lambda: None)


def task_sha256(population: Path) -> str:
    """What a run's shards are asked, and by which program."""
    plan = make_plan(RunRequest(population, ("mn-ihp-2.0-track-2",), replicates=7))
    return content_sha256((program_sha256(), partial(measure, plan=plan.for_shards())))


def test_the_task_of_a_run_has_one_digest_in_every_process(small_population: Path) -> None:
    """Texts hash otherwise in every process, and sets lie otherwise."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.ihp_compute.test_content", str(small_population)],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    mine = task_sha256(small_population)
    assert told.stdout.split() == [mine]
    assert task_sha256(small_population) == mine


def test_the_task_of_a_run_has_one_digest_after_a_run(
    small_population: Path, tmp_path: Path
) -> None:
    """An attempt that comes after others of its process finds what an earlier one has kept."""
    before = task_sha256(small_population)
    request = RunRequest(small_population, ("mn-ihp-2.0-track-2",), replicates=7)
    run(request, tmp_path / "run", LocalRunner())
    assert task_sha256(small_population) == before


if __name__ == "__main__":
    print(task_sha256(Path(sys.argv[1])))  # noqa: T201 (what the test reads)
