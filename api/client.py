"""A client of the service: register, start, wait, read. What a notebook needs, and no more.

    with Client("http://127.0.0.1:8000", key) as service:
        service.register("2024", prefix="mn-2024")
        run = service.start("2024", ["mn-ihp-2.0-track-2"], idempotency_key="2024 final")
        run = service.wait(run["id"])
        settlement = service.results(run["id"], "settlement")        # an Arrow table

Asking again is safe: a run is started once for its idempotency key, so a request whose answer was
lost on the way is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Self

import httpx2 as httpx
import pyarrow as pa

FINAL_STATES: Final = frozenset({"succeeded", "failed", "cancelled"})
POLL_S: Final = 30.0
TRIES: Final = 5


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
        self, population: str, contracts: Sequence[str], *, idempotency_key: str, **terms: Any
    ) -> dict[str, Any]:
        """Start a run; the same idempotency key is the same run.

        Parameters
        ----------
        population : str
        contracts : sequence of str
        idempotency_key : str
            Chosen by the caller and kept: a month later it still finds this run.
        **terms
            performance_year, base_year, paid_through, replicates, seed.
        """
        body = {"population": population, "contracts": list(contracts), **terms}
        headers = {"Idempotency-Key": idempotency_key}
        return self._json("POST", "/v1/runs", json=body, headers=headers)

    def run(self, run_id: str) -> dict[str, Any]:
        """One run as it stands."""
        return self._json("GET", f"/v1/runs/{run_id}")

    def wait(self, run_id: str, *, seconds: float = 3600) -> dict[str, Any]:
        """The run once it has ended, whichever way; TimeoutError after `seconds`."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            params = {"wait": min(left_s, POLL_S)}
            view = self._json("GET", f"/v1/runs/{run_id}", params=params)
            if view["state"] in FINAL_STATES:
                return view
        raise TimeoutError(f"run {run_id} has not ended after {seconds} s; it goes on")

    def cancel(self, run_id: str) -> dict[str, Any]:
        """Cancel a run, or learn how it ended."""
        return self._json("POST", f"/v1/runs/{run_id}/cancel")

    def results(self, run_id: str, table: str) -> pa.Table:
        """One table of a run that succeeded."""
        accept = {"Accept": "application/vnd.apache.arrow.stream"}
        response = self._send("GET", f"/v1/runs/{run_id}/results/{table}", headers=accept)
        return pa.ipc.open_stream(response.content).read_all()

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
