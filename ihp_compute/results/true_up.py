"""What the last of several settlements of one year still moves, and what it nets.

All are runs of the same years and contracts, each with later claims than the one before. Which may
be netted, and how: `netting`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ihp_compute.folders import read_manifest
from ihp_compute.measure import final_less_interim
from ihp_compute.results.netting import SETTLED, Netted, Settlement, netted, payments_of


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

    def document(self) -> dict[str, Any]:
        """The JSON document of `ihp true-up`."""
        return asdict(self)


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
        As `netting.netted`.
    """
    last = Settlement.of_run(final)
    nets = netted(last, earlier)
    payments, before = payments_of(final), nets[-1].payment_cents
    manifests = {
        manifest["digest"]: manifest
        for manifest in (read_manifest(folder, SETTLED) for folder in (final, *earlier))
    }
    now, then = manifests[last.digest], manifests[nets[-1].digest]
    return TrueUp(
        performance_year=last.years["performance_year"],
        interim_through=nets[-1].paid_through,
        final_through=last.paid_through,
        interim_cents=before,
        final_cents=payments,
        moved_cents=final_less_interim(payments, before),
        differs=tuple(
            key for key in ("contracts", "risk_model", "method_version") if now[key] != then[key]
        ),
        nets=nets,
    )
