"""The settlement, walk and intervals of one partnership, as its run wrote them.

A walk is a list of levels and changes. A level stands by itself (base, target, observed, payment);
a change leads from the level before it to the next (trend, policy, quality, withhold). Which is
which is decided once, in `settlement.walk`, so that terminal and report draw the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from ihp_compute.errors import RunError
from ihp_compute.explain.origin import check_run
from ihp_compute.results import INTERVALS, SETTLEMENT, WALK, result, risk_by_cell
from ihp_compute.settlement import PARTNERSHIP, Step, steps


@dataclass(frozen=True)
class PartnershipExplained:
    """A partnership's settlement, walk and intervals, as the run wrote them.

    `cells` has the risk step by rate cell, from which the ratio of the walk follows: in each year
    the partnership's mean risk, the state's, and the norm by which it is divided; the ratio;
    dollars before and after it. Their sums after over before are the ratio of the walk. Empty for
    a run that kept no rate cells.
    """

    settlement: dict[str, Any]
    walk: list[Step]
    intervals: list[dict[str, Any]]
    cells: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {
            "settlement": self.settlement,
            "walk": [
                {
                    "step": step.step,
                    "amount_cents": step.amount_cents,
                    "kind": "level" if step.before_cents is None else "change",
                    "detail": step.detail,
                    "citation": step.citation,
                    "basis": step.basis,
                }
                for step in self.walk
            ],
            "intervals": self.intervals,
            "cells": self.cells,
        }


def explain_partnership(run_dir: Path, partnership_id: str) -> PartnershipExplained:
    """The walk from base to payment of one partnership, every step with dollars and source.

    Parameters
    ----------
    run_dir : Path
    partnership_id : str

    Returns
    -------
    PartnershipExplained

    Raises
    ------
    RunError
        If the folder is not a finished run or the partnership is not in it.
    """
    check_run(run_dir, "--partnership")
    settlement = result(run_dir, SETTLEMENT)
    row = settlement.filter(pc.equal(settlement.column("partnership_id"), partnership_id))
    if row.num_rows == 0:
        known = settlement.column("partnership_id").to_pylist()
        some = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise RunError(f"{run_dir}: no partnership {partnership_id!r}; the run has {some}")
    walk = result(run_dir, WALK)
    intervals = result(run_dir, INTERVALS)
    return PartnershipExplained(
        row.to_pylist()[0],
        steps(walk.filter(pc.equal(walk.column("partnership_id"), partnership_id)).to_pylist()),
        intervals.filter(
            pc.and_(
                pc.equal(intervals.column("scope"), PARTNERSHIP),
                pc.and_(
                    pc.equal(intervals.column("partnership_id"), partnership_id),
                    pc.equal(intervals.column("item"), ""),
                ),
            )
        ).to_pylist(),
        risk_by_cell(run_dir).get(partnership_id, []),
    )
