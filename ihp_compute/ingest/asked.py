"""What an ingest was asked, and its verdict: what was noticed, judged by the gates.

Of a delivery that is added the whole is judged, as a fresh ingest would be, and then the delivery
by itself: what trips there alone is told beside it. Not here: what there is to notice (`noticed`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ihp_compute.data_quality import DATA_QUALITY, GATES, GateTerms, Stage
from ihp_compute.ingest.account import Account
from ihp_compute.ingest.control import ControlTotal, differences
from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.findings import Delivered, OffRoster
from ihp_compute.ingest.noticed import RosterMet, noticed, noticed_of_delivery


@dataclass(frozen=True)
class Asked:
    """What decides what is accepted and how histories are read."""

    choices: Choices
    gates: GateTerms
    control: list[ControlTotal]

    def judge(
        self,
        account: Account,
        delivered: Mapping[int, Delivered],
        roster: RosterMet | None,
        plans: frozenset[str],
        document: Mapping[str, Any],
    ) -> dict[str, Any]:
        """What was noticed, once the gates have let it pass, and what they took.

        Parameters
        ----------
        account : Account
        delivered : mapping of file index to Delivered
        roster : RosterMet, optional
        plans : frozenset of str
            Those that eligibility names.
        document : mapping
            What else is said of the ingest, which a refusal bears.

        Raises
        ------
        GateError
            If a gate trips that is not accepted.
        AcceptanceError
            If a gate was accepted that did not trip.
        """
        gates = self.gates
        thin = max(GATES["thin_month"].threshold, gates.threshold("thin_month"))
        denied = min(GATES["denied_dollars"].threshold, gates.threshold("denied_dollars"))
        rows = gates.judge(
            (
                *differences(self.control, account.folder, account.tallies, delivered),
                *noticed(account, delivered, roster, plans, thin, denied),
            )
        )
        if account.folder.delivery > 1:
            alone = gates.judge(noticed_of_delivery(account, delivered, thin, denied))
            known = {(row["finding"], row["source_table"]) for row in rows if row["tripped"]}
            rows += [
                row
                for row in alone
                if row["tripped"] and (row["finding"], row["source_table"]) not in known
            ]
        found = {
            "accepted": dict(gates.accept),
            "thresholds": dict(gates.thresholds),
            DATA_QUALITY.name: rows,
        }
        gates.refuse(rows, {**document, **found}, Stage.READ)
        return found


def roster_met(
    rows: pa.Table, fresh: list[str], off: OffRoster, codes: pa.Array
) -> RosterMet:  # fmt: skip
    """The roster's providers, those that nothing read before names, and those that it lacks."""
    lines = Counter(rows.column("npi").to_pylist())
    return RosterMet(
        len(lines.keys() - {""}),
        {npi: lines[npi] for npi in fresh},
        off.visits,
        {codes[code].as_py(): (n, off.cents[code]) for code, n in off.lines.items()},
    )
