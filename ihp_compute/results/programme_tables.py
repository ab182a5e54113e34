"""The tables of the programme, declared as those of settlements are (`results.tables`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from ihp_compute.table_schema import Against, Behind, Column, Counted, TableSchema

_SCOPE: Final = (
    Column("scope", pa.string(), "partnership, attributed, programme, track or state"),
    Column("scope_id", pa.string(),
           "the group, programme or contract; else the scope's name"),
)  # fmt: skip
_STRATUM: Final = (
    Column("dimension", pa.string(),
           "all, a column of member_factors, or intervention: what people are told apart by"),
    Column("stratum", pa.string(), "people alike in it; unknown where nothing is said"),
)  # fmt: skip
_MEASURE: Final = Column(
    "measure", pa.string(),
    "stays, ed_visits, ed_avoidable, readmissions, follow_up, well_child or cost",
)  # fmt: skip

OUTCOMES: Final = TableSchema(
    "outcomes",
    "what care came to, by scope, stratum and year, crude and at the state's mix of risk",
    (
        *_SCOPE,
        *_STRATUM,
        Column("year", pa.int16(), "year of the claims", "year"),
        _MEASURE,
        Column("n_members", pa.int64(), "people of the scope in the stratum", "members"),
        Column("n_with", pa.int64(), "those of them behind the numerator", "members"),
        Column("numerator", pa.float64(), "events; cents of cost", "of the measure"),
        Column("denominator", pa.int64(),
               "member months; index stays of readmissions and follow-up; children due a visit",
               "of the measure"),
        Column("expected", pa.float64(),
               "numerator at the state's rates of the base year by rate cell and score",
               "of the measure"),
        Column("rate", pa.float64(),
               "per 1,000 member years; of index stays and children a part; cost in USD per member "
               "month", "of the measure"),
        Column("std_error", pa.float64(), "standard error of the rate", "of the measure"),
        Column("low", pa.float64(), "lower end of 95 % by the normal curve", "of the measure"),
        Column("high", pa.float64(), "upper end", "of the measure"),
        Column("rate_standardised", pa.float64(),
               "numerator over expected, times the state's rate of the base year",
               "of the measure"),
        Column("std_error_standardised", pa.float64(), "its standard error", "of the measure"),
        Column("reference", pa.string(), "stratum that this one is held against"),
        Column("difference", pa.float64(), "standardised rate less that of the reference",
               "of the measure"),
        Column("difference_low", pa.float64(), "lower end of 95 %", "of the measure"),
        Column("difference_high", pa.float64(), "upper end", "of the measure"),
        Column("ratio", pa.float64(), "standardised rate over that of the reference", "ratio"),
        Column("ratio_low", pa.float64(), "lower end of 95 %, on the logarithm", "ratio"),
        Column("ratio_high", pa.float64(), "upper end", "ratio"),
        Column("flag", pa.string(),
               "why numbers are 0 or weak: no_denominator, no_expected, below_minimum, "
               "no_reference, no_events"),
    ),
    keys=("scope", "scope_id", "dimension", "stratum", "year", "measure"),
    in_digest=False,
    behind=(
        Behind(
            "scope", "scope_id", ("year",), "dimension", "stratum",
            counts=(
                Counted("n_members"),
                Counted("n_with", "measure", "denominator",
                        ("readmissions", "follow_up", "well_child")),
            ),
            against=(
                Against("reference", "stratum",
                        ("difference", "difference_low", "difference_high", "ratio", "ratio_low",
                         "ratio_high")),
            ),
            after={"readmissions": ("stays",), "follow_up": ("stays",),
                   "ed_avoidable": ("ed_visits",)},
        ),
    ),
)  # fmt: skip

OUTCOME_CHANGES: Final = TableSchema(
    "outcome_changes",
    "how rates of care changed from the base year, against a comparator, in events and dollars",
    (
        *_SCOPE,
        *_STRATUM,
        _MEASURE,
        Column("basis", pa.string(), "crude: over the denominator; standardised: over expected"),
        Column("comparator", pa.string(),
               "whom it is held against: comparison, others, region:NAME, or arm:comparison"),
        Column("change", pa.float64(), "rate over that of the base year, less 1", "ratio"),
        Column("comparator_change", pa.float64(), "the same of the comparator", "ratio"),
        Column("relative_change", pa.float64(),
               "1 + change over 1 + the comparator's, less 1", "ratio"),
        Column("std_error_log", pa.float64(),
               "standard error of the logarithm of 1 + relative change", "ratio"),
        Column("low", pa.float64(), "lower end of 95 % of the relative change", "ratio"),
        Column("high", pa.float64(), "upper end", "ratio"),
        Column("events_difference", pa.float64(),
               "events less those there were had the rate changed as the comparator's; cents of "
               "cost", "of the measure"),
        Column("usd_cents", pa.int64(),
               "these events at the state's mean cost of one, positive: saved; 0 without one",
               "cents"),
        Column("flag", pa.string(),
               "why numbers are 0: no_denominator, no_expected, no_events, no_comparator"),
    ),
    keys=("scope", "scope_id", "dimension", "stratum", "measure", "basis"),
    in_digest=False,
    behind=(
        Behind(
            "scope", "scope_id", ("=base", "=performance"), "dimension", "stratum",
            rests_on=("measure",), against=(Against("comparator", "group"),),
        ),
    ),
)  # fmt: skip

_YEAR: Final = Column("year", pa.int16(), "year of the claims", "year")

COST_INDEX: Final = TableSchema(
    "cost_index",
    "total cost, resource use and price of each scope over those of its peer, members of enough "
    "months alone",
    (
        *_SCOPE,
        _YEAR,
        Column("peer", pa.string(), "whom it is compared with: state, a group or a region"),
        Column("n_members", pa.int64(), "members with enough months", "members"),
        Column("member_months", pa.int64(), "their months that count", "member months"),
        Column("n_truncated", pa.int64(), "members whose cost the cap cuts", "members"),
        Column("unpriced_lines", pa.int64(), "services at zero, which are in nothing", "lines"),
        Column("cost_cents", pa.int64(), "cost under the cap", "cents"),
        Column("resource_cents", pa.int64(),
               "services at the state's mean for a unit of each, under the cap", "cents"),
        Column("risk_mean", pa.float64(), "mean score, months weighing", "score"),
        Column("tci", pa.float64(), "cost per month and risk over the peer's; 0 if flagged so",
               "ratio"),
        Column("rui", pa.float64(), "resources per month and risk over the peer's", "ratio"),
        Column("price_index", pa.float64(), "cost over resources, over the peer's", "ratio"),
        Column("flag", pa.string(),
               "no_denominator: a sum to divide by is 0, the indices too; below_minimum: few "
               "members"),
    ),
    keys=("scope", "scope_id", "year"),
    behind=(
        Behind(
            "scope", "scope_id", ("year",),
            counts=(
                Counted("n_members", "=nine_months", of_people=True),
                Counted("n_truncated", "=truncated", falls=("n_truncated",)),
            ),
            against=(Against("peer", "group", ("tci", "rui", "price_index")),),
        ),
    ),
)  # fmt: skip

COST_DRIVERS: Final = TableSchema(
    "cost_drivers",
    "what makes cost per member month differ from the peer's, by category of service and by "
    "condition group; parts add up to the difference, items to that of the whole",
    (
        *_SCOPE,
        _YEAR,
        Column("dimension", pa.string(), "service_category or condition_group"),
        Column("item", pa.string(), "the category, or the group of conditions"),
        Column("services", pa.int64(), "services above zero; a stay's claim is one", "services"),
        Column("cost_cents", pa.int64(), "cost under the cap", "cents"),
        Column("resource_cents", pa.int64(), "resources under the cap", "cents"),
        Column("mix_usd", pa.float64(), "because of sicker members, or of more of them here",
               "USD per member month"),
        Column("use_usd", pa.float64(), "because of more services than they would bring",
               "USD per member month"),
        Column("price_usd", pa.float64(), "because of the cost of a service",
               "USD per member month"),
        Column("difference_usd", pa.float64(), "own cost less the peer's",
               "USD per member month"),
    ),
    keys=("scope", "scope_id", "year", "dimension", "item"),
    behind=(
        Behind(
            "scope", "scope_id", ("year",), "dimension", "item",
            counts=(Counted("services", "=services"),), rests_on=("=nine_months",),
            within={"services": "nine_months"},
        ),
    ),
)  # fmt: skip

TRENDS: Final = TableSchema(
    "comparison",
    "own growth of cost per unit of risk against that of others, by pair of years",
    (
        Column("scope", pa.string(), "partnership, alliance or member"),
        Column("scope_id", pa.string(), "the partnership, or the alliance"),
        Column("comparator", pa.string(),
               "comparison, others (everybody else eligible) or region:NAME"),
        Column("from_year", pa.int16(), "earlier year", "year"),
        Column("to_year", pa.int16(), "later year", "year"),
        Column("growth", pa.float64(),
               "cost over what its months, at the later risk, cost at the earlier unit", "ratio"),
        Column("comparator_growth", pa.float64(), "the same of the others, at their months",
               "ratio"),
        Column("benchmark_cents", pa.int64(), "what care would have cost at the others' growth",
               "cents"),
        Column("observed_cents", pa.int64(), "what care cost in rate cells that have a base",
               "cents"),
        Column("difference_cents", pa.int64(), "benchmark less observed", "cents"),
        Column("months_without_base", pa.int64(),
               "its months in rate cells that are left out, for a year without any",
               "member months"),
    ),
    keys=("scope", "scope_id", "comparator", "from_year", "to_year"),
    behind=(
        Behind(
            "scope", "scope_id", ("from_year", "to_year"), rests_on=("=settled",),
            against=(Against("comparator", "group"),),
            renamed={"alliance": "partnership", "member": "partnership"},
        ),
    ),
)  # fmt: skip

POOL: Final = TableSchema(
    "pool",
    "the payment of each alliance, split among its members to the cent",
    (
        Column("alliance_id", pa.string(), "the alliance that settles"),
        Column("partnership_id", pa.string(), "its member"),
        Column("position", pa.int16(), "place among the members, in which cents are rounded",
               "position"),
        Column("weight", pa.float64(),
               "what the split weighs by: given, months, months times score, or cents",
               "of the split"),
        Column("amount_cents", pa.int64(), "positive: to the member; negative: owed by it",
               "cents"),
    ),
    keys=("alliance_id", "partnership_id"),
    behind=(
        Behind("=partnership", "partnership_id", ("=performance",), rests_on=("=settled",)),
    ),
)  # fmt: skip

_DECLARED: Final[tuple[TableSchema, ...]] = (
    COST_INDEX,
    COST_DRIVERS,
    OUTCOMES,
    OUTCOME_CHANGES,
    TRENDS,
    POOL,
)

PROGRAMME_TABLES: Final[Mapping[str, TableSchema]] = {table.name: table for table in _DECLARED}
"""By name."""
