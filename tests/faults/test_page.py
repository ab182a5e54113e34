"""The page of faults names tests that there are, for each of the 27."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.chaos import named
from tests.faults.injection import ROOT

PAGE = Path(__file__).with_name("README.md")


def test_every_test_that_the_page_names_is_there() -> None:
    found = [name.split("::") for name in named()]
    assert len(found) > 60
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path, _ in found}
    defined = {
        path: re.findall(r"^ *(?:async )?def (test_\w+)", text, re.MULTILINE)
        for path, text in texts.items()
    }
    assert [name for path, name in found if name not in defined[path]] == []


def test_the_page_has_each_fault_once_and_a_test_or_a_reason_beside_it() -> None:
    rows = re.findall(
        r"^\| (\d+) \| .+? \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(number) for number, _ in rows] == list(range(1, 28))
    assert all("`tests/" in shown or shown.startswith("not shown: ") for _, shown in rows)
