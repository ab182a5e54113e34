"""Which terms of a settlement nobody has shown the document of: what its first line says.

A value that is recalled, assumed, carried past the end of its source, or supplied beside the
contract without being part of it makes the settlement a draft. A term at `none` binds nothing and
is not counted, nor is one that only modifies it, or one that says nothing where another binds;
`none` that somebody supplies is counted. A settlement rests on the population-based payment where
it is cost of care or rests on quality; else its terms are counted where they are asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ihp_compute.contracts import population_based
from ihp_compute.contracts.kinds import BASES, CARRIED, DRAFT_BASES, SUPPLIED
from ihp_compute.contracts.vocabulary import idle, speaks


class _Valued(Protocol):
    @property
    def value(self) -> Any: ...
    @property
    def basis(self) -> str: ...


@dataclass(frozen=True)
class Draft:
    """Terms that bind, by path, each with its basis: of one agreement, or of several together."""

    binding: Mapping[str, str]

    @classmethod
    def of(
        cls,
        values: Mapping[str, _Valued],
        prefixes: Sequence[str] = ("",),
        supplied: Iterable[str] = (),
    ) -> Draft:
        """The binding terms of an agreement.

        Parameters
        ----------
        values : mapping of path to value
            In the order in which paths are named.
        prefixes : sequence of str
            Which terms the settlement rests on, by the start of their path; empty: all but those
            of a population-based payment that is no part of it.
        supplied : iterable of str
            Paths that a table gives beside the contract.
        """
        beside = set(supplied)
        is_paid = any(
            path in values and values[path].value
            for path in (population_based.COST, population_based.QUALITY)
        )
        bases = {
            path: SUPPLIED if path in beside else value.basis
            for path, value in values.items()
            if value.value is not None or value.basis == SUPPLIED or path in beside
        }
        return cls(
            {
                path: basis
                for path, basis in bases.items()
                if any(
                    path.startswith(prefix)
                    and (prefix or is_paid or path not in population_based.KINDS)
                    for prefix in prefixes
                )
                and speaks(path, bases.__contains__)
                and not idle(path, lambda other: values[other].value is not None)
            }
        )

    def joined(self, other: Draft) -> Draft:
        """Both together: a term that both have is supplied if it is for one, else the weaker."""
        found = dict(self.binding)
        for path, basis in other.binding.items():
            both = found.get(path, basis), basis
            found[path] = SUPPLIED if SUPPLIED in both else max(both, key=BASES.index)
        return Draft(found)

    @property
    def total(self) -> int:
        """How many terms bind."""
        return len(self.binding)

    @property
    def weak(self) -> dict[str, str]:
        """Terms of which nobody has shown the document, each with its basis."""
        return {path: basis for path, basis in self.binding.items() if basis in DRAFT_BASES}

    def line(self, whose: str = "") -> str:
        """The first line of a settlement; empty if every term has its document.

        Parameters
        ----------
        whose : str
            The contract, where there are several.
        """
        weak = self.weak
        if not weak:
            return ""
        also = [basis for basis in (CARRIED, SUPPLIED) if basis in weak.values()]
        bases = ["recalled", "assumed", *also]
        words = f"{', '.join(bases[:-1])} or {bases[-1]}"
        named = [f"{path} ({basis})" if basis in also else path for path, basis in weak.items()]
        return (
            f"DRAFT TERMS: {len(weak)} of {self.total} {words}"
            f"{f' in {whose}' if whose else ''}: {', '.join(named)}"
        )
