"""What a Prometheus reads: requests as this process saw them, runs as the database has them.

Counts, seconds and bytes: no id, no owner, no name. A route is its pattern. Runs are counted when
somebody asks, over all that were ever submitted, so that a server's death takes nothing from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from api.problems import BusyError
from api.reading import Reads
from cluster.census import RUN_SECONDS, Census

SCRAPE_S: Final = 5.0
REQUEST_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
OTHER_ROUTE: Final = "other"
"""Route of a request that met none: what strangers try is no label."""


class Metrics:
    """Counts of this process, kept while it lives.

    Attributes
    ----------
    streams, downloads : Gauge
        Streams of events and results under way; whoever opens one calls `inc`, and `dec` at its
        end, or uses `track_inprogress`.
    damaged : Counter
        By kind, run or sweep.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ihp_http_requests",
            "Requests answered",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ihp_http_request_seconds",
            "Seconds from a request's head to the end of its answer",
            ["route", "method"],
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.streams = Gauge(
            "ihp_streams_open", "Streams of events under way", registry=self.registry
        )
        self.downloads = Gauge(
            "ihp_downloads_open", "Results under way to readers", registry=self.registry
        )
        self.damaged = Counter(
            "ihp_results_damaged",
            "Requests refused because files of a finished run are not what it wrote",
            ["kind"],
            registry=self.registry,
        )
        self._connections = Gauge(
            "ihp_connections_open", "Connections to the service", registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def answered(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Count a request. `route` is a pattern, None for a path that is nobody's."""
        name = route or OTHER_ROUTE
        known = method if method in _METHODS else OTHER_ROUTE
        self._requests.labels(name, known, status).inc()
        self._seconds.labels(name, known).observe(seconds)

    def watch(
        self,
        *,
        census: Census,
        dispatcher_alive: Callable[[], bool],
        connections: Callable[[], int],
    ) -> None:
        """Count runs, the dispatcher and connections too, whenever somebody asks."""
        self._connections.set_function(connections)
        alive = Gauge(
            "ihp_dispatcher_alive", "1 while a dispatcher lives and moves", registry=self.registry
        )
        alive.set_function(dispatcher_alive)
        self.registry.register(_Runs(census))


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Runs(Collector):
    """Runs and sweeps, as the database has them at this moment."""

    def __init__(self, census: Census) -> None:
        self._census = census

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is to count is asked for when it is counted."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Runs by state, the oldest that waits, how long they took, why they failed."""
        counted = self._census.count()
        states = GaugeMetricFamily("ihp_runs", "Runs by state", labels=["kind", "state"])
        for (kind, state), n_runs in counted.by_state.items():
            states.add_metric([kind, state], n_runs)
        yield states
        age = GaugeMetricFamily(
            "ihp_queue_age_seconds",
            "How long the oldest run that waits has waited",
            labels=["kind"],
        )
        for kind, age_s in counted.oldest_queued_s.items():
            age.add_metric([kind], age_s)
        yield age
        took = HistogramMetricFamily(
            "ihp_run_seconds",
            "Seconds from a run's last start to its end",
            labels=["kind", "state"],
        )
        for (kind, state), seconds in counted.seconds.items():
            buckets = [
                (str(edge), float(n_runs))
                for edge, n_runs in zip(RUN_SECONDS, seconds.up_to, strict=True)
            ]
            took.add_metric([kind, state], [*buckets, ("+Inf", seconds.n_runs)], seconds.total_s)
        yield took
        failures = CounterMetricFamily(
            "ihp_run_failures", "Failed runs by reason", labels=["kind", "reason"]
        )
        for (kind, reason), n_runs in counted.failures.items():
            failures.add_metric([kind, reason], n_runs)
        yield failures


class MetricsApp:
    """The ASGI application of the metrics' own address; it wants no key.

    Parameters
    ----------
    metrics : Metrics
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._reads = Reads(1, "count")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        answer: Response
        if scope["path"] != "/metrics":
            answer = PlainTextResponse("metrics are at /metrics", 404)
        elif scope["method"] not in ("GET", "HEAD"):
            answer = PlainTextResponse("GET only", 405, headers={"Allow": "GET, HEAD"})
        else:
            answer = await self._counted()
        await answer(scope, receive, send)

    async def _counted(self) -> Response:
        try:
            body = await self._reads.within(SCRAPE_S, generate_latest, self._metrics.registry)
        except (BusyError, SQLAlchemyError):
            return PlainTextResponse("the database does not answer", 503)
        return Response(body, media_type=CONTENT_TYPE_LATEST)
