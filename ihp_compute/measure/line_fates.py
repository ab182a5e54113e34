"""The fate of every retained line at a run: counted, or the first reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ihp_compute.contracts import INCURRED_BY, CostTerms, incurred_by
from ihp_compute.ledger import CLAIM_TABLES, RunFate
from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.cost import CAPITATION, COSTS, Cost, service_bits, slots
from ihp_compute.population import ShardColumns
from kernels.members.line_fate import COUNTED, line_fate
from kernels.members.plurality import NO_VISIT


def line_fates(
    shard: ShardColumns,
    rule_sets: Sequence[CostTerms],
    *,
    cutoff_day: int,
    attributions: Sequence[Attribution],
    costs: Sequence[Sequence[Cost]],
    group_rule_set: Sequence[int],
    n_partnerships: int,
    n_files: int,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The run ledger of one shard, lines and paid cents by table, file and fate; each line's fate.

    Parameters
    ----------
    shard : Shard
    rule_sets : sequence of CostTerms
        They must agree on the incurred day, because a line has one year.
    cutoff_day : int
    attributions : sequence of Attribution, one a year
    costs : sequence over years of sequence over rule sets of Cost
        From `costs`, for the dollar-only fates.
    group_rule_set : sequence of int
        Rule set of each group of the roster.
    n_partnerships : int
        Groups below it settle.
    n_files : int

    Returns
    -------
    ledger : int64[n_tables, n_files, n_run_fates, 2]
        Lines and cents. The dollar-only fates of the cap belong to no file: they stand at table 0,
        file 0, with no lines, over both years and the members of partnerships. Where the amount is
        what was paid and no completion factor is used, counted - above_cap + floored is the cost
        of those members.
    fate : uint8[n_lines]
        `RunFate` of each line.

    Raises
    ------
    ContractError
        If the rule sets disagree on the incurred day.
    """
    fates, lines = _fates(
        shard, rule_sets, cutoff_day=cutoff_day, attributions=attributions,
        group_rule_set=group_rule_set, n_partnerships=n_partnerships, n_files=n_files,
    )  # fmt: skip
    ledger = np.zeros((len(CLAIM_TABLES), n_files, len(RunFate), 2), np.int64)
    ledger[:, :, : COUNTED + 1] = lines
    for p, attribution in enumerate(attributions):
        settles = (attribution.group >= 0) & (attribution.group < n_partnerships)
        own = np.asarray(group_rule_set)[attribution.group]
        for r in range(len(rule_sets)):
            here = settles & (own == r)
            for fate, cents in (
                (RunFate.ABOVE_CAP, costs[p][r].above_cap_cents),
                (RunFate.FLOORED, costs[p][r].floored_cents),
            ):
                ledger[0, 0, fate, 1] += cents[here].sum()
    return ledger, fates


def member_line_fates(
    shard: ShardColumns,
    member: int,
    rule_sets: Sequence[CostTerms],
    *,
    cutoff_day: int,
    attributions: Sequence[Attribution],
    group_rule_set: Sequence[int],
    n_partnerships: int,
) -> tuple[NDArray[np.uint8], slice]:
    """The fate of every line of one member, for explaining it.

    Parameters
    ----------
    shard : Shard
    member : int
        Position in the shard.
    rule_sets, cutoff_day, attributions, group_rule_set, n_partnerships
        As for `line_fates`.

    Returns
    -------
    fate : uint8[n_lines of the member]
        `RunFate` of each line.
    rows : slice
        Where the lines stand in the tables "lines" and "line_detail" of the shard.
    """
    start, end = shard.offsets("lines")[member : member + 2].tolist()
    fate, _ = _fates(
        _OneMember(shard, member), rule_sets, cutoff_day=cutoff_day,
        attributions=[_only(attribution, member) for attribution in attributions],
        group_rule_set=group_rule_set, n_partnerships=n_partnerships,
        n_files=1 + int(shard.column("lines", "file")[start:end].max(initial=0)),
    )  # fmt: skip
    return fate, slice(start, end)


def _fates(
    shard: ShardColumns,
    rule_sets: Sequence[CostTerms],
    *,
    cutoff_day: int,
    attributions: Sequence[Attribution],
    group_rule_set: Sequence[int],
    n_partnerships: int,
    n_files: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    first_day, slot_of_day = slots([attribution.year for attribution in attributions])
    groups = np.stack([attribution.group for attribution in attributions])
    standing = np.where(groups < 0, 0, np.where(groups < n_partnerships, 2, 1)).astype(np.uint8)
    fate, ledger = line_fate(
        shard.column("lines", "paid_cents"),
        shard.column("lines", INCURRED_BY[incurred_by(rule_sets)]),
        shard.column("lines", "paid_day"),
        shard.column("lines", "category"),
        shard.column("lines", "kind"),
        shard.column("lines", "source_table"),
        shard.column("lines", "file"),
        shard.offsets("lines"),
        np.stack([attribution.spanned for attribution in attributions]),
        np.stack([attribution.month_cell for attribution in attributions]),
        standing,
        np.asarray(group_rule_set, np.int32)[groups],
        slot_of_day,
        service_bits(rule_sets),
        first_day=first_day,
        cutoff_day=cutoff_day,
        kind_bits=COSTS,
        never_bits=CAPITATION,
        n_tables=len(CLAIM_TABLES),
        n_files=n_files,
    )
    return fate, ledger


class _OneMember:
    """A shard of one of its members."""

    n_members = 1

    def __init__(self, shard: ShardColumns, member: int) -> None:
        self.index = shard.index
        self.shard = shard
        self.member = member

    def offsets(self, table: str) -> NDArray[np.int64]:
        start, end = self.shard.offsets(table)[self.member : self.member + 2]
        return np.array([0, end - start], np.int64)

    def column(self, table: str, name: str) -> NDArray[Any]:
        start, end = self.shard.offsets(table)[self.member : self.member + 2]
        return self.shard.column(table, name)[start:end]


def _only(attribution: Attribution, member: int) -> Attribution:
    here = slice(member, member + 1)
    return Attribution(
        year=attribution.year,
        group=attribution.group[here],
        step=attribution.step[here],
        n_visits=attribution.n_visits[here],
        last_visit=np.array([NO_VISIT]),  # rows of visits are another's in a shard of one
        tied=attribution.tied[here],
        reason=attribution.reason[here],
        months=attribution.months[:, here],
        month_cell=attribution.month_cell[here],
        enrolled_months=attribution.enrolled_months[here],
        spanned=attribution.spanned[here],
    )
