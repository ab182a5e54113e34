"""The providers of a synthetic state: who bills, and what the roster says about them.

Every partnership has clinicians of each kind that a route of attribution can end at, in numbers
that follow its size; the comparison has five times the mean. Who works for whom at the end of the
performance year is what counts. Some rostered clinicians stood under another partnership in the
base year, some until a day within the performance year, and some are on the roster only from such a
day on; some left it at the end of the base year or within the performance year, so that their
visits attribute nobody. Some specialists are flagged as health care homes. All others (hospitals,
laboratories, hospitalists, clinics outside) are on no roster. NPIs pass the Luhn check.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON
from ihp_compute.synth.columns import raw_table
from ihp_compute.synth.people import (
    COMPARISON_GROUP,
    KINDS,
    N_PARTNERSHIPS,
    Calendar,
    clinicians,
    generator,
)

_SPECIALTY: Final = ("primary care", "primary care", "specialist", "behavioral health")
_KIND_SPECIALIST: Final = KINDS.index("specialist")
N_LEFT: Final = 40
N_OUTSIDE: Final = 1_500
_MOVED_SHARE: Final = 0.03
_CHANGING_SHARE: Final = 0.02
_LEAST_CHANGING: Final = 6
"""Clinicians who change within the performance year, and as many who come then, at least."""
_CHANGING_GROUPS: Final = 10
"""They are of the largest partnerships, so that in a small state too somebody sees them."""
_CHANGES: Final = ((6, 30), (9, 30))
_CLINICIANS_PER_LOCATION: Final = 6
_FLAGGED_EACH: Final = 5
"""Of specialists and of behavioral health, one in so many is flagged as a home."""


@dataclass(frozen=True)
class Network:
    """NPIs and tax numbers, and where each kind of clinician of each group stands among them."""

    npis: pa.Array  # text; rostered first, then those who left, then outside
    tins: pa.Array  # text
    tin_of_npi: NDArray[np.int32]  # [n_npis]
    first: NDArray[np.int64]  # [n_groups, len(KINDS)] first NPI of a kind in a group
    count: NDArray[np.int64]  # [n_groups, len(KINDS)] at least one
    clinic: NDArray[np.int64]  # [n_groups] the group's billing NPI, on the roster as primary care
    left: tuple[int, int]  # NPI positions [first, stop) of those who left the roster
    outside: tuple[int, int]
    roster: pa.Table


def partnership_ids(n: int = N_PARTNERSHIPS) -> list[str]:
    """`IHP-01` to `IHP-25`, largest first, or the first `n` of them."""
    return [f"IHP-{p + 1:02d}" for p in range(n)]


def npis(numbers: NDArray[np.int64]) -> list[str]:
    """Nine-digit numbers with the check digit that makes them National Provider Identifiers.

    The check is Luhn's over the number behind the prefix 80840 (CMS, NPI check digit rule).

    >>> npis(np.array([123456789]))
    ['1234567893']
    """
    digits = (numbers[:, None] // 10 ** np.arange(9)) % 10  # right to left
    doubled = digits.copy()
    doubled[:, ::2] *= 2
    doubled -= 9 * (doubled > 9)
    check = (10 - (doubled.sum(1) + 24) % 10) % 10
    return [f"{number}{digit}" for number, digit in zip(numbers, check, strict=True)]


def network(
    members: int, seed: int, calendar: Calendar, n_partnerships: int = N_PARTNERSHIPS
) -> Network:
    """Clinicians, tax numbers and roster of a state of `members` people."""
    base_year, performance_year = calendar.base_year, calendar.performance_year
    rng = generator(seed, 3, 0)
    count = clinicians(members, n_partnerships)
    sizes = count.sum(1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    first = starts[:-1, None] + np.concatenate(
        [np.zeros((len(sizes), 1), np.int64), np.cumsum(count, axis=1)[:, :-1]], axis=1
    )
    rostered = int(starts[-1])
    n_groups = COMPARISON_GROUP + 1
    clinic = rostered + np.arange(n_groups)
    left = (rostered + n_groups, rostered + n_groups + N_LEFT)
    outside = (left[1], left[1] + N_OUTSIDE)
    total = outside[1]
    # distinct nine-digit numbers beginning with 1: a stride and a random step below it
    stride = 100_000_000 // total
    numbers = 100_000_000 + stride * np.arange(total) + rng.integers(0, stride, total)
    npi = npis(rng.permutation(numbers))

    group = np.full(total, n_groups)
    group[:rostered] = np.repeat(np.arange(n_groups), sizes)
    group[clinic] = np.arange(n_groups)
    group[left[0] : left[1]] = np.arange(N_LEFT) % n_partnerships
    tins = [f"41{1_000_000 + 7_919 * g:07d}" for g in range(n_groups + 60)]
    tin_of = np.where(group < n_groups, group, n_groups + np.arange(total) % 60).astype(np.int32)

    kind = np.full(total, 1)
    kind[:rostered] = np.concatenate([np.repeat(np.arange(len(KINDS)), row) for row in count])
    is_home = (kind == 0) | ((kind >= _KIND_SPECIALIST) & (np.arange(total) % _FLAGGED_EACH == 0))
    names = [*partnership_ids(), COMPARISON]
    rows: list[tuple[str, str | None, str, str, str, str, date, date | None]] = []
    opened, base_end = date(base_year - 3, 1, 1), date(base_year, 12, 31)
    within = [date(performance_year, *change) for change in _CHANGES]
    n_changing = max(_LEAST_CHANGING, round(_CHANGING_SHARE * rostered))
    mixed = rng.permutation(int(starts[min(_CHANGING_GROUPS, n_partnerships)])).tolist()
    changing, coming = set(mixed[:n_changing]), set(mixed[n_changing : 2 * n_changing])
    for position in range(left[1]):
        if n_partnerships <= group[position] < COMPARISON_GROUP:
            continue
        place_of_work = f"LOC-{position // _CLINICIANS_PER_LOCATION + 1:05d}"
        begin, end = opened, None
        before = None  # the last day under another partnership
        if position >= left[0]:
            place = position - left[0]
            end = base_end if place % 2 else within[place // 2 % len(within)]
        elif position in changing:
            before = within[position % len(within)]
        elif position in coming:
            begin = within[position % len(within)] + timedelta(days=1)
        elif position < rostered and rng.random() < _MOVED_SHARE:
            before = base_end
        if before is not None:
            step = int(rng.integers(1, N_PARTNERSHIPS))
            other = names[(group[position] + step) % N_PARTNERSHIPS % n_partnerships]
            begin = before + timedelta(days=1)
            rows.append(
                (npi[position], None, other, _SPECIALTY[kind[position]], "false", place_of_work,
                 opened, before)
            )  # fmt: skip
        tin = tins[tin_of[position]] if rng.random() < 0.6 else None
        rows.append(
            (
                npi[position],
                tin,
                names[group[position]],
                _SPECIALTY[kind[position]],
                "true" if is_home[position] else "false",
                place_of_work,
                begin,
                end,
            )
        )
    columns = list(zip(*rows, strict=True))
    roster = raw_table(
        "provider_roster",
        {
            "npi": pa.array(columns[0], pa.string()),
            "tin": pa.array(columns[1], pa.string()),
            "partnership_id": pa.array(columns[2], pa.string()),
            "specialty": pa.array(columns[3], pa.string()),
            "health_care_home": pa.array(columns[4], pa.string()),
            "location_id": pa.array(columns[5], pa.string()),
            "start_date": pa.array(columns[6], pa.date32()),
            "end_date": pa.array(columns[7], pa.date32()),
        },
    )
    return Network(
        npis=pa.array(npi),
        tins=pa.array(tins),
        tin_of_npi=tin_of,
        first=first,
        count=count,
        clinic=clinic,
        left=left,
        outside=outside,
        roster=roster,
    )
