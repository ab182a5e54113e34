"""Checks and measures the kernels on a CUDA GPU: `python -m benchmarks.gpu`.

    twins equal on the GPU (tests marked `gpu`) -> benchmarks, inputs resident -> dated JSON

Runs from a checkout with numpy, numba, cupy, pyarrow, pytest, pytest-benchmark and hypothesis; the
project need not be installed. Every benchmark's result is compared, `==`, with the CPU form's over
a part of the replicates or rows before it is timed. Times are of GPU events around the whole call:
checks, ordering by group and launches included, transfers not; those of shards from host memory
are wall times, transfers included.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from kernels.draws.philox import weights

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results")


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    import cupy  # noqa: PLC0415

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "gpu": properties["name"].decode(),
        "gpu_memory_bytes": int(properties["totalGlobalMem"]),
        "multiprocessors": int(properties["multiProcessorCount"]),
        "clock_khz": int(properties.get("clockRate", 0)),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "cuda_driver": int(cupy.cuda.runtime.driverGetVersion()),
        "cuda_runtime": int(cupy.cuda.runtime.runtimeGetVersion()),
        "cupy": cupy.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
    }


def commit() -> str | None:
    """Commit of the checkout, marked where it has changes; None where git cannot say."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def check_twins() -> dict[str, Any]:
    """Run the tests marked `gpu`; their output goes to the terminal."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/kernels", "-m", "gpu"], cwd=ROOT, check=False
    )
    return {"equal": done.returncode == 0, "seconds": time.perf_counter() - started}


def timed(call: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Seconds of each round between two events, after one unmeasured round."""
    import cupy  # noqa: PLC0415

    call()
    pool = cupy.get_default_memory_pool()
    seconds = []
    for _ in range(rounds):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(cupy.cuda.get_elapsed_time(start, end) / 1000)
    return {
        "median_seconds": statistics.median(seconds),
        "seconds": seconds,
        "pool_bytes": int(pool.total_bytes()),
    }


def replicate_totals_case(
    n_members: int, n_columns: int, n_replicates: int, rounds: int
) -> dict[str, Any]:
    """Totals of 25 groups; the first 24 replicates must equal the CPU's."""
    rng = np.random.default_rng(5)
    columns = rng.integers(-1000, 5_000_000, (n_columns, n_members))
    group = rng.integers(-1, 25, n_members).astype(np.int32)
    member_key = rng.integers(0, 2**64, n_members, dtype=np.uint64)
    arrays = columns, group, member_key
    resident = [kernels.to_device(array) for array in arrays]
    scalars = {"n_groups": 25, "seed": 1}
    some = kernels.replicate_totals(*arrays, n_replicates=24, **scalars)
    call = lambda: kernels.replicate_totals(*resident, n_replicates=n_replicates, **scalars)  # noqa: E731
    assert np.array_equal(kernels.to_host(call())[:, :24], some[:, :n_replicates])
    return {
        "kernel": "replicate_totals",
        "n_members": n_members,
        "n_columns": n_columns,
        "n_replicates": n_replicates,
        **timed(call, rounds),
    }


def overlap_case(n_shards: int, n_members: int, n_replicates: int, rounds: int) -> dict[str, Any]:
    """Shards from and to host memory: by one thread, and by two with a stream each. Wall time."""
    rng = np.random.default_rng(8)
    shards = [
        (
            rng.integers(0, 5_000_000, (8, n_members)),
            rng.integers(0, 25, n_members).astype(np.int32),
            rng.integers(0, 2**64, n_members, dtype=np.uint64),
        )
        for _ in range(n_shards)
    ]

    def part(shard: tuple[Any, ...]) -> Any:
        with kernels.own_stream("gpu"):
            resident = [kernels.to_device(array) for array in shard]
            scalars = {"n_groups": 25, "n_replicates": n_replicates, "seed": 3}
            return kernels.to_host(kernels.replicate_totals(*resident, **scalars))

    some = kernels.replicate_totals(*shards[0], n_groups=25, n_replicates=24, seed=3)
    assert np.array_equal(part(shards[0])[:, :24], some[:, :n_replicates])
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads, measured in seconds.items():
            started = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, shards))
            measured.append(time.perf_counter() - started)
    return {
        "kernel": "replicate_totals, transfers overlapped",
        "n_shards": n_shards,
        "n_members": n_members,
        "n_columns": 8,
        "n_replicates": n_replicates,
        "median_seconds": statistics.median(seconds[2]),
        "median_seconds_one_thread": statistics.median(seconds[1]),
        "seconds": seconds[2],
    }


def weights_case(n_members: int, n_replicates: int, rounds: int) -> dict[str, Any]:
    """Weights written to memory: the limit that a kernel which stores them would meet."""
    member_key = np.random.default_rng(6).integers(0, 2**64, n_members, dtype=np.uint64)
    resident = kernels.to_device(member_key)
    call = lambda: weights(resident, n_replicates=n_replicates, seed=2)  # noqa: E731
    some = weights(member_key[:1000], n_replicates=n_replicates, seed=2)
    assert np.array_equal(kernels.to_host(call()[:, :1000]), some)
    return {
        "kernel": "philox.weights",
        "n_members": n_members,
        "n_replicates": n_replicates,
        **timed(call, rounds),
    }


def quantiles_case(n_rows: int, n_values: int, rounds: int) -> dict[str, Any]:
    """Three quantiles of each row, half of the values tied at zero."""
    rng = np.random.default_rng(7)
    values = np.maximum(rng.normal(0, 1e8, (n_rows, n_values)), 0).astype(np.int64)
    resident = kernels.to_device(values)
    p_micro = (50_000, 500_000, 950_000)
    call = lambda: kernels.quantiles(resident, p_micro)  # noqa: E731
    assert np.array_equal(kernels.to_host(call()), kernels.quantiles(values, p_micro))
    return {"kernel": "quantiles", "n_rows": n_rows, "n_values": n_values, **timed(call, rounds)}


def main(arguments: list[str] | None = None) -> int:
    """Check, measure, write; 1 if a twin differs, 5 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    if kernels.device() != "gpu":
        print("CuPy finds no CUDA GPU; run this on a machine that has one", file=sys.stderr)
        return 5
    result: dict[str, Any] = {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "twins": check_twins(),
        "benchmarks": [],
    }
    if result["twins"]["equal"]:
        cases = [
            replicate_totals_case(20_000, 4, 2_000, options.rounds),
            replicate_totals_case(505_000, 4, 10_000, options.rounds),
            replicate_totals_case(505_000, 8, 10_000, options.rounds),
            overlap_case(16, 32_000, 2_000, options.rounds),
            weights_case(100_000, 10_000, options.rounds),
            quantiles_case(25_000, 2_000, options.rounds),
        ]
        for case in cases:
            sizes = ", ".join(f"{k} {v:,}" for k, v in case.items() if k.startswith("n_"))
            print(f"{case['kernel']} ({sizes}): {1000 * case['median_seconds']:.2f} ms")
        result["benchmarks"] = cases
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"gpu-{result['at'][:19].replace(':', '')}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {path}")
    return 0 if result["twins"]["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
