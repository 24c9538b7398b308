"""What a reader of an HTML page sees, roughly: for a model that works on the text. Pure, and linear in its length.

The standard library's parser needs a minute for 256 KiB of opened comments. This one only ever goes forward.
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

_TAG: Final = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]{0,15})|<[!?]")
_HUGE_REFERENCE: Final = re.compile(r"&#[0-9]{8,};?")
"""A number that is no character, and too long to be read as one."""
_UNSEEN: Final = {
    tag: re.compile(rf"</{tag}\b", re.IGNORECASE) for tag in ("script", "style", "template", "noscript", "svg")
}
_BLOCKS: Final = frozenset(
    ("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "footer", "form",
     "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table",
     "td", "th", "title", "tr", "ul")
)  # fmt: skip
_BREAK: Final = "\x00"
"""Stands for a break while line ends of the source still are mere spaces; no text holds it (HTML forbids it)."""


def visible_text(html: str) -> str:
    """The text of a page, a line for each block; what is broken in it is skipped or shown as it is."""
    seen = "".join(_pieces(html.replace(_BREAK, " ")))
    lines = (" ".join(line.split()) for line in unescape(_HUGE_REFERENCE.sub("\ufffd", seen)).split(_BREAK))
    return "\n".join(filter(None, lines))


def _pieces(html: str) -> Iterator[str]:
    at = 0
    endless: set[str] = set()  # elements that are opened and never closed: not looked for twice
    while (opens := html.find("<", at)) >= 0:
        yield html[at:opens]
        found = _TAG.match(html, opens)
        if found is None:
            yield "<"
            at = opens + 1
            continue
        is_comment = html.startswith("<!--", opens)
        closes = html.find("-->" if is_comment else ">", opens)
        if closes < 0:
            return  # broken off
        at = closes + (3 if is_comment else 1)
        tag = (found[1] or "").lower()
        if tag in _BLOCKS:
            yield _BREAK
        if tag in _UNSEEN and tag not in endless and found[0][1] != "/":
            end = _UNSEEN[tag].search(html, at)
            if end is None:
                endless.add(tag)
            else:
                at = end.start()
    yield html[at:]
