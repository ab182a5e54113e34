"""What an operator decides about a service, from `IHP_…` variables; the command line goes first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.home import Home
from ihp_compute.storage import Location, locations_of

DOCS: Final = Path(__file__).resolve().parents[1] / "build" / "docs"
"""Where `make docs` writes the documentation of a checkout."""


class Limit(NamedTuple):
    """A bound: its value, in the unit that ends its name; what it bounds; its variable."""

    value: float
    meaning: str
    variable: str


class Settings(BaseSettings):
    """Settings of `ihp serve`.

    `locations` are the folders and buckets populations may be registered from, by name, as JSON in
    `IHP_LOCATIONS`; `default` is `HOME/populations` unless named there. Nobody can name another.
    `docs` is the folder of the documentation that is served under `/docs/`.
    A setting with a description is a bound of the service, and `limits` lists it.
    """

    model_config = SettingsConfigDict(env_prefix="IHP_", extra="ignore", frozen=True)

    home: Path = Path("~/.ihp")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plain_http: bool = False
    metrics: str | None = None
    database_url: str | None = None
    locations: dict[str, Path | dict[str, str]] = {}
    ray_address: str = "local"
    cpus: Annotated[int, Field(ge=1)] | None = None
    docs: Path = DOCS
    max_body_bytes: Annotated[int, Field(ge=1, description="a request's body")] = 1 << 20
    max_replicates: Annotated[int, Field(ge=0, description="replicates of a run")] = 20_000
    max_sweep_rows: Annotated[
        int, Field(ge=1, description="rows of a sweep: points times partnerships")
    ] = 1_000_000
    max_wait_s: Annotated[float, Field(ge=0, description="the longest `wait` for a run")] = 60.0
    head_s: Annotated[float, Field(gt=0, description="until a request's head is there")] = 10.0
    body_s: Annotated[float, Field(gt=0, description="until a request's body is there")] = 60.0
    idle_s: Annotated[float, Field(gt=0, description="a kept connection without a request")] = 15.0
    send_s: Annotated[float, Field(gt=0, description="a reader that takes nothing")] = 30.0
    max_connections: Annotated[int, Field(ge=1, description="open connections")] = 512
    max_waiting: Annotated[
        int, Field(ge=1, description="open connections of one address without a request")
    ] = 256
    max_streams: Annotated[int, Field(ge=1, description="open streams of events")] = 256
    max_downloads: Annotated[int, Field(ge=1, description="results under way at once")] = 8
    download_wait_s: Annotated[
        float, Field(ge=0, description="until a result that waits for its turn is refused")
    ] = 10.0
    key_check_s: Annotated[
        float, Field(gt=0, description="until a revoked key's streams and waits end")
    ] = 5.0
    key_days: Annotated[int, Field(ge=1)] = 365

    @property
    def folder(self) -> Home:
        """The service's folder."""
        return Home(self.home.expanduser().resolve())

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or self.folder.database_url

    @property
    def roots(self) -> dict[str, Location]:
        """Folder or bucket of each location.

        Raises
        ------
        LocationError
            If one is neither.
        """
        return {"default": self.folder.populations, **locations_of(self.locations)}

    @property
    def limits(self) -> dict[str, Limit]:
        """Every bound of the service, by the name of its setting."""
        return {
            name: Limit(getattr(self, name), field.description, f"IHP_{name.upper()}")
            for name, field in type(self).model_fields.items()
            if field.description is not None
        }
