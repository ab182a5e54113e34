"""Scores for members and codes given as files: `ihp score`.

    MEMBERS -> facts -> DIAGNOSES, drugs -> coded rows by member -> engine -> OUT

Files are CSV, Parquet or Arrow by extension; ids and codes are text, so leading zeros live.
Diagnosis codes lose their dots and blanks and become upper case, drug codes their hyphens, and an
NDC of digits is padded to eleven. Nothing is dropped in silence: rows of unknown members, unmapped
codes and codes that an edit refuses are counted. A member whom the model cannot score has blanks in
OUT and is counted with the reason; where it can score nobody, the job is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.codes import AID_GROUPS, MEMBER_FACTORS, PAYER_KINDS, RATE_CELLS
from ihp_compute.errors import DataError
from ihp_compute.risk.models import (
    NOT_STATED,
    Codes,
    Compiled,
    Members,
    Model,
    Scored,
    asks,
    check,
    clean_codes,
    compile_model,
    csr_factors,
    differing_by_order,
    explain,
    run,
    segments_of,
    tests_of,
)
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.scores import ages_in_payment_year, ages_on
from ihp_compute.table_files import read_table, write_table
from ihp_compute.units import NO_DAY, day_of, year_bounds

SEXES: Final = {"f": 1, "female": 1, "2": 1, "m": 2, "male": 2, "1": 2}
FACTS: Final = dict.fromkeys(("1", "y", "yes", "true", "t"), 1) | dict.fromkeys(
    ("", "0", "n", "no", "false", "f"), 0
)
WHOLE: Final = re.compile("[+-]?[0-9]+")
PLAIN_DATE: Final = re.compile("[0-9]{8}")
NO_CSR: Final = frozenset({"", "0"})
FULL_YEAR: Final = 12
SCORE_TYPE: Final = pa.decimal128(14, 6)


@dataclass(frozen=True)
class Request:
    """What to score and how."""

    members: Path
    diagnoses: Path
    model: str
    out: Path
    drugs: Path | None = None
    code_edits: bool = True
    hierarchies: str | None = None
    explain: bool = False
    store: Path | None = None


def score_files(request: Request) -> dict[str, Any]:
    """Score the members of a file, write OUT, and say what was counted.

    Returns
    -------
    dict
        model, version, sha256, hierarchies, code_edits, notes, counts by name, and without_score:
        members whom the model cannot score, by reason, with the first row of each.

    Raises
    ------
    DataError
        If a file, column or value cannot be used, or no member can be scored.
    RiskModelError
        If there is no such model.
    """
    people = _table(request.members)
    diagnoses = _table(request.diagnoses)
    drugs = None if request.drugs is None else _table(request.drugs)
    dx_days = _days(diagnoses, "service_date", request.diagnoses.name)
    known = dx_days[dx_days != NO_DAY]
    year = int(np.datetime64(int(known.max()), "D").item().year) if len(known) else None
    model = model_store.load(
        request.model, store=request.store, payment_year=None if year is None else year + 1
    )
    compiled = compile_model(model, hierarchies=request.hierarchies)
    ids = _text(people, "member_id", request.members.name)
    if pc.count_distinct(ids).as_py() != len(ids) or pc.any(pc.equal(ids, "")).as_py():
        raise DataError(
            f"{request.members.name}: member_id must be present and unique in every row"
        )
    members = read_members(people, compiled, request.members.name)
    able, without_score = _able(compiled, members, request.members.name)
    codes, counts = {}, {"members": len(ids)}
    for system, table, column, name in _coded(request, diagnoses, drugs):
        rows, without = _by_member(table, column, system, compiled, ids, name)
        codes[system] = rows
        key = f"{system.lower()}_rows_without_member"
        counts[key] = counts.get(key, 0) + without
    scored = run(compiled, members, codes, code_edits=request.code_edits)
    counts |= scored.counts()
    counts["members_differing_by_hierarchy_order"] = differing_by_order(
        compiled, members, scored, able
    )
    counts["members_without_score"] = int((~able).sum())
    if model.warn_under_age:
        counts[f"members_under_{model.warn_under_age}"] = int(
            (members.age < model.warn_under_age).sum()
        )
    _write(request.out, ids, compiled, scored, able)
    if request.explain:
        path = request.out.with_suffix(".explain.jsonl")
        with path.open("w", encoding="utf-8") as file:
            documents = explain(compiled, members, scored, ids.to_pylist())
            for document, has_score in zip(documents, able, strict=True):
                if has_score:
                    file.write(json.dumps(document) + "\n")
    return {
        "model": model.name,
        "version": model.version,
        "sha256": compiled.sha256,
        "hierarchies": request.hierarchies or model.hierarchy_mode,
        "code_edits": request.code_edits,
        "counts": counts,
        "without_score": without_score,
        "notes": list(model.notes),
    }


def _coded(
    request: Request, diagnoses: pa.Table, drugs: pa.Table | None
) -> Iterator[tuple[str, pa.Table, str, str]]:
    yield "ICD10", diagnoses, "diagnosis_code", request.diagnoses.name
    if drugs is None or request.drugs is None:
        return
    columns = [c for c in ("ndc_code", "hcpcs_code") if c in drugs.column_names]
    if not columns:
        raise DataError(f"{request.drugs.name}: expected a column ndc_code or hcpcs_code")
    for column in columns:
        yield "NDC" if column == "ndc_code" else "HCPCS", drugs, column, request.drugs.name


def _table(path: Path) -> pa.Table:
    """A table with its column names in lower case."""
    table = read_table(path)
    names = [name.strip().lower() for name in table.column_names]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise DataError(f"{path.name}: column {twice[0]!r} stands twice; keep one")
    return table.rename_columns(names)


def _text(table: pa.Table, column: str, name: str) -> pa.ChunkedArray:
    """A column as text, nothing as ""."""
    if column not in table.column_names:
        raise DataError(f"{name}: no column {column!r}; it has {', '.join(table.column_names)}")
    found = table[column]
    if pa.types.is_dictionary(found.type):
        found = found.cast(found.type.value_type)
    if pa.types.is_floating(found.type):
        raise DataError(f"{name}: column {column!r} holds decimals; write it as text")
    if pa.types.is_nested(found.type):
        raise DataError(f"{name}: column {column!r} must be text")
    return pc.utf8_trim_whitespace(pc.fill_null(found.cast(pa.string()), ""))


def _code_text(table: pa.Table, column: str, name: str) -> pa.ChunkedArray:
    if column in table.column_names:
        kind = table[column].type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            raise DataError(
                f"{name}: column {column!r} holds numbers, so leading zeros are lost; write text"
            )
    return _text(table, column, name)


def _numbered(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """The distinct texts of a column, and which of them each row has."""
    coded = column.dictionary_encode().combine_chunks()
    if isinstance(coded, pa.ChunkedArray):  # no rows, no chunk
        return [], np.zeros(0, np.int32)
    return coded.dictionary.to_pylist(), coded.indices.to_numpy()


def _by_text(
    column: pa.ChunkedArray, value: Callable[[str], int | None]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The value of each text, 0 where it is None, and where it is None; each text is read once."""
    texts, number = _numbered(column)
    values = [value(text) for text in texts]
    unknown = np.array([one is None for one in values], np.bool_)
    known = np.array([one or 0 for one in values], np.int64)
    return known[number], unknown[number]


def _days(table: pa.Table, column: str, name: str) -> NDArray[np.int32]:
    """Days since 1970-01-01, `NO_DAY` where blank or no such column."""
    if column not in table.column_names:
        return np.full(table.num_rows, NO_DAY, np.int32)
    kind = table[column].type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        days = pc.cast(table[column], pa.date32(), safe=False).cast(pa.int32())
        return pc.fill_null(days, NO_DAY).to_numpy()
    found, bad = _by_text(_text(table, column, name), _day)
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not dates; expected "
            "YYYY-MM-DD or YYYYMMDD"
        )
    return found.astype(np.int32)


def _day(text: str) -> int | None:
    if text == "":
        return NO_DAY
    plain = text.replace("-", "")[:8]
    if not PLAIN_DATE.fullmatch(plain):
        return None
    try:
        return day_of(date(int(plain[:4]), int(plain[4:6]), int(plain[6:])))
    except ValueError:
        return None


def _numbers(
    table: pa.Table, column: str, name: str, *, low: int, high: int, blank: int
) -> NDArray[np.int64]:
    if column not in table.column_names:
        return np.full(table.num_rows, blank, np.int64)

    def number(text: str) -> int | None:
        if text == "":
            return blank
        return int(text) if WHOLE.fullmatch(text) and low <= int(text) <= high else None

    found, bad = _by_text(_text(table, column, name), number)
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not whole numbers "
            f"from {low} to {high}"
        )
    return found


def _facts(table: pa.Table, column: str, name: str) -> NDArray[np.bool_]:
    if column not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    found, bad = _by_text(_text(table, column, name), lambda text: FACTS.get(text.lower()))
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not 1 or 0"
        )
    return found == 1


def _choices(
    table: pa.Table, column: str, name: str, *, numbers: dict[str, int], blank: int
) -> NDArray[np.int64]:
    """Number of each value, by lower-case name; blank and absent take `blank`."""
    if column not in table.column_names:
        return np.full(table.num_rows, blank, np.int64)
    known = {**numbers, "": blank}
    found, bad = _by_text(_text(table, column, name), lambda text: known.get(text.lower()))
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that the model "
            f"does not know; expected {', '.join(sorted(numbers))}"
        )
    return found


def read_members(people: pa.Table, compiled: Compiled, name: str) -> Members:
    """Facts about members from a table with the columns of `ihp score`.

    Raises
    ------
    DataError
        If a needed column is missing or a value cannot be read.
    """
    model = compiled.model
    birth_day = _days(people, "birth_date", name)
    if not {"age", "birth_date"} & set(people.column_names):
        raise DataError(f"{name}: expected a column birth_date or age")
    given = _numbers(people, "age", name, low=0, high=127, blank=-1)
    age = given
    if (given < 0).any():
        age = np.where(given >= 0, given, _ages(birth_day, model))
    sex_column = "sex" if "sex" in people.column_names else "gender"
    if sex_column not in people.column_names:
        raise DataError(f"{name}: expected a column sex or gender")
    csr_codes, _ = csr_factors(compiled)
    csr = {text: i for i, code in enumerate(csr_codes) for text in (code, code.zfill(2))}
    csr |= {text: -1 for code in NO_CSR - {""} for text in (code, code.zfill(2))}
    segments = {s.name.lower(): i for i, s in enumerate(model.segments)}
    columns = {c.lower(): i for i, c in enumerate(model.columns)}
    default = model.columns.index(model.default_column)
    dual = _numbers(people, "dual_status_code", name, low=0, high=99, blank=NOT_STATED)
    medicaid = _facts(people, "medicaid_indicator", name)
    on_medicaid = np.isin(dual, [*range(1, 7), 8])
    return Members(
        age=age.astype(np.int16),
        sex=_choices(people, sex_column, name, numbers=SEXES, blank=0).astype(np.uint8),
        birth_day=birth_day,
        months=_numbers(
            people, "enrollment_duration_months", name, low=0, high=FULL_YEAR, blank=FULL_YEAR
        ).astype(np.uint8),
        original_reason=_numbers(
            people, "original_reason_entitlement_code", name, low=0, high=3, blank=NOT_STATED
        ).astype(np.uint8),
        dual_status=dual.astype(np.uint8),
        medicaid=medicaid | on_medicaid,
        institutional=_facts(people, "long_term_institutional_flag", name),
        new_enrollee=_facts(people, "new_enrollee", name),
        special_needs=_facts(people, "special_needs_plan", name),
        column=(
            _choices(people, "metal_level", name, numbers=columns, blank=default)
            if model.columns != ("",)
            else np.zeros(people.num_rows, np.int64)
        ).astype(np.int16),
        csr=(
            _choices(people, "csr_indicator", name, numbers=csr, blank=-1)
            if model.csr
            else np.full(people.num_rows, -1, np.int64)
        ).astype(np.int16),
        segment=_choices(people, "segment", name, numbers=segments, blank=-1).astype(np.int16),
        **_groups(people, model, name),
    )


def _groups(people: pa.Table, model: Model, name: str) -> dict[str, NDArray[np.uint8]]:
    """Aid group, rate cell and factors where the model asks for them.

    A rate cell names its aid group; each factor has a column of its own name.
    """
    asked = asks(model)
    if not asked:
        return {}
    factors = np.zeros(people.num_rows, np.uint8)
    if "factors" in asked:
        lacking = [column for column in MEMBER_FACTORS if column not in people.column_names]
        wanted = {f for test in tests_of(model) for f in test.factors or ()}
        if wanted & set(lacking):
            raise DataError(
                f"{name}: {model.name} asks for {', '.join(sorted(wanted & set(lacking)))}; "
                "expected a column of that name, true or false"
            )
        for bit, column in enumerate(MEMBER_FACTORS):
            if column in wanted:
                factors |= _facts(people, column, name).astype(np.uint8) << np.uint8(bit)
        asked = tuple(column for column in asked if column != "factors")
    have = set(people.column_names)
    if "rate_cell" in have:
        have.add("aid_group")
    missing = [column for column in asked if column not in have]
    if missing and "segment" not in have:
        raise DataError(
            f"{name}: segments of {model.name} are told apart by {' and '.join(missing)}; expected "
            f"a column {', '.join(missing)}, or a column segment that assigns them"
        )
    cells = {cell: i for i, cell in enumerate(RATE_CELLS)}
    aids = {aid: i for i, aid in enumerate(AID_GROUPS)}
    cell = _choices(people, "rate_cell", name, numbers=cells, blank=NOT_STATED)
    aid = _choices(people, "aid_group", name, numbers=aids, blank=NOT_STATED)
    of_cell = np.where(cell == NOT_STATED, NOT_STATED, cell // len(PAYER_KINDS))
    aid = np.where(aid == NOT_STATED, of_cell, aid)
    return {
        "aid_group": aid.astype(np.uint8), "rate_cell": cell.astype(np.uint8), "factors": factors,
    }  # fmt: skip


def _ages(birth_day: NDArray[np.int32], model: Model) -> NDArray[np.int16]:
    """Age on the day that the model counts it, where only the birth date is given."""
    if model.family == "CMS-HCC":
        return ages_in_payment_year(birth_day, model.year)
    return ages_on(birth_day, year_bounds(model.year)[1] - 1)


def _able(
    compiled: Compiled, members: Members, name: str
) -> tuple[NDArray[np.bool_], list[dict[str, Any]]]:
    """Whom the model can score: bool[n_members]; and the others by reason, if they are not all."""
    problems = check(compiled, members, segments_of(compiled, members))
    able = np.ones(len(members), np.bool_)
    for bad in problems.values():
        able &= ~bad
    others = [
        {"reason": reason, "members": int(bad.sum()), "first_row": int(bad.argmax()) + 1}
        for reason, bad in problems.items()
    ]
    if others and not able.any():
        reasons = "; ".join(
            f"{one['members']} members: {one['reason']} (first in row {one['first_row']})"
            for one in others
        )
        raise DataError(f"{name}: {reasons}")
    return able, others


def _by_member(
    table: pa.Table,
    column: str,
    system: str,
    compiled: Compiled,
    place: pa.ChunkedArray,
    name: str,
) -> tuple[Codes, int]:
    """Rows sorted by member, codes numbered by their own dictionary; and rows without member."""
    words, number = _numbered(_code_text(table, column, name))
    ids = _text(table, "member_id", name)
    member = pc.fill_null(pc.index_in(ids, value_set=place), -1).to_numpy()
    has_code = np.array([word != "" for word in words], np.bool_)[number]
    day = _days(table, "service_date", name)
    keep = has_code & (member >= 0)
    member, number, day = member[keep], number[keep], day[keep]
    if (member[1:] < member[:-1]).any():
        order = np.argsort(member, kind="stable")
        member, number, day = member[order], number[order], day[order]
    offsets = np.searchsorted(member, np.arange(len(place) + 1)).astype(np.int64)
    entry = compiled.tables[system].entry(clean_codes(words, system))
    without = int(has_code.sum()) - int(keep.sum())
    return Codes(entry, number, day, offsets), without


def _decimal(micro: NDArray[np.int64]) -> pa.Array:
    """Millionths as exact decimals with six places."""
    low = micro.astype(np.int64)
    wide = np.stack([low, low >> 63], axis=1)  # little-endian 128-bit two's complement
    return pa.Array.from_buffers(
        SCORE_TYPE, len(micro), [None, pa.py_buffer(np.ascontiguousarray(wide))]
    )


def _write(
    path: Path,
    ids: pa.ChunkedArray,
    compiled: Compiled,
    scored: Scored,
    able: NDArray[np.bool_],
) -> None:
    names = pa.array(compiled.segment_names, pa.string())
    found = {
        "segment": names.take(pa.array(scored.segment)),
        "raw_score": _decimal(scored.raw_micro),
        "score": _decimal(scored.score_micro),
    }
    if not able.all():
        scorable = pa.array(able)
        found = {
            name: pc.if_else(scorable, values, pa.scalar(None, values.type))
            for name, values in found.items()
        }
    table = pa.table({"member_id": ids, **found})
    if path.suffix.lower() == ".csv":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_csv(table))
    else:
        write_table(table, path)


def _csv(table: pa.Table) -> bytes:
    """A table as CSV, a value in quotes only where it needs them."""
    texts = [column.combine_chunks().cast(pa.large_string()) for column in table.columns]
    ends, comma = pa.scalar("\n", pa.large_string()), pa.scalar(",", pa.large_string())
    nothing = pa.scalar("", pa.large_string())
    *others, last = (pc.fill_null(_quoted(values), nothing) for values in texts)
    last = pc.binary_join_element_wise(last, ends, nothing)
    lines = pc.binary_join_element_wise(*others, last, comma)
    return ",".join(table.column_names).encode() + b"\n" + lines.buffers()[2].to_pybytes()


def _quoted(values: pa.Array) -> pa.Array:
    needs = pc.or_(pc.equal(values, ""), pc.match_substring_regex(values, '[",\n\r]'))
    if not pc.any(needs).as_py():
        return values
    quote, nothing = pa.scalar('"', pa.large_string()), pa.scalar("", pa.large_string())
    doubled = pc.replace_substring(values, '"', '""')
    return pc.if_else(needs, pc.binary_join_element_wise(quote, doubled, quote, nothing), values)
