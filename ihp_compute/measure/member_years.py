"""Member-years, the audit artefact: one row for each member and year, as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.contracts import ATTRIBUTION_STEPS
from ihp_compute.measure.attribution import EXCLUSION_REASONS, Attribution
from ihp_compute.measure.cost import Cost
from ihp_compute.measure.payer_months import payer_labels
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.measure.utilisation import UseOfCare
from ihp_compute.risk import Scores
from ihp_compute.table_schema import Column, TableSchema

VISIT_STEPS: Final = ("none", *ATTRIBUTION_STEPS)
"""What `Attribution.step` says."""
RULE_SET: Final = "rule set"
_LABEL: Final = pa.dictionary(pa.int16(), pa.string())
OWN_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
"""Type of columns whose texts each shard finds for itself."""

MEASUREMENT: Final = Column(
    "measurement",
    pa.int8(),
    "place of the measurement; 0 unless contracts measure claims to come in several ways",
    "position",
)

MEMBER_YEARS: Final = TableSchema(
    "member_years",
    "one row a member, year and measurement, from which every total can be recomputed; costs by "
    "rule sets of another measurement are 0",
    (
        Column("member_key", pa.uint64(), "the member", "identifier"),
        Column("year", pa.int16(), "year of the claims", "year"),
        MEASUREMENT,
        Column(
            "group_id", _LABEL, "partnership, COMPARISON or UNATTRIBUTED; empty if not eligible"
        ),
        Column("exclusion", _LABEL, "why the member is not eligible; empty if eligible"),
        Column("step", _LABEL, "step of attribution that found the group"),
        Column("n_visits", pa.int32(), "encounters with the group at that step", "visits"),
        Column(
            "attributed_npi",
            OWN_TEXT,
            "provider of the latest such encounter; empty without any",
        ),
        Column("tied", pa.bool_(), "whether another group had as many"),
        Column("score_micro", pa.int64(), "risk score", "micro"),
        Column("score_missing", pa.bool_(), "whether no score was found for the member"),
        Column("stays", pa.int16(), "stays discharged in a countable month", "stays"),
        Column(
            "ed_visits",
            pa.int16(),
            "emergency visits of countable months that led into no stay",
            "visits",
        ),
        Column(
            "ed_avoidable_micro", pa.int32(), "avoidable share of these visits, summed", "micro"
        ),
        Column("index_stays", pa.int16(), "stays that a readmission could follow", "stays"),
        Column("readmissions", pa.int16(), "index stays followed by another in 30 days", "stays"),
        Column("follow_up", pa.int16(), "index stays with a visit soon after", "stays"),
        Column("well_child_due", pa.int8(), "1 if a preventive visit is due", "members"),
        Column("well_child", pa.int8(), "1 if one is due and was made", "members"),
        *(
            Column(f"months_{cell}", pa.int8(), f"months counted in {cell}", "member months")
            for cell in RATE_CELLS
        ),
        Column(
            "payer_months",
            OWN_TEXT,
            "months counted by payer: ffs, or the plan of a managed month, each with its months",
        ),
        *(
            Column(f"{name}_r{{rule_set}}_cents", pa.int64(), meaning, "cents", RULE_SET)
            for name, meaning in (
                ("uncapped", "cost before floor and cap, by rule set {rule_set}"),
                ("above_cap", "what the cap took away, by rule set {rule_set}"),
                ("floored", "what raised a negative cost to zero, by rule set {rule_set}"),
                ("cost", "cost after floor and cap, by rule set {rule_set}"),
            )
        ),
    ),
    keys=("member_key", "year", "measurement"),
    restricted=True,
)


def member_years_schema(n_rule_sets: int) -> TableSchema:
    """The table as a run has it: its columns of costs once for each rule set."""
    costs = [column for column in MEMBER_YEARS.columns if column.each == RULE_SET]
    return MEMBER_YEARS.with_each(
        RULE_SET,
        (
            replace(
                column,
                name=column.name.format(rule_set=r),
                meaning=column.meaning.format(rule_set=r),
                each="",
            )
            for r in range(n_rule_sets)
            for column in costs
        ),
    )


def member_years_of(
    member_key: NDArray[np.uint64],
    plan: ShardPlan,
    years: Sequence[tuple[Attribution, Scores, Sequence[Cost], UseOfCare]],
    by_payer: Sequence[NDArray[np.uint8]],
    providers: Sequence[NDArray[np.int32]],
) -> pa.Table:
    """One row a member and year, in the columns of `MEMBER_YEARS`.

    `providers` are those by whom members were attributed, a year each (`providers_of`).
    """
    attributions, scores, costs, uses = zip(*years, strict=True)
    schema = member_years_schema(len(costs[0])).arrow
    n = member_key.size

    def rows(kind: pa.DataType, values: Iterable[Any]) -> NDArray[Any]:
        """Values of the years side by side, member by member."""
        out: NDArray[Any] = np.empty((n, len(years)), kind.to_pandas_dtype())
        for column, value in zip(out.T, values, strict=True):
            column[:] = value
        return out.reshape(-1)

    labels: dict[str, tuple[Sequence[str], Iterable[Any]]] = {
        "group_id": (("", *plan.roster.groups), (a.group + 1 for a in attributions)),
        "exclusion": (EXCLUSION_REASONS, (a.reason for a in attributions)),
        "step": (VISIT_STEPS, (a.step for a in attributions)),
    }
    places, texts = payer_labels(np.concatenate(by_payer), plan.plans)
    labels["payer_months"] = (texts, places.reshape(len(years), n))
    codes, at = np.unique(np.stack(providers), return_inverse=True)
    names = [plan.roster.providers.get(int(code), "") for code in codes]
    labels["attributed_npi"] = (names, at.reshape(len(years), n))
    values: dict[str, Iterable[Any]] = {
        "member_key": (member_key for _ in years),
        "year": (a.year for a in attributions),
        "measurement": (plan.measurement for _ in years),
        "n_visits": (a.n_visits for a in attributions),
        "tied": (a.tied for a in attributions),
        "score_micro": (score.score_micro for score in scores),
        "score_missing": (score.missing for score in scores),
        "ed_avoidable_micro": (use.of("ed_avoidable")[0] for use in uses),
        "index_stays": (use.of("readmissions")[1] for use in uses),
        "well_child_due": (use.of("well_child")[1] for use in uses),
    }
    for name in ("stays", "ed_visits", "readmissions", "follow_up", "well_child"):
        values[name] = [use.of(name)[0] for use in uses]
    for c, cell in enumerate(RATE_CELLS):
        values[f"months_{cell}"] = [a.months[c] for a in attributions]
    for r in range(len(costs[0])):
        under = [cost[r] for cost in costs]
        values[f"uncapped_r{r}_cents"] = [cost.uncapped_cents for cost in under]
        values[f"above_cap_r{r}_cents"] = [cost.above_cap_cents for cost in under]
        values[f"floored_r{r}_cents"] = [cost.floored_cents for cost in under]
        values[f"cost_r{r}_cents"] = [cost.capped_cents for cost in under]

    def array(field: pa.Field) -> pa.Array:
        if field.name not in labels:
            return pa.array(rows(field.type, values[field.name]), field.type)
        names, codes = labels[field.name]
        index = pa.array(rows(field.type.index_type, codes))
        return pa.DictionaryArray.from_arrays(index, pa.array(names, pa.string()))

    return pa.Table.from_arrays([array(field) for field in schema], schema=schema)
