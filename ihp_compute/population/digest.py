"""One digest of a population's content, whatever its shards, threads, row order or file split.

    row -> two 64-bit hashes, keyed by the table and each column's name, codes by their text
    table -> number of rows and the sums of those hashes modulo 2^64
    population -> SHA-256 of the tables' lines, in order of name

What it promises: equal content gives an equal digest, always. Different content gives a different
digest unless two independent 64-bit sums collide, which does not happen by accident (chance 2^-128
for a given change); it is not built to withstand someone who forges rows on purpose. The files
themselves stand under SHA-256 (`population.verify`).

Left out: `lines.file`, since how rows were split over files is not content. A member's rows carry
the member's key, so that rows cannot change hands unseen. A line's stay is hashed as its place
among the member's, since where a shard begins is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute import METHOD_VERSION
from ihp_compute.codes import NO_STAY
from ihp_compute.input_columns import CODE_SYSTEMS, CODED, REFERENCE_TABLES
from ihp_compute.population import tables
from ihp_compute.population.hashes import RowHash, text_hashes
from ihp_compute.population.shards import Population, Shard
from ihp_compute.sorting import order_by

CODE_COLUMNS: Final[Mapping[tuple[str, str], str]] = {
    (table, field.name): CODED[field.name]
    for table, schema in tables.SHARD_TABLES.items()
    for field in schema
    if field.name in CODED
}
"""Which code system an integer column of a shard table belongs to (`drugs.code` has two)."""

HASHED_TABLES: Final = (
    ("members",), ("identity",), ("spans",), ("lines", "line_detail"), ("diagnoses",), ("visits",),
    ("stays",), ("emergency",), ("drugs",), ("scores",),
)  # fmt: skip
"""Tables hashed row by row; `line_detail` is more columns of `lines`."""

STAY_COLUMN: Final = ("line_detail", "stay")

_BLOCK: Final = 1 << 15
_SMALL: Final = np.arange(256, dtype=np.uint64)


def code_words(codes: pa.Array) -> NDArray[np.uint64]:
    """A word per code of a system, from its text; entry 0, "not stated", is zero."""
    words = text_hashes(codes)
    words[0] = 0
    return words


CodeWords = Mapping[str, NDArray[np.uint64]]


def table_sums(
    names: tuple[str, ...],
    member_key: NDArray[np.uint64],
    column: Callable[[str, str], NDArray[Any]],
    hashes: Callable[[str, str], NDArray[np.uint64]],
    codes: CodeWords,
) -> NDArray[np.uint64]:
    """uint64[3]: number of rows and the two sums of row hashes, modulo 2^64.

    `member_key` has one entry a row. `column` gives the shard's columns of numbers, of lines' stays
    `stay_places`; `hashes` the `text_hashes` of those of texts.
    """
    rows = RowHash(len(member_key))
    rows.add("member_key", member_key)
    for table in names:
        for field in tables.SHARD_TABLES[table]:
            if field.name == "member_key" or (table, field.name) == ("lines", "file"):
                continue
            label = f"{table}.{field.name}"
            if pa.types.is_string(field.type):
                rows.add(label, hashes(table, field.name))
            elif (table, field.name) in CODE_COLUMNS:
                words = codes[CODE_COLUMNS[table, field.name]]
                rows.add_coded(label, column(table, field.name), words)
            elif field.type == pa.uint8():
                rows.add_coded(label, column(table, field.name), _SMALL)
            elif (table, field.name) == ("drugs", "code"):
                is_hcpcs = column(table, "system").astype(bool)
                code = column(table, "code")
                words = np.zeros(len(code), np.uint64)
                words[~is_hcpcs] = codes["ndc"][code[~is_hcpcs]]
                words[is_hcpcs] = codes["hcpcs"][code[is_hcpcs]]
                rows.add(label, words)
            else:
                values = column(table, field.name)
                rows.add(label, values if values.itemsize >= 4 else values.astype(np.int32))
    lanes = rows.finish()
    return np.array([len(member_key), *np.add.reduce(lanes, axis=1)], dtype=np.uint64)


def shard_sums(shard: Shard, codes: CodeWords) -> NDArray[np.uint64]:
    """uint64[len(HASHED_TABLES), 3]: `table_sums` of every table of a shard."""
    key = shard.column("members", "member_key")

    def column(table: str, name: str) -> NDArray[Any]:
        found = shard.column(table, name)
        if (table, name) == STAY_COLUMN:
            return stay_places(found, shard.offsets("lines"), shard.offsets("stays"))
        return found

    return np.stack(
        [
            table_sums(
                names,
                key
                if names[0] in ("members", "identity")
                else np.repeat(key, np.diff(shard.offsets(names[0]))),
                column,
                lambda table, name: text_hashes(shard.strings(table, name)),
                codes,
            )
            for names in HASHED_TABLES
        ]
    )


def stay_places(
    stay: NDArray[np.int32], lines: NDArray[np.int64], stays: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Place of each line's stay among those of its member, from 1; 0 where its claim is none.

    Parameters
    ----------
    stay : int32[n_lines]
        `line_detail.stay`.
    lines, stays : int64[n_members + 1]
        Where each member's lines and stays start.
    """
    found = np.zeros(len(stay), np.int32)
    at = np.flatnonzero(stay != NO_STAY)
    member = np.searchsorted(lines, at, side="right") - 1
    found[at] = stay[at] - stays[member] + 1
    return found


@dataclass(frozen=True)
class Lines:
    """A reference table as the digest sees it, its rows in order.

    Each row is a JSON object in ASCII, names sorted, on a line of its own; lines are sorted.

    columns : for each name, its values as they stand in a line, and which of them each row has
    """

    n_rows: int
    columns: Sequence[tuple[pa.Array, NDArray[np.int32]]]

    def blocks(self) -> Iterator[pa.Buffer | bytes]:
        """The lines as bytes, some at a time."""
        if not self.columns:
            yield b"{}\n" * self.n_rows
            return
        end, nothing = (pa.scalar(text, pa.large_string()) for text in ("}\n", ""))
        for start in range(0, self.n_rows, _BLOCK):
            rows = slice(start, start + _BLOCK)
            texts = [values.take(pa.array(index[rows])) for values, index in self.columns]
            yield pc.binary_join_element_wise(*texts, end, nothing).buffers()[2]


def digest_of(sums: NDArray[np.uint64], references: Mapping[str, Lines]) -> str:
    """SHA-256 over the summed tables and, row by row in sorted order, the reference tables."""
    digest = hashlib.sha256(f"ihp population {METHOD_VERSION}\n".encode())
    for names, entry in zip(HASHED_TABLES, sums, strict=True):
        line = f"{names[0]} {int(entry[0])} {int(entry[1]):016x} {int(entry[2]):016x}\n"
        digest.update(line.encode())
    for name in sorted(references):
        lines = references[name]
        digest.update(f"{name} {lines.n_rows}\n".encode())
        for block in lines.blocks():
            digest.update(block)
    return digest.hexdigest()


def lines_of(table: pa.Table) -> Lines:
    """The lines of a reference table, not yet written down.

    No value as JSON is the beginning of another, so lines order as their columns do.
    """
    columns: list[tuple[pa.Array, NDArray[np.int32]]] = []
    for name in sorted(table.column_names):
        column = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        label = f"{', ' if columns else '{'}{json.dumps(name)}: "
        values = _as_json(label, column.dictionary)
        order = pc.array_sort_indices(values)
        place = np.empty(len(values), np.int32)
        place[order.to_numpy()] = np.arange(len(values), dtype=np.int32)
        columns.append((values.take(order), place.take(column.indices.to_numpy())))
    if not columns:
        return Lines(table.num_rows, [])
    rows, _ = order_by(*(index for _, index in columns))
    return Lines(table.num_rows, [(values, index.take(rows)) for values, index in columns])


_ESCAPED: Final = r"""["\\]|[^ -~]"""
"""What JSON does not write as it stands."""


def _as_json(label: str, values: pa.Array) -> pa.Array:
    """Each value as JSON, after the label."""
    if (
        pa.types.is_string(values.type)
        and not pc.any(pc.match_substring_regex(values, _ESCAPED), min_count=0).as_py()
    ):
        start, end, between = (pa.scalar(t, pa.large_string()) for t in (f'{label}"', '"', ""))
        large = values.cast(pa.large_string())
        written = pc.binary_join_element_wise(start, large, end, between)
        return written.fill_null(f"{label}null")
    encode = json.JSONEncoder().encode
    return pa.array([label + encode(value) for value in values.to_pylist()], pa.large_string())


def population_digest(population: Population) -> str:
    """The digest of a prepared population, recomputed from its rows."""
    codes = {system: code_words(population.codes(system)) for system in CODE_SYSTEMS}
    sums = np.zeros((len(HASHED_TABLES), 3), np.uint64)
    for shard in population.shards:
        sums += shard_sums(shard, codes)
    found = {name: population.reference(name) for name in REFERENCE_TABLES}
    return digest_of(
        sums, {name: lines_of(table) for name, table in found.items() if table is not None}
    )
