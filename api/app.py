"""The HTTP application: the gate, the errors, the endpoints. Starts nothing and computes nothing.

Who asks and how much passes is decided by `service.Gate`, errors by `problems`; each router is one
noun of the API. `api.commands.service` puts a server and a dispatcher around it.
"""

from __future__ import annotations

from fastapi import FastAPI, Response, Security
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api import contracts, populations, problems, results, runs, sweeps
from api.auth import RunsReader
from api.service import Gate, Service, ServiceDep
from cluster.states import STATES
from ihp_compute import __version__

_KEY = Security(HTTPBearer(auto_error=False, description="API key"))
"""Tells clients how a key is sent; the gate has checked it by then."""


def create_app(service: Service) -> FastAPI:
    """The application around a service's parts.

    Parameters
    ----------
    service : Service

    Returns
    -------
    FastAPI
    """
    app = FastAPI(
        title="IHP Compute",
        summary="Recalculates Medicaid accountable-care contracts from claims, to the cent.",
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the interactive pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(Gate, service=service)
    problems.install(app)
    app.add_api_route("/livez", live, operation_id="live", tags=["health"])
    app.add_api_route("/readyz", ready, operation_id="ready", tags=["health"])
    app.add_api_route("/metrics", metrics, operation_id="metrics", tags=["health"])
    for router in (
        populations.router,
        contracts.router,
        runs.router,
        results.router,
        sweeps.router,
    ):
        app.include_router(router, dependencies=[_KEY])
    return app


async def live() -> PlainTextResponse:
    """Whether this process answers. Needs no key and tells nothing else."""
    return PlainTextResponse("ok")


def ready(_principal: RunsReader, service: ServiceDep) -> JSONResponse:
    """Whether runs are being worked on, and how many stand in each state."""
    alive = service.dispatcher_alive()
    body = {"database": True, "dispatcher": alive, "runs": service.store.queue.states()}
    return JSONResponse(body, 200 if alive else 503)


def metrics(_principal: RunsReader, service: ServiceDep) -> Response:
    """What a Prometheus reads: runs by state and whether a dispatcher lives. Counts only."""
    registry = CollectorRegistry()
    runs_by_state = Gauge("ihp_runs", "Runs by state", ["state"], registry=registry)
    found = service.store.queue.states()
    for state in STATES:
        runs_by_state.labels(state).set(found.get(state, 0))
    alive = Gauge("ihp_dispatcher_alive", "1 while a dispatcher lives", registry=registry)
    alive.set(service.dispatcher_alive())
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
