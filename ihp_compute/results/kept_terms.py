"""The terms a run was settled by, kept in its folder: contracts with overrides, quality scores.

A contract file may move or change after a run; what the run used does not. A sweep starts from what
stands here, and only if its digests are those of the run's manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from ihp_compute.contracts import (
    FILLED,
    NONE,
    Alliance,
    Band,
    Contract,
    ContractSet,
    Document,
    Entry,
    Own,
    Source,
    Term,
    TermError,
    kind_of,
    parse,
)
from ihp_compute.errors import RunError
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.read import KEPT_TERMS

FILE: Final = KEPT_TERMS


@dataclass(frozen=True)
class RunTerms:
    """What a run was settled by.

    Attributes
    ----------
    contracts : ContractSet
        Overrides applied.
    quality : mapping of partnership id to Decimal, str or None
        As `contracts.QualityScores.own`.
    """

    contracts: ContractSet
    quality: Mapping[str, Own]


def document(contracts: ContractSet, quality: Mapping[str, Own]) -> dict[str, Any]:
    """The content of `FILE`: each contract once, who has which, quality scores, alliances."""
    distinct: dict[str, Contract] = {}
    for contract in contracts.contracts.values():
        distinct.setdefault(contract.sha256, contract)
    return {
        "set": {
            "name": contracts.name,
            "performance_year": contracts.performance_year,
            "base_year": contracts.base_year,
            "paid_through": contracts.paid_through and str(contracts.paid_through),
        },
        "contracts": {sha256: _written(contract) for sha256, contract in distinct.items()},
        "partnerships": {p: c.sha256 for p, c in contracts.contracts.items()},
        "quality": {p: None if s is None else str(s) for p, s in quality.items()},
        "alliances": {
            name: {
                "members": list(alliance.members),
                "split": alliance.split,
                "weights": [str(weight) for weight in alliance.weights],
            }
            for name, alliance in contracts.alliances.items()
        },
    }


def read(run_dir: Path) -> RunTerms:
    """The terms of a finished run.

    Raises
    ------
    RunError
        If the folder is not a finished run of this method version, or holds other terms than its
        manifest names.
    """
    manifest = read_manifest(run_dir, go_on=True)
    path = run_dir / FILE
    if not path.is_file():
        raise RunError(f"{run_dir}: keeps no terms ({FILE}); run it again with this version")
    try:
        found = _read(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, TermError, msgspec.ValidationError) as error:
        raise RunError(
            f"{path}: cannot be read back ({type(error).__name__}); run it again"
        ) from None
    if found.contracts.hashes() != manifest["terms"]["contracts"]:
        raise RunError(
            f"{path}: found other terms than the manifest names; they were changed after the run; "
            "run it again"
        )
    return found


def _written(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "title": contract.title,
        "programme": contract.programme,
        "file": contract.file,
        "summary": contract.summary,
        "documents": {key: msgspec.to_builtins(d) for key, d in contract.documents.items()},
        "overrides": dict(contract.overrides),
        "terms": {
            path: [
                {
                    "value": raw_of(e.value),
                    "first": e.first and str(e.first),
                    "last": e.last and str(e.last),
                    "contract_year": e.contract_year,
                    "cells": list(e.cells),
                    "basis": e.basis,
                    "source": msgspec.to_builtins(e.source),
                    "note": e.note,
                }
                for e in term.entries
            ]
            for path, term in contract.terms.items()
        },
    }


def raw_of(value: Any) -> Any:
    """A value in the form in which `contracts.parse` reads it back; Decimals as text."""
    if value is None:
        return NONE
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Band):
        return {
            b.name: {
                "above": str(b.above),
                "below": NONE if b.below is None else str(b.below),
                "share": str(b.share),
            }
            for b in value
        }
    if isinstance(value, tuple):
        return [[n, str(rate)] for n, rate in value] if _is_table(value) else list(value)
    return value


def _is_table(value: tuple[Any, ...]) -> bool:
    return bool(value) and isinstance(value[0], tuple)


def _read(raw: Mapping[str, Any]) -> RunTerms:
    contracts = {sha256: _contract(one) for sha256, one in raw["contracts"].items()}
    head = raw["set"]
    through = head["paid_through"]
    return RunTerms(
        ContractSet(
            name=head["name"],
            contracts={p: contracts[sha256] for p, sha256 in raw["partnerships"].items()},
            performance_year=head["performance_year"],
            base_year=head["base_year"],
            paid_through=None if through is None else date.fromisoformat(through),
            alliances={
                name: Alliance(
                    name, tuple(one["members"]), one["split"], tuple(map(Decimal, one["weights"]))
                )
                for name, one in raw.get("alliances", {}).items()
            },
        ),
        {
            p: score if score is None or score in FILLED else Decimal(score)
            for p, score in raw["quality"].items()
        },
    )


def _contract(raw: Mapping[str, Any]) -> Contract:
    return Contract(
        name=raw["name"],
        title=raw["title"],
        programme=raw["programme"],
        file=raw["file"],
        summary=raw["summary"],
        documents={key: msgspec.convert(d, Document) for key, d in raw["documents"].items()},
        terms={path: _term(path, entries) for path, entries in raw["terms"].items()},
        overrides=raw["overrides"],
    )


def _term(path: str, entries: list[dict[str, Any]]) -> Term:
    kind = kind_of(path)
    if kind is None:
        raise TermError(f"unknown term {path}")
    return Term(
        path,
        kind,
        tuple(
            Entry(
                value=parse(kind, e["value"]),
                first=_day(e["first"]),
                last=_day(e["last"]),
                contract_year=e["contract_year"],
                cells=tuple(e["cells"]),
                basis=e["basis"],
                source=msgspec.convert(e["source"], Source),
                note=e["note"],
            )
            for e in entries
        ),
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
