"""Everything that goes wrong between Timmy and Nostr, sorted by who must act.

RelayClientError
├── InvalidEvent         someone sent (or we tried to sign) what is no valid event: drop it
│   └── InvalidGiftWrap  what is inside a gift wrap is no message of who sealed it: drop it
├── InvalidKey           a person gave a key, npub, nprofile or event id that cannot be read: ask again
├── DecryptionFailed     an encrypted text is damaged, forged or not for us: tell the sender, name no detail
├── InvalidPlaintext     we tried to encrypt what other clients could not read: shorten or mend it
├── InvalidFrame         a relay or client sent a message that cannot be read: drop it, count it
│   └── InvalidFilter    the filter inside a REQ cannot be read: answer CLOSED
├── InvalidRelayUrl      a relay's address is wrong: correct the configuration, ignore it in a job
├── NotConnected         the relay is away just now: send again later
└── DialRefused          an address named by a stranger may not be dialled: leave it out

No message carries a secret, and none repeats more than a field's name from what a stranger sent.
"""


class RelayClientError(Exception):
    """Root of this package's errors."""


class InvalidEvent(RelayClientError):
    """The text is not a Nostr event, or its id or its signature is false (NIP-01)."""


class InvalidGiftWrap(InvalidEvent):
    """What a gift wrap holds is no seal, no rumor, or not of one author (NIP-59)."""


class InvalidKey(RelayClientError):
    """A key or an identifier cannot be read (hex or NIP-19)."""


class DecryptionFailed(RelayClientError):
    """A NIP-04 or NIP-44 text does not decrypt; deliberately silent about why."""


class InvalidPlaintext(RelayClientError):
    """A text is empty, too long, or no valid Unicode, so other clients could not read it encrypted (NIP-44)."""


class InvalidFrame(RelayClientError):
    """A message on the relay connection cannot be read (NIP-01)."""


class InvalidFilter(InvalidFrame):
    """A subscription filter cannot be read (NIP-01)."""


class InvalidRelayUrl(RelayClientError):
    """A relay's address is not one that can be dialled."""


class NotConnected(RelayClientError):
    """The relay is not connected at this moment."""


class DialRefused(RelayClientError):
    """An address named by a stranger may not be dialled."""
