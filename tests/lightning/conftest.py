import pytest

from tests.lnbits_server import LnbitsServer, require_lnbits
from tests.phoenixd_stub import PhoenixdStub

pytest.register_assert_rewrite("tests.lightning.contract")


@pytest.fixture(scope="session")
def far_lnbits(tmp_path_factory, lnbits):
    """A second LNbits whose node is a wallet of the first: payments between the two leave the house."""
    node = lnbits.new_wallet(10_000_000, "node of the far one")
    server = LnbitsServer(
        tmp_path_factory.mktemp("far"),
        LNBITS_BACKEND_WALLET_CLASS="LNbitsWallet",
        LNBITS_ENDPOINT=lnbits.url,
        LNBITS_KEY=node.adminkey,
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def node_and_lnbits(tmp_path_factory):
    """A node that does as it is told, and a real LNbits on it."""
    require_lnbits()
    node = PhoenixdStub()
    node.start()
    server = LnbitsServer(
        tmp_path_factory.mktemp("on_node"),
        LNBITS_BACKEND_WALLET_CLASS="PhoenixdWallet",
        PHOENIXD_API_ENDPOINT=node.url,
        PHOENIXD_API_PASSWORD="only-for-tests",
        LNBITS_FUNDING_SOURCE_PAY_INVOICE_WAIT_SECONDS="1",
    )
    server.start()
    yield node, server
    server.stop()
    node.stop()
