"""Pages as templates: how they find each other, and how they write a number."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from ihp_compute.report import numbers
from ihp_compute.report.rows import Row
from ihp_compute.settlement import gate_words


@cache
def template(name: str) -> jinja2.Template:
    """A page by its file's name, compiled once a process."""
    return _environment().get_template(name)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(FILTERS)
    return environment


def style() -> str:
    """The style sheet of every page, as a file of its own."""
    text = template("style.html").render(marks=(), running="")
    return text.removeprefix("<style>").strip().removesuffix("</style>")


def _or_held(write: Callable[..., str]) -> Callable[..., str]:
    """What writes a number, or says that it is hidden."""

    def written(value: Any, **how: Any) -> str:
        return numbers.HELD if value is None else write(value, **how)

    return written


def _gate(row: Row) -> str:
    """What a partnership's gate came to, from its row of the table `settlement`."""
    return gate_words(
        passed=row["gate_passed"],
        missed_by_cents=row["missed_by_cents"],
        savings_cents=row["savings_cents"],
        target_cents=row["target_cents"],
    )


_FLAGS: Final = {
    "below_minimum_size": "It has fewer members than the contract asks for",
    "empty_cell": "In some draws a rate cell without base months borrowed its base",
    "thin_cell": "Rate cells of few base months rest on the state's (see credibility)",
    "quality_filled": "A quality score is missing and was filled as the contract says",
}


def _flag(name: str) -> str:
    """Why to be careful, as a sentence."""
    return _FLAGS.get(name, f"Flag: {numbers.label(name)}")


def css_string(text: str) -> Markup:
    r"""What stands between the quotes of a string of CSS, whatever is in it.

    >>> print(css_string('IHP-01 "x"').rstrip())
    IHP-01 \22 x\22
    """
    plain = (c if c.isalnum() or c in " -_.,·" else f"\\{ord(c):x} " for c in text)
    return Markup("".join(plain))  # noqa: S704 - nothing in it ends a string or an element


FILTERS: Final = {
    "usd": _or_held(numbers.usd),
    "usd_short": _or_held(numbers.usd_short),
    "percent": _or_held(numbers.percent),
    "count": numbers.held_back,
    "words": numbers.label,
    "score": _or_held(numbers.score),
    "gate": _gate,
    "flag": _flag,
    "css": css_string,
}
"""How templates write numbers."""
