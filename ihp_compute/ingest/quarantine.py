"""Rows put aside: kept by shard while shards are made, then written, one file for a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.ingest.input_files import InputFile


class Quarantine:
    """What is put aside of every table, in `waiting` until it is written to `folder`."""

    def __init__(self, waiting: Path, folder: Path) -> None:
        self._waiting = waiting
        self._folder = folder

    def keep(self, shard: int, aside: Mapping[str, pa.Table]) -> None:
        """Keep a shard's rows, by table: members by their key, files by their place."""
        for table, rows in aside.items():
            if rows.num_rows:
                path = self._waiting / f"aside-{table}-{shard:05d}.arrow"
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as out:
                    out.write_table(rows)

    def write(
        self,
        table: str,
        files: Sequence[InputFile],
        ids_of: Callable[[NDArray[np.uint64]], pa.Array],
        before: Sequence[pa.Table] = (),
    ) -> None:
        """Write a table's rows as one Parquet file, in order of shard, if it has any.

        `ids_of` gives the ids of members by their keys; `before` are rows of an earlier quarantine
        that stay in it, and come first.
        """
        names = pa.array([file.name for file in files], pa.string())
        deliveries = pa.array([file.delivery for file in files], pa.int32())
        writer = None
        for rows in before:
            writer = writer or pq.ParquetWriter(
                self._folder / f"{table}.parquet", rows.schema, compression="zstd"
            )
            writer.write_table(rows)
        for path in sorted(self._waiting.glob(f"aside-{table}-*.arrow")):
            with pa.memory_map(str(path), "r") as source:
                rows = pa.ipc.open_file(source).read_all()
            ids = ids_of(rows.column("member_key").to_numpy())
            rows = rows.set_column(rows.column_names.index("member_key"), "member_id", ids)
            at = rows.column_names.index("file")
            places = rows.column("file").combine_chunks()
            rows = rows.set_column(at, "file", names.take(places))
            rows = rows.add_column(at + 1, "delivery", deliveries.take(places))
            if writer is None:
                target = self._folder / f"{table}.parquet"
                writer = pq.ParquetWriter(target, rows.schema, compression="zstd")
            writer.write_table(rows)
        if writer is not None:
            writer.close()
