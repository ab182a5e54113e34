"""Tables of quality, declared: scores and what they move, and the measures that make them."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from ihp_compute.table_schema import Behind, Column, Counted, TableSchema

_PARTNERSHIP: Final = Column("partnership_id", pa.string(), "the partnership")

QUALITY: Final = TableSchema(
    "quality",
    "the quality score by which each partnership settles, how sure it is, and what it moves",
    (
        _PARTNERSHIP,
        Column("score", pa.float64(), "score used, from 0 to 1; 0 where the share is left whole",
               "ratio"),
        Column("std_error", pa.float64(),
               "standard error of a score made of measures; 0 of every other", "ratio"),
        Column("low", pa.float64(), "1.96 standard errors below, at least 0", "ratio"),
        Column("high", pa.float64(), "1.96 standard errors above, at most 1", "ratio"),
        Column("share_cents", pa.int64(), "payment less the one that a score of 1 would settle to",
               "cents"),
        Column("pbp_cents", pa.int64(),
               "what the score moves of the year's population-based payment; 0 where none is at "
               "stake", "cents"),
        Column("flag", pa.string(),
               "supplied, prior (of an earlier year), filled_full, _none or _average; empty: of "
               "measures"),
    ),
    keys=("partnership_id",),
    in_digest=False,
    behind=(
        Behind("=partnership", "partnership_id", ("=performance",), rests_on=("=settled",)),
    ),
)  # fmt: skip

QUALITY_MEASURES: Final = TableSchema(
    "quality_measures",
    "the measures of each partnership, what each earned, and what it weighs in a score of them",
    (
        _PARTNERSHIP,
        Column("measure", pa.string(), "name of the measure"),
        Column("domain", pa.string(), "domain of the measure"),
        Column("source", pa.string(), "supplied, or claims: claims-based, not certified"),
        Column("higher_is_better", pa.bool_(), "whether a higher rate is better"),
        Column("numerator", pa.int64(), "cases that meet it", "cases"),
        Column("denominator", pa.int64(), "cases that could", "cases"),
        Column("counted", pa.bool_(), "whether it counts"),
        Column("prior_rate", pa.float64(), "rate of the year before; 0 without one to improve on",
               "ratio"),
        Column("floor", pa.float64(), "rate at which points begin; 0 where it does not count",
               "ratio"),
        Column("ceiling", pa.float64(), "rate that earns all points; 0 where it does not count",
               "ratio"),
        Column("attainment", pa.float64(), "points of the rate among the partnerships'", "ratio"),
        Column("improvement", pa.float64(), "points of the rate against the year before's",
               "ratio"),
        Column("points", pa.float64(), "the larger of both", "ratio"),
        Column("weight", pa.float64(), "its part of the score", "ratio"),
        Column("flag", pa.string(),
               "small_denominator or not_a_share: does not count; no_prior: nothing to improve on"),
    ),
    keys=("partnership_id", "measure"),
    in_digest=False,
    # a score is a sum over measures that is known: one that is small takes another with it
    behind=(
        Behind("=partnership", "partnership_id", ("=performance",), "=quality", "measure",
               counts=(Counted("numerator", "=quality", "denominator"),), adds_up=False,
               within={"quality": "settled"}, of_measures=("quality",)),
    ),
)  # fmt: skip
