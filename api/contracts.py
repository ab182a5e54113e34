"""Contracts: which there are, and every term with its unit, dates, source and basis.

    shipped · sent to the service, version by version · files that an operator put into the home

A name that was sent stands for its latest version; `NAME@n` is one version for ever. A run records
which it used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field, StringConstraints
from pydantic_core import to_jsonable_python

from api.auth import ContractsReader, ContractsWriter, actor_of
from api.bodies import Name, Strict, StrictJsonRoute, example, moment
from api.contract_texts import VERSION, TextError, check_text, put_beside
from api.lists import PageDep
from api.problems import ConflictError, RequestError, UnknownResultError, responses
from api.service import Service, ServiceDep
from cluster.contract_versions import UnknownVersionError, Version
from ihp_compute import contracts
from ihp_compute.errors import ContractError

router = APIRouter(prefix="/v1/contracts", tags=["contracts"], route_class=StrictJsonRoute)

ContractName = Annotated[str, StringConstraints(min_length=1, max_length=112)]
"""A name, or NAME@n."""
Number = Annotated[int, InPath(ge=1, lt=2**31)]
Toml = Annotated[str, StringConstraints(min_length=1, max_length=500_000)]
Year = Annotated[int | None, Query(ge=1900, le=2200)]
KEPT: Final = "versions"
"""Folder of the home's contracts that has the files of versions."""


class ContractView(BaseModel):
    """A contract or contract set without its terms.

    `version` is that of a contract sent to the service. `refused` says why it cannot be used;
    nothing else is then known for sure.
    """

    name: str
    version: int | None = None
    title: str
    programme: str
    summary: str
    sha256: str
    kind: str = "contract"
    refused: str | None = None


class ContractPage(BaseModel):
    """Contracts by name; `next_page_token` asks for those that follow."""

    contracts: list[ContractView]
    next_page_token: str | None


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


TEXT: Final = """name = "ours-2024"
title = "Track 2, our agreement of 2024"
programme = "mn-ihp"
extends = "mn-ihp-2.0-track-2"
"""
"""How a contract may begin: everything of another, before terms of its own."""


class ContractRequest(Strict):
    """A contract, or a contract set, to keep: its text is TOML and gives itself this name."""

    model_config = example(name="ours-2024", toml=TEXT)

    name: Name
    toml: Toml


class TextRequest(Strict):
    """A text that may be a contract, and the performance year to look at it for."""

    model_config = example(toml=TEXT, year=2024)

    toml: Toml
    year: Annotated[int, Field(strict=True, ge=1900, le=2200)] | None = None


class TextProblem(BaseModel):
    """What is wrong with a text: of which term, in which line, as far as that is known."""

    pointer: str = "/toml"
    term: str | None
    line: int | None
    detail: str


class TextView(BaseModel):
    """Whether a text is a contract; if so what it is, with a gain and a loss settled by it.

    `example` has one row a case, in US dollars, of a target of 60 million; a set has none.
    """

    valid: bool
    errors: list[TextProblem]
    name: str | None = None
    kind: str | None = None
    sha256: str | None = None
    draft_terms: list[str] = []
    newer_terms: list[str] = []
    notes: list[str] = []
    example: list[dict[str, Any]] | None = None


class VersionView(BaseModel):
    """A version of a contract that was sent; its text never changes."""

    name: str
    version: int
    toml_sha256: str
    owner: str
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, held: Version) -> VersionView:
        """The view of a stored row."""
        here = f"/v1/contracts/{held.name}/versions/{held.version}"
        return cls(**vars(held), created_at=moment(held.created_ms), links={"self": here})


class VersionPage(BaseModel):
    """Versions of a contract, newest first; `next_page_token` asks for the ones before."""

    versions: list[VersionView]
    next_page_token: str | None


class VersionTermsView(TermsView):
    """A version with its terms in a year, and its text."""

    owner: str
    created_at: datetime
    toml: str


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


@router.get("", operation_id="list_contracts")
def listed(_principal: ContractsReader, service: ServiceDep, page: PageDep) -> ContractPage:
    """Shipped contracts, those sent to the service in their latest version, and its own files."""
    known = sorted(known_contracts(service).items())
    found, token = page.take(known, lambda item: item[0])
    return ContractPage(contracts=[one.view for _, one in found], next_page_token=token)


@router.post(
    "",
    status_code=201,
    operation_id="keep_contract",
    responses={200: {"model": VersionView}, **responses(409)},
)
def keep(
    body: ContractRequest,
    request: Request,
    response: Response,
    _principal: ContractsWriter,
    service: ServiceDep,
) -> VersionView:
    """Keep a contract as the next version of its name. The latest text again answers 200."""
    known = known_contracts(service)
    if contracts.shipped_name(body.name):
        raise ConflictError("a contract shipped has this name; give yours a name of its own")
    if body.name in known and known[body.name].view.version is None:
        raise ConflictError("a file of the service has this name; give yours a name of its own")
    try:
        checked = check_text(body.toml, _file_of(service))
    except TextError as error:
        at = "" if error.line is None else f"line {error.line}: "
        raise RequestError(f"{at}{error}", "/toml") from error
    if checked.name != body.name:
        raise RequestError("the text gives itself another name; both must be the same", "/name")
    held, new = service.store.contracts.add(body.name, body.toml, by=actor_of(request.scope))
    if not new:
        response.status_code = 200
    view = VersionView.of(held)
    response.headers["Location"] = view.links["self"]
    return view


@router.post("/validate", operation_id="validate_contract", responses=responses(413, 415, 422))
def validate(body: TextRequest, _principal: ContractsReader, service: ServiceDep) -> TextView:
    """Whether a text is a contract, what is wrong where, and what it would pay: nothing is kept."""
    try:
        checked = check_text(body.toml, _file_of(service), body.year)
    except TextError as error:
        problem = TextProblem(term=error.term, line=error.line, detail=str(error))
        return TextView(valid=False, errors=[problem])
    about = {
        name: checked.about[name] for name in ("sha256", "draft_terms", "newer_terms", "notes")
    }
    return TextView(
        valid=True,
        errors=[],
        name=checked.name,
        kind=checked.kind,
        example=to_jsonable_python(checked.example, inf_nan_mode="null"),
        **about,
    )


@router.get("/{name}", operation_id="show_contract", responses=responses(404, 422))
def show(
    name: str, _principal: ContractsReader, service: ServiceDep, year: Year = None
) -> TermsView:
    """One contract with the terms that hold in a year; without it, the latest.

    `NAME@n` is a version. A contract set has no terms of its own: its draft says what those of its
    contracts lack.
    """
    known = known_contracts(service).get(name)
    if known is None:
        raise UnknownResultError("no contract of this name; GET /v1/contracts lists them")
    return _terms(known, year)


@router.get("/{name}/versions", operation_id="list_contract_versions", responses=responses(404))
def versions(
    name: str, _principal: ContractsReader, service: ServiceDep, page: PageDep
) -> VersionPage:
    """The versions of a contract that was sent to the service, newest first."""
    service.store.contracts.find(name)
    before = None if page.after is None else int(page.after)
    held = service.store.contracts.versions(name, limit=page.wanted, before=before)
    found, token = page.cut(held, lambda one: str(one.version))
    return VersionPage(versions=[VersionView.of(one) for one in found], next_page_token=token)


@router.get(
    "/{name}/versions/{number}",
    operation_id="show_contract_version",
    responses=responses(404, 422),
)
def version(
    name: str,
    number: Number,
    _principal: ContractsReader,
    service: ServiceDep,
    year: Year = None,
) -> VersionTermsView:
    """One version of a contract: its terms in a year, and the text that was sent."""
    held = service.store.contracts.find(name, number)
    terms = _terms(_kept(service, held), year)
    return VersionTermsView(
        **vars(terms), owner=held.owner, created_at=moment(held.created_ms), toml=held.toml
    )


def _terms(known: Known, year: int | None) -> TermsView:
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


class KnownContracts(Mapping[str, Known]):
    """Contracts by name; `NAME@n` is found too, though only names are listed.

    A file that takes another's name makes that name unusable.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        found = {name: Known(_view(contracts.load(name)), name) for name in contracts.names()}
        for held in service.store.contracts.latest():
            found[held.name] = _kept(service, held)
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
        self._found = found

    def __getitem__(self, name: str) -> Known:
        """The contract of a name or version; KeyError if there is none."""
        if name in self._found:
            return self._found[name]
        named = VERSION.fullmatch(name)
        if named is None:
            raise KeyError(name)
        try:
            held = self._service.store.contracts.find(named["name"], int(named["version"]))
        except UnknownVersionError:
            raise KeyError(name) from None
        return _kept(self._service, held)

    def __iter__(self) -> Iterator[str]:
        """Names, without versions."""
        return iter(self._found)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._found)


def known_contracts(service: Service) -> KnownContracts:
    """Contracts by name, as they stand now."""
    return KnownContracts(service)


def recorded_name(name: str, place: str) -> str:
    """What a run says it used: NAME@n of a contract that was sent, whatever name it was asked by.

    >>> recorded_name("own", "contracts/versions/own@3.toml")
    'own@3'
    """
    path = Path(place)
    return path.stem if path.parent.name == KEPT else name


def _file_of(service: Service) -> Callable[[str, int, Path], Path]:
    """Makes the file of a kept version in a folder."""

    def make(name: str, number: int, folder: Path) -> Path:
        try:
            return service.store.contracts.find(name, number).file(folder)
        except UnknownVersionError as error:
            raise LookupError(str(error)) from error

    return make


def _kept(service: Service, held: Version) -> Known:
    """A version that was sent, as a file of the home."""
    path = held.file(service.home.contracts / KEPT)
    if "@" in held.toml:  # it may rest on others
        put_beside(path, _file_of(service))
    known = _read_once(path, held.toml_sha256)
    return replace(known, view=known.view.model_copy(update={"version": held.version}))


@lru_cache(maxsize=1024)
def _read_once(path: Path, _sha256: str) -> Known:
    """A file of a version: its text and what it rests on stay what they are."""
    return _own(path)


def _own(path: Path) -> Known:
    """A file of the service, under the name that it gives itself; under its own if it has none."""
    try:
        checked = contracts.check(path)
        if checked["kind"] == "set":
            view = ContractView(
                name=checked["name"],
                title="Contract set",
                programme="",
                summary="",
                sha256=checked["sha256"],
                kind="set",
            )
            return Known(view, path)
        return Known(_view(contracts.load(path)), path)
    except ContractError as error:
        name = contracts.name_of(path)
        view = ContractView(
            name=name, title="", programme="", summary="", sha256="", refused=str(error)
        )
        return Known(view, path)


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
