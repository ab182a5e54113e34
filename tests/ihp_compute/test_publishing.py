"""What is published is on the disk before its name shows it, and its name is never gone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ihp_compute import publishing
from ihp_compute.publishing import beside, first, let_go, publish, whole


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def make(out: Path, text: str) -> None:
    with beside(out) as draft:
        (draft / "x").write_text(text, encoding="utf-8")
        publish(draft, out)


def killed(work: Callable[[], None]) -> None:
    """Do work in a process of its own that must not come to its end."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


def die(*_arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(params=["exchanged", "two renames"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(publishing, "_exchanged", lambda *_: False)


@pytest.mark.usefixtures("either_way")
def test_a_finished_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    for text in ("first", "second", "third"):
        make(out, text)
        assert content(out) == {"x": text}
        assert list(out.parent.iterdir()) == [out]
        assert out.stat().st_mode & 0o777 == 0o755


def test_what_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "first")
    with contextlib.suppress(KeyboardInterrupt), beside(out) as draft:
        (draft / "x").write_text("second", encoding="utf-8")
        raise KeyboardInterrupt
    assert content(out) == {"x": "first"}
    assert list(tmp_path.iterdir()) == [out]


def test_all_is_on_the_disk_before_a_name_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out"
    done: list[int | str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        fsync(handle)
        done.append(os.fstat(handle).st_ino)

    def shown(path: Path, target: Path) -> Path:
        if target == out:
            done.append("shown")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", shown)
    with beside(out) as draft:
        (draft / "below").mkdir()
        for path in (draft / "x", draft / "below" / "y"):
            path.touch()
        of_it = {p.stat().st_ino for p in (draft, *draft.rglob("*"))}
        publish(draft, out)
    before, after = set(done[: done.index("shown")]), done[done.index("shown") + 1 :]
    assert of_it | {tmp_path.stat().st_ino} <= before
    assert after == [out.parent.stat().st_ino]


def test_what_is_let_go_is_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 4096)
    let_go(file)
    assert file.read_bytes() == bytes(range(256)) * 4096


def test_what_cannot_be_written_is_not_let_go_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        def sync_file_range(self, *_arguments: object) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(publishing, "_C", Library())
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        let_go(file)


def test_there_is_no_moment_without_what_stood_there(tmp_path: Path) -> None:
    out, over, seen = tmp_path / "out", threading.Event(), []
    make(out, "0")

    def look() -> None:
        while not over.is_set():
            with contextlib.suppress(NotADirectoryError):
                seen.append((out / "x").is_file())

    looking = threading.Thread(target=look)
    looking.start()
    for i in range(60):
        make(out, str(i))
    over.set()
    looking.join()
    assert len(seen) > 100
    assert all(seen)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("at", range(3))
@pytest.mark.usefixtures("either_way")
def test_what_cannot_be_synced_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, at: int
) -> None:
    out, file = tmp_path / "out", tmp_path / "file"
    make(out, "first")
    file.write_text("first", encoding="utf-8")
    left = [at]

    def fails(_handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match=os.strerror(number)):
            make(out, "second")
        left[0] = 0
        with pytest.raises(OSError, match=os.strerror(number)), whole(file) as draft:
            draft.write_text("second", encoding="utf-8")
    # the last sync is that of the folder above, when the name shows the new one already
    assert content(out) == {"x": "first" if at < 2 else "second"}
    assert file.read_text(encoding="utf-8") == "first"
    assert sorted(tmp_path.iterdir()) == [file, out]


@pytest.mark.parametrize(
    ("dies_in", "text"), [("_sync_tree", "first"), ("_exchanged", "first"), ("_remove", "second")]
)
def test_killed_anywhere_one_of_the_two_stands_and_the_next_start_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str, text: str
) -> None:
    out = tmp_path / "out"
    make(out, "first")
    with monkeypatch.context() as patch:
        patch.setattr(publishing, dies_in, die)
        killed(lambda: make(out, "second"))
    assert content(out) == {"x": text}
    assert len(list(tmp_path.iterdir())) == 2
    with beside(out) as draft:
        assert sorted(tmp_path.iterdir()) == sorted([out, draft])
    assert content(out) == {"x": text}


def test_without_exchange_the_next_start_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    make(out, "first")
    rename = Path.rename

    def dying(path: Path, target: Path) -> Path:
        if ".draft-" in path.name:
            die()
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_exchanged", lambda *_: False)
        patch.setattr(Path, "rename", dying)
        killed(lambda: make(out, "second"))
    assert not out.exists()
    with beside(out):
        assert content(out) == {"x": "first"}
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_replacement_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    make(out, "first")
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if ".draft-" in path.name:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(publishing, "_exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="no"):
        make(out, "second")
    assert content(out) == {"x": "first"}
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["out", "out[1]"])
def test_only_what_nobody_works_on_any_more_is_removed(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    dead, other = tmp_path / f".{name}.draft-dead", tmp_path / ".another.draft-dead"
    young, old = tmp_path / f".{name}.new-young", tmp_path / f".{name}.new-old"
    for folder in (dead, other, young, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    with beside(out) as worked_on, beside(out):
        assert worked_on.is_dir()
    assert sorted(tmp_path.iterdir()) == sorted([other, young])


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with whole(path) as draft:
        draft.write_text("first", encoding="utf-8")
        assert (draft.suffix, path.exists()) == (path.suffix, False)
    with contextlib.suppress(KeyboardInterrupt), whole(path) as draft:
        draft.write_text("second", encoding="utf-8")
        raise KeyboardInterrupt
    assert content(path.parent) == {"table.csv": "first"}


def test_what_never_changes_stays_as_the_first_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with first(path) as draft:
        draft.write_text("first", encoding="utf-8")
    with pytest.raises(FileExistsError), first(path) as draft:
        draft.write_text("second", encoding="utf-8")
    assert content(tmp_path) == {"secret": "first"}
