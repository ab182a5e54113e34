"""Pages as templates: how they find each other, and how they write a number."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

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
    environment.filters.update(
        usd=_or_held(numbers.usd),
        usd_short=_or_held(numbers.usd_short),
        percent=_or_held(numbers.percent),
        count=numbers.held_back,
        words=numbers.label,
        score=_or_held(numbers.score),
        gate=_gate,
    )
    return environment


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
