"""What a run is asked for: its body, and what that comes to before anything is queued.

    body -> names of the server's things -> years, cutoff, contracts as data say -> the queue's row

What the request, the population's manifest and the contracts already say is refused here, with a
pointer to the part of the body, and not minutes later behind other runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, field_validator

from api import queued
from api.bodies import Day, Name, Strict, example
from api.contracts import ContractName, Known, known_contracts, recorded_name
from api.populations import folder_of
from api.problems import ConflictError, RequestError
from api.service import Service
from cluster.queue import Labels
from cluster.registry import Registered, UnknownPopulationError
from cluster.runs import UnknownRunError, fingerprint_of
from ihp_compute import contracts as contract
from ihp_compute import pipeline
from ihp_compute.data_quality import RUN, GateTerms
from ihp_compute.errors import AcceptanceError, ContractError, DataError, OptionError, RunError
from ihp_compute.measure import Foreseen, foresee, statement_of

OPTIONS: Final = pipeline.RunRequest.options()

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]


def _whole(name: str) -> Any:
    """A whole number within the limits of an option of a run."""
    limits = OPTIONS[name].limits
    return Field(strict=True, ge=limits.get("ge"), le=limits.get("le"), lt=limits.get("lt"))


class RunRequest(Strict):
    """A recalculation to make; what is left out follows the contracts, else the population.

    `force` has it made although a run of the same inputs succeeded before.
    """

    model_config = example(
        population="mn-2024",
        contracts=["mn-ihp-2.0-track-2"],
        performance_year=2024,
        base_year=2023,
        paid_through="2025-06-30",
        replicates=2000,
        seed=1,
    )

    population: Name
    contracts: Annotated[list[ContractName], Field(min_length=1, max_length=200)]
    performance_year: Annotated[int, _whole("performance_year")] | None = None
    base_year: Annotated[int, _whole("base_year")] | None = None
    paid_through: Day | None = None
    replicates: Annotated[int, _whole("replicates")] = pipeline.RunRequest.replicates
    seed: Annotated[int, _whole("seed")] = pipeline.RunRequest.seed
    accept: dict[str, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict
    )
    statement: dict[str, str] = Field(default_factory=dict)
    earlier: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    programme: str = pipeline.RunRequest.programme
    force: Annotated[bool, Field(strict=True)] = False

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


@dataclass(frozen=True)
class Resolved:
    """A request with names of the caller as places of the server, and what it comes to.

    `document` is what the dispatcher needs, in JSON's own values.
    """

    document: Mapping[str, Any]
    foreseen: Foreseen
    labels: Labels


def resolved(request: RunRequest, service: Service) -> Resolved:
    """What a request comes to.

    Raises
    ------
    RequestError
        If a run could not be made of it, with a pointer to the part of the body.
    ConflictError
        If the population is not what it was when it was registered, or an earlier run that is to
        be netted has no results.
    """
    limit = service.settings.max_replicates
    if request.replicates > limit:
        raise RequestError(f"more than {limit} replicates; ask for fewer", "/replicates")
    try:
        held = service.store.registry.find(request.population)
    except UnknownPopulationError as error:
        raise RequestError(str(error), "/population") from error
    path = folder_of(service.settings, held.location, held.prefix)
    try:
        GateTerms(accept=request.accept, work=RUN)
    except AcceptanceError as error:
        raise RequestError(str(error), "/accept") from error
    try:
        contract.the_one(request.contracts)
    except ContractError as error:
        raise RequestError(str(error), "/contracts") from error
    known = known_contracts(service)
    contracts = [_place(name, n, known) for n, name in enumerate(request.contracts)]
    earlier = [_earlier(service, run_id, n) for n, run_id in enumerate(request.earlier)]
    asked = request.model_dump(mode="json", exclude={"force"})
    folders = [str(folder) for folder, _ in earlier]
    whole = pipeline.RunRequest.of(
        {
            **asked,
            "population": str(path),
            "contracts": [str(place) for place in contracts],
            "earlier": folders,
        }
    )
    foreseen = _foreseen(whole, held)
    for n, place in enumerate(contracts):
        _check(place, n, foreseen)
    inputs = _sha256([foreseen.inputs_sha256, *(digest for _, digest in earlier)])
    labels = Labels(
        population=request.population,
        contract=recorded_name(request.contracts[0], str(contracts[0])),
        fingerprint=fingerprint_of(inputs, whole.accept),
    )
    return Resolved({**whole.document(), "inputs": inputs}, foreseen, labels)


def _foreseen(request: pipeline.RunRequest, held: Registered) -> Foreseen:
    path = str(request.population)
    try:
        found = foresee(request)
    except OptionError as error:
        raise RequestError(str(error).replace(path, held.name), f"/{error.option}") from error
    except RunError as error:
        raise RequestError(str(error).replace(path, held.name), "/population") from error
    except DataError as error:
        raise ConflictError(str(error).replace(path, held.name)) from error
    except ContractError as error:
        raise RequestError(str(error).replace(path, held.name), "/contracts/0") from error
    if found.population.digest != held.population_digest:
        raise ConflictError(
            f"population {held.name} holds other content than when it was registered; "
            "register it again under another name"
        )
    return found


def _earlier(service: Service, run_id: str, position: int) -> tuple[Path, str | None]:
    """Where an earlier run that is to be netted has its results, and their digest."""
    try:
        run, folder = queued.finished(service, "run", run_id)
    except UnknownRunError as error:
        raise RequestError(str(error), f"/earlier/{position}") from error
    return folder, run.digest


def _place(name: str, position: int, known: Mapping[str, Known]) -> str | Path:
    """A contract's name, or its file."""
    pointer = f"/contracts/{position}"
    if name not in known:
        raise RequestError("no contract of this name; GET /v1/contracts lists them", pointer)
    try:
        return known[name].usable()
    except ContractError as error:
        raise RequestError(str(error), pointer) from error


def _check(place: str | Path, position: int, foreseen: Foreseen) -> None:
    """Refuse of a contract what a run would refuse of it."""
    try:
        if isinstance(place, Path):
            contract.check(place, foreseen.performance_year, foreseen.base_year)
        else:
            contract.load(place).at(foreseen.performance_year)
    except ContractError as error:
        raise RequestError(str(error), f"/contracts/{position}") from error


def _sha256(said: list[str | None]) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
