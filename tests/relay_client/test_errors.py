"""The error tree in the docstring is the one in the code."""

import re

from relay_client import errors


def test_docstring_draws_the_tree():
    lines = re.findall(r"^([│ ]*)[├└]── (\w+)", errors.__doc__, re.MULTILINE)
    drawn = {}
    path = ["RelayClientError"]
    for indent, name in lines:
        path = [*path[: len(indent) // 4 + 1], name]
        drawn[name] = path[-2]
    real = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and value is not errors.RelayClientError
    }
    assert drawn == real
