"""What ingest made of one claim: its rows, and those of claims tied to it, with their fates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ihp_compute.errors import PopulationError
from ihp_compute.explain.origin import population_of
from ihp_compute.folders import kind_of
from ihp_compute.ledger import file_of
from ihp_compute.population import Shard, open_population
from ihp_compute.results import RUN, read_manifest
from ihp_compute.units import date_text
from kernels.members.history_fates import BESIDE, REPLACES, VOID


@dataclass(frozen=True)
class ClaimExplained:
    """A claim's rows and those of claims tied to it, by payment, with what became of each.

    `rows` have member_id (empty where the member is not enrolled), source_table, claim_id,
    claim_line_number, data_source, payer, plan, says (what the row does to its claim), indicator,
    names (the claims that it names), service_date, paid_date, file_date, paid_cents, fate, file
    and row.
    """

    claim_id: str
    rows: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {"claim_id": self.claim_id, "rows": self.rows}


def explain_claim(folder: Path, claim_id: str) -> ClaimExplained:
    """What ingest made of one claim. Restricted: it shows a person's claims.

    Rows come from the population's cold record, the retained ones with those put aside. Claims of
    the same member are tied where one names the other, or where a stated void or replacement names
    the same number.

    Parameters
    ----------
    folder : Path
        A population, or a run, whose population is then asked.
    claim_id : str
        As in the raw tables.

    Returns
    -------
    ClaimExplained

    Raises
    ------
    PopulationError
        If no row of such a claim could be read, or a file is damaged.
    RunError
        If the population changed or moved since the run.
    """
    if kind_of(folder) == RUN.name:
        population = population_of(folder, read_manifest(folder))
    else:
        population = open_population(folder)
    rows = []
    for shard in population.shards:
        bearing = shard.record(columns=["member_key"], where=("claim_id", claim_id))
        for key in sorted(set(bearing.column("member_key").to_pylist())):
            found = shard.record(columns=_SHOWN, where=("member_key", key)).to_pylist()
            rows += [
                _recorded_row(row, _member_id(shard, key), population.manifest["inputs"])
                for row in _tied(found, claim_id)
            ]
    if not rows:
        raise PopulationError(
            f"{population.path}: has no readable row of this claim number; numbers are text, so "
            "leading zeros count. Rows that cannot be read stand in its folder quarantine/"
        )
    return ClaimExplained(claim_id, rows)


_SHOWN: Final = (
    "source_table", "fate", "file", "row", "claim_id", "claim_line_number", "data_source", "payer",
    "payer_plan", "action", "indicator", "original_claim", "adjustment_claim", "service_day",
    "paid_day", "file_day", "paid_cents",
)  # fmt: skip
_SAYS: Final = {REPLACES: "replaces", VOID: "voids", BESIDE: "money beside"}


def _tied(rows: list[dict[str, Any]], claim_id: str) -> list[dict[str, Any]]:
    """Rows of one member's claims that are tied to a claim, by payment."""
    here = {row["claim_id"] for row in rows}

    def named(row: dict[str, Any]) -> set[str]:
        stated = row["action"] in (REPLACES, VOID)
        links = {row["original_claim"], row["adjustment_claim"]} - {None}
        return {row["claim_id"], *(links if stated else links & here)}

    of_row = [named(row) for row in rows]
    found, known = {claim_id}, 0
    while len(found) > known:
        known = len(found)
        found = found.union(*(names for names in of_row if names & found))
    tied = [row for row, names in zip(rows, of_row, strict=True) if names & found]
    order = ("paid_day", "file_day", "claim_id", "claim_line_number", "file", "row")
    return sorted(tied, key=lambda row: tuple(row[name] for name in order))


def _member_id(shard: Shard, key: int) -> str:
    keys = shard.column("members", "member_key")
    at = int(np.searchsorted(keys, np.uint64(key)))
    if at == len(keys) or int(keys[at]) != key:
        return ""
    return str(shard.strings("identity", "member_id")[at])


def _recorded_row(
    row: dict[str, Any], member_id: str, inputs: list[dict[str, Any]]
) -> dict[str, Any]:
    given = ("claim_id", "claim_line_number", "data_source", "payer")
    links = dict.fromkeys((row["original_claim"], row["adjustment_claim"]))
    return {
        "member_id": member_id,
        "source_table": row["source_table"],
        **{name: row[name] for name in given},
        "plan": row["payer_plan"],
        "says": _SAYS.get(row["action"], ""),
        "indicator": row["indicator"],
        "names": [name for name in links if name not in (None, row["claim_id"])],
        **{f"{name}_date": date_text(row[f"{name}_day"]) for name in ("service", "paid", "file")},
        "paid_cents": row["paid_cents"],
        "fate": row["fate"],
        "file": file_of(inputs[row["file"]]),
        "row": row["row"],
    }
