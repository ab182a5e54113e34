"""A contract as an actuary reads it: steps in order, every value with its page, and an example.

Values that the agreement dates are all listed; terms that bind nothing are named at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from ihp_compute.contracts import (
    AMOUNTS,
    CARRIED,
    KINDS,
    MISSING_QUALITY_TERM,
    SETTLEMENT_STEPS,
    Agreement,
    Contract,
    Entry,
    idle,
    speaks,
    text_of,
)
from ihp_compute.settlement.given import settle_table
from ihp_compute.units import CENTS_PER_USD, dollars

PARTS: Final = (
    ("Whom it concerns", ("agreement.", "attribution.")),
    ("What is cost", ("cost.", "observed.")),
    ("Target", ("risk.", "target.")),
    ("Order and direction", ("settlement.steps", "settlement.direction")),
)
EXAMPLE: Final = (("a gain of 5 %", 57_000_000), ("a loss of 5 %", 63_000_000))
EXAMPLE_MEMBERS: Final = 12_000
EXAMPLE_TARGET_USD: Final = 60_000_000


def term_rows(contract: Contract, prefixes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every dated value of the terms whose paths start so, with its page.

    Yields
    ------
    dict
        path, meaning, value, unit, holds, basis, document, at, note; key, to tell the value that
        an agreement holds.
    """
    order = {path: i for i, path in enumerate(KINDS)}
    paths = [p for p in contract.terms if any(p.startswith(prefix) for prefix in prefixes)]
    for path in sorted(paths, key=lambda p: (order.get(p, len(order)), p)):
        term = contract.terms[path]
        for entry in term.entries:
            document = contract.documents.get(entry.source.doc)
            yield {
                "path": path,
                "meaning": term.kind.meaning,
                "value": text_of(entry.value),
                "unit": term.kind.unit,
                "holds": holds(entry),
                "basis": entry.basis,
                "document": entry.source.doc if document is None else document.title,
                "at": entry.source.at,
                "note": entry.note,
                "key": (text_of(entry.value), entry.first, entry.last, entry.note),
            }


def holds(entry: Entry) -> str:
    """When a value holds, in words.

    >>> from datetime import date
    >>> from ihp_compute.contracts import Source
    >>> holds(Entry(1, date(2013, 1, 1), None, 2, (), "assumed", Source("a", "b")))
    'from 2013-01-01, contract year 2'
    """
    words = []
    if entry.first is not None:
        words.append(f"from {entry.first}")
    if entry.last is not None:
        words.append(f"until {entry.last}")
    text = " ".join(words) or "always"
    if entry.contract_year is not None:
        text += f", contract year {entry.contract_year}"
    if entry.cells:
        text += f", {', '.join(entry.cells)}"
    return text


def example(contract: Contract, year: int | None) -> list[dict[str, Any]]:
    """The agreement applied to a gain and a loss of a round target, without a quality score.

    Returns
    -------
    list of dict
        `case` in words and the columns of `given.settle_table`.
    """
    n = len(EXAMPLE)
    table = pa.table(
        {
            "partnership_id": [case for case, _ in EXAMPLE],
            "n_members": [EXAMPLE_MEMBERS] * n,
            "target_usd": [EXAMPLE_TARGET_USD] * n,
            "observed_usd": [observed for _, observed in EXAMPLE],
            "performance_year": pa.array([year] * n, pa.int64()),
        }
    )
    whole = contract.override({MISSING_QUALITY_TERM: "full"})
    settled = settle_table(table, whole, where="example").table.to_pylist()
    for row in settled:
        row.pop("quality_fill", None)
    return [{"case": row["partnership_id"], **row} for row in settled]


def document(contract: Contract, agreement: Agreement) -> dict[str, Any]:
    """The contract as one JSON document."""
    return {
        "name": contract.name,
        "title": contract.title,
        "programme": contract.programme,
        "summary": contract.summary,
        "sha256": contract.sha256,
        "draft": agreement.draft_line(),
        "newer": contract.newer_line,
        "steps": list(agreement.steps),
        "terms": [
            {name: value for name, value in row.items() if name != "key"}
            for row in term_rows(contract, ("",))
        ],
        "example": example(contract, agreement.year),
    }


def lines(contract: Contract, agreement: Agreement) -> Iterator[str]:
    """The contract as text, line by line."""
    for line in (agreement.draft_line(), contract.newer_line):
        if line:
            yield line
            yield ""
    yield f"{contract.title}  ({contract.name})"
    yield contract.summary
    yield f"{contract.programme}; terms {contract.sha256[:12]}"
    when = "the latest values" if agreement.year is None else str(agreement.year)
    yield f"An arrow marks what holds for {when}."
    for title, prefixes in PARTS:
        yield from _part(agreement, title, prefixes)
    for number, step in enumerate(agreement.steps, start=1):
        yield from _part(
            agreement, f"Step {number}: {step}", SETTLEMENT_STEPS[step].paths, always=True
        )
    yield from _part(agreement, "Payers", ("payers.",))
    yield ""
    yield from _example_lines(contract, agreement)
    unbound = [v.path for v in agreement.terms() if v.value is None]
    if unbound:
        yield ""
        yield f"No rule in this agreement ({len(unbound)}): {', '.join(unbound)}"


def _binds(agreement: Agreement, path: str) -> bool:
    """Whether a term has a value in any year, and says anything beside the others."""
    terms = agreement.contract.terms

    def has_value(path: str) -> bool:
        return any(entry.value is not None for entry in terms[path].entries)

    def always(path: str) -> bool:
        return all(entry.value is not None for entry in terms[path].entries)

    return has_value(path) and speaks(path, has_value) and not idle(path, always)


def _part(
    agreement: Agreement, title: str, prefixes: Sequence[str], *, always: bool = False
) -> Iterator[str]:
    rows = [
        row for row in term_rows(agreement.contract, prefixes) if _binds(agreement, row["path"])
    ]
    if not rows and not always:
        return
    yield ""
    yield title
    if not rows:
        yield "  no rule"
    last = ""
    for row in rows:
        if row["path"] != last:
            yield f"  {row['path']}  ({row['meaning']})"
        last = row["path"]
        unit = (
            "" if row["unit"] in ("choice", "flag", "names", "name", "year") else f" {row['unit']}"
        )
        now = agreement.value(row["path"])
        holds_now = (text_of(now.value), now.first, now.last, now.note) == row["key"]
        carried = ", carried" if holds_now and now.basis == CARRIED else ""
        yield f"    {'→' if holds_now else ' '} {row['value']}{unit}, {row['holds']}{carried}"
        note = f"; {row['note']}" if row["note"] else ""
        yield f"      {row['basis']}: {row['document']}, {row['at']}{note}"


def _example_lines(contract: Contract, agreement: Agreement) -> Iterator[str]:
    yield (
        f"Example: {EXAMPLE_MEMBERS:,} members, target ${EXAMPLE_TARGET_USD:,}, no quality score, "
        f"{agreement.year or 'latest values'}"
    )
    for row in example(contract, agreement.year):
        gate = "no gate" if row["gate_rate"] is None else f"gate {row['gate_rate']:.3%}"
        word = "passed" if row["gate_passed"] else "not settled"
        savings = f"savings {_shown(row['savings_usd'])} ({row['savings_rate']:+.2%})"
        yield f"  {row['case']}: {savings}, {gate}: {word}"
        parts = [f"{name} {_shown(row[f'{name}_usd'])}" for name in AMOUNTS[1:]]
        yield "    " + " · ".join(parts)


def _shown(usd: float) -> str:
    return dollars(round(usd * CENTS_PER_USD))
