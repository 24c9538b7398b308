"""Where a key says that it takes sats: `lud16` in its profile (NIP-01 kind 0, NIP-57), asked of our own relays.

Only configured relays are asked, and the newest profile counts. What was found is remembered for a while, so that
a busy customer's profile is asked for once.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from relay_client.connection import RelayState
from relay_client.event import Event
from relay_client.filter import Filter
from relay_client.status import RelayStatus
from timmy_dvm.clock import Clock
from timmy_dvm.payees import ProfilesUnknown

_PROFILE: Final = 0
_REMEMBERED_S: Final = 600
_REMEMBERED: Final = 1_000
_MAX_PROFILE_CHARS: Final = 65_536
_MAX_ADDRESS_CHARS: Final = 320


class Relays(Protocol):
    """Relays that can be asked once (`RelayPool`)."""

    async def query(self, filters: Sequence[Filter]) -> list[Event]:
        """What they have stored, newest first."""
        ...

    def status(self) -> list[RelayStatus]:
        """How each of them is doing."""
        ...


class _Names(msgspec.Struct):
    lud16: object = None
    lud06: object = None


_names: Final = msgspec.json.Decoder(_Names)


class RelayProfiles:
    """A `payees.Profiles` that asks relays."""

    def __init__(self, relays: Relays, clock: Clock) -> None:
        self._relays = relays
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, str | None]] = OrderedDict()

    async def lightning_address(self, pubkey: str) -> str | None:
        """See :class:`timmy_dvm.payees.Profiles`."""
        known = self._known.get(pubkey)
        if known is not None and self._clock.monotonic() < known[0]:
            return known[1]
        if not any(relay.state is RelayState.CONNECTED for relay in self._relays.status()):
            raise ProfilesUnknown("No relay is connected that could be asked for the profile.")
        found = await self._relays.query([Filter(authors=frozenset({pubkey}), kinds=frozenset({_PROFILE}))])
        address = address_in(found[0].content) if found else None
        self._known[pubkey] = (self._clock.monotonic() + _REMEMBERED_S, address)
        self._known.move_to_end(pubkey)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return address


def address_in(content: str) -> str | None:
    """The Lightning address in a profile's content, else its LNURL; not judged yet. None where it names none."""
    if len(content) > _MAX_PROFILE_CHARS:
        return None
    try:
        names = _names.decode(content)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    for value in (names.lud16, names.lud06):
        if isinstance(value, str) and 0 < len(value.strip()) <= _MAX_ADDRESS_CHARS:
            return value.strip()
    return None
