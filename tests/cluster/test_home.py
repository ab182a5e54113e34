from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.home import Home, Lock
from ihp_compute.errors import InfrastructureError


def test_a_lock_has_one_holder_and_tells_who(home: Home) -> None:
    lock = home.dispatcher_lock()
    assert not lock.held()
    assert lock.note() == {}
    assert lock.acquire(pid=7, tag="t")
    other = home.dispatcher_lock()
    assert other.held()
    assert not other.acquire(pid=8)
    assert other.note() == {"pid": 7, "tag": "t"}
    lock.release()
    assert not other.held()
    assert other.acquire(pid=8)
    other.release()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys, time; from pathlib import Path; from cluster.home import Lock\n"
        "lock = Lock(Path(sys.argv[1])); assert lock.acquire(pid=1)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert Lock(path).held()
        process.kill()
    assert not Lock(path).held()


def test_the_secret_is_made_once_and_read_by_its_owner_only(home: Home) -> None:
    first = home.secret()
    assert len(first) == 32
    assert home.secret() == first
    assert stat.S_IMODE((home.path / "secret").stat().st_mode) == 0o600
    assert [path.name for path in home.path.glob("secret*")] == ["secret"]


def test_the_token_of_ray_is_made_once_and_read_by_its_owner_only(home: Home) -> None:
    path = home.ray_token()
    first = path.read_text()
    assert len(first) == 64
    assert home.ray_token().read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_stood_open_to_others_is_shut(tmp_path: Path) -> None:
    """A folder of an older program, or one that its operator made with the usual mask."""
    path = tmp_path / "home"
    path.mkdir(mode=0o755)
    (path / "service.db").touch(mode=0o644)
    (path / "notes").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch(mode=0o644)
    Home(path).make()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "service.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o644


def test_results_are_for_the_owner_only(home: Home) -> None:
    assert stat.S_IMODE(home.runs.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfrastructureError, match="--home"):
        Home(tmp_path / "file").make()
