"""A walk over the tables: every key with its dotted name, its environment variable and its help."""

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from timmy_dvm.config.fields import KeyHelp, Table, mentions
from timmy_dvm.config.model import Config, is_secret

ENV_PREFIX: Final = "TIMMY_"
ENV_SEPARATOR: Final = "__"

Shape = Literal["bool", "int", "decimal", "ints", "texts", "text"]
"""How a key's value is written in the environment."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration."""

    name: str
    """Dotted: `agent.anthropic.eval_model`."""
    field: FieldInfo
    secret: bool
    """Only the environment or a file of its own may hold it."""

    @property
    def env_name(self) -> str:
        """The environment variable that sets it: `TIMMY_AGENT__ANTHROPIC__EVAL_MODEL`."""
        return ENV_PREFIX + self.name.replace(".", ENV_SEPARATOR).upper()

    @property
    def help(self) -> KeyHelp:
        """Unit and example for the example file."""
        extra = self.field.json_schema_extra
        found = extra.get("help") if isinstance(extra, dict) else None
        return typing.cast("KeyHelp", found) if found is not None else KeyHelp()

    @property
    def shape(self) -> Shape:
        """How a text from the environment is to be read."""
        return _shape(self.field.annotation)


def tables(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, type[Table]]]:
    """Every table with its dotted name, outer before inner."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Table):
            yield f"{prefix}{name}", field.annotation
            yield from tables(field.annotation, f"{prefix}{name}.")


def keys_of(table: type[Table], prefix: str) -> Iterator[Key]:
    """The keys of one table, without those of the tables inside it."""
    for name, field in table.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, Table)):
            yield Key(f"{prefix}.{name}", field, is_secret(field.annotation))


@cache
def all_keys() -> dict[str, Key]:
    """Every key by its dotted name, in the order of the file."""
    return {key.name: key for prefix, table in tables() for key in keys_of(table, prefix)}


def _shape(annotation: Any) -> Shape:
    whole = mentions(annotation, int)
    if mentions(annotation, tuple):
        return "ints" if whole else "texts"
    if mentions(annotation, bool):
        return "bool"
    if whole:
        return "int"
    return "decimal" if mentions(annotation, Decimal) else "text"
