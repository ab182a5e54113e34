"""Contracts: which there are, and every term with its unit, dates, source and basis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, StringConstraints
from pydantic_core import to_jsonable_python

from api.auth import ContractsReader
from api.problems import UnknownResultError, responses
from api.service import Service, ServiceDep
from ihp_compute import contracts
from ihp_compute.errors import ContractError

router = APIRouter(prefix="/v1/contracts", tags=["contracts"])

ContractName = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class ContractView(BaseModel):
    """A contract or contract set without its terms.

    `refused` says why it cannot be used; nothing else is then known for sure.
    """

    name: str
    title: str
    programme: str
    summary: str
    sha256: str
    kind: str = "contract"
    refused: str | None = None


class TermView(BaseModel):
    """One term as it stands in a year."""

    path: str
    value: Any
    unit: str
    basis: str
    citation: str


class TermsView(ContractView):
    """A contract with its terms in a year; those without a document are named first.

    `newer` names terms that a file does not know, which stand as in `unbound`.
    """

    draft: str
    newer: str
    terms: list[TermView]


@dataclass(frozen=True)
class Known:
    """A contract that may be named: its view, and its name if shipped, else its file."""

    view: ContractView
    place: str | Path

    def usable(self) -> str | Path:
        """Name or file.

        Raises
        ------
        ContractError
            If it is refused.
        """
        if self.view.refused is not None:
            raise ContractError(self.view.refused)
        return self.place


@router.get("", operation_id="list_contracts", responses=responses())
def listed(_principal: ContractsReader, service: ServiceDep) -> list[ContractView]:
    """Shipped contracts and the service's own, by the names that start them."""
    return [known.view for known in known_contracts(service).values()]


@router.get("/{name}", operation_id="show_contract", responses=responses(404, 422))
def show(
    name: str,
    _principal: ContractsReader,
    service: ServiceDep,
    year: Annotated[int | None, Query(ge=1900, le=2200)] = None,
) -> TermsView:
    """One contract with the terms that hold in a year; without it, the latest.

    A contract set has no terms of its own: its draft says what those of its contracts lack.
    """
    known = known_contracts(service).get(name)
    if known is None:
        raise UnknownResultError("no contract of this name; GET /v1/contracts lists them")
    place = known.usable()
    if known.view.kind == "set":
        checked = contracts.check(Path(place), year)
        draft, newer = ("\n".join(checked[f"{which}_terms"]) for which in ("draft", "newer"))
        return TermsView(**vars(known.view), draft=draft, newer=newer, terms=[])
    agreement = contracts.load(place).at(year)
    return TermsView(
        **vars(known.view),
        draft=agreement.draft_line(),
        newer=agreement.contract.newer_line,
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


def known_contracts(service: Service) -> dict[str, Known]:
    """Contracts by name. A file that takes another's name makes that name unusable."""
    found = {name: Known(_view(contracts.load(name)), name) for name in contracts.names()}
    for path in sorted(service.home.contracts.glob("*.toml")):
        own = _own(path)
        other = found.get(own.view.name)
        if other is None:
            found[own.view.name] = own
        elif own.view.refused is not None:
            found[own.view.name] = _refused(other, own.view.refused)
        elif other.view.sha256 != own.view.sha256:
            words = f"{path.name}: another contract has its name, {own.view.name}; rename one"
            found[own.view.name] = _refused(other, words)
    return found


def _own(path: Path) -> Known:
    """A file of the service, under the name that it gives itself; under its own if it has none."""
    try:
        checked = contracts.check(path)
        if checked["kind"] == "set":
            words = {"title": "Contract set", "programme": "", "summary": ""}
            named = {key: checked[key] for key in ("name", "sha256", "kind")}
            return Known(ContractView(**words, **named), path)
        return Known(_view(contracts.load(path)), path)
    except ContractError as error:
        name = contracts.name_of(path)
        nothing = dict.fromkeys(("title", "programme", "summary", "sha256"), "")
        return Known(ContractView(name=name, **nothing, refused=str(error)), path)


def _refused(known: Known, words: str) -> Known:
    return replace(known, view=known.view.model_copy(update={"refused": words}))


def _view(found: contracts.Contract) -> ContractView:
    return ContractView(
        name=found.name,
        title=found.title,
        programme=found.programme,
        summary=found.summary,
        sha256=found.sha256,
    )
