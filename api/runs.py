"""Runs: queue one, follow it, cancel it. The dispatcher does the work; no request waits for it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints, field_validator

from api import queued
from api.auth import RunsReader, RunsWriter
from api.bodies import Name, Strict, StrictJsonRoute
from api.contracts import ContractName, Known, known_contracts
from api.populations import folder_of
from api.problems import ConflictError, RequestError, responses
from api.queued import EventView, IdempotencyKey, LastEventId, PageSize, WaitSeconds
from api.service import Service, ServiceDep
from cluster.registry import UnknownPopulationError
from cluster.runs import Run, UnknownRunError
from cluster.states import State
from ihp_compute import contracts as contract
from ihp_compute import pipeline
from ihp_compute.data_quality import RUN, GateTerms
from ihp_compute.errors import AcceptanceError, ContractError, DataError
from ihp_compute.measure import statement_of
from ihp_compute.population import read_manifest
from ihp_compute.results import read_manifest as read_run_manifest

OPTIONS: Final = pipeline.RunRequest.options()

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictJsonRoute)


def _whole(name: str) -> Any:
    """A whole number within the limits of an option of a run."""
    limits = OPTIONS[name].limits
    return Field(strict=True, ge=limits.get("ge"), le=limits.get("le"), lt=limits.get("lt"))


class RunRequest(Strict):
    """A recalculation to make; what is left out follows the contracts, else the population."""

    population: Name
    contracts: Annotated[list[ContractName], Field(min_length=1, max_length=200)]
    performance_year: Annotated[int, _whole("performance_year")] | None = None
    base_year: Annotated[int, _whole("base_year")] | None = None
    paid_through: date | None = None
    replicates: Annotated[int, _whole("replicates")] = pipeline.RunRequest.replicates
    seed: Annotated[int, _whole("seed")] = pipeline.RunRequest.seed
    accept: dict[str, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict
    )
    statement: dict[str, str] = Field(default_factory=dict)
    earlier: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    programme: str = pipeline.RunRequest.programme

    @field_validator("statement")
    @classmethod
    def _of_fields(cls, value: dict[str, str]) -> dict[str, str]:
        return statement_of(value)

    @field_validator("programme")
    @classmethod
    def _shipped(cls, value: str) -> str:
        if value not in contract.programmes():
            raise ValueError(f"expected {' or '.join(contract.programmes())}")
        return value

    @field_validator("contracts", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class CompletionView(BaseModel):
    """Whether a settlement is INTERIM or final, and how complete its performance year is.

    `methods` are those of the run's contracts (`completion.method`), `interim` the partnerships
    whose settlement is not final.
    """

    status: str
    methods: list[str]
    interim: list[str]
    run_out_months: int | None
    ratio: str | None

    @classmethod
    def of(cls, run: Run, service: Service) -> CompletionView | None:
        """What the manifest of a run that succeeded says; None of any other."""
        if run.state != "succeeded":
            return None
        try:
            manifest = read_run_manifest(service.home.attempt(run.id, run.attempt))
        except DataError:
            return None
        said = manifest["completion"]
        methods = {method for one in said["measurements"] for method in one["methods"]}
        return cls.model_validate({**said, "methods": sorted(methods)})


class RunView(BaseModel):
    """A run: what was asked, where it stands, where its results are, whether they are final."""

    id: str
    state: State
    population: str
    contracts: list[str]
    performance_year: int | None
    base_year: int | None
    paid_through: date | None
    replicates: int
    seed: int
    accept: dict[str, str]
    statement: dict[str, str]
    earlier: tuple[str, ...]
    programme: str
    shards_done: int
    shards_total: int
    cancel_requested: bool
    attempt: int
    digest: str | None
    completion: CompletionView | None
    reason: str | None
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, run: Run, service: Service) -> RunView:
        """The view of a stored row; folders of the server stay inside."""
        asked = run.request["asked"]
        common = queued.shown(
            run,
            folder=run.request["population"],
            name=asked["population"],
            parts=("events", "cancel", "results", "manifest", "report"),
        )
        completion = CompletionView.of(run, service)
        request = RunRequest.model_validate(asked).model_dump()
        return cls(**{**common, **request, "completion": completion})


class RunPage(BaseModel):
    """Runs, newest first; `next_page_token` asks for the ones before."""

    runs: list[RunView]
    next_page_token: str | None


@router.post(
    "", status_code=202, operation_id="start_run", responses=responses(400, 409, 413, 422, 503)
)
def start(
    request: RunRequest,
    response: Response,
    idempotency_key: IdempotencyKey,
    principal: RunsWriter,
    service: ServiceDep,
) -> RunView:
    """Queue a run and return at once; follow it at its Location.

    The same Idempotency-Key with the same payload is the same run, however often it is sent.
    """
    run = queued.submitted(
        service,
        "run",
        request.model_dump(mode="json"),
        _resolved(request, service),
        owner=principal.owner,
        idempotency_key=idempotency_key,
        response=response,
    )
    return RunView.of(run, service)


def _resolved(request: RunRequest, service: Service) -> dict[str, Any]:
    """The parts of a request that name things of the server, as the dispatcher needs them."""
    limit = service.settings.max_replicates
    if request.replicates > limit:
        raise RequestError(f"more than {limit} replicates; ask for fewer", "/replicates")
    try:
        held = service.store.registry.find(request.population)
    except UnknownPopulationError as error:
        raise RequestError(str(error), "/population") from error
    path = folder_of(service.settings, held.location, held.prefix)
    try:
        digest = read_manifest(path)["population_digest"]
    except DataError as error:
        raise ConflictError(str(error).replace(str(path), held.name)) from error
    if digest != held.population_digest:
        raise ConflictError(
            f"population {held.name} holds other content than when it was registered; "
            "register it again under another name"
        )
    try:
        GateTerms(accept=request.accept, work=RUN)
    except AcceptanceError as error:
        raise RequestError(str(error), "/accept") from error
    try:
        contract.the_one(request.contracts)
    except ContractError as error:
        raise RequestError(str(error), "/contracts") from error
    known = known_contracts(service)
    contracts = [_contract(request, n, known) for n in range(len(request.contracts))]
    asked = request.model_dump(mode="json")
    earlier = [_folder(service, run_id, n) for n, run_id in enumerate(request.earlier)]
    resolved = {**asked, "population": str(path), "contracts": contracts, "earlier": earlier}
    return pipeline.RunRequest.of(resolved).document()


def _folder(service: Service, run_id: str, position: int) -> str:
    """Where an earlier run that is to be netted has its results."""
    try:
        return str(queued.finished(service, "run", run_id)[1])
    except UnknownRunError as error:
        raise RequestError(str(error), f"/earlier/{position}") from error


def _contract(request: RunRequest, position: int, known: dict[str, Known]) -> str:
    """A contract's name or file, checked: what a run would refuse of it is refused now."""
    name, pointer = request.contracts[position], f"/contracts/{position}"
    if name not in known:
        raise RequestError("no contract of this name; GET /v1/contracts lists them", pointer)
    try:
        place = known[name].usable()
        if isinstance(place, Path):
            contract.check(place, request.performance_year, request.base_year)
        else:
            contract.load(place).at(request.performance_year)
    except ContractError as error:
        raise RequestError(str(error), pointer) from error
    return str(place)


@router.get("", operation_id="list_runs", responses=responses(422))
def listed(
    _principal: RunsReader,
    service: ServiceDep,
    state: State | None = None,
    limit: PageSize = 50,
    page_token: str | None = None,
) -> RunPage:
    """Runs, newest first."""
    found, token = queued.page(service, "run", limit=limit, before=page_token, state=state)
    return RunPage(runs=[RunView.of(run, service) for run in found], next_page_token=token)


@router.get("/{run_id}", operation_id="show_run", responses=responses(404, 422))
async def show(
    run_id: str,
    response: Response,
    _principal: RunsReader,
    service: ServiceDep,
    wait: WaitSeconds = 0,
) -> RunView:
    """One run. With `wait`, answers as soon as it has ended, or after so many seconds."""
    run = await queued.awaited(service, "run", run_id, wait, response)
    return await to_thread.run_sync(RunView.of, run, service)


@router.post(
    "/{run_id}/cancel", status_code=202, operation_id="cancel_run", responses=responses(404)
)
def cancel(run_id: str, response: Response, principal: RunsWriter, service: ServiceDep) -> RunView:
    """Cancel a run. Answers 200 when it has ended already, whichever way."""
    run = queued.cancelled(service, "run", run_id, principal.owner, response)
    return RunView.of(run, service)


@router.get(
    "/{run_id}/events",
    operation_id="run_events",
    response_model=list[EventView],
    responses=responses(404),
)
def events(
    run_id: str,
    request: Request,
    _principal: RunsReader,
    service: ServiceDep,
    last_event_id: LastEventId = 0,
) -> Response:
    """What happened to a run: a list, or as server-sent events until the run has ended.

    A stream goes on after `Last-Event-ID`.
    """
    return queued.history(service, "run", run_id, request, last_event_id)
