"""What was noticed, judged by the gates; and what a gate refuses unless it is accepted.

Noticed -> judge -> rows of `DATA_QUALITY` -> refuse, unless accepted with a reason
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ihp_compute.data_quality.findings import FINDINGS, GATES, INGEST, A, Gate, Stage, gates_of
from ihp_compute.data_quality.table import DATA_QUALITY, in_order, tripped_by_gate
from ihp_compute.data_quality.words import first
from ihp_compute.errors import AcceptanceError, GateError


@dataclass(frozen=True)
class Noticed:
    """One thing that was noticed; the columns of `DATA_QUALITY` that no gate decides.

    size : rows, or what else the gate's share is taken of
    """

    finding: str
    source_table: str = ""
    file: str = ""
    column_name: str = ""
    subject: str = ""
    lines: int = 0
    paid_cents: int = 0
    share: float = 0.0
    size: int = 0
    members: int = 0
    detail: str = ""


@dataclass(frozen=True)
class GateTerms:
    """Thresholds that differ from the declared ones, and gates accepted with a reason, by name.

    `work` says whose gates they are: of an `INGEST` or of a `RUN`.

    Raises
    ------
    AcceptanceError
        If a gate is unknown or of other work, a reason blank or more than a line of text, or a
        threshold no number from 0.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    accept: Mapping[str, str] = field(default_factory=dict)
    work: str = INGEST

    def __post_init__(self) -> None:
        """Refuse what is no gate, no reason or no threshold."""
        here = gates_of(self.work)
        for name in (*self.thresholds, *self.accept):
            if name not in here:
                raise AcceptanceError(
                    f"{_no_gate(name, self.work)}; the gates of {A[self.work]} are "
                    f"{', '.join(here)}"
                )
        for name, reason in self.accept.items():
            if not reason.strip():
                raise AcceptanceError(f"gate {name}: a reason is needed to accept it, got none")
            if not reason.isprintable():
                raise AcceptanceError(
                    f"gate {name}: a reason is one line of text, and this one holds control "
                    "characters"
                )
        for name, value in self.thresholds.items():
            if not 0 <= value < float("inf"):
                raise AcceptanceError(f"gate {name}: expected a threshold from 0, got {value}")

    def threshold(self, name: str) -> float:
        """The threshold of a gate."""
        return self.thresholds.get(name, GATES[name].threshold)

    def judge(self, noticed: Iterable[Noticed]) -> list[dict[str, Any]]:
        """What was noticed as rows of `DATA_QUALITY`, in its order, judged by the gates."""
        return in_order(self._row(one) for one in noticed)

    def _row(self, one: Noticed) -> dict[str, Any]:
        name = FINDINGS[one.finding].gate
        tripped = bool(name) and self._trips(GATES[name], one)
        row = {column: getattr(one, column, "") for column in DATA_QUALITY.names}
        accepted = self.accept.get(name, "") if tripped else ""
        return {**row, "gate": name, "tripped": tripped, "accepted": accepted}

    def _trips(self, gate: Gate, one: Noticed) -> bool:
        least = gate.whole_from if gate.whole_from and one.share == 1 else gate.least
        return one.size >= least and gate.trips(one.share, self.threshold(gate.name))

    def refuse(
        self, rows: Iterable[Mapping[str, Any]], document: Mapping[str, Any], stage: Stage
    ) -> None:
        """Refuse rows that tripped a gate which was not accepted.

        `rows` are all that was noticed where gates of this stage judge.

        Raises
        ------
        GateError
            Naming every such gate, with its numbers; bears the `document`.
        AcceptanceError
            If a gate of this stage was accepted and did not trip.
        """
        by_gate = tripped_by_gate(rows)
        here = [name for name in self.accept if GATES[name].stage is stage]
        idle = [name for name in here if name not in by_gate]
        if idle:
            tripped = f"tripped: {', '.join(by_gate)}" if by_gate else "none tripped"
            raise AcceptanceError(
                f"accepted, and did not trip: {', '.join(idle)} ({tripped}). "
                "Accept only what trips."
            )
        open_gates = {name: found for name, found in by_gate.items() if name not in self.accept}
        if open_gates:
            words = {name: self._tripped(name, rows) for name, rows in open_gates.items()}
            raise GateError(_refusal(words), document, words)

    def _tripped(self, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
        meaning = FINDINGS[rows[0]["finding"]].meaning
        return f"{meaning} (threshold {self.threshold(name):.4g}): {first(rows)}"


def _refusal(tripped: Mapping[str, str]) -> str:
    accept = " ".join(f"--accept {name}=REASON" for name in tripped)
    word = "gate" if len(tripped) == 1 else "gates"
    return "\n".join(
        (
            f"{len(tripped)} {word} tripped, so nothing was written:",
            *(f"  {name}: {words}" for name, words in tripped.items()),
            f"Mend it, or accept what is right as it is: {accept}",
        )
    )


def _no_gate(name: str, work: str) -> str:
    if name in GATES:
        return f"gate {name!r} judges {A[GATES[name].stage.work]}, not {A[work]}"
    return f"no gate {name!r}"
