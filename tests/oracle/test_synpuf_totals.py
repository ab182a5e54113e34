"""CMS's own yearly totals per beneficiary, met by lines that went through the door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ihp_compute.ingest.passes import ingest
from ihp_compute.population.shards import open_population


@pytest.fixture(scope="module")
def retained(synpuf_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Retained lines: member, year of the claim's through date, bill type, cents."""
    out = tmp_path_factory.mktemp("synpuf-population") / "population"
    ingest(synpuf_folder, out, shards=4)
    population = open_population(out)
    bill_types = population.codes("bill_type").to_numpy(zero_copy_only=False)
    pieces = []
    for shard in population.shards:
        ids = shard.strings("identity", "member_id").to_numpy(zero_copy_only=False)
        pieces.append(
            pl.DataFrame(
                {
                    "id": ids[
                        np.repeat(np.arange(shard.n_members), np.diff(shard.offsets("lines")))
                    ],
                    "year": pl.Series(shard.column("lines", "claim_end_day"))
                    .cast(pl.Date)
                    .dt.year(),
                    "bill_type": bill_types[shard.column("line_detail", "bill_type")],
                    "cents": shard.column("lines", "paid_cents"),
                }
            )
        )
    return pl.concat(pieces)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("bill_type", "total", "at_least"), [("111", "MEDREIMB_IP", 996), ("131", "MEDREIMB_OP", 997)]
)
def test_payments_equal_the_totals_of_cms(
    shared: Path, retained: pl.DataFrame, bill_type: str, total: str, at_least: int
) -> None:
    """Of 998 member-years; the sample's own claims do not hold the few others."""
    bene = pl.read_parquet(shared / "data" / "synpuf" / "bene.parquet").select(
        id="DESYNPUF_ID",
        year=pl.col("BENE_YEAR").cast(pl.Int32),
        cms=(pl.col(total) * 100).round().cast(pl.Int64),
    )
    ours = (
        retained.filter(pl.col("bill_type") == bill_type)
        .group_by("id", "year")
        .agg(pl.col("cents").sum())
    )
    both = bene.join(ours, on=["id", "year"], how="left").with_columns(pl.col("cents").fill_null(0))
    assert both.height == 998
    assert (both["cents"] == both["cms"]).sum() >= at_least
