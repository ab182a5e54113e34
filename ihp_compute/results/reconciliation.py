"""Whether every dollar of a run is where its settlement says: the ledger held to what settles.

    retained -> less each fate of a run -> counted -> amount, cap, floor, completion -> cost
             -> cost of the performance year -> completion of the contract -> observed
             -> target less observed -> savings            walk -> payment

    counted -> cap, floor, completion -> cost -> completion of the contract -> observed,
        by partnership and year, beside what the ledger has of all

Sums of the stored tables alone; nothing is measured. What a contract's own rules move between two
lines (another amount than paid, completion) stands as a line; where no contract has such a rule the
line must be 0, or the run does not balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import ContractSet
from ihp_compute.ledger import CLAIM_TABLES, LINE_FATES, IngestFate, RunFate
from ihp_compute.results import kept_terms
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import result
from ihp_compute.results.suppression import OpenForm
from ihp_compute.results.tables import CAPS, CELLS, LEDGER, SETTLEMENT, WALK

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
class PartnershipYear:
    """A partnership's dollars of a year, from what is counted to what settles; cents.

    Attributes
    ----------
    partnership_id : str
    year : int
    counted_cents : int or None
        Cost by the contract's rules, before floor and cap.
    above_cap_cents, floored_cents : int or None
        What the cap took away, what raised negative costs to zero.
    completed_cents : int or None
        What the run adds for claims to come.
    cost_cents : int
        counted - above cap + floored + completed, as rate cells hold it.
    added_cents : int or None
        What the contract's completion adds; None of the base year, whose cost the target rests on.
    observed_cents : int or None
        What the settlement rests on.
    off_cents : int
        What none of this explains; 0: it ties.

    Another None is held back.
    """

    partnership_id: str
    year: int
    counted_cents: int | None
    above_cap_cents: int | None
    floored_cents: int | None
    completed_cents: int | None
    cost_cents: int
    added_cents: int | None
    observed_cents: int | None
    off_cents: int


@dataclass(frozen=True)
class Total:
    """Dollars of all partnerships and both years, and those that the ledger has; cents.

    Attributes
    ----------
    name : str
        counted, above_cap, floored or cost.
    cents, ledger_cents, off_cents : int or None
        None where it is held back, and `ledger_cents` and `off_cents` where contracts have claims
        measured in several ways, of which the ledger tells apart.
    """

    name: str
    cents: int | None
    ledger_cents: int | None
    off_cents: int | None


@dataclass(frozen=True)
class Reconciliation:
    """The dollars of a run, and whether they are all there.

    `lines` follow one another to the cost of both years where one measurement makes them; where
    contracts see other claims, each measurement has its own and only checks are made. `years` and
    `totals` tie the ledger to each partnership's observed cost.
    """

    lines: tuple[Line, ...]
    checks: tuple[Check, ...]
    years: tuple[PartnershipYear, ...] = ()
    totals: tuple[Total, ...] = ()

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
    years = tuple(_years(run_dir, contracts, manifest, whole.years))
    counted = _sum(one.counted_cents for one in years)
    checks = [*whole.checks(contracts, manifest, counted), _tie(years)]
    totals = tuple(_totals(years, shown, is_all=True))
    if form is not None:
        n_all, years = len(years), tuple(_open(years, form))
        totals = tuple(_totals(years, shown, is_all=len(years) == n_all))
    lines = shown.lines(totals[0].cents) if whole.measurements == 1 else ()
    return Reconciliation(tuple(lines), tuple(checks), years, totals)


@dataclass(frozen=True)
class _Sums:
    """Sums of the tables of a run; None where something of one is held back."""

    ledger: Mapping[tuple[str, str, int], tuple[int | None, int | None]]
    cost: Mapping[int, int | None]
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
                {"year": year, "cost_cents": None}
                for year in years
                if any((name, year) not in told for name in names)
            ]
        walked = [row["amount_cents"] for row in rows(WALK) if row["step"] == "payment"]
        return cls(
            ledger={
                key: (_sum(lines for lines, _ in found), _sum(cents for _, cents in found))
                for key, found in ledger.items()
            },
            cost={
                year: _sum(row["cost_cents"] for row in cells if row["year"] == year)
                for year in years
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

    def lines(self, by_rule: int | None) -> Iterable[Line]:
        """From what was retained to what is paid, given what contracts count of it."""
        base, performance = self.years
        retained = self.ledger.get(("ingest", IngestFate.RETAINED.label, 0), (0, 0))[1]
        yield Line("retained", retained)
        for fate in LINE_FATES:
            if fate is not RunFate.COUNTED:
                yield Line(f"less_{fate.label}", _less(0, self.run(fate)))
        yield Line("counted", self.run(RunFate.COUNTED))
        cost = _sum(self.cost.values())
        above, floored = self.run(RunFate.ABOVE_CAP), self.run(RunFate.FLOORED)
        capped = _sum((_less(by_rule, above), floored))
        yield Line("amount_rule", _less(by_rule, self.run(RunFate.COUNTED)))
        yield Line("above_cap", _less(0, above))
        yield Line("floored", floored)
        yield Line("completed_by_run", _less(cost, capped))
        yield Line("cost", cost)
        yield Line(f"cost_of_base_year_{base}", self.cost[base])
        now = self.cost[performance]
        yield Line(f"cost_of_performance_year_{performance}", now)
        yield Line("completion_of_contract", _less(self.settlement["observed"], now))
        for name in ("observed", "target", "savings", "payment"):
            yield Line(name, self.settlement[name])

    def checks(
        self, contracts: ContractSet, manifest: Mapping[str, Any], by_rule: int | None
    ) -> Iterable[Check]:
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
        moved = {line.line: line.cents for line in self.lines(by_rule)}
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


def _years(
    run_dir: Path, contracts: ContractSet, manifest: Mapping[str, Any], years: tuple[int, int]
) -> Iterable[PartnershipYear]:
    """Every partnership in both years, of the whole tables."""
    cells = _by_year(result(run_dir, CELLS).to_pylist(), ("paid_cents", "cost_cents"))
    caps = {(row["partnership_id"], row["year"]): row for row in result(run_dir, CAPS).to_pylist()}
    agreements = contracts.at(years[1])
    completes = any(one["parts"] for one in manifest["completion"]["measurements"])
    for row in result(run_dir, SETTLEMENT).to_pylist():
        name = row["partnership_id"]
        for year in years:
            counted, cost = cells.get((name, year), (0, 0))
            moved = caps.get((name, year), {})
            above, floored = moved.get("above_cap_cents", 0), moved.get("floored_cents", 0)
            completed = cost - (counted - above + floored)
            observed = row["observed_cents"] if year == years[1] else None
            added = None if observed is None else observed - cost
            off = 0 if completes else completed
            if added is not None and agreements[name]["observed.completion"] is None:
                off += added
            yield PartnershipYear(
                name, year, counted, above, floored, completed, cost, added, observed, off
            )


def _by_year(
    rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...]
) -> dict[tuple[str, int], list[int]]:
    """Sums over the rate cells of a partnership and year."""
    found: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0] * len(columns))
    for row in rows:
        own = found[row["partnership_id"], row["year"]]
        for k, name in enumerate(columns):
            own[k] += row[name]
    return found


def _open(years: Iterable[PartnershipYear], form: OpenForm) -> Iterable[PartnershipYear]:
    """Those of which everybody may see anything, without what is held back."""
    told = {(row["partnership_id"], row["year"]) for row in form.table(CELLS.name).to_pylist()}
    capped = {
        (row["partnership_id"], row["year"]): row for row in form.table(CAPS.name).to_pylist()
    }
    for one in years:
        at = one.partnership_id, one.year
        if at in told:
            yield _held(one, capped.get(at, {}))


def _held(one: PartnershipYear, capped: Mapping[str, Any]) -> PartnershipYear:
    """The same as everybody may see it, by its row of the open form of `CAPS`."""
    above, floored = capped.get("above_cap_cents"), capped.get("floored_cents")
    known = capped.get("uncapped_cents") is not None
    return replace(
        one,
        counted_cents=one.counted_cents if known else None,
        above_cap_cents=above,
        floored_cents=floored,
        completed_cents=one.completed_cents if known else None,
    )


def _totals(years: Iterable[PartnershipYear], sums: _Sums, *, is_all: bool) -> Iterable[Total]:
    """All partnerships beside the ledger of the run's one measurement."""
    years = list(years)
    counted, above, floored = (
        sums.run(fate) if sums.measurements == 1 else None
        for fate in (RunFate.COUNTED, RunFate.ABOVE_CAP, RunFate.FLOORED)
    )
    for name, ledger in (
        ("counted", counted),
        ("above_cap", above),
        ("floored", floored),
        ("cost", _sum((_less(counted, above), floored))),
    ):
        cents = _sum(getattr(one, f"{name}_cents") for one in years) if is_all else None
        yield Total(name, cents, ledger, _less(cents, ledger))


def _tie(years: Iterable[PartnershipYear]) -> Check:
    return Check(
        "each partnership's cost of each year is what is counted less cap and floor, and what is "
        "observed",
        not any(one.off_cents for one in years),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)


def _less(value: int | None, other: int | None) -> int | None:
    return None if value is None or other is None else value - other
