"""What the words of a report mean: rules in sentences, terms in force, steps, columns of tables.

All of it follows from declarations and from the terms that the run keeps; nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ihp_compute.contracts import (
    KINDS,
    SETTLEMENT_STEPS,
    Agreement,
    Document,
    idle,
    speaks,
    text_of,
)
from ihp_compute.report.methods import METHODS
from ihp_compute.report.rows import Row
from ihp_compute.results import TABLES, kept_terms


def definitions_section(run_dir: Path, manifest: Mapping[str, Any]) -> Row:
    """Sentences with the values that govern them, terms of each contract, steps and tables."""
    agreements = list(_agreements(run_dir, manifest))
    return {
        "methods": [
            {
                "title": method.title,
                "text": method.text,
                "terms": [(path, _values(path, agreements)) for path in method.terms],
            }
            for method in METHODS
        ],
        "contracts": [_contract(agreement) for agreement in agreements],
        "steps": [
            (name, "; ".join(f"{path}: {KINDS[path].meaning}" for path in step.paths))
            for name, step in SETTLEMENT_STEPS.items()
        ],
        "tables": [
            (
                table.name,
                table.meaning,
                [(c.name, f"{c.meaning}{f' ({c.unit})' if c.unit else ''}") for c in table.columns],
            )
            for table in TABLES.values()
        ],
    }


def _contract(agreement: Agreement) -> Row:
    terms, silent = agreement.terms(), _silent(agreement)
    return {
        "name": agreement.name,
        "title": agreement.contract.title,
        "terms": [
            _term(agreement, value)
            for value in terms
            if value.value is not None and value.path not in silent
        ],
        "silent": silent,
        "none": [value.path for value in terms if value.value is None],
        "documents": _documents(agreement),
    }


def _silent(agreement: Agreement) -> list[str]:
    """Terms that have a value and say nothing, for what they modify has none or another binds."""
    given = {value.path for value in agreement.terms() if value.value is not None}
    binds = given.__contains__
    return [
        value.path
        for value in agreement.terms()
        if value.path in given and (not speaks(value.path, binds) or idle(value.path, binds))
    ]


def _agreements(run_dir: Path, manifest: Mapping[str, Any]) -> Iterator[Agreement]:
    """Each contract that the run keeps, once, in the year that was settled."""
    if not (run_dir / kept_terms.FILE).is_file():
        return
    seen = set()
    for contract in kept_terms.read(run_dir).contracts.contracts.values():
        if contract.sha256 not in seen:
            seen.add(contract.sha256)
            yield contract.at(manifest["performance_year"])


def _values(path: str, agreements: list[Agreement]) -> str:
    """What a term says in the contracts of the run."""
    return " / ".join(dict.fromkeys(text_of(agreement[path]) for agreement in agreements))


def _term(agreement: Agreement, value: Any) -> Row:
    kind = agreement.contract.terms[value.path].kind
    return {
        "path": value.path,
        "meaning": kind.meaning,
        "value": text_of(value.value),
        "unit": "" if kind.form in ("choice", "flag", "names", "text", "codes") else kind.unit,
        "basis": value.basis,
        "citation": value.citation,
    }


def _documents(agreement: Agreement) -> list[tuple[str, str, str, str]]:
    """Documents that the terms in force cite: key, title, address, dates."""
    cited = {value.source.doc for value in agreement.terms() if value.value is not None}
    return [
        (key, document.title, document.url, _dates(document))
        for key, document in agreement.contract.documents.items()
        if key in cited
    ]


def _dates(document: Document) -> str:
    """When a document was made and read, as far as the contract says."""
    said = (("of", document.dated), ("read", document.retrieved))
    return ", ".join(f"{word} {day}" for word, day in said if day is not None)
