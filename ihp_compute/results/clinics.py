"""Clinics of a run: who is in which, and what their likeness adds to a savings rate's error.

A member's clinic is the provider of the roster by whom the member was attributed
(`member_years.attributed_npi`), within the partnership. Expected cost is the state's cost per unit
of risk in each rate cell and year, times the member's months and score, at the cost rules of the
partnership's contract: mix and risk move no clinic.

Not here: how a variance is estimated (`uncertainty.clinics`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.measure import Measured, Plan
from ihp_compute.settlement import Settled
from ihp_compute.uncertainty import (
    LEAST_CLINICS,
    Clinics,
    Component,
    Totals,
    chance_above_zero,
    intervals,
)

_YEARS: Final = ("base", "perf")
OWN: Final = "own"
STATE: Final = "state"
NONE: Final = "none"
"""Whose variance of a clinic-year stands: where nobody has two clinics, none does."""


@dataclass(frozen=True)
class ClinicYears:
    """Clinic-years of a run.

    Attributes
    ----------
    clinics : Clinics
        Those with members in both years.
    groups : tuple of str
        Names of `clinics.group`.
    concentration : float64[n_groups]
        Σ w² of each group, w the part of its members of the performance year in a clinic.
    """

    clinics: Clinics
    groups: tuple[str, ...]
    concentration: NDArray[np.float64]

    @classmethod
    def of(cls, plan: Plan, measured: Measured) -> ClinicYears:
        """From the member-years of a run; the order of shards is no matter."""
        return measured.once("clinics", lambda tables: cls._of(plan, measured, tables))

    @classmethod
    def _of(cls, plan: Plan, measured: Measured, tables: Sequence[pa.Table]) -> ClinicYears:
        names = ["group_id", "attributed_npi", "score_micro"]
        names += [f"months_{cell}" for cell in RATE_CELLS]
        names += [f"cost_r{r}_cents" for r in range(len(plan.rule_sets))]
        table = pa.concat_tables([part.select(names) for part in tables])
        groups = measured.totals.groups
        known = {name: groups.index(plan.contracts.settles(name)) for name in plan.roster.groups}
        group = _coded(table.column("group_id"), lambda name: known.get(name, -1))
        ordered = sorted({*_texts(table.column("attributed_npi"))} - {""})
        rank = {npi: place for place, npi in enumerate(ordered)}
        npi = _coded(table.column("attributed_npi"), lambda name: rank.get(name, -1))
        cost, expected = _costs(plan, measured.totals, table, group)
        there = (group >= 0) & (npi >= 0)
        key = np.where(there, group * max(len(ordered), 1) + npi, -1)
        found, place = np.unique(key[there], return_inverse=True)
        clinic = np.full(key.size, -1, np.int64)
        clinic[there] = place
        of_clinic = (found // max(len(ordered), 1)).astype(np.int32)
        pairs = clinic.reshape(-1, 2).T
        now = np.bincount(pairs[1][pairs[1] >= 0], minlength=found.size)
        members = np.maximum(measured.totals.n_members, 1)
        part = now / members[of_clinic]
        return cls(
            clinics=Clinics.of(of_clinic, pairs, cost.reshape(-1, 2).T, expected.reshape(-1, 2).T),
            groups=groups,
            concentration=np.bincount(of_clinic, part**2, minlength=len(groups)).astype(np.float64),
        )

    @cached_property
    def state(self) -> Component | None:
        """The variance over all clinics of the state."""
        return self.clinics.component()

    def columns(self, one: Settled, conditioning: str) -> dict[str, Any]:
        """The columns of `CHANCES` that say what clinics add; of a partnership with draws."""
        rates = one.draws[conditioning].savings_rate
        g = self.groups.index(one.partnership_id)
        own = self.clinics.within(g)
        n_clinics = own.group.size
        whose, found = (OWN, own.component()) if n_clinics >= LEAST_CLINICS else (STATE, self.state)
        variance = 0.0 if found is None else found.variance
        base = one.base_carried**2 if conditioning == "target_resampled" else 0.0
        of_target = one.observed_cents / one.target_cents if one.target_cents else 0.0
        clinic_year = variance * float(self.concentration[g]) * (1 + base) * of_target**2
        std_error = intervals(rates)[0].std_error
        return {
            "clinics": n_clinics,
            "clinic_year_from": NONE if found is None else whose,
            "clinic_year_sd": variance**0.5,
            "rate_std_error": std_error,
            "rate_std_error_with_clinics": (std_error**2 + clinic_year) ** 0.5,
            "savings_above_zero_with_clinics": chance_above_zero(rates[1:], clinic_year**0.5),
        }

    def document(self) -> dict[str, Any]:
        """What the manifest says of the state's clinics."""
        found = self.state
        if found is None:
            return {"clinics": 0, "variance": None, "std_error": None}
        return {
            "clinics": found.n_clinics,
            "variance": found.variance,
            "std_error": found.std_error,
        }


def _texts(column: pa.ChunkedArray) -> list[str]:
    return [text for chunk in column.chunks for text in chunk.dictionary.to_pylist()]


def _coded(column: pa.ChunkedArray, code: Callable[[str], int]) -> NDArray[np.int64]:
    """A dictionary column in codes of its texts."""
    parts = []
    for chunk in column.chunks:
        codes = np.array([code(text) for text in chunk.dictionary.to_pylist()], np.int64)
        parts.append(codes[chunk.indices.to_numpy()])
    return np.concatenate(parts)


def _costs(
    plan: Plan, totals: Totals, table: pa.Table, group: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cost and expected cost of each member-year, in cents: base and performance year in turn."""
    of_group = {
        plan.contracts.settles(name): rule_set
        for name, rule_set in zip(plan.roster.groups, plan.group_rule_set, strict=True)
    }
    rule_sets = np.array([of_group[name] for name in totals.groups], np.int64)
    rule_set = rule_sets[np.maximum(group, 0)]
    year = np.arange(group.size) % 2
    units = np.zeros((len(plan.rule_sets), 2, len(RATE_CELLS)))
    for t, of in enumerate(_YEARS):
        risk = totals.values[:, :, 0, totals.columns.index(f"{of}_risk")].sum(axis=0)
        for r in range(len(plan.rule_sets)):
            cents = totals.values[:, :, 0, totals.columns.index(f"{of}_cost_r{r}")].sum(axis=0)
            units[r, t] = np.where(risk > 0, cents / np.maximum(risk, 1), 0.0)
    cost = np.zeros(group.size, np.int64)
    for r in range(len(plan.rule_sets)):
        cost = np.where(rule_set == r, table.column(f"cost_r{r}_cents").to_numpy(), cost)
    at_one = np.zeros(group.size)
    for c, cell in enumerate(RATE_CELLS):
        at_one += table.column(f"months_{cell}").to_numpy() * units[rule_set, year, c]
    expected = np.rint(at_one * table.column("score_micro").to_numpy()).astype(np.int64)
    return cost, expected
