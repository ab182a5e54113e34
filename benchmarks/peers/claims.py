"""What the claim kernels compute, in polars, DuckDB and NumPy: the same arrays in and out.

Frames and tables are built before anything is timed; only the query is. Bit sets become lists of
codes, and day tables become date comparisons, as a person would write them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

Arguments = Mapping[str, Any]
MICRO = 1_000_000


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(32) if mask >> bit & 1]


def _member_of(offsets: NDArray[np.int64]) -> NDArray[np.uint32]:
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.uint32), np.diff(offsets))


# --- segment_cost --------------------------------------------------------------------------------


def _line_frame(a: Arguments) -> pl.DataFrame:
    """Claim lines with the date that incurs them; the day table's periods are calendar years."""
    return pl.DataFrame(
        {
            "member": _member_of(a["offsets"]),
            "amount": a["amount_cents"],
            "incurred": a["incurred_day"],
            "paid": a["paid_day"],
            "category": a["category"],
            "kind": a["kind"],
        }
    ).with_columns(pl.col("incurred").cast(pl.Date))


def _countable(a: Arguments) -> pl.DataFrame:
    """Countable months: one row per member, period and month."""
    period, member, month = np.nonzero(a["month_cell"] != 255)
    return pl.DataFrame(
        {
            "member": member.astype(np.uint32),
            "period": period.astype(np.int8),
            "month": (month + 1).astype(np.int8),
        }
    )


def _years(a: Arguments) -> list[int]:
    """Calendar year of each period."""
    slots = a["slot_of_day"]
    days = [a["first_day"] + int(np.argmax(slots == 12 * p)) for p in range(len(a["month_cell"]))]
    return [int(np.datetime64(day, "D").astype("datetime64[Y]").astype(int)) + 1970 for day in days]


def _capped(total: NDArray[np.int64], a: Arguments) -> NDArray[np.int64]:
    """Floor, cap and what is kept above it, of dense totals [period, member]."""
    if a["floor_at_zero"][0]:
        total = np.maximum(total, 0)
    cap, keep = int(a["cap_cents"][0]), int(a["keep_micro"][0])
    if cap < 0:
        return total
    above = np.maximum(total - cap, 0)
    held = np.minimum(total, cap)
    return held + np.rint(above * (keep / MICRO)).astype(np.int64) if keep else held


def segment_cost_polars(a: Arguments) -> Callable[[], tuple[Any, Any]]:
    """Uncapped and capped cents [period, member] of the first rule set, by a lazy query."""
    lines, months, years = _line_frame(a), _countable(a), _years(a)
    shape = a["month_cell"].shape[:2]
    kinds = _bits(a["kind_bits"])
    services = _bits(int(a["include_bits"][0]))

    def query() -> tuple[Any, Any]:
        period = pl.col("incurred").dt.year() - years[0]
        month = pl.col("incurred").dt.month()
        found = (
            lines.lazy()
            .filter(
                pl.col("kind").is_in(kinds),
                pl.col("category").is_in(services),
                pl.any_horizontal(
                    (pl.col("incurred").dt.year() == year) & (pl.col("paid") <= cutoff)
                    for year, cutoff in zip(years, a["cutoff_days"].tolist(), strict=True)
                ),
            )
            .select("member", "amount", period=period.cast(pl.Int8), month=month.cast(pl.Int8))
            .join(months.lazy(), on=["member", "period", "month"], how="semi")
            .group_by("member", "period")
            .agg(pl.col("amount").sum())
            .collect()
        )
        total = np.zeros(shape, np.int64)
        total[found["period"].to_numpy(), found["member"].to_numpy()] = found["amount"].to_numpy()
        return total, _capped(total, a)

    return query


def segment_cost_duckdb(a: Arguments) -> Callable[[], tuple[Any, Any]]:
    """The same in SQL over DuckDB's own tables, one thread."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    years = _years(a)
    shape = a["month_cell"].shape[:2]
    for name, frame in (("lines", _line_frame(a)), ("months", _countable(a))):
        connection.register("frame", frame.to_arrow())
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")  # noqa: S608
        connection.unregister("frame")
    kinds = ", ".join(map(str, _bits(a["kind_bits"])))
    services = ", ".join(map(str, _bits(int(a["include_bits"][0]))))
    known = " OR ".join(
        f"(year(incurred) = {year} AND paid <= {cutoff})"
        for year, cutoff in zip(years, a["cutoff_days"].tolist(), strict=True)
    )
    sql = f"""
        SELECT member, period, sum(amount)::BIGINT AS amount FROM (
            SELECT member, amount, (year(incurred) - {years[0]})::TINYINT AS period,
                   month(incurred)::TINYINT AS month
            FROM lines
            WHERE kind IN ({kinds}) AND category IN ({services}) AND ({known})
        ) SEMI JOIN months USING (member, period, month)
        GROUP BY member, period
    """  # noqa: S608

    def query() -> tuple[Any, Any]:
        found = connection.execute(sql).fetchnumpy()
        total = np.zeros(shape, np.int64)
        total[found["period"], found["member"]] = found["amount"]
        return total, _capped(total, a)

    return query


# --- line_fate -----------------------------------------------------------------------------------


def line_fate_numpy(a: Arguments) -> Callable[[], tuple[Any, Any]]:
    """Fate of every line and the ledger, column by column."""
    member = _member_of(a["offsets"])

    def query() -> tuple[Any, Any]:
        last = len(a["slot_of_day"])
        day = a["incurred_day"] - a["first_day"]
        inside = (day >= 0) & (day < last)
        slot = np.full(len(day), 255, np.uint8)
        slot[inside] = a["slot_of_day"][day[inside]]
        has_period = slot != 255
        period, month = np.where(has_period, slot // 12, 0), slot % 12
        enrolled = a["enrolled"][period, member] >> month & 1
        cell = a["month_cell"][period, member, month]
        standing = a["standing"][period, member]
        included = a["include_bits"][a["rule"][period, member]] >> a["category"] & 1
        never = a["never_bits"] >> a["kind"].astype(np.int64) & 1
        costs = a["kind_bits"] >> a["kind"].astype(np.int64) & 1
        fate = np.select(
            [
                a["paid_day"] > a["cutoff_day"],
                ~has_period,
                enrolled == 0,
                never == 1,
                (standing == 0) | (cell == 255),
                standing == 1,
                (costs == 0) | (included == 0),
            ],
            [np.uint8(i) for i in range(7)],
            np.uint8(7),
        )
        place = (a["table"].astype(np.int64) * a["n_files"] + a["file"]) * 8 + fate
        n = a["n_tables"] * a["n_files"] * 8
        lines = np.bincount(place, minlength=n)
        # sums below 2^53: exact in float64
        cents = np.bincount(place, weights=a["cents"], minlength=n).astype(np.int64)
        ledger = np.stack([lines, cents], axis=1).reshape(a["n_tables"], a["n_files"], 8, 2)
        return fate, ledger

    return query


# --- attribution ---------------------------------------------------------------------------------


def enrolled_months_numpy(a: Arguments) -> Callable[[], tuple[Any, Any]]:
    """Cell of each month, and months by cell, a month at a time over all spans."""
    member = _member_of(a["offsets"]).astype(np.int64)
    n = len(a["offsets"]) - 1

    def query() -> tuple[Any, Any]:
        month_cell = np.full((n, 12), 255, np.uint8)
        last = a["first_month"] + a["n_months"]
        usable = (a["flags"] & a["exclude"]) == 0
        lowest = np.maximum(a["alive_from"], a["from_month"])[member]
        highest = a["alive_to"][member]
        for month in range(12):
            at = a["january"] + month
            here = (
                usable & (a["first_month"] <= at) & (last > at) & (lowest <= month)
                & (highest > month)
            )  # fmt: skip
            month_cell[member[here], month] = a["rate_cell"][here]
        months = np.stack([(month_cell == c).sum(axis=1) for c in range(a["n_cells"])])
        return month_cell, months.astype(np.int64)

    return query


def roster_match_numpy(a: Arguments) -> Callable[[], tuple[Any, Any]]:
    """Group and step of every visit: the roster's entries tried in order over whole columns."""

    def query() -> tuple[Any, Any]:
        day = a["day"]
        found = np.full(len(day), -1, np.int64)
        most = int(np.diff(a["npi_first"]).max(initial=0))
        for who in ("rendering_npi", "billing_npi"):
            start = a["npi_first"][a[who]].astype(np.int64)
            count = a["npi_first"][a[who] + 1] - start
            for k in range(most):
                open_ = np.flatnonzero((found < 0) & (k < count))
                entry = start[open_] + k
                tin = a["entry_tin"][entry]
                fits = (
                    ((tin == -1) | (tin == a["tin"][open_]))
                    & (a["entry_start"][entry] <= day[open_])
                    & (day[open_] < a["entry_end"][entry])
                )
                found[open_[fits]] = entry[fits]
        kind = a["class_of"][a["procedure"]]
        marks = a["marks"] | a["place_marks"][a["place"]]
        counts = (
            (marks & a["barred"][kind] == 0) & (found >= 0)
            & (day >= a["first_day"]) & (day < a["end_day"]) & (a["paid_day"] <= a["cutoff_day"])
        )  # fmt: skip
        group = np.full(len(day), -1, np.int32)
        step = np.zeros(len(day), np.uint8)
        rows = np.flatnonzero(counts)
        at = found[rows]
        steps = a["step_of"][kind[rows], a["entry_kind"][at]]
        serves = steps > 0
        step[rows[serves]] = steps[serves]
        group[rows[serves]] = a["entry_group"][at[serves]]
        return group, step

    return query


def plurality_polars(a: Arguments) -> Callable[[], tuple[Any, Any]]:
    """Group and encounters of every member, by group-bys."""
    n = len(a["offsets"]) - 1
    visits = pl.DataFrame(
        {
            "member": _member_of(a["offsets"]),
            "group": a["group"],
            "step": a["step"],
            "day": a["day"],
        }
    )
    months = (
        pl.from_numpy(
            (a["months"][:, None] >> np.arange(12)) & 1, schema=[str(m) for m in range(12)]
        )
        .with_row_index("member")
        .unpivot(index="member", variable_name="month")
        .filter(pl.col("value") == 1)
        .select(pl.col("member").cast(visits["member"].dtype), pl.col("month").cast(pl.UInt8))
    )
    month_of = pl.DataFrame(
        {
            "day": np.arange(len(a["month_of"]), dtype=np.int32) + np.int32(a["first_day"]),
            "month": a["month_of"],
        }
    )
    order = ["step", "n", "last", "group"] if a["latest"] else ["step", "n", "group"]
    down = [False, True, True, False] if a["latest"] else [False, True, False]

    def query() -> tuple[Any, Any]:
        found = (
            visits.lazy()
            .filter(pl.col("group") >= 0, pl.col("step") > 0)
            .join(month_of.lazy(), on="day")
            .join(months.lazy(), on=["member", "month"], how="semi")
            .group_by("member", "step", "group")
            .agg(n=pl.col("day").n_unique(), last=pl.col("day").max())
            .sort(order, descending=down)
            .unique("member", keep="first", maintain_order=True)
            .collect()
        )
        group = np.full(n, -1, np.int32)
        encounters = np.zeros(n, np.int32)
        member = found["member"].to_numpy()
        group[member] = found["group"].to_numpy()
        encounters[member] = found["n"].to_numpy()
        return group, encounters

    return query
