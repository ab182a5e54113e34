"""Sweeps in a browser: choose terms, see how many points that makes, read what they pay.

    a run -> rows of the form, each a term with its values -> a dry run -> queued -> state first

The map shows the state's payment over the first two terms that move; the bars what each term moves
by itself, from the point that pays nearest to what the contract pays.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from api import sweeps
from api.auth import RunsReader, RunsWriter
from api.contracts import known_contracts
from api.making import making_of
from api.opened import sees_all
from api.pages.contracts import in_words
from api.pages.frame import Form, FormDep, Live, PageRoute, page, see, status_of
from api.pages.runs import FORMS, WHOLE, FileForm, wanting
from api.problems import STATUS, UnknownResultError
from api.queued import finished
from api.reading import ReadsDep
from api.representations import table_response
from api.service import Service, ServiceDep
from cluster.states import AT_REST, FINAL
from ihp_compute import contracts as contract
from ihp_compute.errors import ContractError, GridError
from ihp_compute.publishing import whole
from ihp_compute.report.charts import Chart, Swing, tornado
from ihp_compute.sweeps import grid_of
from ihp_compute.table_files import write_table

router = APIRouter(prefix="/sweeps", route_class=PageRoute, include_in_schema=False)
AXES: Final = 4
SHADES: Final = 8
MOST_SHOWN: Final = 200
"""Scenarios in the table of a page; files have all."""
SHOWN: Final = (
    "mean_cents", "p05_cents", "p95_cents", "n_paid", "n_owing", "false_payment_rate",
)  # fmt: skip
"""Columns beside terms and payment in the table of a page."""
NEWEST: Final = 100
RunId = Annotated[str, Query(max_length=36)]
Row = Mapping[str, Any]


@router.get("/new")
def form(request: Request, _principal: RunsWriter, service: ServiceDep, run: RunId) -> HTMLResponse:
    """The form for a sweep over a run that succeeded."""
    return _page(request, service, run, {})


@router.post("/new")
async def ask(
    request: Request, sent: FormDep, principal: RunsWriter, service: ServiceDep, reads: ReadsDep
) -> Response:
    """Say how large the sweep would be; or queue it."""
    run_id = sent.get("run", "")
    status, error, estimate = 200, None, None
    try:
        start = sent.get("do") == "start"
        body = sweeps.SweepRequest.model_validate(
            {"run": run_id, "axes": axes_of(sent), "dry_run": not start}
        )
        once = sent.get("once", "") or secrets.token_urlsafe(16)
        made = await sweeps.start(body, Response(), principal, service, reads, once)
        if isinstance(made, sweeps.SweepView):
            return see(f"/sweeps/{made.id}")
        estimate = made
    except ValidationError as wrong:
        status, error = 422, "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in wrong.errors())
    except tuple(STATUS) as wrong:
        status, error = status_of(wrong), str(wrong)
    return await to_thread.run_sync(
        lambda: _page(request, service, run_id, sent, status, error=error, estimate=estimate)
    )


def axes_of(sent: Form) -> dict[str, Any]:
    """The axes of a form: of each row a list of values, else a range."""
    axes: dict[str, Any] = {}
    for n in range(AXES):
        path = sent.get(f"path.{n}")
        if path is None:
            continue
        if listed := sent.get(f"values.{n}"):
            axes[path] = [_value(text) for text in re.split(r"[;,\s]+", listed) if text]
        else:
            ends = {end: _value(sent.get(f"{end}.{n}", "")) for end in ("from", "to")}
            axes[path] = {**ends, "count": sent.number(f"count.{n}")}
    return axes


def _value(text: str) -> str | float | int:
    """A number as one, other text as it is."""
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return text


def _page(
    request: Request,
    service: Service,
    run_id: str,
    sent: Mapping[str, str],
    status: int = 200,
    **shown: Any,
) -> HTMLResponse:
    run, _ = finished(service, "run", run_id)
    before = [
        one
        for one in service.store.queue.runs("sweep", limit=NEWEST)
        if one.request["asked"]["run"] == run_id
    ]
    return page(
        request,
        "new_sweep.html",
        status=status,
        run=run,
        terms=_terms(service, run.request["asked"]["contracts"][0]),
        axes=range(AXES),
        sent=sent,
        once=sent.get("once") or secrets.token_urlsafe(16),
        error=shown.get("error"),
        estimate=shown.get("estimate"),
        before=before,
        max_rows=service.settings.max_sweep_rows,
    )


def _terms(service: Service, name: str) -> list[tuple[str, str, str]]:
    """Terms that a sweep may move: path, unit and what the contract says; none of a set."""
    try:
        known = known_contracts(service)[name]
        if known.view.kind == "set":
            return []
        values = contract.load(known.usable()).at(None).terms()
    except (KeyError, ContractError):
        return []
    return [(v.path, v.unit, in_words(v.value)) for v in values if _moves(v.path)]


def _moves(path: str) -> bool:
    try:
        grid_of({path: [0]})
    except GridError:
        return False
    return True


@router.get("/{sweep_id}")
async def show(
    sweep_id: str,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
    live: Live = False,  # noqa: ARG001 (read by the gate)
) -> HTMLResponse:
    """One sweep: where it stands, and what its points pay."""
    sweep = await sweeps.show(sweep_id, request, Response(), principal, service)
    shown: dict[str, Any] = {"rows": [], "paths": list(sweep.axes)}
    if sweep.state == "succeeded":
        path = await sweeps.rows_of(sweep_id, request, principal, service, reads)
        shown = await reads.of(lambda: shown_of(path, list(sweep.axes)))
    return page(
        request,
        "sweep.html",
        sweep=sweep,
        is_final=sweep.state in FINAL,
        forms=tuple(FORMS),
        reload_to=None if sweep.state in AT_REST else f"/sweeps/{sweep_id}?live=1",
        **{"map": None, "bars": None, "more": 0, "partnerships": [], "lacking": [], **shown},
    )


def shown_of(path: Path, paths: Sequence[str]) -> dict[str, Any]:
    """What a page shows of the rows in a file; empty where an earlier version wrote none."""
    table = pq.read_table(path)
    lacking = [name for name in SHOWN if name not in table.column_names]
    rows = [{**dict.fromkeys(lacking), **row} for row in table.to_pylist()]
    return {**came_out(rows, paths), "lacking": lacking}


def came_out(rows: Sequence[Row], paths: Sequence[str]) -> dict[str, Any]:
    """What a page shows of a sweep's rows."""
    paths = [path for path in paths if rows and path in rows[0]] or list(paths)
    state = [row for row in rows if row["scope"] == "state"]
    known = [row for row in state if row["payment_cents"] is not None]
    found: dict[str, Any] = {
        "paths": paths,
        "rows": state[:MOST_SHOWN],
        "more": max(len(state) - MOST_SHOWN, 0),
        "partnerships": [],
    }
    if not known:
        return found
    base = _nearest(known)
    found["base"] = base
    found["partnerships"] = [
        row for row in rows if row["scope"] != "state" and row["scenario_id"] == base["scenario_id"]
    ]
    moving = _moving(known, paths)
    if moving:
        found["bars"] = _bars(known, moving, base)
        found["map"] = _map(known, moving, base)
    return found


def chart_tables(rows: Sequence[Row], paths: Sequence[str]) -> dict[str, pa.Table]:
    """The numbers of `map` and `bars`, of those that a page draws; none without what moves."""
    paths = [path for path in paths if rows and path in rows[0]]
    known = [r for r in rows if r["scope"] == "state" and r["payment_cents"] is not None]
    moving = _moving(known, paths)
    if not moving:
        return {}
    base = _nearest(known)
    swings = [
        {
            "term": path,
            "low_at": str(low[path]),
            "low_payment_cents": low["payment_cents"],
            "high_at": str(high[path]),
            "high_payment_cents": high["payment_cents"],
        }
        for path, low, high in _ends(known, moving, base)
    ]
    found = {"bars": pa.Table.from_pylist(swings)}
    if len(moving) > 1:
        flat = _alone(known, base, moving, *moving[:2])
        found["map"] = pa.Table.from_pylist(
            [{name: row[name] for name in ("scenario_id", *paths, "payment_cents")} for row in flat]
        )
    return found


def _moving(rows: Sequence[Row], paths: Sequence[str]) -> list[str]:
    """Terms that have more than one value."""
    return [path for path in paths if len({row[path] for row in rows}) > 1]


def _nearest(rows: Sequence[Row]) -> Row:
    """The point that pays nearest to what the contract pays."""
    return min(rows, key=lambda row: (abs(row["difference_cents"] or 0), row["scenario_id"]))


def _ends(rows: Sequence[Row], moving: Sequence[str], base: Row) -> Iterator[tuple[str, Row, Row]]:
    """Each term with the rows that pay least and most where it alone moves."""
    for path in moving:
        line = _alone(rows, base, moving, path)
        low, high = (which(line, key=lambda row: row["payment_cents"]) for which in (min, max))
        yield path, low, high


def _alone(rows: Sequence[Row], base: Row, moving: Sequence[str], *free: str) -> list[Row]:
    """Rows where all but some terms stand as at a point."""
    held = [path for path in moving if path not in free]
    return [row for row in rows if all(row[path] == base[path] for path in held)]


def _bars(rows: Sequence[Row], moving: Sequence[str], base: Row) -> Chart:
    swings = [
        Swing(path.removeprefix("settlement."), low["payment_cents"], high["payment_cents"],
              f"{low[path]}", f"{high[path]}")
        for path, low, high in _ends(rows, moving, base)
    ]  # fmt: skip
    words = "; ".join(
        f"{s.name} {s.low_cents / 100:,.0f} to {s.high_cents / 100:,.0f}" for s in swings
    )
    return tornado(
        swings,
        around_cents=base["payment_cents"],
        title="What each term moves by itself",
        description=f"Payments of all partnerships in US dollars: {words}.",
    )


def _map(rows: Sequence[Row], moving: Sequence[str], base: Row) -> dict[str, Any] | None:
    """The state's payment over two terms, each cell with its shade from 0 to `SHADES`."""
    if len(moving) < 2:
        return None
    across, down = moving[:2]
    flat = _alone(rows, base, moving, across, down)
    cents = [row["payment_cents"] for row in flat]
    low, span = min(cents), (max(cents) - min(cents)) or 1
    cells = {
        (row[down], row[across]): (
            row["payment_cents"], round((row["payment_cents"] - low) / span * SHADES)
        )
        for row in flat
    }  # fmt: skip
    return {
        "across": across,
        "down": down,
        "columns": list(dict.fromkeys(row[across] for row in flat)),
        "lines": [
            (value, [cells.get((value, x)) for x in dict.fromkeys(row[across] for row in flat)])
            for value in dict.fromkeys(row[down] for row in flat)
        ],
        "held": {path: base[path] for path in moving[2:]},
    }


@router.get("/{sweep_id}/rows.{form}")
async def rows(
    sweep_id: str,
    form: FileForm,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
) -> Response:
    """The rows of a sweep as a file."""
    asked = wanting(request, FORMS[form])
    return await sweeps.results(sweep_id, asked, principal, service, reads, WHOLE)


@router.get("/{sweep_id}/{chart}.{form}")
async def chart(
    sweep_id: str,
    chart: Literal["map", "bars"],
    form: FileForm,
    request: Request,
    principal: RunsReader,
    service: ServiceDep,
    reads: ReadsDep,
) -> Response:
    """The numbers of a sweep's chart as a file."""
    sweep = await sweeps.show(sweep_id, request, Response(), principal, service)
    if sweep.state != "succeeded":
        raise UnknownResultError("the sweep has no rows yet")
    rows = await sweeps.rows_of(sweep_id, request, principal, service, reads)
    path = rows.with_name(f"{rows.stem}-{chart}.parquet")

    def write() -> None:
        found = chart_tables(pq.read_table(rows).to_pylist(), list(sweep.axes))
        if chart not in found:
            raise UnknownResultError(f"no {chart} is drawn of this sweep")
        with whole(path) as draft:
            write_table(found[chart], draft)

    await making_of(request).of(path, write)
    asked = wanting(request, FORMS[form])
    return await table_response(asked, path, WHOLE, whole=sees_all(principal))


@router.post("/{sweep_id}/cancel")
def cancel(
    sweep_id: str, request: Request, _fields: FormDep, principal: RunsWriter, service: ServiceDep
) -> Response:
    """Cancel a sweep."""
    sweeps.cancel(sweep_id, request, Response(), principal, service)
    return see(f"/sweeps/{sweep_id}")
