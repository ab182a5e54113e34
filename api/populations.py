"""Populations: register a prepared folder below a configured location, by name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, StringConstraints

from api.auth import PopulationsReader, PopulationsWriter
from api.bodies import Name, Strict, StrictJsonRoute, moment
from api.problems import RequestError, responses
from api.service import ServiceDep
from api.settings import Settings
from cluster.registry import Registered
from ihp_compute.errors import DataError
from ihp_compute.population import open_population

Prefix = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", max_length=500
    ),
]
router = APIRouter(prefix="/v1/populations", tags=["populations"], route_class=StrictJsonRoute)


class PopulationRequest(Strict):
    """Which prepared population to register: a folder below a configured location."""

    name: Name
    location: Name = "default"
    prefix: Prefix


class PopulationView(BaseModel):
    """A registered population."""

    id: str
    name: str
    location: str
    prefix: str
    population_digest: str
    members: int
    member_months: int
    shards: int
    created_at: datetime

    @classmethod
    def of(cls, held: Registered) -> PopulationView:
        """The view of a stored row."""
        return cls(**vars(held), shards=held.n_shards, created_at=moment(held.created_ms))


@router.post(
    "", status_code=201, operation_id="register_population", responses=responses(409, 413, 422)
)
def register(
    request: PopulationRequest,
    response: Response,
    principal: PopulationsWriter,
    service: ServiceDep,
) -> PopulationView:
    """Register a prepared population. The same folder under the same name again answers 200."""
    path = folder_of(service.settings, request.location, request.prefix)
    try:
        population = open_population(path)
    except DataError as error:
        detail = str(error).replace(str(path), f"{request.location}/{request.prefix}")
        raise RequestError(detail, "/prefix") from error
    held, new = service.store.registry.register(
        name=request.name,
        location=request.location,
        prefix=request.prefix,
        population_digest=population.digest,
        members=population.manifest["members"],
        member_months=population.manifest["member_months"],
        n_shards=len(population.shards),
        owner=principal.owner,
    )
    if not new:
        response.status_code = 200
    response.headers["Location"] = f"/v1/populations/{held.name}"
    return PopulationView.of(held)


@router.get("", operation_id="list_populations", responses=responses())
def registered(_principal: PopulationsReader, service: ServiceDep) -> list[PopulationView]:
    """Every registered population, newest first."""
    return [PopulationView.of(held) for held in service.store.registry.registered()]


@router.get("/{name}", operation_id="show_population", responses=responses(404))
def show(name: str, _principal: PopulationsReader, service: ServiceDep) -> PopulationView:
    """One population, by name or id."""
    return PopulationView.of(service.store.registry.find(name))


def folder_of(settings: Settings, location: str, prefix: str) -> Path:
    """The folder a location and a prefix stand for.

    Raises
    ------
    RequestError
        If the location is not configured, or the folder lies outside it: links are followed first.
    """
    root = settings.roots.get(location)
    if root is None:
        names = ", ".join(sorted(settings.roots))
        raise RequestError(
            f"no location of this name is configured, there are: {names}", "/location"
        )
    root = root.resolve()
    path = (root / prefix).resolve()
    if not path.is_relative_to(root) or path == root:
        raise RequestError("the prefix leads out of its location", "/prefix")
    return path
