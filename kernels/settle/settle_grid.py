"""A register machine over replicates: the only arithmetic that settlement has.

A settlement is the same few operations for every partnership, replicate and scenario, in an order
that is data. So the program is data too: a table of operations over registers. The first registers
are sources (arrays over replicates), the next are constants (one value a scenario), and each
operation writes the next register after them. A register is written once, so what does not depend
on a constant that differs from the scenario before is not computed again.
"""

from __future__ import annotations

import operator
from enum import IntEnum
from functools import cache, lru_cache
from typing import Any, Final

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require

TILE: Final = 128
"""Replicates worked on at a time: a register is then 1 KiB, so that a program's stay in cache."""
EXACT: Final = 2.0**53
THREADS: Final = 128


class Op(IntEnum):
    """What an operation does with its operands a, b and c; one rounding each, never fused."""

    ADD = 0  # a + b
    SUBTRACT = 1  # a - b
    MULTIPLY = 2  # a * b
    DIVIDE = 3  # a / b, and 0 where b is 0
    MINIMUM = 4  # the lesser of a and b; a where they are equal
    MAXIMUM = 5  # the greater of a and b; a where they are equal
    LESS = 6  # 1 where a < b, else 0
    AT_MOST = 7  # 1 where a <= b, else 0
    EQUAL = 8  # 1 where a == b, else 0
    SELECT = 9  # b where a is not 0, else c
    ROUND = 10  # a to the nearest integer, half to even


WHOLE: Final = frozenset({Op.LESS, Op.AT_MOST, Op.EQUAL, Op.ROUND})
"""Operations whose results are integers."""
_TAKEN: Final = tuple({Op.SELECT: 3, Op.ROUND: 1}.get(op, 2) for op in Op)
_IS_TAKEN: Final = np.arange(3) < np.array(_TAKEN)[:, None]


def settle_grid(
    sources: Any, constants: Any, program: Any, outputs: Any, *, whole: bool = True
) -> Any:
    """Run a program over every scenario and replicate.

        register[s]                 = sources[s]                       s < n_sources
        register[n_sources + k]     = constants[scenario, k]           k < n_constants
        register[n_inputs + i]      = program[i, 0](register[program[i, 1:]])    in order of i

    Parameters
    ----------
    sources : float64[n_sources, n_replicates]
        Integers below 2**53 in size (totals, cents, member months) or terms that differ between
        columns; finite.
    constants : float64[n_scenarios, n_constants]
        Terms, each rounded once from Decimal; finite.
    program : int32[n_operations, 4]
        One row an operation: `Op`, then the registers of a, b and c. An operand that the operation
        does not take is 0. Operands are registers written before. On the host, whatever the device.
    outputs : int32[n_outputs]
        Registers wanted. On the host.
    whole : bool
        Whether the outputs are integers, as cents are: then each must be written by an operation
        with an integer result (`ROUND` or a comparison) and stay below 2**53.

    Returns
    -------
    int64 or float64[n_scenarios, n_outputs, n_replicates], on the device of `sources`
        int64 if `whole`.

    Raises
    ------
    KernelInputError
        If an array has another dtype, shape or layout, the arrays lie on different devices, an
        operation or operand is unknown, a source or constant is not finite or a source not below
        2**53, or a whole output is not an integer or not below 2**53.

    Exact on every device: IEEE double arithmetic, one operation a statement in the written order,
    no contraction, no reassociation, no sum over an axis. Division by zero gives 0, so nothing
    becomes NaN; a program marks empty cells with `EQUAL` and `SELECT`.
    Source: settlement articles as ordered steps, `ihp_compute.settlement`.
    """
    device = device_of(sources=sources, constants=constants)
    require("sources", sources, np.float64, (None, None))
    require("constants", constants, np.float64, (None, None))
    require("program", program, np.int32, (None, 4))
    require("outputs", outputs, np.int32, (None,))
    n_inputs = sources.shape[0] + constants.shape[1]
    check_program(program, outputs, n_inputs, whole=whole)
    check_values(sources, constants)
    form = _cpu if device == "cpu" else _gpu
    result = form(sources, constants, program, outputs)
    if not whole:
        return result
    if result.size and not bool((abs(result) < EXACT).all()):
        raise KernelInputError("outputs: a result is not below 2**53 and would not be exact")
    return result.astype(np.int64)


def check_values(sources: Any, constants: Any) -> None:
    """Refuse sources that are not finite or not below 2**53, and constants that are not finite."""
    if not _all_below(sources, EXACT):
        raise KernelInputError("sources: expected finite values below 2**53")
    if not _all_below(constants, np.inf):
        raise KernelInputError("constants: expected finite values")


def _all_below(array: Any, limit: float) -> bool:
    """Whether every value is a number below the limit in size; no array is made for it."""
    if isinstance(array, np.ndarray):
        return bool(_below(read_only(array), limit))
    return not array.size or (bool(array.max() < limit) and bool(array.min() > -limit))


@numba.njit(cache=True, nogil=True)
def _below(array: Any, limit: Any) -> Any:
    """A row at a time, so that the loop becomes vector code; NaN is below nothing."""
    for row in range(array.shape[0]):
        wrong = 0
        for i in range(array.shape[1]):
            wrong += 0 if abs(array[row, i]) < limit else 1
        if wrong:
            return False
    return True


def n_operands(op: int) -> int:
    """How many operands an operation takes."""
    return _TAKEN[op]


def check_program(program: Any, outputs: Any, n_inputs: int, *, whole: bool) -> None:
    """Refuse unknown operations, operands not written before, outputs that are no integers."""
    _check_program(program.tobytes(), outputs.tobytes(), n_inputs, whole)


@lru_cache(maxsize=256)
def _check_program(table: bytes, wanted: bytes, n_inputs: int, whole: bool) -> None:
    """Kept, because one program runs for many partnerships."""
    program = np.frombuffer(table, dtype=np.int32).reshape(-1, 4)
    outputs = np.frombuffer(wanted, dtype=np.int32)
    operations = program[:, 0]
    known = (operations >= 0) & (operations < len(_TAKEN))
    taken = _IS_TAKEN[np.where(known, operations, 0)]
    written = n_inputs + np.arange(len(program))[:, None]
    wrong = taken & ((program[:, 1:] < 0) | (program[:, 1:] >= written))
    for i in np.flatnonzero(~known | wrong.any(axis=1))[:1].tolist():
        if not known[i]:
            raise KernelInputError(
                f"program[{i}]: expected an operation of Op, got {operations[i]}"
            )
        raise KernelInputError(
            f"program[{i}]: expected operands among the {n_inputs + i} registers written before, "
            f"got {program[i, 1:][wrong[i]][0]}"
        )
    n_registers = n_inputs + len(program)
    for position, register in enumerate(outputs.tolist()):
        if not 0 <= register < n_registers:
            raise KernelInputError(
                f"outputs[{position}]: expected a register below {n_registers}, got {register}"
            )
        if whole and (register < n_inputs or program[register - n_inputs, 0] not in WHOLE):
            raise KernelInputError(
                f"outputs[{position}]: expected the result of a rounding or a comparison"
            )


def reference(
    sources: Any, constants: Any, program: Any, outputs: Any, *, whole: bool = True
) -> Any:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    n_replicates = sources.shape[1]
    result = np.empty((len(constants), len(outputs), n_replicates))
    meaning: dict[Op, Any] = {
        Op.ADD: operator.add,
        Op.SUBTRACT: operator.sub,
        Op.MULTIPLY: operator.mul,
        Op.DIVIDE: lambda a, b: a / b if b != 0 else 0.0,
        Op.MINIMUM: min,
        Op.MAXIMUM: max,
        Op.LESS: operator.lt,
        Op.AT_MOST: operator.le,
        Op.EQUAL: operator.eq,
        Op.SELECT: lambda a, b, c: b if a != 0 else c,
        Op.ROUND: round,
    }
    for scenario, row in enumerate(constants.tolist()):
        for replicate in range(n_replicates):
            registers = [*sources[:, replicate].tolist(), *row]
            for op, *operands in program.tolist():
                taken = operands[: _TAKEN[op]]
                registers.append(float(meaning[Op(op)](*(registers[k] for k in taken))))
            for position, register in enumerate(outputs.tolist()):
                result[scenario, position, replicate] = registers[register]
    return result.astype(np.int64) if whole else result


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _cpu_tiles(sources: Any, constants: Any, program: Any, outputs: Any, result: Any) -> None:
    """A tile of replicates at a time, every operation a loop of fixed length over the tile.

    An operation is done again where an operand is another than it was last, in the scenario or in
    the tile before: what follows from constants alone is done once if they do not move. For an
    operand that is not taken stands a. Operands are loaded before they are chosen from, so that
    each loop becomes vector code. What lies beyond the last replicate is computed and not written.
    A register is written before it is read, so that only those of sources need begin as numbers.
    """
    n_sources, n_replicates = sources.shape
    n_scenarios, n_constants = constants.shape
    n_inputs = n_sources + n_constants
    n_operations = program.shape[0]
    registers = np.empty((max(1, n_inputs + n_operations), TILE))
    registers[:n_sources] = 0.0
    moved = np.zeros(max(1, n_inputs + n_operations), dtype=np.bool_)
    reads = program[:, 1:].copy()
    for i in range(n_operations):
        for k in range(_TAKEN[program[i, 0]], 3):
            reads[i, k] = reads[i, 0]
    for start in range(0, n_replicates, TILE):
        n = min(TILE, n_replicates - start)
        for s in range(n_sources):
            for j in range(n):
                registers[s, j] = sources[s, start + j]
        for scenario in range(n_scenarios):
            first = start == 0 and scenario == 0
            moved[:n_sources] = scenario == 0
            for k in range(n_constants):
                stood = registers[n_sources + k, 0]
                moved[n_sources + k] = first or constants[scenario, k] != stood
                if moved[n_sources + k]:
                    for j in range(TILE):
                        registers[n_sources + k, j] = constants[scenario, k]
            for i in range(n_operations):
                again = moved[reads[i, 0]] or moved[reads[i, 1]] or moved[reads[i, 2]]
                moved[n_inputs + i] = again
                if not (first or again):
                    continue
                op = program[i, 0]
                out = registers[n_inputs + i]
                a = registers[reads[i, 0]]
                b = registers[reads[i, 1]]
                c = registers[reads[i, 2]]
                if op == 0:
                    for j in range(TILE):
                        out[j] = a[j] + b[j]
                elif op == 1:
                    for j in range(TILE):
                        out[j] = a[j] - b[j]
                elif op == 2:
                    for j in range(TILE):
                        out[j] = a[j] * b[j]
                elif op == 3:
                    for j in range(TILE):
                        divisor = b[j]
                        quotient = a[j] / divisor
                        out[j] = quotient if divisor != 0.0 else 0.0
                elif op == 4:
                    for j in range(TILE):
                        x, y = a[j], b[j]
                        out[j] = y if y < x else x  # noqa: FURB136 - as the CUDA twin has it
                elif op == 5:
                    for j in range(TILE):
                        x, y = a[j], b[j]
                        out[j] = y if y > x else x  # noqa: FURB136
                elif op == 6:
                    for j in range(TILE):
                        out[j] = 1.0 if a[j] < b[j] else 0.0
                elif op == 7:
                    for j in range(TILE):
                        out[j] = 1.0 if a[j] <= b[j] else 0.0
                elif op == 8:
                    for j in range(TILE):
                        out[j] = 1.0 if a[j] == b[j] else 0.0
                elif op == 9:
                    for j in range(TILE):
                        then, otherwise = b[j], c[j]
                        out[j] = then if a[j] != 0.0 else otherwise
                else:
                    for j in range(TILE):
                        out[j] = np.rint(a[j])
            for position in range(outputs.size):
                for j in range(n):
                    result[scenario, position, start + j] = registers[outputs[position], j]


def _cpu(sources: Any, constants: Any, program: Any, outputs: Any) -> Any:
    result = np.empty((constants.shape[0], len(outputs), sources.shape[1]))
    views = [read_only(array) for array in (sources, constants, program, outputs)]
    _cpu_tiles(views[0], views[1], views[2], views[3], result)
    return result


@cache
def _gpu_kernel() -> Any:
    return cuda_module("settle/settle_grid").get_function("settle_grid")


def _gpu(sources: Any, constants: Any, program: Any, outputs: Any) -> Any:
    """One thread a replicate and scenario, each operation done for each."""
    import cupy  # noqa: PLC0415

    n_scenarios, n_constants = constants.shape
    n_sources, n_replicates = sources.shape
    result = cupy.empty((n_scenarios, len(outputs), n_replicates))
    n_rows = n_scenarios * n_replicates
    if n_rows == 0 or len(outputs) == 0:
        return result
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    n_threads = min(-(-n_rows // THREADS), 8 * properties["multiProcessorCount"]) * THREADS
    workspace = cupy.empty((max(1, len(program)), n_threads))
    _gpu_kernel()(
        (n_threads // THREADS,),
        (THREADS,),
        (
            sources, constants, cupy.asarray(program), cupy.asarray(outputs),
            np.int32(n_sources), np.int32(n_constants), np.int32(len(program)),
            np.int32(len(outputs)), np.int64(n_scenarios), np.int64(n_replicates),
            workspace, result,
        ),
    )  # fmt: skip
    return result
