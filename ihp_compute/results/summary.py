"""A programme in a few figures over one or several finished runs, a performance year each.

    verified runs -> settled again -> sums of a year over the partnerships' joint draws -> all years

A replicate of a sum is the sum of the partnerships' cents in that replicate. Runs of one seed draw
a person with one weight in all of them, so that years add up replicate by replicate; runs of
several seeds or numbers of replicates are not drawn together, and their sum over years has no
interval.

Figures are whole, or as everybody may see them: then a year in which 1 to 10 people were served, or
of which a run's open form hides them, loses every count of people and every dollar, and with it the
sums over years. Not here: the page (`report`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ihp_compute.codes import COMPARISON, UNATTRIBUTED
from ihp_compute.errors import RunError, SummaryError
from ihp_compute.measure.programme import ALL, ATTRIBUTED
from ihp_compute.results.manifest import read_manifest
from ihp_compute.results.programme_tables import OUTCOME_CHANGES, OUTCOMES
from ihp_compute.results.read import result
from ihp_compute.results.resettle import resettle
from ihp_compute.results.small_cells import is_small
from ihp_compute.results.suppression import OpenForm
from ihp_compute.results.tables import UTILISATION
from ihp_compute.results.verify import verify_run
from ihp_compute.settlement import SETTLED, Settled
from ihp_compute.uncertainty import intervals

METHOD: Final = "percentile"
CONDITIONING: Final = "target_resampled"
LEVEL: Final = 0.95
"""Which interval `low` and `high` of a figure are the ends of."""
MONEY: Final = ("savings_cents", "shared_cents", "owed_cents", "kept_cents")
PEOPLE: Final = "people_served"
_COUNTED: Final = ""
"""The measure of a cell that counts people."""
_RESERVED: Final = (COMPARISON, UNATTRIBUTED)
PRACTITIONERS: Final = "practitioners"
LOCATIONS: Final = "provider_locations"
_OPEN: Final = (
    "Open form: what 1 to 10 people stand behind is held back, and what would tell it; what one "
    "run has shown, another cannot take back."
)
_WHOLE: Final = (
    "Whole: counts of 1 to 10 people are shown, for those who may see them; `ihp summary "
    "--suppress` makes the one for everybody."
)
_MEASURES: Final = {
    "ed_visits_per_1000": ("ed_visits", "member_months", 12_000.0),
    "stays_per_1000": ("stays", "member_months", 12_000.0),
    "readmission_rate": ("readmissions", "index_stays", 1.0),
}
"""Events, what they are over, and by what their quotient is multiplied."""

_Draws = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Figure:
    """One figure of a year, or over all years where `year` is None.

    `value` is None where it is held back from everybody; `low` and `high` are None without an
    interval: counts have none, nor has a run without replicates.
    """

    figure: str
    year: int | None
    value: int | None
    unit: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class UseChange:
    """A rate of all partnerships' members in both years of a run, and its change.

    `base_rate`, `rate` and `change` are crude; a rate is None of nobody, `change` where the base
    year has no event. `relative_change` is the change at the state's mix of risk against that of
    `comparator`, with the ends of its 95 % interval; None where the run does not measure it. Held
    back from everybody, and then None: what rests on 1 to 10 events, index stays or members of a
    year, and a change against as few.
    """

    measure: str
    year: int
    base_year: int
    base_rate: float | None
    rate: float | None
    change: float | None
    comparator: str | None = None
    comparator_change: float | None = None
    relative_change: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class YearSummary:
    """One run: its manifest, figures of its performance year, and use of care.

    `draws` are int64[1 + B] by figure in cents, the observed value first.
    """

    folder: Path
    manifest: dict[str, Any]
    figures: tuple[Figure, ...]
    use: tuple[UseChange, ...]
    draws: _Draws
    held_back: bool
    partnerships: frozenset[str]

    @property
    def year(self) -> int:
        """Its performance year."""
        return int(self.manifest["performance_year"])

    @property
    def drawn_by(self) -> tuple[int, int]:
        """Seed and number of replicates."""
        return int(self.manifest["seed"]), int(self.manifest["replicates"])


@dataclass(frozen=True)
class Summary:
    """Years in order, figures over all of them, and what must be said of them together."""

    years: tuple[YearSummary, ...]
    over_all: tuple[Figure, ...]
    notes: tuple[str, ...]
    suppressed: bool = False

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Figures of each year, then those over all years."""
        return (*(figure for one in self.years for figure in one.figures), *self.over_all)

    def document(self) -> dict[str, Any]:
        """The JSON document of `ihp summary`."""
        return {
            "figures": [asdict(figure) for figure in self.figures],
            "interval": {"method": METHOD, "conditioning": CONDITIONING, "level": LEVEL},
            "utilisation": [asdict(change) for one in self.years for change in one.use],
            "runs": [
                {
                    "run": str(one.folder),
                    "digest": one.manifest["digest"],
                    "performance_year": one.year,
                    "base_year": one.manifest["base_year"],
                    "paid_through": one.manifest["paid_through"],
                    "status": one.manifest["completion"]["status"],
                    "population_digest": one.manifest["population"]["digest"],
                    "seed": one.drawn_by[0],
                    "replicates": one.drawn_by[1],
                }
                for one in self.years
            ],
            "notes": list(self.notes),
            "suppressed": self.suppressed,
        }


def summarise(run_dirs: Sequence[Path], forms: Mapping[Path, OpenForm] | None = None) -> Summary:
    """Figures of the runs' performance years and over all of them.

    Parameters
    ----------
    run_dirs : sequence of Path
        Finished runs, each of another performance year, in any order.
    forms : mapping of Path to OpenForm, optional
        What everybody may see of each run: what that hides is held back, as are small counts.
        Without it all is shown.

    Raises
    ------
    RunError
        If a folder is not a finished run of this method version, or was changed after the run.
    SummaryError
        If no run is given, or two are of one performance year.
    """
    if not run_dirs:
        raise SummaryError("no run is given; give one or several, each of another year")
    of_year: dict[int, Path] = {}
    for run_dir in run_dirs:
        year = int(read_manifest(run_dir, go_on=True)["performance_year"])
        if year in of_year:
            raise SummaryError(
                f"{run_dir}: performance year {year}, which {of_year[year]} has already; expected "
                "runs of different years: what both settle would be counted twice. Give one of them"
            )
        of_year[year] = run_dir
    forms = forms or {}
    years = [_year_of(of_year[year], forms.get(of_year[year])) for year in sorted(of_year)]
    notes = [_OPEN if forms else _WHOLE]
    return Summary(
        tuple(years), tuple(_over_all(years)), (*notes, *_notes(years)), suppressed=bool(forms)
    )


def _year_of(run_dir: Path, form: OpenForm | None) -> YearSummary:
    verify_run(run_dir)
    manifest = read_manifest(run_dir, go_on=True)
    for name in (PRACTITIONERS, LOCATIONS):
        if name not in manifest:
            raise RunError(
                f"{run_dir}: its manifest does not say how many {name.replace('_', ' ')} its "
                "roster has; an earlier version made it, run it again"
            )
    settled = resettle(run_dir)
    n_people = sum(one.n_members for one in settled)
    practitioners = int(manifest[PRACTITIONERS])
    year = int(manifest["performance_year"])
    draws = _joint(settled, int(manifest["replicates"]))
    held_back = form is not None and (
        is_small(n_people) or form.hides_of(_COUNTED, year) or form.hides_of(SETTLED, year)
    )
    few = form is not None and is_small(practitioners)
    figures = (
        Figure(PEOPLE, year, None if held_back else n_people, "people"),
        Figure("partnerships", year, len(settled), "partnerships"),
        Figure(PRACTITIONERS, year, None if few else practitioners, "practitioners"),
        *_locations(manifest, year),
        *(_money(name, year, draws[name], held_back=held_back) for name in MONEY),
    )
    partnerships = frozenset(one.partnership_id for one in settled)
    use = tuple(_use(run_dir, manifest, partnerships, form))
    return YearSummary(run_dir, manifest, figures, use, draws, held_back, partnerships)


def _locations(manifest: dict[str, Any], year: int) -> list[Figure]:
    """Places of the roster; no figure where it states none."""
    known = manifest[LOCATIONS]
    return [] if known is None else [Figure(LOCATIONS, year, int(known), "locations")]


def _joint(settled: Sequence[Settled], replicates: int) -> _Draws:
    """Cents by figure over all partnerships, drawn together."""
    nobody = np.zeros(1 + replicates, np.int64)
    own = [one.draws[CONDITIONING] for one in settled]
    savings = sum((one.savings_cents for one in own), nobody)
    shared = sum((np.maximum(one.payment_cents, 0) for one in own), nobody)
    owed = sum((np.maximum(-one.payment_cents, 0) for one in own), nobody)
    return dict(zip(MONEY, (savings, shared, owed, savings - shared + owed), strict=True))


def _money(
    name: str, year: int | None, draws: NDArray[np.int64], *, held_back: bool, drawn: bool = True
) -> Figure:
    if held_back:
        return Figure(name, year, None, "cents")
    ends = [
        (int(one.low), int(one.high))  # a quantile is one of the draws
        for one in (intervals(draws) if drawn else ())
        if (one.method, one.level) == (METHOD, LEVEL)
    ]
    low, high = ends[0] if ends else (None, None)
    return Figure(name, year, int(draws[0]), "cents", low, high)


def _over_all(years: Sequence[YearSummary]) -> list[Figure]:
    """Cents added up over years: by replicate where all are drawn alike."""
    together = len({one.drawn_by for one in years}) == 1
    held_back = any(one.held_back for one in years)
    found = []
    for name in MONEY:
        draws = [one.draws[name] if together else one.draws[name][:1] for one in years]
        summed = np.sum(draws, axis=0)
        found.append(_money(name, None, summed, held_back=held_back, drawn=together))
    return found


def _use(
    run_dir: Path,
    manifest: dict[str, Any],
    partnerships: frozenset[str],
    form: OpenForm | None,
) -> list[UseChange]:
    """Rates of all settled partnerships together, base and performance year."""
    years = int(manifest["base_year"]), int(manifest["performance_year"])
    counts = ("n_members", "member_months", "stays", "ed_visits", "index_stays", "readmissions")
    sums = {year: dict.fromkeys(counts, 0) for year in years}
    for row in result(run_dir, UTILISATION, ("group_id", "year", *counts)).to_pylist():
        if row["group_id"] in partnerships:
            for name in counts:
                sums[row["year"]][name] += row[name]
    against = _against(run_dir, form)
    groups = {name for name in manifest["groups"] if name not in _RESERVED}
    whose = None if partnerships == groups else sorted(partnerships)
    found = []
    for measure, (events, over, times) in _MEASURES.items():
        told = (events, "n_members", *((over,) if over == "index_stays" else ()))
        small = form is not None and (
            any(is_small(sums[year][name]) for year in years for name in told)
            or any(form.hides_of(n, year, whose) for n in (_COUNTED, events) for year in years)
        )
        rates: list[float | None] = [
            None if small or not sums[year][over] else times * sums[year][events] / sums[year][over]
            for year in years
        ]
        before, after = rates
        change = after / before - 1 if before and after is not None else None
        held = {} if small else against.get(events, {})
        found.append(UseChange(measure, years[1], years[0], before, after, change, **held))
    return found


def _against(run_dir: Path, form: OpenForm | None) -> dict[str, dict[str, Any]]:
    """Changes of all partnerships' members against the comparator, by measure."""
    shown = ("comparator", "comparator_change", "relative_change", "low", "high")
    keys = {"dimension": ALL, "scope": ATTRIBUTED, "basis": "standardised", "flag": ""}
    names = ("measure", *keys, *shown)
    if form is None:
        rows = result(run_dir, OUTCOME_CHANGES, names).to_pylist()
    else:  # what is hidden has no flag
        rows = form.table(OUTCOME_CHANGES.name).select(names).to_pylist()
    few = set() if form is None else _few_behind(run_dir)
    return {
        row["measure"]: {name: row[name] for name in shown}
        for row in rows
        if row.items() >= keys.items() and row["measure"] not in few
    }


def _few_behind(run_dir: Path) -> set[str]:
    """Measures of which 1 to 10 people, or index stays, stand behind a rate of the comparison."""
    keys = {"dimension": ALL, "scope_id": COMPARISON}
    counts = ("n_members", "n_with", "denominator")
    rows = result(run_dir, OUTCOMES, ("measure", *keys, *counts)).to_pylist()
    return {
        row["measure"]
        for row in rows
        if row.items() >= keys.items() and any(is_small(row[name]) for name in counts)
    }


def _notes(years: Sequence[YearSummary]) -> list[str]:
    """What must be said before these years are read together."""
    found = []
    populations = {one.manifest["population"]["digest"] for one in years}
    if len(populations) > 1:
        found.append(
            f"The runs are of {len(populations)} populations (their digests stand with each run). "
            "That they are of one state is for whoever gives them to know: nothing here can tell."
        )
    found += [
        f"{one.year} and {other.year} have no partnership in common."
        for one, other in combinations(years, 2)
        if not one.partnerships & other.partnerships
    ]
    if len({one.drawn_by for one in years}) > 1:
        found.append(
            "The runs differ in seed or number of replicates, so that people are not drawn "
            "together over the years: sums over years have no interval."
        )
    found += [
        f"{one.year} has no intervals: its run has no replicates."
        for one in years
        if not one.drawn_by[1]
    ]
    for one in years:
        if one.manifest[LOCATIONS] is None:
            found.append(f"{one.year}: the roster states no location_id: places are not known.")
        elif n := int(one.manifest["entries_without_location"]):
            found.append(
                f"{one.year}: {n:,} {'entry' if n == 1 else 'entries'} of the roster in force on "
                "31 December state no location_id: their places are not counted."
            )
    found += [
        f"{one.year}: {line}" for one in years for line in one.manifest["completion"]["lines"]
    ]
    if any(one.held_back for one in years):
        held = ", ".join(str(one.year) for one in years if one.held_back)
        found.append(
            f"Of {held} neither people nor dollars are shown, nor sums over the years: too few "
            "people stand behind them, or would follow from them."
        )
    return found
