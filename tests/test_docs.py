"""The texts are tested too: what the documentation names must exist, and what exists must be named."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from timmy_dvm.config import load
from timmy_dvm.config.example import render_example
from timmy_dvm.config.schema import all_keys, tables

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config.example.toml"
_COMMENTED = re.compile(r"^# (?=[a-z0-9_]+ = |  \"|\])", re.MULTILINE)
"""A key that is commented out, or a line of a list that is."""


@pytest.fixture(scope="module")
def example():
    """The example file with every key switched on."""
    return tomllib.loads(_COMMENTED.sub("", EXAMPLE.read_text()), parse_float=Decimal)


def leaves(table, prefix=""):
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_the_example_file_is_what_the_tables_say():
    """After a change of a key: `timmy init --print > config.example.toml`."""
    assert EXAMPLE.read_text() == render_example()


def test_every_key_is_in_the_example_file_and_no_other(example):
    """ENV-05."""
    assert dict(leaves(example)).keys() == {name for name, key in all_keys().items() if not key.secret}


def test_the_example_file_shows_the_defaults(example):
    shown = dict(leaves(example))
    for name, key in all_keys().items():
        default = key.field.default
        if key.secret or default is None or default == ():
            continue
        plain = (
            list(default) if isinstance(default, tuple) else str(default) if isinstance(default, Path) else default
        )
        assert shown[name] == plain, name


def test_every_key_has_a_meaning_and_every_number_a_unit_or_a_count():
    for name, key in all_keys().items():
        meaning = key.field.description or ""
        assert meaning.endswith("."), name
        assert len(meaning) > 10, name


def test_every_table_says_what_it_is_for():
    for name, table in tables():
        assert table.__doc__, name
        assert f"[{name}]" in EXAMPLE.read_text(), name


def test_every_secret_names_its_variable():
    text = EXAMPLE.read_text()
    assert all(key.env_name in text for key in all_keys().values() if key.secret)


def test_the_example_file_is_a_configuration_that_loads(tmp_path):
    path = tmp_path / "timmy.toml"
    path.write_text(EXAMPLE.read_text())
    config = load(path, {})
    assert (config.agent.backend, config.lightning.backend) == ("offline", "simulated")
    assert config.origins.keys() == {"agent.backend", "lightning.backend"}


def test_no_line_of_the_example_file_is_too_wide_to_read():
    assert all(len(line) <= 115 for line in EXAMPLE.read_text().splitlines())
