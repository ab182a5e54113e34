from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.backup import restore, take_backup
from cluster.home import Home
from cluster.runs import Run
from cluster.store import Store
from ihp_compute.errors import DataError, InfrastructureError


@pytest.fixture
def lived_in(home: Home, store: Store, submit: Callable[..., Run], take: Callable[..., Run]) -> Run:
    """A finished run with its files, another that waits, a contract file, a draft, a population."""
    home.secret()
    submit()
    run = take()
    folder = home.attempt(run.id, run.attempt)
    (folder / "tables").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "tables" / "settlement.parquet").write_bytes(bytes(range(256)) * 300)
    assert store.leases.finish(run, "succeeded", digest="ab") is not None
    submit(key="later", payload="q")
    (home.contracts / "north.toml").write_text("name = 'north'\n")
    (home.contracts / "versions").mkdir()
    (home.contracts / "versions" / "x@1.toml").write_text("made from the database")
    (home.populations / "p").mkdir()
    (home.populations / "p" / "manifest.json").write_text("{}")
    (home.populations / ".p.draft-1").mkdir()
    (home.populations / ".p.draft-1" / "half").write_text("half")
    return run


def contents(home: Home) -> dict[str, bytes]:
    return {
        str(path.relative_to(home.path)): path.read_bytes()
        for path in home.path.rglob("*")
        if path.is_file()
    }


def rewritten(file: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> Path:
    """The tar with each of its files as `change` has it."""
    other = file.with_name("other.tar")
    with tarfile.open(file) as old, tarfile.open(other, "w") as new:
        for entry in old:
            stream = old.extractfile(entry)
            assert stream is not None
            for name, content in change(entry.name, stream.read()):
                made = tarfile.TarInfo(name)
                made.size = len(content)
                new.addfile(made, io.BytesIO(content))
    return other


def test_what_cannot_be_made_again_comes_back(
    home: Home, store: Store, lived_in: Run, tmp_path: Path
) -> None:
    taken = take_backup(home, home.database_url, tmp_path / "b.tar")  # the service is still open
    assert (taken.n_results, taken.has_database) == (1, True)
    other = Home(tmp_path / "other")
    assert restore(tmp_path / "b.tar", other) == taken
    back, had = contents(other), contents(home)
    results = {
        f"runs/{lived_in.id}/1/{name}" for name in ("manifest.json", "tables/settlement.parquet")
    }
    assert set(back) - {"service.db-wal", "service.db-shm"} == results | {
        "service.db", "secret", "contracts/north.toml"
    }  # fmt: skip
    assert all(back[name] == had[name] for name in set(back) & results | {"secret"})
    restored = Store(other.database_url)
    assert [run.state for run in restored.queue.runs("run", limit=9)] == [
        run.state for run in store.queue.runs("run", limit=9)
    ]
    restored.close()
    assert {path.stat().st_mode & 0o077 for path in other.path.rglob("*")} == {0}
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("lived_in")
def test_results_may_stay_behind_and_populations_come_along(home: Home, tmp_path: Path) -> None:
    taken = take_backup(
        home, home.database_url, tmp_path / "b.tar", results=False, populations=True
    )
    assert taken.n_results == 0
    other = Home(tmp_path / "other")
    restore(tmp_path / "b.tar", other)
    assert (other.populations / "p" / "manifest.json").is_file()
    assert not any(other.populations.glob(".*"))
    assert not other.runs.exists()


def test_a_database_elsewhere_has_tools_of_its_own(
    home: Home, lived_in: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.backup._finished", lambda _url: [(lived_in.id, 1)])
    taken = take_backup(home, "postgresql+psycopg://db/ihp", tmp_path / "b.tar")
    assert (taken.n_results, taken.has_database) == (1, False)
    restore(tmp_path / "b.tar", Home(tmp_path / "other"))
    assert "service.db" not in contents(Home(tmp_path / "other"))


@pytest.mark.usefixtures("lived_in")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, c: [(n, c + b"?" if n == "secret" else c)], "secret is not what was written"),
        (lambda n, c: [] if n == "secret" else [(n, c)], "secret is not what was written"),
        (lambda n, c: [(n, c), ("more", b"")] if n == "secret" else [(n, c)], "more is not what"),
        (lambda n, c: [("../" + n, c)] if n == "secret" else [(n, c)], "which no backup does"),
        (lambda n, c: [("/" + n, c)] if n == "secret" else [(n, c)], "which no backup does"),
        (lambda n, c: [] if n == "manifest.json" else [(n, c)], "has no list of its files"),
        (
            lambda n, c: [(n, json.dumps({**json.loads(c), "layout_version": 99}).encode())]
            if n == "manifest.json" else [(n, c)],
            "expected a backup of layout 1",
        ),
    ],
)  # fmt: skip
def test_a_backup_that_was_changed_makes_no_home(
    home: Home,
    tmp_path: Path,
    change: Callable[[str, bytes], list[tuple[str, bytes]]],
    said: str,
) -> None:
    take_backup(home, home.database_url, tmp_path / "b.tar")
    with pytest.raises(DataError, match=said):
        restore(rewritten(tmp_path / "b.tar", change), Home(tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("lived_in")
def test_a_backup_cut_short_anywhere_makes_no_home(home: Home, tmp_path: Path) -> None:
    take_backup(home, home.database_url, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    end = whole.rstrip(b"\0")  # what ends a tar file is zeros
    for size in (0, 1, 511, 512, 1000, len(end) // 2, len(end) - 1):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(DataError, match="cut"):
            restore(tmp_path / "cut.tar", Home(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("lived_in")
def test_nothing_that_stands_is_written_over(home: Home, tmp_path: Path) -> None:
    take_backup(home, home.database_url, tmp_path / "b.tar")
    with pytest.raises(DataError, match="is there already"):
        take_backup(home, home.database_url, tmp_path / "b.tar")
    take_backup(home, home.database_url, tmp_path / "b.tar", replace=True)
    with pytest.raises(DataError, match="something is there already"):
        restore(tmp_path / "b.tar", home)
    with pytest.raises(DataError, match="is not there"):
        restore(tmp_path / "none.tar", Home(tmp_path / "other"))


def test_a_finished_run_without_its_files_is_said(
    home: Home, lived_in: Run, tmp_path: Path
) -> None:
    home.attempt(lived_in.id, 1).rename(tmp_path / "moved")
    with pytest.raises(DataError, match="files of a finished run are missing"):
        take_backup(home, home.database_url, tmp_path / "b.tar")
    assert not list(tmp_path.glob("*.tar"))
    with pytest.raises(InfrastructureError, match="no service has lived here"):
        take_backup(Home(tmp_path / "none"), home.database_url, tmp_path / "b.tar")
