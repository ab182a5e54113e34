"""What a small state gives, from raw tables to payments, stays as it was while code moves.

Everything is asked of the program at its own doors, the command line and the HTTP application, in
an empty folder and by relative paths, and compared with `what_must_not_move.json` beside this file:
digests in full, texts and tables by the first half of their SHA-256. A table counts by names,
types and values of its columns, not by its file's bytes or metadata.

    python tests/ihp_compute/test_what_must_not_move.py --write          the expected values anew
    python tests/ihp_compute/test_what_must_not_move.py --texts FOLDER   every text that is hashed

Write anew only with a commit that says what moved and why; the texts of two commits, written with
`--texts`, differ where they moved.

Left out or replaced by fixed words, because they change by themselves: the folder, seconds, lines
of progress, the engine's version, `VOLATILE` entries of manifests, the hash of the report in the
manifest (the report is held itself). The weights of a calibration come out of LAPACK: its report is
held within a tolerance and without deciles of prediction, where rounding decides between equals;
the run that is scored by the weights takes them rounded to thousandths.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import http
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

import ihp_compute
from api import entry

EXPECTED: Final = Path(__file__).with_name("what_must_not_move.json")
BAD_CONTRACTS: Final = Path(__file__).parents[1] / "bad_contracts"

MEMBERS: Final = 3_000
MEMBER: Final = "P000000002351"
PARTNERSHIP: Final = "IHP-02"
BINDS_MORE: Final = "IHP-01"
"""The partnership under another contract than the rest."""
VOLATILE: Final = ("engine_version", "mtime_ns", "path", "python", "timings")
"""Entries of manifests, at any depth, that differ between two runs of the same work."""
TOLERANCE: Final = 1e-5
CREDIBLE_MONTHS: Final = 600
"""Calibrated weights of terms with fewer member months are not held."""

TWO_CONTRACTS: Final = f"""
[set]
name = "two-contracts"

[default]
contract = "mn-ihp-2.0-track-2"

[partnerships.{BINDS_MORE}]
contract = "mn-ihp-1.0"
base_pmpm_usd = 512.25

[partnerships.{BINDS_MORE}.overrides]
"settlement.gain.share" = 0.4
"""
OWN_WEIGHTS: Final = """
name = "own-weights"
title = "Scores by the state's own weights"
programme = "test"
extends = "mn-ihp-2.0-track-2"

[sources.here]
title = "A test"

[risk.model]
value = "coarse.json"
unit = "name"
basis = "contract"
from = 2020-01-01
source = { doc = "here", at = "risk model" }
"""
GRID: Final = """
[axes]
"settlement.gain.share" = { from = 0.3, to = 0.7, count = 3 }
"settlement.loss.share" = [0.4, 0.6]
"""
SCORED: Final = {
    "members.csv": "member_id,age,gender\n01,70,male\n2,64,F\n03,12,F\n04,88,female\n",
    "diagnoses.csv": "member_id,diagnosis_code\n01,E11.69\n01,I509\n2,C50011\n04,J449\n04,XXX\n",
}

Items = dict[str, Any]


class Found:
    """What the program gave, by group and item; every text that stands for a hash is kept."""

    def __init__(self, folder: Path, texts: Path) -> None:
        self.folder = folder
        self.texts = texts
        self.groups: dict[str, Items] = {}

    def hold(self, group: str, item: str, value: Any) -> None:
        """Hold a value as it is."""
        self.groups.setdefault(group, {})[item] = value

    def hold_text(self, group: str, item: str, text: str) -> None:
        """Hold a text by its hash, volatile parts replaced."""
        plain = self.plain(text)
        path = self.texts / group.replace(" ", "_") / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', item)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(plain, encoding="utf-8")
        self.hold(group, item, _half(plain.encode()))

    def hold_json(self, group: str, item: str, document: Any) -> None:
        """Hold a document by its hash, volatile entries left out."""
        kept = _without(document, VOLATILE)
        self.hold_text(group, item, json.dumps(kept, indent=1, ensure_ascii=False))

    def hold_table(self, group: str, item: str, table: pa.Table) -> None:
        """Hold a table by names, types and values of its columns."""
        head = [f"{f.name}: {f.type}{'' if f.nullable else ' not null'}" for f in table.schema]
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        self.hold_text(group, item, "\n".join([*head, *(repr(row) for row in rows)]))

    def plain(self, text: str) -> str:
        """A text without this folder, seconds, progress and the engine's version."""
        for folder in {str(self.folder), str(self.folder.resolve())}:
            text = text.replace(folder, "FOLDER")
        text = text.replace(ihp_compute.__version__, "VERSION")
        text = re.sub(r"\b\d+\.\d+ s\b", "SECONDS s", text)
        return re.sub(r"^[a-z]+: \d+ of \d+\n", "", text, flags=re.MULTILINE)


def _half(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _without(document: Any, names: tuple[str, ...]) -> Any:
    if isinstance(document, dict):
        return {k: _without(v, names) for k, v in document.items() if k not in names}
    if isinstance(document, list):
        return [_without(entry, names) for entry in document]
    return document


def ihp(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, run in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["ihp", *arguments]),
        # or usage lines name the module that Python was started with
        mock.patch.object(sys.modules["__main__"], "__package__", None),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            entry.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return code, out.getvalue(), err.getvalue()


def said(*arguments: str) -> str:
    """All that a command says, its exit code first."""
    code, out, err = ihp(*arguments)
    return f"exit code {code}\n--- stdout\n{out}--- stderr\n{err}"


def done(*arguments: str) -> str:
    """What a command that must succeed says."""
    text = said(*arguments)
    assert text.startswith("exit code 0\n"), f"ihp {' '.join(arguments)}: {text}"
    return text


def document(*arguments: str) -> Any:
    """The JSON document of a command that must succeed."""
    code, out, err = ihp(*arguments, "--json")
    assert code == 0, f"ihp {' '.join(arguments)}: {err}"
    return json.loads(out)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in this folder, with its own store of models and a terminal of fixed width."""
    told = {"COLUMNS": "1000", "IHP_MODEL_STORE": "models"}
    with contextlib.chdir(folder), mock.patch.dict(os.environ, told):
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            os.environ.pop(name, None)
        yield


def measure(folder: Path, texts: Path) -> dict[str, Items]:
    """Everything held, asked of the program in an empty folder."""
    found = Found(folder, texts)
    with alone(folder):
        Path("two.toml").write_text(TWO_CONTRACTS, encoding="utf-8")
        Path("own.toml").write_text(OWN_WEIGHTS, encoding="utf-8")
        Path("grid.toml").write_text(GRID, encoding="utf-8")
        _population(found)
        _calibration(found)
        _run(found, "run", "two.toml", "--replicates", "200", "--seed", "7")
        _run(found, "run of own weights", "own.toml", "--replicates", "50")
        _run(found, "interim run", "two.toml", "--replicates", "0", "--paid-through", "2025-01-31")
        _sweep(found)
        _explanations(found)
        _contracts(found)
        _settle(found)
        _scores(found)
        _help(found)
    return found.groups


def _place(group: str) -> str:
    return group.replace(" ", "-")


def _population(found: Found) -> None:
    done("synth", "--members", str(MEMBERS), "--seed", "14", "--out", "raw")
    found.hold_text("population", "ihp ingest", done("ingest", "raw", "--out", "population",
                                                      "--shards", "3"))  # fmt: skip
    found.hold_text("population", "ihp verify", done("verify", "population"))
    found.hold_text("population", "ihp completion", done("completion", "population"))
    for path in sorted(p for p in Path("population").rglob("*") if p.is_file()):
        name = path.relative_to("population").as_posix()
        if name == "manifest.json":
            manifest = json.loads(path.read_text(encoding="utf-8"))
            found.hold("population", "digest", manifest["population_digest"])
            found.hold_json("population", name, manifest)
        else:
            found.hold("population", name, _half(path.read_bytes()))


def _calibration(found: Found) -> None:
    """Calibrate; leave the model as `coarse.json`, the same wherever LAPACK rounds otherwise."""
    report = document(
        "calibrate", "population", "--model", "cms-hcc-v28", "--timing", "concurrent",
        "--full-months", "600", "--folds", "2", "--replicates", "5", "--out", "weights.json",
    )  # fmt: skip
    exact = {
        name: report[name]
        for name in (
            "name", "base_model", "base_model_sha256", "population_digest", "terms", "timing",
            "members", "members_skipped", "members_at_cap", "member_months",
        )
    }  # fmt: skip
    found.hold("calibration", "exact", exact)
    found.hold("calibration", "items of the report", sorted(report))
    del report["predictive_ratios"]["decile"]  # equal predictions part by their last bits
    for name in ("mean_annual_cost_usd", "in_sample", "out_of_sample", "predictive_ratios"):
        found.hold("calibration", name, report[name])
    for segment, features in report["features"].items():
        credible = [f for f in features if f["member_months"] >= CREDIBLE_MONTHS]
        for feature in credible:
            found.hold("calibration", f"{segment} {feature['term']}", feature)
    model = json.loads(Path("weights.json").read_text(encoding="utf-8"))
    for coefficient in model["coefficients"]:
        coefficient["value"] = str(round(Decimal(coefficient["value"]), 3))
    model["notes"] = ["Calibrated weights, rounded."]
    Path("coarse.json").write_text(json.dumps(model), encoding="utf-8")


def _run(found: Found, group: str, contracts: str, *options: str) -> None:
    out = _place(group)
    text = done("run", "population", "--contracts", contracts, "--out", out, "--device", "cpu",
                *options)  # fmt: skip
    found.hold_text(group, "ihp run", text)
    found.hold_text(group, "ihp verify", done("verify", out))
    found.hold(group, "files", sorted(path.name for path in Path(out).iterdir()))
    manifest = json.loads(Path(out, "manifest.json").read_text(encoding="utf-8"))
    found.hold(group, "digest", manifest["digest"])
    found.hold(group, "contracts", manifest["contracts"])
    found.hold(group, "risk model", manifest["risk_model"])
    manifest["files"] = sorted(manifest["files"])
    found.hold_json(group, "manifest.json", manifest)
    for path in sorted(Path(out).glob("*.parquet")):
        found.hold_table(group, path.name, pq.read_table(path))
    with pa.OSFile(f"{out}/totals.arrow") as source:
        totals = pyarrow.ipc.open_file(source).read_all()
    found.hold_table(group, "totals.arrow", totals)
    about = {key.decode(): value.decode() for key, value in totals.schema.metadata.items()}
    found.hold_json(group, "totals.arrow, about", about)
    for name in ("contracts.json", "report.html"):
        found.hold_text(group, name, Path(out, name).read_text(encoding="utf-8"))


def _sweep(found: Found) -> None:
    text = done("sweep", "run", "--grid", "grid.toml", "--out", "sweep.parquet")
    found.hold_text("sweep", "ihp sweep", text)
    table = pq.read_table("sweep.parquet")
    found.hold_table("sweep", "sweep.parquet", table)
    (about,) = (json.loads(value) for value in table.schema.metadata.values())
    found.hold("sweep", "digest", about["digest"])
    found.hold_json("sweep", "sweep.parquet, about", about)


def _explanations(found: Found) -> None:
    for run in ("run", "run of own weights"):
        for what in (("--partnership", PARTNERSHIP), ("--member", MEMBER)):
            for form in ((), ("--json",)):
                text = done("explain", _place(run), *what, *form)
                found.hold_text("explanations", " ".join((run, *what, *form)), text)
    for form in ((), ("--json",)):
        text = done("true-up", "run", "--interim", "interim-run", *form)
        found.hold_text("explanations", " ".join(("true-up", *form)), text)


def _contracts(found: Found) -> None:
    listed = document("contracts", "list")
    found.hold("contracts", "hashes", {entry["name"]: entry["sha256"] for entry in listed})
    for what in ("list", "paths"):
        for form in ((), ("--json",)):
            text = done("contracts", what, *form)
            found.hold_text("contracts", " ".join((what, *form)), text)
    for contract in listed:
        name = contract["name"]
        for form in ((), ("--json",)):
            text = done("contracts", "show", name, *form)
            found.hold_text("contracts", " ".join(("show", name, *form)), text)
        file = Path(f"{name}-extended.toml")
        file.write_text(f'name = "mine"\ntitle = "Mine"\nprogramme = "test"\nextends = "{name}"\n',
                        encoding="utf-8")  # fmt: skip
        found.hold_text("contracts", f"check {file}", said("contracts", "check", str(file)))
    for file in (Path("own.toml"), Path("two.toml"), *sorted(BAD_CONTRACTS.glob("*.toml"))):
        found.hold_text("contracts", f"check {file.name}", said("contracts", "check", str(file)))


def _settle(found: Found) -> None:
    """Every contract shipped, on gains and losses, with terms of a row's own."""
    head = "partnership_id,contract,n_members,target_usd,observed_usd,settlement.gain.share"
    rows = [
        f"{side} {entry['name']},{entry['name']},{members},60000000.00,{observed},{share}"
        for entry in document("contracts", "list")
        for side, members, observed, share in (
            ("gain", 12_000, "56432100.45", ""),
            ("gain at 40 %", 6_100, "55000000", "0.4"),
            ("small gain", 1_500, "59700000.01", ""),
            ("loss", 12_000, "64321000.99", ""),
            ("small loss", 25_000, "60300000", ""),
        )
    ]
    Path("given.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    for suffix in ("csv", "parquet"):
        text = said("settle", "given.csv", "--contract", "mn-ihp-1.0", "--out", f"s.{suffix}")
        found.hold_text("settle", f"ihp settle, {suffix}", text)
    found.hold_text("settle", "settled.csv", Path("s.csv").read_text(encoding="utf-8"))
    found.hold_table("settle", "settled.parquet", pq.read_table("s.parquet"))


def _scores(found: Found) -> None:
    for name, text in SCORED.items():
        Path(name).write_text(text, encoding="utf-8")
    for model in ("cms-hcc-v24", "cms-hcc-v28", "coarse.json"):
        text = said("score", *SCORED, "--model", model, "--out", "scores.csv", "--explain")
        found.hold_text("scores", f"ihp score {model}", text)
        for name in ("scores.csv", "scores.explain.jsonl"):
            found.hold_text("scores", f"{model} {name}", Path(name).read_text(encoding="utf-8"))
    found.hold_text("scores", "ihp risk list", done("risk", "list"))


def _help(found: Found) -> None:
    from typer.main import get_command  # noqa: PLC0415 - the whole command line

    from api.console import app  # noqa: PLC0415 - its commands are there once one was run

    def visit(command: Any, path: tuple[str, ...]) -> None:
        found.hold_text("help", " ".join(("ihp", *path, "--help")), done(*path, "--help"))
        for name, child in getattr(command, "commands", {}).items():
            visit(child, (*path, name))

    visit(get_command(app), ())


def measure_service(folder: Path, texts: Path) -> dict[str, Items]:
    """The OpenAPI document, whole and without its prose, and the paths it has."""
    from api.app import create_app  # noqa: PLC0415 - the service is an extra

    found = Found(folder, texts)
    # the document describes the endpoints and asks nothing of what stands behind them
    openapi = copy.deepcopy(create_app(cast("Any", None)).openapi())
    openapi["info"].pop("version")
    found.hold_json("service", "OpenAPI document", _on_any_python(openapi))
    found.hold_json("service", "OpenAPI document without prose", _without_prose(openapi))
    operations = {
        path: sorted(f"{method} {about['operationId']}" for method, about in methods.items())
        for path, methods in openapi["paths"].items()
    }
    found.hold("service", "operations", operations)
    return found.groups


def _on_any_python(document: Any) -> Any:
    """The document as every Python has it.

    Python 3.13 takes the indent off docstrings and names some status codes otherwise.
    """
    if isinstance(document, dict):
        return {key: _on_any_python(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_on_any_python(entry) for entry in document]
    if not isinstance(document, str):
        return document
    phrases = {status.phrase for status in http.HTTPStatus}
    return "PHRASE" if document in phrases else " ".join(document.split())


def _without_prose(document: Any) -> Any:
    """The document without descriptions and summaries: those are texts, not fields of that name."""
    if isinstance(document, dict):
        return {
            key: _without_prose(value)
            for key, value in document.items()
            if not (key in ("description", "summary") and isinstance(value, str))
        }
    if isinstance(document, list):
        return [_without_prose(entry) for entry in document]
    return document


# --- the comparison -------------------------------------------------------------------------------

HELD: Final[Mapping[str, Items]] = (
    json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.is_file() else {}
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the texts of this time are kept."""
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> dict[str, Items]:
    """What the program gives now."""
    return measure(tmp_path_factory.mktemp("empty"), kept)


def _close(old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_close(old[k], new[k]) for k in old)
    if isinstance(old, float) and isinstance(new, float):
        # dollars are rounded to cents and ratios to millionths: a last place may turn
        return new == pytest.approx(old, rel=TOLERANCE, abs=2e-6)
    return bool(old == new)


def moved(group: str, new: Items, kept: Path) -> list[str]:
    """A line for each item that is not what was held."""
    old = HELD[group]
    same: Callable[[Any, Any], bool] = _close if group == "calibration" else (lambda a, b: a == b)
    lines = [
        f"{item}: was {old.get(item, 'not there')}, is {new.get(item, 'not there')}"
        for item in dict.fromkeys([*old, *new])
        if item not in old or item not in new or not same(old[item], new[item])
    ]
    return [f"{group}: {len(lines)} moved; the texts of now are in {kept}", *lines] if lines else []


def test_everything_measured_is_held(groups: dict[str, Items]) -> None:
    assert {*groups, "service"} == set(HELD)


@pytest.mark.parametrize("group", [name for name in HELD if name != "service"])
def test_nothing_moved(group: str, groups: dict[str, Items], kept: Path) -> None:
    found = moved(group, groups.get(group, {}), kept)
    assert not found, "\n".join(found)


@pytest.mark.skipif(
    importlib.util.find_spec("fastapi") is None, reason="the service extra is not installed"
)
def test_nothing_of_the_service_moved(tmp_path: Path, kept: Path) -> None:
    found = moved("service", measure_service(tmp_path, kept)["service"], kept)
    assert not found, "\n".join(found)


def main() -> None:
    """Write what is expected anew, or the texts behind it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help=f"Write {EXPECTED.name} anew.")
    parser.add_argument("--texts", type=Path, help="Keep every text that is hashed here.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "empty")
        folder.mkdir()
        texts = Path(scratch, "texts") if asked.texts is None else asked.texts.resolve()
        found = {**measure(folder, texts), **measure_service(folder, texts)}
    if asked.write:
        EXPECTED.write_text(
            json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
