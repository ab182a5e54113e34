"""The HTTP application: the gate, the errors, the endpoints. Starts nothing and computes nothing.

Who asks and how much passes is decided by `service.Gate`, errors by `problems`; each router is one
noun of the API. `api.commands.service` puts a server and a dispatcher around it.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse

from api import contracts, populations, problems, results, runs
from api.auth import RunsReader
from api.service import Gate, Service, ServiceDep
from ihp_compute import __version__


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
    for router in (populations.router, contracts.router, runs.router, results.router):
        app.include_router(router)
    return app


async def live() -> PlainTextResponse:
    """Whether this process answers. Needs no key and tells nothing else."""
    return PlainTextResponse("ok")


def ready(_principal: RunsReader, service: ServiceDep) -> JSONResponse:
    """Whether runs are being worked on, and how many stand in each state."""
    alive = service.dispatcher_alive()
    body = {"database": True, "dispatcher": alive, "runs": service.store.states()}
    return JSONResponse(body, 200 if alive else 503)
