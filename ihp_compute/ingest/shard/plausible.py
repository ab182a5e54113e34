"""What retained lines say that cannot well be, told with its dollars; nothing is put aside for it.

Service before birth; service in a month without enrolment, of a line that is kept because its claim
starts or ends in one with it; and money on the total line of a claim (revenue centre 0001, NUBC),
which stands beside what it sums up.
"""

from __future__ import annotations

import numpy as np

from ihp_compute.ingest.findings import Doubt, Findings
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.shard.rows import Fates, Members, ShardRows
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
