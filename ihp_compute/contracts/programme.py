"""What a run reports beside settlements, as terms: indices, outcomes, comparisons of a programme.

    file (+ the programme it extends) -> terms, each with unit, dates, source, basis
                                      -> the values of one performance year

A programme is one for the whole run, where a contract is one partnership's: it measures everybody
alike. `none` measures nothing beside what is settled. Not here: what a term does (`measure`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from ihp_compute.codes import SERVICE_CATEGORIES, VISIT_CODES
from ihp_compute.contracts.files import check_name, documents_in, read_toml, terms_in
from ihp_compute.contracts.kinds import NONE, Kind, choice
from ihp_compute.contracts.terms import Document, Term, digest_of
from ihp_compute.errors import ContractError

FOLDER: Final = Path(__file__).resolve().parent / "programme"
STANDARD: Final = "standard"
"""The programme of a run that names none; user's own extend it."""
COMPARATORS: Final = ("comparison", "others", "regions")
"""Against whom trends are held."""


def _age(meaning: str) -> Kind:
    return Kind(meaning, "years", low=Decimal(0), high=Decimal(120), places=0)


PROGRAMME_KINDS: Final[Mapping[str, Kind]] = {
    "cost_index.amount": choice(
        "amount of a line in the indices; prices differ where plans pay differently",
        "allowed",
        "paid",
    ),
    "cost_index.services": Kind(
        "service categories that the indices hold", "names", "names", choices=SERVICE_CATEGORIES
    ),
    "cost_index.cap": Kind(
        "cost of a member and year above which cost and resources shrink alike",
        "USD per member per year",
        low=Decimal(0),
        optional=True,
        places=2,
    ),
    "cost_index.least_months": Kind(
        "countable months that a member needs in the year",
        "member months",
        low=Decimal(1),
        high=Decimal(12),
        places=0,
    ),
    "cost_index.least_members": Kind(
        "fewer members are flagged, never dropped", "members", low=Decimal(0), places=0
    ),
    "cost_index.least_lines": Kind(
        "lines above zero of a year from which a service has a rate of its own on the scale of "
        "resources; rarer ones are one service of their category",
        "lines",
        low=Decimal(1),
        places=0,
    ),
    "cost_index.peer": Kind(
        "whom the indices compare with: state, COMPARISON, or a region of the population's table, "
        "as region:NAME",
        "name",
        "text",
    ),
    "utilisation.follow_up_days": Kind(
        "last day after a discharge on which a visit is its follow-up",
        "days",
        low=Decimal(1),
        high=Decimal(30),
        places=0,
    ),
    "utilisation.child_from_age": _age("least age on 31 December with a preventive visit due"),
    "utilisation.child_to_age": _age("greatest age on 31 December with a preventive visit due"),
    "utilisation.child_least_months": Kind(
        "countable months from which a preventive visit is due",
        "member months",
        low=Decimal(1),
        high=Decimal(12),
        places=0,
    ),
    "utilisation.preventive_codes": Kind(
        "procedures that are a preventive visit", "codes", "codes", choices=VISIT_CODES
    ),
    "outcomes.comparator": Kind(
        "whom changes are held against: comparison, others, or region:NAME", "name", "text"
    ),
    "outcomes.score_edges": Kind(
        "multiples of the state's mean score that part people who are expected to need as much",
        "names",
        "names",
        choices=("0.25", "0.5", "0.75", "1", "1.5", "2", "3", "4", "6", "8"),
    ),
    "outcomes.least_months": Kind(
        "months of the base year's state, for a stratum of rate cell and score to stand alone",
        "member months",
        low=Decimal(1),
        places=0,
    ),
    "outcomes.least_index_stays": Kind(
        "the same of index stays", "index stays", low=Decimal(1), places=0
    ),
    "outcomes.least_children": Kind(
        "the same of children due a visit", "members", low=Decimal(1), places=0
    ),
    "comparison.comparators": Kind(
        "whose growth a partnership's is held against: the comparison population, everybody else "
        "eligible, people of each region of the table `region`",
        "names",
        "names",
        choices=COMPARATORS,
    ),
    "comparison.least_months": Kind(
        "a rate cell in which a group has fewer months in either year stands together with its "
        "other such cells",
        "member months",
        low=Decimal(0),
        places=0,
    ),
    "comparison.years": choice(
        "base and performance year of the run, or each pair of full years that the population "
        "holds; each further year is measured in a pass of its own",
        "run",
        "all",
    ),
}
"""What each term of a programme may be, by path."""


@dataclass(frozen=True)
class Programme:
    """A programme as it stands in one performance year.

    Attributes
    ----------
    name, title : str
    sha256 : str
        Digest of its terms over all years.
    terms : mapping of path to Term
    documents : mapping of key to Document
    year : int
    """

    name: str
    title: str
    sha256: str
    terms: Mapping[str, Term]
    documents: Mapping[str, Document]
    year: int

    def __getitem__(self, path: str) -> Any:
        """Value of a term; None stands for `none`."""
        begun = [entry for entry in self.terms[path].entries if entry.begun(self.year)]
        if not begun:
            raise ContractError(
                f"{self.name}: {path}: found no value for {self.year}, expected one that holds "
                "from it or an earlier year"
            )
        return begun[-1].value


@cache
def programmes() -> tuple[str, ...]:
    """Names of the programmes shipped, `none` first."""
    return (NONE, *sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_programme(name_or_path: str, year: int) -> Programme | None:
    """A programme shipped, by name, or a user's own, by file; None of `none`.

    Raises
    ------
    ContractError
        If there is no such programme or the file is wrong: with file, path, what was found and
        what was expected.
    """
    if name_or_path == NONE:
        return None
    name, title, documents, terms = _load(Path(name_or_path))
    found = Programme(name, title, digest_of(name, terms), terms, documents, year)
    for path in terms:
        found[path]
    return found


_Read = tuple[str, str, Mapping[str, Document], Mapping[str, Term]]


@lru_cache(maxsize=8)
def _shipped(name: str) -> _Read:
    return _read(FOLDER / f"{name}.toml")


def _load(path: Path) -> _Read:
    if path.suffix == ".toml":
        if not path.is_file():
            raise ContractError(f"{path.name}: no such file, expected a programme (.toml)")
        found = _read(path)
        if (FOLDER / f"{found[0]}.toml").is_file() and _shipped(found[0])[3] != found[3]:
            raise ContractError(
                f"{path.name}: name: found {found[0]}, a programme shipped, with other content; "
                "expected a name of its own"
            )
        return found
    if str(path) not in programmes():
        raise ContractError(
            f"no programme {path}; expected {', '.join(programmes())}, or a file that ends in .toml"
        )
    return _shipped(str(path))


def _read(path: Path) -> _Read:
    """One file; what it does not give is that of the programme it extends."""
    tree = read_toml(path)
    documents: dict[str, Document] = {}
    terms: dict[str, Term] = {}
    if path.parent != FOLDER:
        extended = tree.get("extends")
        if extended != STANDARD:
            raise ContractError(
                f"{path.name}: extends: found {extended}, expected {STANDARD}: a programme of your "
                "own gives the terms in which it differs"
            )
        _, _, before, stated = _shipped(STANDARD)
        documents, terms = dict(before), dict(stated)
    documents |= documents_in(path.name, tree)
    own = terms_in(path.name, tree, documents, PROGRAMME_KINDS, PROGRAMME_KINDS.get)
    for term in own.values():
        for entry in term.entries:
            if entry.contract_year is not None or entry.cells:
                raise ContractError(
                    f"{path.name}: {term.path}: found a value by contract year or rate cell, "
                    "expected values by date: a programme is the same for all contracts"
                )
    terms |= own
    missing = [path_ for path_ in PROGRAMME_KINDS if path_ not in terms]
    if missing:
        raise ContractError(f"{path.name}: {missing[0]}: found nothing, expected the term")
    for key in ("name", "title"):
        if not isinstance(tree.get(key), str):
            raise ContractError(f"{path.name}: {key}: found {tree.get(key)}, expected text")
    check_name(path.name, "name", tree["name"])
    if tree["name"] == NONE:
        raise ContractError(f"{path.name}: name: found {NONE}, expected a name of its own")
    return tree["name"], tree["title"], documents, terms
