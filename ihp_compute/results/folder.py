"""A run's folder on its way: tables digested, written, and put in place when whole.

    tables + totals -> digests -> RUN/*.parquet, totals.arrow, contracts.json, manifest.json, page

A table is written in the order of its keys and with nothing of the run: equal content gives an
equal file. Member-years are most of what is written and nothing waits for them, so they are
ordered, digested and written beside the settling.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ihp_compute.data_quality import DATA_QUALITY
from ihp_compute.errors import RunError
from ihp_compute.folders import (
    MANIFEST,
    OTHERWISE,
    check_target,
    link,
    sha256_known,
    write_manifest,
)
from ihp_compute.measure import MEMBER_YEARS, OWN_TEXT, Plan, member_years_schema
from ihp_compute.publishing import beside, publish
from ihp_compute.results import kept_terms
from ihp_compute.results.assemble import Results
from ihp_compute.results.digest import (
    digest_over,
    result_digest,
    sort_by,
    totals_digest,
    totals_named,
)
from ihp_compute.results.manifest import (
    digest_terms,
    headlines_of,
    manifest_of,
    netting_lines,
    read_manifest,
)
from ihp_compute.results.netting import Netted
from ihp_compute.results.read import RUN
from ihp_compute.results.suppression import keep_pattern
from ihp_compute.results.tables import INTERVALS, NETTED, SETTLEMENT, TABLES
from ihp_compute.settlement import PARTNERSHIP
from ihp_compute.table_schema import TableSchema
from ihp_compute.uncertainty import totals_file, write_totals


@dataclass(frozen=True)
class TableFile:
    """A table's file of a finished run.

    Attributes
    ----------
    name : str
        As the digest has it.
    path : Path
    sha256 : str
        Of its bytes.
    digest : str
        Of its content; empty where it stands in none.
    table : Arrow table, optional
        Its rows in their order, where another run may come to the same.
    """

    name: str
    path: Path
    sha256: str
    digest: str
    table: pa.Table | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished run, as its caller sees it."""

    digest: str
    run_dir: Path
    seconds: float
    settlement: list[dict[str, Any]]
    headlines: tuple[str, ...]
    rate_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    noticed: tuple[dict[str, Any], ...] = ()
    thin_cells: dict[str, Mapping[str, int]] = field(default_factory=dict)
    netted: tuple[dict[str, Any], ...] = ()
    files: tuple[TableFile, ...] = ()

    def document(self) -> dict[str, Any]:
        """The JSON document of `ihp run`."""
        return {
            "digest": self.digest,
            "run_dir": str(self.run_dir),
            "seconds": round(self.seconds, 3),
            "notes": list(self.headlines),
            DATA_QUALITY.name: list(self.noticed),
            "settlement": self.settlement,
            "thin_cells": {name: dict(cells) for name, cells in self.thin_cells.items()},
            NETTED.name: list(self.netted),
        }

    @property
    def thin_lines(self) -> list[str]:
        """A line for each partnership with rate cells of too few base months to carry anything."""
        return [
            f"{name}: thin rate cells, base months: "
            + ", ".join(f"{cell} {months:,}" for cell, months in cells.items())
            for name, cells in self.thin_cells.items()
        ]

    def rate_interval(self, partnership_id: str) -> str:
        """The 95 % interval of the savings rate, to read; empty without replicates."""
        if partnership_id not in self.rate_intervals:
            return ""
        low, high = self.rate_intervals[partnership_id]
        return f"{low:+.2%} to {high:+.2%}"


def check_place(out: Path, plan: Plan, nets: Sequence[Netted], *, replace: bool) -> None:
    """Refuse a place where a run does not belong.

    A settlement is a record. A run of the same terms over the same population comes to the same
    results and takes the place of the one that is there; any other only where `replace` says so.

    Raises
    ------
    RunError
        If `out` is a file, holds anything but a finished run, or holds one of other terms.
    """
    check_target(out, RUN)
    if replace or not (out / MANIFEST).is_file():
        return
    held, terms = read_manifest(out), digest_terms(plan, nets)
    other = [name for name in terms if held["terms"].get(name) != terms[name]]
    if held["population"]["digest"] != plan.origin.digest:
        other.append("population")
    if other:
        raise RunError(
            f"{out}: holds a finished run, digest {held['digest']}, of another "
            f"{', '.join(other).replace('_', ' ')}; {OTHERWISE}"
        )


class Draft:
    """A run folder on its way: `keep` what is measured, `finish` with the results.

    Used as a context: whatever was written is gone unless `finish` came to its end. Each of
    `write_pages` writes one more file from the finished tables; the manifest holds its hash.

    Raises
    ------
    RunError
        As `check_place`, when the draft is opened and when it is finished.
    """

    def __init__(
        self,
        out: Path,
        plan: Plan,
        nets: Sequence[Netted],
        write_pages: Sequence[Callable[[Path], Path]],
        *,
        replace: bool = False,
    ) -> None:
        check_place(out, plan, nets, replace=replace)
        self.out = out
        self.plan = plan
        self.nets = nets
        self.write_pages = write_pages
        self.replace = replace
        self._open = ExitStack()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._kept: tuple[Future[str], Future[None]] | None = None
        self._taken: dict[str, str] = {}
        self._whole: Future[bool] | None = None
        self._earlier: dict[str, TableFile] = {}

    def __enter__(self) -> Self:
        """The draft itself."""
        self.folder = self._open.enter_context(beside(self.out))
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave nothing behind but a finished run."""
        self._writer.shutdown(cancel_futures=True)
        self._open.close()

    def keep(self, measured: Sequence[tuple[int, Sequence[pa.Table]]]) -> None:
        """Order, digest and write member-years while others go on.

        Of each measurement the number of its rule sets, and its tables.
        """
        ordered = self._writer.submit(_member_years, measured)
        self._kept = (
            self._writer.submit(lambda: result_digest(MEMBER_YEARS, ordered.result())),
            self._writer.submit(lambda: _write_table(ordered.result(), self.folder, MEMBER_YEARS)),
        )

    def take(self, files: Sequence[TableFile]) -> bool:
        """The same files as an earlier run: member-years and totals, and tables that stay the same.

        False where one of the first is gone. Whether they are whole is asked of `is_whole`: they
        are read while others go on.
        """
        measured = [file for file in files if file.table is None]
        places = [self.folder / file.path.name for file in measured]
        try:
            for file, place in zip(measured, places, strict=True):
                link(file.path, place)
        except OSError:  # the run is gone
            self._remove(places)
            return False
        self._taken = {file.name: file.digest for file in measured}
        self._whole = self._writer.submit(
            lambda: all(sha256_known(p) == f.sha256 for f, p in zip(measured, places, strict=True))
        )
        self._earlier = {file.name: file for file in files if file.table is not None}
        return True

    def is_whole(self) -> bool:
        """Whether what was taken is as it was written; if not, nothing is taken any more."""
        if self._whole is None or self._whole.result():
            return True
        self._remove([self.folder / _file_of(name) for name in self._taken])
        self._taken = {}
        return False

    def _remove(self, places: Sequence[Path]) -> None:
        for place in places:
            place.unlink(missing_ok=True)

    def finish(self, results: Results, *, runner_name: str, started: float) -> Outcome:
        """Digest the tables, write what is not yet written, and put the folder in its place."""
        plan = self.plan
        check_place(self.out, plan, self.nets, replace=self.replace)
        terms = digest_terms(plan, self.nets)
        for name, totals in totals_named(results.totals).items():
            if name not in self._taken:
                write_totals(totals, self.folder / totals_file(name))
        tables = {name: sort_by(table, TABLES[name].keys) for name, table in results.tables.items()}
        digests = {name: self._written(TABLES[name], table) for name, table in tables.items()}
        parts = {name: digest for name, digest in digests.items() if digest}
        for name, totals in totals_named(results.totals).items():
            parts[name] = self._taken.get(name) or totals_digest(totals)
        if self._kept is not None:
            parts[MEMBER_YEARS.name] = self._kept[0].result()
        else:
            parts[MEMBER_YEARS.name] = self._taken[MEMBER_YEARS.name]
        kept = kept_terms.document(plan.contracts, plan.quality)
        (self.folder / kept_terms.FILE).write_text(json.dumps(kept) + "\n", encoding="utf-8")
        digest = digest_over(parts, terms)
        manifest = manifest_of(
            results, plan, terms, nets=self.nets, digest=digest, parts=parts,
            runner_name=runner_name, started=started,
        )  # fmt: skip
        write_manifest(self.folder, manifest, lasting=False)  # pages read it
        for write in self.write_pages:
            write(self.folder)
        if self._kept is not None:
            self._kept[1].result()
        files = sorted(path for path in self.folder.iterdir() if path.name != MANIFEST)
        manifest["files"] = {path.name: sha256_known(path) for path in files}
        write_manifest(self.folder, manifest)
        keep_pattern(self.out, self.folder, digest)
        publish(self.folder, self.out)
        return Outcome(
            digest=digest,
            run_dir=self.out,
            seconds=time.perf_counter() - started,
            settlement=tables[SETTLEMENT.name].to_pylist(),
            headlines=headlines_of(plan, results.noticed, netting_lines(self.nets, results)),
            noticed=results.noticed,
            rate_intervals=_rate_intervals(tables[INTERVALS.name]),
            thin_cells={s.partnership_id: s.thin_cells for s in results.settled if s.thin_cells},
            netted=tuple(tables[NETTED.name].to_pylist()),
            files=tuple(
                TableFile(
                    name,
                    self.out / _file_of(name),
                    manifest["files"][_file_of(name)],
                    parts.get(name, ""),
                    tables.get(name),
                )
                for name in (*totals_named(results.totals), *tables, MEMBER_YEARS.name)
            ),
        )

    def _written(self, declared: TableSchema, table: pa.Table) -> str:
        """Put a table's file into the folder; its digest, empty where it stands in none.

        Where an earlier run has the same rows it is the same file.
        """
        earlier = self._earlier.get(declared.name)
        if earlier is not None and _same(earlier.table, table):
            place = self.folder / earlier.path.name
            with contextlib.suppress(OSError):  # the run is gone
                link(earlier.path, place)
                if sha256_known(place) == earlier.sha256:
                    return earlier.digest
            place.unlink(missing_ok=True)  # never written over: it is the earlier run's too
        _write_table(table, self.folder, declared)
        return result_digest(declared, table) if declared.in_digest else ""


def _file_of(name: str) -> str:
    """The file of a table, or of totals, in a run's folder."""
    known = name in TABLES or name == MEMBER_YEARS.name
    return f"{name}.parquet" if known else totals_file(name)


def _same(one: pa.Table | None, other: pa.Table) -> bool:
    """Whether two tables hold the same rows in the same order, floats to the bit."""
    return (
        one is not None
        and one.schema.equals(other.schema)
        and one.equals(other)
        and all(
            one.column(k).to_numpy().tobytes() == other.column(k).to_numpy().tobytes()
            for k, field in enumerate(one.schema)
            if pa.types.is_floating(field.type)
        )
    )


def _member_years(measured: Sequence[tuple[int, Sequence[pa.Table]]]) -> pa.Table:
    n_rule_sets, before = sum(n for n, _ in measured), 0
    tables: list[pa.Table] = []
    for n, own in measured:
        tables += own if n == n_rule_sets else [_among(table, before, n_rule_sets) for table in own]
        before += n
    table = pa.concat_tables(tables)
    for i, column in enumerate(table.schema):
        if column.type == OWN_TEXT:
            table = table.set_column(i, column, _in_order_of_texts(table.column(i)))
    return sort_by(table, MEMBER_YEARS.keys)


def _among(table: pa.Table, before: int, n_rule_sets: int) -> pa.Table:
    """A measurement's member-years with the costs of all rule sets; 0 for those of others."""
    own = {
        re.sub(r"_r(\d+)_cents$", lambda at: f"_r{before + int(at[1])}_cents", name): column
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    schema = member_years_schema(n_rule_sets).arrow
    nothing = pa.chunked_array([pa.array(np.zeros(table.num_rows, np.int64))])
    return pa.table([own.get(name, nothing) for name in schema.names], schema=schema)


def _in_order_of_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column over one sorted dictionary, whichever shard met which text first."""
    column = column.unify_dictionaries()
    texts = column.chunk(0).dictionary
    order = pc.sort_indices(texts).to_numpy()
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    inorder = texts.take(pa.array(order))
    return pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(pa.array(place[chunk.indices.to_numpy()]), inorder)
            for chunk in column.chunks
        ]
    )


def _write_table(table: pa.Table, folder: Path, declared: TableSchema) -> None:
    """A table as Parquet. Numbers go as they are: most hardly repeat. Keys alone get statistics."""
    repeats = [
        field.name
        for field in table.schema
        if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)
    ]
    pq.write_table(
        table, folder / f"{declared.name}.parquet", use_dictionary=repeats,
        write_page_checksum=True, write_statistics=list(declared.keys),
    )  # fmt: skip


def _rate_intervals(table: pa.Table) -> dict[str, tuple[float, float]]:
    return {
        row["partnership_id"]: (row["low"], row["high"])
        for row in table.to_pylist()
        if (row["scope"], row["measure"], row["method"], row["conditioning"], row["level"])
        == (PARTNERSHIP, "savings_rate", "percentile", "target_resampled", 0.95)
    }
