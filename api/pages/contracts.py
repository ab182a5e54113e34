"""Contracts in a browser: each term with unit, dates, basis and source, and what it would pay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api import contracts
from api.auth import ContractsReader
from api.contracts import Year, known_contracts
from api.pages.frame import PageRoute, page
from api.service import ServiceDep
from ihp_compute import contracts as contract
from ihp_compute.settlement import exhibit

router = APIRouter(prefix="/contracts", route_class=PageRoute, include_in_schema=False)


@router.get("")
def listed(request: Request, _principal: ContractsReader, service: ServiceDep) -> HTMLResponse:
    """Every contract and contract set."""
    known = known_contracts(service)
    return page(request, "contracts.html", contracts=[known[name].view for name in sorted(known)])


@router.get("/{name}")
def show(
    name: str, request: Request, principal: ContractsReader, service: ServiceDep, year: Year = None
) -> HTMLResponse:
    """One contract in a year, the latest unless given."""
    about = contracts.show(name, principal, service, year)
    place = known_contracts(service)[name].usable()
    values: list[Any] = []
    example = None
    if about.kind != "set":
        held = contract.load(place)
        values = held.at(year).terms()
        example = exhibit.example(held, year)
    return page(
        request,
        "contract.html",
        contract=about,
        year=year,
        values=[(value, in_words(value.value)) for value in values],
        example=example,
        toml=Path(place).read_text(encoding="utf-8") if isinstance(place, Path) else None,
    )


def in_words(value: Any) -> str:
    """A term's value in words.

    >>> in_words(None), in_words(["a", "b"]), in_words({"x": 1})
    ('none', 'a, b', 'x: 1')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {in_words(one)}" for name, one in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(in_words(one) for one in value) or "none"
    return str(value)
