"""Replicate totals: sums by group, rate cell, replicate and column, as int64; how they are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import kernels
from ihp_compute.codes import RATE_CELLS

TOTALS: Final = "totals"


def totals_names(n: int) -> tuple[str, ...]:
    """Names of the totals of a run's measurements, as parts of its digest and of files.

    >>> totals_names(2)
    ('totals', 'totals-1')
    """
    return (TOTALS, *(f"{TOTALS}-{k}" for k in range(1, n)))


def totals_file(name: str) -> str:
    """The file of totals in a run's folder."""
    return f"{name}.arrow"


def write_totals(totals: Totals, path: Path) -> None:
    """Write totals as one Arrow IPC file: all values in order, their shape in the metadata."""
    about = {
        "groups": totals.groups,
        "columns": totals.columns,
        "strata": totals.strata,
        "shape": totals.values.shape,
        "n_members": totals.n_members.tolist(),
        "taken_cents": totals.taken_cents.tolist(),
    }
    schema = pa.schema(
        [pa.field("value", pa.int64(), nullable=False)],
        metadata={name: json.dumps(value) for name, value in about.items()},
    )
    values = pa.array(np.ascontiguousarray(totals.values).reshape(-1))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([values], schema=schema))


def read_totals(path: Path) -> Totals:
    """Totals as `write_totals` wrote them, memory-mapped."""
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    about = {key.decode(): json.loads(value) for key, value in table.schema.metadata.items()}
    values: NDArray[np.int64] = table.column("value").chunk(0).to_numpy()
    return Totals(
        groups=tuple(about["groups"]),
        columns=tuple(about["columns"]),
        strata=tuple(about["strata"]),
        values=values.reshape(about["shape"]),
        n_members=np.array(about["n_members"], np.int64),
        taken_cents=np.array(about["taken_cents"], np.int64),
    )


@dataclass(frozen=True)
class Totals:
    """Sums over members, per group, rate cell and replicate; what settlement starts from.

    Attributes
    ----------
    groups : tuple of str
        Partnerships sorted by id, then COMPARISON, then UNATTRIBUTED.
    columns : tuple of str
        base_months, base_risk, perf_months, perf_risk, then base_cost_<rule set> and
        perf_cost_<rule set> for each rule set. Months are member months, risk is the sum of
        score_micro × months, cost is in cents after the cap.
    values : int64[n_groups, n_strata, 1 + B, n_columns]
        Replicate 0 is the data as observed.
    n_members : int64[n_groups]
        Members of the group in the performance year, as observed.
    taken_cents : int64[n_groups, n_rule_sets]
        Cost of the performance year before floor and cap, less that in `values`, as observed.
    strata : tuple of str
        Rate cells.
    """

    groups: tuple[str, ...]
    columns: tuple[str, ...]
    values: NDArray[np.int64]
    n_members: NDArray[np.int64]
    taken_cents: NDArray[np.int64]
    strata: tuple[str, ...] = RATE_CELLS

    def __add__(self, other: Totals) -> Totals:
        """Totals of two disjoint sets of members."""
        return replace(
            self,
            values=self.values + other.values,
            n_members=self.n_members + other.n_members,
            taken_cents=self.taken_cents + other.taken_cents,
        )

    @property
    def without_members(self) -> tuple[str, ...]:
        """Groups with nobody in the performance year."""
        return tuple(g for g, n in zip(self.groups, self.n_members, strict=True) if not n)

    def column(self, name: str) -> NDArray[np.int64]:
        """One column, int64[n_groups, n_strata, 1 + B], contiguous."""
        return np.ascontiguousarray(self.values[..., self.columns.index(name)])

    @property
    def n_replicates(self) -> int:
        """B: draws beside the observed row."""
        return self.values.shape[2] - 1


def column_names(n_rule_sets: int) -> tuple[str, ...]:
    """Names of the columns of `Totals` for a number of rule sets.

    >>> column_names(1)
    ('base_months', 'base_risk', 'perf_months', 'perf_risk', 'base_cost_r0', 'perf_cost_r0')
    """
    costs = (f"{year}_cost_r{r}" for r in range(n_rule_sets) for year in ("base", "perf"))
    return ("base_months", "base_risk", "perf_months", "perf_risk", *costs)


@dataclass(frozen=True)
class YearRows:
    """What one year of a shard brings to the totals.

    Attributes
    ----------
    group : int32[n_members]
        Index into `Totals.groups`; -1 for members who are not eligible.
    months : int64[n_strata, n_members]
        Countable member months.
    score_micro : int64[n_members]
        Risk score in millionths.
    cell_cents : sequence of int64[n_strata, n_members]
        Cost after the cap by rate cell, one array a rule set.
    """

    group: NDArray[np.int32]
    months: NDArray[np.int64]
    score_micro: NDArray[np.int64]
    cell_cents: Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Rows:
    """Rows that the replicate totals sum: one per member, group and rate cell.

    Attributes
    ----------
    columns : int64[n_columns, n_rows]
        `Totals.columns`.
    cell : int32[n_rows]
        Group × number of strata + stratum.
    member_key : uint64[n_rows]
    """

    columns: NDArray[np.int64]
    cell: NDArray[np.int32]
    member_key: NDArray[np.uint64]

    @classmethod
    def of(cls, member_key: NDArray[np.uint64], base: YearRows, performance: YearRows) -> Rows:
        """Rows of a shard's members over the two years, members in the order of `member_key`.

        A member who stands in several groups or rate cells becomes several rows with one key,
        hence one weight. Who has neither months nor cost in a cell has no row there: it would add
        nothing.
        """
        names = column_names(len(base.cell_cents))
        n_strata = len(RATE_CELLS)
        same = base.group == performance.group
        in_base = _present(base)
        in_performance = _present(performance)
        parts = []
        # one row where both years stand in one group: they share the weight; else a row each
        for here, group, years in (
            (in_base | (in_performance & same), base.group, ("base", "perf")),
            (in_performance & ~same, performance.group, ("perf",)),
        ):
            place = np.flatnonzero(here)
            stratum = place // len(member_key)
            member = place - stratum * len(member_key)
            block = np.zeros((len(names), member.size), np.int64)
            for year in years:
                rows = base if year == "base" else performance
                shared = np.int64(1) if year == "base" or len(years) == 1 else same[member]
                months = rows.months.take(place) * shared
                block[names.index(f"{year}_months")] = months
                block[names.index(f"{year}_risk")] = months * rows.score_micro.take(member)
                for r, cents in enumerate(rows.cell_cents):
                    block[names.index(f"{year}_cost_r{r}")] = cents.take(place) * shared
            cell = group[member] * np.int32(n_strata) + stratum.astype(np.int32)
            parts.append(cls(block, cell, member_key[member]))
        return cls.concat(parts)

    @classmethod
    def concat(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of several parts."""
        return cls(
            np.concatenate([part.columns for part in parts], axis=1),
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.member_key for part in parts]),
        )


def replicate_totals(
    rows: Rows,
    n_members: NDArray[np.int64],
    taken_cents: NDArray[np.int64],
    *,
    groups: tuple[str, ...],
    replicates: int,
    seed: int,
    device: str,
) -> Totals:
    """Sum rows under every replicate's weights.

    Parameters
    ----------
    rows : Rows
        Of one shard or of many: the more at once, the less each costs.
    n_members : int64[n_groups]
        Members of each group in the performance year.
    taken_cents : int64[n_groups, n_rule_sets]
        `Totals.taken_cents` of these members.
    groups : tuple of str
        Group names; the rows' cells point into it.
    replicates : int
        B, draws beside the observed row.
    seed : int
        64-bit seed of the weights.
    device : str
        "cpu" or "gpu": where the sums are made. The result is the same and lies on the host.

    Returns
    -------
    Totals
    """
    n_strata = len(RATE_CELLS)
    values = drawn_sums(
        rows.columns, rows.cell, rows.member_key,
        n_groups=len(groups) * n_strata, replicates=replicates, seed=seed, device=device,
    )  # fmt: skip
    return Totals(
        groups=groups,
        columns=column_names((rows.columns.shape[0] - 4) // 2),
        values=values.reshape(len(groups), n_strata, replicates + 1, -1),
        n_members=n_members,
        taken_cents=taken_cents,
    )


def drawn_sums(
    columns: NDArray[np.int64],
    group: NDArray[np.int32],
    member_key: NDArray[np.uint64],
    *,
    n_groups: int,
    replicates: int,
    seed: int,
    device: str,
) -> NDArray[np.int64]:
    """Sums of columns by group under every replicate's weights, wherever the run draws.

    Parameters
    ----------
    columns : int64[n_columns, n_rows]
    group : int32[n_rows]
        Below n_groups; -1 stands in none.
    member_key : uint64[n_rows]
        Rows of one member have one weight.
    n_groups, replicates, seed, device
        As for `replicate_totals`.

    Returns
    -------
    int64[n_groups, 1 + replicates, n_columns]
        Replicate 0 is the data as observed.
    """
    move = kernels.to_device if device == "gpu" else np.ascontiguousarray
    with kernels.own_stream(device):
        sums: NDArray[np.int64] = kernels.to_host(
            kernels.replicate_totals(
                move(columns),
                move(group),
                move(member_key),
                n_groups=n_groups,
                n_replicates=replicates + 1,
                seed=seed,
            )
        )
    return sums


def _present(rows: YearRows) -> NDArray[np.bool_]:
    """Where a member of a group has months or cost in a rate cell: bool[n_strata, n_members]."""
    present = rows.months != 0
    for cents in rows.cell_cents:
        present = present | (cents != 0)
    return present & (rows.group >= 0)[None, :]
