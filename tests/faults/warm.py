"""A process that has run before, forked for each fault: `python -m tests.faults.warm FOLDER`.

FOLDER/raw holds raw tables. A population of two shards and a run of seed 1 are made beside them.
Each line of stdin is a fault; in a copy of both the population is then prepared again in three
shards, a run made again of seed 2, or a run of a service's database brought to its end. What came
of it is a line of stdout. Wants `injected.c` to be loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from api import cli
from cluster.database import AWAY
from cluster.home import Home
from cluster.runs import Run
from cluster.store import Store
from ihp_compute.errors import IhpError
from ihp_compute.population import open_population, verify
from ihp_compute.results import read_manifest, verify_run

C: Final = ctypes.CDLL(None)
C.fault_kinds.restype = ctypes.c_char_p
CONTRACT: Final = "mn-ihp-2.0-track-2"


def ihp(*arguments: object) -> int:
    """The exit code of a command."""
    sys.argv = ["ihp", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def prepare(folder: Path, shards: int) -> int:
    """Prepare the population."""
    raw = folder.parent / "raw"
    return ihp("ingest", raw, "--out", folder / "population", "--shards", shards, "--threads", 1)


def recalculate(folder: Path, seed: int) -> int:
    """Make the run."""
    return ihp(
        *("run", folder.parent / "stand" / "population", "--contracts", CONTRACT),
        *("--out", folder / "run", "--seed", seed, "--replicates", 5, "--threads", 1, "--replace"),
    )


def serve(folder: Path) -> int:
    """Bring a run of a service's database from its submission to its end, and say so."""
    home = Home(folder / "home")
    home.make()
    store = Store(home.database_url)
    submitted(store)
    store.leases.reclaim(actor="d", dead="d")
    taken = store.leases.take("d", lease_ms=60_000)
    if taken is not None:
        store.leases.progress(taken, 1, 2)
        store.leases.finish(taken, "succeeded", digest="d" * 64)
    store.close()
    return 0


def submitted(store: Store) -> Run:
    """The one run of a database, which is submitted where it is not there yet."""
    run, _ = store.queue.submit(
        "run", {"seed": 1}, owner="o", idempotency_key="k", payload_sha256="0" * 64
    )
    return run


def prepared(folder: Path) -> list[Any]:
    """What stands: the shards of a population that is whole."""
    verify(folder / "population")
    return [open_population(folder / "population").manifest["n_shards"]]


def recalculated(folder: Path) -> list[Any]:
    """What stands: seed and digest of a run that is whole."""
    verify_run(folder / "run")
    return [read_manifest(folder / "run")["seed"], read_manifest(folder / "run")["digest"]]


def served(folder: Path) -> list[Any]:
    """What stands: the state of each run, which its last event led to."""
    store = Store(Home(folder / "home").database_url)
    run = submitted(store)
    moved = [event for event in store.queue.events(run.id) if event.to_state is not None]
    assert moved[-1].to_state == run.state, (moved, run)
    store.close()
    return [run.state]


DO: Final[dict[str, Callable[[Path], int]]] = {
    "ingest": lambda folder: prepare(folder, 3),
    "run": lambda folder: recalculate(folder, 2),
    "service": serve,
}
LOOK: Final[dict[str, Callable[[Path], list[Any]]]] = {
    "ingest": prepared,
    "run": recalculated,
    "service": served,
}


def forked(work: Callable[[], Any], said: Path) -> dict[str, Any]:
    """What work in a process of its own came to: its value, or how it ended; what it printed."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            with said.open("w", encoding="utf-8") as stream:
                os.dup2(stream.fileno(), 1)
                os.dup2(stream.fileno(), 2)
            value = work()
            said.with_suffix(".value").write_text(json.dumps(value), encoding="utf-8")
            code = 0
        except BaseException:  # noqa: BLE001 (whatever it is, it is told)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    value = said.with_suffix(".value")
    found = {
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "value": json.loads(value.read_text(encoding="utf-8")) if value.exists() else None,
        "said": said.read_text(encoding="utf-8"),
    }
    value.unlink(missing_ok=True)
    return found


def attempt(folder: Path, fault: dict[str, Any]) -> dict[str, Any]:
    """What came of one fault."""
    trial, said = folder / "trial", folder / "said"
    shutil.rmtree(trial, ignore_errors=True)
    shutil.copytree(folder / "stand", trial)
    what = fault["what"]

    def work() -> list[Any]:
        C.fault_arm(os.fsencode(trial), fault["at"], fault["error"], int(fault["stays"]))
        try:
            code = DO[what](trial)
        except (IhpError, *AWAY) as error:  # what the dispatcher says again until it is heard
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 (as the command)
            code = 5
        kinds = C.fault_kinds().decode()
        C.fault_off()
        return [code, kinds]

    did = forked(work, said)
    left = sorted(path.name for path in trial.iterdir())
    stands = forked(lambda: LOOK[what](trial), said)
    again = None
    if did["signal"]:
        again = (
            forked(lambda: DO[what](trial), said)["value"],
            sorted(path.name for path in trial.iterdir()),
        )
    code, kinds = did["value"] or (None, "")
    return {
        "code": code, "kinds": kinds, "signal": did["signal"], "said": did["said"], "left": left,
        "stands": stands["value"], "look": stands["said"], "again": again,
    }  # fmt: skip


def main() -> None:
    """Make what stands, then take faults."""
    folder = Path(sys.argv[1])
    stand = folder / "stand"
    stand.mkdir()
    with contextlib.redirect_stdout(sys.stderr):
        assert prepare(stand, 2) == 0
        assert recalculate(stand, 1) == 0
        warmed = folder / "warmed"
        warmed.mkdir()
        assert serve(warmed) == 0
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 (what the test reads)
    for line in sys.stdin:
        print(json.dumps(attempt(folder, json.loads(line))), flush=True)  # noqa: T201 (as above)


if __name__ == "__main__":
    main()
