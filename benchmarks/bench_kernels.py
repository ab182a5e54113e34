"""Every kernel on one core, beside its peers and the machine's limits.

Claim kernels run on what a run hands them: one shard of a synthetic state, recorded on its way in.
The bootstrap and quantile kernels run on arrays of the sizes that published figures name.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import kernels
from benchmarks import limits
from benchmarks.data import state
from benchmarks.peers import arrays, bootstrap, claims
from benchmarks.race import QUICK, WITH_PEERS, Work, race
from ihp_compute.errors import DataError
from ihp_compute.measure.attribution import attribute
from ihp_compute.measure.plan import Plan, make_plan
from ihp_compute.measure.request import RunRequest
from ihp_compute.pipeline import measure, surveyed, with_programme
from ihp_compute.risk.providers import provider
from ihp_compute.runner import LocalRunner
from ihp_compute.settlement.settle import settle
from kernels.draws.philox import key_schedule
from kernels.draws.quantiles import ranks_of

MEMBERS: Final = int(os.environ.get("IHP_BENCH_STATE", "8000" if QUICK else "50000"))
BOOTSTRAP: Final = (2_000, 256) if QUICK else (20_000, 2_000)
"""Members and replicates of the bootstrap benchmarks."""
CONTRACT: Final = "mn-ihp-2.0-track-2"
P_MICRO: Final = (50_000, 500_000, 950_000)


# --- inputs --------------------------------------------------------------------------------------


class Recorder:
    """Stands in for a kernel, passes the call on and keeps its arguments by name."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        self.kernel = kernel
        self.calls: list[dict[str, Any]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Pass the call on."""
        bound = inspect.signature(self.kernel).bind(*args, **kwargs)
        bound.apply_defaults()
        self.calls.append(dict(bound.arguments))
        return self.kernel(*args, **kwargs)


@lru_cache(maxsize=1)
def plan() -> Plan:
    made = state(MEMBERS)
    return make_plan(
        RunRequest(population=made.population_dir, contracts=(CONTRACT,), replicates=64)
    )


@cache
def recorded(module: str, kernel: str) -> dict[str, Any]:
    """Arguments of a kernel's last call while one shard is measured and settled."""
    return calls(module)[kernel][-1]


@cache
def calls(module: str) -> dict[str, list[dict[str, Any]]]:
    """Arguments of all kernels called by a module, with that module's names replaced meanwhile."""
    found = importlib.import_module(module)
    names = [name for name in kernels.ALL if callable(getattr(found, name, None))]
    with pytest.MonkeyPatch.context() as patch:
        recorders = {name: Recorder(getattr(found, name)) for name in names}
        for name, recorder in recorders.items():
            patch.setattr(found, name, recorder)
        if "risk" in module:
            score_by_model()
        else:
            made, parts = with_programme(plan())
            parts = surveyed(made, parts, LocalRunner(1))
            measured = measure(made.shards[:1], plan=made, parts=parts)
            settle(
                measured.totals,
                plan().contracts,
                base_year=plan().base_year,
                performance_year=plan().performance_year,
                quality=plan().quality,
            )
    return {name: recorder.calls for name, recorder in recorders.items() if recorder.calls}


def score_by_model() -> None:
    """Score one shard by a published model rather than by supplied scores."""
    made = plan()
    population = state(MEMBERS).population()
    # without scores of their own for all: what the kernels were given is what matters
    with tempfile.TemporaryDirectory() as store, contextlib.suppress(DataError):
        scores = provider("cms-hcc-v28", population, missing="error", store=Path(store))
        year = made.performance_year
        attribution = attribute(
            made.shards[0], made.roster, made.visits, made.attribution, year=year,
            cutoff_day=made.cutoff_day,
        )  # fmt: skip
        scores.score(
            made.shards[0], year=year, cutoff_day=made.cutoff_day, months=attribution.months
        )


def call(kernel: str, a: Mapping[str, Any]) -> Callable[[], Any]:
    """The kernel with recorded arguments."""
    function = getattr(kernels, kernel)
    keywords = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    positional = [value for name, value in a.items() if name not in keywords]
    return partial(function, *positional, **{name: a[name] for name in a if name in keywords})


def bytes_of(*values: Any) -> int:
    """Bytes of all arrays among the values, nested sequences too."""
    total = 0
    for value in values:
        if isinstance(value, np.ndarray):
            total += value.nbytes
        elif isinstance(value, tuple | list):
            total += bytes_of(*value)
    return total


def recorded_race(
    benchmark: Any,
    module: str,
    kernel: str,
    unit: str,
    count: Callable[[Mapping[str, Any]], int],
    peers: Mapping[str, Callable[[Mapping[str, Any]], Callable[[], Any]]] | None = None,
    *,
    operations: int = 0,
    check: Mapping[str, Callable[[Any, Any], None]] | None = None,
    note: str = "",
) -> None:
    """Race a claim kernel on recorded arguments; `operations` are those of one unit."""
    a = recorded(module, kernel)
    ours = call(kernel, a)
    n_units = count(a)
    work = Work(
        unit,
        n_units,
        bytes_of(*a.values()) + bytes_of(ours()),
        operations * n_units,
        sizes={unit: n_units},
    )
    made = {name: build(a) for name, build in (peers or {}).items()} if WITH_PEERS else {}
    race(benchmark, ours, made, work, check=check, note=note)


# --- limits --------------------------------------------------------------------------------------


def test_bench_stream_copy(benchmark: Any) -> None:
    source = np.ones(1_000_000 if QUICK else 32_000_000)
    target = np.empty_like(source)
    work = Work("byte", 2 * source.nbytes, 2 * source.nbytes)
    race(benchmark, lambda: np.copyto(target, source), {}, work)


def test_bench_stream_sum(benchmark: Any) -> None:
    values = np.ones(1_000_000 if QUICK else 32_000_000)
    work = Work("byte", values.nbytes, values.nbytes)
    race(benchmark, lambda: limits.stream_sum(values), {}, work)


def philox_keys() -> tuple[Any, Any, int]:
    """Keys for Philox alone, a whole number of tiles, and calls a key."""
    n_members, n_replicates = BOOTSTRAP
    n = max(1, n_members // limits.TILE) * limits.TILE
    keys = np.random.default_rng(3).integers(0, 2**64, n, dtype=np.uint64)
    return keys, key_schedule(1), (n_replicates + 8) // 8


def test_bench_philox_alone(benchmark: Any) -> None:
    keys, schedule, n_calls = philox_keys()
    folded = limits.philox_alone(keys, schedule, n_calls)
    counters = np.zeros((len(keys), 4), np.uint32)  # the same words, drawn by the kernel
    counters[:, 0], counters[:, 1] = keys & 0xFFFFFFFF, keys >> 32
    words = np.zeros((len(keys), 4), np.uint32)
    for drawn in range(n_calls):
        counters[:, 2] = drawn
        words ^= kernels.philox(counters, seed=1)
    tiles = np.bitwise_xor.reduce(words.reshape(-1, limits.TILE, 4), axis=0)
    assert (folded[0] & 0xFFFFFFFF == tiles[:, 0]).all()
    assert (folded[1] >> np.uint64(32) == tiles[:, 3]).all()
    # 10 rounds of 2 multiplies and 4 exclusive ors
    n = len(keys) * n_calls
    work = Work("call", n, keys.nbytes, 60 * n, n_words=4 * n)
    race(benchmark, lambda: limits.philox_alone(keys, schedule, n_calls), {}, work)


# --- the bootstrap -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def paired() -> tuple[Any, Any]:
    """Four paired columns (ones, months, risk, dollars), and member keys."""
    rng = np.random.default_rng(11)
    n = BOOTSTRAP[0]
    months = rng.integers(1, 13, n)
    columns = np.stack(
        [
            np.ones(n, np.int64),
            months,
            months * rng.integers(100_000, 5_000_000, n),
            rng.lognormal(11, 1.5, n).astype(np.int64),
        ]
    )
    return columns, rng.integers(0, 2**64, n, dtype=np.uint64)


def test_bench_replicate_totals(benchmark: Any) -> None:
    columns, member_key = paired()
    n_members, n_replicates = BOOTSTRAP
    group = np.zeros(n_members, np.int32)
    floats = columns.astype(np.float64)

    def ours() -> Any:
        return kernels.replicate_totals(
            columns, group, member_key, n_groups=1, n_replicates=n_replicates + 1, seed=1
        )[0]

    check = partial(bootstrap.same_law, columns=floats)
    of_weights = partial(bootstrap.same_law_of_weights, columns=floats)
    n = n_members * n_replicates
    race(
        benchmark,
        ours,
        {
            "scipy.stats.bootstrap": lambda: bootstrap.by_scipy(floats, n_replicates, 7),
            "arch IIDBootstrap": lambda: bootstrap.by_arch(floats, n_replicates, 7),
            "numpy bincount @": lambda: bootstrap.by_numpy(floats, n_replicates, 7),
            "numpy words @": lambda: bootstrap.by_words(floats, n_replicates, 7),
            "numba loop": lambda: bootstrap.by_numba(floats, n_replicates, 7),
        },
        # a weight: 60 / 8 operations of Philox, 7 comparisons and adds; a column: multiply and add
        Work(
            "member-replicate",
            n,
            bytes_of(columns, group, member_key) + 8 * 4 * n_replicates,
            n * (60 // 8 + 14 + 2 * 4),
            limit="philox",
            sizes={"members": n_members, "columns": 4, "replicates": n_replicates},
            n_words=n // 2,
        ),
        check=dict.fromkeys(
            ("scipy.stats.bootstrap", "arch IIDBootstrap", "numpy bincount @"), check
        )
        | dict.fromkeys(("numpy words @", "numba loop"), of_weights),
        note="equal in law: means, and spreads of ratios, within five standard errors",
    )


def test_bench_philox(benchmark: Any) -> None:
    n = 4_096 if QUICK else 1_000_000
    counters = np.zeros((n, 4), np.uint32)
    counters[:, 0] = np.arange(n)
    generator = np.random.Philox(1)
    race(
        benchmark,
        lambda: kernels.philox(counters, seed=1),
        {"numpy Philox4x64": lambda: generator.random_raw(2 * n)},
        Work("call", n, 2 * counters.nbytes, 60 * n, n_words=4 * n),
        check={"numpy Philox4x64": _as_many_bytes},
        note="the peer is the 64-bit sister: other words, as many bytes",
    )


def _as_many_bytes(ours: Any, peer: Any) -> None:
    assert ours.nbytes == peer.nbytes


@lru_cache(maxsize=1)
def payments() -> Any:
    """Payments over replicates: dollars in cents, a third of them nothing."""
    rng = np.random.default_rng(12)
    n_rows, n_values = (20, 256) if QUICK else (2_000, 2_000)
    return np.maximum(rng.normal(4e6, 1e7, (n_rows, n_values)), 0).astype(np.int64)


def test_bench_quantiles(benchmark: Any) -> None:
    values = payments()
    ranks = [int(rank) for rank in ranks_of(P_MICRO, values.shape[1])]
    zero_based = ranks if (kernels.quantiles(values[:1], P_MICRO) == np.sort(values[:1])[
        :, ranks]).all() else [rank - 1 for rank in ranks]  # fmt: skip
    race(
        benchmark,
        lambda: kernels.quantiles(values, P_MICRO),
        {
            "numpy partition": lambda: arrays.quantiles_partition(values, zero_based),
            "numpy quantile": lambda: arrays.quantiles_numpy(values, P_MICRO),
        },
        Work(
            "value", values.size, values.nbytes,
            sizes={"rows": values.shape[0], "values": values.shape[1], "quantiles": len(P_MICRO)},
        ),
    )  # fmt: skip


# --- claims --------------------------------------------------------------------------------------


def test_bench_segment_cost(benchmark: Any) -> None:
    def totals(ours: Any, peer: Any) -> None:
        uncapped, capped = peer
        assert (ours.uncapped_cents[0] == uncapped).all()
        assert (ours.capped_cents[0] == capped).all()

    recorded_race(
        benchmark, "ihp_compute.measure.cost", "segment_cost", "line",
        lambda a: len(a["paid_cents"]),
        {"polars": claims.segment_cost_polars, "duckdb": claims.segment_cost_duckdb},
        operations=10, check={"polars": totals, "duckdb": totals},
        note="ours also gives the capped cost back to rate cells and sums what was paid",
    )  # fmt: skip


def test_bench_line_fate(benchmark: Any) -> None:
    recorded_race(
        benchmark, "ihp_compute.measure.line_fates", "line_fate", "line", lambda a: len(a["cents"]),
        {"numpy": claims.line_fate_numpy}, operations=10,
    )  # fmt: skip


def test_bench_service_use(benchmark: Any) -> None:
    recorded_race(
        benchmark, "ihp_compute.measure.programme.scale", "service_use", "line",
        lambda a: len(a["amount_cents"]), operations=12,
        note="the second pass, at rates; no other tool does it in one",
    )  # fmt: skip


def test_bench_enrolled_months(benchmark: Any) -> None:
    def months(ours: Any, peer: Any) -> None:
        assert (ours.month_cell == peer[0]).all()
        assert (ours.months == peer[1]).all()

    recorded_race(
        benchmark, "ihp_compute.measure.attribution", "enrolled_months", "span",
        lambda a: len(a["first_month"]), {"numpy": claims.enrolled_months_numpy},
        operations=60, check={"numpy": months},
    )  # fmt: skip


def test_bench_roster_match(benchmark: Any) -> None:
    recorded_race(
        benchmark, "ihp_compute.measure.attribution", "roster_match", "visit",
        lambda a: len(a["day"]),
        {"numpy": claims.roster_match_numpy}, operations=10,
    )  # fmt: skip


def test_bench_plurality(benchmark: Any) -> None:
    def winners(ours: Any, peer: Any) -> None:
        assert (ours[0] == peer[0]).all()
        assert (ours[2] == peer[1]).all()

    recorded_race(
        benchmark, "ihp_compute.measure.attribution", "plurality", "visit", lambda a: len(a["day"]),
        {"polars": claims.plurality_polars}, operations=6, check={"polars": winners},
    )  # fmt: skip


# --- risk: packages that score members are raced in bench_risk_score -----------------------------


def test_bench_condition_flags(benchmark: Any) -> None:
    recorded_race(
        benchmark, "ihp_compute.risk.models.engine", "condition_flags", "row",
        lambda a: len(a["codes"]),
    )  # fmt: skip


def test_bench_risk_score_kernel(benchmark: Any) -> None:
    recorded_race(
        benchmark, "ihp_compute.risk.models.engine", "risk_score", "member",
        lambda a: len(a["words"]),
    )  # fmt: skip


# --- settlement ----------------------------------------------------------------------------------


def test_bench_settle_grid(benchmark: Any) -> None:
    a = dict(recorded("ihp_compute.settlement.program", "settle_grid"))
    rng = np.random.default_rng(13)
    n_replicates = 256 if QUICK else 2_000
    n_scenarios = 8 if QUICK else 100
    # the recorded program over more replicates, with every term between 0 and 1 moved
    observed = a["sources"][:, :1]
    sources = np.rint(observed * rng.normal(1, 0.03, (len(observed), n_replicates)))
    constants = np.repeat(a["constants"][:1], n_scenarios, axis=0)
    share = (constants[0] > 0) & (constants[0] < 1)
    constants[1:, share] *= rng.uniform(0.5, 1.5, (n_scenarios - 1, int(share.sum())))
    keywords = {"whole": a["whole"]}
    arguments = (sources, constants, a["program"], a["outputs"])
    n = n_scenarios * n_replicates

    def equal(ours: Any, peer: Any) -> None:
        assert ours.shape == peer.shape
        assert (ours == peer).all()

    race(
        benchmark,
        lambda: kernels.settle_grid(*arguments, **keywords),
        {"numpy": lambda: arrays.settle_numpy(*arguments, **keywords)},
        Work(
            "scenario-replicate", n, bytes_of(*arguments) + 8 * n * len(a["outputs"]),
            n * len(a["program"]),
            sizes={
                "scenarios": n_scenarios, "replicates": n_replicates,
                "operations": len(a["program"]),
            },
        ),
        check={"numpy": equal},
    )  # fmt: skip
