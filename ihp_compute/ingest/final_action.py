"""Final action: which rows of a claim's adjusted history stand, and the rules of it.

    rows equal in all that has meaning -> histories of claims -> what stands

1. A claim is known by member, data source, payer, plan and number. A number that starts anew, seen
   by lines that repeat on service dates that have nothing in common, is two claims.
2. Rows equal in every column but how they came here are duplicates; the first read stays. With
   `equal_rows = billed` each of them is a bill of its own.
3. Claims that name one another, and stated adjustments that name one number, are one history. A
   filler names nothing, and a number counts only where it names a claim that stands here or a
   stated adjustment says so. A name may cross source, payer or plan; such are counted.
4. Where a row says that it voids (indicator 1, frequency 8) or replaces (indicators 2 and 4,
   frequency 7), or names another claim, versions are of claims as wholes. Where nothing does, lines
   are compared line by line, their numbers as numbers: a later positive amount is the later version
   (`later_amounts = restated`) or more of the line (`additional`). Later is by paid date, then file
   date; a void without a paid date is the last.
5. A void or reversal cancels what has its amount: what it names first, then the latest. Only then
   does a void without an amount of its own cancel the latest version, and a replacement replace.
   The order is that of `kernels.history_fates`.
6. A void that finds nothing is an orphan and no cost. A negative that finds nothing is money moved,
   as indicators 3, 5 and 6 say of themselves: it stands and supersedes nothing. Unmarked negatives
   of a claim of which another line is voided on the same paid day belong to that void.

No result depends on the spelling of a number, the digits of an amount, or the order of rows or
files. Indicators are those of the TAF claim adjustment code (ResDAC, "Claim Line Adjustment Code"),
frequencies the last digit of an institutional bill type (NUBC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ihp_compute.ledger import IngestFate
from kernels import first_row
from kernels.members.history_fates import BESIDE, PLAIN, REPLACES, VOID

OPEN: Final = 255
"""No fate yet."""
NOT_STATED: Final = 255

ACTION_OF_INDICATOR: Final = {
    "0": PLAIN, "1": VOID, "2": REPLACES, "3": BESIDE, "4": REPLACES, "5": BESIDE, "6": BESIDE,
}  # fmt: skip
ACTION_OF_FREQUENCY: Final = {"7": REPLACES, "8": VOID}
"""By the last digit of a bill type of three digits or four."""

EqualRows = Literal["duplicate", "billed"]
LaterAmounts = Literal["restated", "additional"]


@dataclass(frozen=True)
class Choices:
    """What a history may leave open, decided once for an ingest.

    equal_rows : rows equal in all that has meaning are one bill, or a bill each
    later_amounts : a later positive amount of a line without indicator is its new version, or more
    """

    equal_rows: EqualRows = "duplicate"
    later_amounts: LaterAmounts = "restated"


def issuer_words(k: int, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """What the k-th of data source, payer and plan has to say of whose numbers a claim's is.

    `hashes` are those of its texts; the words of the three together are a row's issuer, by xor.
    """
    return hashes * np.uint64(2 * k + 1)


def frequency_action(bill_type: str) -> int:
    """What the last digit of a bill type says: `PLAIN`, `REPLACES` or `VOID`.

    >>> frequency_action("117") == REPLACES, frequency_action("0118") == VOID
    (True, True)
    >>> frequency_action("111") == PLAIN == frequency_action("")
    True
    """
    return ACTION_OF_FREQUENCY.get(bill_type[-1:], PLAIN) if len(bill_type) in (3, 4) else PLAIN


def mark_duplicates(
    fate: NDArray[np.uint8], hash_1: NDArray[np.uint64], hash_2: NDArray[np.uint64]
) -> None:
    """Every readable row equal to an earlier readable one is a duplicate."""
    rows = np.flatnonzero(fate == OPEN)
    alike = first_row(hash_1[rows], hash_2[rows])
    fate[rows[alike != np.arange(len(rows))]] = IngestFate.DUPLICATE
