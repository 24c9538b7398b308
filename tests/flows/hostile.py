"""What strangers send to do harm, one maker for each sort: frames of a relay's, addressed to Timmy or near him.

Those in `SIGNED` are true events that an honest relay would pass on too; of a relay that sends the others it is
plain that it lies or lets everything through.
"""

import base64
import os
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Final

import msgspec

from relay_client.event import UnverifiedEvent
from relay_client.keys import Keys
from tests.flows.shop import signed

TEXT = 5050
DELETION = 5
NOTE = 1
ASK = ("i", "What does a data vending machine do for me?", "text")
DAY_S = 86_400
OVERSIZED_BYTES = 160_000

Maker = Callable[[Keys, str], UnverifiedEvent]


def stale(keys: Keys, me: str) -> UnverifiedEvent:
    return signed(keys, TEXT, [ASK, _salt()], ago_s=DAY_S, to=me)


def not_for_us(keys: Keys, me: str) -> UnverifiedEvent:
    return signed(keys, TEXT, [ASK, _salt()], to=me[::-1])


def undecryptable(keys: Keys, me: str) -> UnverifiedEvent:
    """In the shape of NIP-44, so that it takes the keys' shared secret to see that it is none."""
    sealed = base64.b64encode(b"\x02" + os.urandom(200)).decode()
    return signed(keys, TEXT, [("encrypted",), _salt()], sealed, to=me)


def refused(keys: Keys, me: str) -> UnverifiedEvent:
    """Read and priced like any other, and then too cheap."""
    return signed(keys, TEXT, [ASK, ("bid", "1000"), _salt()], to=me)


def cancelling(keys: Keys, me: str) -> UnverifiedEvent:
    return signed(keys, DELETION, [("e", os.urandom(32).hex()), ("k", str(TEXT))], to=me)


def bad_signature(keys: Keys, me: str) -> UnverifiedEvent:
    return _altered(_asking(keys, me), sig=os.urandom(64).hex())


def bad_id(keys: Keys, me: str) -> UnverifiedEvent:
    return _altered(_asking(keys, me), id=os.urandom(32).hex())


def foreign(keys: Keys, me: str) -> UnverifiedEvent:
    return signed(keys, NOTE, [_salt()], "Good morning.", to=me)


def oversized(keys: Keys, me: str) -> UnverifiedEvent:
    return _altered(_asking(keys, me), content="x" * OVERSIZED_BYTES)


SIGNED: Final[tuple[Maker, ...]] = (not_for_us, undecryptable, refused, cancelling)
LIES: Final[tuple[Maker, ...]] = (bad_signature, bad_id, stale, foreign, oversized)


class Hostile:
    """Events of many strangers, one after the other, of each sort in turn.

    Args:
        me: the public key they are after.
        makers: the sorts.
        strangers: how many keys sign; 0: each event is of a key of its own, so that no bound on a key helps.
    """

    def __init__(self, me: str, makers: tuple[Maker, ...] = SIGNED + LIES, strangers: int = 0) -> None:
        self._me = me
        self._makers = cycle(makers)
        self._keys = cycle([_fresh_keys() for _ in range(strangers)] or (None,))

    def named(self, count: int) -> Iterator[tuple[str, UnverifiedEvent]]:
        """So many, each with the name of its sort."""
        for maker, keys in islice(zip(self._makers, self._keys, strict=True), count):
            yield maker.__name__, maker(keys or _fresh_keys(), self._me)

    def frames(self, sub_id: str, count: int) -> list[str]:
        """So many, as a relay sends them for this subscription."""
        quoted = msgspec.json.encode(sub_id).decode()
        return [f'["EVENT",{quoted},{event.to_json()}]' for _, event in self.named(count)]


def _fresh_keys() -> Keys:
    return Keys.from_bytes(os.urandom(32))


def _asking(keys: Keys, me: str) -> UnverifiedEvent:
    """What would be a job."""
    return signed(keys, TEXT, [ASK, _salt()], to=me)


def _salt() -> tuple[str, str]:
    return ("salt", os.urandom(8).hex())


def _altered(event: UnverifiedEvent, **fields: object) -> UnverifiedEvent:
    values = {name: fields.get(name, getattr(event, name)) for name in event.__struct_fields__}
    return UnverifiedEvent(**values)
