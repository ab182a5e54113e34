"""Final action as CMS flags it, derived without its flags."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ihp_compute.data_quality import GateTerms
from ihp_compute.ingest.passes import ingest


@pytest.mark.shared
def test_final_action_agrees_with_the_flags_of_cms(
    shared: Path, idr_folder: Path, tmp_path: Path
) -> None:
    """All 150 claims: a line is retained exactly when CMS calls its claim final and the latest.

    One claim of the sample has no lines and stands as a row of its own. A copy that differs from
    the final one only in the day of its file is a duplicate: there is nothing else to supersede.
    """
    no_drugs = GateTerms(accept={"missing_claim_table": "the sample has no pharmacy claims"})
    document = ingest(idr_folder, tmp_path / "population", shards=2, gates=no_drugs)
    with (idr_folder / "medical_claim.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    aside = pq.read_table(tmp_path / "population" / "quarantine" / "medical_claim.parquet")
    fate = {row["row"]: row["fate"] for row in aside.to_pylist()}
    claims = shared / "data" / "bfd" / "idr_sample" / "SYNTHETIC_CLM.csv"
    with claims.open() as stream:
        final = {
            row["CLM_UNIQ_ID"]: (row["CLM_FINL_ACTN_IND"], row["CLM_LTST_CLM_IND"]) == ("Y", "Y")
            for row in csv.DictReader(stream)
        }
    assert len(lines) == document["tables"]["medical_claim"]["rows_read"] == 1_039 + 1
    assert {line["cms_unique_id"] for line in lines} == set(final)
    assert sorted(final.values()).count(False) == 4
    for number, line in enumerate(lines, start=1):
        met = fate.get(number, "retained")
        earlier = ("superseded", "duplicate")
        assert met in (("retained",) if final[line["cms_unique_id"]] else earlier), line
