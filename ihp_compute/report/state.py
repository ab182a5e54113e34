"""The state in one row, and every partnership's savings rate with its intervals in one chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ihp_compute.report import numbers
from ihp_compute.report.charts import ForestRow, Whisker, forest
from ihp_compute.report.partnerships import INNER, OUTER, Partnership
from ihp_compute.report.rows import Row

FLAG_MARKS: Final = {
    "below_minimum_size": "\N{DAGGER}",
    "empty_cell": "\N{DOUBLE DAGGER}",
    "thin_cell": "\N{PILCROW SIGN}",
}

OTHER_MARK: Final = "\N{ASTERISK}"

WEAK_MARK: Final = "\N{SECTION SIGN}"
"""Standard error above the gate."""


def state_row(
    partnerships: Sequence[Partnership], *, whole: Row | None = None, left_out: int = 0
) -> Row:
    """The state in one row: sums over partnerships, and who comes nearest to a gate.

    Where some are left out, `whole` has the sums; what it has not is of the others alone.
    """
    rows = [p.row for p in partnerships]
    total: dict[str, int | None] = {
        name: sum(row[name] for row in rows)
        for name in (
            "n_members", "member_months", "target_cents", "observed_cents", "savings_cents",
            "payment_cents",
        )
    }  # fmt: skip
    if left_out:
        total = {name: None if whole is None else whole[name] for name in total}
    target, savings = total["target_cents"], total["savings_cents"]
    missed = [row for row in rows if not row["gate_passed"] and row["missed_by_cents"] > 0]
    return {
        **total,
        "n": len(rows),
        "savings_rate": None if savings is None else savings / target if target else 0.0,
        "n_passed": sum(row["gate_passed"] for row in rows),
        "n_missed": len(missed),
        "n_paid": sum(row["payment_cents"] > 0 for row in rows),
        "paid_cents": sum(max(row["payment_cents"], 0) for row in rows),
        "n_owing": sum(row["payment_cents"] < 0 for row in rows),
        "owed_cents": -sum(min(row["payment_cents"], 0) for row in rows),
        "nearest": min(missed, key=lambda row: row["missed_by_cents"], default=None),
        "n_sure": sum(p.sure_at == numbers.percent(OUTER, places=0) for p in partnerships),
        "n_flagged": sum(bool(p.flags) for p in partnerships),
        "n_weak": sum(_is_weak(p) for p in partnerships),
        "has_intervals": any(p.intervals for p in partnerships),
    }


def _is_weak(partnership: Partnership) -> bool:
    """Whether the standard error of the savings rate exceeds the gate."""
    error = partnership.std_error("savings_rate", "target_resampled")
    gate = partnership.gate_rate
    return error is not None and gate is not None and error > gate


def _marks(partnership: Partnership) -> str:
    marks = [FLAG_MARKS.get(flag, OTHER_MARK) for flag in partnership.flags]
    return " ".join([*marks, WEAK_MARK] if _is_weak(partnership) else marks)


def state_forest(partnerships: Sequence[Partnership]) -> Row:
    """The forest chart of all partnerships, as the page shows it."""
    rows = []
    for p in partnerships:
        gate = p.gate_rate
        side = p.row["savings_cents"] >= 0
        rows.append(
            ForestRow(
                name=p.row["partnership_id"],
                n_members=p.row["n_members"],
                rate=Whisker(
                    p.row["savings_rate"],
                    p.interval("savings_rate", "target_resampled", INNER),
                    p.interval("savings_rate", "target_resampled", OUTER),
                ),
                payment=Whisker(
                    p.row["payment_cents"],
                    p.interval("payment_cents", "target_fixed", INNER),
                    p.interval("payment_cents", "target_fixed", OUTER),
                ),
                gates=(gate, None) if side or gate is None else (None, -gate),
                passed=p.row["gate_passed"],
                flagged=bool(p.flags),
            )
        )
    state = state_row(partnerships)
    return {
        "chart": forest(
            rows,
            title="Savings rate and payment with their intervals",
            description=(
                f"{len(rows)} partnerships from largest to smallest. Thick line: 80 % interval; "
                f"thin line: 95 %. {state['n_sure']} savings rates differ from zero at 95 %. "
                "All values stand in the table that follows."
            ),
        ),
        "marks": {p.row["partnership_id"]: _marks(p) for p in partnerships},
    }
