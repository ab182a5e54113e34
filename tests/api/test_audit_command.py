from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.conftest import Ihp


@pytest.fixture
def home(ihp: Ihp, tmp_path: Path) -> Path:
    """A home in which two keys were made."""
    for owner in ("ann", "bob"):
        assert (
            ihp("keys", "create", "--scope", "runs:read", "--owner", owner, *at(tmp_path))[0] == 0
        )
    return tmp_path / "home"


def at(folder: Path) -> tuple[str, str]:
    return ("--home", str(folder / "home"))


def test_a_chain_that_holds_is_said_with_its_last_entry(ihp: Ihp, home: Path) -> None:
    code, out, said = ihp("audit", "verify", "--home", home)
    assert (code, out) == (0, "")
    (words,) = said
    assert words.startswith("2 entries, each as it was written; the last is 2:")
    last = words.split()[-1]
    assert ihp("audit", "verify", "--seen", last, "--home", home)[0] == 0
    code, out, _ = ihp("audit", "verify", "--json", "--home", home)
    seq, sha256 = last.split(":")
    assert json.loads(out) == {
        "valid": True, "entries": 2, "last": {"seq": int(seq), "sha256": sha256},
        "broken_at": None, "has_seen": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("UPDATE audit SET owner = 'eve' WHERE seq = 1", "entry 1 does not follow"),
        ("DELETE FROM audit WHERE seq = 2", "cut short or written anew"),
    ],
)
def test_what_does_not_hold_is_an_error_of_data(
    ihp: Ihp, home: Path, words: str, told: str
) -> None:
    last = ihp("audit", "verify", "--home", home)[2][0].split()[-1]
    with closing(sqlite3.connect(home / "service.db")) as file, file:
        file.execute("DROP TRIGGER audit_no_update")
        file.execute("DROP TRIGGER audit_no_delete")
        file.execute(words)
    code, _, said = ihp("audit", "verify", "--seen", last, "--home", home)
    assert code == 3
    assert told in " ".join(said)


@pytest.mark.parametrize("seen", ["2", "2:ff", "0:" + "a" * 64, "x:" + "a" * 64])
def test_an_entry_that_cannot_be_one_is_a_usage_error(ihp: Ihp, home: Path, seen: str) -> None:
    assert ihp("audit", "verify", "--seen", seen, "--home", home)[0] == 2


def test_a_home_that_is_not_there_is_not_made(ihp: Ihp, tmp_path: Path) -> None:
    code, _, said = ihp("audit", "verify", "--home", tmp_path / "none")
    assert code == 5
    assert "no service has lived here" in " ".join(said)
    assert not (tmp_path / "none").exists()
