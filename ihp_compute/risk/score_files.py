"""Scores for members and codes given as files: `ihp score`.

    DIAGNOSES, drugs -> the year that counts -> model of its payment year
    MEMBERS -> facts -> who can be scored -> coded rows by member -> engine -> OUT

Files are CSV, Parquet or Arrow by extension. Diagnosis codes lose their dots and blanks and become
upper case, drug codes their hyphens, and an NDC of digits is padded to eleven.

Rows of one year count: the commonest, or the one asked for; rows without a date count too. CMS-HCC
is that of the payment year after it, unless another is asked for. Nothing is dropped in silence:
rows of other years, of unknown members, unmapped codes and codes that an edit refuses are counted,
who cannot be scored has blanks in OUT and is listed beside it with one reason, and an option
without effect says so.

A blend runs each of its models by itself and rounds the sum of their shares to three places.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ihp_compute.errors import DataError, RiskModelError
from ihp_compute.publishing import whole
from ihp_compute.risk.blended import SCORE_PLACES, blend
from ihp_compute.risk.models import (
    Codes,
    Compiled,
    Members,
    Scored,
    check,
    clean_codes,
    compile_model,
    differing_by_order,
    explain,
    run,
    segments_of,
)
from ihp_compute.risk.models import store as model_store
from ihp_compute.risk.score_tables import (
    code_text,
    days_of,
    numbered,
    read_members,
    refuse_future,
    table_of,
    text_of,
)
from ihp_compute.table_files import write_table
from ihp_compute.units import NO_DAY, year_bounds

SCORE_TYPE: Final = pa.decimal128(14, 6)


@dataclass(frozen=True)
class Request:
    """What to score and how.

    year : of the rows that count, None the commonest; payment_year : of CMS-HCC, None the year
    after.
    """

    members: Path
    diagnoses: Path
    model: str
    out: Path
    drugs: Path | None = None
    code_edits: bool = True
    hierarchies: str | None = None
    explain: bool = False
    store: Path | None = None
    year: int | None = None
    payment_year: int | None = None


@dataclass(frozen=True)
class _Rows:
    """Coded rows of one system, as they stand in their file."""

    system: str
    name: str
    words: list[str]
    number: NDArray[np.int32]
    ids: pa.ChunkedArray
    day: NDArray[np.int32]

    def coded(self) -> NDArray[np.bool_]:
        """Rows with a code."""
        return np.array([word != "" for word in self.words], np.bool_)[self.number]


@dataclass(frozen=True)
class _Part:
    """A model and its share of the score."""

    name: str
    share: Decimal
    compiled: Compiled


def score_files(request: Request) -> dict[str, Any]:
    """Score the members of a file, write OUT, and say what was counted.

    Returns
    -------
    dict
        model, version, sha256, hierarchies, code_edits, year (of the rows that counted, None where
        no row has a date), payment_year (None but for CMS-HCC), other_years (rows that did not
        count, by year), without_score (members who cannot be scored by reason, with the first row
        of each), counts by name, notes.

    Raises
    ------
    DataError
        If a file, column or value cannot be used, a date lies in the future, or nobody can be
        scored.
    RiskModelError
        If there is no such model, or none of that payment year.
    """
    people = table_of(request.members)
    name = request.members.name
    refuse_future(days_of(people, "birth_date", name), "birth_date", name)
    rows = list(_coded(request))
    year = request.year or _commonest_year(rows)
    parts = _parts(request, year)
    ids = text_of(people, "member_id", name)
    if pc.count_distinct(ids).as_py() != len(ids) or pc.any(pc.equal(ids, "")).as_py():
        raise DataError(f"{name}: member_id must be present and unique in every row")
    everybody = read_members(people, parts[0].compiled, name)
    reason = _reasons(parts, everybody)
    unscored = _unscored(request, ids, reason)
    able = np.array([one == "" for one in reason], np.bool_)
    members = everybody if able.all() else _only(everybody, able)
    counts = {"members": len(ids), "members_without_score": int((~able).sum())}
    other_years: Counter[int] = Counter()
    kept = [_by_member(one, ids, able, year, counts, other_years) for one in rows]
    scored_ids = ids.filter(pa.array(able))
    scored = [_run(part, request, members, rows, kept) for part in parts]
    for part, found in zip(parts, scored, strict=True):
        prefix = f"{part.name}_" if len(parts) > 1 else ""
        here = found.counts()
        here["members_differing_by_hierarchy_order"] = differing_by_order(
            part.compiled, members, found, np.ones(len(members), np.bool_)
        )
        counts |= {prefix + key: count for key, count in here.items()}
    model = parts[0].compiled.model
    if model.warn_under_age:
        counts[f"members_under_{model.warn_under_age}"] = int(
            (members.age < model.warn_under_age).sum()
        )
    _write(request.out, ids, able, parts, scored)
    if request.explain:
        _explain(request.out, scored_ids, parts, scored, members)
    return {
        "model": request.model.partition("@")[0] if len(parts) > 1 else model.name,
        "version": "; ".join(_titles(parts)),
        "sha256": _sha256(parts),
        "hierarchies": request.hierarchies or model.hierarchy_mode,
        "code_edits": request.code_edits,
        "year": year,
        "payment_year": model.year if model.family == "CMS-HCC" else None,
        "other_years": {str(one): other_years[one] for one in sorted(other_years)},
        "without_score": unscored,
        "counts": counts,
        "notes": [
            *_year_notes(request, parts, year, other_years),
            *_option_notes(request, parts),
            *_unscored_notes(request, unscored),
            *model.notes,
        ],
    }


def _coded(request: Request) -> Iterator[_Rows]:
    name = request.diagnoses.name
    yield _rows("ICD10", table_of(request.diagnoses), "diagnosis_code", name)
    if request.drugs is None:
        return
    drugs, name = table_of(request.drugs), request.drugs.name
    columns = {"ndc_code": "NDC", "hcpcs_code": "HCPCS"}
    if not columns.keys() & set(drugs.column_names):
        raise DataError(f"{name}: expected a column ndc_code or hcpcs_code")
    for column, system in columns.items():
        if column in drugs.column_names:
            yield _rows(system, drugs, column, name)


def _rows(system: str, table: pa.Table, column: str, name: str) -> _Rows:
    day = days_of(table, "service_date", name)
    refuse_future(day, "service_date", name)
    words, number = numbered(code_text(table, column, name))
    return _Rows(system, name, words, number, text_of(table, "member_id", name), day)


def _years(day: NDArray[np.int32]) -> NDArray[np.int64]:
    return day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def _commonest_year(rows: list[_Rows]) -> int | None:
    """The year of most rows, the last of several; of diagnoses, or of drugs where none has one."""
    for one in rows:
        dated = one.day[one.coded() & (one.day != NO_DAY)]
        if len(dated):
            years, n = np.unique(_years(dated), return_counts=True)
            return int(years[n == n.max()][-1])
    return None


def _parts(request: Request, year: int | None) -> list[_Part]:
    named = model_store.payment_year_of(request.model)
    if named and request.payment_year not in (None, named):
        raise RiskModelError(
            f"{request.model} names a payment year and --payment-year {request.payment_year} "
            "another; leave one of them out"
        )
    payment_year = request.payment_year or named or (None if year is None else year + 1)
    code_years = None if year is None else (year, year)
    found = []
    for name, share in model_store.shares(request.model, payment_year).items():
        model = model_store.load(name, store=request.store, payment_year=payment_year)
        if year is not None:
            model_store.check_code_year(name, year)
        compiled = compile_model(model, hierarchies=request.hierarchies, code_years=code_years)
        found.append(_Part(name, share, compiled))
    return found


def _titles(parts: list[_Part]) -> Iterator[str]:
    for part in parts:
        share = "" if len(parts) == 1 else f"{part.share:.0%} "
        yield share + part.compiled.model.version


def _sha256(parts: list[_Part]) -> str:
    if len(parts) == 1:
        return parts[0].compiled.sha256
    text = "".join(f"{part.share} {part.compiled.sha256}\n" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _reasons(parts: list[_Part], members: Members) -> NDArray[np.object_]:
    """Why each member cannot be scored, the first of several reasons; "" who can be."""
    reason = np.full(len(members), "", np.object_)
    for part in parts:
        segment = segments_of(part.compiled, members)
        for text, bad in check(part.compiled, members, segment).items():
            reason[bad & (reason == "")] = text
    return reason


def _unscored(
    request: Request, ids: pa.ChunkedArray, reason: NDArray[np.object_]
) -> list[dict[str, Any]]:
    """Members by reason, and the file that lists them; refuses a file of nobody who can be scored.

    Rows count from 1 behind the header.
    """
    path = _listing(request)
    rows = np.flatnonzero(reason != "")
    found = [
        {
            "reason": text,
            "members": int((reason == text).sum()),
            "first_row": int(np.argmax(reason == text)) + 1,
        }
        for text in dict.fromkeys(reason[rows])
    ]
    if len(rows) and len(rows) == len(reason):
        reasons = "; ".join(
            f"{one['members']} members: {one['reason']} (first in row {one['first_row']})"
            for one in found
        )
        raise DataError(f"{request.members.name}: nobody can be scored: {reasons}")
    path.unlink(missing_ok=True)
    if found:
        listed = pa.table(
            {
                "member_id": ids.take(pa.array(rows)),
                "row": pa.array(rows + 1),
                "reason": pa.array(list(reason[rows]), pa.string()),
            }
        )
        with whole(path) as draft:
            draft.write_bytes(_csv(listed))
    return found


def _listing(request: Request) -> Path:
    return request.out.with_suffix(".unscored.csv")


def _unscored_notes(request: Request, unscored: list[dict[str, Any]]) -> Iterator[str]:
    if unscored:
        yield f"who is without a score is listed in {_listing(request).name}"


def _only(members: Members, able: NDArray[np.bool_]) -> Members:
    stated: dict[str, Any] = {one.name: getattr(members, one.name) for one in fields(Members)}
    for name, own in stated.items():
        stated[name] = None if own is None else own[able]
    return Members(**stated)


def _by_member(
    rows: _Rows,
    place: pa.ChunkedArray,
    able: NDArray[np.bool_],
    year: int | None,
    counts: dict[str, int],
    other_years: Counter[int],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Code number, day and offsets of the rows that count, sorted by member who can be scored."""
    keep, day = rows.coded(), rows.day
    if year is not None:
        first, last = year_bounds(year)
        other = keep & (day != NO_DAY) & ((day < first) | (day >= last))
        if other.any():
            other_years.update(_years(day[other]).tolist())
            keep &= ~other
    member = pc.fill_null(pc.index_in(rows.ids, value_set=place), -1).to_numpy()
    key = f"{rows.system.lower()}_rows_"
    counts[f"{key}without_member"] = int((keep & (member < 0)).sum())
    keep &= member >= 0
    if not able.all():
        counts[f"{key}of_unscored_members"] = int((keep & ~able[member]).sum())
        keep &= able[member]
        member = (np.cumsum(able) - 1)[member]
    member, number, day = member[keep], rows.number[keep], day[keep]
    if (member[1:] < member[:-1]).any():
        order = np.argsort(member, kind="stable")
        member, number, day = member[order], number[order], day[order]
    offsets = np.searchsorted(member, np.arange(int(able.sum()) + 1)).astype(np.int64)
    return number, day, offsets


def _run(
    part: _Part,
    request: Request,
    members: Members,
    rows: list[_Rows],
    kept: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]],
) -> Scored:
    codes = {
        one.system: Codes(
            part.compiled.tables[one.system].entry(clean_codes(one.words, one.system)), *own
        )
        for one, own in zip(rows, kept, strict=True)
    }
    return run(part.compiled, members, codes, code_edits=request.code_edits)


def _year_notes(
    request: Request, parts: list[_Part], year: int | None, other_years: Counter[int]
) -> Iterator[str]:
    model = parts[0].compiled.model
    if other_years:
        named = ", ".join(f"{one} ({other_years[one]:,})" for one in sorted(other_years))
        why = "the commonest" if request.year is None else "asked for"
        yield f"rows of {named} do not count: those of {year} do, {why}; --year takes another"
    if model.family != "CMS-HCC":
        if year is not None and not model.code_years[0] <= year <= model.code_years[1]:
            yield f"codes of {year} are scored by a model of {model.year}"
    elif year is None and request.payment_year is None and "@" not in request.model:
        yield (
            f"no row has a service date: payment year {model.year} is this model's last; "
            "--payment-year takes another"
        )
    elif year is not None and model.year != year + 1:
        yield f"codes of {year} are scored as payment year {model.year}, as asked for"


def _option_notes(request: Request, parts: list[_Part]) -> Iterator[str]:
    models = [part.compiled.model for part in parts]
    rules = [rule for model in models for rule in model.rules]
    if not any(rule.edit_age for rule in rules):
        yield "this model has no ages of the code editor: --code-edits changes nothing"
    if request.hierarchies and not any(model.hierarchies for model in models):
        yield "this model has no hierarchies: --hierarchies changes nothing"
    if request.drugs and all(rule.system == "ICD10" for rule in rules):
        yield "this model has no drugs: --drugs changes nothing"
    if request.payment_year and not model_store.follows_payment_year(request.model):
        yield "this model is the same in every payment year: --payment-year changes nothing"


def _explain(
    out: Path,
    ids: pa.ChunkedArray,
    parts: list[_Part],
    scored: list[Scored],
    members: Members,
) -> None:
    """Documents of the members in order; of a blend all of one model, then all of the next."""
    explained = out.with_suffix(".explain.jsonl")
    with whole(explained) as draft, draft.open("w", encoding="utf-8") as file:
        for part, found in zip(parts, scored, strict=True):
            for document in explain(part.compiled, members, found, ids.to_pylist()):
                model = {"model": part.name, "share": str(part.share)} if len(parts) > 1 else {}
                file.write(json.dumps(document | model) + "\n")


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
    able: NDArray[np.bool_],
    parts: list[_Part],
    scored: list[Scored],
) -> None:
    """Scores, blank for who cannot be scored; of a blend those of its models too."""
    names = pa.array(parts[0].compiled.segment_names, pa.string())
    shares = [part.share for part in parts]
    found = {
        "segment": names.take(pa.array(scored[0].segment)),
        "raw_score": _decimal(blend(shares, [one.raw_micro for one in scored], places=6)),
        "score": _decimal(blend(shares, [one.score_micro for one in scored], places=SCORE_PLACES)),
    }
    if len(parts) > 1:
        for part, one in zip(parts, scored, strict=True):
            found[f"score_{part.name.rpartition('-')[2]}"] = _decimal(one.score_micro)
    if not able.all():
        place = pa.array(np.cumsum(able) - 1, mask=~able)
        found = {name: values.take(place) for name, values in found.items()}
    table = pa.table({"member_id": ids, **found})
    with whole(path) as draft:
        if path.suffix.lower() == ".csv":
            draft.write_bytes(_csv(table))
        else:
            write_table(table, draft)


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
