"""Which rate cell a member-month belongs to: aid group by code, age and disability; payer by plan.

Order of the aid group, first that applies, per month:

1. year of life 0 (the month of birth and the eleven after it), or a newborn's group code: newborn
2. a pregnancy group code: maternity
3. an adult-group (expansion) code: expansion
4. a code for aged, blind, disabled or long-term care: disabled; so also the aged, having no cell
5. a code for children: child, below 21; from 21 on, adult
6. any other code, below 21: child, else adult
7. no code: entitled by disability or renal disease, or 65 and over: disabled; below 21: child;
   else, and without a birth date, adult

Age is counted in months of birth: a member turns 21 on the first of the month of that birthday, so
that a month has one cell. 21 is where Medicaid's children's benefit (EPSDT) ends. Codes are the TAF
eligibility group codes (T-MSIS valid values of ELIGIBILITY-GROUP).

Payer: managed when the plan type is comprehensive managed care, an HIO, PACE or an integrated plan
for duals (TAF types 01, 04, 17, 80), or when no type is stated and a managed-care plan id is; else
when the payer type or plan names managed care; else fee for service.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS, PAYER_KINDS

NO_CODE: Final = 0
OTHER_CODE: Final = 1
_AID_OFFSET: Final = 2
CHILD_YEARS: Final = 21
AGED_YEARS: Final = 65

AID_OF_CODE: Final = {
    **dict.fromkeys(("06", "62"), "newborn"),
    **dict.fromkeys(("05", "53", "64", "67", "68"), "maternity"),
    **dict.fromkeys(("72", "73", "74", "75"), "expansion"),
    **dict.fromkeys(
        (
            "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24",
            "25", "26", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47", "48",
            "49", "50", "51", "52", "59", "60",
        ),
        "disabled",
    ),
    **dict.fromkeys(
        ("07", "08", "28", "29", "30", "31", "54", "55", "61", "63", "65", "66"), "child"
    ),
}  # fmt: skip
"""Group codes that decide the aid group; every other stated code is decided by age."""

MANAGED_PLAN_TYPES: Final = frozenset({"01", "04", "17", "80"})
_MANAGED_WORDS: Final = ("managed", "mco", "hmo")


def aid_code(code: str) -> int:
    """What a group code says: `NO_CODE`, `OTHER_CODE`, or 2 + the aid group.

    >>> aid_code("72") - 2 == AID_GROUPS.index("expansion"), aid_code(""), aid_code("01")
    (True, 0, 1)
    """
    if not code:
        return NO_CODE
    aid = AID_OF_CODE.get(code.zfill(2))
    return OTHER_CODE if aid is None else _AID_OFFSET + AID_GROUPS.index(aid)


def is_managed_plan_type(code: str) -> int:
    """1 managed, 0 another stated type, 255 not stated."""
    if code in ("", "00", "99"):
        return 255 if code != "00" else 0
    return int(code.zfill(2) in MANAGED_PLAN_TYPES)


def names_managed_care(text: str) -> bool:
    """Whether a payer type or plan name says managed care."""
    lowered = text.lower()
    return any(word in lowered for word in _MANAGED_WORDS)


def rate_cells(
    month: NDArray[np.int32],
    birth_month: NDArray[np.int32],
    aid: NDArray[np.uint8],
    original_reason: NDArray[np.uint8],
    managed: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Rate cell of each member-month.

    Parameters
    ----------
    month, birth_month : int32, `units.month_of`; birth_month -1 where unknown
    aid : uint8, `aid_code`
    original_reason : uint8, original reason for entitlement 0-3, 255 not stated
    managed : uint8, 0 or 1

    Returns
    -------
    uint8, index into `codes.RATE_CELLS`
    """
    known = birth_month >= 0
    age_months = np.where(known, month - birth_month, 12 * 30)
    young = age_months < 12 * CHILD_YEARS
    adult, child, disabled = (AID_GROUPS.index(name) for name in ("adult", "child", "disabled"))
    by_age = np.where(young, child, adult)
    entitled = np.isin(original_reason, (1, 2, 3)) | (age_months >= 12 * AGED_YEARS)
    group = np.where((aid == NO_CODE) & entitled, disabled, by_age)
    coded = aid >= _AID_OFFSET
    group = np.where(coded, aid.astype(np.int16) - _AID_OFFSET, group)
    group = np.where(coded & (group == child), by_age, group)
    newborn = known & (age_months < 12)
    group = np.where(newborn, AID_GROUPS.index("newborn"), group)
    return (group * len(PAYER_KINDS) + managed).astype(np.uint8)
