"""Reference tables, which belong to nobody's shard: read whole, kept as one Arrow file each."""

from __future__ import annotations

import pyarrow as pa

from ihp_compute.errors import DataError
from ihp_compute.ingest.door.layout import InputFile
from ihp_compute.ingest.door.texts import as_text
from ihp_compute.ingest.door.values import BAD_DAY, day_of_text
from ihp_compute.units import NO_DAY, date_of


def reference_piece(
    file: InputFile, known: tuple[str, ...], columns: dict[str, pa.Array], first_row: int, n: int
) -> pa.Table:
    """One batch of a reference table: known columns as text, days as YYYY-MM-DD.

    Raises
    ------
    DataError
        If a day cannot be read; names file and row.
    """
    piece = {}
    for name in known:
        if name not in columns:
            piece[name] = pa.array([""] * n, pa.string())
            continue
        texts = as_text(columns[name]).cast(pa.string())
        if name.endswith("_date"):
            written = texts.dictionary_encode()
            days = [day_of_text(text) for text in written.dictionary.to_pylist()]
            if BAD_DAY in days:
                row = written.indices.index(days.index(BAD_DAY)).as_py()
                raise DataError(
                    f"{file.name}, data row {first_row + row:,}: {name} is not a date. "
                    "Write it as YYYY-MM-DD."
                )
            dates = ["" if day == NO_DAY else date_of(day).isoformat() for day in days]
            texts = pa.array(dates, pa.string()).take(written.indices)
        piece[name] = texts
    return pa.table(piece)
