"""The interactive page: files of this machine alone, under a policy that holds them to it."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

FILES = {
    "swagger-ui-bundle.js": "javascript",
    "swagger-ui.css": "text/css",
    "docs.js": "javascript",
}


def test_the_page_names_no_other_host_and_no_script_of_its_own(client: TestClient) -> None:
    page = client.get("/v1/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text
    assert not re.search(r"<script[^>]*>[^<]|<style|\son\w+=|\sstyle=", page.text)
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    named = set(re.findall(r'(?:src|href)="\.\./static/([^"]+)"', page.text))
    assert named == set(FILES)


@pytest.mark.parametrize(("name", "kind"), FILES.items())
def test_its_files_are_here(client: TestClient, name: str, kind: str) -> None:
    file = client.get(f"/static/{name}")
    assert file.status_code == 200
    assert kind in file.headers["content-type"]
    again = client.get(f"/static/{name}", headers={"If-None-Match": file.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["nothing.js", "../docs.py", "..%2fdocs.py", ""])
def test_nothing_else_is_among_them(client: TestClient, path: str) -> None:
    refused = client.get(f"/static/{path}")
    assert refused.status_code == 404
    assert refused.headers["content-type"] == "application/problem+json"
    refused = client.post("/static/docs.js")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
