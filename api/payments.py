"""Population-based payments: a quarter, or the true-up of a year, read from a population.

    which period? -> population and contract -> what is paid, made once and kept
        -> may they see all? -> whole, else without rows of few people -> in the form they accept

What was made is kept under a name of all that it rests on, so the same is never made twice; who
asks for a whole state's first payment waits for it.
"""

from __future__ import annotations

import hashlib
import json
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from api.audit import note
from api.auth import RunsReader
from api.bodies import Day
from api.contracts import ContractName, known_contracts
from api.making import making_of
from api.opened import MEMBER_SCOPE, sees_all
from api.parameters import refused
from api.populations import folder_of
from api.problems import ConflictError
from api.reading import ReadsDep
from api.representations import TABLE, RowsDep, table_response
from api.service import Service, ServiceDep
from ihp_compute import METHOD_VERSION
from ihp_compute.codes import COMPARISON
from ihp_compute.contracts import load_set
from ihp_compute.errors import ContractError, DataError, IhpError
from ihp_compute.payments import PBP, Period, pay
from ihp_compute.population import open_population
from ihp_compute.publishing import whole
from ihp_compute.results import hidden_rows
from ihp_compute.table_files import read_table, write_table

router = APIRouter(prefix="/v1/populations/{name}/payments", tags=["populations"])


@router.get(
    "",
    operation_id="read_payments",
    response_class=Response,
    responses=TABLE,
)
async def read(
    name: str,
    contract: Annotated[ContractName, Query(description="A contract or contract set, by name.")],
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    rows: RowsDep,
    quarter: Annotated[
        str | None, Query(description="The quarter to pay, as 2024Q3.", max_length=10)
    ] = None,
    true_up: Annotated[
        int | None, Query(description="The year to true up.", ge=1900, le=2200)
    ] = None,
    paid_through: Annotated[
        Day | None, Query(description="Visits and diagnoses paid later are not known.")
    ] = None,
) -> Response:
    """What is paid for a quarter, or trued up of a year, by partnership and payer.

    Give one of `quarter` and `true_up`. To a key without `results:member` rows of few people, and
    those that would tell them, are null but for their keys, and `paid_through` ends a month: what
    two neighbouring days pay differs by few people.
    """
    whole_rows = sees_all(principal)
    if paid_through is not None and not (whole_rows or paid_through == _month_end(paid_through)):
        raise refused(
            "paid_through",
            f"expected the last day of a month, as {_month_end(paid_through)}, of a key without "
            f"{MEMBER_SCOPE}: payments of neighbouring days differ by few people",
        )
    asked = await reads.of(_asked, service, name, contract, _period(quarter, true_up), paid_through)
    path = asked.whole if whole_rows else asked.opened
    await making_of(request).of(path, lambda: _make(asked))
    if whole_rows:
        await to_thread.run_sync(
            lambda: note(
                request, "member_rows_read", result_table="payments", subject=asked.population
            )
        )
    return await table_response(request, path, rows, whole=whole_rows)


@dataclass(frozen=True)
class _Asked:
    """What is to be paid, and the files that it is kept in."""

    population: str
    folder: Path
    contract: str
    period: Period
    paid_through: date | None
    whole: Path

    @property
    def opened(self) -> Path:
        """The file for who may not see rows of few people."""
        return self.whole.with_name(f"open-{self.whole.name}")


def _period(quarter: str | None, true_up: int | None) -> Period:
    """The period asked for.

    Raises
    ------
    RequestValidationError
    """
    if (quarter is None) == (true_up is None):
        raise refused("quarter", "expected a quarter to pay or a year to true up, one of both")
    if quarter is None:
        return Period(int(true_up or 0))
    try:
        return Period.of_quarter(quarter)
    except ValueError:
        raise refused("quarter", "expected a year and a quarter, as in 2024Q3") from None


def _month_end(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def _asked(
    service: Service, name: str, contract: str, period: Period, paid_through: date | None
) -> _Asked:
    """What a request is for, and under which names of all that it rests on it is kept.

    Raises
    ------
    RequestValidationError
        If the contract is unknown or refused.
    ConflictError
        If the population's folder holds other content than was registered.
    """
    held = service.store.registry.find(name)
    folder = folder_of(service.settings, held.location, held.prefix)
    known = known_contracts(service).get(contract)
    if known is None:
        raise refused("contract", "no contract of this name; GET /v1/contracts lists them")
    try:
        population = open_population(folder)
        roster = population.reference("provider_roster")
    except DataError as error:
        raise ConflictError(str(error).replace(str(folder), held.name)) from error
    if population.digest != held.population_digest:
        raise ConflictError(
            f"population {held.name} holds other content than when it was registered; register it "
            "again under another name"
        )
    if roster is None:
        raise ConflictError(f"population {held.name} has no provider_roster: nobody is attributed")
    names = set(roster.column("partnership_id").to_pylist()) - {COMPARISON}
    try:
        place = str(known.usable())
        terms = load_set((place,), sorted(names)).sha256
    except ContractError as error:
        raise refused("contract", str(error)) from error
    rests_on = (population.digest, terms, str(period), str(paid_through), METHOD_VERSION)
    kept = hashlib.sha256(json.dumps(rests_on).encode()).hexdigest()
    path = service.home.payments / kept / "payments.parquet"
    return _Asked(held.name, folder, place, period, paid_through, path)


def _make(asked: _Asked) -> None:
    """Make the files of a payment that are not there yet.

    Raises
    ------
    RequestValidationError
        If nothing can be paid.
    """
    if not asked.whole.is_file():
        try:
            paid = pay(
                asked.folder, (asked.contract,), asked.period, paid_through=asked.paid_through
            )
        except IhpError as error:
            words = str(error).replace(str(asked.folder), asked.population)
            raise refused("contract", words) from error
        _keep(paid.table, asked.whole)
    if not asked.opened.is_file():
        _keep(_open_form(read_table(asked.whole)), asked.opened)


def _open_form(table: pa.Table) -> pa.Table:
    """The table with rows of few people, and those that would tell them, keys and no more."""
    keys = list(zip(*(table.column(name).to_pylist() for name in PBP.keys), strict=True))
    hidden = hidden_rows(keys, table.column("n_members").to_pylist())
    columns = [
        column
        if field.name in PBP.keys
        else pc.if_else(pa.array(hidden), pa.scalar(None, field.type), column)
        for field, column in zip(PBP.arrow, table.columns, strict=True)
    ]
    fields = [field.with_nullable(field.name not in PBP.keys) for field in PBP.arrow]
    return pa.table(columns, schema=pa.schema(fields))


def _keep(table: pa.Table, path: Path) -> None:
    with whole(path) as draft:
        write_table(table, draft)
