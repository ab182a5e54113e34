"""Claims still to come, as terms: the method, and the factors that only one method takes.

A contract that states a factor and no method means that factor: its method is `given`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ihp_compute.contracts.kinds import Kind, choice, ratio

METHOD: Final = "completion.method"
GIVEN: Final = "given"
FACTORS: Final = ("target.completion", "observed.completion")
"""Paid to date over ultimate of the base and of the performance year, where somebody states it."""

KINDS: Final[Mapping[str, Kind]] = {
    METHOD: choice(
        "claims still to come: the base year is cut at the same age; the run completes the cost; "
        "factors are given; or nothing is done",
        "equal_runout",
        "computed",
        GIVEN,
        optional=True,
    ),
    "completion.final_ratio": ratio(
        "a performance year that is less complete is settled for the interim"
    ),
}


def fault_of(held: Mapping[str, Any]) -> str:
    """What is wrong with a method and factors that hold together; empty if nothing is.

    >>> fault_of({"completion.method": "given", "observed.completion": 0.97})
    ''
    >>> fault_of({"completion.method": "computed", "observed.completion": 0.97})[:58]
    'observed.completion: found 0.97 beside completion.method c'
    """
    method = held.get(METHOD)
    if method in (None, GIVEN):
        return ""
    for path in FACTORS:
        if held.get(path) is not None:
            return (
                f"{path}: found {held[path]} beside {METHOD} {method}, which meets the claims "
                f"still to come by itself; expected none, or {METHOD} {GIVEN}"
            )
    return ""
