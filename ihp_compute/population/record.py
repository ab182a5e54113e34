"""The cold record: every readable row of claims and enrolment, with the fate that it met.

    POPULATION/record/claims/00000.parquet        rows of the claim tables of a shard's members
    POPULATION/record/eligibility/00000.parquet   their rows of enrolment

A row is kept as ingest read it: whose it is, the numbers that it goes by and names, what it says,
the hashes that tell it apart, where it stood, and its fate. So a later delivery can
decide a history again whole, and a fate can be explained. Rows that cannot be read say nothing
certain; they stand in the quarantine.

No run maps or reads it, and no result depends on it: it stands under the SHA-256 of its files and
not under the population's digest. Of rows equal in all that has meaning, which one is the duplicate
is no content, and neither are files and their rows.

Decided here: which columns it has (all that ingest spills), and how they are written. Numbers are
split by byte before they are compressed, which is smaller than a dictionary and takes half the
time; hashes are not compressed. Left to `ingest`: the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from ihp_compute.errors import PopulationError
from ihp_compute.folders import hashed_file
from ihp_compute.input_columns import SPILL_COLUMNS, SpillColumn

FEW: Final = pa.dictionary(pa.int32(), pa.string())
"""Type of texts of which few stand in many rows."""


_LEFT_OUT: Final = ("fate", "reason", "issuer")
"""A fate of the first pass is none yet, only what cannot be read has a reason, and whose numbers
they are is said by source, payer and plan."""


def _field(column: SpillColumn) -> pa.Field:
    """A column with null only where a text that may be blank is."""
    kind = FEW if column.few else column.type
    if pa.types.is_list(kind):
        kind = pa.list_(pa.field("element", kind.value_type, nullable=False))
    may_be_null = pa.types.is_string(kind) and column.blank is None
    return pa.field(column.name, kind, nullable=may_be_null)


def _schema(table: str) -> pa.Schema:
    first = (pa.field(name, FEW, nullable=False) for name in ("source_table", "fate"))
    kept = (column for column in SPILL_COLUMNS[table] if column.name not in _LEFT_OUT)
    return pa.schema([*first, *map(_field, kept)])


RECORDS: Final[Mapping[str, pa.Schema]] = {
    "claims": _schema("medical_claim"),
    "eligibility": _schema("eligibility"),
}
"""The records and their columns: `source_table` and `fate` by name, then all that is spilled.

Days are int32 (`NO_DAY`), money int64 cents; codes index `Population.codes`, as in `tables`. `file`
is a place in the manifest's `inputs`, and `row` the row there.
"""

_HASHES: Final = ("hash_1", "hash_2")
_WRITTEN_ROWS: Final = 1 << 17
"""Written at a time: with Arrow's own 1,024 a shard takes a tenth longer."""


def record_path(name: str, shard: int) -> Path:
    """Where a shard's record lies in the population's folder."""
    return Path("record", name, f"{shard:05d}.parquet")


def write_record(
    folder: Path, name: str, shard: int, batches: Iterable[pa.RecordBatch]
) -> tuple[str, dict[str, Any]]:
    """Write a shard's record, a row group for each batch; its name among the files, and its stamp.

    Parameters
    ----------
    folder : Path
        The population's, in which `record/NAME` stands.
    name : str
        One of `RECORDS`, whose schema the batches have.
    shard : int
    batches : iterable of RecordBatch
        Each is asked for when the one before it is written.
    """
    schema, path = RECORDS[name], record_path(name, shard)
    with (
        hashed_file(folder / path) as (sink, stamp),
        pq.ParquetWriter(
            sink,
            schema,
            write_statistics=False,
            write_batch_size=_WRITTEN_ROWS,
            **_written(schema),
        ) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
    return path.as_posix(), stamp


def _written(schema: pa.Schema) -> dict[str, Any]:
    """How each column is encoded and compressed, as Parquet names them."""
    encoding, dictionary, compression = {}, [], {}
    for field in schema:
        leaf = f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        compression[leaf] = "none" if field.name in _HASHES else "zstd"
        if field.type == FEW:
            dictionary.append(leaf)
        elif field.name in _HASHES or field.type in (pa.string(), pa.bool_()):
            encoding[leaf] = "PLAIN"
        else:
            encoding[leaf] = "BYTE_STREAM_SPLIT"
    return {
        "column_encoding": encoding,
        "use_dictionary": dictionary,
        "compression": compression,
    }


def read_record(
    folder: Path, name: str, shard: int, columns: Sequence[str] | None, where: Any
) -> pa.Table:
    """A shard's record, or those columns of the rows that `where` (a pyarrow filter) lets pass."""
    path = folder / record_path(name, shard)
    try:
        rows = pq.read_table(
            path, columns=None if columns is None else list(columns), filters=where,
            partitioning=None,
        )  # fmt: skip
        return rows.unify_dictionaries()
    except (OSError, pa.ArrowException) as error:
        raise PopulationError(
            f"{path} cannot be read as a Parquet file ({error}). Prepare the population again."
        ) from error


Sums: TypeAlias = Counter[tuple[str, int, str, str]]
"""Sums by table, place among the inputs, fate, and `lines` or `paid_cents`."""


def record_sums(folder: Path, name: str, shard: int) -> Sums:
    """Lines and cents of a shard's record."""
    paid = ["paid_cents"] if "paid_cents" in RECORDS[name].names else []
    keys = ["source_table", "file", "fate"]
    rows = read_record(folder, name, shard, [*keys, *paid], None)
    counted = rows.group_by(keys, use_threads=False).aggregate(
        [([], "count_all"), *((column, "sum") for column in paid)]
    )
    sums: Sums = Counter()
    for row in counted.to_pylist():
        key = row["source_table"], row["file"], row["fate"]
        sums[*key, "lines"] += row["count_all"]
        sums[*key, "paid_cents"] += row.get("paid_cents_sum", 0)
    return sums
