"""The rules of a settlement as sentences, for who reads results and not the program.

Each stands beside the terms that govern it. The report prints them with the values of its run; the
pages of the method repeat them, and a test holds both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Method:
    """A rule in a sentence or two, and the paths of the terms that govern it."""

    title: str
    text: str
    terms: tuple[str, ...] = ()


METHODS: Final = (
    Method(
        "Rate cell of a line",
        "A line is in the rate cell of the month of the day by which its contract incurs it. What "
        "a member's cap takes is taken from rate cells in proportion to their cost before it, as "
        "differences of running totals rounded half to even, in the order in which the contract "
        "lists cells.",
        ("cost.incurred_by", "cost.claim_cap"),
    ),
    Method(
        "A cell without base months",
        "A rate cell in which a partnership has no base months stands at the state's cost per "
        "unit of risk times the partnership's level, at the state's base risk of that cell; "
        "where nobody in the state has base months, the run is refused.",
        ("target.cell_credibility", "target.empty_cell"),
    ),
    Method(
        "Thin cells",
        "The base as a whole is the partnership's own as far as the root of its base months "
        "over those that carry fully, each cell as far as its own months do and not at all "
        "below the least; the rest is the state's at the partnership's level, and the cells "
        "always add up to the base.",
        ("target.base_full_months", "target.cell_full_months", "target.cell_least_months"),
    ),
    Method(
        "Caps of the risk ratio",
        "A cap holds the ratio of dollars after the risk step over dollars before it, all rate "
        "cells together, unless the contract says each cell's.",
        (
            "target.risk_ratio_cap_up", "target.risk_ratio_cap_down", "target.risk_ratio_cap_by",
            "target.risk_ratio_by",
        ),
    ),
    Method(
        "Corridor of the state's growth",
        "Growth of the state's mean risk from base to performance year, at one mix of rate cells, "
        "moves targets no further than the corridor, up or down: beyond it every partnership's "
        "ratio is multiplied by the growth held over the growth found. A norm takes all of that "
        "growth out, and leaves a corridor nothing.",
        ("risk.growth_corridor", "risk.normalise"),
    ),
    Method(
        "Credibility of the risk ratio",
        "A partnership's own ratio counts as far as the root of its months of the performance year "
        "over those that carry fully, the rest is the state's ratio, 1 under a norm. The corridor "
        "comes before it and the cap after it; beside blended bases it is refused.",
        ("risk.credibility", "target.cell_credibility"),
    ),
    Method(
        "First step of attribution",
        "Care coordination codes make the step of health care homes, at any entry of the "
        "roster, in any place; visits at entries flagged as homes do only where the contract "
        "says so, and then the home with the most of both wins.",
        (
            "attribution.steps", "attribution.care_coordination_codes",
            "attribution.health_care_home", "attribution.health_care_home_specialties",
        ),
    ),
    Method(
        "Visits",
        "A visit is a line with one of the contract's visit codes in none of the excluded "
        "places; what is not listed, such as 99421 to 99423, 99441 to 99443, 99490, 99401, "
        "G0511, 90791 and 92014 where the contract does not name them, attributes nobody.",
        ("attribution.visit_codes", "attribution.excluded_places"),
    ),
    Method(
        "Specialties",
        "Visits to behavioural health count at the step of specialists, unless the contract "
        "names the specialty for another step.",
        ("attribution.primary_care_specialties", "attribution.specialist_specialties"),
    ),
    Method(
        "What is no visit",
        "Payment lines, and visits in months that do not count, attribute nobody unless the "
        "contract says so. A visit is dated by its day of service, cost by the day that incurs "
        "it.",
        ("attribution.no_visit", "attribution.exclude", "attribution.keep_pre_visit"),
    ),
    Method(
        "Roster dates",
        "Entries valid on the roster date of the performance year hold for all days of both "
        "years; other rules are choices of the contract.",
        ("attribution.roster_rule", "attribution.roster_date"),
    ),
    Method(
        "Ties",
        "An encounter is one partnership on one day; the most encounters at the first step that "
        "has any win, then the latest, then the lowest partnership id.",
        ("attribution.tie_break",),
    ),
    Method(
        "Exclusions",
        "Whoever has too few countable months is excluded by the first reason that holds: not "
        "enrolled; the first flag among months that would otherwise suffice; else too few "
        "months. The table of exclusions has their enrolled months and all dollars paid for "
        "them; member-years have their countable months, which may be 0.",
        ("attribution.min_months_continuous", "attribution.min_months_any"),
    ),
    Method(
        "Dual eligibility",
        "A month is dual with a dual status code 01 to 06 or 08; it has partial benefits with "
        "01, 03, 05, 06 or the flag; 09 and 10 set no flag.",
        ("attribution.exclude",),
    ),
    Method(
        "Rate cell of a month",
        "The aid group of a month is the first that applies of newborn, maternity, expansion, "
        "disabled, child and adult, by group code, age and entitlement; any other stated code "
        "goes by age alone, and limited benefits are a reason of exclusion. Where enrolment "
        "rows overlap the one that starts latest decides, and an excluded flag on it drops the "
        "month.",
        ("target.rate_cells", "attribution.exclude"),
    ),
    Method(
        "Service categories",
        "A line's category follows bill type, revenue centre, procedure and place of service by "
        "the published ranges of the method's page of codes; the contract lists the categories "
        "that count.",
        ("cost.services",),
    ),
    Method(
        "Members without a score",
        "The average that fills a missing score is the state's, of the rate cell in which the "
        "member has most months, weighted by months, over everybody who has a score; it is not "
        "the partnership's.",
        ("risk.model", "risk.missing"),
    ),
    Method(
        "The norm of risk",
        "Mean risk is divided by that of everybody eligible in the same rate cell and year, so "
        "that the mix of cells counts once, in the target, and not in the norm.",
        ("risk.normalise",),
    ),
    Method(
        "Stays, emergency visits, readmissions",
        "Acute claims that meet within a day are one stay, births none, of the month of its last "
        "discharge. An index stay is discharged by 1 December to thirty days that count, not by "
        "death or transfer, not on the day of admission, not of pregnancy or birth; it is "
        "readmitted when the next stay begins within those days. An emergency visit is a member's "
        "day with an emergency line that led into no stay. All count in countable months only.",
    ),
    Method(
        "Final action",
        "A claim is known by member, source, payer, plan and number; voids cancel the amount "
        "that they name, replacements supersede the whole claim, and credits and debits marked "
        "as standing beside it (indicators 3, 5 and 6) stay beside it.",
    ),
    Method(
        "Blank amounts",
        "A blank paid amount is $0.00 and counted; an encounter without payment costs what the "
        "contract says.",
        ("cost.amount", "cost.zero_paid_encounter"),
    ),
    Method(
        "Full years",
        "A run settles full calendar years only: somebody is enrolled in each month, service "
        "begins in the first quarter and goes on into the last. Any other year is refused.",
    ),
    Method(
        "Payers",
        "A payment is split over payers by the partnership's countable months of the "
        "performance year, or by cost, in whole cents; cents that are left go to the largest "
        "remainders.",
        ("payers.split",),
    ),
    Method(
        "Risk ratio",
        "The risk ratio of a settlement is dollars after the risk step over dollars before it, "
        "all rate cells together; no ratio of mean scores reproduces it where cells differ.",
        ("target.risk_ratio_by",),
    ),
    Method(
        "Target held",
        "An interval under `target_fixed` holds base cost, months, risk and norm, credibility "
        "and level, market growth, trend, policy and completion, and draws cost, months by "
        "cell, performance risk and its norm: another draw of performance members under this "
        "base.",
    ),
    Method(
        "Trend",
        "Trend is growth of cost per member month within a rate cell, the state's change of "
        "acuity included, compounded over the years between base and performance year.",
        ("target.trend", "target.market"),
    ),
    Method(
        "Rounding",
        "The target is rounded once, on the sum over rate cells, half to even to the cent; each "
        "level of the settlement is rounded to the cent, and changes are differences of rounded "
        "levels.",
        ("target.rounding",),
    ),
)  # fmt: skip
"""In the order of a reader's questions."""
