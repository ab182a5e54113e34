"""What a population holds and what was noticed of it: whole, or as everybody may see it.

    the registered folder -> counts, once for its digest, kept in the home -> may they see all?
        -> small counts pooled with the next larger, so that no sum tells them

Without `results:member` no count of people from 1 to 10 is shown, nor what stands on so few: a year
or month of few people is pooled with others, and within it a rate cell or category; of findings
names, gates and larger numbers of lines are told, and no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.audit import note
from api.auth import PopulationsReader, Principal
from api.making import making_of
from api.opened import sees_all
from api.populations import folder_of
from api.problems import ConflictError, responses
from api.reading import Reads, ReadsDep
from api.service import Service, ServiceDep
from cluster.registry import Registered
from ihp_compute.errors import DataError
from ihp_compute.population import Population, open_population, profile
from ihp_compute.publishing import whole
from ihp_compute.results import SMALL_CELL, is_small, without_small

POOLED: Final = "pooled"
COUNT_S: Final = 10.0
"""How long a request waits for a population to be counted."""

router = APIRouter(prefix="/v1/populations/{name}", tags=["populations"])


class Enrolment(BaseModel):
    """People of a rate cell in a year, and their months; `pooled` stands for several."""

    year: int | str
    rate_cell: str
    members: int | None
    member_months: int


class Claims(BaseModel):
    """Lines of a category in a month of service, their dollars and whose they are."""

    month: str
    category: str
    members: int | None
    lines: int
    paid_cents: int


class Missing(BaseModel):
    """How many rows of a column hold nothing."""

    table: str
    column: str
    rows: int
    missing: int | None
    share: float | None


class ProfileView(BaseModel):
    """What a population holds. `suppressed`: small counts are pooled or null."""

    population: str
    population_digest: str
    suppressed: bool
    members: int | None
    member_months: int | None
    first_month: str | None
    last_month: str | None
    last_paid_day: str | None
    enrolment: list[Enrolment]
    claims: list[Claims]
    missing: list[Missing]


class FindingView(BaseModel):
    """What an ingest noticed. What tells of single rows is null to who may not see them."""

    source_table: str
    file: str | None
    column_name: str
    finding: str
    lines: int | None
    paid_cents: int | None
    share: float | None
    gate: str
    tripped: bool
    subject: str | None
    accepted: str | None
    members: int | None
    detail: str | None


class Account(BaseModel):
    """Lines of a fate at ingest and their dollars; `pooled` stands for several fates."""

    source_table: str
    file: str | None
    fate: str
    lines: int
    paid_cents: int


class QualityView(BaseModel):
    """What was noticed of a population's input, and where each line and dollar went."""

    population: str
    population_digest: str
    suppressed: bool
    findings: list[FindingView]
    ledger: list[Account]


@router.get("/profile", operation_id="show_population_profile", responses=responses(404, 409, 503))
async def show_profile(
    name: str,
    request: Request,
    response: Response,
    principal: PopulationsReader,
    service: ServiceDep,
) -> ProfileView:
    """Members and months by year and rate cell, lines and dollars by month and category.

    The first answer for a large population takes a while: 503 says when to ask again.
    """
    return await profile_of(name, request, response, principal, service, limit_s=COUNT_S)


async def profile_of(
    name: str,
    request: Request,
    response: Response,
    principal: Principal,
    service: Service,
    *,
    limit_s: float,
) -> ProfileView:
    """What a population holds, as who asks may see it; errors as `counted`."""
    held = await to_thread.run_sync(service.store.registry.find, name)
    found = await counted(request, service, held, limit_s=limit_s)
    await _told(request, response, principal, held, "profile")
    if not sees_all(principal):
        found = open_profile(found)
    missing = [row | {"share": _share(row["missing"], row["rows"])} for row in found.pop("missing")]
    return ProfileView(
        population=held.name,
        population_digest=held.population_digest,
        suppressed=not sees_all(principal),
        missing=missing,
        **{key: value for key, value in found.items() if key in ProfileView.model_fields},
    )


@router.get("/quality", operation_id="show_population_quality", responses=responses(404, 409, 503))
async def show_quality(
    name: str,
    request: Request,
    response: Response,
    principal: PopulationsReader,
    service: ServiceDep,
    reads: ReadsDep,
) -> QualityView:
    """The findings of the ingest that made a population, and its ledger."""
    held = await to_thread.run_sync(service.store.registry.find, name)
    findings, ledger = await reads.of(_noticed, service, held)
    await _told(request, response, principal, held, "quality")
    if not sees_all(principal):
        findings, ledger = open_findings(findings), open_ledger(ledger)
    return QualityView(
        population=held.name,
        population_digest=held.population_digest,
        suppressed=not sees_all(principal),
        findings=[FindingView(**row) for row in findings],
        ledger=[Account(**row) for row in ledger],
    )


async def _told(
    request: Request, response: Response, principal: Principal, held: Registered, what: str
) -> None:
    """Keep that somebody reads whole counts; what is given depends on the key."""
    response.headers["Vary"] = "Accept, Authorization"
    if sees_all(principal):
        await to_thread.run_sync(
            lambda: note(request, "member_rows_read", result_table=what, subject=held.name)
        )


def _opened(service: Service, held: Registered) -> Population:
    """The folder of a registered population, if it holds what it did.

    Raises
    ------
    ConflictError
    """
    path = folder_of(service.settings, held.location, held.prefix)
    try:
        population = open_population(path)
    except DataError as error:
        raise ConflictError(str(error).replace(str(path), held.name)) from error
    if population.digest != held.population_digest:
        raise ConflictError(
            f"population {held.name} holds other content than when it was registered; "
            "register it again under another name"
        )
    return population


async def counted(
    request: Request, service: Service, held: Registered, *, limit_s: float
) -> dict[str, Any]:
    """The whole profile of a population, counted once for its content and kept.

    Raises
    ------
    BusyError
        If that takes longer; it is counted all the same.
    """
    reads: Reads = request.app.state.reads
    population = await reads.of(_opened, service, held)
    kept = service.home.path / "profiles" / f"{population.digest}.json"

    def make() -> None:
        found = _counts(population, held)
        with whole(kept) as draft:
            draft.write_text(json.dumps(found), encoding="utf-8")

    def is_there() -> bool:
        return _read(kept) is not None

    await making_of(request).of(kept, make, is_there=is_there, limit_s=limit_s)
    return await reads.of(_read, kept) or {}


def _counts(population: Population, held: Registered) -> dict[str, Any]:
    try:
        return profile(population)
    except DataError as error:
        raise ConflictError(str(error).replace(str(population.path), held.name)) from error


def _read(kept: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _noticed(
    service: Service, held: Registered
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    population = _opened(service, held)
    try:
        return population.data_quality().to_pylist(), population.manifest["ledger"]
    except DataError as error:
        raise ConflictError(str(error).replace(str(population.path), held.name)) from error


def open_profile(found: Mapping[str, Any]) -> dict[str, Any]:
    """A profile as everybody may see it."""
    if is_small(found["members"]):
        empty: dict[str, list[Any]] = {"enrolment": [], "claims": [], "missing": []}
        return {**found, **empty, "members": None, "member_months": None,
                "first_month": None, "last_month": None, "last_paid_day": None}  # fmt: skip
    return {
        **found,
        "enrolment": _pooled(
            found["enrolled"], found["enrolment"], ("year", "rate_cell"), ("member_months",)
        ),
        "claims": _pooled(
            found["claiming"], found["claims"], ("month", "category"), ("lines", "paid_cents")
        ),
        "first_month": None,
        "last_month": None,
        "missing": [
            row | {"missing": None}
            if is_small(row["missing"]) or is_small(row["rows"] - row["missing"])
            else row
            for row in found["missing"]
        ],
    }


def _pooled(
    outer: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    keys: tuple[str, str],
    sums: Sequence[str],
) -> list[dict[str, Any]]:
    """Rows by two keys: few people of the first stand with others of it, then of the second."""
    first, second = keys
    alone, together = without_small(outer, ["members"])
    found: list[dict[str, Any]] = []
    for one in alone:
        of = [row for row in rows if row[first] == one[first]]
        shown, hidden = without_small(of, ["members"])
        found += [dict(row) for row in shown]
        if hidden:
            found.append({first: one[first], **_sum(hidden, second, sums)})
    names = {one[first] for one in together}
    if any(one["members"] > SMALL_CELL for one in together):
        of = [row for row in rows if row[first] in names]
        found.append({first: POOLED, **_sum(of, second, sums)})
    return found


def _sum(rows: Iterable[Mapping[str, Any]], key: str, sums: Sequence[str]) -> dict[str, Any]:
    rows = list(rows)
    return {key: POOLED, "members": None, **{name: sum(row[name] for row in rows) for name in sums}}


def open_findings(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings as everybody may see them: over all files, without what names or counts a few."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = row["source_table"], row["column_name"], row["finding"], row["gate"]
        held = found.setdefault(
            key,
            dict.fromkeys(FindingView.model_fields)
            | dict(zip(("source_table", "column_name", "finding", "gate"), key, strict=True))
            | {"lines": 0, "tripped": False},
        )
        held["lines"] += row["lines"]
        held["tripped"] |= row["tripped"]
    for held in found.values():
        if is_small(abs(held["lines"])):
            held["lines"] = None
    return list(found.values())


def open_ledger(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A ledger as everybody may see it: over all files, fates of few lines as one."""
    by: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        fates = by.setdefault(row["source_table"], {})
        held = fates.setdefault(row["fate"], {"fate": row["fate"], "lines": 0, "paid_cents": 0})
        held["lines"] += row["lines"]
        held["paid_cents"] += row["paid_cents"]
    found = []
    for table, fates in by.items():
        alone, together = without_small(list(fates.values()), ["lines"])
        shown = [dict(row) for row in alone]
        lines = sum(row["lines"] for row in together)
        if lines > SMALL_CELL:
            cents = sum(row["paid_cents"] for row in together)
            shown.append({"fate": POOLED, "lines": lines, "paid_cents": cents})
        found += [{"source_table": table, "file": None, **row} for row in shown]
    return found


def _share(missing: int | None, rows: int) -> float | None:
    """The part of a column's rows that hold nothing; null where that would tell few."""
    return None if missing is None or not rows else missing / rows
