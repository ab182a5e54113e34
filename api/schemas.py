"""What the service takes and gives, as JSON. Unknown keys and inexact types are refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from cluster.keys import Key
from cluster.registry import Registered
from cluster.runs import Event, Run
from cluster.states import State

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Prefix = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", max_length=500
    ),
]
Year = Annotated[int, Field(strict=True, ge=1900, le=2200)]


class Strict(BaseModel):
    """A body that says nothing but what is asked."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class PopulationRequest(Strict):
    """Which prepared population to register: a folder below a configured location."""

    name: Name
    location: Name = "default"
    prefix: Prefix


class RunRequest(Strict):
    """A recalculation to make; what is left out follows the contracts, else the population."""

    population: Name
    contracts: Annotated[list[Name], Field(min_length=1, max_length=200)]
    performance_year: Year | None = None
    base_year: Year | None = None
    paid_through: date | None = None
    replicates: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 2000
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**64)] = 1
    allow_inconsistent: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = (
        None
    )

    @field_validator("contracts", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


AxisValue = Annotated[str, StringConstraints(min_length=1, max_length=1000)] | bool | int | float


class AxisRange(Strict):
    """`count` values from one end to the other."""

    first: Annotated[int | float, Field(alias="from")]
    last: Annotated[int | float, Field(alias="to")]
    count: Annotated[int, Field(strict=True, ge=1)]


class SweepRequest(Strict):
    """A grid of terms to settle a finished run's partnerships by."""

    run: Annotated[str, StringConstraints(min_length=1, max_length=36)]
    axes: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]+$", max_length=200)],
            Annotated[list[AxisValue], Field(min_length=1, max_length=100_000)] | AxisRange,
        ],
        Field(min_length=1, max_length=50),
    ]


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
        return cls(**vars(held), shards=held.n_shards, created_at=_at(held.created_ms))


class RunView(BaseModel):
    """A run: what was asked, where it stands, where its results are."""

    id: str
    state: State
    population: str
    contracts: list[str]
    performance_year: int | None
    base_year: int | None
    paid_through: date | None
    replicates: int
    seed: int
    allow_inconsistent: str | None
    shards_done: int
    shards_total: int
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
    def of(cls, run: Run) -> RunView:
        """The view of a stored row; folders of the server stay inside."""
        asked = run.request["asked"]
        here = f"/v1/runs/{run.id}"
        detail = run.detail
        if detail is not None:
            detail = detail.replace(run.request["population"], asked["population"])
        return cls(
            **{
                **vars(run),
                **RunRequest.model_validate(asked).model_dump(),
                "detail": detail,
                "created_at": _at(run.created_ms),
                "started_at": None if run.started_ms is None else _at(run.started_ms),
                "finished_at": None if run.finished_ms is None else _at(run.finished_ms),
                "links": {
                    "self": here,
                    "events": f"{here}/events",
                    "cancel": f"{here}/cancel",
                    "results": f"{here}/results",
                    "manifest": f"{here}/manifest",
                    "report": f"{here}/report",
                },
            }
        )


class SweepView(BaseModel):
    """A sweep: what was asked, where it stands, where its rows are."""

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
    def of(cls, run: Run) -> SweepView:
        """The view of a stored row; folders of the server stay inside."""
        here = f"/v1/sweeps/{run.id}"
        request = run.request
        detail = run.detail
        if detail is not None:
            detail = detail.replace(request["run_dir"], f"run {request['asked']['run']}")
        return cls(
            **{
                **vars(run),
                **request["asked"],
                "scenarios": request["scenarios"],
                "rows": request["rows"],
                "rows_done": run.shards_done,
                "detail": detail,
                "created_at": _at(run.created_ms),
                "started_at": None if run.started_ms is None else _at(run.started_ms),
                "finished_at": None if run.finished_ms is None else _at(run.finished_ms),
                "links": {
                    "self": here,
                    "run": f"/v1/runs/{request['asked']['run']}",
                    "events": f"{here}/events",
                    "cancel": f"{here}/cancel",
                    "results": f"{here}/results",
                },
            }
        )


class SweepPage(BaseModel):
    """Sweeps, newest first; `next_page_token` asks for the ones before."""

    sweeps: list[SweepView]
    next_page_token: str | None


class RunPage(BaseModel):
    """Runs, newest first; `next_page_token` asks for the ones before."""

    runs: list[RunView]
    next_page_token: str | None


class EventView(BaseModel):
    """One thing that happened to a run."""

    seq: int
    at: datetime
    actor: str
    kind: str
    from_state: State | None
    to_state: State | None
    detail: Mapping[str, Any]

    @classmethod
    def of(cls, held: Event) -> EventView:
        """The view of a stored row."""
        actor = "dispatcher" if held.actor.count(":") >= 2 else held.actor
        return cls(**{**vars(held), "actor": actor, "at": _at(held.at_ms)})


class ResultView(BaseModel):
    """A table of results."""

    table: str
    rows: int
    columns: list[str]
    restricted: bool
    href: str


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


class KeyView(BaseModel):
    """An API key without the key."""

    id: str
    owner: str
    note: str
    scopes: list[str]
    state: str
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, key: Key) -> KeyView:
        """The view of a stored row."""
        expires_at = _at(key.expires_ms)
        state = "revoked" if key.revoked_ms is not None else "in use"
        if state == "in use" and expires_at < datetime.now(UTC):
            state = "expired"
        return cls(
            **{
                **vars(key),
                "scopes": list(key.scopes),
                "state": state,
                "created_at": _at(key.created_ms),
                "expires_at": expires_at,
            }
        )
