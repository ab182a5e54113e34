"""A whole recalculation as an expert writes it today: polars and NumPy, from Parquet.

    claims -> cost by member, year and month | visits -> roster -> plurality | spans -> months
    -> eligible, capped, scored -> totals -> bootstrap -> target and savings rate -> intervals

It follows the same rules to the cent and reads the files of `benchmarks.data.write_clean`, which
spare it whatever ingest decides. Lazy queries on the streaming engine read only the columns used;
members become integers once, what is dense goes to NumPy, and the bootstrap is a sparse matrix
times how often each member was drawn, in one process a thread. No ledger, no walk, no exclusions,
no utilisation, no exhibit, nothing written.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.peers.bootstrap import poisson

BATCH: Final = 8
"""Replicates drawn at a time: one cache line of weights a member."""
COLUMNS: Final = ("months", "risk", "cost")
COMPARISON: Final = "COMPARISON"
NOBODY: Final = 255


@dataclass(frozen=True)
class Terms:
    """The contract, as far as the expert needs it.

    Attributes
    ----------
    base_year, performance_year, cutoff_day, base_cutoff_day : int
    claim_types : sequence of str
        That count; capitation and supplemental lines do not.
    services : sequence of str
    cap_cents : int
    visit_codes, home_codes : sequence of str
        Procedure codes of office visits, and of health care home services.
    no_visit_places : sequence of str
    roster_day : int
        Entries valid on it hold for all days of both years.
    rate_cells : sequence of str
    min_months_continuous, min_months_any : int
    trend : float
        From base to performance year.
    least_months, full_months : int
        Base months of a cell below which its own cost says nothing, and from which it says all.
    """

    base_year: int
    performance_year: int
    cutoff_day: int
    base_cutoff_day: int
    claim_types: Sequence[str]
    services: Sequence[str]
    cap_cents: int
    visit_codes: Sequence[str]
    home_codes: Sequence[str]
    no_visit_places: Sequence[str]
    roster_day: int
    rate_cells: Sequence[str]
    min_months_continuous: int
    min_months_any: int
    trend: float
    least_months: int
    full_months: int

    @property
    def years(self) -> tuple[int, int]:
        """Base, performance."""
        return self.base_year, self.performance_year


@dataclass(frozen=True)
class Answer:
    """What the expert finds.

    Attributes
    ----------
    groups : tuple of str
        Partnerships sorted, COMPARISON, UNATTRIBUTED.
    totals : float64[2, 3, n_groups, n_cells], years by `COLUMNS`
        As observed; whole numbers.
    target_cents, observed_cents : float64[n_partnerships]
    savings_rate : float64[n_partnerships, 1 + B]
    interval : float64[n_partnerships, 2]
        95 %, percentile.
    """

    groups: tuple[str, ...]
    totals: NDArray[np.float64]
    target_cents: NDArray[np.float64]
    observed_cents: NDArray[np.float64]
    savings_rate: NDArray[np.float64]
    interval: NDArray[np.float64]


def recalculate(
    folder: Path, terms: Terms, *, replicates: int, seed: int, threads: int, by_words: bool = False
) -> Answer:
    """Everything, from Parquet files to intervals.

    `by_words` draws Poisson weights from 16-bit words instead of members with replacement.
    """
    spans = pl.read_parquet(folder / "eligibility.parquet")
    people = spans.group_by("person_id").agg(
        pl.col("birth_date").first(), pl.col("death_date").first()
    ).sort("person_id").with_row_index("member")  # fmt: skip
    spans = spans.drop("birth_date", "death_date").join(people, on="person_id")
    number = people.select("person_id", "member").lazy()
    cents = _cost(folder, terms, number)
    n = people.height
    months_of_year = [_months(spans, terms, year, n) for year in terms.years]
    groups, attributed = _attribution(
        folder, terms, number, [cell != NOBODY for cell, _ in months_of_year]
    )
    sums = []
    for position, year in enumerate(terms.years):
        cell, enrolled = months_of_year[position]
        countable = cell != NOBODY
        eligible = _eligible(countable, terms)
        group = np.where(attributed[position] >= 0, attributed[position], len(groups) - 1)
        group = np.where(eligible, group, -1)
        months = np.stack([(cell == c).sum(axis=1) for c in range(len(terms.rate_cells))])
        cost = _capped(cents, cell, position, n, terms)
        score = _scores(folder, year, number, n, enrolled, months)
        sums.append((group, months, months * score, cost))
    observed, drawn = _bootstrap(
        sums, len(groups), len(terms.rate_cells), replicates, seed, threads, by_words
    )
    target, spent, rate = _settle(drawn, terms, len(groups))
    return Answer(
        groups,
        observed,
        target[:, 0],
        spent[:, 0],
        rate,
        np.quantile(rate[:, 1:], [0.025, 0.975], axis=1, method="inverted_cdf").T,
    )


# --- claims --------------------------------------------------------------------------------------


def _paid(terms: Terms, year: pl.Expr) -> pl.Expr:
    """Whether a line was paid by the day through which its year counts claims."""
    through = pl.when(year == terms.base_year).then(terms.base_cutoff_day)
    day = through.otherwise(terms.cutoff_day).cast(pl.Int32).cast(pl.Date)
    return pl.col("paid_date").is_null() | (pl.col("paid_date") <= day)


def _cost(folder: Path, terms: Terms, number: pl.LazyFrame) -> pl.DataFrame:
    """Cents by member, year and month of claim end: member, slot (12 × year + month), cents."""
    kind = pl.col("x_clm_type_cd").fill_null("").is_in(list(terms.claim_types))
    medical = pl.scan_parquet(folder / "medical_claim" / "*.parquet").filter(
        kind, pl.col("x_service_category").is_in(list(terms.services))
    ).select(
        "person_id",
        "paid_amount",
        "paid_date",
        incurred=pl.coalesce("claim_end_date", "claim_line_end_date", "claim_start_date"),
    )  # fmt: skip
    pharmacy = pl.scan_parquet(folder / "pharmacy_claim" / "*.parquet").filter(
        kind, pl.lit("pharmacy" in terms.services)
    ).select("person_id", "paid_amount", "paid_date", incurred="dispensing_date")  # fmt: skip
    year, month = pl.col("incurred").dt.year(), pl.col("incurred").dt.month() - 1
    position = pl.when(year == terms.base_year).then(0).otherwise(1)
    return (
        pl.concat([medical, pharmacy])
        .filter(year.is_in(list(terms.years)), _paid(terms, year))
        .select(
            "person_id",
            slot=(12 * position + month).cast(pl.UInt8),
            cents=(pl.col("paid_amount").fill_null(0) * 100).cast(pl.Int64),
        )
        .join(number, on="person_id")
        .group_by("member", "slot")
        .agg(pl.col("cents").sum())
        .collect(engine="streaming")
    )


def _capped(
    cents: pl.DataFrame, cell: NDArray[np.uint8], position: int, n: int, terms: Terms
) -> NDArray[np.int64]:
    """Capped cost of a year by rate cell, int64[n_cells, n]: the capped sum shared out exactly."""
    slot = cents["slot"].to_numpy()
    rows = np.flatnonzero(slot // 12 == position)
    member = cents["member"].to_numpy()[rows]
    where = cell[member, slot[rows] - 12 * position]
    kept = where != NOBODY
    by_cell = np.bincount(
        where[kept].astype(np.int64) * n + member[kept],
        weights=cents["cents"].to_numpy()[rows][kept],
        minlength=len(terms.rate_cells) * n,
    ).astype(np.int64).reshape(len(terms.rate_cells), n)  # fmt: skip
    total = by_cell.sum(axis=0)
    by_cell[:, total < 0] = 0
    for m in np.flatnonzero(total > terms.cap_cents):
        through, given = 0, 0
        for c in np.flatnonzero(by_cell[:, m]):
            through += int(by_cell[c, m])
            until = round(Fraction(terms.cap_cents * through, int(total[m])))  # half to even
            by_cell[c, m], given = until - given, until
    return by_cell


# --- attribution ---------------------------------------------------------------------------------


def _attribution(
    folder: Path, terms: Terms, number: pl.LazyFrame, countable: Sequence[NDArray[np.bool_]]
) -> tuple[tuple[str, ...], list[NDArray[np.int32]]]:
    """Groups, and each member's partnership in both years (-1 none)."""
    roster = pl.read_parquet(folder / "provider_roster.parquet")
    names = sorted(set(roster["partnership_id"]) - {COMPARISON})
    groups = (*names, COMPARISON, "UNATTRIBUTED")
    day = pl.lit(terms.roster_day).cast(pl.Int32).cast(pl.Date)
    roster = roster.filter(
        pl.col("start_date").is_null() | (pl.col("start_date") <= day),
        pl.col("end_date").is_null() | (pl.col("end_date") >= day),
    )
    own = pl.when(pl.col("specialty") == "primary care").then(2).otherwise(3)
    entries = (
        roster.select(
            "npi",
            pl.col("tin").fill_null(""),
            "start_date",
            group=pl.col("partnership_id").replace_strict(
                {name: i for i, name in enumerate(groups)}, return_dtype=pl.Int32
            ),
            visit_step=own,
        )
        .sort(pl.col("tin") == "", pl.col("start_date").rank(descending=True))
        .with_row_index("rank")
    )
    wanted = [*terms.visit_codes, *terms.home_codes]
    is_home = pl.col("hcpcs_code").is_in(list(terms.home_codes))
    visits = (
        pl.scan_parquet(folder / "medical_claim" / "*.parquet")
        .filter(
            pl.col("hcpcs_code").is_in(wanted),
            is_home
            | (
                ~pl.col("x_hospital")
                & ~pl.col("place_of_service_code").fill_null("").is_in(list(terms.no_visit_places))
            ),
            pl.col("x_clm_type_cd").fill_null("").is_in(list(terms.claim_types)),
        )
        .select(
            "person_id",
            "rendering_npi",
            "billing_npi",
            pl.col("billing_tin").fill_null(""),
            "paid_date",
            day=pl.coalesce("claim_line_start_date", "claim_start_date", "claim_end_date"),
            home=is_home,
        )
        .filter(
            pl.col("day").dt.year().is_in(list(terms.years)),
            _paid(terms, pl.col("day").dt.year()),
        )
        .join(number, on="person_id")
        .drop("person_id", "paid_date")
        .with_row_index("visit")
        .collect(engine="streaming")
    )
    found = []
    for year, counts in zip(terms.years, countable, strict=True):
        here = visits.filter(pl.col("day").dt.year() == year)
        month = here["day"].dt.month().to_numpy() - 1
        here = here.filter(pl.Series(counts[here["member"].to_numpy(), month]))
        n = len(counts)
        matched = []
        for who in ("rendering_npi", "billing_npi"):
            pairs = here.join(entries, left_on=who, right_on="npi").filter(
                (pl.col("tin") == "") | (pl.col("tin") == pl.col("billing_tin"))
            )
            first = pairs.sort("rank").unique("visit", keep="first")
            matched.append(first.select("visit", "member", "day", "home", "group", "visit_step"))
            here = here.join(first.select("visit"), on="visit", how="anti")
        winners = (
            pl.concat(matched)
            .with_columns(step=pl.when("home").then(1).otherwise("visit_step"))
            .group_by("member", "step", "group")
            .agg(n=pl.col("day").n_unique(), last=pl.col("day").max())
            .sort("step", "n", "last", "group", descending=[False, True, True, False])
            .unique("member", keep="first", maintain_order=True)
        )
        group = np.full(n, -1, np.int32)
        group[winners["member"].to_numpy()] = winners["group"].to_numpy()
        found.append(group)
    return groups, found


# --- months and scores ---------------------------------------------------------------------------


def _months(
    spans: pl.DataFrame, terms: Terms, year: int, n: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Cell of each countable month, uint8[n, 12]; enrolled months by cell, int64[n_cells, n]."""
    january = 12 * year
    here = spans.filter(
        pl.col("first_month") < january + 12, pl.col("first_month") + pl.col("n_months") > january
    )
    code = {name: i for i, name in enumerate(terms.rate_cells)}
    member = here["member"].to_numpy()
    first = here["first_month"].to_numpy() - january
    last = first + here["n_months"].to_numpy()
    rate = here["rate_cell"].replace_strict(code, return_dtype=pl.UInt8).to_numpy()
    flags = ("dual", "spend_down", "partial_benefit", "limited_benefits")
    usable = ~here.select(pl.any_horizontal(*flags)).to_series().to_numpy()
    born = _month_of(here["birth_date"], -(10**6)) - january
    died = _month_of(here["death_date"], 10**6) - january
    cell = np.full((n, 12), NOBODY, np.uint8)
    enrolled = np.zeros((len(terms.rate_cells), n), np.int64)
    for month in range(12):
        covered = (first <= month) & (last > month)
        np.add.at(enrolled, (rate[covered], member[covered]), 1)
        counts = covered & usable & (born <= month) & (died >= month)
        cell[member[counts], month] = rate[counts]
    return cell, enrolled


def _month_of(dates: pl.Series, absent: int) -> NDArray[np.int64]:
    months = dates.dt.year().cast(pl.Int64) * 12 + dates.dt.month() - 1
    return months.fill_null(absent).to_numpy()


def _eligible(countable: NDArray[np.bool_], terms: Terms) -> NDArray[np.bool_]:
    run = np.zeros(len(countable), np.int64)
    longest = run.copy()
    for month in range(12):
        run = np.where(countable[:, month], run + 1, 0)
        longest = np.maximum(longest, run)
    return (longest >= terms.min_months_continuous) | (
        countable.sum(axis=1) >= terms.min_months_any
    )


def _scores(
    folder: Path,
    year: int,
    number: pl.LazyFrame,
    n: int,
    enrolled: NDArray[np.int64],
    months: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Supplied scores in millionths; who has none takes the mean of the rate cell."""
    given = (
        pl.scan_parquet(folder / "risk_score.parquet")
        .filter(pl.col("year") == str(year))
        .select("person_id", micro=(pl.col("score") * 1_000_000).cast(pl.Int64))
        .join(number, on="person_id")
        .select("member", "micro")
        .collect()
    )
    score = np.full(n, -1, np.int64)
    score[given["member"].to_numpy()] = given["micro"].to_numpy()
    cell, total = enrolled.argmax(axis=0), enrolled.sum(axis=0)
    known = (score >= 0) & (total > 0)
    weights = np.bincount(cell[known], weights=total[known], minlength=len(enrolled))
    sums = np.bincount(
        cell[known], weights=(score * total)[known].astype(np.float64), minlength=len(enrolled)
    )
    mean = np.rint(np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0))
    return np.where(score < 0, mean[months.argmax(axis=0)].astype(np.int64), score)


# --- bootstrap and settlement --------------------------------------------------------------------


def _bootstrap(
    sums: Sequence[tuple[NDArray[Any], ...]],
    n_groups: int,
    n_cells: int,
    replicates: int,
    seed: int,
    threads: int,
    by_words: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Totals as observed, and of every replicate (the first is the observed)."""
    n = len(sums[0][0])
    rows, members, values = [], [], []
    for position, (group, *columns) in enumerate(sums):
        present = (columns[0] != 0) | (columns[2] != 0)
        cell, member = np.nonzero(present & (group >= 0))
        for c, column in enumerate(columns):
            rows.append(((position * 3 + c) * n_groups + group[member]) * n_cells + cell)
            members.append(member)
            values.append(column[cell, member])
    drawn_from = np.unique(np.concatenate(members))
    place = np.zeros(n, np.int64)
    # members of one group side by side: their weights are read together
    order = np.lexsort((sums[1][0][drawn_from],))
    place[drawn_from[order]] = np.arange(len(order))
    matrix = sparse.csr_array(
        (
            np.concatenate(values).astype(np.float64),
            (np.concatenate(rows), place[np.concatenate(members)]),
        ),
        shape=(2 * 3 * n_groups * n_cells, len(order)),
    )
    matrix.sort_indices()
    shape = (2, 3, n_groups, n_cells)
    observed = (matrix @ np.ones(len(order))).reshape(shape)
    parts = [(seed + k, -(-replicates // threads), by_words) for k in range(threads)]
    global _MATRIX  # noqa: PLW0603 - inherited by the forked workers, not pickled
    _MATRIX = matrix
    if threads == 1:
        drawn = [_draw(parts[0])]
    else:
        with multiprocessing.get_context("fork").Pool(threads) as pool:
            drawn = pool.map(_draw, parts)
    every = np.concatenate(drawn, axis=1)[:, :replicates]
    every = np.concatenate([observed.reshape(-1, 1), every], axis=1)
    return observed, every.reshape(*shape, -1)


_MATRIX: Any = None


def _draw(part: tuple[int, int, bool]) -> NDArray[np.float64]:
    """Replicate totals of one process, drawn a few at a time."""
    seed, replicates, by_words = part
    rng, source = np.random.default_rng(seed), np.random.SFC64(seed)
    n = _MATRIX.shape[1]
    found = np.empty((_MATRIX.shape[0], replicates))
    weights = np.empty((n, BATCH))
    for start in range(0, replicates, BATCH):
        if by_words:
            words = source.random_raw(n * BATCH // 4).view(np.uint16)
            weights[:] = poisson(words.reshape(n, BATCH))
        else:
            for k in range(BATCH):
                weights[:, k] = np.bincount(rng.integers(0, n, n), minlength=n)
        stop = min(start + BATCH, replicates)
        found[:, start:stop] = (_MATRIX @ weights)[:, : stop - start]
    return found


def _ratio(above: NDArray[Any], below: NDArray[Any], otherwise: Any = 0.0) -> NDArray[Any]:
    return np.where(below != 0, above / np.where(below != 0, below, 1), otherwise)


def _settle(
    drawn: NDArray[np.float64], terms: Terms, n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Target, observed and savings rate of each partnership in every replicate.

    Bases are the partnership's own as far as its observed months carry, else the state's at the
    partnership's level; risk counts within a rate cell, beside the state's mean of that cell.
    """
    (base_months, base_risk, base_cost), (months, risk, cost) = drawn
    own = slice(0, n_groups - 2)
    mean = [
        _ratio(r.sum(axis=0), m.sum(axis=0)) for r, m in ((base_risk, base_months), (risk, months))
    ]
    state = _ratio(base_cost.sum(axis=0), base_months.sum(axis=0))
    state = np.where(state != 0, state, state[:, :1])
    seen = base_months[own][:, :, :1]
    carries = np.minimum(1, np.sqrt(seen.sum(axis=1) / terms.full_months))
    by_cell = np.where(
        seen < terms.least_months, 0, np.minimum(1, np.sqrt(seen / terms.full_months))
    )
    weighed = _ratio(base_risk[own], mean[0])
    by_cell = np.where(weighed != 0, by_cell, 0)
    expected = (weighed * state).sum(axis=1)
    whole = carries * base_cost[own].sum(axis=1) + (1 - carries) * expected
    level = _ratio(whole, expected, 1.0)[:, None]
    unit = by_cell * _ratio(base_cost[own], weighed) + (1 - by_cell) * level * state
    unit = unit * _ratio(whole, (weighed * unit).sum(axis=1), 1.0)[:, None]
    target = (_ratio(risk[own], mean[1]) * unit).sum(axis=1) * terms.trend
    scale = months[own].sum(axis=1)
    scale = _ratio(scale[:, :1], scale)
    target, spent = target * scale, cost[own].sum(axis=1) * scale
    return target, spent, _ratio(target - spent, target)
