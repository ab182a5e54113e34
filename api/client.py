"""A client of the service: register, start, wait, read. What a notebook needs, and no more.

    with Client("http://127.0.0.1:8000", key) as service:
        service.register("2024", prefix="mn-2024")
        run = service.start("2024", ["mn-ihp-2.0-track-2"], idempotency_key="2024 final")
        run = service.wait(run["id"], bar=True)                      # with a progress bar
        settlement = service.results(run["id"], "settlement")        # an Arrow table
        service.polars(run["id"], "cells")                           # or service.pandas of it

        swept = service.sweep(run["id"], {"settlement.gain.share": [0.4, 0.5, 0.6]}, "shares")
        service.wait_for_sweep(swept["id"], bar=True)
        service.save_report(run["id"], Path("report.html"))

Asking again is safe: a run is started once for its idempotency key, so a request whose answer was
lost on the way is sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import httpx2 as httpx
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

AT_REST: Final = frozenset({"succeeded", "failed", "cancelled", "needs_review"})
POLL_S: Final = 30.0
TOLD_S: Final = 2.0
"""How long an answer may wait for news where somebody watches."""
TRIES: Final = 5
REPORTS: Final = {".html": "report.html", ".xlsx": "workbook.xlsx", ".pdf": "report.pdf"}
Tell = Callable[[int, int], None]
P = ParamSpec("P")
T = TypeVar("T")


def _progress(view: Mapping[str, Any]) -> tuple[int, int]:
    """(done, in all): rows of a sweep, shards of a run."""
    if "rows_done" in view:
        return int(view["rows_done"]), int(view["rows"])
    return int(view.get("shards_done") or 0), int(view.get("shards_total") or 0)


@contextmanager
def _bar(what: str) -> Iterator[Tell]:
    """A progress bar on standard error; nothing is drawn where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn())
    counts = (MofNCompleteColumn(), TimeElapsedColumn())
    off = not console.is_terminal
    with Progress(*columns, *counts, console=console, disable=off) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


class ServiceError(Exception):
    """The service refused; `problem` is its RFC 9457 document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('status')} {problem.get('title')}: {problem.get('detail')}")
        self.problem = problem


class Client:
    """A connection to one service with one API key.

    Parameters
    ----------
    url : str
    key : str
        API key, as `ihp serve` printed it.
    transport : httpx2 transport, optional
        Stands in for the network.
    """

    def __init__(self, url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=POLL_S + 30,
            follow_redirects=True,
            transport=transport,
        )

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the connection."""
        self._http.close()

    def register(self, name: str, *, prefix: str, location: str = "default") -> dict[str, Any]:
        """Register a prepared population under a name."""
        body = {"name": name, "location": location, "prefix": prefix}
        return self._json("POST", "/v1/populations", json=body)

    def start(
        self, /, population: str, contracts: Sequence[str], *, idempotency_key: str, **terms: Any
    ) -> dict[str, Any]:
        """Start a run; the same idempotency key is the same run.

        Where a run of the same inputs and terms has succeeded, that is the run: say `force=True` to
        have it made again.

        Parameters
        ----------
        population : str
        contracts : sequence of str
        idempotency_key : str
            Chosen by the caller and kept: a month later it still finds this run.
        **terms
            performance_year, base_year, paid_through, replicates, seed, accept, statement, force.
        """
        body = {"population": population, "contracts": list(contracts), **terms}
        headers = {"Idempotency-Key": idempotency_key}
        return self._json("POST", "/v1/runs", json=body, headers=headers)

    def run(self, run_id: str) -> dict[str, Any]:
        """One run as it stands."""
        return self._json("GET", f"/v1/runs/{run_id}")

    def wait(
        self, run_id: str, *, seconds: float = 3600, tell: Tell | None = None, bar: bool = False
    ) -> dict[str, Any]:
        """The run once it has ended or waits for a review; TimeoutError after `seconds`.

        `tell` is called with what is done and what there is to do, as often as the service answers.
        `bar` draws a progress bar on a terminal's standard error.
        """
        return self._at_rest(f"/v1/runs/{run_id}", f"run {run_id}", seconds, tell, bar)

    def sweep(self, run_id: str, axes: Mapping[str, Any], idempotency_key: str) -> dict[str, Any]:
        """Start a sweep over a run that succeeded.

        Parameters
        ----------
        run_id : str
        axes : mapping of term path to values, or to `{"from": x, "to": y, "count": n}`
        idempotency_key : str
        """
        body = {"run": run_id, "axes": dict(axes)}
        headers = {"Idempotency-Key": idempotency_key}
        return self._json("POST", "/v1/sweeps", json=body, headers=headers)

    def wait_for_sweep(
        self, sweep_id: str, *, seconds: float = 3600, tell: Tell | None = None, bar: bool = False
    ) -> dict[str, Any]:
        """The sweep once it has ended; TimeoutError after `seconds`. `tell`, `bar` as of `wait`."""
        what = f"sweep {sweep_id}"
        return self._at_rest(f"/v1/sweeps/{sweep_id}", what, seconds, tell, bar)

    def swept(self, sweep_id: str) -> pa.Table:
        """Rows of a sweep."""
        return self._table(f"/v1/sweeps/{sweep_id}/results")

    def populations(self) -> list[dict[str, Any]]:
        """Every registered population."""
        return self._all("/v1/populations", "populations")

    def runs(self) -> list[dict[str, Any]]:
        """Every run that the key may see."""
        return self._all("/v1/runs", "runs")

    def contracts(self) -> list[dict[str, Any]]:
        """Every contract that may be named."""
        return self._all("/v1/contracts", "contracts")

    def contract(self, name: str) -> dict[str, Any]:
        """One contract: steps, and each value with its page."""
        return self._json("GET", f"/v1/contracts/{name}")

    def save_report(self, run_id: str, out: Path) -> Path:
        """Save a run's report: .html as a page, .xlsx as a workbook, .pdf for paper.

        Raises
        ------
        ValueError
            If the file's name ends otherwise.
        """
        if out.suffix not in REPORTS:
            raise ValueError(f"{out}: expected a name that ends in {', '.join(REPORTS)}")
        path = f"/v1/runs/{run_id}/reports/{REPORTS[out.suffix]}"
        out.write_bytes(self._send("GET", path).content)
        return out

    def estimate(
        self, /, population: str, contracts: Sequence[str], **terms: Any
    ) -> dict[str, Any]:
        """What a run of these terms would take and where it would stop; nothing is started."""
        body = {"population": population, "contracts": list(contracts), **terms}
        return self._json("POST", "/v1/runs/estimate", json=body)

    def accept(self, run_id: str, reasons: Mapping[str, str]) -> dict[str, Any]:
        """Accept gates that a run tripped, each with a reason."""
        return self._json("POST", f"/v1/runs/{run_id}/accept", json=dict(reasons))

    def certify(self, run_id: str, statement: Mapping[str, str]) -> dict[str, Any]:
        """Certify a run that somebody else submitted."""
        body = {"statement": dict(statement)}
        return self._json("POST", f"/v1/runs/{run_id}/certify", json=body)

    def retry(self, run_id: str) -> dict[str, Any]:
        """The run that makes one again which failed or was cancelled."""
        return self._json("POST", f"/v1/runs/{run_id}/retry")

    def diff(self, run_id: str, other_id: str) -> dict[str, Any]:
        """What another run was asked otherwise, and the dollars between the two."""
        return self._json("GET", f"/v1/runs/{run_id}/diff/{other_id}")

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Cancel a run, or learn how it ended."""
        return self._json("POST", f"/v1/runs/{run_id}/cancel")

    def results(self, run_id: str, table: str) -> pa.Table:
        """One table of a run that succeeded."""
        return self._table(f"/v1/runs/{run_id}/results/{table}")

    def polars(self, run_id: str, table: str) -> Any:
        """One table of a run as a polars DataFrame; ImportError where polars is not installed."""
        import polars as pl  # noqa: PLC0415

        return pl.from_arrow(self.results(run_id, table))

    def pandas(self, run_id: str, table: str) -> Any:
        """One table of a run as a pandas DataFrame; ImportError where pandas is not installed."""
        return self.results(run_id, table).to_pandas()

    def _table(self, path: str) -> pa.Table:
        accept = {"Accept": "application/vnd.apache.arrow.stream"}
        response = self._send("GET", path, headers=accept)
        return pa.ipc.open_stream(response.content).read_all()

    def _all(self, path: str, noun: str) -> list[dict[str, Any]]:
        """Every part of a list."""
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        while True:
            part = self._json("GET", path, params=params)
            found += part[noun]
            if not part.get("next_page_token"):
                return found
            params = {"page_token": part["next_page_token"]}

    def _at_rest(
        self, path: str, what: str, seconds: float, tell: Tell | None, bar: bool
    ) -> dict[str, Any]:
        if not bar:
            return self._watched(path, what, seconds, tell)
        with _bar(what) as drawn:

            def told(done: int, total: int) -> None:
                drawn(done, total)
                if tell is not None:
                    tell(done, total)

            return self._watched(path, what, seconds, told)

    def _watched(self, path: str, what: str, seconds: float, tell: Tell | None) -> dict[str, Any]:
        until_s = time.monotonic() + seconds
        longest_s = POLL_S if tell is None else TOLD_S
        while (left_s := until_s - time.monotonic()) > 0:
            view = self._json("GET", path, params={"wait": min(left_s, longest_s)})
            if tell is not None:
                tell(*_progress(view))
            if view["state"] in AT_REST:
                return view
        raise TimeoutError(f"{what} has not ended after {seconds} s; it goes on")

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        body: dict[str, Any] = self._send(method, path, **request).json()
        return body

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in range(1, TRIES + 1):
            try:
                response = self._http.request(method, path, **request)
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == TRIES:
                    break
            except httpx.TransportError:
                if attempt == TRIES:
                    raise
            time.sleep(0.2 * 2**attempt)
        if response.is_error:
            kind = response.headers.get("content-type", "")
            known = kind.startswith("application/problem+json")
            raise ServiceError(response.json() if known else {"status": response.status_code})
        return response


def _awaited(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """A method of the client to be awaited, with its parameters and result."""

    @wraps(method)
    async def call(self: AsyncClient, /, *given: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.client, *given, **named)

    return call


class AsyncClient:
    """The client for programs of asyncio: the same methods, each awaited, in threads.

    A wait that is cancelled leaves its last request to end by itself, within `POLL_S`.
    """

    def __init__(self, url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.client = Client(url, key, transport=transport)

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connection."""
        self.client.__exit__(*error)

    register = _awaited(Client.register)
    start = _awaited(Client.start)
    estimate = _awaited(Client.estimate)
    run = _awaited(Client.run)
    runs = _awaited(Client.runs)
    wait = _awaited(Client.wait)
    accept = _awaited(Client.accept)
    certify = _awaited(Client.certify)
    retry = _awaited(Client.retry)
    diff = _awaited(Client.diff)
    cancel = _awaited(Client.cancel)
    results = _awaited(Client.results)
    polars = _awaited(Client.polars)
    pandas = _awaited(Client.pandas)
    save_report = _awaited(Client.save_report)
    sweep = _awaited(Client.sweep)
    wait_for_sweep = _awaited(Client.wait_for_sweep)
    swept = _awaited(Client.swept)
    populations = _awaited(Client.populations)
    contracts = _awaited(Client.contracts)
    contract = _awaited(Client.contract)
