"""CMS's sample of its integrated data repository (150 claims, 1,039 lines) in the input layout.

A claim is known by its control number, type, the beneficiary's geographic key and its number; its
copies differ by unique id and by date signature. The day CMS processed a copy stands in the date
signature, and is what orders versions; a copy whose signature is gone has no such day. CMS's own
flags (final action, latest claim) stay out of the input: they are the answer.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

CLAIM_KEY = ("CLM_CNTL_NUM", "CLM_TYPE_CD", "GEO_BENE_SK", "CLM_NUM_SK")


def write_idr(source: Path, out: Path) -> Path:
    """Write `medical_claim` (a row a line, one for a claim without lines) and `eligibility`."""
    out.mkdir(parents=True, exist_ok=True)
    claims, lines, signatures = (
        pl.read_csv(source / f"SYNTHETIC_{name}.csv", infer_schema=False)
        for name in ("CLM", "CLM_LINE", "CLM_DT_SGNTR")
    )
    claims = claims.join(
        signatures.select("CLM_DT_SGNTR_SK", "CLM_CMS_PROC_DT"), on="CLM_DT_SGNTR_SK", how="left"
    )
    rows = claims.join(lines, on="CLM_UNIQ_ID", how="left", suffix="_line").select(
        claim_id=pl.concat_str(CLAIM_KEY, separator="-"),
        claim_line_number="CLM_LINE_NUM",
        person_id="BENE_SK",
        claim_start_date="CLM_FROM_DT",
        claim_end_date="CLM_THRU_DT",
        claim_line_start_date="CLM_LINE_FROM_DT",
        paid_date="CLM_IDR_LD_DT",
        file_date="CLM_CMS_PROC_DT",
        hcpcs_code="CLM_LINE_HCPCS_CD",
        revenue_center_code="CLM_LINE_REV_CTR_CD",
        paid_amount="CLM_LINE_CVRD_PD_AMT",
        charge_amount="CLM_LINE_SBMT_CHRG_AMT",
        cms_unique_id="CLM_UNIQ_ID",
    )
    rows.write_csv(out / "medical_claim.csv")
    rows.select("person_id").unique(maintain_order=True).with_columns(
        enrollment_start_date=pl.lit("2015-01-01"), enrollment_end_date=pl.lit("2026-12-31")
    ).write_csv(out / "eligibility.csv")
    return out
