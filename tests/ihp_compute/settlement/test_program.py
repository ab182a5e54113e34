from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from ihp_compute.errors import DataError
from ihp_compute.settlement.program import Program


def test_an_expression_written_twice_is_computed_once() -> None:
    p = Program()
    a, b = p.source("a"), p.term("share", Decimal("0.5"))
    compiled = p.compile({"x": p.round(a * b), "y": p.round(a * b)})
    assert len(compiled.table) == 2
    assert compiled.run({"a": np.array([3, 4])})["y"].tolist() == [2, 2]


def test_what_no_output_needs_is_left_out() -> None:
    p = Program()
    a = p.source("a")
    unused = p.source("b") * p.term("unused", 7)
    assert unused.index > 0
    compiled = p.compile({"x": p.round(a)})
    assert (compiled.sources, compiled.terms, len(compiled.table)) == (("a",), (), 1)


def test_whole_outputs_are_integers_and_rates_are_not() -> None:
    p = Program()
    a, b = p.source("a"), p.source("b")
    found = p.compile({"rate": a / b, "less": a < b, "sum": p.round(a + b)}).run(
        {"a": np.array([1, 3]), "b": np.array([2, 0])}
    )
    assert [found[name].dtype.kind for name in ("rate", "less", "sum")] == ["f", "i", "i"]
    assert found["rate"].tolist() == [0.5, 0.0], "a quotient by zero is zero"


def test_a_scenario_replaces_terms_by_name() -> None:
    p = Program()
    a, b = p.term("a", 1), p.term("b", Decimal("0.1"))
    compiled = p.compile({"x": a + b})
    assert compiled.constants([{}, {"b": Decimal("0.3")}]).tolist() == [[1.0, 0.1], [1.0, 0.3]]


def test_one_value_of_a_source_stands_in_every_replicate() -> None:
    """The only source that moves comes last, so the others make room for it."""
    p = Program()
    a, b, c = p.source("a"), p.source("b"), p.source("c")
    compiled = p.compile({"x": p.round(a * b + c), "b": p.round(b)})
    moving = np.arange(300)
    found = compiled.run({"a": np.array([3]), "b": np.array([5]), "c": moving})
    assert found["x"].tolist() == (15 + moving).tolist()
    assert found["b"].tolist() == [5] * 300


def test_a_part_of_a_program_gives_what_the_whole_gives() -> None:
    p = Program()
    a, share = p.source("a"), p.term("share", Decimal("0.5"))
    other = p.source("b") * p.term("other", 7)
    whole = p.compile({"other": p.round(other), "x": p.round(a * share), "less": a < other})
    part = whole.only(("x",))
    assert (part.sources, part.terms, len(part.table)) == (("a",), ("share",), 2)
    given = {"a": np.array([3, 5]), "b": np.array([1, 2])}
    assert part.run(given)["x"].tolist() == whole.run(given)["x"].tolist() == [2, 2]


def test_a_term_has_one_value() -> None:
    p = Program()
    p.term("share", Decimal("0.5"))
    with pytest.raises(ValueError, match="was given"):
        p.term("share", Decimal("0.6"))


def test_an_amount_too_large_to_be_exact_is_refused() -> None:
    p = Program()
    a = p.source("a")
    with pytest.raises(DataError, match="not below 2\\^53 cents"):
        p.compile({"x": p.round(a * a)}).run({"a": np.array([2**30])})


def test_clipping_takes_either_bound() -> None:
    p = Program()
    a, low, high = p.source("a"), p.number(1), p.number(3)
    found = p.compile(
        {"both": p.round(p.clip(a, low, high)), "none": p.round(p.clip(a, None, None))}
    ).run({"a": np.array([0, 2, 5])})
    assert found["both"].tolist() == [1, 2, 3]
    assert found["none"].tolist() == [0, 2, 5]
