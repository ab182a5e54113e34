"""The people of a partnership as its run measured them, and the lines of those above the cap.

    member_years -> people of both years -> those above the cap -> their lines that counted

Lines on substance use are left out unless the member's consent is recorded: 42 CFR 2.31 (consent),
2.12, 2.33 (what may be disclosed for payment and operations). Such a line is of the service
category substance_use, or of a claim with a diagnosis of alcohol or drugs (ICD-10-CM F10 to F16,
F18, F19; tobacco is none, 42 CFR 2.11). Which drug was dispensed is left blank for everybody
without consent, because drug codes alone do not tell what they treat. How many lines are left out
is told of nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.contracts import INCURRED_BY, incurred_by
from ihp_compute.errors import RunError
from ihp_compute.ledger import CLAIM_TABLES, RunFate
from ihp_compute.measure import MEMBER_YEARS, Plan, member_line_fates
from ihp_compute.population import Population, Shard, member_keys, shard_of
from ihp_compute.units import date_text, year_bounds

SUBSTANCE_USE: Final = "substance_use"
SUBSTANCE_DIAGNOSES: Final = tuple(f"F{n}" for n in (10, 11, 12, 13, 14, 15, 16, 18, 19))
"""ICD-10-CM categories of disorders due to alcohol and drugs, tobacco left out."""
CONSENT: Final = "substance_use_consent_date"
"""Column of `member_factors`: the day from which a consent holds."""
LINE_COLUMNS: Final = (
    "member_id", "year", "incurred_date", "source_table", "claim_id", "claim_line_number",
    "category", "procedure", "revenue_center", "ndc", "paid_cents", "allowed_cents",
)  # fmt: skip
"""What is shown of a line."""
_MONTHS: Final = tuple(f"months_{cell}" for cell in RATE_CELLS)
_CENTS: Final = ("uncapped", "floored", "above_cap", "cost")
_COPIED: Final = (
    "year", "step", "n_visits", "attributed_npi", "tied", "score_micro", "score_missing",
)  # fmt: skip


def people_of(
    run_dir: Path, plan: Plan, groups: Sequence[str], first_rule_set: int
) -> list[dict[str, Any]]:
    """A partnership's people of both years, by member number and year.

    Parameters
    ----------
    run_dir : Path
    plan : Plan
        The measurement of the partnership's contract.
    groups : sequence of str
        `group_id` of its people.
    first_rule_set : int
        Place of the measurement's first rule set in `member_years`.

    Returns
    -------
    list of dict
        member_id, year, step, n_visits, attributed_npi, tied, member_months, rate_cells (each with
        its months), score_micro, score_missing, and in cents uncapped, floored, above_cap and cost.

    Raises
    ------
    RunError
        If the run's table cannot be read or has a member that the population does not.
    """
    own = first_rule_set + plan.group_rule_set[plan.roster.groups.index(groups[0])]
    names = {name: f"{name}_r{own}_cents" for name in _CENTS}
    try:
        table = pq.read_table(
            run_dir / f"{MEMBER_YEARS.name}.parquet",
            columns=["member_key", "group_id", "measurement", *_COPIED, *_MONTHS, *names.values()],
        )
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{run_dir}: member_years cannot be read: {error}; run it again") from error
    here = pc.is_in(table["group_id"].cast(pa.string()), pa.array(list(groups)))
    table = table.filter(pc.and_(here, pc.equal(table["measurement"], plan.measurement)))
    ids = _ids(plan, table["member_key"].to_numpy())
    rows = []
    for row in table.to_pylist():
        months = {cell: row[f"months_{cell}"] for cell in RATE_CELLS if row[f"months_{cell}"]}
        rows.append(
            {
                "member_id": ids[row["member_key"]],
                **{name: row[name] for name in _COPIED},
                "member_months": sum(months.values()),
                "rate_cells": "; ".join(f"{cell} {n}" for cell, n in months.items()),
                **{f"{name}_cents": row[column] for name, column in names.items()},
            }
        )
    return sorted(rows, key=lambda row: (row["member_id"], row["year"]))


def _ids(plan: Plan, keys: NDArray[np.uint64]) -> dict[int, str]:
    """Member numbers by key."""
    found: dict[int, str] = {}
    keys = np.unique(keys)
    of_shard = shard_of(keys, len(plan.shards))
    for shard in plan.shards:
        own = keys[of_shard == shard.index]
        if not own.size:
            continue
        known = shard.column("members", "member_key")
        at = np.minimum(np.searchsorted(known, own), len(known) - 1)
        if (known[at] != own).any():
            raise RunError("the population lacks members of the run; run it again")
        ids = shard.strings("identity", "member_id").take(pa.array(at)).to_pylist()
        found |= dict(zip(own.tolist(), ids, strict=True))
    return found


def consenting(population: Population, on: date) -> set[str]:
    """Members whose consent under 42 CFR Part 2 holds on a day; nobody where none is recorded."""
    table = population.reference("member_factors")
    if table is None or CONSENT not in table.column_names:
        return set()
    columns = (table.column(name).to_pylist() for name in ("person_id", "member_id", CONSENT))
    return {
        person or member
        for person, member, day in zip(*columns, strict=True)
        if day and date.fromisoformat(day) <= on
    }


def lines_over_cap(
    plan: Plan, population: Population, over_cap: Sequence[Mapping[str, Any]], consent: set[str]
) -> list[dict[str, Any]]:
    """Lines that counted of members and years above the cap, by member and day.

    Parameters
    ----------
    plan : Plan
    population : Population
    over_cap : sequence of mapping
        Rows of `people_of`.
    consent : set of str
        Members of whom lines on substance use may be shown.

    Returns
    -------
    list of dict
        With `LINE_COLUMNS`.
    """
    years: dict[str, set[int]] = {}
    for row in over_cap:
        years.setdefault(row["member_id"], set()).add(row["year"])
    of_shard: dict[int, dict[int, str]] = {}
    for member_id in years:
        key = member_keys([member_id])[0]
        at = int(shard_of(key, len(plan.shards)))
        of_shard.setdefault(at, {})[int(key)] = member_id
    codes = {name: population.codes(name) for name in ("hcpcs", "revenue", "ndc")}
    substance = {n for n, dx in enumerate(population.codes("dx").to_pylist()) if _protects(dx)}
    rows: list[dict[str, Any]] = []
    for at, members in sorted(of_shard.items()):
        lines = _Lines(plan, plan.shards[at], codes, substance)
        for key, member_id in members.items():
            rows += lines.of(key, member_id, years[member_id], open_to=member_id in consent)
    order = ("member_id", "incurred_date", "claim_id", "claim_line_number")
    return sorted(rows, key=lambda row: tuple(row[name] for name in order))


def _protects(dx: str) -> bool:
    return dx.startswith(SUBSTANCE_DIAGNOSES)


class _Lines:
    """Lines of a shard's members that counted, as they may be shown."""

    def __init__(
        self, plan: Plan, shard: Shard, codes: Mapping[str, pa.Array], substance: set[int]
    ) -> None:
        self._plan = plan
        self._shard = shard
        self._codes = codes
        self._attributions = plan.attributed(shard)
        record = shard.record(columns=["member_key", "claim_id", "dx"])
        self._protected = {
            (row["member_key"], row["claim_id"])
            for row in record.to_pylist()
            if substance.intersection(row["dx"] or ())
        }

    def of(
        self, key: int, member_id: str, years: set[int], *, open_to: bool
    ) -> Iterator[dict[str, Any]]:
        plan, shard = self._plan, self._shard
        member = int(np.searchsorted(shard.column("members", "member_key"), np.uint64(key)))
        fates, rows = member_line_fates(
            plan.seen(shard), member, plan.rule_sets, cutoff_day=plan.cutoff_day,
            attributions=self._attributions, group_rule_set=plan.group_rule_set,
            n_partnerships=plan.roster.n_partnerships,
        )  # fmt: skip
        day = shard.column("lines", INCURRED_BY[incurred_by(plan.rule_sets)])
        spans = {year: year_bounds(year) for year in years}
        for row, fate in zip(range(rows.start, rows.stop), fates, strict=True):
            incurred = int(day[row])
            year = next((y for y, (first, end) in spans.items() if first <= incurred < end), None)
            if year is None or fate != RunFate.COUNTED:
                continue
            category = SERVICE_CATEGORIES[self._number("category", row)]
            claim = shard.strings("line_detail", "claim_id")[row].as_py()
            if not open_to and (category == SUBSTANCE_USE or (key, claim) in self._protected):
                continue
            said = (
                member_id,
                year,
                date_text(incurred),
                CLAIM_TABLES[self._number("source_table", row)],
                claim,
                shard.strings("line_detail", "claim_line_number")[row].as_py(),
                category,
                self._code("hcpcs", row),
                self._code("revenue", row),
                self._code("ndc", row) if open_to else "",
                self._number("paid_cents", row),
                self._number("allowed_cents", row),
            )
            yield dict(zip(LINE_COLUMNS, said, strict=True))

    def _number(self, name: str, row: int, table: str = "lines") -> int:
        return int(self._shard.column(table, name)[row])

    def _code(self, system: str, row: int) -> str:
        return str(self._codes[system][self._number(system, row, "line_detail")].as_py())
