"""The file a newcomer starts from: every key with meaning, unit and default, made from the tables themselves.

`config.example.toml` is this text (`timmy init --print`), and a test holds the two together.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from timmy_dvm.config.fields import Table
from timmy_dvm.config.not_yet import has_no_effect
from timmy_dvm.config.old_names import OLD_NAMES
from timmy_dvm.config.schema import Key, keys_of, tables

_WIDTH: Final = 100
_HEAD: Final = """\
# Timmy's configuration. Both `backend` keys must be named; every other key may be left out.
#
# A key that is commented out shows its default, or an example where there is none.
# The environment overrides this file: TIMMY_HTTP__PORT=8080 sets port in [http]; lists are written with commas.
# Relative paths count from the folder of this file.
# Secrets never stand here: each has a file of its own, mode 600, or a variable.
# `timmy check-config` reads this file and says what is wrong with it.
"""


def render_example(named: Mapping[str, Any] | None = None) -> str:
    """The commented file as TOML text.

    Args:
        named: keys by dotted name to write in full with this value, for instance `{"http.port": 8080}`.
    """
    named = named or {}
    return _HEAD + "".join(_table(name, table, named) for name, table in tables())


def _table(name: str, table: type[Table], named: Mapping[str, Any]) -> str:
    lines = ["", *_comment((table.__doc__ or "").strip()), f"[{name}]"]
    for key in keys_of(table, name):
        lines += _secret(key) if key.secret else _key(key, named)
    return "\n".join(lines) + "\n"


def _key(key: Key, named: Mapping[str, Any]) -> Iterator[str]:
    meaning, default, help_ = key.field.description or "", key.field.default, key.help
    unset = default is None or default == ()
    notes = [meaning]
    if help_.unit:
        notes.append(f"Unit: {help_.unit}.")
    if unset and not any(word in meaning for word in ("Left out", "Empty")):
        notes.append("Default: none.")
    if has_no_effect(key.name):
        notes.append("Has no effect in this version yet.")
    yield ""
    yield from _comment(" ".join(notes))
    short = key.name.rpartition(".")[2]
    if key.name in named or help_.must_name:
        yield f"{short} = {_toml(named.get(key.name, default))}"
        return
    shown = f"{short} = {_toml(help_.example if unset and help_.example is not None else default)}"
    yield from (f"# {line}" for line in shown.splitlines())


def _secret(key: Key) -> Iterator[str]:
    yield ""
    variables = [key.env_name, *(name for name, old in OLD_NAMES.items() if old.key == key.name)]
    yield from _comment(f"Only from the environment, {' or '.join(variables)}. {key.field.description}")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False, break_long_words=False
    )


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal() | int():
            return str(value)
        case tuple() | list():
            items = [_toml(item) for item in value]
            on_one_line = f"[{', '.join(items)}]"
            return on_one_line if len(on_one_line) <= _WIDTH else "[\n" + "".join(f"  {i},\n" for i in items) + "]"
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            return '""'
