"""What earlier settlements of a year paid, and which of them a settlement may net.

    earlier runs -> same years, contracts and programmes? none later, none twice -> in their order
        -> what each moved

A settlement replaces those before it: it nets what has been paid so far, which is the payment of
the last one. So a year may be opened again as often as claims, enrolment or the values of terms
change, and the movements add up to the last payment. A movement is paid when positive and recouped
when negative; a partnership that one run did not settle stands with zero in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import RunError
from ihp_compute.folders import MANIFEST, read_manifest
from ihp_compute.measure import Plan, final_less_interim
from ihp_compute.results.read import KEPT_TERMS, RUN, result
from ihp_compute.results.tables import SETTLEMENT
from ihp_compute.settlement import Settled
from ihp_compute.storage import at_hand

SETTLED: Final = replace(
    RUN,
    entries=(
        "performance_year", "base_year", "paid_through", "contracts", "risk_model",
        "method_version", "digest",
    ),
    no_folder=f"{{folder}}: no {MANIFEST}, expected a finished run",
    no_manifest=f"{{folder}}: no {MANIFEST}, expected a finished run",
    another="{folder}: found a {found}, expected a finished run",
)  # fmt: skip


@dataclass(frozen=True)
class Settlement:
    """A settlement of a year, as another one must fit it.

    Attributes
    ----------
    name : str
        For messages.
    digest : str
        Of its run; empty while it is being made.
    years : mapping
        performance_year and base_year.
    paid_through : date
    contracts, programmes : mapping of partnership id to str
        Names of contracts, and of their programmes as far as they were kept.
    alliances : mapping of partnership id to str
        The alliance of each member.
    """

    name: str
    digest: str
    years: Mapping[str, int]
    paid_through: date
    contracts: Mapping[str, str]
    programmes: Mapping[str, str]
    alliances: Mapping[str, str]

    @classmethod
    def of_run(cls, folder: Path) -> Settlement:
        """That of a finished run.

        Raises
        ------
        RunError
            If the folder is none.
        """
        manifest = read_manifest(folder, SETTLED)
        rows = result(folder, SETTLEMENT, ("partnership_id", "contract")).to_pylist()
        return cls(
            folder.name,
            manifest["digest"],
            {name: manifest[name] for name in ("performance_year", "base_year")},
            date.fromisoformat(manifest["paid_through"]),
            {row["partnership_id"]: row["contract"] for row in rows},
            _kept(folder / KEPT_TERMS, _programmes),
            _kept(folder / KEPT_TERMS, _alliances),
        )

    @classmethod
    def of_plan(cls, plan: Plan) -> Settlement:
        """That which a run is to make."""
        agreements = plan.contracts.at(plan.performance_year)
        return cls(
            "this run",
            "",
            {"performance_year": plan.performance_year, "base_year": plan.base_year},
            plan.paid_through,
            {p: agreement.name for p, agreement in agreements.items()},
            {p: contract.programme for p, contract in plan.contracts.contracts.items()},
            plan.contracts.alliance_of,
        )


@dataclass(frozen=True)
class Netted:
    """A settlement before the last one: which run it is, what it paid, and what it moved.

    payment_cents, moved_cents : by partnership id; moved: its payment less that of the one before
    """

    run: str
    digest: str
    paid_through: date
    status: str
    payment_cents: dict[str, int]
    moved_cents: dict[str, int]

    def document(self) -> dict[str, str]:
        """As a manifest names it."""
        return {
            "run": self.run,
            "digest": self.digest,
            "paid_through": str(self.paid_through),
            "status": self.status,
        }


def nets_of(plan: Plan) -> tuple[Netted, ...]:
    """The earlier settlements that a run names; raises as `netted`."""
    return netted(Settlement.of_plan(plan), plan.request.earlier)


def netted(last: Settlement, earlier: Sequence[Path]) -> tuple[Netted, ...]:
    """Earlier settlements, oldest first, that the last one nets.

    Raises
    ------
    RunError
        If a folder is no run, the settlements are of other years, contracts, programmes or
        alliances, one saw claims paid later than the last one, or one is given twice.
    """
    folders = map(at_hand, earlier)
    found = [(folder, Settlement.of_run(folder)) for folder in folders]
    for _, one in found:
        _refuse_other(last, one)
    digests = [one.digest for one in (last, *(one for _, one in found))]
    if len(set(digests)) < len(digests):
        raise RunError(
            f"{last.name}: found a run twice, expected each settlement once: it would be netted "
            "against itself"
        )
    nets: list[Netted] = []
    before: dict[str, int] = {}
    for folder, one in sorted(found, key=lambda pair: pair[1].paid_through):
        paid = payments_of(folder)
        status = read_manifest(folder, SETTLED).get("completion", {}).get("status", "not stated")
        moved = final_less_interim(paid, before)
        nets.append(Netted(one.name, one.digest, one.paid_through, status, paid, moved))
        before = paid
    return tuple(nets)


def payments_of(run: Path) -> dict[str, int]:
    """Payments of a finished run, in cents, by partnership id."""
    rows = result(run, SETTLEMENT, ("partnership_id", "payment_cents")).to_pylist()
    return {row["partnership_id"]: row["payment_cents"] for row in rows}


def netted_rows(
    nets: Sequence[Netted], plan: Plan, settled: Sequence[Settled], status: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Rows of `tables.NETTED`: each earlier settlement of a partnership, then this one.

    `status` is of the partnerships of this run; one that only an earlier run settled has that of
    no settlement.
    """
    if not nets:
        return
    paid = {one.partnership_id: one.payment_cents for one in settled}
    moved = final_less_interim(paid, nets[-1].payment_cents)
    for name in sorted({*paid, *(p for one in nets for p in one.payment_cents)}):
        for position, one in enumerate(nets):
            yield {
                "partnership_id": name,
                "position": position,
                "run_digest": one.digest,
                "paid_through": str(one.paid_through),
                "status": one.status,
                "payment_cents": one.payment_cents.get(name, 0),
                "moved_cents": one.moved_cents.get(name, 0),
            }
        yield {
            "partnership_id": name,
            "position": len(nets),
            "run_digest": "",
            "paid_through": str(plan.paid_through),
            "status": status.get(name, "not settled"),
            "payment_cents": paid.get(name, 0),
            "moved_cents": moved.get(name, 0),
        }


def _refuse_other(last: Settlement, one: Settlement) -> None:
    for key, year in last.years.items():
        if year != one.years[key]:
            raise RunError(
                f"{last.name} and {one.name}: {key} {year} and {one.years[key]} differ, expected "
                "runs of the same years"
            )
    for what in ("contracts", "programmes"):
        here, there = getattr(last, what), getattr(one, what)
        for name in sorted(here.keys() & there.keys()):
            if here[name] != there[name]:
                raise RunError(
                    f"{last.name} and {one.name}: {name} has {what[:-1]} {here[name]} and "
                    f"{there[name]}, expected the same: one does not net the other; name runs of "
                    "this one"
                )
    for name in sorted(last.alliances.keys() | one.alliances.keys()):
        here, there = (found.alliances.get(name, "no alliance") for found in (last, one))
        if here != there:
            raise RunError(
                f"{last.name} and {one.name}: {name} is of {here} and of {there}, expected the "
                "same: one does not net the other; name runs of this one"
            )
    if one.paid_through > last.paid_through:
        raise RunError(
            f"{one.name}: claims paid through {one.paid_through}, after the {last.paid_through} of "
            f"{last.name}; expected the interim run to be the earlier one"
        )


def _kept(file: Path, read: Callable[[Any], dict[str, str]]) -> dict[str, str]:
    """What a run kept of its terms; nothing of one that kept none."""
    if not file.is_file():
        return {}
    try:
        return read(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file}: cannot be read back ({type(error).__name__}); run it again") from (
            None
        )


def _programmes(held: Any) -> dict[str, str]:
    """Programmes by partnership."""
    return {p: held["contracts"][sha]["programme"] for p, sha in held["partnerships"].items()}


def _alliances(held: Any) -> dict[str, str]:
    """The alliance of each member; of a run before there were any, none."""
    alliances = held.get("alliances", {})
    return {member: name for name, one in alliances.items() for member in one["members"]}
