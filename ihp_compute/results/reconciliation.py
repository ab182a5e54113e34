"""Whether every dollar of a run is where its settlement says: the ledger held to what settles.

    retained -> less each fate of a run -> counted -> amount, cap, floor, completion -> cost
             -> cost of the performance year -> completion of the contract -> observed
             -> target less observed -> savings            walk -> payment

Sums of the stored tables alone; nothing is measured. What a contract's own rules move between two
lines (another amount than paid, completion) stands as a line; where no contract has such a rule the
line must be 0, or the run does not balance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import ContractSet
from ihp_compute.ledger import CLAIM_TABLES, LINE_FATES, IngestFate, RunFate
from ihp_compute.results import kept_terms
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import result
from ihp_compute.results.suppression import OpenForm
from ihp_compute.results.tables import CELLS, LEDGER, SETTLEMENT, WALK

PAID: Final = "paid"


@dataclass(frozen=True)
class Line:
    """One line from what was retained to what is paid; cents, None where it is held back."""

    line: str
    cents: int | None


@dataclass(frozen=True)
class Check:
    """Two sums that must be one.

    Attributes
    ----------
    what : str
        In words.
    balanced : bool
    """

    what: str
    balanced: bool


@dataclass(frozen=True)
class Reconciliation:
    """The dollars of a run, and whether they are all there.

    `lines` follow one another to the cost of both years where one measurement makes them; where
    contracts see other claims, each measurement has its own and only checks are made.
    """

    lines: tuple[Line, ...]
    checks: tuple[Check, ...]

    @property
    def balanced(self) -> bool:
        """Whether every check holds."""
        return all(check.balanced for check in self.checks)


def reconcile(run_dir: Path, form: OpenForm | None = None) -> Reconciliation:
    """The dollars of a finished run.

    Parameters
    ----------
    run_dir : Path
    form : OpenForm, optional
        What everybody may see of it: lines that rest on hidden rows are held back. Checks are made
        of the whole tables.

    Raises
    ------
    RunError
        If the folder is no finished run of this method version, or a table is missing or damaged.
    """
    manifest = read_manifest(run_dir, go_on=True)
    contracts = kept_terms.read(run_dir).contracts
    whole = _Sums.of(run_dir, manifest, None)
    shown = whole if form is None else _Sums.of(run_dir, manifest, form)
    lines = shown.lines() if whole.measurements == 1 else ()
    return Reconciliation(tuple(lines), tuple(whole.checks(contracts, manifest)))


@dataclass(frozen=True)
class _Sums:
    """Sums of the tables of a run; None where something of one is held back."""

    ledger: Mapping[tuple[str, str, int], tuple[int | None, int | None]]
    cells: Mapping[tuple[int, str], int | None]
    settlement: Mapping[str, int | None]
    payments: tuple[int | None, int | None]
    years: tuple[int, int]
    measurements: int

    @classmethod
    def of(cls, run_dir: Path, manifest: Mapping[str, Any], form: OpenForm | None) -> _Sums:
        def rows(declared: Any) -> list[dict[str, Any]]:
            table = result(run_dir, declared) if form is None else form.table(declared.name)
            return list(table.to_pylist())

        settled = rows(SETTLEMENT)
        names = {row["partnership_id"] for row in settled}
        ledger: dict[tuple[str, str, int], list[tuple[int | None, int | None]]] = {}
        for row in rows(LEDGER):
            if row["source_table"] in CLAIM_TABLES:
                key = (row["stage"], row["fate"], row["measurement"])
                ledger.setdefault(key, []).append((row["lines"], row["paid_cents"]))
        cells = [row for row in rows(CELLS) if row["partnership_id"] in names]
        years = (manifest["base_year"], manifest["performance_year"])
        told = {(row["partnership_id"], row["year"]) for row in cells}
        if form is not None:  # who is hidden wholly has no rows there
            cells += [
                {"year": year, "paid_cents": None, "cost_cents": None}
                for year in years
                if any((name, year) not in told for name in names)
            ]
        walked = [row["amount_cents"] for row in rows(WALK) if row["step"] == "payment"]
        return cls(
            ledger={
                key: (_sum(lines for lines, _ in found), _sum(cents for _, cents in found))
                for key, found in ledger.items()
            },
            cells={
                (year, column): _sum(row[column] for row in cells if row["year"] == year)
                for year in years
                for column in ("paid_cents", "cost_cents")
            },
            settlement={
                name: _sum(row[f"{name}_cents"] for row in settled)
                for name in ("target", "observed", "savings", "payment")
            },
            payments=(_sum(walked), _sum(row["payment_cents"] for row in settled)),
            years=years,
            measurements=len(manifest["completion"]["measurements"]),
        )

    def run(self, fate: RunFate) -> int | None:
        """Cents of a fate of the run's one measurement."""
        return self.ledger.get(("run", fate.label, 0), (0, 0))[1]

    def lines(self) -> Iterable[Line]:
        """From what was retained to what is paid."""
        base, performance = self.years
        retained = self.ledger.get(("ingest", IngestFate.RETAINED.label, 0), (0, 0))[1]
        yield Line("retained", retained)
        for fate in LINE_FATES:
            if fate is not RunFate.COUNTED:
                yield Line(f"less_{fate.label}", _less(0, self.run(fate)))
        yield Line("counted", self.run(RunFate.COUNTED))
        by_rule = _sum(self.cells[year, "paid_cents"] for year in self.years)
        cost = _sum(self.cells[year, "cost_cents"] for year in self.years)
        above, floored = self.run(RunFate.ABOVE_CAP), self.run(RunFate.FLOORED)
        capped = _sum((_less(by_rule, above), floored))
        yield Line("amount_rule", _less(by_rule, self.run(RunFate.COUNTED)))
        yield Line("above_cap", _less(0, above))
        yield Line("floored", floored)
        yield Line("completed_by_run", _less(cost, capped))
        yield Line("cost", cost)
        yield Line(f"cost_of_base_year_{base}", self.cells[base, "cost_cents"])
        now = self.cells[performance, "cost_cents"]
        yield Line(f"cost_of_performance_year_{performance}", now)
        yield Line("completion_of_contract", _less(self.settlement["observed"], now))
        for name in ("observed", "target", "savings", "payment"):
            yield Line(name, self.settlement[name])

    def checks(self, contracts: ContractSet, manifest: Mapping[str, Any]) -> Iterable[Check]:
        """What must hold."""
        for measurement in range(self.measurements):
            retained = self.ledger.get(("ingest", IngestFate.RETAINED.label, 0), (0, 0))
            fates = [
                self.ledger.get(("run", fate.label, measurement), (0, 0)) for fate in LINE_FATES
            ]
            told = tuple(_sum(side) for side in zip(*fates, strict=True))
            yield Check(
                "every line and dollar that the ingest retained has one fate in measurement "
                f"{measurement}",
                told == retained,
            )
        target, observed, savings = (
            self.settlement[name] for name in ("target", "observed", "savings")
        )
        yield Check("target less observed is savings", _less(target, observed) == savings)
        yield Check("the walks lead to the payments", self.payments[0] == self.payments[1])
        if self.measurements > 1:
            return
        moved = {line.line: line.cents for line in self.lines()}
        agreements = contracts.at(manifest["performance_year"]).values()
        if all(agreement["cost.amount"] == PAID for agreement in agreements):
            yield Check("what is counted is what settlements rest on", moved["amount_rule"] == 0)
        if not any(one["parts"] for one in manifest["completion"]["measurements"]):
            yield Check(
                "cost is what is counted, less cap and floor", moved["completed_by_run"] == 0
            )
        if all(agreement["observed.completion"] is None for agreement in agreements):
            yield Check(
                "cost of the performance year is what is observed",
                moved["completion_of_contract"] == 0,
            )


def _sum(values: Iterable[int | None]) -> int | None:
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def _less(value: int | None, other: int | None) -> int | None:
    return None if value is None or other is None else value - other
