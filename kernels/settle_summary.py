"""What a program's payments amount to in each scenario, without keeping the payments.

    program -> what no scenario moves: once, over all replicates
            -> what only terms make up: once a scenario
            -> the rest: tiles of replicates × blocks of scenarios -> rows of payments -> summaries

The meaning is that of `settle_grid` followed by exact sums, counts and `quantiles`; only what is
known already is not done again. Scenarios are taken in an order in which terms that enter last vary
fastest, and an operation is repeated only when a term below it has changed. Replicates are put in
an order in which payments rise in a sample of scenarios, so that in any scenario a quantile lies
near its rank: two values from around there bracket it, counting proves that they do, and only the
few values between them are looked at. Where the proof fails the bracket is widened, in the end to
all replicates.

Not here: which scenarios there are and what moves in them (the caller).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels._fused import BOUNDED, TILE, Shape, bounds, call, compiled
from kernels.quantiles import ranks_of
from kernels.quantiles import reference as selected
from kernels.settle_grid import EXACT, check_program, check_values, n_operands
from kernels.settle_grid import _cpu as grid_cpu
from kernels.settle_grid import reference as settled

VECTOR_BYTES: Final = 64
BLOCK_BYTES: Final = 1 << 19
"""Payments held at a time: those of a block of scenarios, in a cache."""
SAMPLED: Final = 16
"""Scenarios whose payments put the replicates in order."""
HEAD: Final = 4
"""Columns before the quantiles: observed, sum, gains, losses."""
_LEAST_WIDTH: Final = 8
_FEW: Final = 20
_GPU_THREADS: Final = 128
_BITS: Final = 62
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


# --- what is known before any replicate is touched ------------------------------------------------


class _Layout:
    """A program cut into what never moves, what only terms make up, and the rest, in rows.

    Rows of a tile: `live` (not moved by any scenario), then one for each column of `columns`
    (moved, without replicates), then one for each of `operations` (moved, by replicate).
    """

    def __init__(self, sources: Any, constants: Any, program: Any, output: int) -> None:
        n_sources, n_constants = sources.shape[0], constants.shape[1]
        n_inputs = n_sources + n_constants
        rows = program.tolist()
        taken = [row[1 : 1 + n_operands(row[0])] for row in rows]
        moved = [False] * n_sources
        moved += (constants != constants[:1]).any(axis=0).tolist() if len(constants) else []
        moved += [False] * (n_inputs - len(moved))
        spread = [True] * n_sources + [False] * n_constants  # over replicates
        for operands in taken:
            moved.append(any(moved[k] for k in operands))
            spread.append(any(spread[k] for k in operands))
        needed = _needed(taken, n_inputs, output)
        once = [k for k in needed if k >= n_inputs and not moved[k]]
        by_terms = [k for k in needed if k >= n_inputs and not spread[k]]
        by_replicate = [k for k in needed if k >= n_inputs and moved[k] and spread[k]]
        read = {k for i in by_replicate for k in taken[i - n_inputs]} | {output}
        live = sorted(k for k in read if not moved[k])
        terms = sorted(k for k in read if moved[k] and not spread[k])
        self.live = _rows_of(sources, constants[:1], rows, once, live, n_inputs)
        self.columns = np.ascontiguousarray(
            _rows_of(
                np.ascontiguousarray(constants.T), np.empty((1, 0)),
                _shifted(rows, n_sources), [k - n_sources for k in by_terms],
                [k - n_sources for k in terms], n_constants,
            )
        )  # fmt: skip
        place = {k: i for i, k in enumerate((*live, *terms, *by_replicate))}
        self.operations = tuple(
            (
                rows[k - n_inputs][0],
                place[k],
                tuple(place[operand] for operand in taken[k - n_inputs]),
            )
            for k in by_replicate
        )
        self.output = place[output]
        below: dict[int, int] = {k: 1 << min(i, _BITS) for i, k in enumerate(terms)}
        for k in by_replicate:
            below[k] = 0
            for operand in taken[k - n_inputs]:
                below[k] |= below.get(operand, 0)
        self.below = [below[k] for k in by_replicate]


def _needed(taken: Sequence[Sequence[int]], n_inputs: int, output: int) -> list[int]:
    """Registers that the output rests on, in order."""
    needed, waiting = set(), [output]
    while waiting:
        k = waiting.pop()
        if k not in needed:
            needed.add(k)
            if k >= n_inputs:
                waiting.extend(taken[k - n_inputs])
    return sorted(needed)


def _shifted(rows: Sequence[Sequence[int]], n: int) -> list[list[int]]:
    """The rows where the constants are the only sources."""
    return [[row[0], *(max(0, k - n) for k in row[1:])] for row in rows]


def _rows_of(
    sources: Any,
    constants: Any,
    rows: Sequence[Sequence[int]],
    operations: Sequence[int],
    wanted: Sequence[int],
    n_inputs: int,
) -> Any:
    """Values of registers that rest on these operations alone: float64[n_wanted, n]."""
    place = {k: k for k in range(n_inputs)} | {k: n_inputs + i for i, k in enumerate(operations)}
    table = [
        [rows[k - n_inputs][0], *(place.get(r, 0) for r in rows[k - n_inputs][1:])]
        for k in operations
    ]
    return grid_cpu(
        sources, constants,
        np.array(table, dtype=np.int32).reshape(len(table), 4),
        np.array([place[k] for k in wanted], dtype=np.int32),
        np.zeros(len(table), dtype=bool),
    )[0]  # fmt: skip


class _Order:
    """The order of scenarios, and what each has to do again after the one before it."""

    def __init__(self, layout: _Layout, n_scenarios: int) -> None:
        columns, below = layout.columns, np.array(layout.below, dtype=np.uint64)
        self.scenarios = np.arange(n_scenarios)
        self.columns = columns
        masks = _masks(columns)
        weight = [
            int(np.count_nonzero(below & np.uint64(1 << min(i, _BITS))))
            for i in range(len(columns))
        ]
        if len(columns) and n_scenarios > 2:
            done = self._work(masks, below)
            least = min(weight)
            if done > 1.2 * least + 0.5:
                by = sorted(range(len(columns)), key=lambda i: weight[i])
                order = np.lexsort([columns[i] for i in by])
                moved = np.ascontiguousarray(columns[:, order])
                found = _masks(moved)
                if self._work(found, below) < done:
                    self.scenarios, self.columns, masks = order, moved, found
        distinct, self.which = np.unique(masks, return_inverse=True)
        self.lists = tuple(
            tuple(i for i, b in enumerate(layout.below) if b & mask)
            for mask in (*distinct.tolist(), (1 << 63) - 1)
        )

    @staticmethod
    def _work(masks: Any, below: Any) -> float:
        distinct, counts = np.unique(masks, return_counts=True)
        each = [np.count_nonzero(below & mask) for mask in distinct]
        return float(np.dot(each, counts)) / max(1, len(masks))


def _masks(columns: Any) -> Any:
    """Bit i: column i differs from the scenario before; the first scenario has all of them."""
    n = columns.shape[1]
    masks = np.zeros(n, dtype=np.uint64)
    for i, column in enumerate(columns):
        masks[1:] |= (column[1:] != column[:-1]).astype(np.uint64) << np.uint64(min(i, _BITS))
    masks[:1] = (1 << 63) - 1
    return masks


# --- the work -------------------------------------------------------------------------------------


def _limit(n_replicates: int) -> float:
    """Payments below it are exact, and so is their sum."""
    return min(EXACT, 2.0**63 / n_replicates)


def _aligned(n: int) -> Any:
    """float64[n], zero, from the start of a vector on."""
    raw = np.zeros(n + VECTOR_BYTES // 8)
    skip = -raw.ctypes.data % VECTOR_BYTES // 8
    return raw[skip : skip + n]


def _cpu(sources: Any, constants: Any, program: Any, output: int, ranks: Any) -> Any:
    n_scenarios, n = len(constants), sources.shape[1]
    out = np.empty((n_scenarios, HEAD + len(ranks)), dtype=np.int64)
    if not n_scenarios:
        return out, True
    layout = _Layout(sources, constants, program, output)
    order = _Order(layout, n_scenarios)
    width = -(-n // TILE) * TILE
    n_live, n_terms = len(layout.live), len(layout.columns)
    stride = width + _PAD
    shape = Shape(n_live, n_terms, stride, layout.operations, order.lists, layout.output)
    code = compiled(shape)
    # the observed replicate stands last; between, the last replicate again
    live = _aligned(n_live * stride).reshape(n_live, stride)
    live[:, : n - 1] = layout.live[:, 1:]
    live[:, n - 1 : width - 1] = layout.live[:, -1:]
    live[:, width - 1] = layout.live[:, 0]
    terms, kept = np.ascontiguousarray(order.columns.T), _aligned(code.n_kept * TILE)
    sample = np.unique(np.linspace(0, n_scenarios - 1, SAMPLED).astype(np.int64))
    block = max(len(sample), min(n_scenarios, BLOCK_BYTES // (8 * width)))
    flat = _aligned(block * width)
    payments = flat.reshape(block, width)
    entries, which = np.array(code.entries, dtype=np.int64), read_only(order.which)

    def fill(scenarios: Any) -> None:
        _block(
            read_only(entries), which, read_only(scenarios), live.ctypes.data, kept.ctypes.data,
            terms.ctypes.data, n_terms, flat.ctypes.data, width, flat,
        )  # fmt: skip

    fill(sample)
    by_payment = np.argsort(payments[: len(sample), : n - 1].sum(axis=0), kind="stable")
    live[:, : n - 1] = live[:, by_payment]
    live[:, n - 1 : width] = np.where(
        np.arange(n - 1, width) < width - 1, live[:, n - 2 : n - 1], live[:, width - 1 : width]
    )
    widths = np.full(len(ranks), _LEAST_WIDTH, dtype=np.int64)
    few, ends = np.empty(n + 1), np.empty((2, n // BOUNDED + 1))
    exact = True
    for start in range(0, n_scenarios, block):
        scenarios = np.arange(start, min(start + block, n_scenarios))
        fill(scenarios)
        exact &= _summaries(
            payments, flat.ctypes.data, len(scenarios), n - 1, ranks, _limit(n - 1), widths, few,
            ends, read_only(order.scenarios[scenarios]), out,
        )  # fmt: skip
    return out, exact


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _block(entries, which, scenarios, live, kept, terms, n_terms, payments, width, flat):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Payments of a block of scenarios, consecutive or not, a row each; addresses in bytes.

    `flat` is the array at `payments`.
    """
    everything = entries.shape[0] - 1
    for start in range(0, width, TILE):
        before = -2
        for s in range(scenarios.shape[0]):
            scenario = scenarios[s]
            todo = which[scenario] if scenario == before + 1 else everything
            before = scenario
            at = s * width + start
            if entries[todo]:
                call(
                    entries[todo], live + 8 * start, kept, terms + 8 * n_terms * scenario,
                    payments + 8 * at,
                )  # fmt: skip
            else:
                to = np.uint64(at)
                for j in range(np.uint64(TILE)):
                    flat[to + j] = flat[to + j - np.uint64(width)]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum(row, n, limit):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Sum of the first n in integers, and how many are too large to be exact."""
    total, small = np.int64(0), np.int64(0)
    for j in range(n):
        x = row[j]
        fits = abs(x) < limit
        total += np.int64(x) if fits else np.int64(0)
        small += np.int64(fits)
    return total, n - small


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _between(row, first, last, low, high):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """How many of row[first:last] are below `low`, and how many at most `high`."""
    below, reached = np.int64(0), np.int64(0)
    for j in range(first, last):
        x = row[j]
        below += np.int64(x < low)
        reached += np.int64(x <= high)
    return below, reached


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _counts(row, n, lows, highs, low, high, rank):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The same of the first n, looking into blocks only where their ends do not tell.

    Such blocks are sought from the rank outwards.
    """
    n_blocks = n // BOUNDED
    below, reached = _between(row, n_blocks * BOUNDED, n, low, high)
    under, some, upto, any_ = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for i in range(n_blocks):
        under += np.int64(highs[i] < low)
        some += np.int64(lows[i] < low)
        upto += np.int64(highs[i] <= high)
        any_ += np.int64(lows[i] <= high)
    below += BOUNDED * under
    reached += BOUNDED * upto
    cut = some - under + any_ - upto
    right, left = rank // BOUNDED, rank // BOUNDED - 1
    while cut > 0 and (right < n_blocks or left >= 0):
        for i in (right, left):
            if 0 <= i < n_blocks:
                cuts_low = lows[i] < low <= highs[i]
                cuts_high = lows[i] <= high < highs[i]
                if cuts_low or cuts_high:
                    more, most = _between(row, i * BOUNDED, (i + 1) * BOUNDED, low, high)
                    if cuts_low:
                        below += more
                        cut -= 1
                    if cuts_high:
                        reached += most
                        cut -= 1
        right += 1
        left -= 1
    return below, reached


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan"})
def _size(lows, highs, n):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Greatest size among the ends of n blocks; a row that is not all numbers has no finite sum."""
    size = 0.0
    for i in range(n):
        size = max(size, -lows[i])
        size = max(size, highs[i])
    return size


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan"})
def _ends(row, first, last):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Least and greatest of row[first:last]."""
    low, high = row[first], row[first]
    for j in range(first, last):
        low = min(low, row[j])
        high = max(high, row[j])
    return low, high


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _smallest(few, n, rank):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The value at a rank counted from 0 among the first n, which are moved about."""
    first, last = np.int64(0), n - 1
    while last - first > 24:
        a, b, c = few[first], few[(first + last) // 2], few[last]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = first, last
        while i <= j:
            while few[i] < pivot:
                i += 1
            while few[j] > pivot:
                j -= 1
            if i <= j:
                few[i], few[j] = few[j], few[i]
                i += 1
                j -= 1
        if rank <= j:
            last = j
        elif rank >= i:
            first = i
        else:
            return few[rank]
    for k in range(first + 1, last + 1):
        value = few[k]
        j = k - 1
        while j >= first and few[j] > value:
            few[j + 1] = few[j]
            j -= 1
        few[j + 1] = value
    return few[rank]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sorted_part(row, first, last, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """row[first:last] in order, at the start of `few`."""
    few[0] = row[first]
    for i in range(1, last - first):
        value = row[first + i]
        j = i - 1
        while j >= 0 and few[j] > value:
            few[j + 1] = few[j]
            j -= 1
        few[j + 1] = value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _take(row, first, last, low, high, few, m):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Put those of row[first:last] from `low` to `high` behind the first m; how many there are."""
    for j in range(first, last):
        x = row[j]
        few[m] = x
        m += np.int64((x >= low) & (x <= high))
    return m


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _quantile(row, n, lows, highs, rank, width, few):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The value at a rank counted from 1 among the first n, and the width that bracketed it."""
    while True:
        first, last = max(0, rank - 1 - width), min(n, rank + width)
        low, high = _ends(row, first, last)
        below, reached = _counts(row, n, lows, highs, low, high, rank)
        if below < rank <= reached:
            break
        width *= 4
    if low == high:
        return low, width
    if reached - below > _FEW:  # halve by the values that stand there; all are whole numbers
        _sorted_part(row, first, last, few)
        bottom, top = 0, last - first - 1
        while top - bottom > 1 and reached - below > _FEW:
            middle = (bottom + top) // 2
            tried = few[middle]
            under, upto = _counts(row, n, lows, highs, tried, tried, rank)
            if under < rank <= upto:
                return tried, width
            if rank <= under:
                high, reached, top = tried - 1.0, under, middle
            else:
                low, below, bottom = tried + 1.0, upto, middle
        if low == high:
            return low, width
    wanted = reached - below
    first, last = max(0, rank - 1 - 2 * width), min(n, rank + 2 * width)
    m = _take(row, first, last, low, high, few, 0)
    if m < wanted:
        n_blocks = n // BOUNDED
        m = _take(row, n_blocks * BOUNDED, n, low, high, few, 0)
        for i in range(n_blocks):
            if highs[i] >= low and lows[i] <= high:
                under, upto = _between(row, i * BOUNDED, (i + 1) * BOUNDED, low, high)
                if upto > under:
                    m = _take(row, i * BOUNDED, (i + 1) * BOUNDED, low, high, few, m)
    return _smallest(few, m, rank - 1 - below), width


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _summaries(payments, at, n_scenarios, n, ranks, limit, widths, few, ends, place, out):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Summaries of a block's rows; False if a payment is too large to be exact.

    `at` is the address of `payments`; `widths`, `few` and `ends` are scratch.
    """
    exact = True
    n_blocks, losses = n // BOUNDED, np.int64(0)
    lows, highs = ends[0], ends[1]
    for s in range(n_scenarios):
        row = payments[s]
        target = out[place[s]]
        observed = row[row.shape[0] - 1]
        rough, size = 0.0, abs(observed)
        if n_blocks:
            address = at + 8 * s * row.shape[0]
            rough = bounds(address, n_blocks, ends.ctypes.data, ends.ctypes.data + ends.strides[0])
            size = max(size, _size(lows, highs, n_blocks))
        if n_blocks and abs(rough) < EXACT and size * n < EXACT:
            rest, large = _sum(row[n_blocks * BOUNDED : n], n - n_blocks * BOUNDED, limit)
            total = np.int64(rough) + rest
        else:
            total, large = _sum(row, n, limit)
        if large or not abs(observed) < limit:
            exact = False
            continue
        losses, not_gains = _counts(row, n, lows, highs, 0.0, 0.0, losses)
        target[0] = np.int64(observed)
        target[1] = total
        target[2] = n - not_gains
        target[3] = losses
        for k in range(ranks.shape[0]):
            value, width = _quantile(row, n, lows, highs, ranks[k], widths[k], few)
            target[4 + k] = np.int64(value)
            if width > widths[k]:
                widths[k] = min(width, np.int64(256))
            elif widths[k] > _LEAST_WIDTH and s % 8 == 0:
                widths[k] -= max(np.int64(1), widths[k] // 8)
    return exact


@cache
def _entry() -> Any:
    return cuda_module("settle_summary").get_function("settle_summary")


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
