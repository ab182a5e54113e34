"""The walk from base to payment, as an exhibit prints it: dollars, the rule in words, its page.

    recomputed base · credibility · agreed base · trend · policy · completion · rate mix · risk
    risk corridor · risk credibility · risk cap, where the contract has a corridor or credibility
    target · observed · savings · gate · the contract's steps in its order · payment

Bases, target, observed, savings, gate (the dollars to be reached), share and payment are levels;
the others are changes of what stands before them. So the base used and the changes after it add up
to the target; share and the changes after it to the payment. A cap of the ratio alone has no line,
it is in that of risk. Which line of a step is a change is declared with the step
(`contracts.steps`); its words stand beside its operations (`steps`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from numpy.typing import NDArray

from ihp_compute.contracts import BASES, NO_RULE, SETTLEMENT_STEPS, Agreement, Value
from ihp_compute.settlement.cells import SettledCell
from ihp_compute.settlement.risk_ratio import CORRIDOR, CREDIBILITY, RATIO_RULES
from ihp_compute.settlement.steps import OPERATIONS, Outcome
from ihp_compute.settlement.target import trend_factor
from ihp_compute.units import CENTS_PER_USD, MICRO, dollars

CHANGES: Final = (
    frozenset({"credibility", "trend", "policy", "completion", "rate_mix", "risk", *RATIO_RULES})
    | {step.line for step in SETTLEMENT_STEPS.values() if step.shows == "change" and step.line}
)  # fmt: skip
"""Lines of a walk whose amount is a change; every other line's amount is a level."""


@dataclass(frozen=True)
class Step:
    """One line of a walk.

    Attributes
    ----------
    step : str
    amount_cents : int
        A change, or the level itself.
    before_cents : int or None
        Where a change starts; None for a level.
    after_cents : int
        Where the step leads.
    detail, citation, basis : str
        The rate or ratio applied, where it is written, and how good that source is; `no rule`
        where the agreement has none. What others lead to (target, savings, payment) has the weakest
        basis among them.
    """

    step: str
    amount_cents: int
    before_cents: int | None
    after_cents: int
    detail: str
    citation: str
    basis: str


def steps(rows: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Walk rows of one partnership, in order, with where each starts and leads.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of `results.WALK`, any order.

    Returns
    -------
    list of Step
    """
    found: list[Step] = []
    here = 0
    for row in sorted(rows, key=lambda row: row["position"]):
        amount = int(row["amount_cents"])
        change = row["step"] in CHANGES
        after = here + amount if change else amount
        found.append(
            Step(
                row["step"],
                amount,
                here if change else None,
                after,
                row["detail"],
                row["citation"],
                row["basis"],
            )
        )
        here = after
    return found


@dataclass(frozen=True)
class WalkRow:
    """One line of the exhibit."""

    step: str
    amount_cents: int
    detail: str
    citation: str
    basis: str


@dataclass(frozen=True)
class Movers:
    """Members who stand in several rate cells of a year.

    Attributes
    ----------
    months : int
        Theirs, of the performance year.
    pmpm_without_usd : float or None
        Target per member month without them; None where nobody is left, or no base of a rate cell.
    """

    months: int
    pmpm_without_usd: float | None


def walk(
    agreement: Agreement,
    first: Mapping[str, float],
    given: Mapping[str, NDArray[Any]],
    cells: Sequence[SettledCell],
    movers: Movers | None = None,
    *,
    base_year: int,
    performance_year: int,
    score: Decimal | None,
    fill: str = "",
) -> tuple[WalkRow, ...]:
    """The walk of the data as observed.

    Parameters
    ----------
    agreement : Agreement
    first : mapping of name to number
        Outputs of `settle.run_program` for replicate 0.
    given : mapping of name to array
        Sources of the target; their replicate 0 is read.
    cells : sequence of SettledCell
        The target by rate cell.
    movers : Movers, optional
        Told in the line of the mix of rate cells.
    score : Decimal or None
        Quality score used.
    fill : str
        Policy by which it stands in for a missing one; empty where none is needed.
    """
    writer = _Walk(agreement, first, given, cells, movers)
    writer.to_target(base_year, performance_year)
    writer.to_payment(score, fill)
    return tuple(writer.rows)


class _Walk:
    def __init__(
        self,
        agreement: Agreement,
        first: Mapping[str, float],
        given: Mapping[str, NDArray[Any]],
        cells: Sequence[SettledCell],
        movers: Movers | None,
    ) -> None:
        self.agreement = agreement
        self.movers = movers
        self.cells = cells
        self.first = first
        self.given = given
        self.bound = agreement.binding
        self.rows: list[WalkRow] = []

    def cents(self, name: str) -> int:
        return int(self.first[name])

    def add(self, step: str, amount: int, detail: str, *paths: str) -> None:
        """One row; cites the terms of `paths` that bind, with the weakest basis among them."""
        binding = self._binding(paths)
        citation = "; ".join(dict.fromkeys(v.citation for v in binding))
        basis = max((v.basis for v in binding), key=BASES.index, default=NO_RULE)
        none = f"no rule in {self.agreement.name}"
        self.rows.append(WalkRow(step, amount, detail, citation or none, basis))

    def add_sum(
        self,
        step: str,
        amount: int,
        detail: str,
        *paths: str,
        of: Sequence[WalkRow],
        words: str = "",
    ) -> None:
        """One row that others lead to: its own rule, and the weakest basis among them and it.

        The citation says whose basis that is.
        """
        binding = self._binding(paths)
        parts = [(row.step, row.basis) for row in of if row.basis != NO_RULE]
        known = [basis for _, basis in parts] + [v.basis for v in binding]
        basis = max(known, key=BASES.index, default=NO_RULE)
        weak = dict.fromkeys(name.replace("_", " ") for name, found in parts if found == basis)
        cited = [words, *(v.citation for v in binding)]
        if weak:
            cited.append(f"{basis}: {', '.join(weak)}")
        citation = "; ".join(dict.fromkeys(filter(None, cited)))
        self.rows.append(WalkRow(step, amount, detail, citation, basis))

    def _binding(self, paths: Sequence[str]) -> list[Value]:
        """Terms that bind; one that only modifies another binds where that does."""
        bound = [path for path in paths if path in self.bound]
        return [self.agreement.value(path) for path in bound if self.agreement[path] is not None]

    def pmpm(self, name: str) -> str:
        months = int(self.given["observed_months"][0])
        return f"{self.cents(name) / CENTS_PER_USD / months:,.2f} PMPM" if months else "no months"

    def to_target(self, base_year: int, performance_year: int) -> None:
        agreed = self.agreement["target.base_pmpm_fixed"]
        recomputed = (
            "recomputed_base",
            self.cents("recomputed_base"),
            f"{self.pmpm('recomputed_base')} of {base_year}, at the months of {performance_year}",
        )
        credibility = (
            "credibility",
            self.cents("credibility") - self.cents("recomputed_base"),
            self._credibility(),
            *_CREDIBILITY_PATHS,
        )
        if agreed is None:
            self.add("agreed_base", 0, "none agreed", "target.base_pmpm_fixed")
            self.add(*recomputed, "cost.claim_cap", "cost.amount")
            self.add(*credibility)
        else:
            difference = self.cents("agreed_base") - self.cents("recomputed_base")
            moved = f"{'' if difference < 0 else '+'}{dollars(difference)}"
            self.add(*recomputed, "cost.claim_cap", "cost.amount")
            self.add(*credibility)
            self.add(
                "agreed_base",
                self.cents("agreed_base"),
                f"{agreed:,.2f} PMPM agreed; {moved} against the recomputed base",
                "target.base_pmpm_fixed",
            )
        level = self.cents("agreed_base")

        def change(name: str) -> int:
            nonlocal level
            before, level = level, self.cents(name)
            return level - before

        self.add(
            "trend", change("trend"), self._trend(base_year, performance_year),
            "target.trend", "target.market",
        )  # fmt: skip
        policies = self.agreement.policies
        if not policies:
            self.add("policy", 0, "no adjustment")
        for value in policies:
            name = value.path.rsplit(".", 1)[1].replace("_", " ")
            self.add("policy", change(value.path), f"{name} × {value.value}", value.path)
        completion = self.agreement["target.completion"]
        self.add(
            "completion",
            change("completion"),
            _METHODS[self.agreement["completion.method"]]
            if completion is None
            else f"÷ {completion}",
            "target.completion",
            "completion.method",
        )
        self.add(
            "rate_mix",
            change("rate_mix"),
            f"mix of rate cells of {performance_year}; {int(self.first['empty_cells'])} borrowed "
            f"their base{self._moved()}",
            "target.rate_cells",
            *(() if self.agreement["target.cell_credibility"] else ("target.empty_cell",)),
        )
        ruled = [name for name in RATIO_RULES if name in self.first]
        self.add(
            "risk", change("risk"), self._risk(ruled=bool(ruled)), *_NORM_PATHS,
            *(() if ruled else _CAP_PATHS),
        )  # fmt: skip
        for name in ruled:
            words, *paths = self._rule(name)
            self.add(name, change(name), words, *paths)
        rounded = self.agreement["target.rounding"]
        self.add_sum(
            "target",
            self.cents("target"),
            f"{self.pmpm('target')} × {int(self.given['observed_months'][0]):,} months"
            + ("; PMPM rounded to cents" if rounded else ""),
            "target.rate_cells",
            "target.risk_ratio_by",
            "target.rounding",
            of=self.rows,
        )
        self.add(
            "observed",
            self.cents("observed"),
            f"{self.pmpm('observed')}"
            + (
                ""
                if self.agreement["observed.completion"] is None
                else f", paid ÷ {self.agreement['observed.completion']}"
            ),
            "cost.amount",
            "cost.services",
            "cost.claim_cap",
            "observed.completion",
        )

    def _credibility(self) -> str:
        """How far the own base carries, and which rate cells are thin."""
        agreement, months = self.agreement, int(self.given["base_months"][0])
        if agreement["target.base_pmpm_fixed"] is not None:
            return "an agreed base takes its place unblended"
        if not months:
            return "no base months of its own: the state's base of each rate cell"
        if agreement["target.cell_credibility"] is None:
            return "the own base carries wholly"
        cells = range(len(self.cells))
        carried = [
            cell.credibility
            for i, cell in enumerate(self.cells)
            if self.given[f"perf_months_{i}"][0]
        ]
        least = agreement["target.cell_least_months"]
        thin = [
            f"{self.cells[i].rate_cell} {int(self.given[f'base_months_{i}'][0]):,} months"
            for i in cells
            if self.given[f"perf_months_{i}"][0] and self.given[f"base_months_{i}"][0] < least
        ]
        text = (
            f"Z {self.first['base_credibility']:.4f} of {months:,} base months; level "
            f"{self.first['level']:.6f} of the state's"
        )
        if carried:
            text += f"; rate cells {min(carried):.4f} to {max(carried):.4f}"
        return text + (f"; thin: {', '.join(thin)}" if thin else "")

    def _moved(self) -> str:
        """Who moves between rate cells, and what the target is without them."""
        if self.movers is None or not self.movers.months:
            return ""
        pmpm = self.movers.pmpm_without_usd
        without = "no target" if pmpm is None else f"{pmpm:,.2f} PMPM"
        return (
            f"; {self.movers.months:,} months are of members in several rate cells, and without "
            f"them the target is {without}"
        )

    def _trend(self, base_year: int, performance_year: int) -> str:
        def factors(more: Decimal) -> list[Decimal | None]:
            return [
                trend_factor(self.agreement, cell.rate_cell, base_year, performance_year, more=more)
                for cell in self.cells
            ]

        now = factors(Decimal(0))
        known = sorted({factor for factor in now if factor is not None})
        if not known:
            if self.agreement["target.market"] is None:
                return "none"
            growth = next((cell.trend_factor for cell in self.cells), 1)
            left_out = int(self.first["cells_left_out"])
            return (
                f"growth of the comparison population's cost per unit of risk × {growth:.6f}, at "
                "one mix of rate cells"
                + (f"; {left_out} without its months in one of the years" if left_out else "")
            )
        ends = {f"{known[0]:.6f}", f"{known[-1]:.6f}"}
        point = sum(
            cell.target_cents * (raised / factor - 1)
            for cell, factor, raised in zip(self.cells, now, factors(_POINT), strict=True)
            if factor is not None and raised is not None
        )
        return (
            f"× {' to '.join(sorted(ends))} over {performance_year - base_year} years; a point "
            f"more a year moves the target by {dollars(round(point))}"
        )

    def _risk(self, *, ruled: bool) -> str:
        if self.agreement["risk.model"] is None:
            return "no risk adjustment"
        means = []
        for year in ("base", "perf"):
            months = int(self.given[f"{year}_months"][0])
            risk = int(self.given[f"{year}_risk"][0])
            means.append(f"{risk / MICRO / months:.4f}" if months else "none")
        ratio = self.first["own_ratio" if ruled else "risk_ratio"]
        return (
            f"× {ratio:.6f}, dollars after over dollars before, rate cell by rate cell"
            + ("" if ruled else f", {self._caps()}")
            + f"; own mean over all cells {means[0]} to {means[1]}; {self._norm()}"
        )

    def _caps(self) -> str:
        caps = [
            f"{way} {self.agreement[f'target.risk_ratio_cap_{way}']}"
            for way in ("up", "down")
            if self.agreement[f"target.risk_ratio_cap_{way}"] is not None
        ]
        return f"capped {' and '.join(caps)}" if caps else "no cap"

    def _rule(self, name: str) -> tuple[str, ...]:
        """Words of a rule of the risk ratio, and the terms that it reads."""
        growth, held = self.first["state_growth"], self.first["state_growth_held"]
        if name == CORRIDOR:
            path = "risk.growth_corridor"
            left_out = int(self.first["state_growth_left_out"])
            words = f"the state's mean risk grew × {growth:.6f} at one mix of rate cells"
            if left_out:
                words += f", {left_out} of them without its risk in one of the years left out"
            words += f"; within ± {self.agreement[path]}"
            return words + ("" if held == growth else f": held at × {held:.6f}"), path
        if name == CREDIBILITY:
            z, months = self.first["ratio_credibility"], int(self.given["observed_months"][0])
            return (
                f"Z {z:.4f} of {months:,} months; the rest at the state's ratio {held:.6f}",
                "risk.credibility",
            )
        return f"{self._caps()}: × {self.first['risk_ratio']:.6f} in all", *_CAP_PATHS

    def _norm(self) -> str:
        """Whose mean the norm is, and how much of it the partnership is."""
        if self.agreement["risk.normalise"] is None:
            return "no norm"
        own = int(self.given["perf_months"][0])
        state = sum(int(self.given[f"state_perf_months_{i}"][0]) for i in range(len(self.cells)))
        share = f"{own / state:.1%} of them its own" if state else "none"
        return f"norm of {state:,} months of the state, {share}"

    def to_payment(self, score: Decimal | None, fill: str) -> None:
        rate = self.first["savings_rate"]
        reached = [row for row in self.rows if row.step in {"target", "observed"}]
        self.add_sum(
            "savings", self.cents("savings"), f"{rate:.4%} of target", of=reached,
            words="target less observed",
        )  # fmt: skip
        before = len(self.rows) - 1
        outcome = Outcome(self.agreement, self.first, score, fill)
        for name in self.agreement.steps:
            line = OPERATIONS[name].line(outcome)
            if line is not None:
                shown = SETTLEMENT_STEPS[name].line
                self.add(shown, line.amount_cents, line.detail, *line.paths)
        for name, step in SETTLEMENT_STEPS.items():
            if step.missed and name not in self.agreement.steps:
                self.add(step.line, 0, "not a step of this contract")
        self.add_sum(
            "payment",
            self.cents("payment"),
            "positive: to the partnership; negative: owed by it; cents, half to even",
            "settlement.direction",
            "settlement.steps",
            of=self.rows[before:],
        )


_POINT: Final = Decimal("0.01")
_CREDIBILITY_PATHS: Final = (
    "target.cell_credibility", "target.cell_least_months", "target.cell_full_months",
    "target.base_full_months",
)  # fmt: skip
_METHODS: Final = {
    "equal_runout": "base year cut as early as the performance year",
    "computed": "each payer's cost completed by the run, in both years",
    "given": "base year complete",
    None: "nothing done about claims still to come",
}
_NORM_PATHS: Final = ("risk.model", "risk.normalise")
_CAP_PATHS: Final = ("target.risk_ratio_cap_up", "target.risk_ratio_cap_down")
