"""What a workbook reads of a run: its tables, whole or open, its terms, who settles by what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from ihp_compute.contracts import Agreement
from ihp_compute.results import (
    TABLES,
    OpenForm,
    RunTerms,
    kept_terms,
    measured_totals,
    read_certification,
    read_manifest,
    result,
)
from ihp_compute.settlement import Case, cases_of

Row = dict[str, Any]


class RunRead:
    """A finished run, each part read when first asked for.

    Parameters
    ----------
    run_dir : Path
    form : OpenForm, optional
        The run's open form: what is hidden is None.
    stated : mapping, optional
        Fields of a statement to show instead of the run's.

    Raises
    ------
    RunError
        If the folder is not a finished run of this method version, or a file of it is damaged.
    """

    def __init__(
        self, run_dir: Path, form: OpenForm | None, stated: Mapping[str, str] | None
    ) -> None:
        self.run_dir = run_dir
        self.form = form
        self.certification = read_certification(run_dir)
        self.manifest = read_manifest(run_dir) if form is None else form.manifest()
        if self.certification is not None:
            self.manifest["statement"] = self.certification["statement"]
        if stated is not None:
            self.manifest["statement"] = dict(stated)

    def table(self, name: str) -> pa.Table:
        """A result table."""
        if self.form is None:
            return result(self.run_dir, TABLES[name])
        return self.form.table(name)

    def rows(self, name: str) -> list[Row]:
        """Rows of a result table."""
        found: list[Row] = self.table(name).to_pylist()
        return found

    @cached_property
    def terms(self) -> RunTerms:
        """What the run was settled by."""
        return kept_terms.read(self.run_dir)

    @cached_property
    def agreements(self) -> Mapping[str, Agreement]:
        """The agreement of each partnership."""
        return self.terms.contracts.at(self.manifest["performance_year"])

    @cached_property
    def cases(self) -> dict[str, Case]:
        """What each partnership's settlement rests on beside target and observed cost."""
        return dict(self._cases())

    def _cases(self) -> Iterator[tuple[str, Case]]:
        year = self.manifest["performance_year"]
        for totals, contracts in measured_totals(self.run_dir, self.manifest, self.terms):
            yield from cases_of(totals, contracts, year, self.terms.quality)
