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
from ihp_compute.results import TABLES, OpenForm, result

_CELLS: Final = "cells"
_SUMMED: Final = ("member_months", "paid_cents", "cost_cents")
_OTHERS: Final = (COMPARISON, UNATTRIBUTED)
_SERVICES: Final = "service_category"


def cost_by_year(
    run_dir: Path,
    manifest: Mapping[str, Any],
    form: OpenForm | None,
    partnerships: Sequence[Partnership],
    ledger_cents: int | None,
    left_out: int,
) -> Row | None:
    """Paid dollars, floor and cap, and cost of each group and year, and what they add up to.

    Parameters
    ----------
    run_dir, manifest, form
        The run, and its open form if the page is of that.
    partnerships : sequence of Partnership
        In the order of the page.
    ledger_cents : int or None
        Cost that settles by the ledger of the run; None where it is hidden.
    left_out : int
        Partnerships that are hidden wholly, and with them the sums of all.

    Returns
    -------
    dict
        `rows` of partnerships, `all` of them by year, `others` beside them, `off` cents by which
        the ledger differs, None where that cannot be told. None of a run that kept no rate cells.
    """
    if form is not None:
        table = form.table(_CELLS)
    elif (run_dir / f"{_CELLS}.parquet").is_file():
        table = result(run_dir, TABLES[_CELLS])
    else:
        return None
    years = (manifest["base_year"], manifest["performance_year"])
    found: dict[tuple[str, str, int], dict[str, int | None]] = defaultdict(dict)
    for row in table.to_pylist():
        of = found[row["contract"], row["partnership_id"], row["year"]]
        for name in _SUMMED:
            of[name] = numbers.summed([of.get(name, 0), row[name]])
    by = {group: contract for contract, group, _ in reversed(found)}
    sums = [
        {
            name: None
            if left_out
            else numbers.summed(
                of[name]
                for (_, group, of_year), of in found.items()
                if of_year == year and group not in _OTHERS
            )
            for name in _SUMMED
        }
        for year in years
    ]
    cost = numbers.summed(of["cost_cents"] for of in sums)

    def group(name: str, observed: str) -> Row:
        of_years = (found.get((by[name], name, year), {}) for year in years)
        return {"group": name, "years": [_year(of) for of in of_years], "observed": observed}

    return {
        "rows": [
            group(p.row["partnership_id"], numbers.usd(p.row["observed_cents"]))
            for p in partnerships
            if p.row["partnership_id"] in by
        ],
        "others": [
            {**group(name, numbers.DASH), "group": name.capitalize()}
            for name in _OTHERS
            if name in by
        ],
        "all": [_year(of) for of in sums],
        "off": None if cost is None or ledger_cents is None else ledger_cents - cost,
    }


def _year(of: Mapping[str, int | None]) -> list[str]:
    """Paid, floor and cap, cost, cost per member month, as words."""
    months, paid, cost = (of.get(name, 0) for name in _SUMMED)
    moved = numbers.summed([cost, None if paid is None else -paid])
    pmpm = None if cost is None or months is None else cost / months if months else 0
    return [
        *(numbers.HELD if cents is None else numbers.usd(cents) for cents in (paid, moved, cost)),
        numbers.HELD if pmpm is None else numbers.usd(pmpm, places=2),
    ]


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


def _cents(cents: int | None) -> str:
    return numbers.HELD if cents is None else numbers.usd(cents)


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
