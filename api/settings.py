"""What an operator decides about a service, from `IHP_…` variables; the command line goes first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.home import Home


class Settings(BaseSettings):
    """Settings of `ihp serve`.

    `locations` are the folders populations may be registered from, by name, as JSON in
    `IHP_LOCATIONS`; `default` is `HOME/populations` unless named there. Nobody can name another.
    """

    model_config = SettingsConfigDict(env_prefix="IHP_", extra="ignore", frozen=True)

    home: Path = Path("~/.ihp")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    database_url: str | None = None
    locations: dict[str, Path] = {}
    ray_address: str = "local"
    cpus: Annotated[int, Field(ge=1)] | None = None
    max_body_bytes: Annotated[int, Field(ge=1)] = 1 << 20
    max_replicates: Annotated[int, Field(ge=0)] = 20_000
    max_sweep_rows: Annotated[int, Field(ge=1)] = 1_000_000
    max_wait_s: Annotated[float, Field(ge=0)] = 60.0
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
    def roots(self) -> dict[str, Path]:
        """Folder of each location."""
        return {"default": self.folder.populations, **self.locations}
