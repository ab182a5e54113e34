"""Arrays in, arrays out: the arithmetic, and nothing of the domain.

    rows      columns of many rows: hashes, orders, joins, texts, codes, units
    members   rows by member: months, visits, cost, fates of lines, conditions, scores
    draws     replicates: the members' weights, sums under them, quantiles
    settle    a settlement over all replicates, and its summary; uses `draws`
    _core     devices, streams, and the checks that every kernel makes

Every kernel is one file of its room with its CUDA twin of the same stem beside it; `page_places`
alone reads bytes of files, and has none. NumPy arrays in
give NumPy arrays out; CuPy in, CuPy out. A mixture is refused; nothing changes device unasked.

`kernels.replicate_totals` is the kernel; its module, with `reference` and the private forms, is
`kernels.draws.replicate_totals`.
"""

from kernels._core import (
    KernelInputError,
    cache_folder,
    device,
    own_stream,
    to_device,
    to_host,
)
from kernels.draws.philox import philox
from kernels.draws.quantiles import quantiles
from kernels.draws.replicate_totals import replicate_totals
from kernels.members.condition_flags import condition_flags
from kernels.members.enrolled_months import enrolled_months
from kernels.members.history_fates import history_fates
from kernels.members.line_fate import line_fate
from kernels.members.plurality import plurality
from kernels.members.risk_score import risk_score
from kernels.members.roster_match import roster_match
from kernels.members.segment_cost import segment_cost
from kernels.members.service_use import service_use
from kernels.rows.code_lists import code_lists
from kernels.rows.decimal_units import decimal_units
from kernels.rows.distinct_count import distinct_count
from kernels.rows.first_row import first_row
from kernels.rows.key_place import key_place
from kernels.rows.least_words import least_words
from kernels.rows.list_words import list_words
from kernels.rows.page_places import page_places
from kernels.rows.row_hash import row_hash
from kernels.rows.row_join import row_join
from kernels.rows.row_order import row_order
from kernels.rows.row_pick import row_pick
from kernels.rows.text_hash import text_hash
from kernels.rows.text_key import text_key
from kernels.rows.word_mix import word_mix
from kernels.rows.word_order import word_order
from kernels.rows.word_pack import word_pack
from kernels.settle.settle_grid import settle_grid
from kernels.settle.settle_summary import settle_summary

ALL = (  # stems; tests hold each to its twin and its docstring
    "code_lists",
    "condition_flags",
    "decimal_units",
    "distinct_count",
    "enrolled_months",
    "first_row",
    "history_fates",
    "key_place",
    "least_words",
    "line_fate",
    "list_words",
    "philox",
    "plurality",
    "quantiles",
    "replicate_totals",
    "risk_score",
    "roster_match",
    "row_hash",
    "row_join",
    "row_order",
    "row_pick",
    "segment_cost",
    "service_use",
    "settle_grid",
    "settle_summary",
    "text_hash",
    "text_key",
    "word_mix",
    "word_order",
    "word_pack",
)

__all__ = [
    "ALL",
    "KernelInputError",
    "cache_folder",
    "code_lists",
    "condition_flags",
    "decimal_units",
    "device",
    "distinct_count",
    "enrolled_months",
    "first_row",
    "history_fates",
    "key_place",
    "least_words",
    "line_fate",
    "list_words",
    "own_stream",
    "page_places",
    "philox",
    "plurality",
    "quantiles",
    "replicate_totals",
    "risk_score",
    "roster_match",
    "row_hash",
    "row_join",
    "row_order",
    "row_pick",
    "segment_cost",
    "service_use",
    "settle_grid",
    "settle_summary",
    "text_hash",
    "text_key",
    "to_device",
    "to_host",
    "word_mix",
    "word_order",
    "word_pack",
]
