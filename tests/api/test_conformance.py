"""Requests made from the description, fitting and unfitting, get answers that it describes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    HealthCheck,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
)
from schemathesis.engine import events, from_schema

from api.app import create_app
from api.auth import SCOPES
from api.service import Service
from cluster.runs import Run
from ihp_compute import pipeline
from ihp_compute.runner import LocalRunner

EXPECTED = ["2xx", "401", "403", "404", "409", "422", "5xx"]
"""Of fitting requests. A body whose form fits may name a run that there is not: 422 (5xx is a check
of its own, and the others are the default)."""
EXAMPLES = 15


def _told(events_of_run: Iterator[Any]) -> tuple[list[str], set[int]]:
    """What went wrong, an example of each kind, and every status that was seen."""
    wrong: dict[tuple[str, str], str] = {}
    seen: set[int] = set()
    for event in events_of_run:
        if isinstance(event, events.NonFatalError | events.FatalError):
            said = ((name, str(getattr(event, name, ""))) for name in type(event).__slots__)
            wrong["error", repr(dict(said))] = ""
        if not isinstance(event, events.ScenarioFinished):
            continue
        exchanges = event.recorder.interactions
        seen |= {x.response.status_code for x in exchanges.values() if x.response is not None}
        for case, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    failure, request = check.failure_info.failure, exchanges[case].request
                    words = f"{request.method} {request.uri}: {failure.message}"
                    body = (request.body or b"")[:300]
                    wrong.setdefault((event.recorder.label, failure.title), f"{words}\n{body!r}")
    return [f"{label}: {title}: {words}" for (label, title), words in wrong.items()], seen


def test_no_request_that_the_description_leads_to_surprises(
    service: Service,
    key_with: Callable[..., dict[str, str]],
    holding: Callable[[Path], Run],
    small_population: Path,
    make_population: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Every default check, over one run that succeeded and what examples name; a fixed seed.

    Keys of the scope `admin`, which may take away the key that asks, have a round of their own.
    """
    request = pipeline.RunRequest(
        small_population, ("mn-ihp-2.0-track-2",), replicates=5, programme="none"
    )
    made = pipeline.run(request, tmp_path / "made", LocalRunner(1)).run_dir
    assert holding(made).state == "succeeded"
    make_population(service.home.populations / "2024" / "state")
    settings = service.settings.model_copy(update={"max_body_bytes": 1 << 24, "max_wait_s": 0.1})
    app = create_app(replace(service, settings=settings))
    headers = key_with(*(set(SCOPES) - {"admin"}))
    wrong, seen = _told(iter(from_schema(_schema(app, headers)).execute()))
    assert not wrong, "\n".join(wrong)
    assert {200, 201, 202, 400, 404, 405, 415, 422} <= seen
    # a key that was revoked stays in the list, and is told so
    admin = _schema(app, key_with("admin"), freed=False).include(path_regex="^/v1/keys")
    wrong, seen = _told(iter(from_schema(admin).execute()))
    assert not wrong, "\n".join(wrong)
    assert {200, 201, 405, 415, 422} <= seen


def _schema(app: FastAPI, headers: dict[str, str], *, freed: bool = True) -> Any:
    """The description of an application, to be asked with these headers."""
    config = SchemathesisConfig(
        seed=1,
        suppress_health_check=[HealthCheck.too_slow],  # how busy a machine is decides nothing
        projects=ProjectsConfig(
            default=ProjectConfig(
                headers=headers,
                checks=ChecksConfig(
                    positive_data_acceptance=PositiveDataAcceptanceConfig(
                        expected_statuses=EXPECTED
                    ),
                    use_after_free=SimpleCheckConfig(enabled=freed),
                ),
                generation=GenerationConfig(max_examples=EXAMPLES, no_shrink=True, database="none"),
                continue_on_failure=True,
            )
        ),
    )
    return schemathesis.openapi.from_asgi("/v1/openapi.json", app, config=config, headers=headers)
