"""Contracts: which there are, and every term with its unit, dates, source and basis."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from api.auth import ContractsReader
from api.problems import UnknownResultError, responses
from api.service import Service, ServiceDep
from ihp_compute import contracts

router = APIRouter(prefix="/v1/contracts", tags=["contracts"])


class ContractView(BaseModel):
    """A contract without its terms."""

    name: str
    title: str
    programme: str
    summary: str
    sha256: str


class TermView(BaseModel):
    """One term as it stands in a year."""

    path: str
    value: Any
    unit: str
    basis: str
    citation: str


class TermsView(ContractView):
    """A contract with its terms in a year, recalled and assumed ones first named."""

    draft: str
    terms: list[TermView]


@router.get("", operation_id="list_contracts", responses=responses())
def listed(_principal: ContractsReader, service: ServiceDep) -> list[ContractView]:
    """Shipped contracts and the service's own."""
    return [_view(contracts.load(place)) for place in _places(service).values()]


@router.get("/{name}", operation_id="show_contract", responses=responses(404, 422))
def show(
    name: str,
    _principal: ContractsReader,
    service: ServiceDep,
    year: Annotated[int | None, Query(ge=1900, le=2200)] = None,
) -> TermsView:
    """One contract with the terms that hold in a year; without it, the latest."""
    place = _places(service).get(name)
    if place is None:
        raise UnknownResultError("no contract of this name; GET /v1/contracts lists them")
    found = contracts.load(place)
    agreement = found.at(year)
    return TermsView(
        **vars(_view(found)),
        draft=agreement.draft_line(),
        terms=[
            TermView(
                path=value.path,
                value=to_jsonable_python(value.value),
                unit=value.unit,
                basis=value.basis,
                citation=value.citation,
            )
            for value in agreement.terms()
        ],
    )


def _places(service: Service) -> dict[str, str | Path]:
    own = {path.stem: path for path in sorted(service.home.contracts.glob("*.toml"))}
    return {**{name: name for name in contracts.names()}, **own}


def _view(found: contracts.Contract) -> ContractView:
    return ContractView(
        name=found.name,
        title=found.title,
        programme=found.programme,
        summary=found.summary,
        sha256=found.sha256,
    )
