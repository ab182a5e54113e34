"""The report of a run: one self-contained page, the first thing an actuary sees.

    draft terms -> what was run -> the state -> settlement -> how sure -> walk of each partnership
        -> attribution -> utilisation -> how care changed, who has how much of it -> quality
        -> cost index -> trend against the market -> who and what was left out
        -> every dollar's fate
        -> what was noticed -> methods and limits -> who answers, and what each standard asks
        -> definitions

It reads a finished run's folder and nothing else: a report can be made again from the results
without a claim line. Numbers are written as the tables hold them; nothing is settled here. Every
chart has its numbers in a table beside it. The page is whole, for those who may see rows of few
people, or that of an open form, for everybody: there what is hidden is left out or said to be.

Not here: how a chart is drawn (`charts`), how a number is written (`numbers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ihp_compute.contracts import DRAFT_BASES
from ihp_compute.publishing import whole
from ihp_compute.report import numbers
from ihp_compute.report.about import device_note, draft, facts, provenance, risk_model
from ihp_compute.report.attribution import attribution_section
from ihp_compute.report.comparison import comparison_section
from ihp_compute.report.cost_index import cost_index_section
from ihp_compute.report.costs import caps_section, payers_section, services_section, tied_section
from ihp_compute.report.data_review import data_review_section
from ihp_compute.report.definitions import definitions_section
from ihp_compute.report.frame import template
from ihp_compute.report.left_out import exclusion_rows, ledger_section
from ihp_compute.report.noticed import PRINTED, SHOWN, noticed_section
from ihp_compute.report.outcomes import outcomes_section
from ihp_compute.report.partnerships import INNER, OUTER, partnerships_of
from ihp_compute.report.payoffs import payoffs
from ihp_compute.report.quality import quality_section
from ihp_compute.report.rate_cells import rate_cells_of
from ihp_compute.report.review import beside_the_result, marks, review_section
from ihp_compute.report.rows import Row, RowsOf, of_the_state
from ihp_compute.report.scopes import scope_rows, state_of
from ihp_compute.report.sections import numbered
from ihp_compute.report.state import below_minimum, state_forest, state_row
from ihp_compute.report.utilisation import MEASURES as USE_MEASURES
from ihp_compute.report.utilisation import utilisation_section
from ihp_compute.report.walks import state_walk, statements
from ihp_compute.results import SMALL_CELL, OpenForm, read_certification, read_manifest

REPORT: Final = "report.html"
_ON_A_SHEET: Final = 2
"""Statements on a sheet of paper, which are named at its head."""


def write_report(
    run_dir: Path,
    out: Path | None = None,
    stated: Mapping[str, str] | None = None,
    *,
    form: OpenForm | None = None,
) -> Path:
    """Write the report of a run, by default as `report.html` into its folder.

    Parameters
    ----------
    run_dir : Path
        A finished run: its manifest and result tables.
    out : Path, optional
        File to write instead.
    stated : mapping, optional
        Fields of a statement to show instead of the run's.
    form : OpenForm, optional
        The run's open form: the page is of this, not of the whole tables.

    Returns
    -------
    Path
        The file written; one HTML page without script, links or references to other files.

    Raises
    ------
    RunError
        If the folder is not a finished run or a table is missing or damaged.
    """
    page = render(run_dir, stated, form)
    path = out or run_dir / REPORT
    with whole(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def render(
    run_dir: Path, stated: Mapping[str, str] | None = None, form: OpenForm | None = None
) -> str:
    """The report as HTML text. Parameters and errors as `write_report`."""
    manifest = read_manifest(run_dir) if form is None else form.manifest()
    certification = read_certification(run_dir)
    if certification is not None:
        manifest["statement"] = certification["statement"]
    if stated is not None:
        manifest["statement"] = dict(stated)
    years = (manifest["base_year"], manifest["performance_year"])
    rows = RowsOf(run_dir, form)
    ledger = ledger_section(of_the_state(rows["ledger"]))
    partnerships = partnerships_of(rows)
    scopes = scope_rows(rows)
    terms = draft(manifest)
    noticed = noticed_section(rows["data_quality"], of_the_state(rows["ledger"]))
    shown, sources = statements(partnerships, rate_cells_of(run_dir, form), payoffs(rows))
    left_out = rows.n_hidden("settlement")
    outcomes = outcomes_section(rows, manifest)
    programme = {
        "outcomes": any(outcomes[name] for name in ("changes", "arms", "strata")),
        "quality-scores": quality_section(rows),
        "cost-index": cost_index_section(rows, manifest["performance_year"]),
        "comparison": comparison_section(rows, manifest),
    }
    return template(REPORT).render(
        manifest=manifest,
        rows=rows,
        draft=terms,
        marks=marks(manifest, terms["weak"], certified=certification is not None),
        running="Statewide recalculation of {1} against {0}".format(*years),
        certification=certification,
        review=review_section(manifest, rows, partnerships, noticed),
        beside=beside_the_result(rows, partnerships),
        definitions=definitions_section(run_dir, manifest),
        risk_model=risk_model(manifest),
        facts=facts(manifest),
        device_note=device_note(manifest),
        interim=manifest.get("completion", {}).get("lines", ()),
        years=years,
        state=state_row(
            partnerships,
            whole=state_of(scopes),
            left_out=left_out,
            too_small=below_minimum(run_dir, manifest, partnerships),
        ),
        is_open=form is not None,
        left_out=left_out,
        scopes=scopes,
        whole=state_of(scopes),
        partnerships=partnerships,
        forest=state_forest(partnerships),
        state_walk=None if left_out else state_walk(partnerships),
        statements=shown,
        sheets=_sheets(shown),
        tied=tied_section(run_dir, manifest, form, partnerships),
        caps=caps_section(rows, years),
        payers=payers_section(rows),
        services=services_section(rows, years),
        sources=sources,
        sections=numbered({anchor for anchor, found in programme.items() if not found}),
        quality=programme["quality-scores"],
        attribution=attribution_section(of_the_state(rows["attribution"]), manifest),
        utilisation=utilisation_section(
            of_the_state(rows["utilisation"]),
            rows.where(
                "outcomes", scope=["partnership"], dimension=["all"], measure=list(USE_MEASURES)
            ),
            manifest,
        ),
        cost_index=programme["cost-index"],
        comparison=programme["comparison"],
        outcomes=outcomes,
        exclusions=exclusion_rows(of_the_state(rows["exclusions"])),
        ledger=ledger,
        noticed=noticed,
        review_of_data=data_review_section(
            rows["data_review"], of_the_state(rows["ledger"]), years
        ),
        provenance=provenance(manifest),
        shown_findings=SHOWN,
        printed_findings=PRINTED,
        weak_bases=DRAFT_BASES,
        dash=numbers.DASH,
        small_cell=SMALL_CELL,
        rendered_levels=(INNER, OUTER),
    )


def _sheets(shown: Sequence[Row]) -> list[Row]:
    """Statements by the sheet of paper on which they stand."""
    return [
        {"statements": of, "names": [s["p"].row["partnership_id"] for s in of]}
        for of in (shown[at : at + _ON_A_SHEET] for at in range(0, len(shown), _ON_A_SHEET))
    ]
