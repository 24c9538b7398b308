"""Finding and loading the configuration: file, environment, defaults, checks, in that order."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from timmy_dvm.config import not_yet
from timmy_dvm.config.checks import check_named, choose_lnbits, notes_of, problems_of
from timmy_dvm.config.errors import ConfigError
from timmy_dvm.config.model import Config
from timmy_dvm.config.schema import all_keys
from timmy_dvm.config.sources import CONFIG_VARIABLE, Values, add_environment, add_file, add_old_names, read_file

FILE_NAME: Final = "timmy.toml"
HOME_FOLDER: Final = ".timmy"
_SQLITE: Final = "sqlite:///"
_SHOWN_CHARS: Final = 40


def find_config(explicit: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The configuration file of this instance: `--config`, TIMMY_CONFIG, ./timmy.toml, ~/.timmy/timmy.toml.

    The first two are taken as given (`load` complains when nothing is there); None: there is no file.
    """
    named = explicit or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        return named.expanduser()
    places = (cwd / FILE_NAME, home_folder(environ) / FILE_NAME)
    return next((place for place in places if place.is_file()), None)


def home_folder(environ: Mapping[str, str]) -> Path:
    """`~/.timmy`, where an instance without a configuration keeps its data."""
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / HOME_FOLDER


def load(path: Path | None, environ: Mapping[str, str], data_dir: Path | None = None) -> Config:
    """Read and check a configuration. Opens no socket and writes nothing.

    Args:
        path: the file, as `find_config` found it; None: defaults and environment alone.
        environ: the environment, usually `os.environ`. NOSTR_SECRET_KEY and NWC_URL are never looked at.
        data_dir: where the ledger and keys lie; None: beside the file, else `~/.timmy`.

    Raises:
        ConfigError: with every problem found, each naming its key and where the value came from.
    """
    folder = None if path is None else path.absolute().parent
    data = (data_dir.expanduser() if data_dir else folder or home_folder(environ)).absolute()
    values = Values()
    if path is not None:
        add_file(values, read_file(path), path.name)
    add_old_names(values, environ)
    add_environment(values, environ)
    choose_lnbits(values, environ)
    if path is not None:
        check_named(values, path.name)
    _place(values, folder or data, data)
    config = _validate(values, folder or data, data, path)
    problems = list(problems_of(config))
    if problems:
        raise ConfigError(*problems)
    return config.model_copy(update={"notes": (*values.notes, *notes_of(config, environ), *not_yet.notes(config))})


def _place(values: Values, base: Path, data: Path) -> None:
    """Give the three things that Timmy makes itself their place in the data folder, and the ledger a full path."""
    for name in ("nostr.secret_key_file", "http.token_secret_file"):
        values.values.setdefault(name, str(data / str(all_keys()[name].field.default)))
    url = values.values.get("ledger.url")
    if url is None:
        values.values["ledger.url"] = f"{_SQLITE}{data / 'timmy.db'}"
    elif isinstance(url, str) and url.startswith(_SQLITE):
        file = url.removeprefix(_SQLITE)
        if not file or file == ":memory:" or not file.isprintable():
            values.problems.append(
                f"ledger.url: names no file, and jobs must survive a restart {_at(values, 'ledger.url')}"
            )
        else:
            values.values["ledger.url"] = f"{_SQLITE}{base / Path(file).expanduser()}"
    elif isinstance(url, str) and not url.startswith(("postgresql://", "postgres://")):
        values.problems.append(f"ledger.url: starts with sqlite:/// or postgresql:// {_at(values, 'ledger.url')}")


def _validate(values: Values, base: Path, data: Path, path: Path | None) -> Config:
    fields: dict[str, Any] = values.tree() | {
        "data_dir": data,
        "file": None if path is None else path.absolute(),
        "origins": dict(values.origins),
    }
    problems = list(values.problems)
    try:
        config = Config.model_validate(fields, context={"base": base})
    except ValidationError as error:
        problems += _sentences(error, values)
        raise ConfigError(*problems) from None
    if problems:
        raise ConfigError(*problems)
    return config


def _sentences(error: ValidationError, values: Values) -> Iterator[str]:
    known = all_keys()
    seen: set[str] = set()
    for detail in error.errors(include_url=False):
        parts = [str(part) for part in detail["loc"]]
        while parts and ".".join(parts) not in known and ".".join(parts) not in _table_names():
            parts.pop()  # the position inside a list
        name = ".".join(parts)
        if name in seen:
            continue
        seen.add(name)
        origins = [values.origins[key] for key in values.origins if key == name or key.startswith(f"{name}.")]
        shown = "" if name not in known or known[name].secret else _shown(detail)
        yield f"{name}: {shown}{_reason(detail)} (from {', '.join(dict.fromkeys(origins)) or 'default'})"


def _table_names() -> set[str]:
    return {name.rpartition(".")[0] for name in all_keys()}


def _shown(detail: ErrorDetails) -> str:
    value = detail.get("input")
    if isinstance(value, str | int) and len(str(value)) <= _SHOWN_CHARS and "://" not in str(value):
        return f"{value!r} "
    return ""


def _reason(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "value_error":
        return str(context["error"])
    bounds = {
        "greater_than_equal": "is too small: at least {ge}",
        "less_than_equal": "is too large: at most {le}",
        "literal_error": "is none of {expected}",
        "string_too_short": "is empty",
        "too_long": "has too many entries: at most {max_length}",
        "too_short": "has too few entries: at least {min_length}",
        "decimal_max_places": "has too many decimals: at most {decimal_places}",
    }
    types = {
        "finite": "is not a number",
        "int": "is not a whole number",
        "bool": "is neither true nor false",
        "decimal": "is not a number",
        "tuple": "is not a list",
        "string": "is not a text",
        "path": "is not a path",
    }
    if kind == "is_instance_of":
        return "is not a number" if context["class"] == "Decimal" else "is not a text"
    if kind in bounds:
        return bounds[kind].format(**context)
    return types.get(kind.partition("_")[0], detail["msg"])


def _at(values: Values, name: str) -> str:
    return f"(from {values.origins[name]})" if name in values.origins else "(default)"
