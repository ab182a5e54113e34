"""Settled partnerships and sums as result tables, in the columns declared in `tables`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.data_quality import DATA_QUALITY, DATA_REVIEW, Stage, table_of
from ihp_compute.errors import UnbalancedLedgerError
from ihp_compute.ledger import CLAIM_TABLES, LINE_FATES, IngestFate, RunFate, file_of
from ihp_compute.measure import (
    EXCLUSION_REASONS,
    MOVEMENT,
    VISIT_STEPS,
    Measured,
    Plan,
    measures_of,
    payer_weights,
)
from ihp_compute.results.caps import cap_rows
from ihp_compute.results.cells import cell_rows, contract_labels
from ihp_compute.results.clinics import ClinicYears
from ihp_compute.results.missing import missing_of
from ihp_compute.results.netting import Netted, netted_rows
from ihp_compute.results.paid_ahead import in_cost_words, paid_ahead_rows
from ihp_compute.results.part import Part
from ihp_compute.results.payoff import Payoffs, distribution_rows
from ihp_compute.results.programme import PROGRAMME_TABLES, Rows, pool_rows
from ihp_compute.results.quality import measure_rows, score_rows
from ihp_compute.results.quality_tables import QUALITY, QUALITY_MEASURES
from ihp_compute.results.scopes import interval_rows, scope_rows
from ihp_compute.results.score_changes import score_change_rows
from ihp_compute.results.scoring import scoring_words
from ihp_compute.results.tables import (
    ATTRIBUTION,
    CAPS,
    CELLS,
    CHANCES,
    CORRIDOR,
    DISTRIBUTION,
    EXCLUSIONS,
    INTERVALS,
    LEDGER,
    NETTED,
    PAID_AHEAD,
    PAYMENTS,
    SCORE_CHANGES,
    SENSITIVITIES,
    SETTLEMENT,
    SETTLEMENT_STATE,
    UTILISATION,
    WALK,
)
from ihp_compute.settlement import CONDITIONINGS, Settled, scopes_of, sensitivities, split
from ihp_compute.table_schema import TableSchema
from ihp_compute.uncertainty import Totals
from ihp_compute.units import date_of, dollars, half_even

INTERIM: Final = "INTERIM"
FINAL: Final = "final"
"""Status of a settlement: whether its performance year is complete enough."""
_POINT: Final = Fraction(1, 100)


@dataclass(frozen=True)
class Results:
    """The tables of a run but member-years, by name, the totals, and what was counted.

    totals, clinics : one a measurement
    paid_ahead : years of population-based payments that it counts or grades, for the manifest
    """

    tables: dict[str, pa.Table]
    totals: tuple[Totals, ...]
    clinics: tuple[ClinicYears, ...]
    settled: Sequence[Settled]
    counts: dict[str, int]
    paid_ahead: tuple[dict[str, Any], ...]
    noticed: tuple[dict[str, Any], ...]


def assemble(
    plan: Plan, parts: Sequence[Part], nets: Sequence[Netted], programme: Callable[[], Rows]
) -> Results:
    """Build every result table but member-years.

    What is of partnerships stands once, by the measurement of their contract; what is of the state
    once for each measurement.

    Parameters
    ----------
    plan : Plan
    parts : sequence of Part
        The measurements of the run.
    nets : sequence of Netted
        Settlements that this one nets.
    programme : callable
        Gives `programme_rows` of the measurements; asked when they are needed.

    Raises
    ------
    UnbalancedLedgerError
        If retained lines or dollars of the population are not those that met a run fate.
    GateError, AcceptanceError
        If what is missing trips a gate that is not accepted, or what was accepted did not trip.
    """
    missing = plan.gates.judge(
        [
            found
            for part in parts
            for found in missing_of(
                part.plan, part.measured, part.settled, with_state=part.plan.measurement == 0
            )
        ]
    )
    plan.gates.refuse(missing, {}, Stage.SETTLED)
    noticed = (*plan.noticed, *missing)
    settled = sorted(
        (one for part in parts for one in part.settled), key=lambda one: one.partnership_id
    )
    scopes = scopes_of(settled)
    clinics = [ClinicYears.of(part.plan, part.measured) for part in parts]
    labels = contract_labels(plan)

    def of_parts(build: Callable[[Part], Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
        return [row for part in parts for row in build(part)]

    changed = of_parts(_sensitivities)
    payoffs = [Payoffs.of(part) for part in parts]
    chances = pa.concat_tables(
        [
            _chances(part.settled, own, pays)
            for part, own, pays in zip(parts, clinics, payoffs, strict=True)
        ]
    )
    told: dict[str, Any] = {**programme(), **pool_rows(parts)}
    return Results(
        tables={
            SETTLEMENT.name: _settlement(plan, settled),
            NETTED.name: _table(NETTED, list(netted_rows(nets, plan, settled, _statuses(plan)))),
            SETTLEMENT_STATE.name: _table(SETTLEMENT_STATE, list(scope_rows(scopes))),
            INTERVALS.name: pa.concat_tables(
                [_table(INTERVALS, list(interval_rows(scopes))), told[INTERVALS.name]]
            ),
            CELLS.name: _table(CELLS, of_parts(lambda part: cell_rows(*part, labels))),
            CAPS.name: _table(CAPS, of_parts(cap_rows)),
            CHANCES.name: chances,
            DISTRIBUTION.name: _table(DISTRIBUTION, list(distribution_rows(scopes))),
            CORRIDOR.name: _table(CORRIDOR, [row for pays in payoffs for row in pays.corridor()]),
            SENSITIVITIES.name: _table(SENSITIVITIES, changed),
            QUALITY.name: _table(
                QUALITY, of_parts(lambda part: score_rows(part.plan, part.measured, changed))
            ),
            QUALITY_MEASURES.name: _table(
                QUALITY_MEASURES, of_parts(lambda part: measure_rows(part.plan))
            ),
            WALK.name: _table(WALK, of_parts(_walk)),
            PAID_AHEAD.name: _table(PAID_AHEAD, list(paid_ahead_rows(parts))),
            PAYMENTS.name: _table(PAYMENTS, of_parts(_payments)),
            SCORE_CHANGES.name: _table(
                SCORE_CHANGES,
                of_parts(lambda part: score_change_rows(part.plan, part.measured)),
            ),
            LEDGER.name: pa.concat_tables([_ledger_of(part) for part in parts]),
            DATA_REVIEW.name: plan.origin.review,
            DATA_QUALITY.name: table_of([*plan.origin.noticed.to_pylist(), *noticed]),
            ATTRIBUTION.name: _table(ATTRIBUTION, of_parts(_attribution)),
            EXCLUSIONS.name: _table(EXCLUSIONS, of_parts(_exclusions)),
            UTILISATION.name: _table(UTILISATION, of_parts(_utilisation)),
            **{name: _table(table, told.get(name, ())) for name, table in PROGRAMME_TABLES.items()},
        },
        totals=tuple(part.measured.totals for part in parts),
        clinics=tuple(clinics),
        settled=settled,
        counts=dict(sorted(parts[0].measured.counts.items())),
        paid_ahead=tuple(one.document() for one in parts[0].measured.paid_ahead),
        noticed=tuple(dict(row) for row in noticed),
    )


def _table(declared: TableSchema, rows: Sequence[dict[str, Any]] | pa.Table) -> pa.Table:
    if isinstance(rows, pa.Table):
        return rows
    return pa.Table.from_pylist(list(rows), schema=declared.arrow)


def _statuses(plan: Plan) -> dict[str, str]:
    """INTERIM or final, by partnership id."""
    interim = {p for one in plan.to_come for p in one.interim}
    return {p: INTERIM if p in interim else FINAL for p in plan.contracts.contracts}


def _settlement(plan: Plan, settled: Sequence[Settled]) -> pa.Table:
    statuses = _statuses(plan)
    return _table(
        SETTLEMENT,
        [
            {name: getattr(one, name, statuses[one.partnership_id]) for name in SETTLEMENT.names}
            for one in settled
        ],
    )


def _chances(settled: Sequence[Settled], clinics: ClinicYears, pays: Payoffs) -> pa.Table:
    """Counts over the draws, what they would pay without effect, and what clinics add."""
    rows = []
    for one in settled:
        for conditioning in CONDITIONINGS:
            draws = one.draws[conditioning]
            savings, passed, payment = (
                array[1:] for array in (draws.savings_cents, draws.passed, draws.payment_cents)
            )
            n = payment.size
            if not n:
                continue
            saved = savings > 0
            counts = {
                "savings_above_zero": saved,
                "savings_above_gate": saved & (passed != 0),
                "payment_above_zero": payment > 0,
                "payment_below_zero": payment < 0,
            }
            rows.append(
                {
                    "partnership_id": one.partnership_id,
                    "conditioning": conditioning,
                    **{name: int(np.count_nonzero(where)) / n for name, where in counts.items()},
                    "mean_payment_cents": half_even(sum(payment.tolist()), n),
                    "payment_without_effect_cents": pays.without_effect(one, savings),
                    **clinics.columns(one, conditioning),
                }
            )
    return _table(CHANCES, rows)


def _sensitivities(part: Part) -> Iterator[dict[str, Any]]:
    plan, measured, settled = part
    own = {one.partnership_id: one.payment_cents for one in settled}
    found = sensitivities(
        measured.totals,
        plan.contracts,
        base_year=plan.base_year,
        performance_year=plan.performance_year,
        quality=plan.quality,
    )
    for row in found:
        yield {**row, "difference_cents": row["payment_cents"] - own[row["partnership_id"]]}


def _age_warning(plan: Plan, measured: Measured) -> str:
    """What the risk step must say of members whom the model was not made for; empty if none."""
    n = measured.counts[f"{plan.performance_year}:n_members_under_18"]
    if not n:
        return ""
    return f"; {n:,} members under 18 in the state, for whom {plan.scores.name} was not made"


def _base_cut(plan: Plan, partnership: str) -> str:
    """Where the base year's claims were cut; empty where nothing was to be cut."""
    found = plan.completion
    if found.methods[partnership] != "equal_runout":
        return ""
    return (
        f": its claims paid through {date_of(found.base_cutoff_day)}, {found.cut_lines:,} later "
        "lines left out"
    )


def _point_of_completion(plan: Plan, settled: Settled) -> str:
    """One point of completion less and more, in dollars of the year's whole cost."""
    year = plan.completion.year
    agreement = plan.contracts.at(plan.performance_year)[settled.partnership_id]
    stated = agreement["observed.completion"]
    ratio = year.ratio if stated is None else Fraction(stated)
    if ratio is None or (year.is_developed and stated is None):
        return ""
    is_whole = stated is not None or plan.completion.methods[settled.partnership_id] == "computed"
    whole = settled.observed_cents if is_whole else settled.observed_cents / ratio
    less, more = (whole * ratio / (ratio + sign * _POINT) - whole for sign in (-1, 1))
    return (
        f"; a point of completion less is {dollars(float(less), plus='+')} of cost, a point more "
        f"{dollars(float(more))}"
    )


def _walk(part: Part) -> Iterator[dict[str, Any]]:
    plan, measured, settled = part
    words = scoring_words(plan.scores.about(plan.years))
    scoring = (f"; {words}" if words else "") + _age_warning(plan, measured)
    for one in settled:
        more = {
            "risk": scoring,
            "completion": _base_cut(plan, one.partnership_id),
            "recomputed_base": in_cost_words(part, one.partnership_id, plan.base_year),
            "observed": in_cost_words(part, one.partnership_id, plan.performance_year)
            + _point_of_completion(plan, one),
        }
        for position, row in enumerate(one.walk):
            detail = row.detail + more.get(row.step, "")
            yield {
                "partnership_id": one.partnership_id,
                "position": position,
                **vars(row),
                "detail": detail,
            }


def _payments(part: Part) -> Iterator[dict[str, Any]]:
    """Who pays or is owed what, to the cent: each plan by member months; by cost, each kind."""
    plan, measured, settled = part
    agreements = plan.contracts.at(plan.performance_year)
    for one in settled:
        parts = one.payer_cents or {"all": one.payment_cents}
        if agreements[one.partnership_id]["payers.split"] == "member_months":
            months = measured.payer_months[measured.totals.groups.index(one.partnership_id)]
            weights = payer_weights(months, list(plan.plans))
            parts = split(one.payment_cents, weights) if weights else parts
        for payer, cents in parts.items():
            yield {"partnership_id": one.partnership_id, "payer": payer, "payment_cents": cents}


def _ledger_of(part: Part) -> pa.Table:
    """Rows of a measurement; they rest on no term that measuring does not read."""
    return part.measured.again("ledger", "", lambda: _table(LEDGER, _ledger(part)))


def _ledger(part: Part) -> list[dict[str, Any]]:
    """Both stages by table, file and fate; what ingest retained must be what the run met.

    The stage of ingest stands with the first measurement.
    """
    plan, measured, _ = part
    names = ("source_table", "fate", "lines", "paid_cents")
    rows = [
        {
            "stage": "ingest",
            "measurement": 0,
            "file": file_of(entry),
            **{name: entry[name] for name in names},
        }
        for entry in plan.origin.ledger
    ]
    retained = {
        (row["source_table"], row["file"]): (row["lines"], row["paid_cents"])
        for row in rows
        if row["fate"] == IngestFate.RETAINED.label and row["source_table"] in CLAIM_TABLES
    }
    met: dict[tuple[str, str], tuple[int, int]] = {}
    for t, table in enumerate(CLAIM_TABLES):
        for f, file in enumerate(plan.origin.files):
            for fate in RunFate:
                lines, cents = (int(x) for x in measured.ledger[t, f, fate])
                if not lines and not cents:
                    continue
                rows.append(
                    {
                        "source_table": table,
                        "file": file if fate in LINE_FATES else "",
                        "stage": "run",
                        "measurement": plan.measurement,
                        "fate": fate.label,
                        "lines": lines,
                        "paid_cents": cents,
                    }
                )
                if fate in LINE_FATES:
                    before = met.get((table, file), (0, 0))
                    met[table, file] = (before[0] + lines, before[1] + cents)
    for key in sorted(retained.keys() | met.keys()):
        if retained.get(key, (0, 0)) != met.get(key, (0, 0)):
            table, file = key
            raise UnbalancedLedgerError(
                f"{table}, {file}: ingest retained {retained.get(key)} (lines, cents), the run met "
                f"{met.get(key)}; nothing was written. Verify the population with ihp verify"
            )
    return [row for row in rows if row["stage"] == "run" or plan.measurement == 0]


def _exclusions(part: Part) -> Iterator[dict[str, Any]]:
    plan, measured, _ = part
    for year, by_reason in zip(plan.years, measured.exclusions, strict=True):
        for reason, sums in zip(EXCLUSION_REASONS, by_reason, strict=True):
            if reason and sums.any():
                yield {
                    "year": year,
                    "reason": reason,
                    "n_members": int(sums[0]),
                    "member_months": int(sums[1]),
                    "paid_cents": int(sums[2]),
                    "measurement": plan.measurement,
                }


def _stands(plan: Plan, group: str) -> bool:
    """Whether a group has rows in a measurement: a partnership in that of its contract alone."""
    settles = plan.contracts.settles(group)
    return settles in plan.contracts.contracts or group in (COMPARISON, UNATTRIBUTED)


def _attribution(part: Part) -> Iterator[dict[str, Any]]:
    """Every group in both years: its steps, or none for those whom nothing attributed."""
    plan, measured, _ = part
    for year, by_group in zip(plan.years, measured.movement, strict=True):
        for group, by_step in zip(plan.roster.groups, by_group, strict=True):
            for step, counts in zip(VISIT_STEPS, by_step, strict=True):
                if _stands(plan, group) and (step == VISIT_STEPS[0]) == (group == UNATTRIBUTED):
                    yield {
                        "partnership_id": group,
                        "year": year,
                        "step": step,
                        **dict(zip(MOVEMENT, map(int, counts), strict=True)),
                        "measurement": plan.measurement,
                    }


def _per_thousand(events: int, months: int) -> float:
    """Events per 1,000 member-years; 0 without months."""
    return 12_000 * events / months if months else 0.0


def _utilisation(part: Part) -> Iterator[dict[str, Any]]:
    plan, measured, _ = part
    for year, by_group in zip(plan.years, measured.use_by_group, strict=True):
        for group, sums in zip(plan.roster.groups, by_group, strict=True):
            if not _stands(plan, group):
                continue
            use = measures_of(sums)
            stays, months = use["stays"]
            visits, _ = use["ed_visits"]
            readmissions, index_stays = use["readmissions"]
            yield {
                "group_id": group,
                "year": year,
                "n_members": int(sums[0]),
                "member_months": months,
                "stays": stays,
                "ed_visits": visits,
                "index_stays": index_stays,
                "readmissions": readmissions,
                "stays_per_1000": _per_thousand(stays, months),
                "ed_visits_per_1000": _per_thousand(visits, months),
                "readmission_rate": readmissions / index_stays if index_stays else 0.0,
                "measurement": plan.measurement,
            }
