"""A finished run settled again from its kept totals and terms, for what it did not keep: its draws.

Nothing new comes out: what is settled as observed is held against the table that the run wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ihp_compute.contracts import ContractSet
from ihp_compute.errors import RunError
from ihp_compute.results import kept_terms
from ihp_compute.results.kept_terms import RunTerms
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import result
from ihp_compute.results.tables import SETTLEMENT
from ihp_compute.settlement import Settled, settle
from ihp_compute.uncertainty import Totals, read_totals, totals_file, totals_names

_HELD: Final = ("n_members", "target_cents", "observed_cents", "savings_cents", "payment_cents")


def measured_totals(
    run_dir: Path, manifest: Mapping[str, Any], terms: RunTerms
) -> tuple[tuple[Totals, ContractSet], ...]:
    """Kept totals of each measurement of a run, and the contracts that settle by it.

    Raises
    ------
    RunError
        If totals are missing or damaged.
    """
    whose = [one["partnerships"] for one in manifest["completion"]["measurements"]]
    try:
        found = [read_totals(run_dir / totals_file(name)) for name in totals_names(len(whose))]
    except (OSError, KeyError, ValueError) as error:
        raise RunError(f"{run_dir}: its totals cannot be read back; run it again") from error
    return tuple(
        (totals, terms.contracts.only(partnerships))
        for totals, partnerships in zip(found, whose, strict=True)
    )


def resettle(run_dir: Path) -> list[Settled]:
    """Every partnership of a run as the run settled it, with its draws.

    Parameters
    ----------
    run_dir : Path

    Returns
    -------
    list of Settled
        By partnership id.

    Raises
    ------
    RunError
        If the folder is not a finished run of this method version, its totals or terms cannot be
        read back, or something settles to another amount than the run wrote.
    """
    manifest = read_manifest(run_dir, go_on=True)
    terms = kept_terms.read(run_dir)
    settled = [
        one
        for totals, contracts in measured_totals(run_dir, manifest, terms)
        for one in settle(
            totals,
            contracts,
            base_year=manifest["base_year"],
            performance_year=manifest["performance_year"],
            quality=terms.quality,
        )
    ]
    settled.sort(key=lambda one: one.partnership_id)
    written = {
        row["partnership_id"]: row
        for row in result(run_dir, SETTLEMENT, ("partnership_id", *_HELD)).to_pylist()
    }
    again = {one.partnership_id: {name: getattr(one, name) for name in _HELD} for one in settled}
    for name in sorted(written.keys() | again.keys()):
        was = {what: written[name][what] for what in _HELD} if name in written else None
        if was != again.get(name):
            raise RunError(
                f"{run_dir}: {name} settles to something else than the run wrote; its files were "
                "changed, run it again"
            )
    return settled
