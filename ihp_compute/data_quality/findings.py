"""Which findings and gates there are: name, meaning, where a gate judges, from which threshold.

A gate more is one of `GATES`, with a finding that names it, noticed where its `Stage` says. A share
says little of few rows: gates by share judge from 1,000 rows on. Below, the same finding is told
and kept, and the work goes on.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

INGEST: Final = "ingest"
RUN: Final = "run"
A: Final = {INGEST: "an ingest", RUN: "a run"}
"""Work in a sentence."""
_MANY: Final = 1_000


class Stage(Enum):
    """Where a gate judges, and of which work that is."""

    READ = INGEST, "once every row is read"
    PLAN = RUN, "before a claim is read"
    SETTLED = RUN, "once partnerships are settled, before anything is written"

    @property
    def work(self) -> str:
        """`INGEST` or `RUN`."""
        return self.value[0]


@dataclass(frozen=True)
class Gate:
    """A threshold beyond which a finding must be accepted, with a reason, before work goes on.

    Attributes
    ----------
    name : str
    judges : str
        The share that it compares, in a line.
    threshold : float
        Unless another is set.
    least : int
        Rows, or what else `judges` names, from which it judges.
    trips : callable
        Whether a share, given first, trips a threshold.
    whole_from : int
        Rows from which it judges where the share is 1; 0 as for others.
    stage : Stage
        Where it judges.
    """

    name: str
    judges: str
    threshold: float
    least: int = _MANY
    trips: Callable[[float, float], bool] = operator.gt
    whole_from: int = 0
    stage: Stage = Stage.READ


GATES: Final[Mapping[str, Gate]] = {
    gate.name: gate
    for gate in (
        Gate(
            "unreadable_rows",
            "share of a table's rows that cannot be read; from 2 rows where none can",
            0.5,
            whole_from=2,
        ),
        Gate("duplicate_rows", "share of a table's rows that repeat another", 0.5),
        Gate("superseded_lines", "share of a claim table's lines that a later one replaces", 0.5),
        Gate(
            "missing_claim_table",
            "1 where a claim table is missing or empty; from 1,000 claim lines in all",
            0.0,
        ),
        Gate(
            "roster_without_claims",
            "share of the roster's providers that no claim names; from 1,000 claim lines",
            1.0,
            trips=operator.ge,
        ),
        Gate(
            "thin_month",
            "lines of a month over those of the lesser of its neighbours; from 1,000 a month",
            1 / 3,
            trips=operator.lt,
        ),
        Gate(
            "score_unmatched",
            "share of risk scores whose member is not enrolled; from 1,000 scores",
            0.2,
        ),
        Gate(
            "denied_dollars",
            "share of positive dollars of a source and table that the denial flag denies",
            0.1,
        ),
        Gate("control_totals", "difference to a control total, over it", 0.0, least=0),
        Gate(
            "inconsistent",
            "1 where a contract's terms of base and performance year differ",
            0.0,
            least=0,
            stage=Stage.PLAN,
        ),
        Gate(
            "quality_id_unmatched",
            "share of ids with a quality score that match no partnership; from 10 ids",
            0.2,
            least=10,
            stage=Stage.PLAN,
        ),
        Gate(
            "immature",
            "1 where a performance year that is not complete settles as if it were",
            0.0,
            least=0,
            stage=Stage.PLAN,
        ),
        Gate(
            "timing",
            "1 where a contract scores by another timing than its risk model states",
            0.0,
            least=0,
            stage=Stage.PLAN,
        ),
        Gate(
            "codes",
            "1 where a year of codes, by which a model scores, is no full year of the data",
            0.0,
            least=0,
            stage=Stage.PLAN,
        ),
        Gate(
            "unscored_months",
            "share of a partnership's member months of a year whose risk score is filled; from "
            "1,000 months; its threshold is the term risk.most_missing",
            0.5,
            stage=Stage.SETTLED,
        ),
    )
}
"""Every gate, by name."""


def gates_of(work: str) -> Mapping[str, Gate]:
    """The gates that judge an `INGEST` or a `RUN`, by name."""
    return {name: gate for name, gate in GATES.items() if gate.stage.work == work}


@dataclass(frozen=True)
class Finding:
    """A kind of thing that is noticed.

    Attributes
    ----------
    name : str
    meaning : str
        In a line; stands on the screen before what it was noticed of.
    gate : str
        The gate that judges its share, or "".
    is_absence : bool
        Whether something is missing: a report says so on its first page.
    counts : str
        What its number of lines is a number of.
    """

    name: str
    meaning: str
    gate: str = ""
    is_absence: bool = False
    counts: str = "lines"


FINDINGS: Final[Mapping[str, Finding]] = {
    finding.name: finding
    for finding in (
        Finding("control_total", "differs from its control total", "control_totals"),
        Finding(
            "missing_claim_table",
            "claim table missing or empty",
            "missing_claim_table",
            is_absence=True,
        ),
        Finding("missing_roster", "no roster: no partnership has providers", is_absence=True),
        Finding(
            "unreadable_rows",
            "rows that cannot be read, put aside",
            "unreadable_rows",
            is_absence=True,
        ),
        Finding("unreadable_reason", "rows that cannot be read, by reason"),
        Finding("duplicate_rows", "rows that repeat another", "duplicate_rows"),
        Finding("superseded_lines", "lines that a later one replaces", "superseded_lines"),
        Finding("earlier_snapshots", "enrolment of snapshots that the source's latest replaces"),
        Finding("denied_dollars", "denied by the denial flag", "denied_dollars"),
        Finding(
            "roster_without_claims", "roster's providers without a claim", "roster_without_claims"
        ),
        Finding("roster_npi_without_claims", "roster's NPI that no claim names"),
        Finding(
            "visits_off_roster",
            "lines that could be visits, of providers whom no roster names",
        ),
        Finding("npi_off_roster", "their NPIs, those with most dollars"),
        Finding("plan_without_eligibility", "plans of claims that no eligibility names"),
        Finding("thin_month", "month of few lines beside its neighbours", "thin_month"),
        Finding("months_without_claims", "months without claims", is_absence=True),
        Finding("file_left_out", "file left out"),
        Finding("column_left_out", "column left out"),
        Finding("blank_amount", "blank amounts, read as 0", is_absence=True),
        Finding("sub_cent_amount", "amounts finer than a cent, rounded"),
        Finding("equal_rows", "rows equal in all that has meaning"),
        Finding("later_amounts", "later amounts of a line, nothing else said"),
        Finding("unpaired_negatives", "negatives that reverse nothing: money moved"),
        Finding("links_across_payers", "links to a claim of another source, payer or plan"),
        Finding("links_to_nothing", "links to a claim that is not here"),
        Finding("not_understood", "codes not understood, by kind of value"),
        Finding("not_a_date", "dates that cannot be read"),
        Finding("day_or_month_first", "dates of which nothing settles the order of day and month"),
        Finding("date_out_of_range", "dates before 1850 or after 2099, read as none"),
        Finding(
            "stays_without_diagnosis",
            "stays whose claim states no principal diagnosis",
            is_absence=True,
            counts="stays",
        ),
        Finding(
            "emergency_without_diagnosis",
            "emergency days whose claim states no principal diagnosis",
            is_absence=True,
            counts="days",
        ),
        Finding("not_a_number", "quantities that cannot be read or held: read as none"),
        Finding("not_an_amount", "amounts that cannot be read: their dollars are not known"),
        Finding("status_and_denial_differ", "status of denied and denial flag differ"),
        Finding(
            "score_unmatched",
            "risk scores of members without enrolment, left out",
            "score_unmatched",
            is_absence=True,
        ),
        Finding(
            "score_blank",
            "risk scores with neither score nor cell: their members have none of these",
            is_absence=True,
        ),
        Finding("end_before_start", "ends before it starts"),
        Finding("before_admission", "discharged before admitted"),
        Finding("before_birth", "before birth"),
        Finding(
            "served_outside_eligibility", "served outside eligibility, kept by its claim's dates"
        ),
        Finding("paid_after_last_day", "paid after the last day that counts"),
        Finding("total_line", "money on a total line that its claim's other lines come to"),
        Finding("money_on_total_line", "other money on a total line"),
        Finding("months_named_differently", "member months of which rows say two things"),
        Finding("numbers_that_start_anew", "claim numbers that start anew: claims of their own"),
        Finding(
            "inconsistent_terms",
            "terms of base and performance year differ, both years measured by the latter's",
            "inconsistent",
        ),
        Finding(
            "quality_id_unmatched",
            "ids with a quality score that match no partnership of the roster",
            "quality_id_unmatched",
            is_absence=True,
            counts="ids",
        ),
        Finding(
            "quality_filled",
            "quality score missing and filled as the contract says; dollars: what that moves",
            is_absence=True,
            counts="partnership",
        ),
        Finding(
            "unscored_months",
            "member months without a risk score, filled; dollars: what that moves in the target",
            "unscored_months",
            is_absence=True,
            counts="member months",
        ),
        Finding(
            "under_minimum_months",
            "people enrolled too briefly in the year of the codes for the risk model to score them",
            is_absence=True,
            counts="people",
        ),
        Finding(
            "newborns_without_birth_code",
            "newborns of whom no code says how mature they were born",
            is_absence=True,
            counts="people",
        ),
        Finding(
            "codes_without_category",
            "diagnoses of which the risk model's map has no category",
            counts="diagnoses",
        ),
        Finding(
            "diagnoses_without_bill_type",
            "diagnoses that score, of claims of institutions without a bill type; dollars: paid",
            is_absence=True,
            counts="diagnoses",
        ),
        Finding(
            "diagnoses_left_out",
            "diagnoses on claims that do not count for the score, each code and day once; dollars: "
            "paid for those claims",
            counts="diagnoses",
        ),
        Finding(
            "unpaid_encounters",
            "encounters without a payment; dollars: allowed",
            is_absence=True,
            counts="lines",
        ),
        Finding(
            "plan_not_stated",
            "member months in managed care that name no plan; dollars: their part of the payment",
            is_absence=True,
            counts="member months",
        ),
        Finding(
            "partnership_without_members",
            "partnerships without a member in a year; dollars: the target",
            is_absence=True,
            counts="partnership",
        ),
        Finding(
            "cells_without_members",
            "rate cells of a contract in which nobody has a month",
            counts="rate cells",
        ),
        Finding(
            "cells_not_listed",
            "member months in rate cells that a contract does not list; dollars: their cost",
            counts="member months",
        ),
        Finding(
            "comparison_without_regions",
            "trends of regions are asked for, and nothing says in which region people live",
            counts="tables",
        ),
        Finding(
            "comparison_without_base",
            "trends against the comparison population, which has no months in a year",
            is_absence=True,
            counts="trends",
        ),
        Finding(
            "unattributed",
            "eligible people whom no visit on the roster attributes; dollars: their cost",
            counts="people",
        ),
        Finding(
            "outcomes_without_factors",
            "no member_factors: outcomes are told of all people only, of no stratum",
            is_absence=True,
            counts="people",
        ),
        Finding(
            "intervention_outside_years",
            "people of an intervention who began before or after the years compared: in no arm",
            counts="people",
        ),
        Finding(
            "no_ed_classifier",
            "no ed_classifier: how far emergency visits were avoidable is not told",
            is_absence=True,
        ),
        Finding(
            "services_without_units",
            "services of the cost index that state no units and count as one each",
            is_absence=True,
        ),
        Finding(
            "stays_without_drg",
            "acute inpatient claims without a DRG: each uses what any such claim does",
            is_absence=True,
            counts="claims",
        ),
        Finding(
            "cost_index_without_regions",
            "the peer of the cost index is a region, and nothing says in which region people live: "
            "there is no index",
            is_absence=True,
        ),
        Finding(
            "no_condition_groups",
            "neither a table of condition groups nor cells of risk scores: the cost index has no "
            "drivers by condition",
            is_absence=True,
        ),
        Finding(
            "immature_year",
            "claims of the performance year still to come, and nothing done about them",
            "immature",
        ),
        Finding(
            "other_timing",
            "a risk model scores by another timing than the one that it was made for",
            "timing",
        ),
        Finding(
            "codes_not_whole",
            "codes of a year that is not whole score a year",
            "codes",
            is_absence=True,
        ),
    )
}
"""Every finding, by name, in the order in which they are shown."""


def finding_of(name: str) -> Finding:
    """A finding by its name, also one that another version of this program noticed."""
    return FINDINGS.get(name) or Finding(name, name.replace("_", " "))
