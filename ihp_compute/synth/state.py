"""A synthetic state with known answers: raw tables in the input layout, `truth.json` beside them.

    people (who, and what a year of them costs) -> network (roster) -> claims by block -> Parquet

What is known, and how it is meant:

*True savings.* `cells` has member months, risk and expected cost after each cap, by group, year and
rate cell. The true savings rate under a contract is 1 - expected cost / expected target, the target
made from these by the contract's own rule (docs/method/truth.py). `planted` says what was planted
(`effects.EFFECTS`), `clinics` by what each clinic's cost was multiplied. A partnership's
`true_savings_rate` is what it saves against its own level, scores as they were without creep and
the trend, after the standard cap: 1 - expected cost in the performance year / the same without
savings. The comparison population and everybody else have no level and save nothing.

*Run-out.* The state is delivered as of a day of payment (`payment`): what is paid later stands in
no table and not in the ledger. Expected cost is meant when all is paid; of that, the share that is
paid so many months after a year's end is expected to be the same in both years.

*Fates.* `ledger` holds the lines and paid cents that every table must come out with, by ingest
fate, and `histories` the same for each kind of history and damage that is planted
(`histories.PLANTED`): claims that met it, lines by fate, cents that stand, and cents that stand
under the option that reads it in another way. The clean set holds no duplicate, no second version,
and no service outside enrolment. `errors` are the lines of the ledger that do not stand.

Every table is a function of (members, seed, years): blocks of `MEMBERS_PER_BLOCK` members draw
from their own Philox keys and are written to their own files, so threads change nothing, and
memory holds one block of claims per thread beside about 300 bytes per member.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.codes import SPAN_DUAL, SPAN_PARTIAL_BENEFIT, SPAN_SPEND_DOWN
from ihp_compute.errors import DataError, PlantError
from ihp_compute.ledger import IngestFate
from ihp_compute.publishing import beside, publish
from ihp_compute.synth import columns
from ihp_compute.synth import costs as synth_costs
from ihp_compute.synth import network as synth_network
from ihp_compute.synth import people as synth_people
from ihp_compute.synth import raw_claims as synth_claims
from ihp_compute.synth.answers import Answers
from ihp_compute.synth.changes import told
from ihp_compute.synth.codes import AID_CODES, FAMILY_PLANNING
from ihp_compute.synth.effects import planted
from ihp_compute.synth.expected import clinic_effects, expected_cells, expected_index
from ihp_compute.synth.factors import ETHNICITIES, LANGUAGES, RACES, SOCIAL
from ihp_compute.synth.given import COUNTIES, given_tables
from ihp_compute.synth.limits import (
    FLAGS_OF,
    IS_FAMILY_PLANNING,
    NO_LIMIT,
    PREGNANCY_SCOPE,
    SCOPE_OF,
    SCOPES,
)
from ihp_compute.synth.payment import run_out_end
from ihp_compute.synth.weights import weights_of
from ihp_compute.units import day_of, usd_of

MEMBERS_PER_BLOCK: Final = 4_096
RISK_MODEL: Final = "synthetic-concurrent"
BASE_YEAR: Final = 2023
PERFORMANCE_YEAR: Final = 2024
VERSION: Final = 4
"""Of the generator: it rises when the same seed gives other rows."""
COMPRESSION: Final = "snappy"

Made = tuple[synth_claims.Block, int]
"""Claims of a block, and its spans of enrolment."""
_FULL_DUAL, _PARTIAL_DUAL, _NOT_DUAL = "02", "01", "00"


def synth(
    members: int,
    seed: int,
    out: Path,
    *,
    base_year: int = BASE_YEAR,
    performance_year: int = PERFORMANCE_YEAR,
    plant: Mapping[str, float] | None = None,
    paid_through: date | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a synthetic state of `members` people into the folder `out`.

    Parameters
    ----------
    members : int
        People of the state over both years; about 505 in 1,200 of them end up attributed to the 25
        partnerships in the performance year, 35 % to the comparison population.
    seed : int
        Non-negative; the same numbers give the same bytes on any number of threads.
    out : Path
        A new or empty folder. It appears complete or not at all.
    base_year, performance_year : int
        Calendar years.
    plant : mapping of str to float, optional
        Values of `effects.EFFECTS` by name; the others have their shipped value.
    paid_through : date, optional
        Claims paid later are not there yet: not in the tables, nor in the ledger of `truth.json`.
        The end of six months of run-out, 30 June after the performance year, unless given; later,
        and all that is drawn is there.
    threads : int, optional
        Blocks drawn at a time; the number of cores by default.
    progress : callable, optional
        Called with (blocks done, blocks) after each block.

    Returns
    -------
    dict
        What `truth.json` holds: `partnerships[]` of `{partnership_id, true_savings_rate, …}`,
        `planted`, `cells`, `clinics`, `weights` where they are planted,
        `ledger` of `{table: {fate: {lines, paid_cents}}}`, `histories` of `{kind: {meaning, claims,
        lines, retained_cents, …}}`, `errors` of lines by ingest fate, `members`, `lines`,
        `retained_lines`, the years, `trend`.

    Raises
    ------
    DataError
        If `members` or `seed` or the years are out of range, or `out` holds anything already.
    PlantError
        If something unknown is to be planted, a value is out of range, or `paid_through` lies
        before the performance year.
    """
    effects = planted(plant or {})
    if not 1 <= members <= 10**8:
        raise DataError(f"members: expected 1 to 100,000,000, got {members}")
    if not 0 <= seed < 2**64:
        raise DataError(f"seed: expected 0 to 2^64 - 1, got {seed}")
    if not 1990 <= base_year < performance_year <= 2100:
        raise DataError(
            f"years: expected base year before performance year, got {base_year} and "
            f"{performance_year}"
        )
    if paid_through is not None and paid_through.year < performance_year:
        raise PlantError(
            f"paid_through: expected a day from {performance_year}-01-01 on, the performance year, "
            f"got {paid_through}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already and is not an empty folder: name another one")
    with beside(out) as staging:
        calendar = synth_people.Calendar(base_year, performance_year)
        through = run_out_end(performance_year) if paid_through is None else paid_through
        truth = _write(members, seed, staging, calendar, effects, through, threads, progress)
        publish(staging, out)
    return truth


def _write(
    members: int,
    seed: int,
    folder: Path,
    calendar: synth_people.Calendar,
    effects: Mapping[str, float],
    paid_through: date,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    people = synth_costs.people(members, seed, calendar, effects)
    network = synth_network.network(members, seed, calendar, people.n_partnerships)
    for name in ("medical_claim", "pharmacy_claim", "eligibility"):
        (folder / name).mkdir()
    blocks = [
        (number, first, min(first + MEMBERS_PER_BLOCK, members))
        for number, first in enumerate(range(0, members, MEMBERS_PER_BLOCK))
    ]

    def make(block: tuple[int, int, int]) -> Made:
        number, first, stop = block
        made = synth_claims.claims_block(
            people, network, seed, number, first, stop, through_day=day_of(paid_through)
        )
        name = f"part-{number:05d}.parquet"
        _parquet(made.medical, folder / "medical_claim" / name)
        _parquet(made.pharmacy, folder / "pharmacy_claim" / name)
        spans = _eligibility(people, first, stop)
        _parquet(spans, folder / "eligibility" / name)
        return made, spans.num_rows

    answers, n_spans = Answers.none(), 0
    wrong: dict[str, list[pa.Table]] = {"medical_claim": [], "pharmacy_claim": []}
    for done, (made, spans) in enumerate(_in_order(make, blocks, threads), start=1):
        answers, n_spans = answers + made.answers, n_spans + spans
        wrong["medical_claim"].append(made.unreadable_medical)
        wrong["pharmacy_claim"].append(made.unreadable_pharmacy)
        if progress is not None:
            progress(done, len(blocks))
    for name, parts in wrong.items():
        table = pa.concat_tables(parts)
        if table.num_rows:
            _parquet(table, folder / name / "unreadable.parquet")

    _parquet(network.roster, folder / "provider_roster.parquet")
    _parquet(_scores(people), folder / "risk_score.parquet")
    _parquet(_factors(people), folder / "member_factors.parquet")
    _parquet(_quality(people, seed), folder / "quality_score.parquet")
    for name, table in given_tables(people, seed).items():
        _parquet(table, folder / f"{name}.parquet")
    rostered = network.npis[: int(network.count.sum())].to_pylist()
    truth = {
        **_truth(people, seed, answers, n_spans),
        "paid_through": paid_through.isoformat(),
        "planted": dict(effects),
        "cells": expected_cells(people),
        "clinics": clinic_effects(people, rostered),
        "programme": {**told(people), "cost_index": expected_index(people)},
    }
    if effects["weights"]:
        truth["weights"] = weights_of(calendar, effects["weights"])
    text = json.dumps(truth, indent=1)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
    return truth


def _in_order(
    make: Callable[[tuple[int, int, int]], Made],
    blocks: list[tuple[int, int, int]],
    threads: int | None,
) -> Iterator[Made]:
    """Blocks in their order, a few at a time; tables of claims are dropped once written."""
    workers = threads or len(_cores())
    if workers == 1:
        yield from map(make, blocks)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="synth") as pool:
        waiting: deque[Future[Made]] = deque()
        for block in blocks:
            waiting.append(pool.submit(make, block))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _parquet(table: pa.Table, path: Path) -> None:
    """Plain Parquet types: text columns are text, whatever they were made from."""
    distinct = ("claim_id", "paid_amount", "allowed_amount", "charge_amount")
    coded = [name for name in table.column_names if name not in distinct]
    pq.write_table(
        table,
        path,
        compression=COMPRESSION,
        use_dictionary=coded,
        store_schema=False,
        store_decimal_as_integer=True,
        write_statistics=False,
    )


# --- tables beside the claims ---------------------------------------------------------------------


def _eligibility(people: synth_people.People, first: int, stop: int) -> pa.Table:
    """One row per member and span of months in which nothing changes."""
    calendar = people.calendar
    rows = slice(first, stop)
    width = calendar.n_months
    second = np.arange(width) >= synth_people.MONTHS_BEFORE + 12
    plan = people.plan[rows][:, second.astype(int)]
    kind = people.kind[rows]
    plan = np.where(kind == synth_people.MANAGED, plan, 0).astype(np.int64)
    flags = people.flags[rows][:, second.astype(int)].astype(np.int64)
    limit = people.limit[rows].astype(np.int64)
    aid = people.aid[rows].astype(np.int64)
    state = np.where(people.enrolled[rows], 1 + aid + 8 * (plan + 8 * (flags + 8 * limit)), 0)
    changes = np.ones_like(state, dtype=bool)
    changes[:, 1:] = state[:, 1:] != state[:, :-1]
    if calendar.performance_year != calendar.base_year + 1:
        changes[:, synth_people.MONTHS_BEFORE + 12] = True
    starts = changes & (state > 0)
    member, begin = np.nonzero(starts)
    ends = np.ones_like(changes)
    ends[:, :-1] = changes[:, 1:]
    _, end = np.nonzero(ends & (state > 0))
    whole = first + member
    aid, plan, limit = aid[member, begin], plan[member, begin], limit[member, begin]
    flags = flags[member, begin] | FLAGS_OF[limit]

    birth, death = people.birth_day[whole], people.death_day[whole]
    start_day = np.maximum(calendar.first_days[:-1][begin], birth)
    end_day = calendar.first_days[:-1][end] + calendar.lengths[end] - 1
    dead = death > birth
    end_day = np.where(dead, np.minimum(end_day, death), end_day)
    variant = people.aid_variant[whole]
    code = np.where((aid == synth_people.EXPANSION) & (variant > 0), 5 + variant, aid)
    code = np.where(IS_FAMILY_PLANNING[limit], FAMILY_PLANNING, code)
    pregnancy = (aid == synth_people.MATERNITY) & (variant > 0) & (limit == NO_LIMIT)
    scope = np.where(pregnancy, SCOPES.index(PREGNANCY_SCOPE), SCOPE_OF[limit])
    dual = (flags & SPAN_DUAL) > 0
    status = np.where(dual, np.where(variant == 1, 1, 2), 0)

    text = columns.dictionary
    flag = pa.array(["0", "1"])
    return columns.raw_table(
        "eligibility",
        {
            "person_id": columns.ids(np.full(len(whole), ord("P"), np.uint8), whole),
            "gender": text(people.female[whole], pa.array(["male", "female"])),
            "birth_date": columns.dates(birth),
            "death_date": columns.dates(death, dead),
            "death_flag": text(dead, flag),
            "enrollment_start_date": columns.dates(start_day),
            "enrollment_end_date": columns.dates(end_day),
            "payer": text(whole * 0, pa.array(["STATE"])),
            "payer_type": text(whole * 0, pa.array(["medicaid"])),
            "plan": text(plan, pa.array(["FFS", *synth_people.PLANS[1:]])),
            "original_reason_entitlement_code": text(
                np.where(dual, np.where(aid == synth_people.DISABLED, 1, 0), -1), flag
            ),
            "dual_status_code": text(status, pa.array([_NOT_DUAL, _PARTIAL_DUAL, _FULL_DUAL])),
            "medicaid_indicator": text(whole * 0 + 1, flag),
            "data_source": text(whole * 0, pa.array(["synthetic"])),
            "x_elgblty_grp_cd": text(code, pa.array(AID_CODES)),
            "x_mc_plan_id": text(plan - 1, pa.array(synth_people.PLANS[1:])),
            "x_mc_plan_type_cd": text(np.where(plan > 0, 0, -1), pa.array(["01"])),
            "x_spenddown_flag": text((flags & SPAN_SPEND_DOWN) > 0, flag),
            "x_partial_benefit_flag": text((flags & SPAN_PARTIAL_BENEFIT) > 0, flag),
            "x_rstrctd_bnfts_cd": text(scope, pa.array(SCOPES)),
            "x_county_fips": text(whole % len(COUNTIES), pa.array(COUNTIES)),
        },
    )


def _scores(people: synth_people.People) -> pa.Table:
    """Supplied scores of every enrolled member-year, with a cell named after the score's band."""
    member, year = np.nonzero(people.months > 0)
    score_micro = people.score_micro[member, year]
    bands = np.array([200_000, 500_000, 1_000_000, 2_000_000, 5_000_000])
    years = [str(people.calendar.base_year), str(people.calendar.performance_year)]
    return columns.raw_table(
        "risk_score",
        {
            "person_id": columns.ids(np.full(len(member), ord("P"), np.uint8), member),
            "year": columns.dictionary(year, pa.array(years)),
            "model": columns.dictionary(year * 0, pa.array([RISK_MODEL])),
            "score": columns.decimals(score_micro, scale=6),
            "cell": columns.dictionary(
                np.searchsorted(bands, score_micro), pa.array([f"band-{k}" for k in range(6)])
            ),
        },
    )


def _factors(people: synth_people.People) -> pa.Table:
    """Who people are and what they live with: one row per member over the whole window."""
    n, calendar, factors = people.n_members, people.calendar, people.factors
    member = np.arange(n)
    first, last = calendar.first_days[0], calendar.first_days[-1] - 1

    def flag(found: NDArray[np.bool_]) -> pa.Array:
        return columns.dictionary(found, pa.array(["false", "true"]))

    return columns.raw_table(
        "member_factors",
        {
            "person_id": columns.ids(np.full(n, ord("P"), np.uint8), member),
            "start_date": columns.dates(np.full(n, first)),
            "end_date": columns.dates(np.full(n, last)),
            "race": columns.dictionary(factors.race, pa.array(RACES)),
            "ethnicity": columns.dictionary(factors.ethnicity, pa.array(ETHNICITIES)),
            "language": columns.dictionary(factors.language, pa.array(LANGUAGES)),
            "county_fips": columns.dictionary(member % len(COUNTIES), pa.array(COUNTIES)),
            "disability": flag(factors.disability),
            **{name: flag(has) for name, has in zip(SOCIAL, factors.social, strict=True)},
            "substance_use_consent_date": columns.dates(
                first + factors.consent_day, factors.consent_day >= 0
            ),
        },
    )


def _quality(people: synth_people.People, seed: int) -> pa.Table:
    ids = synth_network.partnership_ids(people.n_partnerships)
    year = people.calendar.performance_year
    score = synth_people.generator(seed, 5, 0).integers(550_000, 990_000, len(ids))
    return columns.raw_table(
        "quality_score",
        {
            "partnership_id": pa.array(ids),
            "performance_year": pa.array([str(year)] * len(ids)),
            "score": columns.decimals(score // 1000, scale=3),
        },
    )


def _truth(
    people: synth_people.People, seed: int, answers: Answers, n_spans: int
) -> dict[str, Any]:
    spans = {"lines": n_spans, "paid_cents": 0}
    ledger = {**answers.by_table, "eligibility": {IngestFate.RETAINED.label: spans}}
    lines = {
        fate.label: sum(of[fate.label]["lines"] for of in answers.by_table.values())
        for fate in IngestFate
    }
    calendar = people.calendar
    cents = people.expected_cents()
    found = []
    for p, name in enumerate(synth_network.partnership_ids(people.n_partnerships)):
        mine = people.eligible & (people.group == p)
        rate = float(people.savings[p])
        expected = cents[mine[:, 1], 1].sum()
        found.append(
            {
                "partnership_id": name,
                "true_savings_rate": rate,
                "level": round(float(people.levels[p]), 6),
                "n_members_base": int(mine[:, 0].sum()),
                "n_members": int(mine[:, 1].sum()),
                "member_months": int(people.months[mine[:, 1], 1].sum()),
                "expected_observed_usd": round(float(expected) / 100, 2),
                "expected_target_usd": round(float(expected) / 100 / (1 - rate), 2),
            }
        )
    return {
        "generator_version": VERSION,
        "members": people.n_members,
        "seed": seed,
        "base_year": calendar.base_year,
        "performance_year": calendar.performance_year,
        "trend": synth_people.TREND,
        "claim_cap_usd": str(usd_of(synth_people.CAP_CENTS)),
        "risk_model": RISK_MODEL,
        "true_savings_rate_means": (
            "1 - expected included cost of the attributed members in the performance year, each "
            "member-year capped, / the same without savings; under a contract: docs/method/truth.py"
        ),
        "partnerships": found,
        "ledger": ledger,
        "histories": answers.by_history,
        "errors": {fate: n for fate, n in lines.items() if fate != IngestFate.RETAINED.label},
        "lines": sum(lines.values()),
        "retained_lines": lines[IngestFate.RETAINED.label],
    }
