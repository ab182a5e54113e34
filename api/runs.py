"""Runs: queue one, follow it, cancel it. The dispatcher does the work; no request waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints

from api import queued
from api.auth import RunsReader, RunsWriter
from api.bodies import Name, StrictJsonRoute, moment
from api.contracts import ContractName, recorded_name
from api.lists import PageDep
from api.opened import sees_all
from api.problems import responses
from api.queued import IdempotencyKey
from api.reading import ReadsDep
from api.requests import Resolved, RunRequest, resolved
from api.service import Service, ServiceDep
from api.streams import EVENTS, EventPage, LastEventId, WaitSeconds, awaited, history
from cluster.runs import Run
from cluster.states import State
from ihp_compute.data_quality import GATES
from ihp_compute.errors import DataError
from ihp_compute.folders import MANIFEST
from ihp_compute.results import read_manifest as read_run_manifest

PARTS: Final = ("events", "cancel", "results", "manifest", "report")
"""What there is of every run, below its path."""
MORE: Final[Mapping[State, tuple[str, ...]]] = {
    "succeeded": ("reconciliation", "certify"),
    "failed": ("retry",),
    "cancelled": ("retry",),
    "needs_review": ("accept",),
}
"""What there is of a run in a state."""
_NEWEST: Final = 10
Owner = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictJsonRoute)


class CompletionView(BaseModel):
    """Whether a settlement is INTERIM or final, of which years, and how complete the later one is.

    `methods` are those of the run's contracts (`completion.method`), `interim` the partnerships
    whose settlement is not final.
    """

    base_year: int
    performance_year: int
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
            manifest = read_run_manifest(queued.results_of(service, run))
        except DataError:
            return None
        said = manifest.get("completion")
        if said is None:  # of an earlier version
            return None
        methods = {method for one in said["measurements"] for method in one["methods"]}
        years = {name: manifest[name] for name in ("base_year", "performance_year")}
        return cls.model_validate({**said, **years, "methods": sorted(methods)})


class AcceptedGate(BaseModel):
    """Why a gate that tripped was accepted, by whom and when."""

    reason: str
    owner: str
    at: datetime


class ReviewView(BaseModel):
    """Gates of a run that tripped: those it waits for, with what tripped, and those accepted since.

    To a key without `results:member`, what tripped is what the gate judges, without its numbers.
    """

    waiting: dict[str, str]
    accepted: dict[str, AcceptedGate]

    @classmethod
    def of(cls, run: Run, whole: bool) -> ReviewView | None:
        """The view of what a stored row says; None where no gate tripped."""
        if run.review is None:
            return None
        waiting = run.review["waiting"]
        if not whole:
            waiting = {gate: GATES[gate].judges if gate in GATES else gate for gate in waiting}
        accepted = {
            gate: AcceptedGate(reason=one["reason"], owner=one["owner"], at=moment(one["at_ms"]))
            for gate, one in run.review["accepted"].items()
        }
        return cls(waiting=waiting, accepted=accepted)


class RunView(BaseModel):
    """A run: what was asked, by whom, where it stands, where its results are, whether final.

    `accept` are the gates accepted when it was asked for and since, `review` those that tripped.
    `fingerprint` is the same of runs that come to the same results.
    """

    id: str
    state: State
    owner: str
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
    fingerprint: str | None
    retry_of: str | None
    completion: CompletionView | None
    review: ReviewView | None
    certification: dict[str, Any] | None
    reason: str | None
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, run: Run, service: Service, whole: bool = False) -> RunView:
        """The view of a stored row; folders of the server stay inside."""
        asked = run.request["asked"]
        common = queued.shown(
            run,
            whole=whole,
            folder=run.request["population"],
            name=asked["population"],
            parts=(*PARTS, *MORE.get(run.state, ())),
        )
        more = {
            "accept": run.request["accept"],
            "completion": CompletionView.of(run, service),
            "review": ReviewView.of(run, whole),
        }
        request = RunRequest.model_validate(asked).model_dump()
        places = run.request["contracts"]
        request["contracts"] = list(map(recorded_name, asked["contracts"], places))
        return cls(**{**common, **request, **more})


class RunPage(BaseModel):
    """Runs, newest first; `next_page_token` asks for the ones before."""

    runs: list[RunView]
    next_page_token: str | None


@router.post(
    "",
    status_code=202,
    operation_id="start_run",
    responses=responses(400, 409, 413, 422, 503)
    | {303: {"model": RunView, "description": "A run of the same inputs has succeeded"}},
)
async def start(
    request: RunRequest,
    response: Response,
    idempotency_key: IdempotencyKey,
    principal: RunsWriter,
    service: ServiceDep,
    reads: ReadsDep,
) -> RunView:
    """Queue a run and return at once; follow it at its Location.

    The same Idempotency-Key with the same payload is the same run, however often it is sent. Where
    a run of the same inputs and terms has succeeded, the answer is 303 and its Location, and
    nothing is queued; `force` has it made again.
    """
    asked = request.model_dump(mode="json")
    who = (principal.owner, idempotency_key)
    run = await to_thread.run_sync(queued.known, service, "run", asked, *who)
    if run is None:
        made = await reads.of(resolved, request, service)
        found, new = await to_thread.run_sync(_queued, service, request, made, *who)
        run = found
        if not new:
            response.status_code = 303
            response.headers["Location"] = queued.path_of(run)
            return await to_thread.run_sync(RunView.of, run, service, sees_all(principal))
    queued.point_to(run, response)
    return await to_thread.run_sync(RunView.of, run, service, sees_all(principal))


def _queued(
    service: Service, request: RunRequest, made: Resolved, owner: str, idempotency_key: str
) -> tuple[Run, bool]:
    """The run of a request, queued; or one of the same that succeeded, which is not new."""
    same = None if request.force else succeeded(service, made)
    if same is not None:
        return same, False
    run = queued.submitted(
        service,
        "run",
        request.model_dump(mode="json"),
        made.document,
        owner=owner,
        idempotency_key=idempotency_key,
        labels=made.labels,
    )
    return run, True


def succeeded(service: Service, made: Resolved) -> Run | None:
    """The newest run of the same inputs and terms that succeeded and has its results."""
    fingerprint = made.labels.fingerprint
    for run in service.store.queue.runs(
        "run", limit=_NEWEST, state="succeeded", fingerprint=fingerprint
    ):
        with contextlib.suppress(DataError):
            if (queued.results_of(service, run) / MANIFEST).is_file():
                return run
    return None


@router.get("", operation_id="list_runs", responses=responses(422))
def listed(
    principal: RunsReader,
    service: ServiceDep,
    page: PageDep,
    state: State | None = None,
    owner: Owner | None = None,
    population: Name | None = None,
    contract: ContractName | None = None,
    fingerprint: Fingerprint | None = None,
) -> RunPage:
    """Runs, newest first; of a contract's name those of each of its versions."""
    found, token = queued.page(
        service,
        "run",
        page,
        state=state,
        owner=owner,
        population=population,
        contract=contract,
        fingerprint=fingerprint,
    )
    whole = sees_all(principal)
    return RunPage(runs=[RunView.of(run, service, whole) for run in found], next_page_token=token)


@router.get("/{run_id}", operation_id="show_run", responses=responses(404, 422))
async def show(
    run_id: str,
    request: Request,
    response: Response,
    principal: RunsReader,
    service: ServiceDep,
    wait: WaitSeconds = 0,
) -> RunView:
    """One run. With `wait`, answers once it has ended or waits for a review, or after the time."""
    run = await awaited(request, service, "run", run_id, wait, response)
    return await to_thread.run_sync(RunView.of, run, service, sees_all(principal))


@router.post(
    "/{run_id}/cancel",
    status_code=202,
    operation_id="cancel_run",
    responses={200: {"model": RunView}, **responses(404)},
)
def cancel(
    run_id: str, sent: Request, response: Response, principal: RunsWriter, service: ServiceDep
) -> RunView:
    """Cancel a run of one's own, an operator any. Answers 200 when it has ended already."""
    run = queued.cancelled(service, "run", run_id, sent, response)
    return RunView.of(run, service, sees_all(principal))


@router.get(
    "/{run_id}/events",
    operation_id="run_events",
    response_model=EventPage,
    responses=EVENTS,
)
async def events(
    run_id: str,
    request: Request,
    _principal: RunsReader,
    service: ServiceDep,
    page: PageDep,
    last_event_id: LastEventId = 0,
) -> Response:
    """What happened to a run: a list, or as server-sent events until the run has ended.

    A stream goes on after `Last-Event-ID`.
    """
    return await history(request, service, "run", run_id, page, last_event_id)
