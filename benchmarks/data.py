r"""Synthetic states for the benchmarks, made once and kept in the user's cache folder.

    synth -> raw Parquet -> ingest -> population
                         \-> clean: the retained rows alone, for peers who read Parquet

A peer is spared what ingest decides: it reads raw columns of the rows that were retained, with a
service category and setting beside each medical line, enrolment as one span per rate cell, and
nothing to deduplicate, reverse, deny or reject. That favours the peer.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ihp_compute.codes import (
    LINE_ED,
    LINE_INPATIENT,
    RATE_CELLS,
    SERVICE_CATEGORIES,
    SPAN_DUAL,
    SPAN_LIMITED_BENEFITS,
    SPAN_PARTIAL_BENEFIT,
    SPAN_SPEND_DOWN,
)
from ihp_compute.ingest.passes import ingest
from ihp_compute.ledger import CLAIM_TABLES
from ihp_compute.population.shards import LAYOUT_VERSION, Population, open_population
from ihp_compute.synth.state import VERSION, synth
from ihp_compute.units import NO_DAY

SEED: Final = 1
_CLAIM_KEY: Final = ["person_id", "claim_id", "claim_line_number", "paid_date", "paid_cents"]


def cache() -> Path:
    """Where the states are kept: IHP_BENCH_CACHE, else the user's cache folder."""
    given = os.environ.get("IHP_BENCH_CACHE")
    if given:
        return Path(given)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "ihp-compute" / "bench"


def shards_for(members: int) -> int:
    """Shards of about 12,000 members, as an ingest takes by itself, or eight of fewer.

    More members need more memory than 2 GiB; the last shard made is waited for, so that their
    number is even: each of two threads makes as many.
    """
    shards = max(2, members // 12_000, min(8, members // 2_000))
    return shards + shards % 2


@dataclass(frozen=True)
class State:
    """A synthetic state on disk."""

    members: int

    @property
    def raw(self) -> Path:
        """Raw tables in the input layout."""
        return cache() / f"synth-{VERSION}-{self.members}"

    @property
    def population_dir(self) -> Path:
        """The prepared population."""
        return cache() / f"population-{VERSION}-{LAYOUT_VERSION}-{self.members}"

    @property
    def clean(self) -> Path:
        """Retained rows of the raw tables as Parquet."""
        return cache() / f"clean-{VERSION}-{self.members}"

    def make(self) -> State:
        """Whatever of it is missing, made now. Delete the cache folder to make it anew."""
        self.make_population()
        if not (self.clean / "done").is_file():
            shutil.rmtree(self.clean, ignore_errors=True)
            write_clean(self, self.population())
        return self

    def make_population(self) -> State:
        """Raw tables and population, for whoever has no peer."""
        self.make_raw()
        if not (self.population_dir / "manifest.json").is_file():
            shutil.rmtree(self.population_dir, ignore_errors=True)
            ingest(self.raw, self.population_dir, shards=shards_for(self.members))
        return self

    def make_raw(self) -> State:
        """The raw tables alone."""
        if not (self.raw / "truth.json").is_file():
            shutil.rmtree(self.raw, ignore_errors=True)
            cache().mkdir(parents=True, exist_ok=True)
            synth(self.members, SEED, self.raw)
        return self

    def population(self) -> Population:
        """The population, open."""
        return open_population(self.population_dir)

    @property
    def lines(self) -> int:
        """Raw claim lines."""
        return int(json.loads((self.raw / "truth.json").read_text())["lines"])


def state(members: int) -> State:
    """The state of that many members, ready to use."""
    return State(members).make()


# --- retained rows as Parquet --------------------------------------------------------------------


def write_clean(made: State, population: Population) -> None:
    """Raw rows that ingest retained, file by file, and enrolment by span."""
    out = made.clean
    retained = _retained(population)
    for table in CLAIM_TABLES:
        (out / table).mkdir(parents=True)
    rows = 0
    for (file,), wanted in retained.partition_by("file", as_dict=True).items():
        entry = population.manifest["inputs"][file]
        raw = pl.read_parquet(made.raw / entry["file"])
        if raw.schema["paid_amount"] == pl.String:
            raise ValueError(f"{entry['file']}: retained rows with amounts as text")
        kept = (
            raw.with_columns(
                paid_cents=(pl.col("paid_amount").fill_null(0) * 100).cast(pl.Int64),
                # 1, 01 and 1.0 are one
                claim_line_number=pl.col("claim_line_number")
                .cast(pl.Float64)
                .cast(pl.Int64)
                .cast(pl.String),
            )
            .unique(subset=_CLAIM_KEY, keep="first", maintain_order=True)
            .join(
                wanted.drop("file"),
                on=_CLAIM_KEY,
                how="inner",
                maintain_order="left",
                nulls_equal=True,
            )
            .drop("paid_cents")
        )
        if kept.height != wanted.height:
            raise ValueError(
                f"{entry['file']}: {wanted.height} rows retained, {kept.height} found by key"
            )
        rows += kept.height
        kept.write_parquet(out / entry["file"], compression="snappy")
    _spans(population).write_parquet(out / "eligibility.parquet", compression="snappy")
    for name in ("risk_score", "provider_roster"):
        shutil.copy(made.raw / f"{name}.parquet", out / f"{name}.parquet")
    (out / "done").write_text(f"{rows}\n")


def _days(column: np.ndarray) -> pl.Series:
    days = pl.Series(column)
    return pl.select(pl.when(days != NO_DAY).then(days).cast(pl.Date)).to_series()


def _retained(population: Population) -> pl.DataFrame:
    """Keys of retained lines, with what ingest made of them."""
    parts = []
    for shard in population.shards:
        counts = np.diff(shard.offsets("lines"))
        person = pl.Series(shard.strings("identity", "member_id")).gather(
            np.repeat(np.arange(shard.n_members), counts)
        )
        flags = shard.column("lines", "flags")
        category = shard.column("lines", "category")
        parts.append(
            pl.DataFrame(
                {
                    "person_id": person,
                    "claim_id": pl.Series(shard.strings("line_detail", "claim_id")),
                    "claim_line_number": pl.Series(
                        shard.strings("line_detail", "claim_line_number")
                    ),
                    "paid_date": _days(shard.column("lines", "paid_day")),
                    "paid_cents": shard.column("lines", "paid_cents"),
                    "x_service_category": pl.Series(SERVICE_CATEGORIES).gather(
                        category.astype(np.uint32)
                    ),
                    "x_hospital": (flags & (LINE_ED | LINE_INPATIENT)) != 0,
                    "file": shard.column("lines", "file"),
                }
            ).with_columns(
                pl.col("x_service_category").cast(pl.Categorical),
            )
        )
    return pl.concat(parts, rechunk=False)


def _spans(population: Population) -> pl.DataFrame:
    parts = []
    for shard in population.shards:
        member = np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("spans")))
        flags = shard.column("spans", "flags")
        parts.append(
            pl.DataFrame(
                {
                    "person_id": pl.Series(shard.strings("identity", "member_id")).gather(member),
                    "birth_date": _days(shard.column("members", "birth_day")[member]),
                    "death_date": _days(shard.column("members", "death_day")[member]),
                    "first_month": shard.column("spans", "first_month"),
                    "n_months": shard.column("spans", "n_months"),
                    "rate_cell": pl.Series(RATE_CELLS).gather(
                        shard.column("spans", "rate_cell").astype(np.uint32)
                    ),
                    "dual": (flags & SPAN_DUAL) != 0,
                    "spend_down": (flags & SPAN_SPEND_DOWN) != 0,
                    "partial_benefit": (flags & SPAN_PARTIAL_BENEFIT) != 0,
                    "limited_benefits": (flags & SPAN_LIMITED_BENEFITS) != 0,
                }
            )
        )
    return pl.concat(parts).sort("person_id", "first_month")


def clean_rows(made: State) -> int:
    """Claim lines in the clean Parquet."""
    return sum(
        pq.ParquetFile(path).metadata.num_rows
        for table in CLAIM_TABLES
        for path in (made.clean / table).glob("*.parquet")
    )
