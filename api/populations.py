"""Populations: register a prepared folder below a configured location, by name."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, StringConstraints

from api.auth import ADMIN_SCOPE, ForbiddenError, PopulationsReader, PopulationsWriter, actor_of
from api.bodies import Name, Strict, StrictJsonRoute, example, moment
from api.lists import PageDep
from api.opened import sees_all
from api.problems import RequestError, responses
from api.reading import ReadsDep
from api.service import ServiceDep
from api.settings import Settings
from cluster.registry import Registered
from ihp_compute.errors import DataError
from ihp_compute.folders import MANIFEST
from ihp_compute.population import Population, open_population, read_manifest
from ihp_compute.results import SMALL_CELL
from ihp_compute.storage import Place

Prefix = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", max_length=500
    ),
]
router = APIRouter(prefix="/v1/populations", tags=["populations"], route_class=StrictJsonRoute)


class PopulationRequest(Strict):
    """Which prepared population to register: a folder below a configured location."""

    model_config = example(name="mn-2024", prefix="2024/state")

    name: Name
    location: Name = "default"
    prefix: Prefix


class PopulationView(BaseModel):
    """A registered population.

    A count that the database does not hold as one is null: such a row breaks no list.
    """

    id: str
    name: str
    location: str
    prefix: str
    population_digest: str
    members: int | None
    member_months: int | None
    shards: int | None
    owner: str
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, held: Registered, *, whole: bool) -> PopulationView:
        """The view of a stored row; members and their months are null where few are shown."""
        members = _count(held.members)
        few = members is not None and 0 < members <= SMALL_CELL and not whole
        here = f"/v1/populations/{held.name}"
        return cls(
            id=held.id,
            name=held.name,
            location=held.location,
            prefix=held.prefix,
            population_digest=held.population_digest,
            members=None if few else members,
            member_months=None if few else _count(held.member_months),
            shards=_count(held.n_shards),
            owner=held.owner,
            created_at=moment(held.created_ms),
            links={"self": here, "profile": f"{here}/profile", "quality": f"{here}/quality"},
        )


def _count(held: object) -> int | None:
    """A count of a row; SQLite keeps whatever was put into a column, rows of earlier versions too.

    >>> [_count(held) for held in (7, "abc", -5, 2**70)]
    [7, None, None, None]
    """
    return held if isinstance(held, int) and 0 <= held < 2**53 else None


class PopulationPage(BaseModel):
    """Populations, newest first; `next_page_token` asks for the ones before."""

    populations: list[PopulationView]
    next_page_token: str | None


@router.post(
    "",
    status_code=201,
    operation_id="register_population",
    responses={200: {"model": PopulationView}, **responses(409)},
)
async def register(
    body: PopulationRequest,
    request: Request,
    response: Response,
    principal: PopulationsWriter,
    service: ServiceDep,
    reads: ReadsDep,
) -> PopulationView:
    """Register a prepared population. The same folder under the same name again answers 200."""
    population = await reads.of(_prepared, service.settings, body.location, body.prefix)
    held, new = await to_thread.run_sync(
        lambda: service.store.registry.register(
            by=actor_of(request.scope),
            name=body.name,
            location=body.location,
            prefix=body.prefix,
            population_digest=population.digest,
            members=population.manifest["members"],
            member_months=population.manifest["member_months"],
            n_shards=len(population.shards),
        )
    )
    if not new:
        response.status_code = 200
    response.headers["Location"] = f"/v1/populations/{held.name}"
    return PopulationView.of(held, whole=sees_all(principal))


@router.get("", operation_id="list_populations")
def registered(principal: PopulationsReader, service: ServiceDep, page: PageDep) -> PopulationPage:
    """Registered populations, newest first."""
    held = service.store.registry.registered(limit=page.wanted, before=page.after)
    found, token = page.cut(held, lambda one: one.id)
    return PopulationPage(
        populations=[PopulationView.of(one, whole=sees_all(principal)) for one in found],
        next_page_token=token,
    )


@router.get("/{name}", operation_id="show_population", responses=responses(404))
def show(name: str, principal: PopulationsReader, service: ServiceDep) -> PopulationView:
    """One population, by name or id."""
    return PopulationView.of(service.store.registry.find(name), whole=sees_all(principal))


@router.delete(
    "/{name}", status_code=204, operation_id="remove_population", responses=responses(404)
)
def remove(name: str, request: Request, principal: PopulationsWriter, service: ServiceDep) -> None:
    """Forget a population, by its owner or an administrator. Its folder stays as it is.

    So do runs of it; the name is free for another.
    """
    held = service.store.registry.find(name)
    if held.owner != principal.owner and ADMIN_SCOPE not in principal.scopes:
        raise ForbiddenError(
            f"the population is another owner's; its owner may do this, or a key of the scope "
            f"{ADMIN_SCOPE}"
        )
    service.store.registry.remove(held, by=actor_of(request.scope))


def _prepared(settings: Settings, location: str, prefix: str) -> Population:
    """The prepared population of a place, and nothing that lies outside its location.

    Raises
    ------
    RequestError
    """
    path = folder_of(settings, location, prefix)
    root = settings.roots[location]
    try:
        if isinstance(root, Path):
            _check_inside(path / MANIFEST, root.resolve())
            for name in read_manifest(path)["files"]:
                _check_inside(path / name, root.resolve())
        return open_population(path)
    except DataError as error:
        detail = str(error).replace(str(path), f"{location}/{prefix}")
        raise RequestError(detail, "/prefix") from error
    except OSError as error:
        words = f"{location}/{prefix}: cannot be read ({error.strerror or type(error).__name__})"
        raise RequestError(words, "/prefix") from error


def _check_inside(file: Path, root: Path) -> None:
    """Refuse a file that a link leads out of its location."""
    if not _resolved(file).is_relative_to(root):
        raise RequestError(f"{file.name} is a link that leads out of its location", "/prefix")


def _resolved(path: Path) -> Path:
    """Where a path leads, links followed.

    Raises
    ------
    RequestError
        If links lead in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: a circle, before Python 3.13
        raise RequestError("the prefix leads through a circle of links", "/prefix") from None


def folder_of(settings: Settings, location: str, prefix: str) -> Path:
    """The folder a location and a prefix stand for, or the words for their place in a bucket.

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
    if not isinstance(root, Path):
        return Place(location, root, prefix).path
    root = root.resolve()
    path = _resolved(root / prefix)
    if not path.is_relative_to(root) or path == root:
        raise RequestError("the prefix leads out of its location", "/prefix")
    return path
