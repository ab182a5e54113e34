"""The HTTP application: the gate, the errors, the endpoints. Starts nothing and computes nothing.

Who asks and how much passes is decided by `service.Gate`, errors by `problems`; each router is one
noun of the API. `api.commands.service` puts a server and a dispatcher around it.
"""

from __future__ import annotations

from fastapi import Depends, FastAPI

from api import (
    about,
    audit,
    compared,
    contracts,
    docs,
    estimates,
    health,
    keys,
    lifecycle,
    manual,
    payments,
    populations,
    problems,
    profiles,
    reports,
    results,
    runs,
    sweeps,
)
from api.description import TAGS, DescribedApp
from api.downloads import Downloads
from api.making import Making
from api.pages import access, compare, frame, new_run, packs
from api.pages import contracts as contract_pages
from api.pages import keys as key_pages
from api.pages import populations as population_pages
from api.pages import runs as run_pages
from api.pages import sweeps as sweep_pages
from api.parameters import known_parameters
from api.reading import Reads
from api.semantics import ContentTags, HeadOfGet, Paths
from api.service import Gate, Service
from api.watching import Watch
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
    app = DescribedApp(
        title="IHP Compute",
        summary="Recalculates Medicaid accountable-care contracts from claims, to the cent.",
        version=__version__,
        openapi_url="/v1/openapi.json",
        openapi_tags=TAGS,
        docs_url=None,  # these load scripts from elsewhere; `docs` has a page of its own
        redoc_url=None,
        redirect_slashes=False,  # Host is the caller's word, and nothing to send anybody to
        dependencies=[Depends(known_parameters)],
    )
    app.state.service = service
    app.state.reads = Reads()
    app.state.health = health.Health(service)
    app.state.making = Making(app.state.reads)
    app.state.watch = Watch(service)
    app.state.downloads = Downloads(service, app.state.watch)
    app.add_middleware(ContentTags)
    app.add_middleware(HeadOfGet)
    app.add_middleware(
        Gate, service=service, as_page=frame.in_place_of
    )  # the last one added meets a request first
    problems.install(app)
    frame.install(app)
    routers = (
        health.router,
        about.router,
        docs.router,
        manual.router,
        estimates.router,
        compared.router,
        lifecycle.router,
        populations.router,
        profiles.router,
        payments.router,
        contracts.router,
        runs.router,
        reports.router,
        results.router,
        sweeps.router,
        keys.router,
        audit.router,
        access.router,
        new_run.router,
        packs.router,
        run_pages.router,
        sweep_pages.router,
        compare.router,
        contract_pages.router,
        population_pages.router,
        key_pages.router,
    )
    for router in routers:
        app.include_router(router)
    app.mount("/static", docs.static_files())
    app.mount(manual.PLACE, manual.Manual(service.settings.docs, frame.in_place_of))
    named = (route for router in routers for route in router.routes)
    app.state.paths = Paths(app.routes, named)
    return app
