"""Who answers for a run is stated by fields, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ihp_compute.errors import RunError
from ihp_compute.measure import STATEMENT_FIELDS, read_statement, unstated

WHOLE = {name: f"the {name}" for name, field in STATEMENT_FIELDS.items() if field.needed}


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "a.toml", tmp_path / "a.JSON"
    toml.write_text("".join(f'{k} = "{v}"\n' for k, v in WHOLE.items()), encoding="utf-8")
    as_json.write_text(json.dumps(WHOLE), encoding="utf-8")
    assert read_statement(toml) == read_statement(as_json) == WHOLE


def test_a_field_left_blank_is_not_stated(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('purpose = "  "\nstatus = "for\\n review"\n', encoding="utf-8")
    assert read_statement(file) == {"status": "for review"}
    assert "purpose" in unstated(read_statement(file))


def test_whole_is_what_names_purpose_users_actuary_status_and_reliance() -> None:
    assert unstated({}) == [
        "status", "purpose", "intended_users", "responsible_actuary", "reliance",
    ]  # fmt: skip
    assert unstated(WHOLE) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('actuary = "A"', "actuary: unknown field, expected some of status, purpose"),
        ("status = 3", "status: expected text"),
        ('status = "a\\u0000b"', "status: expected text, up to 2,000 printable characters"),
        (f'status = "{"x" * 2001}"', "up to 2,000"),
        ("status = ", "not TOML"),
    ],
)
def test_what_is_no_statement_is_refused_by_field(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=expected):
        read_statement(file)


def test_a_json_list_is_no_statement(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match="expected a table of fields"):
        read_statement(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.toml: no such file, expected a statement"):
        read_statement(tmp_path / "none.toml")
