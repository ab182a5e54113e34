"""Contracts as data: read, check, date, override, identify.

    file (+ the contract it extends) -> terms, each with unit, dates, source, basis
                                     -> overrides by path -> the agreement of one year

A file is TOML. A value stands with its unit, the date from which it holds, its source (document and
place) and its basis; a term whose value changes lists `values`, by date, by contract year or by
rate cell. `extends` takes every term that the file does not give from another contract: a family
of tracks is one full file and short ones that say how they differ. Nothing has a default in code.

This is the front: `contract_files` reads, `agreement` holds and overrides, `contract_sets` says
which partnership has which contract. Not here: which terms there are (`terms`), what they do
(`target`, `steps`).
"""

from __future__ import annotations

from ihp_compute.contracts.contract import (
    SUPPLIED,
    Agreement,
    Contract,
    Document,
    Entry,
    Source,
    Term,
    Value,
    split_band_path,
)
from ihp_compute.contracts.files import FOLDER, UNBOUND, load, names
from ihp_compute.contracts.rules import RiskTerms
from ihp_compute.contracts.sets import ContractSet, check, load_set

__all__ = [
    "FOLDER",
    "SUPPLIED",
    "UNBOUND",
    "Agreement",
    "Contract",
    "ContractSet",
    "Document",
    "Entry",
    "RiskTerms",
    "Source",
    "Term",
    "Value",
    "check",
    "load",
    "load_set",
    "names",
    "split_band_path",
]
