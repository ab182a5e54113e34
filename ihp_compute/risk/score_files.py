"""Scores for members and codes given as files: `ihp score`.

    MEMBERS -> facts -> DIAGNOSES, drugs -> coded rows by member -> engine -> OUT

Files are CSV, Parquet or Arrow by extension; ids and codes are text, so leading zeros live.
Diagnosis codes lose their dots and blanks and become upper case, drug codes their hyphens, and an
NDC of digits is padded to eleven. Nothing is dropped in silence: rows of unknown members, unmapped
codes and codes that an edit refuses are counted, and a member who cannot be scored stops the job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
from numpy.typing import NDArray

from ihp_compute.errors import DataError
from ihp_compute.risk.models import (
    NOT_STATED,
    Codes,
    Compiled,
    Members,
    Model,
    Scored,
    check,
    clean_codes,
    compile_model,
    csr_factors,
    differing_by_order,
    explain,
    run,
    segments_of,
)
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.scores import ages_on
from ihp_compute.units import NO_DAY, year_bounds

SEXES: Final = {"f": 1, "female": 1, "2": 1, "m": 2, "male": 2, "1": 2}
TRUE: Final = frozenset({"1", "y", "yes", "true", "t"})
FALSE: Final = frozenset({"", "0", "n", "no", "false", "f"})
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
        model, version, sha256, hierarchies, code_edits, members, and counts by name.

    Raises
    ------
    DataError
        If a file, column or value cannot be used, or a member cannot be scored.
    RiskModelError
        If there is no such model.
    """
    people = read_table(request.members)
    diagnoses = read_table(request.diagnoses)
    drugs = None if request.drugs is None else read_table(request.drugs)
    dx_days = _days(diagnoses, "service_date", request.diagnoses.name)
    known = dx_days[dx_days != NO_DAY]
    year = int(np.datetime64(int(known.max()), "D").item().year) if len(known) else None
    model = model_store.load(request.model, store=request.store, diagnosis_year=year)
    compiled = compile_model(model, hierarchies=request.hierarchies)
    ids = _text(people, "member_id", request.members.name)
    if ids.n_unique() != len(ids) or ids.eq("").any():
        raise DataError(
            f"{request.members.name}: member_id must be present and unique in every row"
        )
    members = read_members(people, compiled, request.members.name)
    _refuse(compiled, members, request.members.name)
    codes, counts = {}, {"members": len(ids)}
    for system, table, column, name in _coded(request, diagnoses, drugs):
        rows, without = _by_member(table, column, system, compiled, ids, name)
        codes[system] = rows
        key = f"{system.lower()}_rows_without_member"
        counts[key] = counts.get(key, 0) + without
    scored = run(compiled, members, codes, code_edits=request.code_edits)
    counts |= scored.counts()
    counts["members_differing_by_hierarchy_order"] = differing_by_order(compiled, members, scored)
    if model.warn_under_age:
        counts[f"members_under_{model.warn_under_age}"] = int(
            (members.age < model.warn_under_age).sum()
        )
    _write(request.out, ids, compiled, scored)
    if request.explain:
        path = request.out.with_suffix(".explain.jsonl")
        with path.open("w", encoding="utf-8") as file:
            for document in explain(compiled, members, scored, ids.to_list()):
                file.write(json.dumps(document) + "\n")
    return {
        "model": model.name,
        "version": model.version,
        "sha256": compiled.sha256,
        "hierarchies": request.hierarchies or model.hierarchy_mode,
        "code_edits": request.code_edits,
        "counts": counts,
        "notes": list(model.notes),
    }


def _coded(
    request: Request, diagnoses: pl.DataFrame, drugs: pl.DataFrame | None
) -> Iterator[tuple[str, pl.DataFrame, str, str]]:
    yield "ICD10", diagnoses, "diagnosis_code", request.diagnoses.name
    if drugs is None or request.drugs is None:
        return
    columns = [c for c in ("ndc_code", "hcpcs_code") if c in drugs.columns]
    if not columns:
        raise DataError(f"{request.drugs.name}: expected a column ndc_code or hcpcs_code")
    for column in columns:
        yield "NDC" if column == "ndc_code" else "HCPCS", drugs, column, request.drugs.name


def read_table(path: Path) -> pl.DataFrame:
    """A CSV, Parquet or Arrow file by its extension; CSV columns are text.

    Raises
    ------
    DataError
        If the extension is another one or the file cannot be read.
    """
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": lambda p: pl.read_csv(p, infer_schema_length=0),
        ".parquet": pl.read_parquet,
        ".arrow": lambda p: pl.read_ipc(p.read_bytes()),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path.name}: expected .csv, .parquet or .arrow")
    try:
        table = reader(path)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise DataError(f"{path.name}: cannot be read: {problem}") from problem
    return table.rename({name: name.strip().lower() for name in table.columns})


def _text(table: pl.DataFrame, column: str, name: str) -> pl.Series:
    if column not in table.columns:
        raise DataError(f"{name}: no column {column!r}; it has {', '.join(table.columns)}")
    found = table[column]
    if found.dtype.is_float():
        raise DataError(f"{name}: column {column!r} holds decimals; write it as text")
    if found.dtype in (pl.Categorical, pl.Enum) or not found.dtype.is_nested():
        return found.cast(pl.String).fill_null("").str.strip_chars()
    raise DataError(f"{name}: column {column!r} must be text")


def _code_text(table: pl.DataFrame, column: str, name: str) -> pl.Series:
    if column in table.columns and table[column].dtype.is_numeric():
        raise DataError(
            f"{name}: column {column!r} holds numbers, so leading zeros are lost; write text"
        )
    return _text(table, column, name)


def _days(table: pl.DataFrame, column: str, name: str) -> NDArray[np.int32]:
    """Days since 1970-01-01, `NO_DAY` where blank or no such column."""
    if column not in table.columns:
        return np.full(table.height, NO_DAY, np.int32)
    series = table[column]
    if series.dtype == pl.Datetime:
        series = series.cast(pl.Date)
    if series.dtype != pl.Date:
        text = _text(table, column, name)
        plain = text.str.replace_all("-", "", literal=True).str.head(8)
        series = plain.str.to_date("%Y%m%d", strict=False)
        bad = int((series.is_null() & (text != "")).sum())
        if bad:
            raise DataError(
                f"{name}: column {column!r} has {bad} values that are not dates; expected "
                "YYYY-MM-DD or YYYYMMDD"
            )
    return series.cast(pl.Int32).fill_null(NO_DAY).to_numpy()


def _numbers(
    table: pl.DataFrame, column: str, name: str, *, low: int, high: int, blank: int
) -> NDArray[np.int64]:
    if column not in table.columns:
        return np.full(table.height, blank, np.int64)
    text = _text(table, column, name)
    number = text.str.to_integer(strict=False)
    bad = ((number.is_null() & (text != "")) | (number < low) | (number > high)).fill_null(
        value=False
    )
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not whole numbers "
            f"from {low} to {high}"
        )
    return number.fill_null(blank).to_numpy().astype(np.int64)


def _facts(table: pl.DataFrame, column: str, name: str) -> NDArray[np.bool_]:
    if column not in table.columns:
        return np.zeros(table.height, np.bool_)
    text = _text(table, column, name).str.to_lowercase()
    bad = ~text.is_in(list(TRUE | FALSE))
    if bad.any():
        raise DataError(
            f"{name}: column {column!r} has {int(bad.sum())} values that are not 1 or 0"
        )
    return text.is_in(list(TRUE)).to_numpy()


def _choices(
    table: pl.DataFrame, column: str, name: str, *, numbers: dict[str, int], blank: int
) -> NDArray[np.int64]:
    """Number of each value, by lower-case name; blank and absent take `blank`."""
    if column not in table.columns:
        return np.full(table.height, blank, np.int64)
    text = _text(table, column, name).str.to_lowercase()
    found = text.replace_strict({**numbers, "": blank}, default=None, return_dtype=pl.Int64)
    if found.is_null().any():
        raise DataError(
            f"{name}: column {column!r} has {int(found.is_null().sum())} values that the model "
            f"does not know; expected {', '.join(sorted(numbers))}"
        )
    return found.to_numpy()


def read_members(people: pl.DataFrame, compiled: Compiled, name: str) -> Members:
    """Facts about members from a table with the columns of `ihp score`.

    Raises
    ------
    DataError
        If a needed column is missing or a value cannot be read.
    """
    model = compiled.model
    birth_day = _days(people, "birth_date", name)
    if not {"age", "birth_date"} & set(people.columns):
        raise DataError(f"{name}: expected a column birth_date or age")
    stated = _numbers(people, "age", name, low=0, high=127, blank=-1)
    age = stated
    if (stated < 0).any():
        age = np.where(stated >= 0, stated, ages_on(birth_day, _age_day(model)))
    sex_column = "sex" if "sex" in people.columns else "gender"
    if sex_column not in people.columns:
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
            else np.zeros(people.height, np.int64)
        ).astype(np.int16),
        csr=(
            _choices(people, "csr_indicator", name, numbers=csr, blank=-1)
            if model.csr
            else np.full(people.height, -1, np.int64)
        ).astype(np.int16),
        segment=_choices(people, "segment", name, numbers=segments, blank=-1).astype(np.int16),
    )


def _age_day(model: Model) -> int:
    """Day on which a member's age counts, where only the birth date is given."""
    if model.family == "CMS-HCC":
        return int((np.datetime64(f"{model.year}-02-01") - np.datetime64("1970-01-01")).astype(int))
    return year_bounds(model.year)[1] - 1


def _refuse(compiled: Compiled, members: Members, name: str) -> None:
    problems = check(compiled, members, segments_of(compiled, members))
    if problems:
        told = "; ".join(
            f"{int(bad.sum())} members: {reason} (first in row {int(bad.argmax()) + 1})"
            for reason, bad in problems.items()
        )
        raise DataError(f"{name}: {told}")


def _by_member(
    table: pl.DataFrame,
    column: str,
    system: str,
    compiled: Compiled,
    place: pl.Series,
    name: str,
) -> tuple[Codes, int]:
    """Rows sorted by member, codes numbered by their own dictionary; and rows without member."""
    given = _code_text(table, column, name)
    code = given.to_arrow().dictionary_encode()
    at = pa.compute.index_in(_text(table, "member_id", name).to_arrow(), value_set=place.to_arrow())
    member = at.fill_null(-1).to_numpy(zero_copy_only=False)
    number = code.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    words = pl.Series(code.dictionary, dtype=pl.String)
    stated = (words != "").to_numpy()[number]
    day = _days(table, "service_date", name)
    keep = stated & (member >= 0)
    member, number, day = member[keep], number[keep], day[keep]
    if (member[1:] < member[:-1]).any():
        order = np.argsort(member, kind="stable")
        member, number, day = member[order], number[order], day[order]
    offsets = np.searchsorted(member, np.arange(len(place) + 1)).astype(np.int64)
    entry = compiled.tables[system].entry(clean_codes(words, system).to_list())
    without = int(stated.sum()) - int(keep.sum())
    return Codes(entry, number, day, offsets), without


def _decimal(micro: NDArray[np.int64]) -> pa.Array:
    """Millionths as exact decimals with six places."""
    low = micro.astype(np.int64)
    wide = np.stack([low, low >> 63], axis=1)  # little-endian 128-bit two's complement
    return pa.Array.from_buffers(
        SCORE_TYPE, len(micro), [None, pa.py_buffer(np.ascontiguousarray(wide))]
    )


def _write(path: Path, ids: pl.Series, compiled: Compiled, scored: Scored) -> None:
    names = np.array(compiled.segment_names, dtype=object)
    table = pa.table(
        {
            "member_id": pa.array(ids.to_list(), pa.string()),
            "segment": pa.array(names[scored.segment], pa.string()),
            "raw_score": _decimal(scored.raw_micro),
            "score": _decimal(scored.score_micro),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".csv":
        pl.DataFrame(table).write_csv(path)
    elif path.suffix.lower() == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix.lower() == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        raise DataError(f"{path.name}: expected .csv, .parquet or .arrow")
