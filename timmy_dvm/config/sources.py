"""Where values come from: the file, the old environment names, the `TIMMY_` variables. Later ones win.

What is collected here is a tree of plain values with the source of each. Unknown names are refused here, with
the nearest known one, for a misspelt key that is silently ignored is the worst kind of default.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from timmy_dvm.config.errors import ConfigError
from timmy_dvm.config.old_names import OLD_NAMES
from timmy_dvm.config.schema import ENV_PREFIX, Key, all_keys, tables

MAX_FILE_BYTES: Final = 1_048_576
CONFIG_VARIABLE: Final = "TIMMY_CONFIG"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_BOOLS: Final = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)


class Values:
    """Values by dotted key, each with its source; and what was wrong or worth a note on the way."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []

    def set(self, name: str, value: Any, origin: str) -> None:
        """Set one key; a later source wins."""
        self.values[name] = value
        self.origins[name] = origin

    def tree(self) -> dict[str, Any]:
        """The values as nested tables, as the models want them."""
        tree: dict[str, Any] = {}
        for name, value in self.values.items():
            *path, last = name.split(".")
            table = tree
            for part in path:
                table = table.setdefault(part, {})
            table[last] = value
        return tree


def read_file(path: Path) -> dict[str, Any]:
    """The TOML file as nested dicts; numbers with a point as Decimal.

    Raises:
        ConfigError: missing, unreadable, too large, or no TOML (with the line).
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}; `timmy init` writes one") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes, so it is no configuration of Timmy")
    try:
        return tomllib.loads(raw.decode(), parse_float=Decimal)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # tomllib's own error is a ValueError
        raise ConfigError(f"{path}: {error}") from None


def add_file(values: Values, document: dict[str, Any], origin: str) -> None:
    """Take over what a file holds."""
    table_names = [name for name, _ in tables()]
    known = all_keys()

    def add(prefix: str, table: dict[str, Any]) -> None:
        for part, value in table.items():
            name = f"{prefix}{part}"
            if name in table_names:
                if isinstance(value, dict):
                    add(f"{name}.", value)
                else:
                    values.problems.append(f"{name}: is a table, write [{name}] (from {origin})")
            elif name not in known:
                hint = nearest(name, [*known, *table_names])
                values.problems.append(f"{name}: is not a key of Timmy{hint} (from {origin})")
            elif known[name].secret:
                values.problems.append(
                    f"{name}: a secret does not belong in this file; give {known[name].env_name} "
                    f"or name a file of mode 600 (from {origin})"
                )
            else:
                values.set(name, value, origin)

    add("", document)


def add_old_names(values: Values, environ: Mapping[str, str]) -> None:
    """Take over the first Timmy's variables (requirements ENV-01 to ENV-11, PRI-16)."""
    for variable, old in OLD_NAMES.items():
        text = environ.get(variable)
        if text is None:
            continue
        if old.key is None:
            values.notes.append(f"{variable} is ignored: {old.note}")
            continue
        key = all_keys()[old.key]
        numeric = key.shape in {"int", "ints", "decimal"}
        if not text.strip() and not numeric:
            continue  # an empty variable is an unset one, as compose files write it
        value = _old_value(key, text)
        if numeric and not _fits(key, value):
            shown = text if len(text) <= 20 and text.isprintable() else "…"  # noqa: PLR2004 # enough for any number
            values.notes.append(
                f"{variable} is ignored: {shown!r} is no value for {key.name}, which stays as it was"
            )
            continue
        values.set(key.name, value, variable)


def add_environment(values: Values, environ: Mapping[str, str]) -> None:
    """Take over the `TIMMY_SECTION__KEY` variables; refuse `TIMMY_` names that mean nothing."""
    by_variable = {key.env_name: key for key in all_keys().values()}
    for variable in sorted(name for name in environ if name.startswith(ENV_PREFIX)):
        if variable == CONFIG_VARIABLE or variable in OLD_NAMES:
            continue
        key = by_variable.get(variable)
        if key is None:
            hint = nearest(variable, [*by_variable, *OLD_NAMES, CONFIG_VARIABLE])
            values.problems.append(f"{variable}: is not a variable of Timmy{hint} (from the environment)")
            continue
        values.set(key.name, from_text(key, environ[variable]), variable)


def from_text(key: Key, text: str) -> Any:
    """A text from the environment as the key's type; what does not fit stays text, and is refused later."""
    text = text.strip()
    match key.shape:
        case "bool":
            return _BOOLS.get(text.lower(), text)
        case "int":
            return int(text) if _WHOLE.fullmatch(text) else text
        case "decimal":
            return Decimal(text) if _DECIMAL.fullmatch(text) else text
        case "texts":
            return _items(text)
        case "ints":
            return [int(item) if _WHOLE.fullmatch(item) else item for item in _items(text)]
        case "text":
            return text


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean …?`, or nothing when no known name is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def _old_value(key: Key, text: str) -> Any:
    # TIMMY_DB was a path; the key is an address.
    if key.name == "ledger.url" and "://" not in text:
        return f"sqlite:///{text.strip()}"
    return from_text(key, text)


def _fits(key: Key, value: Any) -> bool:
    checker: TypeAdapter[Any] = TypeAdapter(key.field.rebuild_annotation())
    try:
        checker.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
