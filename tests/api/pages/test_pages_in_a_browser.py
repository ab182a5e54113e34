"""The pages as a browser shows them; skipped where there is no Chromium."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from api.app import create_app
from api.auth import OPERATOR_SCOPES, issue_key
from api.pages.exhibits import PARTS
from api.service import Service
from cluster.runs import Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to show the page with")

PATHS = (
    "/runs", "/runs/new", "/compare", "/contracts", "/contracts/mn-ihp-2.0-track-2",
    "/populations", "/keys", "/runs/unknown",
)  # fmt: skip


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """Of the service, at a port of its own."""
    config = uvicorn.Config(create_app(service), port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until_s = time.monotonic() + 60
    while not server.started and time.monotonic() < until_s:
        time.sleep(0.05)
    assert server.started
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.force_exit = server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def sign_in(service: Service, address: str) -> Callable[[Any], Any]:
    """A page of a browser's context, signed in as an operator is."""
    _, key = issue_key(
        service.store.keys,
        service.home,
        owner="operator",
        note="",
        scopes=(*OPERATOR_SCOPES, "results:member"),
        days=1,
    )

    def make(context: Any) -> Any:
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.goto(f"{address}/runs")
        assert page.url == f"{address}/sign-in"
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/runs")
        return page

    return make


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_their_window_and_speak_to_everybody(
    browser: Any, address: str, sign_in: Callable[[Any], Any], done: Run, scheme: str
) -> None:
    """From a phone to a wide screen; nothing serious by axe, nothing that the policy refuses."""
    context = browser.new_context(color_scheme=scheme)
    page = sign_in(context)
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Policy" in said.text else None)
    found = []
    paths = [*PATHS, *(f"/runs/{done.id}/{part}".rstrip("/") for part in PARTS)]
    for path in paths:
        page.goto(f"{address}{path}")
        for width in (390, 768, 1280, 1600):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width, (path, width)
    assert refused == []
    context.close()
    # axe puts a script into the page, which the policy would refuse
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = sign_in(context)
    for path in paths:
        page.goto(f"{address}{path}")
        violations = axe.Axe().run(page).response["violations"]
        found += [
            (path, one["id"]) for one in violations if one["impact"] in ("serious", "critical")
        ]
    context.close()
    assert found == []


@pytest.mark.parametrize("script", [True, False])
def test_a_run_is_followed_without_a_hand(
    browser: Any,
    address: str,
    service: Service,
    sign_in: Callable[[Any], Any],
    start: Callable[..., Any],
    script: bool,
) -> None:
    """By events; without a script by reloading."""
    run_id = start().json()["id"]
    context = browser.new_context(java_script_enabled=script)
    page = sign_in(context)
    page.goto(f"{address}/runs/{run_id}")
    assert page.locator(".state").text_content() == "queued"
    service.store.queue.request_cancel(run_id, actor="operator")
    page.wait_for_selector(".state.cancelled")
    page.wait_for_selector("text=Make it again")
    context.close()
