"""How a relay is doing, for whoever looks after Timmy."""

import dataclasses
from collections.abc import Mapping

from relay_client.connection import RelayConnection, RelayState
from relay_client.nip11 import Limitation


@dataclasses.dataclass(frozen=True, slots=True)
class RelayStatus:
    """How one configured relay is doing. Counts are since the start.

    Attributes:
        url: its address.
        state: where the connection stands.
        connected_since: Unix seconds; None while not connected.
        last_event_at: when it last delivered an event that was asked for and true, in Unix seconds.
        reconnects: how often the connection was made again.
        misbehaviour: points against it (`happenings.POINTS`), fading by the second.
        last_error: why the last connection ended or could not be made, one line.
        faults: what it did wrong and how often, as `{"forged_event": 12}`; see `happenings.Misbehaviour`.
        accepted: events of ours that it took.
        refused: events of ours that it refused, or says that it would refuse.
        last_refusal: its words for the last of these, one line.
        pause_s: how long nothing is published there, because it found us too fast; 0 when there is no pause.
        unserved: for the id of each subscription it does not serve just now, why.
        limitation: what it says it takes (NIP-11).
    """

    url: str
    state: RelayState
    connected_since: float | None
    last_event_at: float | None
    reconnects: int
    misbehaviour: float
    last_error: str | None
    faults: Mapping[str, int] = dataclasses.field(default_factory=dict)
    accepted: int = 0
    refused: int = 0
    last_refusal: str | None = None
    pause_s: float = 0.0
    unserved: Mapping[str, str] = dataclasses.field(default_factory=dict)
    limitation: Limitation = dataclasses.field(default_factory=Limitation)

    def serves(self, sub_id: str) -> bool:
        """Whether what comes for this subscription is being heard."""
        return self.state is RelayState.CONNECTED and sub_id not in self.unserved


def status_of(connection: RelayConnection, last_event_at: float | None) -> RelayStatus:
    """How that connection is doing now."""
    publishing = connection.publishing
    return RelayStatus(
        url=connection.url,
        state=connection.state,
        connected_since=connection.connected_since,
        last_event_at=last_event_at,
        reconnects=connection.reconnects,
        misbehaviour=round(connection.points, 1),
        last_error=connection.last_error,
        faults=connection.score.faults,
        accepted=publishing.accepted,
        refused=publishing.refused,
        last_refusal=publishing.last_refusal,
        pause_s=round(publishing.pause_s, 1),
        unserved=connection.unserved,
        limitation=connection.information.limitation,
    )
