"""A finished run held against itself and against another: do its dollars add up, what moved them.

Who may not see members is shown the open form of each run, and what follows from that alone.
"""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, JsonValue

from api.auth import Principal, RunsReader
from api.making import MAKE_S
from api.opened import opened, sees_all
from api.problems import ConflictError, responses
from api.queued import finished
from api.reading import ReadsDep
from api.service import Service, ServiceDep
from cluster.runs import Run
from ihp_compute.compare import STATE, DollarWalk, asked_otherwise, dollar_walks, terms_otherwise
from ihp_compute.errors import RunError
from ihp_compute.results import WALK, OpenForm, read_manifest, reconcile, result

router = APIRouter(prefix="/v1/runs/{run_id}", tags=["results"])


class ChangeView(BaseModel):
    """One thing that two runs say otherwise; null where one does not say it."""

    what: str
    a: JsonValue
    b: JsonValue


class TermChangeView(BaseModel):
    """A term that settles partnerships otherwise; values as text."""

    path: str
    a: str | None
    b: str | None
    partnerships: tuple[str, ...]


class MovedView(BaseModel):
    """What one step moves, in cents; null where few people stand behind it."""

    step: str
    a_cents: int | None
    b_cents: int | None
    change_cents: int | None


class DollarWalkView(BaseModel):
    """From a result of run a to that of run b, in cents: the moves add up to the change.

    `result` is `savings` or `payment`; `partnership_id` is null of all partnerships together.
    """

    partnership_id: str | None
    result: str
    a_cents: int | None
    b_cents: int | None
    change_cents: int | None
    moves: list[MovedView]

    @classmethod
    def of(cls, walk: DollarWalk) -> DollarWalkView:
        """The view of a walk."""
        moves = [MovedView(**vars(move), change_cents=move.change_cents) for move in walk.moves]
        who = None if walk.partnership_id == STATE else walk.partnership_id
        given = {**vars(walk), "partnership_id": who, "moves": moves}
        return cls(**given, change_cents=walk.change_cents)


class DiffView(BaseModel):
    """What run b does otherwise than run a, and what that moves.

    `terms` are null where a run was made by another method version.
    """

    a: str
    b: str
    same_digest: bool
    request: list[ChangeView]
    inputs: list[ChangeView]
    terms: list[TermChangeView] | None
    statewide: list[DollarWalkView]
    partnerships: list[DollarWalkView]


class LineView(BaseModel):
    """One line from what was retained to what is paid; null where it is held back."""

    line: str
    cents: int | None


class CheckView(BaseModel):
    """Two sums that must be one."""

    what: str
    balanced: bool


class YearView(BaseModel):
    """A partnership's dollars of a year, from what is counted to what is observed.

    Null is held back, and `added_cents` and `observed_cents` are of the performance year alone.
    `off_cents`: what no rule explains; 0 where it ties.
    """

    partnership_id: str
    year: int
    counted_cents: int | None
    above_cap_cents: int | None
    floored_cents: int | None
    completed_cents: int | None
    cost_cents: int
    added_cents: int | None
    observed_cents: int | None
    off_cents: int


class TotalView(BaseModel):
    """Dollars of all partnerships and both years, and those of the ledger; null: held back."""

    name: str
    cents: int | None
    ledger_cents: int | None
    off_cents: int | None


class ReconciliationView(BaseModel):
    """The ledger of a run held to its settlement; `balanced` where every check holds."""

    run: str
    digest: str | None
    balanced: bool
    lines: list[LineView]
    checks: list[CheckView]
    years: list[YearView]
    totals: list[TotalView]


@router.get("/diff/{other_id}", operation_id="diff_runs", responses=responses(404, 409, 503))
async def diff(
    run_id: str, other_id: str, principal: RunsReader, service: ServiceDep, reads: ReadsDep
) -> DiffView:
    """What another run was asked otherwise than this one, and the dollars between them."""
    a = await to_thread.run_sync(finished, service, "run", run_id)
    b = await to_thread.run_sync(finished, service, "run", other_id)
    return await reads.within(MAKE_S, _diff, a, b, principal, service)


def _diff(
    a: tuple[Run, Path], b: tuple[Run, Path], principal: Principal, service: Service
) -> DiffView:
    folders = (a[1], b[1])
    try:
        forms = [_form(service, folder, principal) for folder in folders]
        manifests = [read_manifest(folder) for folder in folders]
        changes = [ChangeView(**vars(change)) for change in asked_otherwise(*manifests)]
        tables = [
            result(folder, WALK) if form is None else form.table(WALK.name)
            for folder, form in zip(folders, forms, strict=True)
        ]
        walks = [DollarWalkView.of(walk) for walk in dollar_walks(*tables)]
    except RunError as error:
        raise _conflict(error, *folders) from error
    return DiffView(
        a=a[0].id,
        b=b[0].id,
        same_digest=a[0].digest == b[0].digest,
        request=[change for change in changes if not change.what.startswith("inputs/")],
        inputs=[change for change in changes if change.what.startswith("inputs/")],
        terms=_terms(*folders),
        statewide=[walk for walk in walks if walk.partnership_id is None],
        partnerships=[walk for walk in walks if walk.partnership_id is not None],
    )


@router.get("/reconciliation", operation_id="reconcile_run", responses=responses(404, 409, 503))
async def reconciliation(
    run_id: str, principal: RunsReader, service: ServiceDep, reads: ReadsDep
) -> ReconciliationView:
    """Whether every dollar that was read is where the settlement says."""
    run, folder = await to_thread.run_sync(finished, service, "run", run_id)
    return await reads.within(MAKE_S, _reconciled, run, folder, principal, service)


def _reconciled(
    run: Run, folder: Path, principal: Principal, service: Service
) -> ReconciliationView:
    try:
        found = reconcile(folder, _form(service, folder, principal))
    except RunError as error:
        raise _conflict(error, folder) from error
    return ReconciliationView(
        run=run.id,
        digest=run.digest,
        balanced=found.balanced,
        lines=[LineView(**vars(line)) for line in found.lines],
        checks=[CheckView(**vars(check)) for check in found.checks],
        years=[YearView(**vars(one)) for one in found.years],
        totals=[TotalView(**vars(total)) for total in found.totals],
    )


def _form(service: Service, folder: Path, principal: Principal) -> OpenForm | None:
    return None if sees_all(principal) else opened(service, folder)


def _terms(a: Path, b: Path) -> list[TermChangeView] | None:
    try:
        return [TermChangeView(**vars(change)) for change in terms_otherwise(a, b)]
    except RunError:
        return None


def _conflict(error: RunError, *folders: Path) -> ConflictError:
    words = str(error)
    for folder in folders:
        words = words.replace(str(folder), "the run")
    return ConflictError(words)
