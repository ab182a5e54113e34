"""The tables of the programme, declared as those of settlements are (`results.tables`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ihp_compute.table_schema import TableSchema

_DECLARED: Final[tuple[TableSchema, ...]] = ()

PROGRAMME_TABLES: Final[Mapping[str, TableSchema]] = {table.name: table for table in _DECLARED}
"""By name."""
