"""What runs and sweeps share: both are queued, followed, cancelled and kept in the same way.

Their routers have the paths, the bodies and what is particular to each; no request waits for work.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from fastapi import Header, Request, Response

from api.audit import note
from api.auth import ADMIN_SCOPE, ForbiddenError, Principal
from api.bodies import moment
from api.lists import Page
from api.opened import open_words
from api.problems import ConflictError
from api.service import Service
from cluster.kept import at_hand
from cluster.queue import NO_LABELS, Labels
from cluster.runs import Run, UnknownRunError
from cluster.states import FINAL
from ihp_compute import sweeps
from ihp_compute.errors import ResultsDamagedError
from ihp_compute.results import check_undamaged, write_certification

RETRY_AFTER_S: Final = 2
"""When a caller may look again at what has not ended."""
ABOUT_DATA: Final = frozenset({"data_error", "contract_error", "model_error"})
"""Why a run failed, where what is told of it may count people."""

Kind: TypeAlias = Literal["run", "sweep"]
"""Kinds of one queue; each has the paths `/v1/KINDs`."""
IdempotencyKey = Annotated[str, Header(min_length=1, max_length=200)]


def known(
    service: Service, kind: Kind, asked: Mapping[str, Any], owner: str, idempotency_key: str
) -> Run | None:
    """The run that an owner's idempotency key stands for; None if it stands for none yet.

    Raises
    ------
    IdempotencyConflictError
        If the owner's key came before with another body.
    """
    return service.store.queue.submitted(owner, idempotency_key, _payload_sha256(kind, asked))


def submitted(
    service: Service,
    kind: Kind,
    asked: Mapping[str, Any],
    resolved: Mapping[str, Any],
    *,
    owner: str,
    idempotency_key: str,
    labels: Labels = NO_LABELS,
) -> Run:
    """A run of a kind, queued.

    Parameters
    ----------
    service : Service
    kind : Kind
    asked : mapping
        The body: what makes two submissions the same.
    resolved : mapping
        What the dispatcher needs, where names of the caller are places of the server.
    owner, idempotency_key : str
    labels : Labels
        By what it is found.

    Raises
    ------
    IdempotencyConflictError
        If the owner's key came before with another body.
    """
    run, _ = service.store.queue.submit(
        kind,
        {**resolved, "asked": asked},
        owner=owner,
        idempotency_key=idempotency_key,
        payload_sha256=_payload_sha256(kind, asked),
        labels=labels,
    )
    return run


def _payload_sha256(kind: Kind, asked: Mapping[str, Any]) -> str:
    payload = json.dumps([kind, asked], sort_keys=True).encode()
    return hashlib.sha256(payload).hexdigest()


def point_to(run: Run, response: Response) -> None:
    """Say in a response's headers where a run is, and when to look there again."""
    response.headers["Location"] = path_of(run)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)


def path_of(run: Run) -> str:
    """Where a run or sweep is found."""
    return f"/v1/{run.kind}s/{run.id}"


def shown(
    run: Run, *, whole: bool, folder: str, name: str, parts: tuple[str, ...]
) -> dict[str, Any]:
    """What the view of a run and that of a sweep have in common.

    Parameters
    ----------
    run : Run
    whole : bool
        Whether why it failed is told with its numbers, which may count people.
    folder, name : str
        A folder of the server, and what is said instead of it.
    parts : tuple of str
        What lies below the path, for the links.
    """
    here = path_of(run)
    detail = None if run.detail is None else run.detail.replace(folder, name)
    if detail is not None and run.reason in ABOUT_DATA and not whole:
        detail = open_words(detail)
    return {
        **vars(run),
        "detail": detail,
        "created_at": moment(run.created_ms),
        "started_at": None if run.started_ms is None else moment(run.started_ms),
        "finished_at": None if run.finished_ms is None else moment(run.finished_ms),
        "links": {"self": here, **{part: f"{here}/{part}" for part in parts}},
    }


def page(service: Service, kind: Kind, part: Page, **only: Any) -> tuple[list[Run], str | None]:
    """Runs of a kind, newest first, and the token that asks for the ones before them.

    `only` are those of `Queue.runs` by which they are searched.
    """
    found = service.store.queue.runs(kind, limit=part.wanted, before=part.after, **only)
    return part.cut(found, lambda run: run.id)


def run_of_kind(service: Service, kind: Kind, run_id: str) -> Run:
    """The run of this id, if it is one of a kind: runs and sweeps share the queue, not the paths.

    Raises
    ------
    UnknownRunError
    """
    run = service.store.queue.run(run_id)
    if run.kind != kind:
        raise UnknownRunError(f"no {kind} has this id; GET /v1/{kind}s lists them")
    return run


def own(service: Service, kind: Kind, run_id: str, principal: Principal) -> Run:
    """A run of a kind that a principal may end or make again: their own, or an operator's any.

    Raises
    ------
    UnknownRunError
    ForbiddenError
        If it is another's.
    """
    run = run_of_kind(service, kind, run_id)
    if run.owner != principal.owner and ADMIN_SCOPE not in principal.scopes:
        raise ForbiddenError(
            f"the {kind} is another owner's; its owner may do this, or a key of the scope "
            f"{ADMIN_SCOPE}"
        )
    return run


def cancelled(
    service: Service, kind: Kind, run_id: str, request: Request, response: Response
) -> Run:
    """A run of a kind, its end asked for; status 200 where it has ended already.

    Who asked for it is kept.

    Raises
    ------
    UnknownRunError
    ForbiddenError
        If it is another owner's.
    """
    principal: Principal = request.state.principal
    before = own(service, kind, run_id, principal)
    run = service.store.queue.request_cancel(run_id, actor=principal.owner)
    if before.state not in FINAL:
        note(request, "run_cancelled", run_id=run_id)
    if run.state in FINAL:
        response.status_code = 200
    return run


def finished(service: Service, kind: Kind, run_id: str) -> tuple[Run, Path]:
    """A run or sweep that succeeded and the folder of the attempt that counts.

    Raises
    ------
    UnknownRunError
        If there is no such run.
    ConflictError
        If it has no results.
    ResultsDamagedError
        If they are not what it wrote; counted.
    """
    run = run_of_kind(service, kind, run_id)
    if run.state != "succeeded":
        raise ConflictError(f"the {kind} is {run.state}; results exist once it is succeeded")
    folder = results_of(service, run)
    try:
        if kind == "run":
            check_undamaged(folder, run.digest or "")
        else:
            sweeps.check_undamaged(folder / sweeps.FILE, run.digest or "")
    except ResultsDamagedError as error:
        service.metrics.damaged.labels(kind).inc()
        raise ResultsDamagedError(f"{kind} {run.id}: {error}") from error
    return run, folder


def results_of(service: Service, run: Run) -> Path:
    """The folder of a run that succeeded, brought from the bucket of runs where it is not here.

    Raises
    ------
    DataError, InfrastructureError
        If it is nowhere, damaged, or cannot be brought.
    """
    folder = service.home.attempt(run.id, run.attempt)
    if not folder.is_dir():
        at_hand(folder)
        if folder.is_dir() and run.certification is not None:
            write_certification(folder, run.certification)
    return folder
