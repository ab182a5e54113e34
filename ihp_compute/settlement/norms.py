"""Risk against the norm, cost per unit of it, and what the comparison population's cost grew by.

    own mean of a rate cell ÷ the norm -> normed risk        cost per month ÷ it -> unit

The norm of a year, per rate cell: `statewide_rate_cell`, the mean of everybody eligible in the
cell; `mix_neutral`, 1 in the base year, and in the performance year the state's risk over what its
months would have at the base year's mean of each cell, one number for all cells; `none`, 1. A
target by rate cell has the mix in it already, so no norm may have it a second time: `statewide`, a
mean over all cells, is for a contract of one cell.

Norms are in millionths, as scores are. Whoever has no months or no risk has a normed risk of 0.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from ihp_compute.contracts import Agreement
from ihp_compute.settlement.program import Node, Program
from ihp_compute.units import MICRO

STATE: Final = "state"
OBSERVED: Final = "observed_state"
MARKET: Final = "market_state"
"""Whose sources a norm is read from: the draw's, the observed ones, those of the market's growth;
the last are apart because they may be held where the first move."""


def total(terms: list[Node]) -> Node:
    """The sum, from the first to the last."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


class Risk:
    """Normed risk and units of one program, each written once.

    Parameters
    ----------
    program : Program
        Over the sources of `state.sources`.
    agreement : Agreement
    """

    def __init__(self, program: Program, agreement: Agreement) -> None:
        self._p = program
        self._scored = agreement["risk.model"] is not None
        self._normalise = agreement["risk.normalise"]
        self.n_cells = len(agreement["target.rate_cells"])
        self._one = program.number(MICRO)
        self._growth = cache(self._write_growth)

    def mean(self, who: str, year: str, cell: int) -> Node:
        """Risk per member month, millionths; 0 without months. `who` is "" for the partnership."""
        months = self._p.source(f"{_of(who, year)}_months_{cell}")
        if not self._scored:
            return self._p.select(months, self._one, self._p.number(0))
        return self._p.source(f"{_of(who, year)}_risk_{cell}") / months

    def norm(self, year: str, cell: int, whose: str = STATE) -> Node:
        """What means of a year and rate cell are divided by, millionths."""
        if not self._scored or self._normalise is None:
            return self._one
        if self._normalise == "mix_neutral":
            return self._one if year == "base" else self._growth(whose)[0] * self._one
        return self.mean(whose, year, cell)

    def normed(self, who: str, year: str, cell: int, whose: str = STATE) -> Node:
        """Mean risk over the norm; 1 is the norm."""
        return self.mean(who, year, cell) / self.norm(year, cell, whose)

    def unit(self, who: str, year: str, cell: int, whose: str = STATE) -> Node:
        """Cost per member month over normed risk, cents; 0 without months or risk."""
        name = _of(who, year)
        pmpm = self._p.source(f"{name}_cost_{cell}") / self._p.source(f"{name}_months_{cell}")
        return pmpm / self.normed(who, year, cell, whose)

    @property
    def cells_left_out(self) -> Node:
        """Rate cells that the norm of the performance year leaves out."""
        if not self._scored or self._normalise != "mix_neutral":
            return self._p.number(0)
        return self._growth(STATE)[1]

    @property
    def growth_left(self) -> tuple[Node, Node]:
        """What the norm leaves of the growth of the state's risk, and cells left out of that.

        At one mix of rate cells; 1 where there is a norm, for every norm takes it out.
        """
        if not self._scored or self._normalise is not None:
            return self._p.number(1), self._p.number(0)
        return self._growth(STATE)

    def _write_growth(self, whose: str) -> tuple[Node, Node]:
        """Growth of the state's mean risk at one mix; how many cells lack risk in a year."""
        p, zero, one = self._p, self._p.number(0), self._p.number(1)
        now: list[Node] = []
        then: list[Node] = []
        lacking: list[Node] = []
        for cell in range(self.n_cells):
            base, performance = (self.mean(whose, year, cell) for year in ("base", "perf"))
            known = base * performance
            months = p.source(f"{whose}_perf_months_{cell}")
            now.append(p.select(known, p.source(f"{whose}_perf_risk_{cell}"), zero))
            then.append(p.select(known, months * base, zero))
            lacking.append(p.select(months, p.select(known, zero, one), zero))
        ratio = total(now) / total(then)
        return p.select(ratio, ratio, one), total(lacking)


def market_growth(p: Program, risk: Risk) -> tuple[Node, Node]:
    """What the comparison population's cost per unit of risk grew by, at one mix.

    Over rate cells, at its months of the performance year: units of that year over units of the
    base year. Cells in which it lacks months or risk in one of the years are left out of both.

    Returns
    -------
    growth, cells left out : Node
        Growth is 1 where every cell is left out.
    """
    zero, one = p.number(0), p.number(1)
    now: list[Node] = []
    then: list[Node] = []
    lacking: list[Node] = []
    for cell in range(risk.n_cells):
        known = risk.normed("market", "base", cell, MARKET) * risk.normed(
            "market", "perf", cell, MARKET
        )
        months = p.source(f"market_perf_months_{cell}")
        for year, sums in (("perf", now), ("base", then)):
            at = months * risk.unit("market", year, cell, MARKET)
            sums.append(p.select(known, at, zero))
        either = p.maximum(months, p.source(f"market_base_months_{cell}"))
        lacking.append(p.select(either, p.select(known, zero, one), zero))
    growth = total(now) / total(then)
    return p.select(total(then), growth, one), total(lacking)


def _of(who: str, year: str) -> str:
    return f"{who}_{year}" if who else year
