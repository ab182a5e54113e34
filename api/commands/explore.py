"""`ihp explain`, `ihp verify` and `ihp doctor`: why a number is what it is, and what to trust."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from api.commands.places import READ
from api.console import EXIT_INFRASTRUCTURE, Json, app, emit_json, say, show_table
from cluster.doctor import examine
from ihp_compute.explain import (
    ClaimExplained,
    MemberExplained,
    Pack,
    PartnershipExplained,
    explain_claim,
    explain_member,
    explain_partnership,
    write_pack,
)
from ihp_compute.folders import kind_of
from ihp_compute.population import verify
from ihp_compute.results import RUN, read_certification, verify_run
from ihp_compute.sweeps import verify_sweep
from ihp_compute.units import MICRO, dollars


@app.command("explain")
def explain_command(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Made by `ihp run`; with --claim also a population.", **READ
        ),
    ],
    partnership: Annotated[str | None, typer.Option(help="Show its walk.")] = None,
    member: Annotated[str | None, typer.Option(help="Show its lines; restricted.")] = None,
    claim: Annotated[
        str | None, typer.Option(help="Show its rows and fates at ingest; restricted.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --partnership: write its appeal pack there, pages to print and CSV; "
            "restricted, it names people.",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a pack in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Show every step of one partnership, line of one member, or row of one claim, in dollars."""
    if sum(asked is not None for asked in (partnership, member, claim)) != 1:
        raise typer.BadParameter("give --partnership, --member or --claim, one of them")
    if out is not None:
        if partnership is None:
            raise typer.BadParameter("--out writes the pack of a --partnership; give one")
        pack = write_pack(run_dir, partnership, out, replace=replace)
        emit_json(pack.document()) if as_json else _show_pack(pack)
        return
    if claim is not None:
        history = explain_claim(run_dir, claim)
        emit_json(history.document()) if as_json else _show_claim(history)
        return
    if partnership is not None:
        settled = explain_partnership(run_dir, partnership)
        emit_json(settled.document()) if as_json else _show_partnership(settled)
        return
    found = explain_member(run_dir, str(member))
    emit_json(found.document()) if as_json else _show_member(found)


@app.command("verify")
def verify_command(
    folder: Annotated[
        Path, typer.Argument(metavar="POPULATION|RUN|SWEEP", help="What to verify.", **READ)
    ],
    as_json: Json = False,
) -> None:
    """Recompute the digests of a population, a run or a sweep from its files."""
    if folder.is_file():
        found = {"kind": "sweep", "digest": verify_sweep(folder)}
    elif kind_of(folder) == RUN.name:
        found = {"kind": "run", "digest": verify_run(folder)}
        certification = read_certification(folder)
        if certification is not None:
            found["certified_by"] = certification["certified_by"]
    else:
        found = {"kind": "population", **verify(folder)}
    if as_json:
        emit_json(found)
        return
    certified = f", certified by {found['certified_by']}" if "certified_by" in found else ""
    say(f"{folder}: {found['kind']} unchanged, digest "
        f"{found.get('digest') or found['population_digest']}{certified}")  # fmt: skip


@app.command("doctor")
def doctor_command(
    folder: Annotated[
        Path, typer.Option(help="Where populations and runs would be kept.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Say what this machine has, what it lacks, and what that would bring."""
    checks = examine(folder)
    if as_json:
        emit_json([asdict(check) for check in checks])
    else:
        show_table(
            "This machine",
            {"what": "left", "verdict": "left", "found": "left", "next": "left"},
            [[check.name, check.verdict, check.found, check.advice] for check in checks],
        )
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(EXIT_INFRASTRUCTURE)


def _show_pack(pack: Pack) -> None:
    for name, rows in pack.rows.items():
        say(f"{name}.csv: {rows:,} rows")
    say(f"{pack.folder}: written; restricted, it names people and their care")


def _show_partnership(found: PartnershipExplained) -> None:
    row = found.settlement
    say(
        f"{row['partnership_id']}, {row['contract']}, {row['performance_year']}: "
        f"{row['n_members']:,} members, {row['member_months']:,} member months"
    )
    show_table(
        "From base to payment",
        {"step": "left", "change": "right", "dollars": "right", "how": "left", "basis": "left",
         "source": "left"},
        [
            [
                step.step.replace("_", " "),
                "" if step.before_cents is None else dollars(step.amount_cents),
                dollars(step.after_cents),
                step.detail,
                step.basis,
                step.citation,
            ]
            for step in found.walk
        ],
        optional=("source", "change"),
    )  # fmt: skip
    if found.cells:
        show_table(
            "Risk by rate cell: mean over norm, performance year over base year",
            {"rate cell": "left", "months": "right", "mean": "right", "norm": "right",
             "state": "right", "ratio": "right", "before": "right", "target": "right"},
            [
                [
                    cell["rate_cell"],
                    f"{cell['member_months']:,}",
                    *(
                        f"{cell[f'base_{what}']:.4f} to {cell[f'performance_{what}']:.4f}"
                        for what in ("risk_mean", "norm", "state_risk_mean")
                    ),
                    f"{cell['risk_ratio']:.6f}",
                    dollars(cell["before_cents"]),
                    dollars(cell["target_cents"]),
                ]
                for cell in found.cells
            ],
            optional=("state", "before"),
        )  # fmt: skip
    show_table(
        "How sure",
        {"measure": "left", "question": "left", "level": "right", "low": "right", "point": "right",
         "high": "right", "flag": "left"},
        [
            [
                interval["measure"].replace("_cents", "").replace("_", " "),
                interval["conditioning"].replace("_", " "),
                f"{interval['level']:.0%}",
                *(
                    f"{interval[end]:+.2%}"
                    if interval["measure"] == "savings_rate"
                    else dollars(round(interval[end]))
                    for end in ("low", "point", "high")
                ),
                interval["flag"],
            ]
            for interval in found.intervals
            if interval["method"] == "percentile"
        ],
    )  # fmt: skip


def _show_member(found: MemberExplained) -> None:
    show_table(
        f"Member {found.member_id}",
        {"year": "right", "group": "left", "why not": "left", "step": "left", "visits": "right",
         "months": "left", "score": "right", "before cap": "right", "cost": "right"},
        [
            [
                str(year["year"]),
                year["group_id"] + (" (tie)" if year["tied"] else ""),
                year["exclusion"],
                year["step"],
                str(year["n_visits"]),
                ", ".join(f"{cell} {n}" for cell, n in year["months"].items()),
                f"{year['score_micro'] / MICRO:.3f}{' filled' if year['score_missing'] else ''}",
                dollars(year["uncapped_cents"]),
                dollars(year["cost_cents"]),
            ]
            for year in found.years
        ],
    )  # fmt: skip
    for year in found.years:
        _show_scoring(year["year"], year["scoring"])
    show_table(
        "Claim lines",
        {"service": "left", "incurred": "left", "paid": "left", "claim": "left", "line": "right",
         "category": "left", "kind": "left", "dollars": "right", "fate": "left", "visit": "left"},
        [
            [
                line["service_date"],
                line["incurred_date"],
                line["paid_date"],
                line["claim_id"],
                line["claim_line_number"],
                line["category"],
                line["kind"],
                dollars(line["paid_cents"]),
                f"{line['fate']}" + (" (at ingest)" if line["stage"] == "ingest" else ""),
                " ".join(filter(None, (line[f"visit_{k}"] for k in ("of", "step", "npi")))),
            ]
            for line in found.lines
        ],
        optional=("kind", "paid", "incurred"),
    )  # fmt: skip
    fates = Counter(line["fate"] for line in found.lines)
    say(", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())))


def _show_scoring(year: int, scoring: dict[str, Any]) -> None:
    """What is behind one year's score, in millionths that add up."""
    about = ""
    if scoring["kind"] == "blend":
        about = f", {scoring['timing']}: codes of {scoring['codes_of']}"
    elif scoring["kind"] == "model":
        about = (
            f", {scoring['timing']}: codes of {scoring['codes_of']}, "
            f"{scoring['version']}; age {scoring['age']}, segment "
            f"{scoring['segment']}"
        )
    show_table(
        f"Score of {year}: {scoring.get('model', scoring['kind'])}{about}",
        {"what": "left", "millionths": "right", "how": "left"},
        [*_scored_by(scoring)],
    )


def _scored_by(scoring: dict[str, Any]) -> Iterator[list[str]]:
    """What, millionths and how, line by line."""
    if scoring["kind"] == "model":
        yield from _of_model(scoring)
    for one in scoring.get("models", ()):
        about = f"{one['version']}; age {one['age']}, segment {one['segment']}"
        yield [f"{one['share']} of {one['model']}", f"{one['own_score_micro']:,}", about]
        yield from _of_model(one)
    if scoring["kind"] == "blend":
        yield ["blend", f"{scoring['own_score_micro']:,}", "shares of the scores, to 3 places"]
    for row in scoring.get("rows", ()):
        micro = row.get("score_micro", row.get("weight_micro"))
        how = f"cell {row['cell']}" if row["cell"] else "no cell"
        if "first_year" in row:
            how += f", its weight of {row['first_year']} to {row['last_year']}"
        if micro is None:
            how += f", no {'score' if scoring['kind'] == 'supplied' else 'weight of the year'}"
        yield [f"given for {row['year']}", "" if micro is None else f"{micro:,}", how]
    if (filled := scoring["filled"]) is not None:
        yield [
            "filled", f"{filled['mean_micro']:,}",
            f"{filled['policy']}: mean of {filled['cell']}",
        ]  # fmt: skip
    yield ["score", f"{scoring['score_micro']:,}", ""]


def _of_model(scoring: dict[str, Any]) -> Iterator[list[str]]:
    """Codes, steps, terms and post-steps of one model."""
    dates: dict[tuple[str, str], list[str]] = {}
    for row in scoring["codes"]:
        if row["fate"] != "unmapped":
            sets = f"sets {', '.join(row['sets'])}" if row["sets"] else row["fate"]
            dates.setdefault((f"{row['system']} {row['code']}", sets), []).append(row["date"])
    for (code, sets), days in dates.items():
        others = f", {len(days):,} times to {max(days)}" if len(days) > 1 else ""
        yield [f"{code}, {min(days)}{others}", "", sets]
    for row in scoring["codes_left_out"]:
        yield [f"ICD10 {row['code']}, {row['date']}", "", f"left out: {row['reason']}"]
    for step in scoring["steps"]:
        changes = [f"{verb} {', '.join(step[verb])}" for verb in ("set", "cleared") if step[verb]]
        yield [f"step {step['step']}, {step['op']}", "", "; ".join(changes)]
    for term, micro in scoring["terms"].items():
        yield [term, f"{micro:,}", "coefficient"]
    yield ["sum", f"{scoring['raw_micro']:,}", ""]
    for step in scoring["post_steps"]:
        how = f"{step['op']} {step['by']}".strip() + f", to {step['places']} places"
        yield ["after", f"{step['score_micro']:,}", how]
    for why in scoring["why_none"]:
        yield ["no score of its own", "", why]


def _show_claim(found: ClaimExplained) -> None:
    show_table(
        f"Claim {found.claim_id} and those tied to it",
        {"member": "left", "claim": "left", "line": "right", "payer": "left", "says": "left",
         "names": "left", "service": "left", "paid": "left", "dollars": "right", "fate": "left",
         "row": "left"},
        [
            [
                row["member_id"],
                row["claim_id"],
                row["claim_line_number"],
                " ".join(filter(None, (row["data_source"], row["payer"], row["plan"]))),
                row["says"],
                ", ".join(row["names"]),
                row["service_date"],
                row["paid_date"],
                dollars(row["paid_cents"]),
                row["fate"],
                f"{row['file']}, row {row['row']:,}",
            ]
            for row in found.rows
        ],
        optional=("payer", "row"),
    )  # fmt: skip
    fates = Counter(row["fate"] for row in found.rows)
    say(", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())))
