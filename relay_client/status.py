"""How a relay is doing, for whoever looks after Timmy."""

import dataclasses

from relay_client.connection import RelayState


@dataclasses.dataclass(frozen=True, slots=True)
class RelayStatus:
    """How one relay is doing.

    Attributes:
        url: its address.
        state: where the connection stands.
        connected_since: Unix seconds; None while not connected.
        last_event_at: when it last delivered an event that was asked for and true, in Unix seconds.
        reconnects: how often the connection was made again.
        misbehaviour: points against it (`happenings.POINTS`), fading by the second.
        last_error: why the last connection ended or could not be made, one line.
    """

    url: str
    state: RelayState
    connected_since: float | None
    last_event_at: float | None
    reconnects: int
    misbehaviour: float
    last_error: str | None
