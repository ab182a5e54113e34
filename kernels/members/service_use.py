"""What members' services cost, and what they use at one scale of rates; the scale's own sums."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple

import numba
import numpy as np

from kernels._core import KernelInputError, cuda_module, device_of, read_only, require
from kernels.members._lines import MAX_PERIODS, MONTHS, OUTSIDE, slot_table
from kernels.members._segments import share_of

__all__ = ["NOT_SCALED", "NO_CAP", "POOLED", "ServiceUse", "reference", "service_use"]

NO_CAP: Final = -1
POOLED: Final = -1.0
"""In place of a rate: the service's lines are services of their category, one a line."""
NOT_SCALED: Final = -1
"""In place of a line's or claim's place: it is no part of the scale."""
ONE_UNIT: Final = 1000
MAX_CATEGORIES: Final = 32
GPU_THREADS: Final = 128


class ServiceUse(NamedTuple):
    """What `service_use` returns; p periods, n members, s services. int64 but where said."""

    cost_cents: Any  # [p, n]: after the cap
    resource_cents: Any  # [p, n]: units at the scale's rates, scaled by the cap as cost is
    services: Any  # [p, n]: lines and claims above zero
    unpriced: Any  # [p, n]: lines and claims at zero
    truncated: Any  # bool[p, n]: whether the cap bound
    by_category: Any  # [p, n_groups, n_categories, 3]: cost, resource, services of groups
    scale: Any  # [p, s, 4]: number, cents, thousandths of units, number of one unit unstated
    line_place: Any  # int32[n_lines]: p × s + service of a line of the scale, else NOT_SCALED
    claim_place: Any  # int32[n_claims]: the same of claims that are one service
    claim_cents: Any  # [n_claims]: amount of a claim that has a place, else 0


def service_use(
    amount_cents: Any,
    units_milli: Any,
    day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    hcpcs: Any,
    revenue: Any,
    ndc: Any,
    claim: Any,
    offsets: Any,
    claim_day: Any,
    claim_service: Any,
    claim_offsets: Any,
    group: Any,
    month_cell: Any,
    slot_of_day: Any,
    rate: Any,
    pool_cents: Any,
    category_order: Any,
    *,
    first_day: int,
    cutoff_day: int,
    kind_bits: int,
    category_bits: int,
    claim_category: int,
    revenue_start: int,
    ndc_start: int,
    cap_cents: int,
    n_groups: int,
    with_scale: bool,
) -> ServiceUse:
    """Cost and resource use of each member, and of each group by category.

    1. A line takes part when paid_day <= cutoff_day and the bits of its kind and category are set.
       Lines of claim_category that name a claim are that claim: one service, claim_service, of
       claim_day and one unit, whose amount is their sum. Any other line is a service of its own, of
       its day: its hcpcs, else revenue_start + revenue, else ndc_start + ndc, where these are not
       0, else 0; its units are units_milli, 1,000 where they are not above 0.
    2. Either counts in the period p and month that slot_of_day gives its day (12 × p + month; 255:
       none), where month_cell is not 255.
    3. What counts and is 0 is `unpriced` and in nothing else. What is negative is cost. What is
       positive is cost, a service, and resource: units × rate[p, service], as a product of float64
       rounded half to even to cents; pool_cents[p, category] where the rate is POOLED.
    4. A member whose cost C of a period exceeds cap_cents >= 0 keeps cap_cents: with S_k the
       running sum of cost over categories in category_order, category k has
       cap S_k / C - cap S_(k-1) / C, each rounded half to even; resource likewise, by the same C.

    Parameters
    ----------
    amount_cents, units_milli : int64[n_lines], US cents and thousandths of a unit
    day, paid_day : int32[n_lines], day numbers
    category, kind : uint8[n_lines], below n_categories and 32
    hcpcs, revenue, ndc : int32[n_lines], codes, 0 none
    claim : int32[n_lines]
        Row of the claim that a line is part of, one of its member's; -1: none.
    offsets, claim_offsets : int64[n_members + 1]
        Start of each member's lines and claims.
    claim_day, claim_service : int32[n_claims]
    group : int32[n_periods, n_members]
        Group whose `by_category` the member enters; -1: none.
    month_cell : uint8[n_periods, n_members, 12]
        255: the month does not count. 1 to 4 periods.
    slot_of_day : uint8[n_days]
        Of day first_day + i. A day beyond it has no period.
    rate : float64[n_periods, n_services], cents for a thousandth of a unit
    pool_cents : int64[n_periods, n_categories]
    category_order : uint8[n_categories]
        Every category once.
    first_day, cutoff_day : int, day numbers
    kind_bits, category_bits : int, below 2^32
    claim_category : int
    revenue_start, ndc_start : int
        Services before the first revenue centre and drug.
    cap_cents : int
        NO_CAP: none.
    n_groups : int
    with_scale : bool
        Whether to fill the last four results; else they have no rows.

    Returns
    -------
    ServiceUse
        On the device of the inputs. A member's sums stay below 2^53 in absolute value.

    Raises
    ------
    KernelInputError
        If an array has another dtype, rank or length, a scalar is out of range, or the arrays live
        on different devices. Values inside the arrays are trusted.

    Exact on every device: integers, one product of float64 a line, and estimates that integers
    correct. Source: terms `cost_index.*` of the programme.
    """
    arrays: dict[str, Any] = {
        "amount_cents": amount_cents, "units_milli": units_milli, "day": day, "paid_day": paid_day,
        "category": category, "kind": kind, "hcpcs": hcpcs, "revenue": revenue, "ndc": ndc,
        "claim": claim, "offsets": offsets, "claim_day": claim_day, "claim_service": claim_service,
        "claim_offsets": claim_offsets, "group": group, "month_cell": month_cell,
        "slot_of_day": slot_of_day, "rate": rate, "pool_cents": pool_cents,
        "category_order": category_order,
    }  # fmt: skip
    device = device_of(**arrays)
    require("amount_cents", amount_cents, np.int64, (None,))
    require("offsets", offsets, np.int64, (None,))
    if len(offsets) == 0:
        raise KernelInputError("offsets: expected n_members + 1 starts, got an empty array")
    n_lines, n_members = len(amount_cents), len(offsets) - 1
    require("month_cell", month_cell, np.uint8, (None, n_members, MONTHS))
    require("category_order", category_order, np.uint8, (None,))
    require("claim_day", claim_day, np.int32, (None,))
    n_periods, n_categories = month_cell.shape[0], len(category_order)
    for name, dtype, length in (
        ("units_milli", np.int64, n_lines), ("day", np.int32, n_lines),
        ("paid_day", np.int32, n_lines), ("category", np.uint8, n_lines),
        ("kind", np.uint8, n_lines), ("hcpcs", np.int32, n_lines), ("revenue", np.int32, n_lines),
        ("ndc", np.int32, n_lines), ("claim", np.int32, n_lines),
        ("claim_service", np.int32, len(claim_day)), ("claim_offsets", np.int64, n_members + 1),
        ("slot_of_day", np.uint8, None),
    ):  # fmt: skip
        require(name, arrays[name], dtype, (length,))
    require("group", group, np.int32, (n_periods, n_members))
    require("rate", rate, np.float64, (n_periods, None))
    require("pool_cents", pool_cents, np.int64, (n_periods, n_categories))
    for name, value, low, high in (
        ("n_periods", n_periods, 1, MAX_PERIODS),
        ("n_categories", n_categories, 1, MAX_CATEGORIES),
        ("kind_bits", kind_bits, 0, 2**32 - 1),
        ("category_bits", category_bits, 0, 2**32 - 1),
        ("n_services", rate.shape[1], 1, 2**31 // MAX_PERIODS - 1),
        ("n_groups", n_groups, 0, 2**31 - 1),
        ("cap_cents", cap_cents, NO_CAP, 2**53),
    ):
        if not low <= value <= high:
            raise KernelInputError(f"{name}: expected {low} to {high}, got {value}")
    inputs = tuple(arrays.values())
    if device == "cpu":
        inputs = tuple(read_only(array) for array in inputs)
    scalars = (
        first_day, cutoff_day, np.uint32(kind_bits), np.uint32(category_bits), claim_category,
        revenue_start, ndc_start, np.int64(cap_cents), n_groups, with_scale,
    )  # fmt: skip
    form: Any = _cpu if device == "cpu" else _gpu
    return ServiceUse(*form(*inputs, *scalars))


def _outputs(
    xp: Any, month_cell: Any, rate: Any, n_lines: int, n_claims: int, n_groups: int,
    n_categories: int, with_scale: Any,
) -> ServiceUse:  # fmt: skip
    n_periods, n_members = month_cell.shape[:2]

    def of_members(dtype: Any) -> Any:
        return xp.zeros((n_periods, n_members), dtype=dtype)

    def of_scale(n: int) -> int:
        return n if with_scale else 0

    return ServiceUse(
        of_members(xp.int64),
        of_members(xp.int64),
        of_members(xp.int64),
        of_members(xp.int64),
        of_members(xp.bool_),
        xp.zeros((n_periods, n_groups, n_categories, 3), dtype=xp.int64),
        xp.zeros((n_periods, of_scale(rate.shape[1]), 4), dtype=xp.int64),
        xp.full(of_scale(n_lines), NOT_SCALED, dtype=xp.int32),
        xp.full(of_scale(n_claims), NOT_SCALED, dtype=xp.int32),
        xp.zeros(of_scale(n_claims), dtype=xp.int64),
    )


# --- the definition ------------------------------------------------------------------------------


def _half_even(numerator: int, denominator: int) -> int:
    quotient, remainder = divmod(numerator, denominator)
    up = 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2 == 1)
    return quotient + up


def reference(
    amount_cents: Any,
    units_milli: Any,
    day: Any,
    paid_day: Any,
    category: Any,
    kind: Any,
    hcpcs: Any,
    revenue: Any,
    ndc: Any,
    claim: Any,
    offsets: Any,
    claim_day: Any,
    claim_service: Any,
    claim_offsets: Any,
    group: Any,
    month_cell: Any,
    slot_of_day: Any,
    rate: Any,
    pool_cents: Any,
    category_order: Any,
    first_day: Any,
    cutoff_day: Any,
    kind_bits: Any,
    category_bits: Any,
    claim_category: Any,
    revenue_start: Any,
    ndc_start: Any,
    cap_cents: Any,
    n_groups: Any,
    with_scale: Any,
) -> ServiceUse:
    """The definition, in the fewest words. Slow on purpose; never optimised."""
    n_periods, n_members, _ = month_cell.shape
    n_categories, n_services = len(category_order), rate.shape[1]
    out = _outputs(
        np, month_cell, rate, len(day), len(claim_day), n_groups, n_categories, with_scale
    )

    def period_of(m: int, on: Any) -> int:
        i = int(on) - first_day
        at = int(slot_of_day[i]) if 0 <= i < len(slot_of_day) else OUTSIDE
        counts = at != OUTSIDE and month_cell[at // MONTHS, m, at % MONTHS] != OUTSIDE
        return at // MONTHS if counts else -1

    def service_of(v: int) -> int:
        for code, start in ((hcpcs, 0), (revenue, revenue_start), (ndc, ndc_start)):
            if code[v]:
                return start + int(code[v])
        return 0

    def enter(sums: Any, m: int, p: int, c: int, cents: int, service: int, units: int) -> int:
        """Add a service to its member's sums; its place in the scale."""
        if cents == 0:
            out.unpriced[p, m] += 1
            return NOT_SCALED
        sums[p, c, 0] += cents
        if cents < 0:
            return NOT_SCALED
        own = float(rate[p, service])
        sums[p, c, 1] += (
            int(pool_cents[p, c]) if own == POOLED else round((units or ONE_UNIT) * own)
        )
        sums[p, c, 2] += 1
        if with_scale:
            out.scale[p, service] += (1, cents, units or ONE_UNIT, units == 0)
        return int(p * n_services + service)

    for m in range(n_members):
        sums = np.zeros((n_periods, n_categories, 3), dtype=object)
        of_claim: dict[int, int] = {}
        for v in range(offsets[m], offsets[m + 1]):
            taken = int(kind_bits) >> int(kind[v]) & int(category_bits) >> int(category[v]) & 1
            if paid_day[v] > cutoff_day or not taken:
                continue
            if category[v] == claim_category and claim[v] >= 0:
                of_claim[int(claim[v])] = of_claim.get(int(claim[v]), 0) + int(amount_cents[v])
                continue
            p = period_of(m, day[v])
            if p >= 0:
                units = max(int(units_milli[v]), 0)
                at = enter(sums, m, p, int(category[v]), int(amount_cents[v]), service_of(v), units)
                if with_scale:
                    out.line_place[v] = at
        for k in range(claim_offsets[m], claim_offsets[m + 1]):
            cents = of_claim.get(k)
            if cents is None:
                continue
            p = period_of(m, claim_day[k])
            if p >= 0:
                at = enter(sums, m, p, claim_category, cents, int(claim_service[k]), ONE_UNIT)
                if with_scale:
                    out.claim_place[k] = at
                    out.claim_cents[k] = cents if at != NOT_SCALED else 0
        for p in range(n_periods):
            total = int(sums[p, :, 0].sum())
            out.truncated[p, m] = 0 <= cap_cents < total
            for what in (0, 1):
                through = before = 0
                for c in category_order if out.truncated[p, m] else ():
                    through += sums[p, c, what]
                    running = _half_even(int(cap_cents) * through, total)
                    sums[p, c, what] = running - before
                    before = running
            for what, name in enumerate(("cost_cents", "resource_cents", "services")):
                getattr(out, name)[p, m] = sums[p, :, what].sum()
            for c, what in product(range(n_categories), range(3)):
                if group[p, m] >= 0:
                    out.by_category[p, group[p, m], c, what] += sums[p, c, what]
    return out


# --- Numba ----------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, inline="always")
def _use(units: Any, own: Any, pool: Any) -> Any:
    """Resource of a service, cents."""
    if own == POOLED:
        return pool
    return np.int64(np.rint(np.float64(units) * own))


@numba.njit(cache=True, nogil=True)
def _cut(sums: Any, start: Any, category_order: Any, cap_cents: Any, total: Any) -> None:
    """Take a member's cost and resource by category, from `start`, down to the cap."""
    for what in range(2):
        through = np.int64(0)
        before = np.int64(0)
        for c in category_order:
            at = start + 3 * np.int64(c) + what
            through += sums[at]
            running = share_of(cap_cents, through, total)
            sums[at] = running - before
            before = running


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _lines(
    a: Any, b: Any, amount_cents: Any, units_milli: Any, day: Any, paid_day: Any, category: Any,
    kind: Any, hcpcs: Any, revenue: Any, ndc: Any, claim: Any, slots: Any, places: Any, first: Any,
    cutoff: Any, kind_bits: Any, category_bits: Any, claim_category: Any, revenue_start: Any,
    ndc_start: Any, n_services: Any, n_categories: Any, rate: Any, pool_cents: Any, sums: Any,
    unpriced: Any, claim_sums: Any, scale: Any, line_place: Any, with_scale: Any,
) -> None:  # fmt: skip
    """Lines a to b of one member; `places`: period of a slot whose month counts, else n_periods."""
    n_days = np.uint32(len(slots) - 1)
    first_day, cutoff_day, one = np.int32(first), np.int32(cutoff), np.uint32(1)
    none = np.uint32(len(unpriced))
    for v in range(np.uint64(a), np.uint64(b)):
        c = np.uint32(category[v])
        bits = (kind_bits >> np.uint32(kind[v])) & (category_bits >> c) & one
        if (bits == 0) | (paid_day[v] > cutoff_day):
            continue
        cents = amount_cents[v]
        if c == claim_category and claim[v] >= 0:
            claim_sums[2 * np.uint64(claim[v])] += 1
            claim_sums[2 * np.uint64(claim[v]) + np.uint64(1)] += cents
            continue
        p = np.uint32(places[slots[min(np.uint32(day[v] - first_day), n_days)]])
        if p == none:
            continue
        if cents == 0:
            unpriced[p] += 1
            continue
        at = np.uint64(3) * np.uint64(p * n_categories + c)
        sums[at] += cents
        if cents < 0:
            continue
        service = np.uint32(hcpcs[v])
        if service == 0:
            if revenue[v] != 0:
                service = revenue_start + np.uint32(revenue[v])
            elif ndc[v] != 0:
                service = ndc_start + np.uint32(ndc[v])
        units = units_milli[v] if units_milli[v] > 0 else np.int64(ONE_UNIT)
        place = np.uint64(p * n_services + service)
        sums[at + np.uint64(1)] += _use(units, rate[place], pool_cents[p * n_categories + c])
        sums[at + np.uint64(2)] += 1
        if with_scale:
            scale[np.uint64(4) * place] += 1
            scale[np.uint64(4) * place + np.uint64(1)] += cents
            scale[np.uint64(4) * place + np.uint64(2)] += units
            scale[np.uint64(4) * place + np.uint64(3)] += np.int64(units_milli[v] <= 0)
            line_place[v] = np.int32(place)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _members(
    amount_cents: Any, units_milli: Any, day: Any, paid_day: Any, category: Any, kind: Any,
    hcpcs: Any, revenue: Any, ndc: Any, claim: Any, offsets: Any, claim_day: Any,
    claim_service: Any, claim_offsets: Any, group: Any, month_cell: Any, slots: Any, rate: Any,
    pool_cents: Any, category_order: Any, first: Any, cutoff: Any, kind_bits: Any,
    category_bits: Any, claim_category: Any, revenue_start: Any, ndc_start: Any, cap_cents: Any,
    with_scale: Any, n_services: Any, n_groups: Any, claim_sums: Any, member_sums: Any,
    truncated: Any, by_category: Any, scale: Any, line_place: Any, claim_place: Any,
    claim_cents: Any,
) -> None:  # fmt: skip
    n_periods, n_members = month_cell.shape[:2]
    n_categories = len(category_order)
    n_days, first_day = np.uint32(len(slots) - 1), np.int32(first)
    sums = np.zeros(n_periods * n_categories * 3, np.int64)
    unpriced = np.zeros(n_periods, np.int64)
    places = np.full(MONTHS * n_periods + 1, n_periods, np.uint8)
    for m in range(n_members):
        some = False
        for q in range(n_periods):
            for month in range(MONTHS):
                here = month_cell[q, m, month] != OUTSIDE
                places[q * MONTHS + month] = q if here else n_periods
                some |= here
        if not some:
            continue
        _lines(
            offsets[m], offsets[m + 1], amount_cents, units_milli, day, paid_day, category, kind,
            hcpcs, revenue, ndc, claim, slots, places, first, cutoff, kind_bits, category_bits,
            np.uint32(claim_category), np.uint32(revenue_start), np.uint32(ndc_start),
            np.uint32(n_services), np.uint32(n_categories), rate, pool_cents, sums, unpriced,
            claim_sums, scale, line_place, with_scale,
        )  # fmt: skip
        for k in range(claim_offsets[m], claim_offsets[m + 1]):
            p = np.int64(places[slots[min(np.uint32(claim_day[k] - first_day), n_days)]])
            if claim_sums[2 * k] == 0 or p == n_periods:
                continue
            cents = claim_sums[2 * k + 1]
            at = 3 * (p * n_categories + claim_category)
            if cents == 0:
                unpriced[p] += 1
                continue
            sums[at] += cents
            if cents < 0:
                continue
            place = p * n_services + claim_service[k]
            pool = pool_cents[p * n_categories + claim_category]
            sums[at + 1] += _use(np.int64(ONE_UNIT), rate[place], pool)
            sums[at + 2] += 1
            if with_scale:
                scale[4 * place] += 1
                scale[4 * place + 1] += cents
                scale[4 * place + 2] += ONE_UNIT
                claim_place[k] = place
                claim_cents[k] = cents
        for q in range(n_periods):
            start = 3 * q * n_categories
            total = np.int64(0)
            for c in range(n_categories):
                total += sums[start + 3 * c]
            truncated[q, m] = (cap_cents >= 0) & (total > cap_cents)
            if truncated[q, m]:
                _cut(sums, start, category_order, cap_cents, total)
            into = 3 * (q * n_groups + group[q, m]) * n_categories
            for c in range(n_categories):
                if sums[start + 3 * c] != 0 or sums[start + 3 * c + 2] != 0:
                    for what in range(3):
                        member_sums[what, q, m] += sums[start + 3 * c + what]
                        if group[q, m] >= 0:
                            by_category[into + 3 * c + what] += sums[start + 3 * c + what]
                        sums[start + 3 * c + what] = 0
            member_sums[3, q, m] = unpriced[q]
            unpriced[q] = 0


def _cpu(*inputs: Any) -> ServiceUse:
    *arrays, n_groups, with_scale = inputs
    day, claim_day, month_cell, rate = arrays[2], arrays[11], arrays[15], arrays[17]
    slots = read_only(slot_table(arrays[16], len(month_cell)))
    out = _outputs(
        np, month_cell, rate, len(day), len(claim_day), n_groups, len(arrays[19]), with_scale
    )
    members = np.zeros((4, *month_cell.shape[:2]), np.int64)
    out = out._replace(
        cost_cents=members[0], resource_cents=members[1], services=members[2], unpriced=members[3]
    )
    form: Any = _members
    form(
        *arrays[:16], slots, rate.reshape(-1), arrays[18].reshape(-1), *arrays[19:], with_scale,
        rate.shape[1], n_groups, np.zeros(2 * len(claim_day), np.int64), members, out.truncated,
        out.by_category.reshape(-1), out.scale.reshape(-1), *out[7:],
    )  # fmt: skip
    return out


# --- CUDA ----------------------------------------------------------------------------------------


@cache
def _entry() -> Any:
    return cuda_module("members/service_use").get_function("service_use")


def _gpu(*inputs: Any) -> Any:
    import cupy  # noqa: PLC0415 - only where a GPU is used

    *arrays, first_day, cutoff_day, kind_bits, category_bits, claim_category = inputs[:25]
    revenue_start, ndc_start, cap_cents, n_groups, with_scale = inputs[25:]
    day, claim_day, month_cell, rate = arrays[2], arrays[11], arrays[15], arrays[17]
    n_periods, n_members = month_cell.shape[:2]
    out = _outputs(
        cupy, month_cell, rate, len(day), len(claim_day), n_groups, len(arrays[19]), with_scale
    )
    claim_sums = cupy.zeros((len(claim_day), 2), dtype=cupy.int64)
    if n_members:
        block = GPU_THREADS
        scalars = (
            np.int32(first_day), np.int32(cutoff_day), kind_bits, category_bits,
            np.int32(claim_category), np.int32(revenue_start), np.int32(ndc_start), cap_cents,
            np.int32(n_periods), np.int32(len(arrays[19])), np.int32(n_groups),
            np.int32(rate.shape[1]), np.int32(len(arrays[16])), np.int32(bool(with_scale)),
            np.int64(n_members),
        )  # fmt: skip
        _entry()(
            ((n_members + block - 1) // block,), (block,), (*arrays, *scalars, claim_sums, *out)
        )
    return out
