"""The tables of a run, declared: what each column is, keys, the digest's share, who may read.

    RUN/<name>.parquet for each of `TABLES`

What is read, written, digested, listed and served follows from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from ihp_compute.data_quality import DATA_QUALITY, DATA_REVIEW
from ihp_compute.measure import MEASUREMENT, MEMBER_YEARS
from ihp_compute.results.programme_tables import PROGRAMME_TABLES
from ihp_compute.results.quality_tables import QUALITY, QUALITY_MEASURES
from ihp_compute.settlement import CHANGES, SETTLED
from ihp_compute.table_schema import Against, Behind, Column, Counted, TableSchema

_PARTNERSHIP: Final = Column("partnership_id", pa.string(), "the partnership")
_YEAR: Final = Column("year", pa.int16(), "year of the claims", "year")
_MONTHS: Final = Column("member_months", pa.int64(), "months that count", "member months")

LINES_OF: Final = "lines"
"""Claim lines of a fate."""
_PEOPLE: Final = Counted("n_members")
_OF_PARTNERSHIP: Final = Behind(
    "=partnership", "partnership_id", ("=performance",), rests_on=("=settled",)
)
"""A row of a settlement that counts nobody itself."""
_SETTLES: Final = {"state": SETTLED}
"""What is settled of the state is the sum of what settles, not everybody eligible."""

SETTLEMENT: Final = TableSchema(
    "settlement",
    "what each partnership is paid or owes, and what that rests on",
    (
        _PARTNERSHIP,
        Column("contract", pa.string(), "name of the contract it was settled by"),
        Column("performance_year", pa.int16(), "year that was settled", "year"),
        Column("status", pa.string(), "final, or INTERIM where too many claims are still to come"),
        Column("n_members", pa.int64(), "members of the performance year", "members"),
        _MONTHS,
        Column("base_pmpm_usd", pa.float64(), "base used: agreed, else as far as own carries",
               "USD per member month"),
        Column("risk_ratio", pa.float64(), "dollars after the risk step over those before",
               "ratio"),
        Column("target_cents", pa.int64(), "what care was to cost", "cents"),
        Column("observed_cents", pa.int64(), "what care cost", "cents"),
        Column("savings_cents", pa.int64(), "target less observed", "cents"),
        Column("savings_rate", pa.float64(), "savings over target", "ratio"),
        Column("gate_passed", pa.bool_(), "whether savings or loss reached the gate"),
        Column("missed_by_cents", pa.int64(), "dollars short of the gate; 0 if met or none",
               "cents"),
        Column("payment_cents", pa.int64(), "positive: to the partnership; negative: owed by it",
               "cents"),
    ),
    keys=("partnership_id",),
    behind=(
        Behind("=partnership", "partnership_id", ("=performance",), counts=(_PEOPLE,),
               rests_on=("=settled",)),
    ),
)  # fmt: skip

_SCOPE: Final = Column("scope", pa.string(), "partnership, attributed, programme, track or state")

SETTLEMENT_STATE: Final = TableSchema(
    "settlement_state",
    "what is settled of each partnership, of all, of each programme and track, and of the state",
    (
        _SCOPE,
        Column("scope_id", pa.string(),
               "partnership, programme, or contract of a track; else the scope's name"),
        Column("n_members", pa.int64(), "members of the performance year", "members"),
        _MONTHS,
        Column("target_cents", pa.int64(), "what care was to cost", "cents"),
        Column("observed_cents", pa.int64(), "what care cost", "cents"),
        Column("savings_cents", pa.int64(), "target less observed", "cents"),
        Column("payment_cents", pa.int64(),
               "positive: paid to partnerships; negative: owed by them", "cents"),
        Column("state_net_cents", pa.int64(), "payments less the federal share of each", "cents"),
    ),
    keys=("scope", "scope_id"),
    behind=(
        Behind("scope", "scope_id", ("=performance",), counts=(_PEOPLE,), rests_on=("=settled",),
               renamed=_SETTLES),
    ),
)  # fmt: skip

INTERVALS: Final = TableSchema(
    "intervals",
    "how sure savings and payment are, of each partnership and of sums drawn together; tci, rui "
    "and price_index of cost_index, growth_difference and difference_cents of comparison too",
    (
        _SCOPE,
        Column("partnership_id", pa.string(), "the partnership, or the scope_id of another scope"),
        Column("measure", pa.string(),
               "savings_rate, savings_cents, payment_cents, state_net_cents; "
               "those of other tables by name"),
        Column("item", pa.string(),
               "which of the measure: comparator and years, year; empty of a settlement"),
        Column("method", pa.string(), "percentile or basic"),
        Column("conditioning", pa.string(),
               "target_resampled or target_fixed of a settlement; else drawn"),
        Column("level", pa.float64(), "part of the replicates between the ends", "ratio"),
        Column("point", pa.float64(), "the measure as observed", "of the measure"),
        Column("low", pa.float64(), "lower end", "of the measure"),
        Column("high", pa.float64(), "upper end", "of the measure"),
        Column("std_error", pa.float64(), "standard deviation over replicates", "of the measure"),
        Column("low_monte_carlo_error", pa.float64(),
               "standard error of the lower end itself: what other replicates would change",
               "of the measure"),
        Column("high_monte_carlo_error", pa.float64(), "of the upper end", "of the measure"),
        Column("flag", pa.string(),
               "why to be careful: below_minimum_size, empty_cell, thin_cell; those of a sum"),
    ),
    keys=("scope", "partnership_id", "measure", "item", "method", "conditioning", "level"),
    behind=(
        Behind("scope", "partnership_id", ("=performance",), rests_on=("=settled",),
               only=("measure", ("savings_rate", "savings_cents", "payment_cents",
                                 "state_net_cents")),
               renamed=_SETTLES),
        Behind("scope", "partnership_id", ("=performance",), rests_on=("=nine_months",),
               only=("measure", ("tci", "rui", "price_index"))),
        Behind("scope", "partnership_id", ("=base", "=performance"), rests_on=("=settled",),
               against=(Against("item", "group"),),
               renamed={"alliance": "partnership", "member": "partnership"}),
    ),
)  # fmt: skip

CHANCES: Final = TableSchema(
    "chances",
    "parts of the replicates in which something was saved, passed its gate, or was paid, and what "
    "the likeness of members of one clinic adds",
    (
        _PARTNERSHIP,
        Column("conditioning", pa.string(), "target_resampled or target_fixed"),
        Column("savings_above_zero", pa.float64(), "replicates with savings above 0", "ratio"),
        Column("savings_above_gate", pa.float64(),
               "replicates with savings above 0 that reached their gate", "ratio"),
        Column("payment_above_zero", pa.float64(), "replicates paid to the partnership", "ratio"),
        Column("payment_below_zero", pa.float64(), "replicates owed by it", "ratio"),
        Column("mean_payment_cents", pa.int64(), "mean over replicates, half to even", "cents"),
        Column("payment_without_effect_cents", pa.int64(),
               "mean payment had the replicates saved nothing in the mean, under the observed "
               "target, half to even", "cents"),
        Column("clinics", pa.int32(), "its clinics with members in both years", "clinics"),
        Column("clinic_year_from", pa.string(),
               "whose clinic-years: own from 8 clinics, else state; none where there are no two"),
        Column("clinic_year_sd", pa.float64(),
               "standard deviation of a clinic's cost over expected in a year beyond its members'",
               "ratio"),
        Column("rate_std_error", pa.float64(),
               "standard deviation of the savings rate over replicates", "ratio"),
        Column("rate_std_error_with_clinics", pa.float64(), "the same with clinic-years", "ratio"),
        Column("savings_above_zero_with_clinics", pa.float64(),
               "chance of savings above 0, with clinic-years", "ratio"),
    ),
    keys=("partnership_id", "conditioning"),
    in_digest=False,
    behind=(_OF_PARTNERSHIP,),
)  # fmt: skip

DISTRIBUTION: Final = TableSchema(
    "distribution",
    "savings and payment in twenty equal parts of the replicates: the middle of each part",
    (
        _SCOPE,
        Column("scope_id", pa.string(),
               "partnership, programme, or contract of a track; else the scope's name"),
        Column("conditioning", pa.string(), "target_resampled or target_fixed"),
        Column("part", pa.int32(), "1 to 20, the lowest first, of each measure by itself",
               "position"),
        Column("savings_cents", pa.int64(), "its middle replicate of savings", "cents"),
        Column("savings_rate", pa.float64(), "of savings over target", "ratio"),
        Column("payment_cents", pa.int64(), "of the payment", "cents"),
    ),
    keys=("scope", "scope_id", "conditioning", "part"),
    in_digest=False,
    behind=(
        Behind("scope", "scope_id", ("=performance",), rests_on=("=settled",), renamed=_SETTLES),
    ),
)  # fmt: skip

CORRIDOR: Final = TableSchema(
    "corridor",
    "what each partnership would settle to at other costs under its target, from savings of -15 % "
    "to 15 %, and either side of its gates to the cent",
    (
        _PARTNERSHIP,
        Column("position", pa.int32(), "its place, the least savings first", "position"),
        Column("observed_cents", pa.int64(), "what care would have cost", "cents"),
        Column("savings_rate", pa.float64(), "target less that, over the target", "ratio"),
        Column("savings_cents", pa.int64(), "target less that", "cents"),
        Column("gate_passed", pa.bool_(), "whether it would settle"),
        Column("shareable_cents", pa.int64(), "savings or loss that count", "cents"),
        Column("share_cents", pa.int64(), "the partnership's share, after quality", "cents"),
        Column("payment_cents", pa.int64(), "the payment, positive: to the partnership", "cents"),
    ),
    keys=("partnership_id", "position"),
    in_digest=False,
    behind=(_OF_PARTNERSHIP,),
)  # fmt: skip

SENSITIVITIES: Final = TableSchema(
    "sensitivities",
    "what the data as observed would settle to with one term changed",
    (
        _PARTNERSHIP,
        Column("scenario", pa.string(), f"what is changed: {', '.join(CHANGES)}"),
        Column("target_cents", pa.int64(), "target so changed", "cents"),
        Column("savings_cents", pa.int64(), "target less observed, so changed", "cents"),
        Column("payment_cents", pa.int64(), "payment so changed", "cents"),
        Column("difference_cents", pa.int64(), "payment less the settlement's own", "cents"),
    ),
    keys=("partnership_id", "scenario"),
    in_digest=False,
    behind=(_OF_PARTNERSHIP,),
)

WALK: Final = TableSchema(
    "walk",
    "the steps from base to payment of each partnership",
    (
        _PARTNERSHIP,
        Column("position", pa.int16(), "place of the step", "position"),
        Column("step", pa.string(), "name of the step"),
        Column("amount_cents", pa.int64(), "the level reached, or the change", "cents"),
        Column("detail", pa.string(), "the rate or ratio applied, in words"),
        Column("citation", pa.string(), "where the rule is written"),
        Column("basis", pa.string(), "how good that source is"),
    ),
    keys=("partnership_id", "position"),
    behind=(_OF_PARTNERSHIP,),
)

CELLS: Final = TableSchema(
    "cells",
    "the middle of each target by rate cell, as observed; foots to walk and settlement",
    (
        Column("contract", pa.string(),
               "name of the contract; with the partnership where its own values alter its sums"),
        Column("partnership_id", pa.string(),
               "the partnership, COMPARISON or UNATTRIBUTED; the last two settle nothing"),
        _YEAR,
        Column("rate_cell", pa.string(), "rate cell of the contract"),
        Column("n_members", pa.int64(), "people with months in the rate cell", "members"),
        _MONTHS,
        Column("paid_cents", pa.int64(), "cost by the contract's rules, before floor and cap",
               "cents"),
        Column("cost_cents", pa.int64(), "cost after floor and cap", "cents"),
        Column("base_pmpm_usd", pa.float64(),
               "base used, at the risk on which it rests, before trend", "USD per member month"),
        Column("credibility", pa.float64(), "part of the rate cell's base that is its own",
               "ratio"),
        Column("level", pa.float64(),
               "base of the partnership over what the state's units make of its months", "ratio"),
        Column("scale", pa.float64(), "what makes the rate cells add up to the base", "ratio"),
        Column("own_risk_mean", pa.float64(), "mean risk of its months in the year", "score"),
        Column("state_risk_mean", pa.float64(), "the same of everybody eligible", "score"),
        Column("norm", pa.float64(), "what mean risk of the year is divided by", "score"),
        Column("risk_ratio", pa.float64(),
               "dollars after the risk step over those before; 0 in the base year", "ratio"),
        Column("trend_factor", pa.float64(), "growth from the base year; 0 in the base year",
               "ratio"),
        Column("target_pmpm_usd", pa.float64(), "target over months; 0 in the base year",
               "USD per member month"),
        Column("risk_corridor_cents", pa.int64(),
               "what the corridor of the state's growth moved in it; 0 without one", "cents"),
        Column("risk_credibility_cents", pa.int64(),
               "what credibility of the risk ratio moved in it; 0 without one", "cents"),
        Column("target_cents", pa.int64(), "part of the target; 0 in the base year", "cents"),
        Column("state_member_months", pa.int64(), "months of everybody eligible", "member months"),
        Column("state_cost_cents", pa.int64(), "their cost by this contract's rules", "cents"),
    ),
    keys=("contract", "partnership_id", "year", "rate_cell"),
    restricted=True,
    behind=(
        Behind("=partnership", "partnership_id", ("=performance",), "=rate_cell", "rate_cell",
               rests_on=("=cells",), adds_up=False, within={"cells": SETTLED}),
    ),
)  # fmt: skip

CAPS: Final = TableSchema(
    "caps",
    "what floor and cap of the contract moved in each partnership's cost, and of how many people",
    (
        _PARTNERSHIP,
        _YEAR,
        Column("n_members", pa.int64(), "members of the year", "members"),
        Column("n_above_cap", pa.int64(), "members of whose cost the cap takes away", "members"),
        Column("n_floored", pa.int64(), "members whose negative cost is raised to zero", "members"),
        Column("uncapped_cents", pa.int64(), "cost before floor and cap", "cents"),
        Column("floored_cents", pa.int64(), "what raised negative costs to zero", "cents"),
        Column("above_cap_cents", pa.int64(), "what the cap took away", "cents"),
        Column("cost_cents", pa.int64(),
               "cost after floor and cap, and after completion where the run completes", "cents"),
    ),
    keys=("partnership_id", "year"),
    in_digest=False,
    behind=(
        Behind("=partnership", "partnership_id", ("year",), counts=(
            _PEOPLE,
            Counted("n_above_cap", "=above_cap",
                    falls=("n_above_cap", "above_cap_cents", "uncapped_cents")),
            Counted("n_floored", "=floored",
                    falls=("n_floored", "floored_cents", "uncapped_cents")),
        )),
    ),
)  # fmt: skip
CAPPED: Final = ("above_cap", "floored")
"""What `CAPS` counts beside people: fates of dollars too."""

SCORE_CHANGES: Final = TableSchema(
    "score_changes",
    "why mean scores moved from the base year, where a model scores from diagnoses; the changes "
    "add up to the year's mean",
    (
        Column("partnership_id", pa.string(), "the partnership; empty of everybody eligible"),
        Column("base_member_months", pa.int64(), "months of the base year", "member months"),
        Column("member_months", pa.int64(), "months of the performance year", "member months"),
        Column("stayed_member_months", pa.int64(),
               "those of members of both years whom the model scores in both", "member months"),
        Column("base_score_micro", pa.int64(), "mean score of the base year", "micro"),
        Column("mix_micro", pa.int64(), "other shares of rate cells, at base means", "micro"),
        Column("age_sex_micro", pa.int64(),
               "within rate cells, what the model makes of people without any code", "micro"),
        Column("filled_micro", pa.int64(), "within rate cells, scores filled by the policy",
               "micro"),
        Column("coding_micro", pa.int64(),
               "codes of those who stayed: more or fewer categories of the same people", "micro"),
        Column("people_micro", pa.int64(),
               "codes of who came, against those of who left, within rate cells", "micro"),
        Column("model_micro", pa.int64(),
               "the same people and codes by the performance year's map and factors", "micro"),
        Column("score_micro", pa.int64(), "mean score of the performance year", "micro"),
        MEASUREMENT,
    ),
    keys=("partnership_id", "measurement"),
    behind=(
        Behind("=partnership", "partnership_id", ("=base", "=performance"), rests_on=("=settled",),
               renamed={"": "state"}),
    ),
)  # fmt: skip

PAYMENTS: Final = TableSchema(
    "payments",
    "each partnership's payment by payer, adding up to it",
    (
        _PARTNERSHIP,
        Column("payer", pa.string(), "ffs and each plan; ffs and managed by cost; all if unsplit"),
        Column("payment_cents", pa.int64(), "the payer's part of the payment", "cents"),
    ),
    keys=("partnership_id", "payer"),
    behind=(
        Behind(
            "=partnership",
            "partnership_id",
            ("=performance",),
            "=payer",
            "payer",
            rests_on=("=payers",),
            adds_up=False,
            within={"payers": SETTLED},
        ),
    ),
)

PAID_AHEAD: Final = TableSchema(
    "paid_ahead",
    "population-based payments of whole years, where a contract counts them as cost or grades them",
    (
        _PARTNERSHIP,
        Column("year", pa.int16(), "year that is paid", "year"),
        Column("rate_cell", pa.string(), "rate cell of the months"),
        Column("payer", pa.string(), "who pays: ffs, and each plan"),
        Column("n_members", pa.int64(), "people paid for", "members"),
        Column("member_months", pa.int64(), "months that count of those people", "member months"),
        Column("payment_cents", pa.int64(), "four quarters and the true-up together", "cents"),
        Column("offset_cents", pa.int64(), "fees taken off", "cents"),
        Column("counted_in", pa.string(),
               "rate cell of the contract in whose cost it stands; empty where it is no cost"),
    ),
    keys=("partnership_id", "year", "rate_cell", "payer"),
    restricted=True,
)  # fmt: skip

NETTED: Final = TableSchema(
    "netted",
    "what earlier settlements of the year paid and moved, and what this one still moves; empty "
    "where it names none",
    (
        _PARTNERSHIP,
        Column("position", pa.int16(), "place among the settlements, this one last", "position"),
        Column("run_digest", pa.string(), "digest of the settlement's run; empty of this one"),
        Column("paid_through", pa.string(), "date through which its claims were paid"),
        Column("status", pa.string(), "final, INTERIM, or not settled; not stated of old runs"),
        Column("payment_cents", pa.int64(), "payment that it came to; 0 if not settled", "cents"),
        Column("moved_cents", pa.int64(),
               "its payment less that of the one before: positive is paid, negative recouped",
               "cents"),
    ),
    keys=("partnership_id", "position"),
    behind=(_OF_PARTNERSHIP,),
)  # fmt: skip

LEDGER: Final = TableSchema(
    "ledger",
    "the fate of every line and dollar, at ingest and in the run",
    (
        Column("source_table", pa.string(), "input table"),
        Column("file", pa.string(), "input file; empty for dollars of no line"),
        Column("stage", pa.string(), "ingest or run"),
        Column("fate", pa.string(), "what became of the lines"),
        Column("lines", pa.int64(), "lines of this fate", "lines"),
        Column("paid_cents", pa.int64(), "paid amount of the lines", "cents"),
        MEASUREMENT,
    ),
    keys=("source_table", "stage", "fate", "file", "measurement"),
    behind=(
        *(
            Behind(
                "=attributed",
                "=attributed",
                ("=base", "=performance"),
                rests_on=(f"={fate}",),
                only=("fate", (fate,)),
            )
            for fate in CAPPED
        ),
        Behind("source_table", "file", ("=performance",), "stage", "fate", rests_on=("=lines",)),
    ),
)

EXCLUSIONS: Final = TableSchema(
    "exclusions",
    "members who did not count, and why",
    (
        _YEAR,
        Column("reason", pa.string(), "why they are not eligible"),
        Column("n_members", pa.int64(), "members not eligible", "members"),
        Column("member_months", pa.int64(), "their months enrolled", "member months"),
        Column("paid_cents", pa.int64(), "paid for them in the year", "cents"),
        MEASUREMENT,
    ),
    keys=("year", "reason", "measurement"),
    behind=(Behind("=excluded", "=excluded", ("year",), "=reason", "reason", counts=(_PEOPLE,)),),
)

_TOLD_BY_STEP: Final = ("ties", "gained", "lost", "moved_in", "moved_out")

ATTRIBUTION: Final = TableSchema(
    "attribution",
    "members of each partnership by the step that found it, and who came and went",
    (
        Column("partnership_id", pa.string(), "a partnership, COMPARISON or UNATTRIBUTED"),
        _YEAR,
        Column("step", pa.string(), "step of attribution; none where nothing attributed"),
        Column("members", pa.int64(), "members whom the step attributed", "members"),
        _MONTHS,
        Column("ties", pa.int64(), "members for whom another partnership had as many encounters",
               "members"),
        Column("gained", pa.int64(),
               "newcomers at this step, of no group of the roster in the base year; 0 in that year",
               "members"),
        Column("lost", pa.int64(),
               "members who left, at their step of the base year, and are of no group of it now",
               "members"),
        Column("moved_in", pa.int64(),
               "newcomers at this step, of another partnership or COMPARISON in the base year",
               "members"),
        Column("moved_out", pa.int64(),
               "members who left, at their step of the base year, and are of another or COMPARISON",
               "members"),
        MEASUREMENT,
    ),
    keys=("partnership_id", "year", "step", "measurement"),
    behind=(
        Behind("=partnership", "partnership_id", ("year",), "=step", "step", counts=(
            Counted("members"),
            *(Counted(name, f"={name}", falls=(name,))
              for name in _TOLD_BY_STEP),
        ), with_people=_TOLD_BY_STEP),
    ),
)  # fmt: skip

UTILISATION: Final = TableSchema(
    "utilisation",
    "stays, emergency visits and readmissions of each group and year",
    (
        Column("group_id", pa.string(), "a partnership, COMPARISON or UNATTRIBUTED"),
        _YEAR,
        Column("n_members", pa.int64(), "members of the group", "members"),
        _MONTHS,
        Column("stays", pa.int64(), "hospital stays discharged in a countable month", "stays"),
        Column("ed_visits", pa.int64(),
               "emergency visits of countable months that led into no stay", "visits"),
        Column("index_stays", pa.int64(),
               "stays that a readmission could follow, discharged by 1 December",
               "stays"),
        Column("readmissions", pa.int64(), "index stays followed by another stay within 30 days",
               "stays"),
        Column("stays_per_1000", pa.float64(), "rate of stays", "per 1,000 member years"),
        Column("ed_visits_per_1000", pa.float64(), "rate of visits", "per 1,000 member years"),
        Column("readmission_rate", pa.float64(),
               "readmissions over index stays; 0 without them", "ratio"),
        MEASUREMENT,
    ),
    keys=("group_id", "year", "measurement"),
    behind=(
        Behind("=partnership", "group_id", ("year",), counts=(
            _PEOPLE,
            Counted("stays_people", "=stays", falls=("stays", "stays_per_1000")),
            Counted("ed_visits_people", "=ed_visits", falls=("ed_visits", "ed_visits_per_1000")),
            Counted("readmissions_people", "=readmissions", "index_stays",
                    falls=("index_stays", "readmissions", "readmission_rate")),
        )),
    ),
)  # fmt: skip

TABLES: Final[Mapping[str, TableSchema]] = {
    table.name: table
    for table in (
        ATTRIBUTION, CAPS, CELLS, CHANCES, CORRIDOR, DATA_QUALITY, DATA_REVIEW, DISTRIBUTION,
        EXCLUSIONS, INTERVALS, LEDGER, MEMBER_YEARS, NETTED, PAID_AHEAD, PAYMENTS, QUALITY,
        QUALITY_MEASURES, SCORE_CHANGES, SENSITIVITIES, SETTLEMENT, SETTLEMENT_STATE, UTILISATION,
        WALK, *PROGRAMME_TABLES.values(),
    )
}  # fmt: skip
"""Every table of a run by name; the digest takes them by name."""
