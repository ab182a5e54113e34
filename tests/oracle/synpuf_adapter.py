"""CMS DE-SynPUF (500 beneficiaries, 2008-2009) as a folder in the input layout.

One line per inpatient and outpatient segment, with the payment CMS reports; up to five lines per
carrier claim and one per prescription drug event. Inpatient payment is the claim payment plus the
pass-through per diem times the days, which is what CMS's yearly totals hold. The synthetic sample
has no partnerships: a roster is made of its own physicians, dealt out by their number.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

PARTNERSHIPS = ("NORTH", "EAST", "SOUTH", "WEST", "COMPARISON")
MONEY = pl.Decimal(18, 2)


def write_synpuf(source: Path, out: Path) -> Path:
    """Write `eligibility`, `medical_claim`, `pharmacy_claim`, `provider_roster` as Parquet."""
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        name: pl.read_parquet(source / f"{name}.parquet")
        for name in ("bene", "inpatient", "outpatient", "carrier", "pde")
    }
    carrier = _carrier(tables["carrier"])
    medical = pl.concat(
        [_inpatient(tables["inpatient"]), _outpatient(tables["outpatient"]), carrier],
        how="diagonal",
    )
    _eligibility(tables["bene"]).write_parquet(out / "eligibility.parquet")
    medical.write_parquet(out / "medical_claim.parquet")
    _pharmacy(tables["pde"]).write_parquet(out / "pharmacy_claim.parquet")
    _roster(carrier).write_parquet(out / "provider_roster.parquet")
    return out


def _eligibility(bene: pl.DataFrame) -> pl.DataFrame:
    year = pl.col("BENE_YEAR").cast(pl.Int32)
    return bene.select(
        person_id="DESYNPUF_ID",
        gender=pl.col("BENE_SEX_IDENT_CD").replace_strict({"1": "male", "2": "female"}),
        birth_date="BENE_BIRTH_DT",
        death_date="BENE_DEATH_DT",
        enrollment_start_date=pl.date(year, 1, 1),
        enrollment_end_date=pl.date(year, 12, 31),
        payer=pl.lit("medicare"),
        payer_type=pl.lit("medicare"),
        data_source=pl.lit("synpuf"),
    )


def _shared(kind: str) -> dict[str, pl.Expr]:
    return {
        "claim_id": pl.col("CLM_ID"),
        "claim_type": pl.lit(kind),
        "person_id": pl.col("DESYNPUF_ID"),
        "claim_start_date": pl.col("CLM_FROM_DT"),
        "claim_end_date": pl.col("CLM_THRU_DT"),
        "paid_date": pl.col("CLM_THRU_DT"),
        "data_source": pl.lit("synpuf"),
        **{f"diagnosis_code_{k}": pl.col(f"ICD9_DGNS_CD_{k}") for k in range(1, 6)},
    }


def _inpatient(claims: pl.DataFrame) -> pl.DataFrame:
    days = pl.col("CLM_UTLZTN_DAY_CNT").fill_null(0)
    return claims.select(
        **_shared("institutional"),
        claim_line_number=pl.col("SEGMENT").cast(pl.Int32).cast(pl.String),
        admission_date="CLM_ADMSN_DT",
        discharge_date="NCH_BENE_DSCHRG_DT",
        bill_type_code=pl.lit("111"),
        drg_code="CLM_DRG_CD",
        rendering_npi="AT_PHYSN_NPI",
        facility_npi="PRVDR_NUM",
        paid_amount=(pl.col("CLM_PMT_AMT") + pl.col("CLM_PASS_THRU_PER_DIEM_AMT") * days).cast(
            MONEY
        ),
    )


def _outpatient(claims: pl.DataFrame) -> pl.DataFrame:
    return claims.select(
        **_shared("institutional"),
        claim_line_number=pl.col("SEGMENT").cast(pl.Int32).cast(pl.String),
        bill_type_code=pl.lit("131"),
        hcpcs_code="HCPCS_CD_1",
        rendering_npi="AT_PHYSN_NPI",
        facility_npi="PRVDR_NUM",
        paid_amount=pl.col("CLM_PMT_AMT").cast(MONEY),
    )


def _carrier(claims: pl.DataFrame) -> pl.DataFrame:
    lines = [
        claims.select(
            **_shared("professional"),
            claim_line_number=pl.lit(str(k)),
            hcpcs_code=f"HCPCS_CD_{k}",
            rendering_npi=f"PRF_PHYSN_NPI_{k}",
            rendering_tin=f"TAX_NUM_{k}",
            place_of_service_code=pl.lit("11"),
            paid_amount=pl.col(f"LINE_NCH_PMT_AMT_{k}").cast(MONEY),
            allowed_amount=pl.col(f"LINE_ALOWD_CHRG_AMT_{k}").cast(MONEY),
        ).filter(pl.col("hcpcs_code").is_not_null() | (pl.col("paid_amount") != 0))
        for k in range(1, 6)
    ]
    return pl.concat(lines)


def _pharmacy(events: pl.DataFrame) -> pl.DataFrame:
    return events.select(
        claim_id="PDE_ID",
        claim_line_number=pl.lit("1"),
        person_id="DESYNPUF_ID",
        dispensing_date="SRVC_DT",
        paid_date="SRVC_DT",
        ndc_code="PROD_SRVC_ID",
        quantity=pl.col("QTY_DSPNSD_NUM").cast(pl.String),
        days_supply=pl.col("DAYS_SUPLY_NUM").cast(pl.String),
        paid_amount=(pl.col("TOT_RX_CST_AMT") - pl.col("PTNT_PAY_AMT")).cast(MONEY),
        data_source=pl.lit("synpuf"),
    )


def _roster(carrier: pl.DataFrame) -> pl.DataFrame:
    npis = carrier["rendering_npi"].drop_nulls().unique().sort()
    dealt = [PARTNERSHIPS[int(npi) % len(PARTNERSHIPS)] for npi in npis]
    return pl.DataFrame(
        {
            "npi": npis,
            "tin": "",
            "partnership_id": dealt,
            "specialty": "primary care",
            "health_care_home": "false",
            "start_date": "2008-01-01",
            "end_date": "2009-12-31",
        }
    )
