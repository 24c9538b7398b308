"""House style, held by ordinary tests over every file: sizes, what may be asked where, and what nobody may write.

A rule's exceptions stand beside it, each with its reason; one that is no longer needed fails too.
"""

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("timmy_dvm", "relay_client", "ledger", "lightning")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
_SKIPPED = {"node_modules", "__pycache__", "build", "data", "htmlcov"}
_TEXTS = {
    ".py",
    ".md",
    ".toml",
    ".sql",
    ".html",
    ".css",
    ".js",
    ".lock",
    ".in",
    ".mk",
    ".sh",
    ".json",
    ".csv",
    ".yml",
}

PRINTS = ("timmy_dvm/commands/", "timmy_dvm/cli.py")
"""The only places that write to stdout by print()."""

CLOCKS = {
    "timmy_dvm/clock.py": "the one place that asks the machine for time and randomness",
    "relay_client/dial.py": "imports none of ours: the defaults of `Outside`, which a caller may replace",
    "lightning/lnbits.py": "imports none of timmy_dvm: the default of a constructor argument",
}
"""Files that may ask the machine for time or randomness, each with its reason."""

BROAD = {
    "timmy_dvm/log.py": (1, "a log line must never break what it reports on"),
    "timmy_dvm/agent/claude.py": (
        1,
        "sorted by failure_of(), which raises again what is not the upstream's doing",
    ),
    "timmy_dvm/runs.py": (1, "a fault of ours in a run must end in a refund"),
    "timmy_dvm/nodes.py": (1, "whatever a step of setting a node up raises must end in a refund"),
    "timmy_dvm/dispatch.py": (1, "a fault of ours in one action must not stop all others; it stays in the outbox"),
    "timmy_dvm/http/faults.py": (1, "whatever it is, the next request must be served, and this one answered"),
    "timmy_dvm/nostr/port.py": (2, "a stranger's event must not end the ear for everybody else"),
    "timmy_dvm/nostr/publishing.py": (1, "a stranger's relay must not keep an event in the outbox for ever"),
    "timmy_dvm/nostr/streaming.py": (1, "a partial can be left out; a fault in one must not end the bot"),
    "timmy_dvm/nostr/letterbox.py": (1, "a stranger's message must not end the ear for everybody else"),
    "timmy_dvm/world/workshop.py": (1, "what is shown must never stand in the way of what was paid for"),
    "ledger/writer.py": (1, "a decision's failure belongs to its caller and must not end the writer's thread"),
}
"""Files that catch Exception or more and do not simply raise it again: how many times, and why."""

# Written in pieces, so that this file does not break its own rule.
UNWANTED_WORDS = {
    "/" + "work/": "a path of one machine",
    "/" + "tmp/": "a path of one machine",
    "/" + "home/": "a path of one machine",
    "py" + "pi.org": "the address of a package registry",
    "files.python" + "hosted": "the address of a package registry",
    "registry." + "npmjs": "the address of a package registry",
    "TO" + "DO": "a promise without a date",
    "FIX" + "ME": "a promise without a date",
}
PLAIN_WORDS = {
    "lightning/node/": "scripts that set up another machine name its folders",
    "timmy_dvm/provision/": "as lightning/node",
}
"""Where the words above may stand, and why."""


@cache
def files():
    """Every text file of the project, as a path from its root."""
    found = []
    for folder, names, file_names in os.walk(ROOT):
        names[:] = [name for name in names if name not in _SKIPPED and (not name.startswith(".") or name == ".ci")]
        found += [Path(folder, name).relative_to(ROOT) for name in file_names if Path(name).suffix in _TEXTS]
    return sorted(found)


@cache
def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree_of(path):
    return ast.parse(text_of(path), filename=str(path))


def python(*folders):
    """The Python files, of these folders or of all."""
    return [path for path in files() if path.suffix == ".py" and (not folders or str(path).startswith(folders))]


def product():
    return python(*(f"{package}/" for package in PACKAGES))


def names_in(tree):
    """Every name and dotted name that is used: `time.time`, `float`, and modules that are imported."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=attr):
                yield f"{owner}.{attr}", node.lineno
            case ast.Name(id=name):
                yield name, node.lineno
            case ast.Import(names=aliases):
                yield from ((f"import {alias.name}", node.lineno) for alias in aliases)
            case ast.ImportFrom(module=module, names=aliases):
                yield f"import {module}", node.lineno
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in aliases)


def test_the_walk_sees_the_project():
    assert {Path("timmy_dvm/cli.py"), Path("tests/test_tidy.py"), Path("config.example.toml")} <= set(files())
    assert not any(".venv" in path.parts for path in files())


def test_no_file_is_longer_than_a_sitting():
    long = {str(path): lines for path in python() if (lines := len(text_of(path).splitlines())) > MAX_FILE_LINES}
    assert long == {}


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{path}:{node.lineno} {node.name} {node.end_lineno - node.lineno + 1}"
        for path in python()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_only_the_command_line_prints():
    loud = [
        f"{path}:{line}"
        for path in product()
        if not str(path).startswith(PRINTS)
        for name, line in names_in(tree_of(path))
        if name == "print"
    ]
    assert loud == []


def is_float(node):
    """A float written out, or made: `float` as a mere annotation of seconds is no amount."""
    match node:
        case ast.Constant(value=float()) | ast.Call(func=ast.Name(id="float")):
            return True
        case _:
            return False


def test_no_float_near_money():
    floats = [
        f"{path}:{node.lineno}"
        for path in python("ledger/", "timmy_dvm/core/")
        for node in ast.walk(tree_of(path))
        if is_float(node)
    ]
    assert floats == []


_ASKS = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|sleep)|datetime\.(now|utcnow|today)|date\.today"
    r"|import (random|secrets|uuid)|(random|secrets|uuid)\.\w+|os\.urandom"
)


def askers():
    """Files of the product that ask for time or randomness, with the lines."""
    found = {}
    for path in product():
        lines = [f"{name} in line {line}" for name, line in names_in(tree_of(path)) if _ASKS.fullmatch(name)]
        if lines:
            found[str(path)] = lines
    return found


def test_only_the_clock_asks_for_time_and_randomness():
    assert {path: lines for path, lines in askers().items() if path not in CLOCKS} == {}


def broad_excepts(path):
    """The lines of handlers that catch Exception or more, but for those that clean up and raise it again."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.walk(node.type) if node.type else ()
            names = {part.id for part in caught if isinstance(part, ast.Name)}
            raises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if (node.type is None or {"Exception", "BaseException"} & names) and not raises:
                yield node.lineno


def test_broad_excepts_are_few_and_each_has_a_reason():
    found = {str(path): lines for path in product() if (lines := list(broad_excepts(path)))}
    unlisted = {path: lines for path, lines in found.items() if len(lines) != BROAD.get(path, (0, ""))[0]}
    assert unlisted == {}
    for path, lines in found.items():
        for line in lines:
            here = text_of(Path(path)).splitlines()[line - 1 : line + 1]
            assert "#" in here[0] or here[1].lstrip().startswith("#"), f"{path}:{line} needs its reason"


def test_no_exception_outlives_its_need():
    stale = [path for path in CLOCKS if path not in askers()]
    stale += [path for path in BROAD if not (ROOT / path).exists() or not list(broad_excepts(Path(path)))]
    assert stale == []
    assert all(CLOCKS.values())
    assert all(reason for _, reason in BROAD.values())


@pytest.mark.parametrize("word", UNWANTED_WORDS)
def test_no_text_names_this_machine_or_leaves_a_promise(word):
    bounded = re.compile(rf"(?<![\w.]){re.escape(word)}" if word.startswith("/") else rf"\b{re.escape(word)}\b")
    found = [
        f"{path}:{text_of(path).count(chr(10), 0, match.start()) + 1}"
        for path in files()
        if not str(path).startswith(tuple(PLAIN_WORDS)) and path.parts[:2] != ("tests", "vectors")
        for match in bounded.finditer(text_of(path))
    ]
    assert found == [], UNWANTED_WORDS[word]
