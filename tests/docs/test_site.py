"""The site is made without a warning, its links lead somewhere, and the service shows it."""

from __future__ import annotations

import html
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.manual import policy_of
from api.service import Service
from api.settings import Settings
from cluster.store import Store
from ihp_compute.input_columns import INPUT_TABLES
from ihp_compute.results import TABLES

Serve = Callable[[Path], TestClient]

ROOT = Path(__file__).resolve().parents[2]
needs_sphinx = pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None, reason="the site is made by `make docs` alone"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    made = subprocess.run(
        [sys.executable, "-m", "sphinx", "--builder", "html", "--quiet", "--fail-on-warning",
         "--keep-going", "--fresh-env", "--doctree-dir", folder.parent / "trees",
         ROOT / "docs", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    stores: list[Store] = []

    def start(docs: Path) -> TestClient:
        settings = Settings(home=tmp_path / "home", docs=docs)
        settings.folder.make()
        stores.append(Store(settings.database))
        service = Service(settings, stores[-1], lambda: "works", lambda: False)
        return TestClient(create_app(service))

    yield start
    for store in stores:
        store.close()


def _pages(site: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


@needs_sphinx
def test_every_link_within_the_site_leads_to_a_page_and_its_place(site: Path) -> None:
    pages = _pages(site)
    places = {path: set(re.findall(r'\sid="([^"]+)"', text)) for path, text in pages.items()}
    astray = []
    for path, text in pages.items():
        for link in re.findall(r'<(?:a|link|img|script)\b[^>]*\s(?:href|src)="([^"]+)"', text):
            target, place = urldefrag(html.unescape(link))
            if re.match(r"[a-z]+:", target):
                continue
            to = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            if not to.is_file() or (place and to in places and unquote(place) not in places[to]):
                astray.append((path.name, link))
    assert len(pages) > 40
    assert not astray


@needs_sphinx
def test_the_site_asks_nobody(site: Path) -> None:
    """Neither a page nor a style nor a script of it names another host to load from."""
    for path, text in _pages(site).items():
        loaded = re.findall(r'<(?:link|script|img)\b[^>]*\s(?:href|src)="(https?:)?//', text)
        assert not loaded, path
        assert not re.search(r"<[a-z][^<>]*\s(?:style|on\w+)=", text), path
    for path in (site / "_static").rglob("*.css"):
        assert not re.search(r"url\(.?(https?:)?//|@import", path.read_text("utf-8")), path


@needs_sphinx
@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("inputs", [c.name for t in INPUT_TABLES.values() for c in t.columns if c.required]),
        ("results", [c.name for t in TABLES.values() for c in t.columns]),
    ],
)
def test_dictionaries_hold_every_declared_column(site: Path, page: str, names: list[str]) -> None:
    text = (site / "method" / f"{page}.html").read_text(encoding="utf-8")
    assert not [name for name in names if f">{name}<" not in text]


@needs_sphinx
def test_the_service_shows_it_to_anybody_under_a_policy(site: Path, serve: Serve) -> None:
    client = serve(site)
    page = client.get("/docs/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "unsafe" not in policy
    assert client.get("/docs/method/results.html").status_code == 200
    script = client.get("/docs/_static/scripts/furo.js")
    assert "javascript" in script.headers["content-type"]
    gone = client.get("/docs/nothing.html")
    assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json")
    assert client.get("/docs/..%2fconf.py").status_code == 404


def test_without_it_the_service_says_what_makes_it(tmp_path: Path, serve: Serve) -> None:
    answer = serve(tmp_path / "nowhere").get("/docs/")
    assert answer.status_code == 404
    assert "make docs" in answer.json()["detail"]


def test_a_policy_allows_what_is_written_in_a_page_and_no_more() -> None:
    """The hash is the one that the specification gives for this script (CSP 2, §4.2.5)."""
    policy = policy_of("<script src=\"a.js\"></script><script>alert('Hello, world.');</script>")
    assert "script-src 'self' 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=';" in policy
    assert "style-src 'self';" in policy
