"""BOLT11 invoices: `decode` what others made, `encode` our own where the wallet is simulated. Pure.

Reads as strictly as BOLT 11 and refuses what two wallets could read differently: a field twice that belongs
there once, a payment without its secret, an amount below one msat. One exception follows the specification's own
examples against an older sentence of it: `p`, `h`, `s` and `n` of a wrong length are skipped, not refused.

Whoever shows a description treats it as hostile text: it is a stranger's.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from coincurve import PrivateKey, PublicKey

from ledger.money import MAX_MSATS, Msats
from lightning import bech32
from lightning.errors import InvalidInvoice

__all__ = ["Bolt11Invoice", "InvalidInvoice", "decode", "encode"]

MAX_LENGTH = 4_096
"""Longest text looked at, in characters. Invoices are 200 to 600, with many route hints 1,500."""
MAX_DESCRIPTION_BYTES = 639
DEFAULT_EXPIRY_S = 3_600
DEFAULT_MIN_FINAL_CLTV = 18
_MAX_SECONDS = 1 << 35
"""Longest expiry: as long as timestamps can count. Beyond, dates stop fitting into anybody's database."""

_PREFIX = re.compile(r"ln(bcrt|bc|tbs|tb)(?:([1-9][0-9]{0,19})([munp]?))?", re.ASCII)
_TENTHS_OF_MSAT = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}

_TIMESTAMP_WORDS, _SIGNATURE_WORDS, _HEADER_WORDS, _HASH_WORDS, _PAYEE_WORDS = 7, 104, 3, 52, 53
_TAGS = {letter: "qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter) for letter in "pshndxcm9r"}
_HASH, _SECRET, _DESCRIPTION_HASH, _PAYEE = (_TAGS[letter] for letter in "pshn")
_DESCRIPTION, _EXPIRY, _CLTV, _METADATA, _FEATURES, _ROUTE = (_TAGS[letter] for letter in "dxcm9r")
_FIXED_WORDS = {_HASH: _HASH_WORDS, _SECRET: _HASH_WORDS, _DESCRIPTION_HASH: _HASH_WORDS, _PAYEE: _PAYEE_WORDS}
_SINGLE = {_DESCRIPTION, _EXPIRY, _CLTV, _METADATA, _FEATURES, *_FIXED_WORDS}

VAR_ONION, PAYMENT_SECRET, BASIC_MPP, ROUTE_BLINDING, ATTRIBUTION, PAYMENT_METADATA = 8, 14, 16, 24, 36, 48
"""Feature bits of BOLT 9 that may stand in an invoice, in their required (even) form."""
_UNDERSTOOD = {VAR_ONION, PAYMENT_SECRET, BASIC_MPP, ROUTE_BLINDING, ATTRIBUTION, PAYMENT_METADATA}

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_RECOVERY_IDS = range(4)


@dataclass(frozen=True, slots=True)
class Bolt11Invoice:
    """What an invoice says. Hashes, keys and metadata are lower-case hex; exactly one description is set."""

    network: str
    """bc, tb, tbs (signet) or bcrt (regtest)."""
    amount_msat: Msats | None
    """None: the payer chooses."""
    timestamp: int
    """When it was made, UNIX seconds, by the payee's clock."""
    payment_hash: str
    payment_secret: str
    description: str | None
    description_hash: str | None
    expiry: int
    """Seconds after ``timestamp``."""
    min_final_cltv: int
    """Blocks."""
    features: tuple[int, ...]
    """The feature bits set, ascending."""
    metadata: str | None
    payee: str
    """The compressed public key of the node, named or recovered from the signature."""
    route_hints: int
    """How many routes to a private node it suggests."""

    @property
    def expires_at(self) -> int:
        """UNIX seconds after which the payee may refuse."""
        return self.timestamp + self.expiry


def decode(text: str) -> Bolt11Invoice:
    """Read a BOLT11 invoice; a ``lightning:`` in front, upper case, and white space around it are fine.

    Whether the network is the right one, and whether it has expired, is for the caller to judge.

    Raises:
        InvalidInvoice: for any other text whatever; the sentence says why.
    """
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise InvalidInvoice(f"An invoice is a text of at most {MAX_LENGTH} characters; check what was pasted.")
    text = text.strip()
    if text[:10].lower() == "lightning:":
        text = text[10:]
    try:
        prefix, words = bech32.decode(text)
    except ValueError as error:
        raise InvalidInvoice(f"This is not a Lightning invoice: {error}; copy it again.") from None
    network, amount = _read_prefix(prefix)
    if len(words) < _TIMESTAMP_WORDS + _SIGNATURE_WORDS:
        raise InvalidInvoice("The invoice is too short to hold a signature; copy it again.")
    signed, signature = words[:-_SIGNATURE_WORDS], words[-_SIGNATURE_WORDS:]
    fields, route_hints = _read_fields(signed)
    digest = hashlib.sha256(prefix.encode() + bech32.bytes_from_words(signed, pad=True)).digest()
    description_hash = fields.get(_DESCRIPTION_HASH)
    metadata = fields.get(_METADATA)
    return Bolt11Invoice(
        network=network,
        amount_msat=amount,
        timestamp=bech32.int_from_words(signed[:_TIMESTAMP_WORDS]),
        payment_hash=_hex(fields[_HASH]),
        payment_secret=_hex(fields[_SECRET]),
        description=_read_description(fields.get(_DESCRIPTION)),
        description_hash=None if description_hash is None else _hex(description_hash),
        expiry=_read_number(fields.get(_EXPIRY), DEFAULT_EXPIRY_S),
        min_final_cltv=_read_number(fields.get(_CLTV), DEFAULT_MIN_FINAL_CLTV),
        features=_read_features(fields.get(_FEATURES, b"")),
        metadata=None if metadata is None else _hex(metadata),
        payee=_read_payee(bech32.bytes_from_words(signature), digest, fields.get(_PAYEE)),
        route_hints=route_hints,
    )


def _read_prefix(prefix: str) -> tuple[str, Msats | None]:
    """The network and the amount in msat."""
    match = _PREFIX.fullmatch(prefix)
    if match is None:
        raise InvalidInvoice("The invoice names no network we know, or a malformed amount; ask for another.")
    network, number, multiplier = match.groups()
    if number is None:
        return network, None
    amount, rest = divmod(int(number) * _TENTHS_OF_MSAT[multiplier], 10)
    if rest:
        raise InvalidInvoice("The invoice asks for a fraction of a millisatoshi; ask for another.")
    if amount > MAX_MSATS:
        raise InvalidInvoice("The invoice asks for more than all bitcoin there is; ask for another.")
    return network, Msats(amount)


def _read_fields(signed: bytes) -> tuple[dict[int, bytes], int]:
    """The fields that may stand once, by tag, and the number of route hints."""
    fields: dict[int, bytes] = {}
    route_hints = 0
    at = _TIMESTAMP_WORDS
    while at < len(signed):
        start = at + _HEADER_WORDS
        header = signed[at:start]
        if len(header) < _HEADER_WORDS:
            raise InvalidInvoice("The invoice breaks off inside a field; copy it again.")
        tag, length = header[0], header[1] << 5 | header[2]
        at = start + length
        if at > len(signed):
            raise InvalidInvoice("The invoice breaks off inside a field; copy it again.")
        if tag == _ROUTE:
            route_hints += 1
        elif tag in _SINGLE and length == _FIXED_WORDS.get(tag, length):
            if tag in fields:
                raise InvalidInvoice("The invoice says something twice that may stand once; ask for another.")
            fields[tag] = signed[start:at]
    if _HASH not in fields or _SECRET not in fields:
        raise InvalidInvoice("The invoice lacks its payment hash or payment secret; ask for another.")
    if (_DESCRIPTION in fields) == (_DESCRIPTION_HASH in fields):
        raise InvalidInvoice("The invoice must have a description or the hash of one, not both; ask for another.")
    return fields, route_hints


def _hex(words: bytes) -> str:
    return bech32.bytes_from_words(words).hex()


def _read_description(words: bytes | None) -> str | None:
    if words is None:
        return None
    try:
        return bech32.bytes_from_words(words).decode()
    except UnicodeDecodeError:
        raise InvalidInvoice("The description of the invoice is not UTF-8 text; ask for another.") from None


def _read_number(words: bytes | None, default: int) -> int:
    if words is None:
        return default
    number = bech32.int_from_words(words)
    if number >= _MAX_SECONDS:
        raise InvalidInvoice("The invoice names an absurdly long time; ask for another.")
    return number


def _read_features(words: bytes) -> tuple[int, ...]:
    bits = bech32.int_from_words(words)
    features = tuple(bit for bit in range(bits.bit_length()) if bits >> bit & 1)
    unknown = [bit for bit in features if bit % 2 == 0 and bit not in _UNDERSTOOD]
    if unknown:
        raise InvalidInvoice(f"The invoice requires feature {unknown[0]}, which we do not know; ask for another.")
    return features


def _read_payee(signature: bytes, digest: bytes, named: bytes | None) -> str:
    """The node's key: recovered from the signature or, where the invoice names one, checked against it."""
    compact, recovery_id = signature[:64], signature[64]
    if named is None:
        payee = _recover(compact, recovery_id, digest)
        if payee is None:
            raise InvalidInvoice("The signature of the invoice belongs to no key; copy it again.")
        return payee.hex()
    key = bech32.bytes_from_words(named)
    if int.from_bytes(compact[32:], "big") > _HALF_ORDER:
        raise InvalidInvoice("The signature of the invoice is not in its canonical form; ask for another.")
    # A signature is valid for exactly those keys that can be recovered from it: with the key named, the
    # recovery id has no say.
    if all(_recover(compact, candidate, digest) != key for candidate in _RECOVERY_IDS):
        raise InvalidInvoice("The invoice is not signed by the node it names; ask for another.")
    return key.hex()


def _recover(compact: bytes, recovery_id: int, digest: bytes) -> bytes | None:
    try:
        key = PublicKey.from_signature_and_message(compact + bytes([recovery_id]), digest, hasher=None)
    except ValueError:
        return None
    return key.format()


def encode(
    key: PrivateKey,
    *,
    network: str,
    payment_hash: bytes,
    payment_secret: bytes,
    timestamp: int,
    amount_msat: Msats | None,
    description: str | None = None,
    description_hash: bytes | None = None,
    expiry: int = DEFAULT_EXPIRY_S,
    min_final_cltv: int | None = DEFAULT_MIN_FINAL_CLTV,
    features: Iterable[int] = (VAR_ONION, PAYMENT_SECRET),
    metadata: bytes | None = None,
) -> str:
    """Make and sign an invoice; the inverse of `decode`.

    Args:
        key: the node's secret key. The signature is deterministic (RFC 6979).
        network: bc, tb, tbs or bcrt.
        payment_hash: 32 bytes.
        payment_secret: 32 bytes.
        timestamp: UNIX seconds.
        amount_msat: None lets the payer choose.
        description: at most 639 bytes of UTF-8; exactly one of this and ``description_hash``.
        description_hash: 32 bytes.
        expiry: seconds; the default of 3,600 is not written out.
        min_final_cltv: blocks; None leaves the field out, as older invoices do.
        features: bits to set.
        metadata: what the payer's node hands back with the payment.

    Raises:
        ValueError: a value that no invoice can hold.
    """
    if (description is None) == (description_hash is None):
        raise ValueError("give a description or the hash of one, not both")
    fields = [(_SECRET, _word_hash(payment_secret)), (_HASH, _word_hash(payment_hash))]
    if description is not None:
        text = description.encode()
        if len(text) > MAX_DESCRIPTION_BYTES:
            raise ValueError(f"a description has at most {MAX_DESCRIPTION_BYTES} bytes")
        fields.append((_DESCRIPTION, bech32.words_from_bytes(text)))
    if description_hash is not None:
        fields.append((_DESCRIPTION_HASH, _word_hash(description_hash)))
    if metadata is not None:
        fields.append((_METADATA, bech32.words_from_bytes(metadata)))
    if expiry != DEFAULT_EXPIRY_S:
        fields.append((_EXPIRY, bech32.words_from_int(expiry)))
    if min_final_cltv is not None:
        fields.append((_CLTV, bech32.words_from_int(min_final_cltv)))
    feature_words = bech32.words_from_int(sum(1 << bit for bit in set(features)))
    if feature_words:
        fields.append((_FEATURES, feature_words))
    return _sign(key, _write_prefix(network, amount_msat), timestamp, fields)


def _sign(key: PrivateKey, prefix: str, timestamp: int, fields: list[tuple[int, bytes]]) -> str:
    if not 0 <= timestamp < _MAX_SECONDS:
        raise ValueError("the timestamp is not one a Lightning invoice can hold")
    parts = [bech32.words_from_int(timestamp, _TIMESTAMP_WORDS)]
    for tag, words in fields:
        parts += [bytes([tag, len(words) >> 5, len(words) & 31]), words]
    signed = b"".join(parts)
    digest = hashlib.sha256(prefix.encode() + bech32.bytes_from_words(signed, pad=True)).digest()
    signature = key.sign_recoverable(digest, hasher=None)
    return bech32.encode(prefix, signed + bech32.words_from_bytes(signature))


def _word_hash(value: bytes) -> bytes:
    if len(value) != 32:  # noqa: PLR2004 - SHA-256 has 32 bytes
        raise ValueError("hashes and secrets have 32 bytes")
    return bech32.words_from_bytes(value)


def _write_prefix(network: str, amount_msat: Msats | None) -> str:
    """The shortest amount: the largest multiplier that divides it."""
    if amount_msat is None:
        return f"ln{network}"
    if not 0 < amount_msat <= MAX_MSATS:
        raise ValueError("an amount is more than nothing and at most all bitcoin there is")
    tenths = amount_msat * 10
    multiplier, size = next((one, size) for one, size in _TENTHS_OF_MSAT.items() if tenths % size == 0)
    return f"ln{network}{tenths // size}{multiplier}"
