"""What a risk model may ask of a shard's members for one year: age, sex, entitlement, months."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import SPAN_LONG_TERM_INSTITUTION, SPAN_MEDICAID
from ihp_compute.errors import RiskModelError
from ihp_compute.population import ShardColumns
from ihp_compute.risk.models import NOT_STATED, Compiled, Members, asks
from ihp_compute.risk.score_terms import ScoreTerms
from ihp_compute.risk.scores import ages_in_payment_year, ages_on, fullest, fullest_aid_group

NO_EPOCH_DAY: Final = np.datetime64("1970-01-01", "D")


def facts(
    shard: ShardColumns,
    compiled: Compiled,
    *,
    year: int,
    months: NDArray[np.int64],
    terms: ScoreTerms,
) -> Members:
    """What a model may ask of a shard's members for one year.

    The age is that at 1 February of the year after the codes for a CMS-HCC model, else that on the
    last enrolled day of the year; dual status and original reason are the last stated in the year.
    Aid group and rate cell are those of most months, the first listed of several.
    """
    n = shard.n_members
    offsets = shard.offsets("spans")
    first = shard.column("spans", "first_month").astype(np.int64)
    last = first + shard.column("spans", "n_months") - 1
    member = np.repeat(np.arange(n), np.diff(offsets))
    within = (last >= 12 * year) & (first < 12 * year + 12)
    flags = np.zeros(n, np.int64)
    np.bitwise_or.at(flags, member[within], shard.column("spans", "flags")[within].astype(np.int64))
    final = np.full(n, 12 * year, np.int64)
    np.maximum.at(final, member[within], np.minimum(last[within], 12 * year + 11))
    birth_day = shard.column("members", "birth_day")
    column = terms.column or compiled.model.default_column
    if column not in compiled.model.columns:
        raise RiskModelError(
            f"{compiled.model.name}: no column {column!r}; it has "
            f"{', '.join(compiled.model.columns)}"
        )
    return Members(
        age=_age(birth_day, compiled, year, terms.code_year(year) + 1, final),
        sex=shard.column("members", "sex"),
        birth_day=birth_day,
        months=np.minimum(months.sum(axis=0), 12).astype(np.uint8),
        original_reason=_last_stated(shard, "original_reason", member, within, n),
        dual_status=_last_stated(shard, "dual_status", member, within, n),
        medicaid=flags & SPAN_MEDICAID != 0,
        institutional=flags & SPAN_LONG_TERM_INSTITUTION != 0,
        new_enrollee=np.zeros(n, np.bool_),
        special_needs=np.zeros(n, np.bool_),
        column=np.full(n, compiled.model.columns.index(column), np.int16),
        csr=np.full(n, -1, np.int16),
        segment=np.full(n, -1, np.int16),
        **_groups(compiled, months),
    )


def _groups(compiled: Compiled, months: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
    """Aid group and rate cell of most months, the first of several, where the model asks."""
    asked = [name for name in asks(compiled.model) if name != "factors"]
    if not asked:
        return {}
    of = {"aid_group": fullest_aid_group, "rate_cell": fullest}
    nowhere = months.sum(axis=0) == 0
    return {
        name: np.where(nowhere, NOT_STATED, of[name](months)).astype(np.uint8) for name in asked
    }


def _age(
    birth_day: NDArray[np.int32],
    compiled: Compiled,
    year: int,
    payment_year: int,
    final_month: NDArray[np.int64],
) -> NDArray[np.int16]:
    if compiled.model.family == "CMS-HCC":
        return ages_in_payment_year(birth_day, payment_year)
    age = np.full(len(birth_day), -1, np.int16)
    for month in range(12 * year, 12 * year + 12):
        on = final_month == month
        if on.any():
            after = np.datetime64(month + 1 - 12 * 1970, "M").astype("datetime64[D]")
            last_day = int((after - NO_EPOCH_DAY).astype(np.int64)) - 1
            age[on] = ages_on(birth_day[on], last_day)
    return age


def _last_stated(
    shard: ShardColumns,
    column: str,
    member: NDArray[np.int64],
    within: NDArray[np.bool_],
    n: int,
) -> NDArray[np.uint8]:
    value = shard.column("spans", column)
    rows = within & (value != NOT_STATED)
    found = np.full(n, NOT_STATED, np.uint8)
    found[member[rows]] = value[rows]  # rows are by month, so the last assignment stands
    return found
