"""Why a number is what it is: one partnership's walk, one member's lines, one claim's history.

    run folder -> settlement row + walk + intervals -> PartnershipExplained
    run folder + population -> one member's years and lines -> MemberExplained
    population -> rows of a claim and of those tied to it, with their fates -> ClaimExplained

Not here: how a step is calculated (`settlement`), which fate a line meets (`measure`, `ingest`).
"""

from __future__ import annotations

from ihp_compute.explain.claim import ClaimExplained, explain_claim
from ihp_compute.explain.member import MemberExplained, explain_member
from ihp_compute.explain.partnership import PartnershipExplained, explain_partnership

__all__ = [
    "ClaimExplained",
    "MemberExplained",
    "PartnershipExplained",
    "explain_claim",
    "explain_member",
    "explain_partnership",
]
