"""What tests of several folders share: one real LNbits for all that need one, and a log at its first level."""

import logging
import os

import pytest
from hypothesis import settings

from tests.lnbits_server import LnbitsServer, require_lnbits
from timmy_dvm.log import OURS

# How long an example takes says more of the machine than of us. Drawn the same each time, a failure is that of the
# change, and every line is met in every run; `make test-long` goes on searching.
settings.register_profile("timmy", deadline=None, derandomize="TIMMY_LONG" not in os.environ)
settings.load_profile("timmy")

_SERVERS = {"lnbits", "far_lnbits", "node_and_lnbits"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Everything that needs an LNbits goes to one worker, so that no second one starts its own."""
    for item in items:
        if _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("lnbits"))


@pytest.fixture(scope="session")
def lnbits(tmp_path_factory):
    """A real LNbits. Its wallets pay each other; ask it for a fresh pair."""
    require_lnbits()
    server = LnbitsServer(tmp_path_factory.mktemp("lnbits"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def levels():
    """Commands run within the tests turn loggers up and down; the next test finds them as they were."""
    names = ["", *OURS]
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A lone surrogate in a captured log line can't travel from a worker to the runner; show it as `?`."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
