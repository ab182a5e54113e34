"""The workbook as a file: cover, sheets of data, the walk; the same run gives the same bytes.

Text is always written as text, so that no name of a partnership is taken for a formula. Dates in
the file's properties are fixed. Every sheet says on paper what the report says of every page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any, Final

from ihp_compute.errors import DataError, InfrastructureError
from ihp_compute.measure import STATEMENT_FIELDS
from ihp_compute.publishing import whole
from ihp_compute.report import draft, facts, marks
from ihp_compute.results import OpenForm
from ihp_compute.workbook.run import RunRead
from ihp_compute.workbook.sheets import AFTER_WALK, BEFORE_WALK, Column, Sheet
from ihp_compute.workbook.walk_sheet import HEADER, MEANING, walk_lines

WORKBOOK: Final = "workbook.xlsx"
_DATED: Final = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MOST_ROWS: Final = 1_048_576
_LONGEST: Final = 32_767
_CUT: Final = " … (cut: a cell holds no more)"
_FORMATS: Final = {
    "USD": "#,##0.00", "USD per member month": "#,##0.00", "ratio": "0.0000", "score": "0.0000",
    "year": "0", "position": "0", "per 1,000 member years": "#,##0.0", "of the measure": "General",
    "identifier": "0",
}  # fmt: skip
_COUNT: Final = "#,##0"
_WIDTHS: Final = {"detail": 60, "citation": 60, "meaning": 50, "value": 50, "entry": 40}


def require_workbook() -> None:
    """Refuse what needs a workbook where nothing writes one.

    Raises
    ------
    InfrastructureError
        If the extra `workbook` is not installed.
    """
    if find_spec("xlsxwriter") is None:
        raise InfrastructureError(
            "no workbook: XlsxWriter is not installed, expected the extra workbook; "
            'pip install "ihp-compute[workbook]"'
        )


def write_workbook(
    run_dir: Path,
    out: Path | None = None,
    stated: Mapping[str, str] | None = None,
    *,
    form: OpenForm | None = None,
) -> Path:
    """Write a run's workbook, by default as `workbook.xlsx` into its folder.

    Parameters
    ----------
    run_dir : Path
        A finished run.
    out : Path, optional
        File to write instead.
    stated : mapping, optional
        Fields of a statement to show instead of the run's.
    form : OpenForm, optional
        The run's open form: the workbook is of this, not of the whole tables.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InfrastructureError
        If the extra `workbook` is not installed.
    RunError
        If the folder is not a finished run of this method version, or a file of it is damaged.
    DataError
        If a table has more rows than a sheet holds.
    """
    require_workbook()
    run = RunRead(run_dir, form, stated)
    path = out or run_dir / WORKBOOK
    with whole(path) as unfinished:
        _write(run, unfinished)
    return path


def _write(run: RunRead, path: Path) -> None:
    from xlsxwriter import Workbook  # noqa: PLC0415 - an extra

    weak = draft(run.manifest)["weak"]
    said = marks(run.manifest, weak, certified=run.certification is not None)
    book = _Book(Workbook(str(path)), said, str(run.manifest["digest"]))
    book.cover(run)
    for sheet in BEFORE_WALK:
        book.data(sheet, run)
    book.walk(run)
    for sheet in AFTER_WALK:
        if sheet.is_of(run):
            book.data(sheet, run)
    book.file.close()


class _Book:
    def __init__(self, file: Any, said: Sequence[str], digest: str) -> None:
        self.file = file
        self.said = said
        self.digest = digest
        self.head = file.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        self.title = file.add_format({"bold": True, "font_size": 16})
        self.mark = file.add_format({"bold": True, "font_color": "#9C0006"})
        self.wrapped = file.add_format({"text_wrap": True, "valign": "top"})
        self.bold = file.add_format({"bold": True, "valign": "top"})
        self.result = file.add_format({"bold": True, "top": 1, "num_format": _FORMATS["USD"]})
        self.known: dict[str, Any] = {}
        file.set_properties({"title": "Settlement of a run", "comments": digest, "created": _DATED})

    def format(self, number: str) -> Any:
        """A format of numbers, made once."""
        if number not in self.known:
            self.known[number] = self.file.add_format({"num_format": number})
        return self.known[number]

    def sheet(self, name: str) -> Any:
        """A new sheet, ready for paper."""
        sheet = self.file.add_worksheet(name)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_header(f"&L{' · '.join(self.said)}&R&A")
        sheet.set_footer(f"&L{self.digest[:16]}&R&P / &N")
        return sheet

    def cover(self, run: RunRead) -> None:
        """What this is, for whom, how good its terms are, and what each sheet has."""
        sheet, at = self.sheet("Cover"), 0
        sheet.set_column(0, 0, 28)
        sheet.set_column(1, 1, 110)

        def say(name: str, text: str, form: Any = None) -> None:
            nonlocal at
            sheet.write_string(at, 0, name, self.bold)
            write_text(sheet, at, 1, text, form or self.wrapped)
            at += 1

        sheet.write_string(at, 0, f"Settlement of {run.manifest['performance_year']}", self.title)
        at += 1
        if self.said:
            say("This is", " · ".join(self.said), self.mark)
        say(
            "Shows",
            "everything, rows of few people among it: restricted"
            if run.form is None
            else "what everybody may see: cells of 1 to 10 people, and what would tell them, are "
            "empty or left out",
        )
        stated = run.manifest.get("statement") or {}
        for name in STATEMENT_FIELDS:
            say(name.replace("_", " ").capitalize(), stated.get(name, "not stated"))
        for name, text in facts(run.manifest):
            say(name, text)
        terms = draft(run.manifest)
        say("Terms recalled or assumed", f"{terms['weak']} of {terms['total']}")
        if terms["names"]:
            say("", ", ".join(map(str, terms["names"])))
        say("Dollars", "US dollars to the cent; positive: to the partnership, negative: owed by it")
        at += 1
        walk = Sheet("Walk", MEANING, lambda _: ((), []))
        for other in (*BEFORE_WALK, walk, *(one for one in AFTER_WALK if one.is_of(run))):
            sheet.write_url(at, 0, f"internal:'{other.name}'!A1", string=other.name)
            write_text(sheet, at, 1, other.meaning, self.wrapped)
            at += 1

    def header(self, sheet: Any, names: Sequence[str], n_rows: int) -> None:
        """The row of names, which stays in sight and at the head of every page."""
        if n_rows >= _MOST_ROWS:
            raise DataError(
                f"{sheet.get_name()}: found {n_rows:,} rows, expected fewer than {_MOST_ROWS:,}, "
                "which a sheet holds; take the table itself, with ihp tables"
            )
        for column, name in enumerate(names):
            sheet.write_string(0, column, name, self.head)
            sheet.set_column(column, column, _WIDTHS.get(name, max(12, len(name) + 2)))
        sheet.freeze_panes(1, 1)
        sheet.repeat_rows(0)
        sheet.autofilter(0, 0, n_rows, len(names) - 1)

    def data(self, declared: Sheet, run: RunRead) -> None:
        """A sheet of data."""
        columns, rows = declared.read(run)
        sheet = self.sheet(declared.name)
        self.header(sheet, [column.name for column in columns], len(rows))
        for at, row in enumerate(rows, start=1):
            for place, (column, value) in enumerate(zip(columns, row, strict=True)):
                self.cell(sheet, at, place, column, value)

    def cell(self, sheet: Any, at: int, place: int, column: Column, value: Any) -> None:
        """One cell by the kind of its value; what is hidden is empty."""
        if value is None:
            return
        if isinstance(value, bool):
            sheet.write_boolean(at, place, value)
        elif isinstance(value, int | float) and isfinite(value):
            number = _FORMATS.get(column.unit, _COUNT if column.unit else "General")
            sheet.write_number(at, place, value, self.format(number))
        else:
            write_text(sheet, at, place, str(value))

    def walk(self, run: RunRead) -> None:
        """The walk, in formulas where something is computed of lines above."""
        lines = walk_lines(run)
        sheet = self.sheet("Walk")
        self.header(sheet, HEADER, len(lines))
        usd, plain = self.format(_FORMATS["USD"]), self.format("General")
        for at, line in enumerate(lines, start=1):
            step = line.step
            write_text(sheet, at, 0, line.partnership_id)
            write_text(sheet, at, 1, step.step)
            form = self.result if step.step in ("target", "payment") else usd
            formula = line.formulas.get("amount")
            if formula is None:
                sheet.write_number(at, 2, line.amount_usd, form)
            else:
                sheet.write_formula(at, 2, f"={formula.text}", form, formula.value)
            for place, text in enumerate((step.detail, step.citation, step.basis), start=3):
                write_text(sheet, at, place, text or "")
            for place, name in enumerate(("cents", "gain", "loss"), start=6):
                formula = line.formulas.get(name)
                if formula is not None:
                    sheet.write_formula(at, place, f"={formula.text}", plain, formula.value)


def write_text(sheet: Any, at: int, place: int, text: str, form: Any = None) -> None:
    """Text as text, whatever it begins with; what is longer than a cell says so."""
    kept = text if len(text) <= _LONGEST else text[: _LONGEST - len(_CUT)] + _CUT
    sheet.write_string(at, place, kept, form)
