"""What retained lines say that cannot well be, or leave out, told with its dollars.

Nothing is put aside for it.

Service before birth; service in a month without enrolment, of a line that is kept because its claim
starts or ends in one with it; and money on the total line of a claim (revenue centre 0001, NUBC),
which stands beside what it sums up. Of stays and emergency days: that their claim states no
principal diagnosis, by which some are told from others.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import LINE_ED, LINE_INPATIENT, NO_STAY
from ihp_compute.ingest.findings import Doubt, Findings
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.rows import Fates, Lines, Members, ShardRows
from ihp_compute.ledger import IngestFate
from kernels import row_pick


def tell_retained(
    raw: ShardRows, fates: Fates, members: Members, rules: Rules, findings: Findings
) -> None:
    """Add to `findings` what the retained rows of one table say."""
    retained = fates.fate == IngestFate.RETAINED
    if not retained.any():
        return
    cents, claim = raw.numbers["paid_cents"], fates.claim
    birth = members.tables["members"].column("birth_day").to_numpy()
    born = row_pick(birth, None, np.maximum(fates.member, 0))
    early = retained & (raw.numbers["service_day"] < born)
    findings.see_rows(Doubt("birth_date", "before_birth"), cents[early])
    unserved = retained & ~fates.served
    findings.see_rows(Doubt("", "served_outside_eligibility"), cents[unserved])
    totals = row_pick(rules.spilled_facts.total_revenue, None, raw.numbers["revenue"])
    totals &= retained & (cents != 0)
    rows = np.flatnonzero(totals)
    if not len(rows):
        return
    claims, place = np.unique(claim[rows], return_inverse=True)
    others = np.flatnonzero(retained & ~totals & np.isin(claim, claims))
    sums = np.zeros(len(claims), np.int64)
    np.add.at(sums, np.searchsorted(claims, claim[others]), cents[others])
    is_sum = cents[rows] == sums[place]
    findings.see_rows(Doubt("revenue_center_code", "total_line"), cents[rows[is_sum]])
    findings.see_rows(Doubt("revenue_center_code", "money_on_total_line"), cents[rows[~is_sum]])


def tell_undiagnosed(
    lines: Lines,
    stays: pa.RecordBatch,
    stay: NDArray[np.int32],
    emergency: pa.RecordBatch,
    findings: Findings,
) -> None:
    """Add stays and emergency days without a principal diagnosis, by the cents of their lines.

    Parameters
    ----------
    lines : Lines
    stays, emergency : RecordBatch
        Of the shard.
    stay : int32[n_lines]
        Row of `stays` of each line.
    findings : Findings
        Of the medical table.
    """
    cents = lines.column("paid_cents")
    silent = stays.column("principal_dx").to_numpy() == 0
    if silent.any():
        of_stay = np.flatnonzero(stay != NO_STAY)
        theirs = of_stay[silent[stay[of_stay]]]
        findings.see(
            Doubt("diagnosis_code_1", "stays_without_diagnosis"),
            int(silent.sum()),
            int(cents[theirs].sum()),
        )
    if n_days := int((emergency.column("principal_dx").to_numpy() == 0).sum()):
        flags = lines.column("flags")
        visits = np.flatnonzero((flags & (LINE_ED | LINE_INPATIENT)) == LINE_ED)
        theirs = visits[lines.some("principal_dx", visits) == 0]
        findings.see(
            Doubt("diagnosis_code_1", "emergency_without_diagnosis"),
            n_days,
            int(cents[theirs].sum()),
        )
