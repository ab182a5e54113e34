"""The population that a delivery is added to: what an ingest takes from it instead of raw files.

    manifest -> files by delivery, codes, reference tables, ids
    cold record of a shard -> pieces (`recalled`), as if its rows had just been read
    what was counted (`counted`) -> tallies of its files, content of shards that stay as they are

Nothing here writes to it. A file whose content stays is a link to its own, or a copy where the
system makes no link.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import DataError, PopulationError
from ihp_compute.folders import link, stamp_of
from ihp_compute.ingest.counted import ShardCounts, read_counts, read_file_counts, rules_of
from ihp_compute.ingest.final_action import Choices
from ihp_compute.ingest.handover import Rules
from ihp_compute.ingest.input_files import MAX_FILES, InputFile, InputFolder
from ihp_compute.ingest.recalled import pieces_of
from ihp_compute.ingest.spill_layout import Pieces
from ihp_compute.input_columns import CODE_SYSTEMS, INPUT_TABLES, SPILLED
from ihp_compute.ledger import CLAIM_TABLES, LEDGER_TABLES, IngestFate, file_of
from ihp_compute.population import (
    GONE,
    RECORDS,
    Shard,
    codes_path,
    member_keys,
    open_population,
    read_batch,
    shard_of,
)
from ihp_compute.storage import Objects

_TABLE_OF: Final = {"eligibility": "eligibility", "scores": "risk_score"}
"""Of a record of one table, which."""
_OF_SCORES: Final = ("risk_model", "risk_cell")
"""Systems whose codes supplied scores alone name."""


_OF_CLAIMS: Final = ("equal_rows", "later_amounts", "rostered")
"""What of `rules_of` claims rest on beside enrolment."""


class Earlier:
    """A population with its cold record, open to be added to.

    Raises
    ------
    PopulationError
        If it is none, was changed, or has no cold record.
    """

    def __init__(self, path: Path) -> None:
        self.population = open_population(path)
        self.manifest = self.population.manifest
        self._files = self.population.files
        needed = [f"record/{name}/00000.arrow" for name in RECORDS]
        if lacking := [name for name in needed if name not in self.manifest["files"]]:
            raise PopulationError(
                f"{path} has no cold record ({lacking[0]}), so nothing can be added to it. "
                "Prepare it again with `ihp ingest` from its raw tables."
            )
        self.counts = read_file_counts(self._files)
        self.n_shards = int(self.manifest["n_shards"])
        self.delivery = 1 + max(entry["delivery"] for entry in self.manifest["inputs"])
        self.choices = Choices(**self.manifest["choices"])
        self._given: frozenset[str] = frozenset()

    def joined(self, new: InputFolder) -> InputFolder:
        """The files of all deliveries, as one folder would hold them.

        Of a reference table only those of the last delivery that holds it.
        """
        self._given = frozenset(file.table for file in new.files)
        before = [
            InputFile(entry["source_table"], entry["file"], Path(entry["file"]),
                      delivery=entry["delivery"])
            for entry in self.manifest["inputs"]
        ]  # fmt: skip
        added = [replace(file, delivery=self.delivery) for file in new.files]
        kept = [
            *(file for file in before if file.table in LEDGER_TABLES),
            *(file for file in added if file.table in LEDGER_TABLES),
            *sorted(
                (
                    *(file for file in before if not self._replaced(file.table)),
                    *(file for file in added if file.table not in LEDGER_TABLES),
                ),
                key=lambda file: Path(file.name),
            ),
        ]
        if len(kept) > MAX_FILES:
            raise DataError(
                f"the deliveries together have more than {MAX_FILES:,} files of tables: join some"
            )
        left_out = sorted({*self.manifest["left_out"]["files"], *new.left_out}, key=Path)
        notes = dict.fromkeys((*self.counts.notes, *new.notes))
        return InputFolder(tuple(kept), tuple(left_out), tuple(notes), self.delivery)

    def _replaced(self, table: str) -> bool:
        """Whether files of a table do not go among the reference tables that are kept."""
        return table in LEDGER_TABLES or table in self._given

    def places(self, folder: InputFolder) -> Iterator[tuple[int, int]]:
        """Place of each file that stays in the joined folder, and its place here."""
        here = {
            (entry["source_table"], entry["delivery"], entry["file"]): place
            for place, entry in enumerate(self.manifest["inputs"])
        }
        for index, file in enumerate(folder.files):
            if file.delivery < self.delivery:
                yield index, here[file.table, file.delivery, file.name]

    def stamp(self, place: int) -> dict[str, Any]:
        """Digest and size of an input file."""
        return {name: self.manifest["inputs"][place][name] for name in ("sha256", "bytes")}

    def refuse_known(self, files: Iterable[tuple[InputFile, Mapping[str, Any], int]]) -> None:
        """Refuse files of claims or enrolment that came before; each with its stamp and its rows.

        Raises
        ------
        DataError
            Naming each, and what it came as.
        """
        known = {
            entry["sha256"]: file_of(entry)
            for entry in self.manifest["inputs"]
            if entry["rows"] and entry["source_table"] in LEDGER_TABLES
        }
        again = [
            f"{file.name} is {known[stamp['sha256']]}"
            for file, stamp, rows in files
            if rows and file.table in LEDGER_TABLES and stamp["sha256"] in known
        ]
        if again:
            raise DataError(
                f"{len(again)} of the delivery's files came before, to the byte: "
                f"{'; '.join(again[:3])}{'; …' if len(again) > 3 else ''}. A delivery adds: take "
                "out what the population has, and ingest again."
            )

    # --- what all shards share

    def codes(self) -> dict[str, list[str]]:
        """Codes by system, in the order of their numbers in the record.

        None of scores that are replaced.
        """
        return {
            system: self._met(system).to_pylist()
            for system in CODE_SYSTEMS
            if system not in _OF_SCORES or "risk_score" not in self._given
        }

    def _met(self, system: str) -> pa.Array:
        """Codes of a system by their numbers in the record."""
        name = codes_path(system)
        if name not in self.manifest["files"]:
            return self.population.codes(system)
        return read_batch(self._files, name).column("code")

    @cached_property
    def final(self) -> Mapping[str, NDArray[np.int32]]:
        """Number in the shards' tables of each number in the record, by system; 0 of none."""
        return {
            system: pc.fill_null(
                pc.index_in(self._met(system), self.population.codes(system)), 0
            ).to_numpy()
            for system in CODE_SYSTEMS
        }

    @cached_property
    def _recorded(self) -> Mapping[str, NDArray[np.int32] | None]:
        """Number in the record of each number in the shards' tables, by system; None: the same."""
        found: dict[str, NDArray[np.int32] | None] = {}
        for system, final in self.final.items():
            number = np.zeros(len(self.population.codes(system)), np.int32)
            number[final] = np.arange(len(final), dtype=np.int32)
            number[0] = 0
            is_same = np.array_equal(number, np.arange(len(number)))
            found[system] = None if is_same else number
        return found

    def ids(self) -> Iterator[tuple[NDArray[np.uint64], pa.Array]]:
        """Keys and ids of all people whose id is known, some more than once."""
        for shard in self.population.shards:
            yield shard.column("members", "member_key"), shard.strings("identity", "member_id")
        for table in LEDGER_TABLES:
            aside = self.population.put_aside(table)
            if aside is not None:
                ids = aside.column("member_id").unique()
                yield member_keys(ids), ids

    def reference(self, name: str) -> pa.Table:
        """A reference table that the delivery does not replace."""
        found = self.population.reference(name)
        if found is not None:
            return found
        return pa.schema([(c, pa.string()) for c in INPUT_TABLES[name].known]).empty_table()

    @cached_property
    def unread(self) -> dict[str, pa.Table]:
        """Rows that could not be read, by table, in the columns of the quarantine."""
        found = {}
        for table in LEDGER_TABLES:
            aside = self.population.put_aside(table)
            if aside is not None:
                found[table] = aside.filter(pc.equal(aside.column("fate"), _UNREADABLE))
        return found

    def decides(self, rules: Rules, rostered: list[str]) -> bool:
        """Whether rows of claims that stand alone meet now what they met here."""
        now = rules_of(rules, rostered)
        return all(now[name] == self.counts.rules[name] for name in _OF_CLAIMS)

    def rests_on(self, rules: Rules, rostered: list[str]) -> bool:
        """Whether all that shards rest on beside their rows is as it was here."""
        if "risk_score" in self._given or rules_of(rules, rostered) != self.counts.rules:
            return False
        for system, codes in self.codes().items():
            lone = frozenset(self.counts.lone_codes.get(system, ()))
            stands = np.flatnonzero([code not in lone for code in codes])
            if not np.array_equal(rules.final_code[system][stands], self.final[system][stands]):
                return False
        return True

    def aside(self, table: str, left: Mapping[int, NDArray[np.uint64]]) -> list[pa.Table]:
        """Rows that stay put aside: those that cannot be read, and those that are as they were.

        `left` are the shards of which such rows stay, with the keys of the people of whom none do.
        """
        found = [self.unread[table]] if table in self.unread else []
        return [rows for rows in (*found, *self._aside_of(table, left)) if rows.num_rows]

    def _aside_of(self, table: str, left: Mapping[int, NDArray[np.uint64]]) -> Iterator[pa.Table]:
        """Readable rows put aside of people in those shards, but for these people."""
        aside = self.population.put_aside(table) if left else None
        if aside is None:
            return
        aside = aside.filter(pc.not_equal(aside.column("fate"), _UNREADABLE))
        ids = aside.column("member_id").combine_chunks().dictionary_encode()
        if isinstance(ids, pa.ChunkedArray):
            ids = ids.combine_chunks()
        keys = member_keys(ids.dictionary)
        stays = np.isin(shard_of(keys, self.n_shards), list(left))
        if anew := [keys for keys in left.values() if len(keys)]:
            stays &= ~np.isin(keys, np.concatenate(anew))
        yield aside.filter(pa.array(stays[ids.indices.to_numpy()]))

    # --- a shard

    def claim_ids(self, shard: int) -> Iterator[tuple[str, pa.Array]]:
        """Claim numbers of a shard's readable rows by table, in parts."""
        rows = self.population.shards[shard].record("claims", ("source_table", "claim_id"))
        for table in CLAIM_TABLES:
            of_table = pc.equal(rows.column("source_table").cast(pa.string()), table)
            yield table, rows.column("claim_id").filter(of_table).combine_chunks()

    def pieces(
        self,
        index: int,
        names: Iterable[str] = RECORDS,
        people: NDArray[np.uint64] | None = None,
    ) -> dict[str, list[Pieces]]:
        """Rows of a shard's records by table; no scores where they are replaced.

        Of claims only those of some people, if their keys are given.
        """
        found: dict[str, list[Pieces]] = {table: [] for table in SPILLED}
        shard = self.population.shards[index]
        theirs = None if people is None else _Theirs(shard, people)
        for name in names:
            if name == "scores" and "risk_score" in self._given:
                continue
            for stretch in shard.stretches(name):
                table = _TABLE_OF.get(name) or stretch.column("source_table")[0].as_py()
                rows = stretch
                if name == "claims":
                    stands = stretch.column("line").to_numpy() != GONE
                    if theirs is not None:
                        stands &= theirs.of(stretch)
                    rows = stretch if stands.all() else stretch.filter(pa.array(stands))
                if rows.num_rows:
                    found[table].append(pieces_of(table, rows, shard, self._recorded.get))
        return found

    def lines_now(
        self, index: int, people: NDArray[np.uint64], line: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """Where the lines of a shard's rows are: the rows of some people are gone.

        `line` is where each earlier line is now, those of these people too.
        """
        shard = self.population.shards[index]
        theirs, found = _Theirs(shard, people), [np.empty(0, np.int32)]
        for stretch in shard.stretches("claims", ("line", "member_key")):
            places = stretch.column("line").to_numpy().copy()
            has = np.flatnonzero(places >= 0)
            is_theirs = theirs.of(stretch)
            places[has] = line[places[has]]
            places[is_theirs] = GONE
            found.append(places)
        return np.concatenate(found)

    def final_now(self, rules: Rules) -> dict[str, NDArray[np.int32]]:
        """Number now of each number of a code of claims in the shards' tables, by system."""
        found = {}
        for system in CODE_SYSTEMS:
            if system not in _OF_SCORES:
                number, now = self._recorded[system], rules.final_code[system]
                n = len(self.population.codes(system))
                found[system] = now[:n] if number is None else now[number]
        return found

    def met_now(self, rules: Rules, codes: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """Codes of now by their numbers in the record, by system; `codes` are those in order."""
        found = {}
        for system, earlier in self.codes().items():
            added = rules.final_code[system][len(earlier) :]
            found[system] = pa.concat_arrays(
                [pa.array(earlier, pa.string()), codes[system].take(pa.array(added))]
            )
        for system in codes.keys() - found.keys():  # of scores that are replaced
            found[system] = codes[system].take(pa.array(np.argsort(rules.final_code[system])))
        return found

    def shard_counts(self, shard: int) -> ShardCounts:
        """What was counted of a shard."""
        return read_counts(self._files, shard)

    def files_of(self, shard: int) -> list[str]:
        """The files of a shard."""
        number = f"{shard:05d}"
        return [
            name
            for name in self.manifest["files"]
            if name.startswith(f"shards/{number}/")
            or (name.startswith("record/") and Path(name).stem.split("-")[0] == number)
        ]

    # --- files whose content stays

    def link(self, name: str, folder: Path) -> dict[str, Any]:
        """Put a file of the population into a folder under its name; its stamp there."""
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self._files, Objects):
            shutil.copyfile(self._files.pin(name), target)
        else:
            link(self.population.path / name, target)
        return stamp_of(target, self.manifest["files"][name]["sha256"])

    def reused(self, name: str, folder: Path, stamp: dict[str, Any]) -> dict[str, Any]:
        """A file just written, or a link in its place where the population has the same."""
        known = self.manifest["files"].get(name)
        if known is None or known["sha256"] != stamp["sha256"]:
            return stamp
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
        return self.link(name, folder)


class _Theirs:
    """Which rows of a shard's record are of some people."""

    def __init__(self, shard: Shard, people: NDArray[np.uint64]) -> None:
        self._people = people
        of_member = np.isin(shard.column("members", "member_key"), people)
        self._of_line = np.append(np.repeat(of_member, np.diff(shard.offsets("lines"))), False)

    def of(self, stretch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Which rows of a stretch; what has no line says whose it is."""
        line = stretch.column("line").to_numpy()
        found: NDArray[np.bool_] = self._of_line[np.maximum(line, -1)]
        others = np.flatnonzero(line < 0)
        keys = stretch.column("member_key").take(pa.array(others)).fill_null(0).to_numpy()
        found[others] = np.isin(keys, self._people)
        return found


_UNREADABLE: Final = IngestFate.UNREADABLE.label
