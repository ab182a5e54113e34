"""What a run rests on, in words: draft terms, facts of the run, hashes, the device."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ihp_compute.ledger import file_of
from ihp_compute.report import numbers
from ihp_compute.report.rows import Row
from ihp_compute.results import scoring_words


def draft(manifest: Mapping[str, Any]) -> Row:
    """How many terms are recalled or assumed, of how many, and which."""
    terms = manifest.get("draft_terms") or {}
    return {
        "weak": int(terms.get("recalled_or_assumed", 0)),
        "total": int(terms.get("total", 0)),
        "names": list(terms.get("names", ())),
    }


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was run, in the order in which a reader asks."""
    replicates = int(manifest["replicates"])
    return [
        ("Performance year", str(manifest["performance_year"])),
        ("Base year", str(manifest["base_year"])),
        ("Claims paid through", str(manifest["paid_through"])),
        *_completion(manifest),
        ("Contracts", _contracts(manifest) or numbers.DASH),
        ("Risk model", risk_model(manifest)),
        ("Replicates", f"{numbers.count(replicates)} draws of members, seed {manifest['seed']}"),
        ("Device", str(manifest["device"]).upper()),
        *([("Made", _moment(manifest["made_at"]))] if "made_at" in manifest else []),
        ("Digest", str(manifest["digest"])),
    ]


def _moment(at: str) -> str:
    """A time of the manifest for people.

    >>> _moment("2026-01-05T10:30:00+00:00")
    '2026-01-05 10:30 UTC'
    """
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M} UTC"


def _contracts(manifest: Mapping[str, Any]) -> str:
    """Names of the contracts; those of partnerships with values of their own as a number."""
    own: dict[str, list[str]] = {}
    for contract in manifest.get("contracts", ()):
        name, of, _ = str(contract["name"]).partition(" (")
        own.setdefault(name, []).extend([name] if of else [])
    return ", ".join(
        f"{name}, {len(found)} with values of their own" if found else name
        for name, found in own.items()
    )


def _completion(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = manifest.get("completion")
    if not found:
        return []
    ratio = numbers.percent(float(found["ratio"])) if found["ratio"] else "not known"
    year = manifest["performance_year"]
    return [
        ("Run-out", f"{found['run_out_months']} months; {year} complete to {ratio}"),
        ("Status", str(found["status"])),
        *(
            pair
            for one in found["measurements"]
            for pair in (
                ("Claims still to come", ", ".join(map(numbers.label, one["methods"]))),
                ("Base year paid through", str(one["base_paid_through"])),
            )
        ),
    ]


def risk_model(manifest: Mapping[str, Any]) -> str:
    """The name of the risk model, and how it scored."""
    value = manifest.get("risk_model")
    if isinstance(value, Mapping):
        return "; ".join(filter(None, (str(value.get("name", numbers.DASH)), scoring_words(value))))
    return str(value) if value else numbers.DASH


def device_note(manifest: Mapping[str, Any]) -> str:
    """What must be said about the device on the first page; empty if it was the one asked for."""
    asked, used = manifest.get("device_requested", manifest["device"]), manifest["device"]
    if asked == used:
        return ""
    if used == "cpu":
        return (
            "Device: automatic choice was asked for and no GPU could be used, so the CPU did the "
            "arithmetic. Results are integers and do not depend on the device."
        )
    return f"Device: {asked} was asked for, {used} was used."


def provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(kind, name, hash or value) of everything that the digest rests on."""
    rows: list[tuple[str, str, str]] = []
    population = manifest.get("population")
    if isinstance(population, Mapping):
        rows.append(("population", "", str(population.get("digest", numbers.DASH))))
    elif manifest.get("population_digest"):
        rows.append(("population", "", str(manifest["population_digest"])))
    rows += [
        ("contract", str(c.get("name", "")), str(c.get("sha256", numbers.DASH)))
        for c in manifest.get("contracts", ())
    ]
    model = manifest.get("risk_model")
    if isinstance(model, Mapping):
        rows.append(("risk model", str(model.get("name", "")), str(model.get("sha256", ""))))
    rows += [
        ("input", file_of(i) if "file" in i else "", str(i.get("sha256", numbers.DASH)))
        for i in manifest.get("inputs", ())
    ]
    rows += [
        (numbers.label(key), "", str(manifest[key]))
        for key in ("method_version", "engine_version", "runner")
        if manifest.get(key) is not None
    ]
    return rows
