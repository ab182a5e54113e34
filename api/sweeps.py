"""Sweeps: queue a grid of terms over a finished run's totals, follow it, read its rows.

They wait in the queue of the runs and are worked on by the same dispatcher. The size of a grid is
known, and refused, before anything is queued.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from api import queued
from api.auth import Principal, RunsReader, RunsWriter
from api.bodies import Strict, StrictJsonRoute, example
from api.lists import PageDep
from api.opened import open_sweep, sees_all
from api.problems import ConflictError, RequestError, UnknownResultError, responses
from api.queued import IdempotencyKey
from api.reading import Reads, ReadsDep
from api.representations import TABLE, RowsDep, table_response
from api.service import Service, ServiceDep
from api.streams import EVENTS, EventPage, LastEventId, WaitSeconds, awaited, history
from cluster.home import PARTIAL
from cluster.runs import Run, UnknownRunError
from cluster.states import State
from ihp_compute.errors import GridError, RunError
from ihp_compute.remeasured import ways_of
from ihp_compute.results import read_manifest
from ihp_compute.sweeps import FILE, grid_of

SECONDS_PER_DRAW: Final = 2.8e-9
BASIS: Final = "a sweep of 1,000 points, 25 partnerships and 2,000 draws took 69 ms on two cores"
"""Where `SECONDS_PER_DRAW` is from (benchmarks/README.md): 5 × 10^7 draws in twice 69 ms."""
AxisValue = Annotated[str, StringConstraints(min_length=1, max_length=1000)] | bool | int | float
router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], route_class=StrictJsonRoute)


class AxisRange(Strict):
    """`count` values from one end to the other."""

    first: Annotated[int | float, Field(alias="from")]
    last: Annotated[int | float, Field(alias="to")]
    count: Annotated[int, Field(strict=True, ge=1)]


class SweepRequest(Strict):
    """A grid of terms to settle a finished run's partnerships by."""

    model_config = example(
        run="01890a5d-ac96-774b-bcce-b302099a8057",
        axes={
            "settlement.gain.share": {"from": 0.3, "to": 0.7, "count": 5},
            "settlement.loss.share": ["none", 0.5],
        },
    )

    run: Annotated[str, StringConstraints(min_length=1, max_length=36)]
    axes: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]+$", max_length=200)],
            Annotated[list[AxisValue], Field(min_length=1, max_length=100_000)] | AxisRange,
        ],
        Field(min_length=1, max_length=50),
    ]
    dry_run: Annotated[bool, Field(strict=True)] = False


class SweepView(BaseModel):
    """A sweep: what was asked, where it stands, where its rows are.

    `digest` is over whole rows, by which a guess of what is hidden could be tried: null to a key
    without `results:member`.
    """

    id: str
    state: State
    run: str
    axes: dict[str, Any]
    scenarios: int
    rows: int
    rows_done: int
    cancel_requested: bool
    attempt: int
    digest: str | None
    reason: str | None
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: dict[str, str]

    @classmethod
    def of(cls, run: Run, whole: bool) -> SweepView:
        """The view of a stored row; folders of the server stay inside."""
        request = run.request
        asked = request["asked"]
        common = queued.shown(
            run,
            whole=whole,
            folder=request["run_dir"],
            name=f"run {asked['run']}",
            parts=("events", "cancel", "results"),
        )
        common["links"]["run"] = f"/v1/runs/{asked['run']}"
        return cls(
            **{
                **common,
                **asked,
                "digest": run.digest if whole else None,
                "scenarios": request["scenarios"],
                "rows": request["rows"],
                "rows_done": run.shards_done,
            }
        )


class SweepEstimate(BaseModel):
    """How large a sweep would be, and how long it would take: nothing is queued.

    `points` are scenarios; `rows` are those of partnerships and of the state, of which there may be
    `max_rows`. `seconds` is what one core takes for the draws, by the figure that `basis` names,
    and for `measurements`, runs of terms that decide what is measured, as often what the run took.
    """

    dry_run: bool = True
    run: str
    points: int
    rows: int
    max_rows: int
    draws: int
    measurements: int
    seconds: float
    basis: str


class SweepPage(BaseModel):
    """Sweeps, newest first; `next_page_token` asks for the ones before."""

    sweeps: list[SweepView]
    next_page_token: str | None


@router.post(
    "",
    status_code=202,
    operation_id="start_sweep",
    responses=responses(400, 409, 413, 422, 503)
    | {200: {"model": SweepEstimate, "description": "A dry run"}},
)
async def start(
    request: SweepRequest,
    response: Response,
    principal: RunsWriter,
    service: ServiceDep,
    reads: ReadsDep,
    idempotency_key: IdempotencyKey,
) -> SweepView | SweepEstimate:
    """Queue a sweep and return at once; follow it at its Location.

    `axes` are term paths, each with a list of values or `from`, `to` and `count`. The same
    Idempotency-Key with the same payload is the same sweep, however often it is sent. With
    `dry_run` nothing is queued and the key stays free: the answer, 200, says how large it would be.
    """
    asked = request.model_dump(mode="json", by_alias=True, exclude={"dry_run"})
    if request.dry_run:
        response.status_code = 200
        return await reads.of(_estimate, asked, service)
    who = (principal.owner, idempotency_key)
    sweep = await to_thread.run_sync(queued.known, service, "sweep", asked, *who)
    if sweep is None:
        size = await reads.of(_resolved, asked, service)
        sweep = await to_thread.run_sync(_queued, service, asked, size, *who)
    queued.point_to(sweep, response)
    return SweepView.of(sweep, sees_all(principal))


@router.post(
    "/estimate", operation_id="estimate_sweep", responses=responses(400, 409, 413, 422, 503)
)
async def estimate(
    request: SweepRequest, _principal: RunsWriter, service: ServiceDep, reads: ReadsDep
) -> SweepEstimate:
    """How large a sweep would be, and how long it would take; nothing is queued.

    The same as `dry_run`, and wants no Idempotency-Key.
    """
    asked = request.model_dump(mode="json", by_alias=True, exclude={"dry_run"})
    return await reads.of(_estimate, asked, service)


def _queued(
    service: Service, asked: dict[str, Any], size: dict[str, Any], owner: str, idempotency_key: str
) -> Run:
    return queued.submitted(
        service, "sweep", asked, size, owner=owner, idempotency_key=idempotency_key
    )


def _resolved(asked: dict[str, Any], service: Service) -> dict[str, Any]:
    """Where the run lies, and how large the sweep will be."""
    try:
        run, folder = queued.finished(service, "run", asked["run"])
    except UnknownRunError as error:
        raise RequestError(str(error), "/run") from error
    try:
        grid = grid_of(asked["axes"])
        ways = ways_of(folder, grid, limit=service.settings.max_sweep_rows)
    except GridError as error:
        raise RequestError(str(error), _pointer(str(error), asked["axes"])) from error
    except RunError as error:
        raise ConflictError(str(error).replace(str(folder), f"run {run.id}")) from error
    return {
        "run_dir": str(folder),
        "scenarios": grid.n_scenarios,
        "rows": grid.n_scenarios * (len(ways.terms.contracts.contracts) + 1),
        "measurements": len(ways.anew),
    }


def _pointer(words: str, axes: dict[str, Any]) -> str:
    """The axis that a refusal names, as RFC 6901 has it; all of them if it names none."""
    named = [path for path in axes if re.search(rf"(^|\s){re.escape(path)}(\.count)?:", words)]
    return f"/axes/{named[0]}" if named else "/axes"


def _estimate(asked: dict[str, Any], service: Service) -> SweepEstimate:
    """How large a sweep would be."""
    size = _resolved(asked, service)
    replicates = queued.run_of_kind(service, "run", asked["run"]).request["replicates"]
    each_s = 0.0
    if size["measurements"]:
        each_s = read_manifest(Path(size["run_dir"]))["timings"]["seconds"]
    draws = size["rows"] * (replicates + 1)
    return SweepEstimate(
        run=asked["run"],
        points=size["scenarios"],
        rows=size["rows"],
        max_rows=service.settings.max_sweep_rows,
        draws=draws,
        measurements=size["measurements"],
        seconds=round(draws * SECONDS_PER_DRAW + size["measurements"] * each_s, 3),
        basis=BASIS,
    )


@router.get("", operation_id="list_sweeps", responses=responses(422))
def listed(
    principal: RunsReader,
    service: ServiceDep,
    page: PageDep,
    state: State | None = None,
) -> SweepPage:
    """Sweeps, newest first."""
    found, token = queued.page(service, "sweep", page, state=state)
    whole = sees_all(principal)
    views = [SweepView.of(sweep, whole) for sweep in found]
    return SweepPage(sweeps=views, next_page_token=token)


@router.get("/{sweep_id}", operation_id="show_sweep", responses=responses(404, 422))
async def show(
    sweep_id: str,
    request: Request,
    response: Response,
    principal: RunsReader,
    service: ServiceDep,
    wait: WaitSeconds = 0,
) -> SweepView:
    """One sweep. With `wait`, answers as soon as it has ended, or after so many seconds."""
    sweep = await awaited(request, service, "sweep", sweep_id, wait, response)
    return SweepView.of(sweep, sees_all(principal))


@router.post(
    "/{sweep_id}/cancel",
    status_code=202,
    operation_id="cancel_sweep",
    responses={200: {"model": SweepView}, **responses(404)},
)
def cancel(
    sweep_id: str, sent: Request, response: Response, principal: RunsWriter, service: ServiceDep
) -> SweepView:
    """Cancel a sweep. Answers 200 when it has ended already, whichever way."""
    sweep = queued.cancelled(service, "sweep", sweep_id, sent, response)
    return SweepView.of(sweep, sees_all(principal))


@router.get(
    "/{sweep_id}/events",
    operation_id="sweep_events",
    response_model=EventPage,
    responses=EVENTS,
)
async def events(
    sweep_id: str,
    request: Request,
    _principal: RunsReader,
    service: ServiceDep,
    page: PageDep,
    last_event_id: LastEventId = 0,
) -> Response:
    """What happened to a sweep: a list, or as server-sent events until it has ended."""
    return await history(request, service, "sweep", sweep_id, page, last_event_id)


@router.get(
    "/{sweep_id}/results",
    operation_id="read_sweep",
    response_class=Response,
    responses=TABLE,
)
async def results(
    sweep_id: str,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    rows: RowsDep,
) -> Response:
    """The rows of a sweep, in the form the caller accepts; those done, if it was cancelled.

    JSON is given by pages. To a key without `results:member` null where the run hides the
    partnership.
    """
    path = await rows_of(sweep_id, request, principal, service, reads)
    return await table_response(request, path, rows, whole=sees_all(principal))


async def rows_of(
    sweep_id: str, request: Request, principal: Principal, service: Service, reads: Reads
) -> Path:
    """The file of a sweep's rows as whoever asks may see them; those done, if it was cancelled.

    Raises
    ------
    UnknownRunError
    ConflictError
        If it has no rows yet.
    UnknownResultError
        If they are gone.
    """
    sweep = await to_thread.run_sync(queued.run_of_kind, service, "sweep", sweep_id)
    path = service.home.runs / sweep.id / PARTIAL
    if sweep.state != "cancelled" or not await reads.of(path.is_file):
        _, folder = await to_thread.run_sync(queued.finished, service, "sweep", sweep_id)
        path = folder / FILE
    if not await reads.of(path.is_file):
        raise UnknownResultError("the rows of this sweep are gone; submit it again")
    if sees_all(principal):
        return path
    return await open_sweep(service, Path(sweep.request["run_dir"]), path).found(request)
