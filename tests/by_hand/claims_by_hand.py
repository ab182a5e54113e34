"""The fate of every claim row, written from docs/method/claims.md alone; imports nothing of ours.

Rows are dictionaries of a raw table's texts, with what is made of them beside: `service`, `start`,
`end` and `paid_day` as dates, `paid` in cents, `claim`, `fate`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]
FILLER = re.compile(r"~+|\.|0+|8+|9+|n/?a|null|none", re.IGNORECASE)
INDICATOR = {
    "1": "void", "2": "replacing", "4": "replacing", "3": "beside", "5": "beside", "6": "beside",
}  # fmt: skip
FREQUENCY = {"7": "replacing", "8": "void"}
DENIED = {"0", "Y", "YES", "T", "TRUE", "D", "DENIED"}
PHASES = ("plain", "replacing", "void", "negative", "beside")
STARTS = ("claim_line_start_date", "claim_start_date")
CAME = {"file_name", "file_date", "ingest_datetime"}


def table(raw: Path, name: str) -> list[Row]:
    """Rows of a raw table, blank texts as nothing."""
    found = sorted((raw / name).glob("*.parquet")) or [raw / f"{name}.parquet"]
    rows: list[Row] = []
    for path in found:
        for row in pq.read_table(path).to_pylist():
            rows += [{k: None if v == "" else v for k, v in row.items()}]
    return rows


def day(value: Any) -> date | None:
    try:
        found = value if isinstance(value, date) else date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
    return found if 1850 <= found.year <= 2099 else None


def cents(value: Any) -> int:
    return int((Decimal(str(value or 0)) * 100).quantize(Decimal(1), ROUND_HALF_EVEN))


def number(value: Any) -> str:
    """01, 1.0 and 1 are one number."""
    whole = re.fullmatch(r"(\d+)(\.0*)?", str(value or ""))
    return (whole[1].lstrip("0") or "0") if whole else str(value or "")


def claim_rows(raw: Path) -> list[Row]:
    rows = [
        row | {"table": name, "id": f"{name}/{k}"}
        for name in ("medical_claim", "pharmacy_claim")
        for k, row in enumerate(table(raw, name))
    ]
    content = sorted({c for row in rows for c in row} - CAME - {"id"})
    for row in rows:
        medical = row["table"] == "medical_claim"
        starts = STARTS if medical else ("dispensing_date",)
        row["fate"] = None
        row["paid_day"], row["file_day"] = day(row["paid_date"]), day(row.get("file_date"))
        try:
            row["paid"], row["allowed"], row["third_party"] = (
                cents(row.get(c)) for c in ("paid_amount", "allowed_amount", "x_tpl_amt")
            )
        except InvalidOperation:
            row["paid"], row["fate"] = 0, "unreadable"
        names = (*STARTS, "admission_date", "claim_end_date", "claim_line_end_date")
        row["service"] = _first(row, names if medical else starts)
        if not _first(row, starts) and any(row.get(c) for c in starts):
            row["service"] = None
        if not (row["person_id"] and row["claim_id"] and row["service"]):
            row["fate"] = "unreadable"
        row["start"] = _first(row, ("claim_start_date",)) or row["service"]
        ends = ("claim_end_date", "claim_line_end_date", "discharge_date")
        row["end"] = _first(row, ends) or row["start"]
        row["line"] = number(row["claim_line_number"])
        row["content"] = tuple(
            row["line"] if c == "claim_line_number" else str(row.get(c)) for c in content
        )
    return rows


def _first(row: Row, columns: Iterable[str]) -> date | None:
    return next((found for c in columns if (found := day(row.get(c)))), None)


def give_fates(rows: list[Row]) -> None:
    """Fates up to denial; a row that stands keeps none."""
    known: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if row["fate"] is None and (first := known.setdefault(row["content"], row)) is not row:
            row["fate"] = "duplicate"
            days = [d for d in (first["file_day"], row["file_day"]) if d]
            first["file_day"] = min(days, default=None)
    live = [row for row in rows if row["fate"] is None]
    for row in live:
        row["said"] = _said(row)
        row["phase"], row["blank"] = row["said"], not row["line"]
        if row["line"] == "0" and row["said"] == "void":
            row["line"] = ""
        if row["blank"] and row["said"] != "void":
            row["line"] = row["id"]
    for history in _histories(live):
        _read(history)
    for row in live:
        flag = str(row.get("x_clm_dnd_ind") or "").upper()
        if row["fate"] is None and (flag in DENIED or row["x_clm_type_cd"] == "Z"):
            row["fate"] = "denied"


def _said(row: Row) -> str:
    said = INDICATOR.get(number(row["x_adjstmt_ind"]), "plain")
    bill = row.get("bill_type_code") or ""
    by_bill = FREQUENCY.get(bill[-1:], "plain") if len(bill) in (3, 4) else "plain"
    return by_bill if said == "plain" or (said, by_bill) == ("replacing", "void") else said


def _histories(live: list[Row]) -> Iterable[list[Row]]:
    """Rows of claims that names tie together; each row with its claim, names and phase."""
    of_number: dict[tuple, list[Row]] = defaultdict(list)
    for row in live:
        issuer = tuple(row[c] or "" for c in ("data_source", "payer", "plan"))
        row["key"] = (row["table"], row["person_id"], row["claim_id"], issuer)
        of_number[row["key"]].append(row)
    parts: dict[tuple, list[Row]] = {}
    for key, rows in of_number.items():
        for k, part in enumerate(_parts(rows)):
            parts[*key, k] = part
            for row in part:
                row["claim"] = (*key, k)
    named: dict[tuple, list[tuple]] = defaultdict(list)
    for claim in sorted(parts):
        named[claim[:4]].append(claim)
        named[claim[:3]].append(claim)
    tied = {claim: claim for claim in parts}

    def root(claim: tuple) -> tuple:
        while tied.setdefault(claim, claim) != claim:
            claim = tied[claim]
        return claim

    for row in live:
        row["names"] = {row["claim"]}
        for column in ("x_orgnl_clm_num", "x_adjstmt_clm_num"):
            other = row[column] or ""
            if not other or FILLER.fullmatch(other) or other == row["claim_id"]:
                continue
            key = (*row["key"][:2], other)
            found = named.get((*key, row["key"][3])) or named.get(key) or []
            if found:
                meets = [c for c in found if _meets(row, parts[c])]
                target = max(meets or found, key=lambda c: min(q["start"] for q in parts[c]))
                row["names"].add(target)
                tied[root(row["claim"])] = root(target)
                row["phase"] = "replacing" if row["phase"] == "plain" else row["phase"]
            elif row["said"] in ("void", "replacing"):
                tied[root(row["claim"])] = root(key)
    voids = {(row["claim"], row["paid_day"]) for row in live if row["said"] == "void"}
    for row in live:
        if row["paid"] < 0 and row["said"] in ("plain", "replacing"):
            of_void = row["said"] == "plain" and (row["claim"], row["paid_day"]) in voids
            row["phase"] = "void" if of_void else "negative"
    histories: dict[tuple, list[Row]] = defaultdict(list)
    for row in live:
        histories[root(row["claim"])].append(row)
    return histories.values()


def _meets(row: Row, part: list[Row]) -> bool:
    first, last = min(q["start"] for q in part), max(q["end"] for q in part)
    return first <= row["end"] and row["start"] <= last


def _parts(rows: list[Row]) -> list[list[Row]]:
    """A number that starts anew, as the claims that it is."""
    pieces: list[list[Row]] = []
    reach = date.min
    for row in sorted(rows, key=lambda r: (r["start"], r["end"])):
        if row["start"] > reach:
            pieces.append([])
        pieces[-1].append(row)
        reach = max(reach, row["start"], row["end"])
    lines = [{r["line"] for r in p if r["paid"] >= 0 and r["said"] != "void"} for p in pieces]
    if not any(a & b for k, a in enumerate(lines) for b in lines[k + 1 :]):
        return [rows]
    loose = [all(r["paid"] < 0 and r["said"] == "plain" for r in p) for p in pieces]
    kept = [piece for piece, is_loose in zip(pieces, loose, strict=True) if not is_loose]
    amounts = [{r["paid"] for r in piece} for piece in kept]
    for piece, is_loose in zip(pieces, loose, strict=True):
        if is_loose:
            taken = {-r["paid"] for r in piece}
            home = next((p for p, known in zip(kept, amounts, strict=False) if taken <= known), [])
            home.extend(piece)
            kept += [] if home else [piece]
    return kept


def _read(rows: list[Row]) -> None:
    """A history, time by time."""
    unnumbered = defaultdict(list)
    for row in rows:
        latest = date.max if row["phase"] == "void" else date.min
        row["time"] = (row["paid_day"] or latest, row["file_day"] or date.min)
        if row["blank"] and row["phase"] in ("plain", "replacing"):
            unnumbered[row["claim"], row["paid"]].append(row["line"])
    voids = [row for row in rows if row["blank"] and row["phase"] == "void"]
    several = Counter((row["claim"], row["time"]) for row in voids)
    for row in rows:
        if row["blank"] and row["phase"] == "negative":
            if lines := unnumbered[row["claim"], -row["paid"]]:
                row["line"] = lines.pop()
        elif row["blank"] and row["phase"] == "void" and several[row["claim"], row["time"]] > 1:
            row["line"] = row["id"]
    rows.sort(key=lambda r: (r["time"], PHASES.index(r["phase"]), r["claim"], r["line"], r["paid"]))
    groups: dict[tuple, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(rows):
        row["place"], row["version"] = place, None
        groups[row["time"], row["phase"], row["claim"]][row["line"]].append(row)
    batches: dict[tuple, list[list[Row]]] = defaultdict(list)
    for (time, phase, _), of_lines in groups.items():
        depth = max(map(len, of_lines.values()))
        for k in range(depth):
            batch = [of_line[k] for of_line in of_lines.values() if len(of_line) > k]
            batches[time, phase].append(batch)
            for row in batch:
                row["batch"], row["twice"] = batch, depth > 1
    versions: dict[tuple, list[Row]] = {}
    for time in sorted({row["time"] for row in rows}):
        _Time(time, rows, versions).read(batches[time, "void"], batches[time, "negative"])


class _Time:
    """What happens at one time of a history; `versions` are those that may stand, by claim."""

    def __init__(self, time: tuple, rows: list[Row], versions: dict[tuple, list[Row]]) -> None:
        at = [row for row in rows if row["time"] == time]
        self.time, self.versions = time, versions
        self.before = [row for row in rows if row["time"] < time]
        self.plain = [row for row in at if row["phase"] == "plain"]
        self.replacing = [row for row in at if row["phase"] == "replacing"]
        self.known = self.before + self.plain + self.replacing

    def read(self, voids: list[list[Row]], negatives: list[list[Row]]) -> None:
        for batch in voids + negatives:  # 1
            if not self.cancel(batch, self.options()) and batch[0]["phase"] == "negative":
                for row in batch:
                    found = [q for q in self.known if self.is_open(q) and _answers(row, q)]
                    own = row["claim"]
                    found.sort(key=lambda q: (q["claim"] == own, q["time"] < self.time, q["place"]))
                    _pair([row], found[-1:])
        for batch in voids:  # 2
            if batch[0]["fate"] is None:
                self.late(batch)
        for row in self.plain:  # 3
            if row["fate"] is None:
                same = [q for q in self.before if self.is_open(q) and q["claim"] == row["claim"]]
                _mark([q for q in same if q["line"] == row["line"]], "superseded")
                row["version"] = self.versions.setdefault(row["claim"], [])
                row["version"].append(row)
        for batch in voids:
            if batch[0]["fate"] is None and not self.of_names(batch):
                _mark(batch, "orphan_void")
        self.replace()  # 4
        for batch in negatives:  # 5
            for row in [row for row in batch if row["fate"] is None]:
                past = [q for q in self.known if q["fate"] == "superseded" and _answers(row, q)]
                if not _pair([row], past[-1:]):
                    self.join(row)

    def is_open(self, row: Row) -> bool:
        return row["fate"] is None and (row["version"] is not None or row["time"] == self.time)

    def options(self) -> list[tuple[bool, list[Row]]]:
        found: dict[int, tuple[bool, list[Row]]] = {}
        for row in filter(self.is_open, self.known):
            whole = row["batch"] if row["version"] is None else row["version"]
            found[id(whole)] = (True, [q for q in whole if q["fate"] is None])
            if all(map(self.is_open, row["batch"])):
                found.setdefault(id(row["batch"]), (False, row["batch"]))
        return list(found.values())

    def cancel(self, batch: list[Row], options: list[tuple[bool, list[Row]]]) -> bool:
        total = abs(sum(row["paid"] for row in batch))
        names = set().union(*(row["names"] for row in batch))
        equal = [
            (
                (last := rows[-1])["claim"] in names, whole, last["time"] < self.time,
                last["time"], last["place"], rows,
            )
            for whole, rows in options
            if total and sum(q["paid"] for q in rows) == total
        ]  # fmt: skip
        return _pair(batch, max(equal, key=lambda e: e[:-1])[-1] if equal else [])

    def late(self, batch: list[Row]) -> None:
        found: list[Row] = []
        for row in batch:
            found += [
                q
                for q in self.known
                if self.is_open(q) and _answers(row, q) and (row["twice"] or q["twice"])
                and not any(q is other for other in found)
            ][-1:]  # fmt: skip
        if len(found) == len(batch) and _pair(batch, found):
            return
        gone = [q["batch"] for q in self.known if {r["fate"] for r in q["batch"]} == {"superseded"}]
        if self.cancel(batch, [(False, rows) for rows in gone]) or self.of_names(batch):
            return
        if not sum(row["paid"] for row in batch) or (len(batch) == 1 and not batch[0]["line"]):
            _pair(batch, _latest(self.versions.values()))

    def of_names(self, batch: list[Row]) -> bool:
        names = set().union(*(row["names"] for row in batch))
        return _pair(batch, _latest(v for claim, v in self.versions.items() if claim in names))

    def replace(self) -> None:
        standing = [row for row in self.replacing if row["fate"] is None]
        if not standing:
            return
        past = [q for q in self.known if q["version"] is not None and q["fate"] is None]
        _mark(past, "superseded")
        self.versions.clear()
        _mark(
            [
                row
                for row in standing
                if any(
                    row["claim"] in q["names"] and q["claim"] not in row["names"] for q in standing
                )
            ],
            "superseded",
        )
        made: dict[int, list[Row]] = {}
        for row in standing:
            row["version"] = made.setdefault(id(row["batch"]), list(row["batch"]))
            if row["fate"] is None:
                self.versions[row["claim"]] = row["version"]

    def join(self, row: Row) -> None:
        mine = [q for q in self.plain + self.replacing if q["claim"] == row["claim"]]
        standing = [q for q in mine if q["fate"] is None]
        if standing and all(q["line"] != row["line"] for q in mine):
            row["version"] = standing[-1]["version"]
            row["version"].append(row)


def _answers(row: Row, other: Row) -> bool:
    amount = abs(row["paid"]) if row["phase"] == "void" else -row["paid"]
    return (
        other["claim"] in row["names"] and other["line"] == row["line"] and other["paid"] == amount
    )


def _mark(rows: Iterable[Row], fate: str) -> None:
    for row in rows:
        row["fate"] = fate


def _pair(batch: list[Row], cancelled: list[Row]) -> bool:
    if cancelled:
        _mark([*batch, *cancelled], "voided")
    return bool(cancelled)


def _latest(versions: Iterable[list[Row]]) -> list[Row]:
    standing = [[row for row in version if row["fate"] is None] for version in versions]
    return max(filter(None, standing), key=lambda rows: rows[-1]["place"], default=[])
