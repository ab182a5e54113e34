"""What a program's payments amount to in each scenario, without keeping the payments.

    program -> what no scenario moves: once, over all replicates
            -> what only terms make up: once a scenario
            -> the rest: blocks of replicates that a scenario changes -> payments -> summaries

The meaning is that of `settle_grid` followed by exact sums, counts and `quantiles`; only what is
known already is not done again. Replicates are put in an order in which payments rise in a sample
of scenarios, and scenarios in one in which terms that enter last vary fastest. From one scenario to
the next, the ranges of a block's values tell most blocks to be as they were: their payments, sums
and counts stay. A quantile stays unless a changed block has passed it. Else the replicate that had
it is tried first; where counting disproves it, two values from around its rank bracket it.

Not here: which scenarios there are and what moves in them (the caller), their order and what must
be done again (`_plan`), which blocks change (`_ranges`), the machine code (`_fused`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.draws.quantiles import ranks_of
from kernels.draws.quantiles import reference as selected
from kernels.settle._fused import BLOCK, LANES, Shape, call
from kernels.settle._marks import below, ones, reached
from kernels.settle._plan import plan_of
from kernels.settle._ranges import compiled
from kernels.settle._selection import first_bits, quantile
from kernels.settle.settle_grid import EXACT, check_program, check_values
from kernels.settle.settle_grid import reference as settled

VECTOR_BYTES: Final = 64
SAMPLED: Final = 16
"""Scenarios whose payments put the replicates in order."""
HEAD: Final = 4
"""Columns before the quantiles: observed, sum, gains, losses."""
_GPU_THREADS: Final = 128
_PAD: Final = 264
"""Words between live rows: rows a page apart would fall upon one another in the cache."""


def settle_summary(
    sources: Any, constants: Any, program: Any, output: int, p_micro: Sequence[int]
) -> Any:
    """Run a program over every scenario and replicate, and summarise each scenario.

        payment[s, r] = the register `output` of `settle_grid`, whole
        out[s]        = payment[s, 0],  Σ payment[s, r],  #{payment[s, r] > 0},
                        #{payment[s, r] < 0},  quantiles of payment[s, r]          r = 1 … B

    Parameters
    ----------
    sources : float64[n_sources, 1 + B]
        As in `settle_grid`; column 0 is the data as observed. B >= 1.
    constants : float64[n_scenarios, n_constants]
        Terms, each rounded once from Decimal; finite.
    program : int32[n_operations, 4]
        As in `settle_grid`; on the host.
    output : int
        Register of the payment in cents; written by an operation with an integer result.
    p_micro : sequence of int, 0 <= p <= 1_000_000
        Probabilities in millionths, as in `quantiles`.

    Returns
    -------
    int64[n_scenarios, 4 + len(p_micro)], on the device of `sources`
        Cents observed, sum of cents over replicates 1 … B, replicates with a gain, with a loss,
        and the quantiles in cents.

    Raises
    ------
    KernelInputError
        As `settle_grid` and `quantiles`; also if there is no replicate beside the observed one, or
        a payment reaches 2**53 or 2**63 / B cents.

    Exact on every device: the arithmetic of `settle_grid`, then integers.
    Source: settlement articles as ordered steps, `ihp_compute.settlement`.
    """
    device = device_of(sources=sources, constants=constants)
    require("sources", sources, np.float64, (None, None))
    require("constants", constants, np.float64, (None, None))
    require("program", program, np.int32, (None, 4))
    outputs = np.array([output], dtype=np.int32)
    check_program(program, outputs, sources.shape[0] + constants.shape[1], whole=True)
    check_values(sources, constants)
    if sources.shape[1] < 2:
        raise KernelInputError(
            f"sources: expected the observed column and at least one replicate, got "
            f"{sources.shape[1]} columns"
        )
    ranks = ranks_of(p_micro, sources.shape[1] - 1)
    form = _cpu if device == "cpu" else _gpu
    out, exact = form(sources, constants, program, int(output), ranks)
    if not exact:
        raise KernelInputError(
            "output: a payment is not below 2**53 and 2**63 / B and would not be exact"
        )
    return out


def reference(
    sources: Any, constants: Any, program: Any, output: int, p_micro: Sequence[int]
) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    outputs = np.array([output], dtype=np.int32)
    payments = settled(sources, constants, program, outputs)[:, 0]
    heads = [
        [row[0], sum(row[1:]), sum(x > 0 for x in row[1:]), sum(x < 0 for x in row[1:])]
        for row in payments.tolist()
    ]
    return np.hstack(
        [
            np.array(heads, dtype=np.int64).reshape(len(heads), HEAD),
            selected(payments[:, 1:], p_micro),
        ]
    )


# --- the work -------------------------------------------------------------------------------------


def _limit(n_replicates: int) -> float:
    """Payments below it are exact, and so is their sum."""
    return min(EXACT, 2.0**63 / n_replicates)


def _aligned(n: int) -> Any:
    """float64[n] of anything, from the start of a vector on."""
    raw = np.empty(n + VECTOR_BYTES // 8)
    skip = -raw.ctypes.data % VECTOR_BYTES // 8
    return raw[skip : skip + n]


def _cpu(sources: Any, constants: Any, program: Any, output: int, ranks: Any) -> Any:
    n_scenarios, n = len(constants), sources.shape[1] - 1
    out = np.empty((n_scenarios, HEAD + len(ranks)), dtype=np.int64)
    if not n_scenarios:
        return out, True
    plan = plan_of(constants, program, sources.shape[0], output)
    n_blocks = -(-n // BLOCK) + 1  # the last is the observed replicate's own
    width, n_lanes = n_blocks * BLOCK, -(-n_blocks // LANES) * LANES
    ends = np.empty((3, -(-n_blocks // BLOCK) * BLOCK))
    stride = width + _PAD
    code = compiled(
        Shape(
            plan.n_live,
            plan.n_terms,
            stride,
            n_lanes,
            ends.shape[1],
            plan.operations,
            plan.lists,
            plan.output,
        )
    )
    rows = plan.live(sources)
    live = _aligned(plan.n_live * stride).reshape(plan.n_live, stride)[:, :width]
    kept, row = _aligned(max(1, code.n_kept) * stride), _aligned(width)
    entries = np.array(code.entries, dtype=np.int64)
    at = (live.ctypes.data, kept.ctypes.data, plan.terms.ctypes.data, row.ctypes.data)
    _place(rows[:, 1:], rows[:, :1], live)
    by_payment = _summed(
        entries[-1, 0], *at, ends.ctypes.data, plan.n_terms, _sample(n_scenarios), row
    )
    _place(rows[:, 1 + np.argsort(by_payment[:n])], rows[:, :1], live)
    exact = _scenarios(
        entries, plan.which, plan.join, *at, plan.n_terms, row, ends,
        _ranges(live, len(plan.operations), n_lanes), n, ranks, _limit(n),
        read_only(plan.scenarios), out,
    )  # fmt: skip
    return out, exact


def _sample(n_scenarios: int) -> Any:
    count = min(n_scenarios, SAMPLED)
    return np.arange(count) * n_scenarios // count


def _place(replicates: Any, observed: Any, live: Any) -> None:
    """Replicates in order, the last one again up to its block's end; then the observed one."""
    n = replicates.shape[1]
    live[:, :n] = replicates
    live[:, n:-BLOCK] = replicates[:, -1:]
    live[:, -BLOCK:] = observed


def _ranges(live: Any, n_operations: int, n_lanes: int) -> Any:
    """Least and greatest of each live row's blocks; a block not all finite is all numbers."""
    n_live, n_blocks = len(live), live.shape[1] // BLOCK
    ranges = np.zeros((n_live + n_operations, 2, n_lanes))
    blocks = live.reshape(n_live, n_blocks, BLOCK)
    low, high = blocks.min(axis=2), blocks.max(axis=2)
    known = (low > -np.inf) & (high < np.inf)
    ranges[:n_live, 0, :n_blocks] = np.where(known, low, -np.inf)
    ranges[:n_live, 1, :n_blocks] = np.where(known, high, np.inf)
    return ranges


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _summed(
    entry: Any,
    live: Any,
    kept: Any,
    terms: Any,
    payments: Any,
    ends: Any,
    n_terms: Any,
    sample: Any,
    row: Any,
) -> Any:
    """Payments of each replicate, summed over a sample of scenarios; addresses in bytes."""
    total = np.zeros(row.shape[0])
    for s in sample:
        for at in range(0, 8 * row.shape[0], 8 * BLOCK):
            call(entry, live + at, kept + at, terms + 8 * n_terms * s, payments + at, ends)
        total += row
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _block_sums(
    row: Any, address: Any, first: Any, last: Any, rough: Any, size: Any, sums: Any, b: Any
) -> Any:
    """Sum, losses and gains of a block in integers; by how much each has grown.

    `rough` is the sum of a whole block, exact where `size`, its greatest size, is small.
    """
    added = np.int64(0)
    if last - first == BLOCK and size * BLOCK < EXACT:
        added = np.int64(rough)
    else:
        for j in range(first, last):
            added += np.int64(row[j])
    there = first_bits(last - first)
    losses, gains = ones(below(address, 0.0) & there), ones(there & ~reached(address, 0.0))
    grown = added - sums[0, b], losses - sums[1, b], gains - sums[2, b]
    sums[0, b], sums[1, b], sums[2, b] = added, losses, gains
    return grown


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scenarios(
    entries: Any,
    which: Any,
    join: Any,
    live: Any,
    kept: Any,
    terms: Any,
    payments: Any,
    n_terms: Any,
    row: Any,
    ends: Any,
    ranges: Any,
    n: Any,
    ranks: Any,
    limit: Any,
    place: Any,
    out: Any,
) -> Any:
    """Summaries of every scenario; False if a payment is too large to be exact.

    Scenario after scenario `row` holds its payments and `ends` each block's least, greatest and
    sum; `live`, `kept`, `terms` and `payments` (of `row`) are addresses in bytes.
    """
    n_lists, n_blocks = entries.shape[0], row.shape[0] // BLOCK
    lows, highs = ends[0], ends[1]
    bits = np.zeros(ranges.shape[2] // 8, dtype=np.uint8)
    latest = np.full(n_lists, -1)  # the last scenario that asked for a list
    done = np.full(n_blocks, -1)  # the last scenario that a block was done for
    sums = np.zeros((3, n_blocks), dtype=np.int64)
    total, losses, gains = np.int64(0), np.int64(0), np.int64(0)
    values, places = np.zeros(ranks.shape[0]), np.zeros(ranks.shape[0], dtype=np.int64)
    passed, few = np.ones(ranks.shape[0], dtype=np.bool_), np.empty(n + 1)
    for s in range(which.shape[0]):
        todo = n_lists - 1 if s == 0 else which[s]
        if s and entries[todo, 0] == 0:
            out[place[s]] = out[place[s - 1]]
            continue
        here = terms + 8 * n_terms * s
        before = here if s == 0 else here - 8 * n_terms
        if entries[todo, 1]:
            call(entries[todo, 1], ranges.ctypes.data, here, before, bits.ctypes.data, 0)
        latest[todo] = s
        for b in range(n_blocks):
            if s and not (bits[b // 8] >> np.uint8(b % 8)) & 1:
                continue
            todo = -1
            for k in range(n_lists):
                if latest[k] > done[b]:
                    todo = k if todo < 0 else join[todo, k]
            done[b] = s
            low_before, high_before = lows[b], highs[b]
            at = 8 * BLOCK * b
            call(
                entries[todo, 0], live + at, kept + at, here, payments + at,
                ends.ctypes.data + 8 * b,
            )  # fmt: skip
            low, high = lows[b], highs[b]
            size = max(-low, high)
            if not (size < limit and abs(ends[2, b]) < np.inf):
                return False
            if b == n_blocks - 1:
                continue
            first, last = b * BLOCK, min(n, (b + 1) * BLOCK)
            grown = _block_sums(row, payments + at, first, last, ends[2, b], size, sums, b)
            total, losses, gains = total + grown[0], losses + grown[1], gains + grown[2]
            for k in range(ranks.shape[0]):
                value = values[k]
                below = high_before < value and high < value
                above = low_before > value and low > value
                passed[k] |= not (below or above)
        for k in range(ranks.shape[0]):
            if passed[k]:
                values[k], places[k] = quantile(row, payments, n, ends, ranks[k], places[k], few)
                passed[k] = False
        target = out[place[s]]
        target[0] = np.int64(row[row.shape[0] - 1])
        target[1], target[2], target[3] = total, gains, losses
        for k in range(ranks.shape[0]):
            target[HEAD + k] = np.int64(values[k])
    return True


@cache
def _entry() -> Any:
    return cuda_module("settle/settle_summary").get_function("settle_summary")


def _gpu(sources: Any, constants: Any, program: Any, output: int, ranks: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    (n_sources, n_replicates), (n_scenarios, n_constants) = sources.shape, constants.shape
    out = cupy.empty((n_scenarios, HEAD + len(ranks)), dtype=np.int64)
    inexact = cupy.zeros(1, dtype=np.int32)
    if n_scenarios:
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        n_blocks = min(n_scenarios, 8 * properties["multiProcessorCount"])
        workspace = cupy.empty((max(1, len(program)), n_blocks * _GPU_THREADS))
        payments = cupy.empty((n_blocks, n_replicates), dtype=np.int64)
        _entry()(
            (n_blocks,),
            (_GPU_THREADS,),
            (
                sources, constants, cupy.asarray(program), cupy.asarray(ranks),
                np.int32(n_sources), np.int32(n_constants), np.int32(len(program)),
                np.int32(output), np.int32(len(ranks)), np.int64(n_scenarios),
                np.int64(n_replicates), np.float64(_limit(n_replicates - 1)), workspace, payments,
                out, inexact,
            ),
        )  # fmt: skip
    return out, not int(inexact[0])
