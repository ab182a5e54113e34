"""Results as Arrow tables: assembled from settled partnerships, digested, written whole.

    settled + sums -> tables -> digest -> RUN/*.parquet, totals.arrow, manifest.json, report.html

A run folder appears whole or not at all: it is written beside its place and renamed. Member-years
are most of what is written and nothing waits for them, so they are ordered and written beside the
settling.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

import ihp_compute
from ihp_compute import run_terms, tables
from ihp_compute.attribution import EXCLUSION_REASONS
from ihp_compute.errors import RunError, UnbalancedLedgerError
from ihp_compute.ledger import LINE_FATES, IngestFate, RunFate
from ihp_compute.measured import Measured
from ihp_compute.payers import payer_weights, split
from ihp_compute.plan import Plan
from ihp_compute.population import file_sha256
from ihp_compute.provenance import KEYS, MANIFEST, TOTALS, digest_of, sort_by, write_totals
from ihp_compute.report import REPORT, write_report
from ihp_compute.settlement import CONDITIONINGS, Settled
from ihp_compute.uncertainty import Totals, intervals

MEASURES: Final = ("savings_rate", "savings_cents", "payment_cents")


@dataclass(frozen=True)
class Results:
    """The tables of a run but member-years, by name, the totals, and what was counted."""

    tables: dict[str, pa.Table]
    totals: Totals
    settled: Sequence[Settled]
    counts: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """A finished run, as its caller sees it."""

    digest: str
    run_dir: Path
    seconds: float
    settlement: list[dict[str, Any]]
    headlines: tuple[str, ...]
    rate_intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The JSON document of `ihp run`."""
        return {
            "digest": self.digest,
            "run_dir": str(self.run_dir),
            "seconds": round(self.seconds, 3),
            "notes": list(self.headlines),
            "settlement": self.settlement,
        }

    def rate_interval(self, partnership_id: str) -> str:
        """The 95 % interval of the savings rate, to read; empty without replicates."""
        if partnership_id not in self.rate_intervals:
            return ""
        low, high = self.rate_intervals[partnership_id]
        return f"{low:+.2%} to {high:+.2%}"


def assemble(plan: Plan, measured: Measured, settled: Sequence[Settled]) -> Results:
    """Build every result table but member-years.

    Raises
    ------
    UnbalancedLedgerError
        If retained lines or dollars of the population are not those that met a run fate.
    """
    return Results(
        tables={
            "settlement": _settlement(settled),
            "intervals": _intervals(settled),
            "walk": _walk(settled, _age_warning(plan, measured)),
            "payments": _payments(plan, measured, settled),
            "ledger": _ledger(plan, measured),
            "exclusions": _exclusions(plan, measured),
            "utilisation": _utilisation(plan, measured),
        },
        totals=measured.totals,
        settled=settled,
        counts=dict(sorted(measured.counts.items())),
    )


def _table(schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema)


def _settlement(settled: Sequence[Settled]) -> pa.Table:
    names = tables.SETTLEMENT.names
    return _table(tables.SETTLEMENT, [{name: getattr(s, name) for name in names} for s in settled])


def _intervals(settled: Sequence[Settled]) -> pa.Table:
    rows = []
    for one in settled:
        flags = []
        if one.below_minimum_size:
            flags.append("below_minimum_size")
        if one.empty_cell_replicates:
            flags.append("empty_cell")
        for conditioning in CONDITIONINGS:
            draws = one.draws[conditioning]
            for measure in MEASURES:
                rows += [
                    {
                        "partnership_id": one.partnership_id,
                        "measure": measure,
                        "conditioning": conditioning,
                        "flag": " ".join(flags),
                        **vars(interval),
                    }
                    for interval in intervals(getattr(draws, measure))
                ]
    return _table(tables.INTERVALS, rows)


def _age_warning(plan: Plan, measured: Measured) -> str:
    """What the risk step must say of members whom the model was not made for; empty if none."""
    n = measured.counts[f"{plan.performance_year}:n_members_under_18"]
    if not n:
        return ""
    return f"; {n:,} members under 18 in the state, for whom {plan.scores.name} was not made"


def _walk(settled: Sequence[Settled], warning: str) -> pa.Table:
    rows = []
    for one in settled:
        for position, row in enumerate(one.walk):
            detail = row.detail + (warning if row.step == "risk" else "")
            rows.append(
                {
                    "partnership_id": one.partnership_id,
                    "position": position,
                    **vars(row),
                    "detail": detail,
                }
            )
    return _table(tables.WALK, rows)


def _payments(plan: Plan, measured: Measured, settled: Sequence[Settled]) -> pa.Table:
    """Who pays or is owed what, to the cent: each plan by member months; by cost, each kind."""
    agreements = plan.contracts.at(plan.performance_year)
    rows = []
    for one in settled:
        parts = one.payer_cents or {"all": one.payment_cents}
        if agreements[one.partnership_id]["payers.split"] == "member_months":
            months = measured.payer_months[plan.roster.groups.index(one.partnership_id)]
            weights = payer_weights(months, list(plan.plans))
            parts = split(one.payment_cents, weights) if weights else parts
        rows += [
            {"partnership_id": one.partnership_id, "payer": payer, "payment_cents": cents}
            for payer, cents in parts.items()
        ]
    return _table(tables.PAYMENTS, rows)


def _ledger(plan: Plan, measured: Measured) -> pa.Table:
    """Both stages by table, file and fate; what ingest retained must be what the run met."""
    names = ("table", "file", "fate", "lines", "paid_cents")
    rows = [
        {"stage": "ingest", **{name: entry[name] for name in names}} for entry in plan.origin.ledger
    ]
    retained = {
        (row["table"], row["file"]): (row["lines"], row["paid_cents"])
        for row in rows
        if row["fate"] == IngestFate.RETAINED.label and row["table"] in tables.SOURCE_TABLES
    }
    met: dict[tuple[str, str], tuple[int, int]] = {}
    for t, table in enumerate(tables.SOURCE_TABLES):
        for f, file in enumerate(plan.origin.files):
            for fate in RunFate:
                lines, cents = (int(x) for x in measured.ledger[t, f, fate])
                if not lines and not cents:
                    continue
                rows.append(
                    {
                        "table": table,
                        "file": file if fate in LINE_FATES else "",
                        "stage": "run",
                        "fate": fate.label,
                        "lines": lines,
                        "paid_cents": cents,
                    }
                )
                if fate in LINE_FATES:
                    before = met.get((table, file), (0, 0))
                    met[table, file] = (before[0] + lines, before[1] + cents)
    for key in sorted(retained.keys() | met.keys()):
        if retained.get(key, (0, 0)) != met.get(key, (0, 0)):
            table, file = key
            raise UnbalancedLedgerError(
                f"{table}, {file}: ingest retained {retained.get(key)} (lines, cents), the run met "
                f"{met.get(key)}; nothing was written. Verify the population with ihp verify"
            )
    return _table(tables.LEDGER, rows)


def _exclusions(plan: Plan, measured: Measured) -> pa.Table:
    return _table(
        tables.EXCLUSIONS,
        [
            {
                "year": year,
                "reason": reason,
                "n_members": int(sums[0]),
                "member_months": int(sums[1]),
                "paid_cents": int(sums[2]),
            }
            for year, by_reason in zip(plan.years, measured.exclusions, strict=True)
            for reason, sums in zip(EXCLUSION_REASONS, by_reason, strict=True)
            if reason and sums.any()
        ],
    )


def _per_thousand(events: int, months: int) -> float:
    """Events per 1,000 member-years; 0 without months."""
    return 12_000 * events / months if months else 0.0


def _utilisation(plan: Plan, measured: Measured) -> pa.Table:
    rows = []
    for year, by_group in zip(plan.years, measured.utilisation, strict=True):
        for group, sums in zip(plan.roster.groups, by_group, strict=True):
            members, months, stays, visits, readmissions, index_stays = map(int, sums)
            rows.append(
                {
                    "group": group,
                    "year": year,
                    "n_members": members,
                    "member_months": months,
                    "stays": stays,
                    "ed_visits": visits,
                    "readmissions": readmissions,
                    "stays_per_1000": _per_thousand(stays, months),
                    "ed_visits_per_1000": _per_thousand(visits, months),
                    "readmission_rate": readmissions / index_stays if index_stays else 0.0,
                }
            )
    return _table(tables.UTILISATION, rows)


def check_target(out: Path) -> None:
    """Refuse a place where something other than a run stands; a run there will be replaced.

    Raises
    ------
    RunError
        If `out` is a file, or a folder that holds anything but a finished run.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise RunError(f"{out}: is a file, expected a folder to make; choose another --out")
    try:
        kind = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        kind = None
    if kind != "run" and any(out.iterdir()):
        what = f"holds a {kind}" if isinstance(kind, str) else "exists and is not a run"
        raise RunError(f"{out}: {what}, which will not be overwritten; choose another --out")


class Draft:
    """A run folder on its way: `keep` what is measured, `finish` with the results.

    Used as a context: whatever was written is gone unless `finish` came to its end.

    Raises
    ------
    RunError
        If `out` exists and is not a finished run.
    """

    def __init__(self, out: Path) -> None:
        check_target(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        self.out = out
        self.folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._kept: list[Future[Any]] = []

    def __enter__(self) -> Self:
        """The draft itself."""
        return self

    def __exit__(self, *failure: object) -> None:
        """Leave nothing behind but a finished run."""
        self._writer.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, measured: Measured) -> None:
        """Order and write member-years while others go on."""
        ordered = self._writer.submit(_member_years, measured)
        self._kept = [
            ordered,
            self._writer.submit(
                lambda: _write_table(ordered.result(), self.folder, "member_years")
            ),
        ]

    def finish(self, results: Results, plan: Plan, *, runner_name: str, started: float) -> Outcome:
        """Digest the tables, write what is not yet written, and put the folder in its place."""
        check_target(self.out)
        terms = _terms(plan)
        write_totals(results.totals, self.folder / TOTALS)
        member_years = self._kept[0].result()
        digest = digest_of({**results.tables, "member_years": member_years}, results.totals, terms)
        for name, table in results.tables.items():
            _write_table(table, self.folder, name)
        kept = run_terms.document(plan.contracts, plan.quality)
        (self.folder / run_terms.FILE).write_text(json.dumps(kept) + "\n", encoding="utf-8")
        manifest = _manifest(results, plan, terms, digest, runner_name, started)
        _write_manifest(self.folder, manifest)
        write_report(self.folder)
        named = (run_terms.FILE, REPORT)
        manifest["files"] = {name: file_sha256(self.folder / name) for name in named}
        _write_manifest(self.folder, manifest)
        for writing in self._kept:
            writing.result()
        self.folder.chmod(0o755)
        _publish(self.folder, self.out)
        return Outcome(
            digest=digest,
            run_dir=self.out,
            seconds=time.perf_counter() - started,
            settlement=results.tables["settlement"].to_pylist(),
            headlines=_headlines(plan),
            rate_intervals=_rate_intervals(results.tables["intervals"]),
        )


def _member_years(measured: Measured) -> pa.Table:
    return sort_by(pa.concat_tables(measured.member_years), KEYS["member_years"])


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _publish(draft: Path, out: Path) -> None:
    """Put the draft in its place; a run that stood there is whole until then, and gone after."""
    if not out.exists():
        draft.rename(out)
        return
    aside = draft.with_name(f"{draft.name}-old")
    out.rename(aside)
    draft.rename(out)
    shutil.rmtree(aside)


def _write_table(table: pa.Table, folder: Path, name: str) -> None:
    """A table as Parquet. Numbers go as they are: most hardly repeat. Keys alone get statistics."""
    repeats = [
        field.name
        for field in table.schema
        if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)
    ]
    pq.write_table(
        table, folder / f"{name}.parquet", use_dictionary=repeats, write_page_checksum=True,
        write_statistics=list(KEYS[name]),
    )  # fmt: skip


def _terms(plan: Plan) -> dict[str, Any]:
    """What the digest rests on beside the tables."""
    return {
        "method_version": ihp_compute.METHOD_VERSION,
        "base_year": plan.base_year,
        "performance_year": plan.performance_year,
        "paid_through": str(plan.paid_through),
        "seed": plan.seed,
        "replicates": plan.replicates,
        "contracts": plan.contracts.hashes(),
        "risk_model": plan.scores.model_sha256,
    }


def _manifest(
    results: Results,
    plan: Plan,
    terms: dict[str, Any],
    digest: str,
    runner_name: str,
    started: float,
) -> dict[str, Any]:
    return {
        "kind": "run",
        "digest": digest,
        "terms": terms,
        "method_version": ihp_compute.METHOD_VERSION,
        "engine_version": ihp_compute.__version__,
        "base_year": plan.base_year,
        "performance_year": plan.performance_year,
        "paid_through": str(plan.paid_through),
        "replicates": plan.replicates,
        "seed": plan.seed,
        "device": plan.device,
        "device_requested": plan.request.device,
        "runner": runner_name,
        "population": {"path": str(plan.origin.path), "digest": plan.origin.digest},
        "inputs": plan.origin.inputs,
        "contracts": [
            {"name": name, "sha256": sha} for name, sha in sorted(plan.contracts.hashes().items())
        ],
        "contract_arguments": list(plan.request.contracts),
        "risk_model": {"name": plan.scores.name, "sha256": plan.scores.model_sha256},
        "draft_terms": plan.contracts.draft_terms(plan.performance_year),
        "allow_inconsistent": plan.request.allow_inconsistent,
        "groups": list(plan.roster.groups),
        "notes": list(plan.notes),
        "counts": results.counts,
        "timings": {"seconds": round(time.perf_counter() - started, 3)},
        "python": sys.version.split()[0],
    }


def _headlines(plan: Plan) -> tuple[str, ...]:
    """What a reader must know first: draft terms, years, cutoff, device."""
    return (
        *plan.contracts.draft_lines(plan.performance_year),
        (
            f"performance year {plan.performance_year} against base year {plan.base_year}, "
            f"claims paid through {plan.paid_through}, {plan.replicates} replicates, "
            f"seed {plan.seed}, on the {plan.device.upper()}"
        ),
        *plan.notes,
    )


def _rate_intervals(table: pa.Table) -> dict[str, tuple[float, float]]:
    return {
        row["partnership_id"]: (row["low"], row["high"])
        for row in table.to_pylist()
        if (row["measure"], row["method"], row["conditioning"], row["level"])
        == ("savings_rate", "percentile", "target_resampled", 0.95)
    }
