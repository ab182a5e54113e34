"""Settlements of one year, one after another: what the last one still moves, and what it nets.

All are runs of the same years, each with later claims than the one before. A settlement replaces
those before it: it nets what has been paid so far, which is the payment of the last one. So a year
may be opened again as often as claims, enrolment or terms change, and the movements add up to the
last payment. A movement is paid when positive and recouped when negative; a partnership that one
run did not settle stands with zero in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

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
        "method_version", "digest",
    ),
    no_folder=f"{{folder}}: no {MANIFEST}, expected a finished run",
    no_manifest=f"{{folder}}: no {MANIFEST}, expected a finished run",
    another="{folder}: found a {found}, expected a finished run",
)  # fmt: skip


@dataclass(frozen=True)
class Netted:
    """A settlement before the last one: which run it is, and what it moved.

    moved_cents : by partnership id, its payment less that of the one before
    """

    run: str
    digest: str
    paid_through: date
    status: str
    moved_cents: dict[str, int]


@dataclass(frozen=True)
class TrueUp:
    """Payments of two runs of one year, in cents, by partnership id.

    `differs` names what else than the claims' cutoff differs between the last two, and `nets` the
    earlier settlements, oldest first.
    """

    performance_year: int
    interim_through: date
    final_through: date
    interim_cents: dict[str, int]
    final_cents: dict[str, int]
    moved_cents: dict[str, int]
    differs: tuple[str, ...]
    nets: tuple[Netted, ...]


def true_up(final: Path, *earlier: Path) -> TrueUp:
    """What the final settlement moves after one or several earlier ones.

    Parameters
    ----------
    final : Path
        Run folder of the last settlement.
    earlier : Path
        Run folders of those before it, in any order.

    Raises
    ------
    RunError
        If a folder is no run, the runs settle other years, one saw claims paid later than the final
        one, or one is given twice.
    """
    last = read_manifest(final, SETTLED)
    first = {folder: read_manifest(folder, SETTLED) for folder in earlier}
    for folder, manifest in first.items():
        for key in ("performance_year", "base_year"):
            if last[key] != manifest[key]:
                raise RunError(
                    f"{final.name} and {folder.name}: {key} {last[key]} and {manifest[key]} "
                    "differ, expected runs of the same years"
                )
        if _through(manifest) > _through(last):
            raise RunError(
                f"{folder.name}: claims paid through {_through(manifest)}, after the "
                f"{_through(last)} of {final.name}; expected the interim run to be the earlier one"
            )
    digests = [manifest["digest"] for manifest in (last, *first.values())]
    if len(earlier) != len(first) or len(set(digests)) < len(digests):
        raise RunError(
            f"{final.name}: found a run twice, expected each settlement once: it would be netted "
            "against itself"
        )
    nets, before = [], dict[str, int]()
    for folder, manifest in sorted(first.items(), key=lambda item: _through(item[1])):
        payments = _payments(folder)
        nets.append(
            Netted(
                folder.name,
                manifest["digest"],
                _through(manifest),
                manifest.get("completion", {}).get("status", "not stated"),
                final_less_interim(payments, before),
            )
        )
        before, latest = payments, manifest
    payments = _payments(final)
    return TrueUp(
        performance_year=last["performance_year"],
        interim_through=nets[-1].paid_through,
        final_through=_through(last),
        interim_cents=before,
        final_cents=payments,
        moved_cents=final_less_interim(payments, before),
        differs=tuple(
            key for key in ("contracts", "risk_model", "method_version") if last[key] != latest[key]
        ),
        nets=tuple(nets),
    )


def _through(manifest: Mapping[str, Any]) -> date:
    return date.fromisoformat(manifest["paid_through"])


def _payments(run: Path) -> dict[str, int]:
    rows = result(run, SETTLEMENT, ("partnership_id", "payment_cents")).to_pylist()
    return {row["partnership_id"]: row["payment_cents"] for row in rows}
