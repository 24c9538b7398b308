"""What the operator's routes answer, as models for the port's description; see `answers`."""

from pydantic import Field

from timmy_dvm.http.answers import Answered, Moment, RelayState, Said, Sats


class WalletState(Said):
    """The wallet that serves."""

    backend: str
    reachable: bool
    balance_sats: Sats | None = Field(description="Null where it does not say.")


class NodeReach(Said):
    """One kind of node, whether or not it is our wallet."""

    configured: bool = Field(description="Whether it is the wallet that serves; only that one is asked.")
    reachable: bool | None
    url: str | None = Field(description="Without its password.")
    error: str | None


class NodeState(Answered):
    """What the operator looks at when something is wrong."""

    checked_at: Moment
    stub_mode: bool = Field(description="Whether the wallet is simulated.")
    wallet: WalletState
    lnbits: NodeReach
    lnd: NodeReach
    relays: list[RelayState]
    issues: list[str] = Field(description="Sentences for people; empty where all is well.")
