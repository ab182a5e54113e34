"""Packages that score CMS-HCC, fed the benchmark's members one by one, as they work.

`hccinfhir` is imported here and nowhere else in the project; `hccpy` where it can be. Each returns
its raw score per member, so that results are compared before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MODEL = "CMS-HCC Model V28"


def hccinfhir_score() -> Callable[[dict[str, Any]], float]:
    """Raw V28 score of one member: its documented entry point, the code editor's edits off."""
    from hccinfhir.model_calculate import calculate_raf  # noqa: PLC0415

    def score(member: dict[str, Any]) -> float:
        return float(
            calculate_raf(
                member["codes"],
                model_name=MODEL,
                age=member["age"],
                sex=member["sex"],
                dual_elgbl_cd=member["dual"],
                orec=member["reason"],
                lti=member["institutional"],
                switch_edits=False,
            ).risk_score
        )

    return score


class HccpyScore:
    """Raw V28 score of one member by hccpy's engine, which takes the segment from the caller."""

    def __init__(self) -> None:
        from hccpy.hcc import HCCEngine  # noqa: PLC0415

        self.engine = HCCEngine("28")

    def map(self, code: str) -> list[str]:
        """Categories of a code in its map."""
        return list(self.engine.dx2cc.get(code, []))

    def __call__(self, member: dict[str, Any]) -> float:
        """Raw score."""
        found = self.engine.profile(
            list(member["codes"]),
            age=member["age"],
            sex=member["sex"],
            elig=member["segment"],
            orec=member["reason"],
            medicaid=member["medicaid"],
        )
        return float(found["risk_score"])


def score_all(
    score: Callable[[dict[str, Any]], float], members: Sequence[dict[str, Any]]
) -> list[float]:
    """Scores of all members, in order."""
    return [score(member) for member in members]
