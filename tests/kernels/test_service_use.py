"""Services at one scale of rates: hand-worked cases, and all forms against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import KernelInputError, service_use, to_device, to_host
from kernels.members.service_use import POOLED, ServiceUse, reference

FIRST_DAY = 100  # two periods of 12 months of two days, with a gap of three days between
SLOTS = np.array(
    [*np.repeat(np.arange(12), 2), 255, 255, 255, *np.repeat(np.arange(12, 24), 2)], np.uint8
)
N_CATEGORIES, N_SERVICES, N_GROUPS = 4, 9, 2
CLAIMS = 3
"""The category whose claims are one service."""
LINE = {
    "amount_cents": np.int64,
    "units_milli": np.int64,
    "day": np.int32,
    "paid_day": np.int32,
    "category": np.uint8,
    "kind": np.uint8,
    "hcpcs": np.int32,
    "revenue": np.int32,
    "ndc": np.int32,
    "claim": np.int32,
}
SCALARS: dict[str, Any] = {
    "first_day": FIRST_DAY,
    "cutoff_day": 500,
    "kind_bits": 0b0101,
    "category_bits": 0b1011,
    "claim_category": CLAIMS,
    "revenue_start": 3,
    "ndc_start": 5,
    "cap_cents": -1,
    "n_groups": N_GROUPS,
    "with_scale": True,
}
RATES = np.array([[POOLED, 0.5, 1.5, 0.1, 2.0, 0.25, 3.0, POOLED, 1.0]] * 2)
POOL = np.array([[7, 11, 13, 17]] * 2)
Line = tuple[int, ...]


def line(cents: int, **other: int) -> Line:
    values = {
        "amount_cents": cents, "units_milli": 0, "day": FIRST_DAY, "paid_day": 0, "category": 0,
        "kind": 0, "hcpcs": 0, "revenue": 0, "ndc": 0, "claim": -1, **other,
    }  # fmt: skip
    return tuple(values.values())


def case_of(
    members: list[list[Line]],
    claims: list[list[tuple[int, int]]],
    groups: Any = None,
    cells: Any = None,
    rates: Any = RATES,
    order: Any = (0, 1, 2, 3),
) -> dict[str, Any]:
    """Kernel inputs: lines and claims (day, service) by member; two periods."""
    n = len(members)
    lines = [each for member in members for each in member]
    flat = [each for member in claims for each in member]
    case: dict[str, Any] = {
        name: np.array([each[i] for each in lines], kind)
        for i, (name, kind) in enumerate(LINE.items())
    }
    case["offsets"] = np.cumsum([0, *map(len, members)], dtype=np.int64)
    case["claim_day"] = np.array([day for day, _ in flat], np.int32)
    case["claim_service"] = np.array([service for _, service in flat], np.int32)
    case["claim_offsets"] = np.cumsum([0, *map(len, claims)], dtype=np.int64)
    case["group"] = np.array([0] * 2 * n if groups is None else groups, np.int32).reshape(2, n)
    cells = np.zeros(24 * n) if cells is None else cells
    case["month_cell"] = np.array(cells, np.uint8).reshape(2, n, 12)
    case["slot_of_day"] = SLOTS
    case["rate"] = np.array(rates, np.float64)
    case["pool_cents"] = POOL.astype(np.int64)
    case["category_order"] = np.array(order, np.uint8)
    return case


def one(*lines: Line, claims: Any = (), **change: Any) -> ServiceUse:
    scalars = {name: change.pop(name) for name in list(change) if name in SCALARS}
    return service_use(**case_of([list(lines)], [list(claims)], **change), **SCALARS | scalars)


def test_a_service_uses_its_units_at_the_rate_of_its_code() -> None:
    """A procedure before a revenue centre before a drug; no stated units are one."""
    found = one(
        line(100, hcpcs=1, revenue=1, units_milli=3),  # 1.5, half to even 2
        line(100, revenue=1, ndc=1),  # 1,000 × 2.0
        line(100, ndc=1, units_milli=4),  # 4 × 3.0
    )
    assert found.resource_cents[0, 0] == 2 + 2_000 + 12
    assert found.cost_cents[0, 0] == 300
    assert found.services[0, 0] == 3
    assert found.line_place.tolist() == [1, 4, 6]
    assert found.scale[0, [1, 4, 6]].tolist() == [
        [1, 100, 3, 0], [1, 100, 1_000, 1], [1, 100, 4, 0],
    ]  # fmt: skip


def test_a_service_without_a_rate_is_one_of_its_category() -> None:
    """No code at all, and a drug too rare to have a rate: pooled, whatever their units."""
    found = one(line(50), line(50, ndc=2, category=1, units_milli=90_000))
    assert found.resource_cents[0, 0] == 7 + 11
    assert found.by_category[0, 0, :2].tolist() == [[50, 7, 1], [50, 11, 1]]


def test_lines_at_zero_are_in_nothing_and_negative_ones_are_cost_alone() -> None:
    found = one(line(0, hcpcs=1), line(-40, hcpcs=1), line(100, hcpcs=1, units_milli=100))
    assert [int(part[0, 0]) for part in found[:4]] == [60, 50, 1, 1]
    assert found.scale[0, 1].tolist() == [1, 100, 100, 0]


def test_a_claim_is_one_service_of_its_own_day() -> None:
    """Three lines of a claim, one at zero; the claim ends in the second period."""
    lines = [line(cents, category=CLAIMS, claim=0, hcpcs=2) for cents in (900, 0, -100)]
    found = one(*lines, claims=[(FIRST_DAY + 27, 8)])
    assert found.cost_cents[:, 0].tolist() == [0, 800]
    assert found.resource_cents[:, 0].tolist() == [0, 1_000]
    assert found.services[:, 0].tolist() == [0, 1]
    assert not found.unpriced.any()
    assert (found.claim_place.tolist(), found.claim_cents.tolist()) == ([N_SERVICES + 8], [800])


def test_a_claim_that_comes_to_nothing_is_unpriced() -> None:
    lines = [line(cents, category=CLAIMS, claim=0) for cents in (900, -900)]
    found = one(*lines, claims=[(FIRST_DAY, 8)])
    assert (found.unpriced[0, 0], found.services[0, 0]) == (1, 0)
    assert found.claim_place.tolist() == [-1]


def test_one_factor_cuts_cost_and_resource() -> None:
    """Cost 300 under a cap of 100: a third of each, by running totals in the order given."""
    lines = [line(100, hcpcs=1, units_milli=200, category=category) for category in (0, 1, CLAIMS)]
    found = one(*lines, cap_cents=100, order=(1, 0, 2, 3))
    assert found.truncated[0, 0]
    assert (found.cost_cents[0, 0], found.resource_cents[0, 0]) == (100, 100)
    assert found.by_category[0, 0, :, 0].tolist() == [34, 33, 0, 33]
    assert found.by_category[0, 0, :, 2].tolist() == [1, 1, 0, 1]
    assert not one(*lines, cap_cents=300).truncated.any()


def test_what_does_not_count_is_nowhere() -> None:
    found = one(
        line(1, paid_day=501), line(2, kind=1), line(4, category=2), line(8, day=FIRST_DAY + 25),
        line(16, day=FIRST_DAY + 2), line(32),
        cells=[0, 255, *[0] * 22],
    )  # fmt: skip
    assert found.cost_cents[0, 0] == 32


amounts = st.integers(-300, 900) | st.integers(-(2**40), 2**40) | st.just(0)
days = st.integers(-2, 53).map(lambda day: FIRST_DAY + day)
units = st.integers(-3, 4_000) | st.integers(0, 2**30)
lines = st.tuples(
    amounts, units, days, st.integers(499, 501), st.integers(0, 3), st.integers(0, 3),
    st.integers(0, 2), st.integers(0, 1), st.integers(0, 3), st.integers(-1, 1),
)  # fmt: skip
rate = st.sampled_from([POOLED, 0.0, 0.5, 1 / 3, 12.345]) | st.floats(0, 1e4)


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    members = draw(st.lists(st.lists(lines, max_size=7), min_size=1, max_size=4))
    n = len(members)
    claims = [[(draw(days), draw(st.integers(0, 8))) for _ in range(2)] for _ in members]
    # a line's claim is one of its member's
    members = [
        [(*each[:9], each[9] + 2 * m if each[9] >= 0 else -1) for each in member]
        for m, member in enumerate(members)
    ]
    return case_of(
        members,
        claims,
        draw(st.lists(st.integers(-1, N_GROUPS - 1), min_size=2 * n, max_size=2 * n)),
        draw(st.lists(st.sampled_from([0, 0, 1, 255]), min_size=24 * n, max_size=24 * n)),
        draw(st.lists(st.lists(rate, min_size=9, max_size=9), min_size=2, max_size=2)),
        draw(st.permutations(range(4))),
    )


caps = st.sampled_from([-1, 0, 1, 100, 777, 2**41])


def same(found: Any, slow: ServiceUse) -> None:
    for name, ours, other in zip(ServiceUse._fields, found, slow, strict=True):
        assert ours.dtype == other.dtype, name
        assert ours.tolist() == other.tolist(), name


@settings(max_examples=300, deadline=None)
@given(case=cases(), cap=caps, with_scale=st.booleans())
def test_the_fast_form_is_the_definition(case: dict[str, Any], cap: int, with_scale: bool) -> None:
    scalars = {**SCALARS, "cap_cents": cap, "with_scale": with_scale}
    same(service_use(**case, **scalars), reference(**case, **scalars))


@settings(max_examples=100, deadline=None)
@given(case=cases(), cap=caps)
def test_members_are_groups_and_services_are_the_scale(case: dict[str, Any], cap: int) -> None:
    """Sums by group are those of their members; the scale is what has a place in it."""
    found = service_use(**case, **{**SCALARS, "cap_cents": cap})
    mine = case["group"] >= 0
    for what, sums in enumerate((found.cost_cents, found.resource_cents, found.services)):
        assert found.by_category[..., what].sum() == sums[mine].sum()
    placed = found.line_place >= 0
    cents = case["amount_cents"][placed].sum() + found.claim_cents.sum()
    assert found.scale[..., 1].sum() == cents
    assert found.scale[..., 0].sum() == placed.sum() + (found.claim_place >= 0).sum()
    assert (found.cost_cents[found.truncated] == cap).all()


def arguments(case: dict[str, Any], cap: int, out: list[Any]) -> list[Any]:
    n = len(case["offsets"]) - 1
    ints = [
        N_CATEGORIES, N_GROUPS, N_SERVICES, len(SLOTS), int(SCALARS["with_scale"]),
    ]  # fmt: skip
    return [
        *case.values(),
        np.int32(FIRST_DAY),
        np.int32(SCALARS["cutoff_day"]),
        np.uint32(SCALARS["kind_bits"]),
        np.uint32(SCALARS["category_bits"]),
        *map(np.int32, (CLAIMS, SCALARS["revenue_start"], SCALARS["ndc_start"])),
        np.int64(cap),
        np.int32(2),
        *map(np.int32, ints),
        np.int64(n),
        np.zeros((len(case["claim_day"]), 2), np.int64),
        *out,
    ]


@settings(max_examples=100, deadline=None)
@given(case=cases(), cap=caps)
def test_the_cuda_text_is_the_definition(
    host_twin: Callable[..., list[Any]], case: dict[str, Any], cap: int
) -> None:
    slow = reference(**case, **{**SCALARS, "cap_cents": cap})
    blank = [np.full_like(each, -1 if "place" in name else 0)
             for name, each in zip(ServiceUse._fields, slow, strict=True)]  # fmt: skip
    n = len(case["offsets"]) - 1
    found = host_twin("service_use", arguments(case, cap, blank), grid=n // 4 + 1, block=4)
    same(found[-len(blank) :], slow)


@pytest.mark.gpu
@settings(max_examples=60, deadline=None)
@given(case=cases(), cap=caps)
def test_the_gpu_is_the_definition(case: dict[str, Any], cap: int) -> None:
    scalars = {**SCALARS, "cap_cents": cap}
    there: dict[str, Any] = {name: to_device(array) for name, array in case.items()}
    found = service_use(**there, **scalars)
    same([to_host(array) for array in found], reference(**case, **scalars))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount_cents": np.zeros(1)}, "amount_cents: expected dtype int64, got float64"),
        ({"units_milli": np.zeros(2, np.int64)}, r"units_milli: expected shape \(1\)"),
        ({"claim_service": np.zeros(2, np.int32)}, r"claim_service: expected shape \(1\)"),
        ({"group": np.zeros((1, 1), np.int32)}, r"group: expected shape \(2, 1\)"),
        ({"rate": np.zeros((2, 0))}, "n_services: expected 1"),
        ({"category_order": np.zeros(33, np.uint8), "pool_cents": np.zeros((2, 33), np.int64)},
         "n_categories: expected 1 to 32, got 33"),
        ({"kind_bits": 2**32}, "kind_bits: expected 0 to 4294967295"),
        ({"cap_cents": -2}, "cap_cents: expected -1 to"),
        ({"offsets": np.zeros(0, np.int64)}, "offsets: expected n_members"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    case = {**case_of([[line(1)]], [[(FIRST_DAY, 0)]]), **SCALARS}
    with pytest.raises(KernelInputError, match=message):
        service_use(**{**case, **change})
