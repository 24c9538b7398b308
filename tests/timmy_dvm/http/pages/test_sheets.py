"""Values in HTML: escaped, all of them there, and never read as places."""

import pytest

from timmy_dvm.http.pages.sheets import Markup, filled, joined


def test_a_value_is_escaped_and_our_own_markup_is_not():
    assert filled("<p>{{a}}{{b}}</p>", {"a": "<b>&\"'", "b": Markup("<i></i>")}) == (
        "<p>&lt;b&gt;&amp;&quot;&#x27;<i></i></p>"
    )


def test_a_value_that_looks_like_a_place_stays_a_value():
    assert filled("{{a}}", {"a": "{{b}}", "b": "no"}) == "{{b}}"


def test_a_place_without_a_value_is_a_mistake():
    with pytest.raises(KeyError):
        filled("{{a}}", {})


def test_a_sheet_stands_in_another_with_the_same_values():
    assert filled("<p>{{> x}}</p>", {"a": "1"}, {"x": "<b>{{a}}</b>"}.__getitem__) == "<p><b>1</b></p>"


def test_there_is_no_sheet_where_none_were_given():
    with pytest.raises(KeyError):
        filled("{{> x}}", {})


def test_a_list_is_escaped_item_by_item():
    assert joined("<li>{{value}}</li>", ["a", "<b>"]) == "<li>a</li><li>&lt;b&gt;</li>"
