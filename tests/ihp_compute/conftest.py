"""A finished run of 25 invented partnerships, for tests of what reads runs."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ihp_compute.data_quality import DATA_QUALITY, DATA_REVIEW, GateTerms, Noticed, table_of
from ihp_compute.results.programme_tables import PROGRAMME_TABLES
from ihp_compute.results.quality_tables import QUALITY, QUALITY_MEASURES
from ihp_compute.results.tables import (
    ATTRIBUTION,
    CAPS,
    CHANCES,
    CORRIDOR,
    DISTRIBUTION,
    EXCLUSIONS,
    INTERVALS,
    LEDGER,
    NETTED,
    PAYMENTS,
    SCORE_CHANGES,
    SENSITIVITIES,
    SETTLEMENT,
    SETTLEMENT_STATE,
    UTILISATION,
    WALK,
)
from ihp_compute.settlement import CHANGES, PARTNERSHIP, STATE

SIZES = (78, 58, 52, 45, 40, 32, 30, 28, 22, 20, 18, 14, 12, 8, 7, 6, 6, 6, 5, 5, 4, 3, 3, 2, 1)
GATE = 0.02


def _walk(
    pid: str,
    base: int,
    parts: dict[str, int],
    target: int,
    observed: int,
    gate: float,
    passed: bool,
    quality: int,
    payment: int,
) -> list[tuple[Any, ...]]:
    agreement = "Sample agreement 2021, appendix G"
    savings = target - observed
    share = payment - quality
    rows = [
        ("agreed_base", base, "agreed PMPM; 0.00 above the recomputed base", agreement, "contract"),
        ("recomputed_base", base, "base PMPM x performance member months", "claims", "contract"),
        ("trend", parts["trend"], "4.2 % a year, 2 years: x 1.085764", "working value", "assumed"),
        ("policy", parts["policy"], "x 1.011", "working value", "assumed"),
        ("completion", parts["completion"], "x 1.000", "run-out of 15 months", "assumed"),
        (
            "rate_mix",
            parts["rate_mix"],
            "performance-year mix of rate cells",
            agreement,
            "recalled",
        ),
        ("risk", parts["risk"], "1.0312 to 1.0547: x 1.022789", agreement, "recalled"),
        ("target", target, "sum of the above", "", "contract"),
        ("observed", observed, "capped, complete", "claims", "contract"),
        ("savings", savings, f"{savings / target:.4%} of target", "", "contract"),
        (
            "gate",
            round(gate * target),
            f"2 % of target: {'passed' if passed else 'missed'}",
            "Integrated Health Partnerships overview, p. 4",
            "recalled",
        ),
        (
            "share",
            share if passed else 0,
            "50 % from the first dollar",
            "payer summary",
            "published",
        ),
        ("quality", quality, "weight 50 %, score 0.82", agreement, "recalled"),
        ("withhold", 0, "none", "", "contract"),
        ("cap", 0, "none", "", "recalled"),
        ("payment", payment, "positive: to the partnership", "", "contract"),
    ]
    return [(pid, position, *row) for position, row in enumerate(rows)]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder; `names` replaces partnership ids, `balanced` breaks the ledger.

    `noticed` is judged by the gates of an ingest, of which some are accepted.
    """

    def make(
        *,
        names: dict[int, str] | None = None,
        balanced: bool = True,
        replicates: int = 2000,
        recalled: bool = True,
        device: str = "cpu",
        requested: str = "auto",
        noticed: Sequence[Noticed] = (),
        accept: Mapping[str, str] | None = None,
    ) -> Path:
        random_ = random.Random(7)  # noqa: S311 - invented figures
        run_dir = tmp_path / "run"
        run_dir.mkdir(exist_ok=True)
        settlement, intervals, walk, use, scores = [], [], [], [], []
        for index, size in enumerate(SIZES):
            pid = (names or {}).get(index, f"IHP{index + 1:02d}")
            n = size * 1000 + random_.randrange(-300, 300)
            months = round(n * 11.4)
            base_pmpm = 380 + random_.random() * 90
            ratio = 1 + random_.gauss(0.01, 0.02)
            base = round(base_pmpm * 100 * months)
            parts = {
                "trend": round(base * 0.085764),
                "policy": round(base * 1.085764 * 0.011),
                "completion": 0,
                "rate_mix": round(base * random_.gauss(0, 0.01)),
                "risk": round(base * 1.0977 * (ratio - 1)),
            }
            target = base + sum(parts.values())
            error = 2.6 / math.sqrt(n)
            rate = random_.gauss(0.018, 0.02) + random_.gauss(0, error)
            observed = round(target * (1 - rate))
            savings = target - observed
            passed = abs(savings) >= GATE * target
            share = round(savings * 0.5) if passed else 0
            quality = round(-share * 0.09) if share > 0 else 0
            payment = share + quality
            missed = 0 if passed else round(GATE * target) - abs(savings)
            settlement.append(
                (
                    pid,
                    "mn-ihp-2.0-track-2" if index % 3 else "mn-ihp-1.0",
                    2023,
                    "final",
                    n,
                    months,
                    base_pmpm,
                    ratio,
                    target,
                    observed,
                    savings,
                    savings / target,
                    passed,
                    missed,
                    payment,
                )
            )
            flag = "below_minimum_size" if n < 2000 else ""
            for conditioning, width in (("target_resampled", 1.0), ("target_fixed", 0.7)):
                for level, z in (
                    ((0.80, 1.2816), (0.90, 1.6449), (0.95, 1.96)) if replicates else ()
                ):
                    half = z * error * width
                    for method in ("percentile", "basic"):
                        intervals.append(
                            (
                                PARTNERSHIP,
                                pid,
                                "savings_rate",
                                "",
                                method,
                                conditioning,
                                level,
                                savings / target,
                                savings / target - half,
                                savings / target + half,
                                error * width,
                                error * width / 20,
                                error * width / 20,
                                flag,
                            )
                        )
                        intervals.append(
                            (
                                PARTNERSHIP,
                                pid,
                                "savings_cents",
                                "",
                                method,
                                conditioning,
                                level,
                                float(savings),
                                savings - half * target,
                                savings + half * target,
                                error * width * target,
                                error * width * target / 20,
                                error * width * target / 20,
                                flag,
                            )
                        )
                        low, high = (
                            (savings / target + side * half) * target * 0.455 for side in (-1, 1)
                        )
                        intervals.append(
                            (
                                PARTNERSHIP,
                                pid,
                                "payment_cents",
                                "",
                                method,
                                conditioning,
                                level,
                                float(payment),
                                min(low, payment, 0.0),
                                max(high, payment, 0.0),
                                error * width * target * 0.4,
                                error * width * target * 0.4 / 20,
                                error * width * target * 0.4 / 20,
                                flag,
                            )
                        )
            scores.append((pid, 0.82, 0.0, 0.82, 0.82, quality, 0, "supplied"))
            walk += _walk(pid, base, parts, target, observed, GATE, passed, quality, payment)
            for year, lift in ((2021, 1.0), (2023, random_.uniform(0.86, 1.06))):
                stays, visits = round(n * 0.071 * lift), round(n * 0.49 * lift)
                again = max(round(stays * 0.11), 0)
                use.append(
                    (
                        pid,
                        year,
                        n,
                        months,
                        stays,
                        visits,
                        stays,
                        again,
                        stays * 12000 / months,
                        visits * 12000 / months,
                        again / stays if stays else 0.0,
                        0,
                    )
                )
        for group, n in (("COMPARISON", 8), ("UNATTRIBUTED", 420_000)):
            use += [
                (group, year, n, n * 10, n // 2, n // 3, n // 2, n // 40, 600.0, 400.0, 0.05, 0)
                for year in (2021, 2023)
            ]
        chances = [
            (
                row[0], conditioning, 0.8, 0.4, 0.4, 0.1, row[13], 500, 3, "state", 0.03, 0.02,
                0.025, 0.75,
            )
            for row in settlement
            for conditioning in ("target_resampled", "target_fixed")
            if replicates
        ]  # fmt: skip
        corridor = [
            (
                row[0],
                place,
                row[8] - saved,
                saved / row[8],
                saved,
                abs(saved) >= GATE * row[8],
                *[paid] * 3,
            )
            for row in settlement
            for place, saved in enumerate(round(row[8] * k / 100) for k in range(-15, 16))
            for paid in (round(saved / 2) if abs(saved) >= GATE * row[8] else 0,)
        ]
        distribution = [
            (PARTNERSHIP, row[0], conditioning, part, row[10], (part - 10) / 200, (part - 9) * 9)
            for row in settlement
            for conditioning in ("target_resampled", "target_fixed")
            for part in (range(1, 21) if replicates else ())
        ]
        caps = [
            (row[0], year, row[4], row[4] // 500, 0, row[9], 0, above, row[9] - above)
            for row in settlement
            for above in (row[9] // 50,)
            for year in (2021, 2023)
        ]
        sensitivities = [
            (row[0], scenario, row[7], row[9], row[13] + 100, 100)
            for row in settlement
            for scenario in CHANGES
        ]
        sizes = [(pid, n) for pid, year, n, *_ in use if year == 2023]
        standing = [
            (
                group, year, step, n // 2, n * 5, n // 100,
                *(n // k * (year == 2023) for k in moves), 0,
            )
            for group, n in sizes
            for year in (2021, 2023)
            for step, moves in (
                [("none", (8, 9, 10, 11))] if group == "UNATTRIBUTED" else [
                    ("health_care_home", (200, 300, 400, 500)), ("primary_care", (20, 25, 50, 40)),
                ]
            )
        ]  # fmt: skip
        ledger = _ledger(balanced=balanced)
        exclusions = [
            (year, reason, members, members * 7, members * 123_456, 0)
            for year in (2021, 2023)
            for reason, members in (
                ("dual", 82_100),
                ("spend_down", 4_321),
                ("partial_benefit", 9),
                ("too_few_months", 61_222),
            )
        ]
        for declared, rows in (
            *((table, []) for table in PROGRAMME_TABLES.values()),
            (SETTLEMENT, settlement),
            (SETTLEMENT_STATE, _by_scope(settlement)),
            (INTERVALS, intervals),
            (WALK, walk),
            (UTILISATION, use),
            (ATTRIBUTION, standing),
            (LEDGER, ledger),
            (EXCLUSIONS, exclusions),
            (CHANCES, chances),
            (CAPS, caps),
            (CORRIDOR, corridor),
            (DISTRIBUTION, distribution),
            (SENSITIVITIES, sensitivities),
            (NETTED, []),
            (PAYMENTS, _by_payer(settlement)),
            (QUALITY, scores),
            (QUALITY_MEASURES, []),
            (DATA_REVIEW, []),
            (SCORE_CHANGES, []),
            *((declared, []) for declared in PROGRAMME_TABLES.values()),
        ):
            schema = declared.arrow
            columns = list(zip(*rows, strict=True)) or [()] * len(schema)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            pq.write_table(
                pa.Table.from_arrays(arrays, schema=schema), run_dir / f"{declared.name}.parquet"
            )
        judged = table_of(GateTerms(accept=accept or {}).judge(noticed))
        pq.write_table(judged, run_dir / f"{DATA_QUALITY.name}.parquet")
        (run_dir / "manifest.json").write_text(
            json.dumps(
                _manifest(replicates, recalled=recalled, device=device, requested=requested)
            ),
            encoding="utf-8",
        )
        return run_dir

    return make


def _by_scope(settlement: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sums of invented settlements; half of every payment is federal."""
    found = []
    for scope, place in ((PARTNERSHIP, 0), ("track", 1), (STATE, None)):
        for scope_id in sorted({row[place] if place is not None else STATE for row in settlement}):
            own = [row for row in settlement if place is None or row[place] == scope_id]
            sums = [sum(row[k] for row in own) for k in (4, 5, 8, 9, 10, 14)]
            found.append((scope, scope_id, *sums, sums[-1] - round(sums[-1] / 2)))
    return found


def _by_payer(settlement: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """A third of every payment is of fee for service, the rest of a plan."""
    parts = ((row[0], row[-1], round(row[-1] / 3)) for row in settlement)
    return [row for p, all_, ffs in parts for row in ((p, "ffs", ffs), (p, "MCO-A", all_ - ffs))]


def _ledger(*, balanced: bool) -> list[tuple[Any, ...]]:
    ledger = []
    for table, file, lines, dollars in (
        ("medical_claim", "medical_claim/part-0.parquet", 2_904_112, 96_113_224_118),
        ("medical_claim", "medical_claim/part-1.parquet", 901_337, 30_001_991_007),
        ("pharmacy_claim", "pharmacy_claim.parquet", 1_104_998, 12_412_008_871),
    ):
        for fate, share in (
            ("unreadable", 0.0001),
            ("duplicate", 0.001),
            ("voided", 0.004),
            ("superseded", 0.006),
            ("denied", 0.02),
            ("unknown_member", 0.0005),
            ("outside_eligibility", 0.012),
        ):
            ledger.append(
                (table, file, "ingest", fate, round(lines * share), round(dollars * share))
            )
        ledger.append((table, file, "ingest", "retained", lines, dollars))
        left_lines, left = lines, dollars
        for fate, share in (
            ("paid_after_cutoff", 0.01),
            ("outside_period", 0.33),
            ("capitation", 0.02),
            ("excluded_member", 0.06),
            ("not_attributed", 0.31),
            ("excluded_service", 0.05),
        ):
            ledger.append((table, file, "run", fate, round(lines * share), round(dollars * share)))
            left_lines -= round(lines * share)
            left -= round(dollars * share)
        if not balanced and table == "pharmacy_claim":
            left -= 31_205
        ledger.append((table, file, "run", "counted", left_lines, left))
    ledger.append(("", "", "run", "above_cap", 0, 2_114_009_113))
    ledger.append(("", "", "run", "floored", 0, 812_044))
    return [(*row, 0) for row in ledger]


def _manifest(replicates: int, *, recalled: bool, device: str, requested: str) -> dict[str, Any]:
    names = [
        "attribution.min_months_continuous", "attribution.min_months_any", "cost.claim_cap",
        "settlement.gain.gate", "settlement.loss.gate", "target.trend", "target.policy",
        "settlement.gain.quality.weight", "risk.model",
    ] if recalled else []  # fmt: skip
    return {
        "kind": "run",
        "digest": hashlib.sha256(b"example").hexdigest(),
        "terms": {"method_version": "1", "seed": 1},
        "method_version": "1",
        "engine_version": "0.1.0",
        "performance_year": 2023,
        "base_year": 2021,
        "paid_through": "2025-03-31",
        "seed": 1,
        "replicates": replicates,
        "runner": "local",
        "device": device,
        "device_requested": requested,
        "draft_terms": {"recalled_or_assumed": len(names), "total": 41, "names": names},
        "contracts": [
            {"name": "mn-ihp-1.0", "sha256": hashlib.sha256(b"1").hexdigest()},
            {"name": "mn-ihp-2.0-track-2", "sha256": hashlib.sha256(b"2").hexdigest()},
        ],
        "risk_model": {"name": "supplied", "sha256": hashlib.sha256(b"3").hexdigest()},
        "population": {"path": "population", "digest": hashlib.sha256(b"4").hexdigest()},
        "inputs": [
            {
                "source_table": "medical_claim",
                "file": "medical_claim/part-0.parquet",
                "rows": 3_030_000,
                "sha256": hashlib.sha256(b"5").hexdigest(),
            },
        ],
        "timings": {"measure": 3.1, "settle": 0.4},
    }


@pytest.fixture(scope="session")
def weights() -> Callable[..., Path]:
    """Writes a built-in risk model to a file, as a concurrent one, a weight changed if asked."""
    from msgspec.structs import replace  # noqa: PLC0415 - few tests need a model

    from ihp_compute.risk.models import encode  # noqa: PLC0415
    from ihp_compute.risk.models.store import load  # noqa: PLC0415

    text = encode(replace(load("cms-hcc-v28"), timing="concurrent"))

    def write(path: Path, *, changed: bool = False) -> Path:
        model = json.loads(text)
        if changed:
            first = model["coefficients"][0]
            first["value"] = str(Decimal(first["value"]) + 1)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(model), encoding="utf-8")
        return path

    return write
