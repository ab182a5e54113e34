"""Interim and final settlement of one year: what the final one still moves.

Both are runs of the same years, with earlier and later claims. Final less interim is paid when
positive and recouped when negative; a partnership that only one run settled stands with zero in the
other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from ihp_compute.errors import RunError
from ihp_compute.folders import MANIFEST, read_manifest
from ihp_compute.measure import final_less_interim
from ihp_compute.results.manifest import RUN
from ihp_compute.results.read import result
from ihp_compute.results.tables import SETTLEMENT

SETTLED: Final = replace(
    RUN,
    entries=(
        "performance_year", "base_year", "paid_through", "contracts", "risk_model",
        "method_version",
    ),
    no_folder=f"{{folder}}: no {MANIFEST}, expected a finished run",
    no_manifest=f"{{folder}}: no {MANIFEST}, expected a finished run",
    another="{folder}: found a {found}, expected a finished run",
)  # fmt: skip


@dataclass(frozen=True)
class TrueUp:
    """Payments of two runs of one year, in cents, by partnership id.

    `differs` names what else than the claims' cutoff differs between them.
    """

    performance_year: int
    interim_through: date
    final_through: date
    interim_cents: dict[str, int]
    final_cents: dict[str, int]
    moved_cents: dict[str, int]
    differs: tuple[str, ...]


def true_up(final: Path, interim: Path) -> TrueUp:
    """Final less interim of two run folders.

    Raises
    ------
    RunError
        If a folder is no run, the runs settle other years, or the interim run saw claims paid
        later than the final one.
    """
    last, first = (read_manifest(folder, SETTLED) for folder in (final, interim))
    for key in ("performance_year", "base_year"):
        if last[key] != first[key]:
            raise RunError(
                f"{final.name} and {interim.name}: {key} {last[key]} and {first[key]} differ, "
                "expected two runs of the same years"
            )
    through = [date.fromisoformat(m["paid_through"]) for m in (first, last)]
    if through[0] > through[1]:
        raise RunError(
            f"{interim.name}: claims paid through {through[0]}, after the {through[1]} of "
            f"{final.name}; expected the interim run to be the earlier one"
        )
    payments = [_payments(folder) for folder in (interim, final)]
    return TrueUp(
        performance_year=last["performance_year"],
        interim_through=through[0],
        final_through=through[1],
        interim_cents=payments[0],
        final_cents=payments[1],
        moved_cents=final_less_interim(payments[1], payments[0]),
        differs=tuple(
            key for key in ("contracts", "risk_model", "method_version") if last[key] != first[key]
        ),
    )


def _payments(run: Path) -> dict[str, int]:
    rows = result(run, SETTLEMENT, ("partnership_id", "payment_cents")).to_pylist()
    return {row["partnership_id"]: row["payment_cents"] for row in rows}
