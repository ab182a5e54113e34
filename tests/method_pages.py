"""Writes what the pages of `docs/method/` repeat of declarations: `make pages`.

    terms · raw columns · columns of tables · findings and gates · code ranges
        -> text between two marks of a page

Without `--write` it only looks, and fails where a page says another thing: so does the suite.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from cluster.placement import BYTES_PER_LINE, REPORTED, SETTLED, Workload
from ihp_compute import contracts
from ihp_compute.codes import RATE_CELLS, SERVICE_CATEGORIES
from ihp_compute.contracts.programme import PROGRAMME_KINDS
from ihp_compute.data_quality import FINDINGS, GATES
from ihp_compute.ingest import rate_cells, service_categories
from ihp_compute.input_columns import INPUT_TABLES, InputColumn, InputTable
from ihp_compute.report.methods import METHODS
from ihp_compute.results import TABLES
from ihp_compute.workbook.sheets import AFTER_WALK, BEFORE_WALK
from ihp_compute.workbook.walk_sheet import MEANING

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "method"
UNBOUND: Final = ROOT / "ihp_compute" / "contracts" / "shipped" / "unbound.toml"
BEGIN: Final = "<!-- written by `make pages` -->\n"
END: Final = "<!-- to here -->"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        cells = (cell.replace("|", "/") for cell in row)
        yield f"| {' | '.join(cells)} |"


def unbound() -> dict[str, dict[str, Any]]:
    """Terms of `unbound` by path, each with value, basis and source."""
    found: dict[str, dict[str, Any]] = {}

    def walk(tree: dict[str, Any], at: str) -> None:
        for name, inner in tree.items():
            if isinstance(inner, dict):
                if "value" in inner:
                    found[f"{at}{name}"] = inner
                else:
                    walk(inner, f"{at}{name}.")

    walk(tomllib.loads(UNBOUND.read_text(encoding="utf-8")), "")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def terms() -> Iterator[str]:
    """Every term: its value in `unbound`, with unit and basis."""
    known = unbound()
    stated = {"value": "stated by each contract", "basis": "", "source": {"at": ""}}

    def rows() -> Iterator[Sequence[str]]:
        for path, kind in contracts.KINDS.items():
            one = known.get(path, stated)
            basis = f"{one['basis']}: {one['source']['at']}" if path in known else ""
            yield f"`{path}`", kind.meaning, _shown(one["value"]), kind.unit, basis
        for prefix, kind in contracts.NAMED.items():
            yield f"`{prefix}NAME`", kind.meaning, "as many as a contract names", kind.unit, ""

    yield from _table(("term", "what it says", "in `unbound`", "unit", "basis"), rows())


def programme() -> Iterator[str]:
    """Every term of a programme: its value in `standard`, with unit and basis."""
    year = 2100
    standard = contracts.load_programme(contracts.STANDARD, year)
    assert standard is not None

    def rows() -> Iterator[Sequence[str]]:
        for path, kind in PROGRAMME_KINDS.items():
            entry = standard.terms[path].entries[-1]
            basis = f"{entry.basis}: {entry.source.at}"
            yield f"`{path}`", kind.meaning, contracts.text_of(entry.value), kind.unit, basis

    yield from _table(("term", "what it says", "in `standard`", "unit", "basis"), rows())


def tables() -> Iterator[str]:
    """Every result table with its columns."""
    for table in TABLES.values():
        digest = "under the digest" if table.in_digest else "not under the digest"
        restricted = ", restricted" if table.restricted else ""
        yield f"### {table.name}"
        yield ""
        keys = ", ".join(table.keys)
        yield f"{table.meaning[0].upper()}{table.meaning[1:]}."
        yield f"Keys: {keys}; {digest}{restricted}."
        yield ""
        yield from _table(
            ("column", "meaning", "unit"),
            ((f"`{c.name}`", c.meaning, c.unit) for c in table.columns),
        )
        yield ""


def noticed() -> Iterator[str]:
    """Gates and findings."""
    yield from _table(
        ("gate", "judges", "threshold"),
        ((f"`{g.name}`", g.judges, f"{g.threshold:.4g}") for g in GATES.values()),
    )
    yield ""
    yield from _table(
        ("finding", "meaning", "gate"),
        ((f"`{f.name}`", f.meaning, f.gate) for f in FINDINGS.values()),
    )


def codes() -> Iterator[str]:
    """Code lists that decide a rate cell or a category."""
    yield "### Rate cells, in order"
    yield ""
    yield ", ".join(f"`{cell}`" for cell in RATE_CELLS)
    yield ""
    yield "### Eligibility groups"
    yield ""
    groups = sorted(set(rate_cells.AID_OF_CODE.values()))
    yield from _table(
        ("aid group", "`x_elgblty_grp_cd`"),
        (
            (group, ", ".join(sorted(c for c, of in rate_cells.AID_OF_CODE.items() if of == group)))
            for group in groups
        ),
    )
    yield ""
    yield "### Service categories"
    yield ""
    yield from _table(
        ("category", "procedures", "revenue centres", "bill types", "places"),
        ((name, *_ranges_of(name)) for name in SERVICE_CATEGORIES),
    )


def _ranges_of(name: str) -> Iterator[str]:
    """Procedure, revenue, bill type and place codes of a category, in words."""

    def joined(first: str, last: str) -> str:
        return first if first == last else f"{first} to {last}"

    yield ", ".join(
        joined(*(f"{sign}{n:0{4 if sign else 5}}" for n in (low, high)))
        for sign, low, high, category in service_categories._PROCEDURES
        if category == name
    )
    yield ", ".join(
        joined(f"{low:04}", f"{high:04}")
        for low, high, category in service_categories._REVENUE
        if category == name
    )
    for known in (service_categories._BILL_TYPES, service_categories._PLACES):
        yield ", ".join(code for code, category in sorted(known.items()) if category == name)


def inputs() -> Iterator[str]:
    """Every raw table with its columns; columns numbered alike stand in one row."""
    for table in INPUT_TABLES.values():
        yield f"### {table.name}"
        yield ""
        yield f"{table.meaning[0].upper()}{table.meaning[1:]}." + (
            " Required." if table.required else ""
        )
        yield ""
        one_of = [names for names in table.one_of if len(names) > 1]
        if one_of:
            yield (
                "One at least: "
                + "; ".join(" or ".join(f"`{name}`" for name in names) for names in one_of)
                + "."
            )
            yield ""
        yield from _table(("column", "kind", "meaning", "unit", "required"), _columns_of(table))
        yield ""


def _columns_of(table: InputTable) -> Iterator[Sequence[str]]:
    """A row for each column, or for those that differ in their number alone."""

    def said(column: InputColumn) -> tuple[str, str]:
        number = re.search(r"_(\d+)$", column.name)
        meaning = re.sub(r", number \d+ of up to", ", up to", column.meaning)
        return (column.name[: number.start()] if number else column.name), meaning

    for (_, meaning), of in groupby(table.columns, said):
        alike = list(of)
        name = f"`{alike[0].name}`"
        if len(alike) > 1:
            name += f" to `{alike[-1].name}`"
        one = alike[0]
        yield name, one.kind.value, meaning, one.unit, "yes" if one.required else ""


def sentences() -> Iterator[str]:
    """The rules that a report repeats, each a sentence or two."""
    for number, method in enumerate(METHODS, start=1):
        named = ", ".join(f"`{path}`" for path in method.terms)
        yield f"{number}. **{method.title}.** {method.text}" + (f" ({named})" if named else "")


def scale() -> Iterator[str]:
    """What runs of several sizes take, by the costs that were measured."""
    sizes = (  # members, claim lines of two years, cores, where
        (12_000, 1_000_000, 2, "a partnership, a laptop"),
        (500_000, 43_000_000, 2, "Minnesota's partnerships, a laptop"),
        (1_200_000, 103_000_000, 2, "Minnesota's Medicaid, a laptop"),
        (1_200_000, 103_000_000, 16, "the same, a server"),
        (10_000_000, 860_000_000, 64, "a large state, one large server"),
        (80_000_000, 10_000_000_000, 640, "the nation, a cluster"),
    )

    def rows() -> Iterator[Sequence[str]]:
        for members, lines, cores, where in sizes:
            work = Workload(
                n_lines=lines, n_members=members, n_tasks=4 * cores, n_replicates=2001,
                n_groups=27, n_strata=len(RATE_CELLS), n_columns=6, costs=SETTLED,
            )  # fmt: skip
            both = (work, replace(work, costs=REPORTED))
            yield (
                where, f"{members:,}", f"{lines:,}", str(cores),
                *(f"{kind.seconds(cores):,.1f}" for kind in both),
                f"{both[1].alone_seconds:,.1f}",
                f"{both[1].anonymous_bytes(min(cores, 64)) / 2**30:,.1f}",
                f"{lines * BYTES_PER_LINE / 2**30:,.1f}",
            )  # fmt: skip

    head = ("", "members", "claim lines", "cores", "settled, s", "with the programme, s",
            "of it by one core, s", "memory, GiB", "hot columns mapped, GiB")  # fmt: skip
    yield from _table(head, rows())


def sheets() -> Iterator[str]:
    """The sheets of a workbook, in their order."""

    def rows() -> Iterator[Sequence[str]]:
        yield "Cover", "what it is, for whom, how good its terms are; what each sheet has", ""
        for sheet in BEFORE_WALK:
            yield sheet.name, sheet.meaning, ""
        yield "Walk", MEANING, ""
        for sheet in AFTER_WALK:
            yield sheet.name, sheet.meaning, f"rows in `{sheet.needs}`" if sheet.needs else ""

    yield from _table(("sheet", "what it has", "only with"), rows())


PARTS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "terms.md": terms,
    "programme.md": programme,
    "results.md": tables,
    "findings.md": noticed,
    "codes.md": codes,
    "inputs.md": inputs,
    "README.md": sentences,
    "../scale.md": scale,
    "../workbook.md": sheets,
}
"""What of which page is written."""


def written(name: str) -> str:
    """A page as it should be.

    Raises
    ------
    ValueError
        If the page lacks its marks.
    """
    text = (FOLDER / name).read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/method/{name}: lacks the marks between which it is written")
    lines = "\n".join(PARTS[name]()).strip()
    return f"{before}{begin}\n{lines}\n\n{end}{after}"


def main(arguments: Sequence[str]) -> int:
    """Look, or write; the number of pages that say another thing."""
    behind = [n for n in PARTS if written(n) != (FOLDER / n).read_text(encoding="utf-8")]
    for name in behind:
        if "--write" in arguments:
            (FOLDER / name).write_text(written(name), encoding="utf-8")
        else:
            sys.stderr.write(f"docs/method/{name}: behind its declarations; make pages\n")
    return 0 if "--write" in arguments else len(behind)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
