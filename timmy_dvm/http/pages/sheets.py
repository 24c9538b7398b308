"""HTML files with places for values. Pure, once the files are read.

    {{name}}     the value, escaped; a value that is `Markup` goes in as it is
    {{> name}}   another sheet, with the same values

A place without a value is a mistake of ours and raises KeyError: no page shows half of itself.
"""

import html
import re
from collections.abc import Callable, Mapping
from typing import Final

_PLACE: Final = re.compile(r"\{\{(>?) ?([a-z_]+)\}\}")


class Markup(str):
    """HTML that we wrote ourselves. Nothing from outside is ever made one."""

    __slots__ = ()


def joined(item: str, values: "list[str]") -> Markup:
    """A list of our own markup: ``item`` has one ``{{value}}``, filled with each value in turn."""
    return Markup("".join(filled(item, {"value": value}) for value in values))


def filled(sheet: str, values: Mapping[str, object], other: Callable[[str], str] | None = None) -> Markup:
    """The sheet with its places filled.

    Args:
        sheet: HTML of ours.
        values: what goes in, by name.
        other: the text of another sheet, by name.

    Raises:
        KeyError: a place has no value.
    """

    def put(place: re.Match[str]) -> str:
        name = place[2]
        if place[1]:
            if other is None:
                raise KeyError(name)
            return filled(other(name), values, other)
        value = values[name]
        return value if isinstance(value, Markup) else html.escape(str(value))

    return Markup(_PLACE.sub(put, sheet))
