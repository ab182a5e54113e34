"""Why a number is what it is: a partnership's walk or pack, a member's lines, a claim's history.

    run folder -> settlement row + walk + intervals -> PartnershipExplained
    run folder + population -> one member's lines -> MemberExplained; all of a partnership -> Pack
    two runs -> who is whose by the terms of each -> OtherRule
    population -> rows of a claim and of those tied to it, with their fates -> ClaimExplained

Not here: how a step is calculated (`settlement`), which fate a line meets (`measure`, `ingest`).
"""

from __future__ import annotations

from ihp_compute.explain.appeal import Pack, write_pack
from ihp_compute.explain.claim import ClaimExplained, explain_claim
from ihp_compute.explain.member import MemberExplained, explain_member
from ihp_compute.explain.other_rule import OtherRule, compare_attribution
from ihp_compute.explain.partnership import PartnershipExplained, explain_partnership

__all__ = [
    "ClaimExplained",
    "MemberExplained",
    "OtherRule",
    "Pack",
    "PartnershipExplained",
    "compare_attribution",
    "explain_claim",
    "explain_member",
    "explain_partnership",
    "write_pack",
]
