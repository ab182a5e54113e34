"""The state in one row, and every partnership's savings rate with its intervals in one chart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ihp_compute.report import numbers
from ihp_compute.report.charts import ForestRow, Whisker, forest
from ihp_compute.report.partnerships import INNER, OUTER, Partnership
from ihp_compute.report.rows import Row
from ihp_compute.results import kept_terms

FLAG_MARKS: Final = {
    "below_minimum_size": "\N{DAGGER}",
    "empty_cell": "\N{DOUBLE DAGGER}",
    "thin_cell": "\N{PILCROW SIGN}",
}

OTHER_MARK: Final = "\N{ASTERISK}"

WEAK_MARK: Final = "\N{SECTION SIGN}"
"""Standard error above the gate."""


def state_row(
    partnerships: Sequence[Partnership],
    *,
    whole: Row | None = None,
    left_out: int = 0,
    too_small: Collection[str] = (),
) -> Row:
    """The state in one row: sums over partnerships, and who comes nearest to a gate.

    Where some are left out, `whole` has the sums; what it has not is of the others alone. Nearest
    is no partnership that is `too_small` for its contract.
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
    near = [row for row in missed if row["partnership_id"] not in too_small]
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
        "nearest": min(near, key=lambda row: row["missed_by_cents"], default=None),
        "n_sure": sum(p.sure_at == numbers.percent(OUTER, places=0) for p in partnerships),
        "n_flagged": sum(bool(p.flags) for p in partnerships),
        "n_weak": sum(_is_weak(p) for p in partnerships),
        "has_intervals": any(p.intervals for p in partnerships),
        "rate_end_error": _largest(
            p.end_error("savings_rate", "target_resampled") for p in partnerships
        ),
        "payment_end_error_cents": _largest(
            p.end_error("payment_cents", "target_fixed") for p in partnerships
        ),
    }


def _largest(errors: Iterable[float | None]) -> float:
    return max((error for error in errors if error is not None), default=0.0)


def below_minimum(
    run_dir: Path, manifest: Mapping[str, Any], partnerships: Sequence[Partnership]
) -> frozenset[str]:
    """Partnerships with fewer members than their contract asks for."""
    if not (run_dir / kept_terms.FILE).is_file():
        return frozenset()
    agreements = kept_terms.read(run_dir).contracts.at(manifest["performance_year"])
    found = []
    for p in partnerships:
        agreement = agreements.get(p.row["partnership_id"])
        least = None if agreement is None else agreement["agreement.minimum_members"]
        if least is not None and p.row["n_members"] < least:
            found.append(p.row["partnership_id"])
    return frozenset(found)


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
