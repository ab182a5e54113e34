"""Which of two numbers before a year is the month, settled once for a file by all of its dates.

A file is looked through when such a date is first met in it, and not otherwise.
"""

from __future__ import annotations

import threading

import pyarrow.compute as pc

from ihp_compute.ingest.door.batches import batches, parts_of
from ihp_compute.ingest.door.texts import as_text
from ihp_compute.ingest.door.values import DateOrder, order_in
from ihp_compute.ingest.input_files import InputFile
from ihp_compute.input_columns import INPUT_TABLES, Kind


class DateOrders:
    """The order of day and month of each file, for all workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, DateOrder] = {}

    def of(self, file: InputFile) -> DateOrder:
        """Its order, "" where no date settles it or two settle it otherwise."""
        with self._lock:
            if file.name not in self._found:
                self._found[file.name] = _order_of(file)
            return self._found[file.name]


def _order_of(file: InputFile) -> DateOrder:
    table = INPUT_TABLES[file.table]
    dates = frozenset(column.name for column in table.columns if column.kind is Kind.DATE)
    settled: set[DateOrder] = set()
    for part in parts_of(file, 0):
        for _, columns in batches(part, table, dates):
            for array in (columns[name] for name in dates & columns.keys()):
                settled |= {order_in(text) for text in pc.unique(as_text(array)).to_pylist()}
            if {"month", "day"} <= settled:
                return ""
    settled.discard("")
    return settled.pop() if settled else ""
