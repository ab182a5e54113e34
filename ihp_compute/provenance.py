"""One digest: the same inputs and terms give the same SHA-256 wherever and however they were run.

The digest covers a canonical form of the result tables: tables by name, columns by schema, rows by
key, numbers little-endian, text as UTF-8 with its lengths. Nothing of files, paths, shards,
threads, timings or runner enters it. What needs libm or LAPACK stands in tables outside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.errors import RunError
from ihp_compute.population import file_sha256
from ihp_compute.tables import pooled
from ihp_compute.uncertainty import Totals
from kernels import word_order

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "exclusions": ("year", "reason"),
    "intervals": ("partnership_id", "measure", "method", "conditioning", "level"),
    "ledger": ("table", "stage", "fate"),
    "member_years": ("member_key", "year"),
    "payments": ("partnership_id", "payer"),
    "settlement": ("partnership_id",),
    "utilisation": ("group", "year"),
    "walk": ("partnership_id", "position"),
}
"""Tables under the digest and the columns that order their rows."""

MANIFEST: Final = "manifest.json"
TOTALS: Final = "totals.arrow"
_WORD_BITS: Final = 64


def sort_by(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """The table in the order of its key columns, as one chunk a column."""
    if len(keys) == 2 and all(pa.types.is_integer(table.schema.field(key).type) for key in keys):
        order = _order(*(table.column(key).to_numpy() for key in keys))
        if order is None:
            return table.combine_chunks()
        columns = [_taken(column, order) for column in table.itercolumns()]
        return pa.Table.from_arrays(columns, schema=table.schema)
    return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def _order(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64] | None:
    """Rows in order of both columns; None if they stand in it.

    Member-years stand a member at a time, years in order: there, members are all that is ordered.
    """
    fresh = first[1:] != first[:-1]
    if (fresh | (second[1:] > second[:-1])).all():
        if (~fresh | (first[1:] > first[:-1])).all():
            return None
        starts = np.flatnonzero(np.r_[True, fresh])
        width = len(first) // len(starts)
        if first.dtype == np.uint64 and np.array_equal(starts, np.arange(0, len(first), width)):
            order, ordered = word_order(first[starts], _WORD_BITS)
            if (ordered[1:] > ordered[:-1]).all():
                return (starts[order][:, None] + np.arange(width)).reshape(-1)
    return np.lexsort((second, first))


def _taken(column: pa.ChunkedArray, order: NDArray[np.int64]) -> pa.Array:
    """A column in that order, in memory that Arrow's pool keeps: fresh memory costs more."""
    if pa.types.is_dictionary(column.type):
        whole = column.unify_dictionaries().combine_chunks()
        return pa.DictionaryArray.from_arrays(_picked(whole.indices, order), whole.dictionary)
    if pa.types.is_integer(column.type):
        return _picked(column.combine_chunks(), order)
    return column.combine_chunks().take(pa.array(order))


def _picked(values: pa.Array, order: NDArray[np.int64]) -> pa.Array:
    numbers = values.to_numpy()
    out = pooled(len(order), numbers.dtype)
    return pa.array(numbers.take(order, out=out, mode="clip"), values.type)


def ledger_over_files(ledger: pa.Table) -> pa.Table:
    """The ledger summed over input files: how a state's claims were cut into files is no result."""
    summed = ledger.group_by(["table", "stage", "fate"]).aggregate(
        [("lines", "sum"), ("paid_cents", "sum")]
    )
    kept = summed.filter(
        pc.or_(
            pc.not_equal(summed.column("lines_sum"), 0),
            pc.not_equal(summed.column("paid_cents_sum"), 0),
        )
    )
    return kept.select(["table", "stage", "fate", "lines_sum", "paid_cents_sum"])


def _update(digest: Any, column: pa.ChunkedArray) -> None:
    if column.null_count:
        raise RunError("a result column holds nulls; results never do, so the run is damaged")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        _update_text(digest, column)
        return
    values = column.to_numpy()
    if values.dtype == bool:
        values = values.astype(np.uint8)
    digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)


def _update_text(digest: Any, column: pa.ChunkedArray) -> None:
    """Lengths in bytes as int64, then the bytes: what Arrow holds, without its offsets."""
    digest.update(pc.binary_length(column).to_numpy().astype("<i8").data)
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, "<i4", count=len(chunk) + 1, offset=4 * chunk.offset)
        if data is not None:
            digest.update(memoryview(data)[ends[0] : ends[-1]])


def digest_of(tables: Mapping[str, pa.Table], totals: Totals, terms: Mapping[str, Any]) -> str:
    """SHA-256 of a run's results in canonical form.

    Parameters
    ----------
    tables : mapping of name to table
        Must hold every table of `KEYS`; others are left out.
    totals : Totals
    terms : mapping
        What was asked for: method version, years, cutoff, seed, replicates, contract hashes.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps(terms, sort_keys=True).encode())
    for name, keys in KEYS.items():
        table = tables[name]
        if name == "ledger":
            table = ledger_over_files(table)
        table = sort_by(table, keys)
        digest.update(f"\n{name} {table.num_rows}\n".encode())
        for field in table.schema:
            digest.update(f"{field.name} {field.type}\n".encode())
            _update(digest, table.column(field.name))
    shape = " ".join(map(str, totals.values.shape))
    digest.update(f"\ntotals {shape} {' '.join((*totals.groups, *totals.columns))}\n".encode())
    digest.update(np.ascontiguousarray(totals.values, "<i8").data)
    digest.update(np.ascontiguousarray(totals.n_members, "<i8").data)
    return digest.hexdigest()


def digest_of_table(table: pa.Table, terms: Mapping[str, Any]) -> str:
    """SHA-256 of one table in canonical form, its rows in their order, under what was asked for."""
    digest = hashlib.sha256(json.dumps(terms, sort_keys=True).encode())
    digest.update(f"\n{table.num_rows}\n".encode())
    for field in table.schema:
        digest.update(f"{field.name} {field.type}\n".encode())
        _update(digest, table.column(field.name))
    return digest.hexdigest()


def write_totals(totals: Totals, path: Path) -> None:
    """Write totals as one Arrow IPC file: all values in order, their shape in the metadata."""
    about = {
        "groups": totals.groups,
        "columns": totals.columns,
        "strata": totals.strata,
        "shape": totals.values.shape,
        "n_members": totals.n_members.tolist(),
    }
    schema = pa.schema(
        [pa.field("value", pa.int64(), nullable=False)],
        metadata={name: json.dumps(value) for name, value in about.items()},
    )
    values = pa.array(np.ascontiguousarray(totals.values).reshape(-1))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([values], schema=schema))


def read_totals(path: Path) -> Totals:
    """Totals as `write_totals` wrote them, memory-mapped."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    about = {key.decode(): json.loads(value) for key, value in table.schema.metadata.items()}
    values: NDArray[np.int64] = table.column("value").chunk(0).to_numpy()
    return Totals(
        groups=tuple(about["groups"]),
        columns=tuple(about["columns"]),
        strata=tuple(about["strata"]),
        values=values.reshape(about["shape"]),
        n_members=np.array(about["n_members"], np.int64),
    )


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises
    ------
    RunError
        If the folder is not a finished run.
    """
    path = run_dir / MANIFEST
    if not path.is_file():
        raise RunError(
            f"{run_dir}: not a finished run, it has no {MANIFEST}; make one with ihp run"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); run it again") from error
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if kind != "run":
        raise RunError(f"{path}: expected the manifest of a run, got {kind!r}")
    missing = [name for name in ("digest", "terms", "population") if name not in manifest]
    if missing:
        raise RunError(f"{path}: lacks {', '.join(missing)}, cut off or edited; run it again")
    return dict(manifest)


def is_run(folder: Path) -> bool:
    """Whether a folder says of itself that it is a run."""
    path = folder / MANIFEST
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("kind") == "run")
    except (OSError, ValueError, AttributeError):
        return False


def verify_run(run_dir: Path) -> str:
    """Recompute a run's digest from its files and compare it with the manifest.

    Returns
    -------
    str
        The digest.

    Raises
    ------
    RunError
        If a table is missing or unreadable, the digests differ, or the terms or the report are
        not those that were written.
    """
    manifest = read_manifest(run_dir)
    try:
        tables = {name: pq.read_table(run_dir / f"{name}.parquet") for name in KEYS}
        totals = read_totals(run_dir / TOTALS)
    except (OSError, pa.ArrowException, AttributeError, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: cannot be read back: {error}; run it again") from error
    terms = manifest["terms"]
    other = [name for name, value in terms.items() if manifest.get(name, value) != value]
    other = [name for name in other if name not in ("contracts", "risk_model")]
    if other:
        raise RunError(
            f"{run_dir}: its manifest says two things of {', '.join(other)}: it was edited; "
            "run it again"
        )
    try:
        found = digest_of(tables, totals, terms)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: cannot be read back: {error}; run it again") from error
    if found != manifest["digest"]:
        raise RunError(
            f"{run_dir}: digest {found[:12]}… of the files, {manifest['digest'][:12]}… in the "
            "manifest: the results were changed after the run; run it again"
        )
    for name, sha256 in manifest.get("files", {}).items():
        if not (run_dir / name).is_file() or file_sha256(run_dir / name) != sha256:
            raise RunError(f"{run_dir / name}: missing or changed after the run; run it again")
    return found
