"""What another rule of attribution would do: two runs of one population, person by person.

    RUN and OTHER, measured by other terms -> who is whose under each -> people by both groups

People are those of the performance year. Not here: why a person is whose (`explain.member`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ihp_compute.codes import RATE_CELLS
from ihp_compute.errors import RunError
from ihp_compute.measure import MEMBER_YEARS
from ihp_compute.results import SETTLEMENT, read_manifest, result

NOT_ELIGIBLE: Final = "not eligible"
_MONTHS: Final = tuple(f"months_{cell}" for cell in RATE_CELLS)


@dataclass(frozen=True)
class OtherRule:
    """Attribution of two runs of one population and performance year.

    Attributes
    ----------
    pairs : list of dict
        group_id of the run and of the other (`not eligible` of who is not), members,
        member_months and other_member_months; those who are nowhere in either are left out.
    partnerships : list of dict
        partnership_id; of the run and of the other members, member_months, target_cents,
        savings_cents and payment_cents (0 where one does not settle it); members who stay.
    """

    pairs: list[dict[str, Any]]
    partnerships: list[dict[str, Any]]

    def document(self) -> dict[str, Any]:
        """As one JSON document."""
        return {"pairs": self.pairs, "partnerships": self.partnerships}


def compare_attribution(run_dir: Path, other_dir: Path) -> OtherRule:
    """Who is whose under the terms of two runs.

    Parameters
    ----------
    run_dir, other_dir : Path
        Finished runs of one population and performance year, by other terms.

    Returns
    -------
    OtherRule

    Raises
    ------
    RunError
        If a folder is not a finished run, or they are of other populations or years.
    """
    one, other = (read_manifest(folder) for folder in (run_dir, other_dir))
    for what, here, there in (
        ("population", one["population"]["digest"], other["population"]["digest"]),
        ("performance year", one["performance_year"], other["performance_year"]),
    ):
        if here != there:
            raise RunError(
                f"{other_dir}: its {what} is {there}, that of {run_dir} is {here}; compare runs of "
                "one population and year"
            )
    year = int(one["performance_year"])
    keys, group, months = _people(run_dir, year)
    other_keys, other_group, other_months = _people(other_dir, year)
    if not np.array_equal(keys, other_keys):
        raise RunError(
            f"{other_dir}: has other members than {run_dir}; verify both with ihp verify"
        )
    names, at = np.unique(np.concatenate([group, other_group]), return_inverse=True)
    ours, theirs = at[: len(keys)], at[len(keys) :]
    place = ours * len(names) + theirs
    size = len(names) ** 2
    sums = {
        "members": np.bincount(place, minlength=size),
        "member_months": np.bincount(place, months, size),
        "other_member_months": np.bincount(place, other_months, size),
    }
    pairs = [
        {
            "group_id": str(names[k // len(names)]),
            "other_group_id": str(names[k % len(names)]),
            **{name: int(values[k]) for name, values in sums.items()},
        }
        for k in np.flatnonzero(sums["members"]).tolist()
        if {names[k // len(names)], names[k % len(names)]} != {NOT_ELIGIBLE}
    ]
    return OtherRule(pairs, _partnerships(run_dir, other_dir, pairs))


def _people(
    run_dir: Path, year: int
) -> tuple[NDArray[np.uint64], NDArray[np.str_], NDArray[np.int64]]:
    """Key, group and countable months of every member in a year."""
    try:
        table = pq.read_table(
            run_dir / f"{MEMBER_YEARS.name}.parquet",
            columns=["member_key", "group_id", *_MONTHS],
            filters=[("year", "==", year), ("measurement", "==", 0)],
        )
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{run_dir}: member_years cannot be read: {error}; run it again") from error
    months = np.sum([table[name].to_numpy().astype(np.int64) for name in _MONTHS], axis=0)
    groups = np.array(table["group_id"].cast(pa.string()).to_pylist(), np.str_)
    return table["member_key"].to_numpy(), np.where(groups == "", NOT_ELIGIBLE, groups), months


_SETTLED: Final = ("member_months", "target_cents", "savings_cents", "payment_cents")


def _partnerships(
    run_dir: Path, other_dir: Path, pairs: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    of_run, of_other = (
        {row["partnership_id"]: row for row in result(folder, SETTLEMENT).to_pylist()}
        for folder in (run_dir, other_dir)
    )
    stay = {p["group_id"]: p["members"] for p in pairs if p["group_id"] == p["other_group_id"]}

    def of(row: Mapping[str, Any] | None, prefix: str) -> dict[str, int]:
        said = {"members": 0 if row is None else row["n_members"]}
        said |= {name: 0 if row is None else row[name] for name in _SETTLED}
        return {f"{prefix}{name}": int(value) for name, value in said.items()}

    return [
        {
            "partnership_id": name,
            **of(of_run.get(name), ""),
            **of(of_other.get(name), "other_"),
            "members_who_stay": stay.get(name, 0),
        }
        for name in sorted(of_run.keys() | of_other.keys())
    ]
