"""What an ingest noticed, as findings: of files, rows, histories of claims, months and the roster.

Decides: of what a finding is told and what its share is taken of; which months are judged. Not
here: what findings there are and when one stops the work (`data_quality`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Final

from ihp_compute.data_quality import Noticed
from ihp_compute.ingest.account import Account
from ihp_compute.ingest.findings import NO_MONTH, UNREADABLE_REASON, Delivered, Findings
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES, IngestFate
from ihp_compute.units import NO_DAY, date_of, month_text

_PENDING: Final = 3
"""Months before the last paid day whose claims may still be on their way; they are not judged."""
_FEWEST: Final = 10
"""Fewer lines in a month beside it say nothing about a month."""
_MOST_PLANS: Final = 1_000
"""Of a table with more plans all are judged together."""
_MOST_NPIS: Final = 10
"""Of providers off the roster those with most dollars are named."""
_OPEN_CHOICES: Final = {
    "equal_rows": ("duplicate", "billed"), "later_amounts": ("restated", "additional"),
}  # fmt: skip
_STANDING: Final = (
    IngestFate.DENIED, IngestFate.UNKNOWN_MEMBER, IngestFate.OUTSIDE_ELIGIBILITY,
    IngestFate.RETAINED,
)  # fmt: skip
"""Fates of rows that the history of their claim leaves standing."""


@dataclass(frozen=True)
class RosterMet:
    """Providers of the roster beside those of claims.

    Attributes
    ----------
    providers : int
        Distinct NPIs of the roster.
    lines : mapping of NPI to int
        Rows of the roster by NPI that no claim names.
    visits : int
        Lines that could be visits.
    off : mapping of NPI to (int, int)
        Lines and cents of those whose providers the roster does not name; "" where none is stated.
    """

    providers: int
    lines: Mapping[str, int]
    visits: int
    off: Mapping[str, tuple[int, int]]


def noticed(
    account: Account,
    delivered: Mapping[int, Delivered],
    roster: RosterMet | None,
    plans: frozenset[str],
    thin: float,
    denied: float,
) -> Iterator[Noticed]:
    """Everything that is told of an ingest beside its ledger.

    `delivered` is by index of the file, `plans` are those that eligibility names; months below
    `thin` of their neighbours are told, and denial flags that deny more than `denied` of the
    positive dollars.
    """
    yield from _of_folder(account)
    yield from _of_fates(account)
    yield from _of_amounts(account)
    yield from _of_denials(account, denied)
    yield from _of_findings(account)
    yield from _of_months(account, delivered, thin)
    yield from _of_late_payments(account)
    if roster is not None:
        yield from _of_roster(account, roster)
        yield from _off_roster(roster)
    if plans:
        yield from _of_plans(account, delivered, plans)
    for finding, n in (
        ("score_unmatched", account.unmatched_scores()),
        ("score_blank", account.blank_scores()),
    ):
        if n:
            size = account.table("risk_score").rows
            yield Noticed(finding, "risk_score", lines=n, share=n / size, size=size)


def noticed_of_delivery(
    account: Account, delivered: Mapping[int, Delivered], thin: float, denied: float
) -> Iterator[Noticed]:
    """What gates ask of a delivery by itself, so that it does not drown in what came before.

    `account` and `delivered` are of all deliveries.
    """
    alone = account.of_delivery()
    own = {
        place: delivered.get(index, Delivered())
        for place, index in enumerate(account.folder.delivered)
    }
    for one in chain(
        _of_fates(alone), _of_denials(alone, denied), _of_months(alone, own, thin)
    ):  # fmt: skip
        of = f"delivery {account.folder.delivery}"
        yield replace(one, subject=f"{of}: {one.subject}" if one.subject else of)


def _claim_lines(account: Account) -> int:
    return sum(account.table(table).rows for table in CLAIM_TABLES)


def _of_folder(account: Account) -> Iterator[Noticed]:
    size = _claim_lines(account)
    for table in CLAIM_TABLES:
        if not account.table(table).rows:
            yield Noticed("missing_claim_table", table, share=1.0, size=size)
    if not account.folder.of("provider_roster"):
        yield Noticed("missing_roster", "provider_roster")
    for name in account.folder.left_out:
        yield Noticed("file_left_out", file=name)
    for index, names in enumerate(account.unknown_columns):
        for name in dict.fromkeys(names):
            yield Noticed(
                "column_left_out", account.folder.files[index].table, account.folder.names[index],
                name,
            )  # fmt: skip


def _of_fates(account: Account) -> Iterator[Noticed]:
    """Shares of a table's rows that cannot be read, repeat another, or were replaced."""
    lines, cents = account.by_fate()
    for table in LEDGER_TABLES:
        size = account.table(table).rows
        reason = _usual_reason(account.table(table).findings)
        replaced = "superseded_lines" if table in CLAIM_TABLES else "earlier_snapshots"
        for finding, fate in (
            ("unreadable_rows", IngestFate.UNREADABLE),
            ("duplicate_rows", IngestFate.DUPLICATE),
            (replaced, IngestFate.SUPERSEDED),
        ):
            if n := lines[table, fate]:
                yield Noticed(
                    finding, table, subject=reason if finding == "unreadable_rows" else "",
                    lines=n, paid_cents=cents[table, fate], share=n / size, size=size,
                )  # fmt: skip


def _usual_reason(found: Findings) -> str:
    """Why most of the rows that cannot be read cannot, and how many these are."""
    reasons = Counter[str]()
    for doubt, n in found.lines.items():
        if doubt.finding == UNREADABLE_REASON:
            reasons[doubt.subject] += n
    most = max(reasons.values(), default=0)
    return next((f"{most:,} of them: {why}" for why in sorted(reasons) if reasons[why] == most), "")


def _of_amounts(account: Account) -> Iterator[Noticed]:
    for index, file in enumerate(account.folder.files):
        tally = account.tally(index)
        for finding, n in (
            ("blank_amount", tally.blank_amounts), ("sub_cent_amount", tally.sub_cents),
        ):  # fmt: skip
            if n:
                # a row may have more than one amount that is finer than a cent
                column = "paid_amount" if finding == "blank_amount" else ""
                yield Noticed(
                    finding, file.table, account.folder.names[index], column,
                    lines=n, share=n / tally.rows,
                )  # fmt: skip


def _of_denials(account: Account, told: float) -> Iterator[Noticed]:
    """Both readings of a denial flag that denies more than a share of a source's dollars."""
    for table in CLAIM_TABLES:
        for source, denials in sorted(account.table(table).denials.items()):
            if denials.denied[1] <= told * denials.positive_cents:
                continue
            of = f"source {source}, " if source else ""
            for reading, (lines, cents), size in (
                ("as it is read", denials.denied, denials.lines),
                ("if it were turned round", denials.turned_round, 0),
            ):
                yield Noticed(
                    "denied_dollars",
                    table,
                    column_name="x_clm_dnd_ind",
                    subject=f"{of}{reading}",
                    lines=lines,
                    paid_cents=cents,
                    share=cents / denials.positive_cents,
                    size=size,
                )


def _of_findings(account: Account) -> Iterator[Noticed]:
    """What was read with doubt, by file; and by table what was found once rows stood together."""
    for index, file in enumerate(account.folder.files):
        tally = account.tally(index)
        yield from _doubts(tally.findings, file.table, account.folder.names[index], tally.rows)
    for table in LEDGER_TABLES:
        yield from _doubts(account.together(table), table, "", account.table(table).rows)
        yield from _of_choices(account, table)


def _doubts(found: Findings, table: str, file: str, rows: int) -> Iterator[Noticed]:
    for doubt in sorted(found.lines):
        if doubt.finding not in _OPEN_CHOICES:
            n = found.lines[doubt]
            yield Noticed(
                doubt.finding, table, file, doubt.column, doubt.subject, lines=n,
                paid_cents=found.cents[doubt], share=n / rows if n <= rows else 0.0,
            )  # fmt: skip


def _of_choices(account: Account, table: str) -> Iterator[Noticed]:
    """Of what histories of claims leave open, both readings."""
    found = account.together(table)
    by_fate = account.by_fate()[1]
    for doubt in sorted(found.lines):
        if doubt.finding not in _OPEN_CHOICES:
            continue
        chosen = getattr(account.rules.choices, doubt.finding)
        stands = sum(by_fate[table, fate] for fate in _STANDING)
        for reading in _OPEN_CHOICES[doubt.finding]:
            is_chosen = reading == chosen
            yield Noticed(
                doubt.finding,
                table,
                subject=f"{'read as' if is_chosen else 'if read as'} {reading}, what stands",
                lines=found.lines[doubt],
                share=found.lines[doubt] / account.table(table).rows,
                paid_cents=stands if is_chosen else stands + found.cents[doubt],
            )


def _of_roster(account: Account, roster: RosterMet) -> Iterator[Noticed]:
    if not roster.lines:
        return
    yield Noticed(
        "roster_without_claims",
        "provider_roster",
        column_name="npi",
        lines=sum(roster.lines.values()),
        share=len(roster.lines) / roster.providers,
        size=_claim_lines(account),
    )
    for npi, n in roster.lines.items():
        yield Noticed(
            "roster_npi_without_claims", "provider_roster",
            column_name="npi", subject=npi, lines=n,
        )  # fmt: skip


def _off_roster(roster: RosterMet) -> Iterator[Noticed]:
    if not roster.off:
        return
    yield Noticed(
        "visits_off_roster",
        "medical_claim",
        column_name="rendering_npi",
        lines=sum(lines for lines, _ in roster.off.values()),
        paid_cents=sum(cents for _, cents in roster.off.values()),
        share=sum(lines for lines, _ in roster.off.values()) / roster.visits,
        size=roster.visits,
        detail=f"of {roster.visits:,} lines that could be visits; {len(roster.off):,} NPIs",
    )
    largest = sorted(roster.off, key=lambda npi: (-roster.off[npi][1], npi))
    for npi in largest[:_MOST_NPIS]:
        lines, cents = roster.off[npi]
        yield Noticed(
            "npi_off_roster", "medical_claim", column_name="rendering_npi",
            subject=npi or "not stated", lines=lines, paid_cents=cents,
            share=lines / roster.visits,
        )  # fmt: skip


def _of_plans(
    account: Account, delivered: Mapping[int, Delivered], plans: frozenset[str]
) -> Iterator[Noticed]:
    """Plans of claim lines, or payers where they state none, that no row of enrolment names."""
    for table in CLAIM_TABLES:
        lines, cents = Counter[str](), Counter[str]()
        for index, _ in account.folder.of(table):
            found = delivered.get(index, Delivered())
            for (plan, month), n in found.lines.items():
                lines[plan] += n
                cents[plan] += found.cents[plan, month]
        unknown = sorted(lines.keys() - plans - {""})
        for plan in unknown if len(unknown) <= _MOST_PLANS else ():
            yield Noticed(
                "plan_without_eligibility", table, column_name="plan", subject=plan,
                lines=lines[plan], paid_cents=cents[plan], share=lines[plan] / lines.total(),
            )  # fmt: skip
        if len(unknown) > _MOST_PLANS:
            n = sum(lines[plan] for plan in unknown)
            yield Noticed(
                "plan_without_eligibility", table, column_name="plan",
                subject=f"{len(unknown):,} plans", lines=n,
                paid_cents=sum(cents[plan] for plan in unknown), share=n / lines.total(),
            )  # fmt: skip


# --- months ---------------------------------------------------------------------------------------


def _of_months(
    account: Account, delivered: Mapping[int, Delivered], thin: float
) -> Iterator[Noticed]:
    """Months of few lines or none, by table and plan and of all plans together."""
    tables = {table: _by_plan(account, table, delivered) for table in CLAIM_TABLES}
    judged = _judged(account, [counts for plans in tables.values() for counts in plans.values()])
    for table, by_plan in tables.items():
        if len(by_plan) <= _MOST_PLANS:
            for plan, counts in sorted(by_plan.items()):
                of = f"plan {plan or 'not stated'}"
                yield from _thin(table, of, counts, judged, thin)
                if empty := [month for month in judged if month not in counts]:
                    yield Noticed(
                        "months_without_claims", table, subject=f"{of}: {_spelled(empty)}"
                    )
        if len(by_plan) > 1:
            whole = sum(by_plan.values(), Counter[int]())
            yield from _thin(table, "all plans", whole, judged, thin)


def _of_late_payments(account: Account) -> Iterator[Noticed]:
    """Lines paid after the last day that counts, which no run takes unless it is told to."""
    day, lines, cents = account.paid_lines()
    last = account.last_paid_day
    late = day > last
    if late.any():
        n = int(lines[late].sum())
        yield Noticed(
            "paid_after_last_day", column_name="paid_date", subject=f"after {date_of(last)}",
            lines=n, paid_cents=int(cents[late].sum()), share=n / int(lines.sum()), size=n,
        )  # fmt: skip


def _by_plan(
    account: Account, table: str, delivered: Mapping[int, Delivered]
) -> dict[str, Counter[int]]:
    """Lines of a table that can be read, by plan and month of service."""
    by_plan: dict[str, Counter[int]] = {}
    for index, _ in account.folder.of(table):
        for (plan, month), n in delivered.get(index, Delivered()).readable.items():
            if month != NO_MONTH and n:
                by_plan.setdefault(plan, Counter())[month] += n
    return by_plan


def _judged(account: Account, counted: list[Counter[int]]) -> range:
    """Months inside the span of all claims, without the first and those still on their way."""
    whole = sum(counted, Counter[int]())
    if not whole:
        return range(0)
    span = [month for month, n in whole.items() if n >= _FEWEST] or list(whole)
    last_paid = account.last_paid_day
    paid_until = max(span) if last_paid == NO_DAY else _month(last_paid)
    return range(min(span) + 1, min(max(span), paid_until - _PENDING) + 1)


def _thin(
    table: str, of: str, counts: Counter[int], judged: range, thin: float
) -> Iterator[Noticed]:
    """Months with few lines for the lesser of the months with lines before and after them."""
    known = sorted(counts)
    before = {month: known[k - 1] for k, month in enumerate(known) if k}
    after = {month: known[k + 1] for k, month in enumerate(known[:-1])}
    for earlier, later in pairwise(known):
        for month in range(earlier + 1, later):
            before[month], after[month] = earlier, later
    for month in judged:
        if month not in before or month not in after:
            continue
        lesser = min(counts[before[month]], counts[after[month]])
        share = counts[month] / lesser
        if lesser >= _FEWEST and share < thin:
            yield Noticed(
                "thin_month",
                table,
                subject=f"{of}, {month_text(month)}: {lesser:,} lines in the lesser of its "
                "neighbours",
                lines=counts[month],
                share=share,
                size=_average(counts, month),
            )


def _average(counts: Counter[int], left: int) -> int:
    """Lines in a month that has any, on average without one of them, which may be the thin one."""
    others = [n for month, n in counts.items() if month != left]
    return sum(others) // len(others)


def _month(day: int) -> int:
    date = date_of(day)
    return date.year * 12 + date.month - 1


def _spelled(months: list[int]) -> str:
    """Months as spans, as in `2023-02, 2023-05 to 2023-08`."""
    starts = [m for k, m in enumerate(months) if not k or months[k - 1] != m - 1]
    ends = [m for k, m in enumerate(months) if k + 1 == len(months) or months[k + 1] != m + 1]
    return ", ".join(
        month_text(first) if first == last else f"{month_text(first)} to {month_text(last)}"
        for first, last in zip(starts, ends, strict=True)
    )
