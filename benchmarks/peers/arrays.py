"""Quantiles and settlement programs in NumPy, vectorised as far as NumPy goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.settle.settle_grid import Op, n_operands


def quantiles_partition(values: NDArray[np.int64], ranks: Sequence[int]) -> NDArray[np.int64]:
    """The values of those ranks (from 0) of every row, by `np.partition`."""
    return np.partition(values, sorted(ranks), axis=1)[:, list(ranks)]


def quantiles_numpy(values: NDArray[np.int64], p_micro: Sequence[int]) -> NDArray[np.int64]:
    """`np.quantile` by the inverse of the distribution function: a selection, as ours."""
    chances = [p / 1_000_000 for p in p_micro]
    found = np.quantile(values, chances, axis=1, method="inverted_cdf")
    return np.ascontiguousarray(found.T)


_MEANING: dict[Op, Any] = {
    Op.ADD: np.add,
    Op.SUBTRACT: np.subtract,
    Op.MULTIPLY: np.multiply,
    Op.DIVIDE: lambda a, b: np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0),
    Op.MINIMUM: np.minimum,
    Op.MAXIMUM: np.maximum,
    Op.LESS: np.less,
    Op.AT_MOST: np.less_equal,
    Op.EQUAL: np.equal,
    Op.SELECT: lambda a, b, c: np.where(a != 0, b, c),
    Op.ROUND: np.rint,
}


def settle_numpy(
    sources: NDArray[np.float64],
    constants: NDArray[np.float64],
    program: NDArray[np.int32],
    outputs: NDArray[np.int32],
    *,
    whole: bool = True,
    chunk: int = 8,
) -> NDArray[Any]:
    """The program over [scenario, replicate] arrays.

    What no scenario changes is computed once over replicates; a term that all scenarios share is a
    scalar. `chunk` scenarios at a time, so that the arrays stay in the cache.
    """
    n_scenarios, n_replicates = len(constants), sources.shape[1]
    result = np.empty((n_scenarios, len(outputs), n_replicates))
    steps = [(Op(op), rest[: n_operands(op)]) for op, *rest in program.tolist()]
    fixed: dict[int, Any] = dict(enumerate(sources))
    moved = (constants != constants[:1]).any(axis=0)
    for k in np.flatnonzero(~moved):
        fixed[len(sources) + int(k)] = constants[0, k]
    first = len(sources) + constants.shape[1]
    for i, (op, operands) in enumerate(steps):
        if all(operand in fixed for operand in operands):
            fixed[first + i] = _MEANING[op](*(fixed[operand] for operand in operands))
    for start in range(0, n_scenarios, chunk):
        part = constants[start : start + chunk]
        registers = dict(fixed)
        for k in np.flatnonzero(moved):
            registers[len(sources) + int(k)] = part[:, k, None]
        for i, (op, operands) in enumerate(steps):
            if first + i not in registers:
                registers[first + i] = _MEANING[op](*(registers[o] for o in operands))
        for position, register in enumerate(outputs.tolist()):
            result[start : start + chunk, position] = registers[register]
    return result.astype(np.int64) if whole else result
