"""What a part of the programme is asked of each shard, and what it is given.

A part is small, picklable and holds nothing but what was decided before claims are read, and what
its survey found. Its sums are of integers, which shards add in any order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

from ihp_compute.data_quality import Noticed
from ihp_compute.measure.attribution import Attribution
from ihp_compute.measure.cost import Cost
from ihp_compute.measure.plan import Plan
from ihp_compute.measure.shard_plan import ShardPlan
from ihp_compute.measure.utilisation import UseOfCare
from ihp_compute.population import Population, ShardColumns
from ihp_compute.risk import Scores


@dataclass(frozen=True)
class MemberYear:
    """One year of a shard's members, measured.

    Attributes
    ----------
    attribution : Attribution
        Whose they are, and which months count.
    scores : Scores
    costs : sequence of Cost
        By rule set of the run.
    use : UseOfCare
    """

    attribution: Attribution
    scores: Scores
    costs: Sequence[Cost]
    use: UseOfCare


class Sums(Protocol):
    """What shards add up to."""

    def __add__(self, other: Self, /) -> Self:
        """Sums of two disjoint sets of members."""


READ_APART: Final = ("line_detail", "diagnoses")
"""Large tables of a shard that parts read and the rest of a run mostly does not: a shard lets go of
them when it is measured, so that no run holds those of all shards at its end."""
Survey = dict[str, Any]
"""What a first pass over shards found, by name of part; each is `Sums`."""
ProgrammeSums = dict[str, Any]
"""Sums of shards by name of part; each is `Sums`."""


class ProgrammePart(Protocol):
    """One part of the programme."""

    name: ClassVar[str]
    """Of its sums."""
    each: ClassVar[bool]
    """Whether every measurement of a run has it, of everybody by its contracts' rules; else the
    first alone."""

    @classmethod
    def of(cls, plan: Plan, population: Population) -> Self | None:
        """The part as the plan has it; None where nothing is to be measured."""

    @classmethod
    def absent(cls, plan: Plan, population: Population) -> Iterator[Noticed]:
        """What the programme asks for and the population lacks."""

    @property
    def surveys(self) -> bool:
        """Whether everybody must be seen once before a shard can be measured."""

    def survey_key(self, plan: Plan) -> Hashable:
        """All that a survey depends on beside the population; None: more than is worth naming."""

    def survey(self, shard: ShardColumns, plan: ShardPlan) -> Any:
        """Sums of a shard that `surveyed` takes: of everybody, before attribution and scores."""

    def surveyed(self, found: Any) -> Self:
        """The part with what the survey of all shards found."""

    def measure(self, shard: ShardColumns, plan: ShardPlan, years: Sequence[MemberYear]) -> Any:
        """What a shard brings; years are base and performance year."""

    def together(self, plan: ShardPlan, shards: Sequence[Any]) -> Any:
        """Sums of neighbouring shards, whose members are drawn together."""


def added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Sums of two disjoint sets of members, by part."""
    return {name: found + other[name] for name, found in one.items()}
