"""Where an event of ours goes: said when it is signed, kept beside it, worked out when it is sent. Pure.

What the ledger keeps is whom an event is for, not a list of relays that may be old by the time it leaves.
`NewEvent.targets` is the JSON of one of these:

    Configured   {"to":"configured","version":1}                       all configured relays
    ToCustomer   {"to":"customer","version":1,"key":…,"came_from":…,"named":[…],"is_owed":…}
                 all configured relays, and besides where this customer reads
    ToInbox      {"to":"inbox","version":1,"key":…,"is_owed":…,"message":…}
                 the key's inbox relays and no others

Ledgers of before hold `[]`, which is `Configured`.
"""

from typing import Annotated, Final

import msgspec

VERSION: Final = 1
_Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Version = Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]


class Configured(msgspec.Struct, frozen=True, kw_only=True, tag_field="to", tag="configured"):
    """All configured relays."""

    version: _Version = VERSION


class ToCustomer(msgspec.Struct, frozen=True, kw_only=True, tag_field="to", tag="customer"):
    """All configured relays, and where a customer reads (NIP-90).

    Attributes:
        key: the customer's, hex. Where `named` is empty, the read relays of its kind 10002 stand in (NIP-65).
        came_from: the relay that delivered the request.
        named: the relays that the request names. A stranger's words: to be judged before they are dialled.
        is_owed: it was paid for. Anybody may cause other events for nothing, so dials are kept back for this.
    """

    version: _Version = VERSION
    key: _Key
    came_from: str = ""
    named: tuple[str, ...] = ()
    is_owed: bool = False


class ToInbox(msgspec.Struct, frozen=True, kw_only=True, tag_field="to", tag="inbox"):
    """Only the relays of a key's kind 10050, configured or not (NIP-17, direct messages); without one, nowhere.

    Attributes:
        key: the reader's, hex.
        is_owed: as in `ToCustomer`.
        message: the id of the message in the wrap, by which its reader may reply to it; a wrap does not show it.
            Empty in ledgers of before.
    """

    version: _Version = VERSION
    key: _Key
    is_owed: bool = False
    message: str = ""


Targets = Configured | ToCustomer | ToInbox

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final[msgspec.json.Decoder[Configured | ToCustomer | ToInbox | list[str]]] = msgspec.json.Decoder(
    Configured | ToCustomer | ToInbox | list[str]
)


def write_targets(targets: Targets) -> str:
    """The text for `NewEvent.targets`."""
    return _encode(targets).decode()


def read_targets(text: str) -> Targets:
    """What :func:`write_targets` wrote, or a ledger of before.

    Raises:
        ValueError: it is neither; a later version's text says so.
    """
    try:
        targets = _decoder.decode(text or "[]")
    except msgspec.MsgspecError as error:
        raise ValueError(f"where an event goes can't be read: {error}") from None
    return Configured() if isinstance(targets, list) else targets
