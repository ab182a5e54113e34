"""Arrays in, arrays out: the arithmetic, and nothing of the domain.

Every kernel is one file of this folder with its CUDA twin of the same stem beside it. NumPy arrays
in give NumPy arrays out; CuPy in, CuPy out. A mixture is refused; nothing changes device unasked.

`kernels.replicate_totals` is the kernel; its module, with `reference` and the private forms, is
what `from kernels.replicate_totals import reference` finds.
"""

from kernels._core import (
    KernelInputError,
    cache_folder,
    device,
    own_stream,
    to_device,
    to_host,
)
from kernels.code_lists import code_lists
from kernels.condition_flags import condition_flags
from kernels.decimal_units import decimal_units
from kernels.distinct_count import distinct_count
from kernels.enrolled_months import enrolled_months
from kernels.first_row import first_row
from kernels.key_place import key_place
from kernels.least_words import least_words
from kernels.line_fate import line_fate
from kernels.list_words import list_words
from kernels.philox import philox
from kernels.plurality import plurality
from kernels.quantiles import quantiles
from kernels.replicate_totals import replicate_totals
from kernels.risk_score import risk_score
from kernels.roster_match import roster_match
from kernels.row_hash import row_hash
from kernels.row_join import row_join
from kernels.row_order import row_order
from kernels.row_pick import row_pick
from kernels.segment_cost import segment_cost
from kernels.settle_grid import settle_grid
from kernels.settle_summary import settle_summary
from kernels.text_hash import text_hash
from kernels.text_key import text_key
from kernels.word_mix import word_mix
from kernels.word_order import word_order
from kernels.word_pack import word_pack

ALL = (  # stems; tests hold each to its twin and its docstring
    "code_lists",
    "condition_flags",
    "decimal_units",
    "distinct_count",
    "enrolled_months",
    "first_row",
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
    "key_place",
    "least_words",
    "line_fate",
    "list_words",
    "own_stream",
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
