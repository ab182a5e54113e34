"""The risk step of each partnership by rate cell, as its run wrote it in the table `cells`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from ihp_compute.results.read import result
from ihp_compute.results.tables import CELLS


def risk_by_cell(run_dir: Path, cells: pa.Table | None = None) -> dict[str, list[dict[str, Any]]]:
    """Rate cells with months in the performance year, by partnership id.

    Of the run, or of `cells`, its open form, in which hidden ones are one and None says so.

    Each has, in base and performance year, its people, its mean risk, the state's, and the norm by
    which it is divided; the ratio; dollars before and after it. A partnership's sum after over its
    sum before is the ratio of its walk. Empty for a run that kept no rate cells.
    """
    if cells is None:
        if not (run_dir / f"{CELLS.name}.parquet").is_file():
            return {}
        cells = result(run_dir, CELLS)
    by_year: dict[str, dict[int, dict[str, dict[str, Any]]]] = {}
    for row in cells.to_pylist():
        of = by_year.setdefault(row["partnership_id"], {})
        of.setdefault(row["year"], {})[row["rate_cell"]] = row
    return {
        name: [
            _risk_step(of[min(of)][cell], now)
            for cell, now in of[max(of)].items()
            if now["member_months"]
        ]
        for name, of in by_year.items()
    }


def _risk_step(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    ratio, after = now["risk_ratio"], now["target_cents"]
    return {
        "rate_cell": now["rate_cell"],
        "member_months": now["member_months"],
        **{
            f"{year}_{what}": row[column]
            for year, row in (("base", before), ("performance", now))
            for what, column in (
                ("members", "n_members"), ("risk_mean", "own_risk_mean"), ("norm", "norm"),
                ("state_risk_mean", "state_risk_mean"),
            )
        },
        "risk_ratio": ratio,
        "before_cents": None if ratio is None else round(after / ratio) if ratio else after,
        "target_cents": after,
    }  # fmt: skip
