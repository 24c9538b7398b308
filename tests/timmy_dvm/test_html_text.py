"""Of a page the model gets what a reader sees, and no page takes long, however it is built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.html_text import visible_text

PAGE = """<!DOCTYPE html><html><head><title>A &amp; B</title><style>p { color: red }</style>
<script>if (a<b) { alert("</p>") }</script></head>
<body><!-- hidden --><h1>News</h1><p>One  <b>bold</b>
word &#8212; and&nbsp;more.<p>Two<br/>Three<svg><text>drawn</text></svg>
<ul><li>a</li><li>b</li></ul></body></html>"""


def test_a_page_is_what_a_reader_sees_of_it_line_by_line():
    lines = ["A & B", "News", "One bold word — and more.", "Two", "Three", "a", "b"]
    assert visible_text(PAGE).splitlines() == lines


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("no tags at all", "no tags at all"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <b", "a"),
        ("a <!-- never closed", "a"),
        ("a <script>never closed", "a never closed"),
        ("a<SCRIPT>x</ScRiPt>b", "ab"),
        ("<p>a</p\n>b", "a\nb"),
        ("<?xml version='1.0'?>a", "a"),
        ("&#99999999999999999999;&#x110000;&bogus;", "��&bogus;"),
        ("a\x00b", "a b"),
        ("&lt;script&gt;", "<script>"),
    ],
)
def test_what_is_broken_is_skipped_or_shown(html, text):
    assert visible_text(html) == text


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<!--",
        "<![CDATA[",
        "<a ",
        "</",
        "<a b='",
        "<script>",
        "<svg>x",
        " \n",
        "<?",
        "&#",
        "&#9",
        "&",
        "<!",
        "<p>",
    ],
)
def test_no_page_takes_long(piece):
    """What is quadratic takes minutes here, as the standard library's parser does."""
    for page in ((piece * 262_144)[:262_144], (piece * 262_144)[:262_143] + ">"):
        assert len(visible_text(page)) <= len(page)


@given(st.text("<>/!-&#;abcpscript \n\"'=", max_size=80) | st.text(max_size=80))
def test_nothing_raises_and_no_line_is_blank(html):
    text = visible_text(html)
    assert all(line.strip() for line in text.split("\n")) or not text
