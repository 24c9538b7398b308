"""Nostr over websockets: events, keys, encryption, relays. No jobs, no money.

Read in this order: `event` (what is said and how it is proved), `keys` (who says it), `filter` (what one asks
relays for), `nip04` and `nip44` (what only two can read), `nip59` (what nobody else sees being said), then `wire`,
`session`, `conversation`, `connection` and `pool` (how it travels). `errors` draws the tree of what can go wrong.
"""

from relay_client.errors import InvalidEvent
from relay_client.event import Event

__all__ = ["Event", "InvalidEvent"]
