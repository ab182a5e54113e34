"""Where the cost that settles lies: by partnership and year, by payer, by category of service.

The first foots to the settlement and to the ledger; what its sum is not made of is said. A sum of
which a part is hidden is hidden.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.report import numbers
from ihp_compute.report.partnerships import Partnership
from ihp_compute.report.rows import Row, RowsOf
from ihp_compute.results import TABLES, OpenForm, reconcile, result

_CELLS: Final = "cells"
_SUMMED: Final = ("member_months", "paid_cents", "cost_cents")
_OTHERS: Final = (COMPARISON, UNATTRIBUTED)
_SERVICES: Final = "service_category"


def tied_section(
    run_dir: Path,
    manifest: Mapping[str, Any],
    form: OpenForm | None,
    partnerships: Sequence[Partnership],
) -> Row | None:
    """The ledger tied to what settles: counted, floor and cap, cost, observed, and what is off.

    Parameters
    ----------
    run_dir, manifest, form
        The run, and its open form if the page is of that.
    partnerships : sequence of Partnership
        In the order of the page.

    Returns
    -------
    dict
        `rows` of partnerships, `all` of them by year, `others` beside them, `totals` of both years
        beside the ledger; `tied`: whether every row ties; `checks`. None of a run that kept no rate
        cells.
    """
    if not (run_dir / f"{_CELLS}.parquet").is_file():
        return None
    found = reconcile(run_dir, form)
    years = (manifest["base_year"], manifest["performance_year"])
    by = {(one.partnership_id, one.year): one for one in found.years}
    months, others = _by_group(run_dir, form)
    rows = []
    for p in partnerships:
        name = p.row["partnership_id"]
        of = [by[name, year] for year in years if (name, year) in by]
        if of:
            rows.append(
                {
                    "group": name,
                    "years": [
                        _year(one.counted_cents, one.cost_cents, months.get((name, one.year), 0))
                        for one in of
                    ],
                    "observed": numbers.usd(p.row["observed_cents"]),
                    "tied": _tie(max((one.off_cents for one in of), key=abs)),
                }
            )
    is_all = all(total.cents is not None for total in found.totals if total.name == "cost")
    return {
        "rows": rows,
        "all": [
            _year(
                numbers.summed(one.counted_cents for one in of),
                numbers.summed(one.cost_cents for one in of),
                numbers.summed(months.get((one.partnership_id, year), 0) for one in of),
            )
            if is_all
            else _year(None, None, None)
            for year in years
            for of in ([one for one in found.years if one.year == year],)
        ],
        "others": [
            {
                "group": name.capitalize(),
                "years": [_year(*others.get((name, year), (0, 0, 0))) for year in years],
            }
            for name in _OTHERS
            if (name, years[1]) in others
        ],
        "totals": [
            {
                "name": total.name,
                "cents": _cents(total.cents, places=2),
                "ledger": _cents(total.ledger_cents, places=2),
                "tied": _tie(total.off_cents),
            }
            for total in found.totals
        ],
        "completes": any(one.completed_cents for one in found.years),
        "balanced": found.balanced,
        "checks": found.checks,
    }


def _by_group(
    run_dir: Path, form: OpenForm | None
) -> tuple[Mapping[tuple[str, int], int | None], dict[tuple[str, int], tuple[int | None, ...]]]:
    """Member months by group and year; of groups that do not settle paid, cost and months too.

    A group without members in a year is not there.
    """
    table = result(run_dir, TABLES[_CELLS]) if form is None else form.table(_CELLS)
    found: dict[tuple[str, str, int], dict[str, int | None]] = defaultdict(dict)
    for row in table.to_pylist():
        of = found[row["contract"], row["partnership_id"], row["year"]]
        for name in _SUMMED:
            of[name] = numbers.summed([of.get(name, 0), row[name]])
    first = {group: contract for contract, group, _ in reversed(found)}
    own = {key[1:]: of for key, of in found.items() if first[key[1]] == key[0]}
    return (
        {key: of["member_months"] for key, of in own.items()},
        {
            key: (of["paid_cents"], of["cost_cents"], of["member_months"])
            for key, of in own.items()
            if key[0] in _OTHERS
        },
    )


def _year(paid: int | None, cost: int | None, months: int | None) -> list[str]:
    """Counted, floor and cap, cost, cost per member month, as words."""
    moved = numbers.summed([cost, None if paid is None else -paid])
    pmpm = None if cost is None or months is None else cost / months if months else 0
    return [
        *map(_cents, (paid, moved, cost)),
        numbers.HELD if pmpm is None else numbers.usd(pmpm, places=2),
    ]


def _tie(off: int | None) -> str:
    """Whether two sums are one, or by how much they are not."""
    if off is None:
        return numbers.HELD
    return "ties" if off == 0 else f"off by {numbers.usd(off, places=2, plus=True)}"


def caps_section(rows: RowsOf, years: tuple[int, int]) -> Row | None:
    """Members above the cap, what it took away and of how much, by partnership and year.

    None where the cap takes nothing from anybody.
    """
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows.where("caps"):
        found[row["partnership_id"]][row["year"]] = row
    if not any(row["above_cap_cents"] for of in found.values() for row in of.values()):
        return None
    sums = {
        year: {
            name: numbers.summed(of[year][name] for of in found.values() if year in of)
            for name in ("n_above_cap", "above_cap_cents", "uncapped_cents")
        }
        for year in years
    }
    return {
        "rows": [
            (name, [word for year in years for word in _cap_words(of.get(year))])
            for name, of in sorted(found.items())
        ],
        "all": [word for year in years for word in _cap_words(sums[year])],
    }


def _cap_words(row: Row | None) -> list[str]:
    """Members above the cap, dollars above it, and its part of the cost."""
    if row is None:
        return [numbers.DASH] * 3
    above, cost = row["above_cap_cents"], row["uncapped_cents"]
    known = above is not None and cost is not None
    return [
        numbers.held_back(row["n_above_cap"]),
        _cents(above),
        numbers.percent(above / cost if cost else 0.0) if known else numbers.HELD,
    ]


def payers_section(rows: RowsOf) -> Row | None:
    """Each partnership's payment by payer; None where one payer has all."""
    shown = {row["partnership_id"] for row in rows["settlement"]}
    split: dict[str, dict[str, int | None]] = defaultdict(dict)
    for row in rows.where("payments"):  # hidden ones too: what is not there is no payment
        if row["partnership_id"] in shown:
            split[row["partnership_id"]][row["payer"]] = row["payment_cents"]
    payers = sorted({payer for of in split.values() for payer in of}, key=lambda p: (p != "ffs", p))
    if len(payers) < 2:
        return None
    sums = {payer: numbers.summed(of.get(payer, 0) for of in split.values()) for payer in payers}
    return {
        "payers": payers,
        "rows": [
            (name, [_cents(of[payer]) if payer in of else numbers.DASH for payer in payers])
            for name, of in split.items()
        ],
        "all": [_cents(sums[payer]) for payer in payers],
    }


def _cents(cents: int | None, places: int = 0) -> str:
    return numbers.HELD if cents is None else numbers.usd(cents, places=places)


def services_section(rows: RowsOf, years: tuple[int, int]) -> Row | None:
    """Cost per member month by category of service; None where none was measured.

    All partnerships in both years, then each in the performance year; months, cap and members are
    those of the cost index.
    """
    months = {
        (row["scope"], row["scope_id"], row["year"]): row["member_months"]
        for row in rows["cost_index"]
    }
    spent: dict[tuple[str, str, int], dict[str, int | None]] = defaultdict(dict)
    for row in rows.where("cost_drivers", dimension=[_SERVICES]):
        spent[row["scope"], row["scope_id"], row["year"]][row["item"]] = row["cost_cents"]
    whole = ("attributed", "attributed")
    of_all = spent.get((*whole, years[1]), {})
    if not of_all:
        return None
    items = sorted(of_all, key=lambda item: (-(of_all[item] or 0), item))

    def line(name: str, key: tuple[str, str, int]) -> Row | None:
        if not months.get(key) or key not in spent:
            return None
        cents = [spent[key].get(item, 0) for item in items]
        return {
            "name": name,
            "pmpm": [
                numbers.HELD if c is None else numbers.usd(c / months[key], places=2)
                for c in (*cents, numbers.summed(cents))
            ],
        }

    order = sorted(
        (name for scope, name, year in months if scope == "partnership" and year == years[1]),
        key=lambda name: (name in _OTHERS, -(months["partnership", name, years[1]] or 0), name),
    )
    lines = [
        *(line(f"All partnerships, {year}", (*whole, year)) for year in years),
        line(f"The state, {years[1]}", ("state", "state", years[1])),
        *(
            line(
                name.capitalize() if name in _OTHERS else name,
                ("partnership", name, years[1]),
            )
            for name in order
        ),
    ]
    return {
        "items": [numbers.label(item) for item in items],
        "rows": [one for one in lines if one is not None],
    }
