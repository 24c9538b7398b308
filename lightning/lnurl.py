"""Lightning addresses, LNURL-pay and LNURL-withdraw: the texts of both sides. Pure.

    address_url      alice@example.com → where its payment terms are asked (LUD-16)
    read_terms       the answer there → PayTerms, or why not (LUD-06)
    ask_url          PayTerms and a sum → where its invoice is asked
    read_invoice     the answer there → the BOLT11, checked against what was asked
    pay_terms, pay_invoice, withdraw_terms, done, refused      the same as a server says it (LUD-03, LUD-06)

Who connects to these addresses judges them first: a stranger named them, and the callback may be on another host.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from ledger.money import MSATS_PER_SAT, Msats
from lightning import bech32, bolt11
from lightning.errors import InvalidInvoice, LightningError

MAX_ANSWER_BYTES: Final = 65_536
MAX_ADDRESS_CHARS: Final = 320
_NAME: Final = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)
_ADDRESS: Final = re.compile(r"([a-z0-9._+-]{1,64})@([a-z0-9.-]{1,253})", re.ASCII)


class InvalidLnurl(LightningError, ValueError):
    """The text is no Lightning address or LNURL, or the service behind it doesn't keep to LNURL-pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayTerms:
    """What a service takes (LUD-06).

    Attributes:
        callback: where invoices are asked; not judged yet.
        least, most: of one payment, in msat.
        metadata: as the service wrote it, to the byte; its invoices commit to its hash.
    """

    callback: str
    least: Msats
    most: Msats
    metadata: str


def address_url(address: str) -> str:
    """Where the terms of a Lightning address are asked (LUD-16).

    Raises:
        InvalidLnurl: it is no address.
    """
    match = _ADDRESS.fullmatch(address.strip().lower()) if len(address) <= MAX_ADDRESS_CHARS else None
    if match is None or match[1] in {".", ".."}:
        raise InvalidLnurl("That is no Lightning address: it looks like name@example.com.")
    return f"https://{match[2]}/.well-known/lnurlp/{match[1]}"


def name_at_home(name: str) -> str | None:
    """A name of ours as the first part of a Lightning address (LUD-16); None where it can't be one."""
    lower = name.lower()
    return lower if _NAME.fullmatch(lower) and lower.strip("._") else None


def address_at(name: str, public_url: str) -> str | None:
    """``name@domain`` for our own service; None where no wallet elsewhere would find it.

    LUD-16 asks at the root of an https address.
    """
    parts = urlsplit(public_url)
    return identifier(name, public_url) if parts.scheme == "https" and parts.path in {"", "/"} else None


def identifier(name: str, public_url: str) -> str:
    """``name@domain`` as our metadata has it (LUD-16), wherever the service is; never what logs in there."""
    parts = urlsplit(public_url)
    return f"{name}@{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def encode(url: str) -> str:
    """The URL as an LNURL text (LUD-01), in upper case for the smaller QR code."""
    return bech32.encode("lnurl", bech32.words_from_bytes(url.encode())).upper()


def decode(text: str) -> str:
    """The URL of an LNURL text (LUD-01), not judged yet.

    Raises:
        InvalidLnurl: it is none.
    """
    try:
        prefix, words = bech32.decode(text.strip().removeprefix("lightning:"))
        url = bech32.bytes_from_words(words).decode("ascii")
    except UnicodeDecodeError:
        raise InvalidLnurl("That is no LNURL: there is no address in it.") from None
    except ValueError as error:
        raise InvalidLnurl(f"That is no LNURL: {error}.") from None
    if prefix != "lnurl":
        raise InvalidLnurl("That is no LNURL: those begin with lnurl1.")
    return url


def read_terms(body: bytes) -> PayTerms:
    """A service's answer to the question what it takes.

    Raises:
        InvalidLnurl: it refuses, or does not say it as LUD-06 does.
    """
    answer = _object(body)
    if answer.get("tag") != "payRequest":
        raise InvalidLnurl("The Lightning address does not take payments: its service answers something else.")
    callback, metadata = answer.get("callback"), answer.get("metadata")
    least, most = _whole(answer.get("minSendable")), _whole(answer.get("maxSendable"))
    if not isinstance(callback, str) or not isinstance(metadata, str) or least is None or most is None:
        raise InvalidLnurl("The Lightning address's service leaves out something that LNURL-pay needs.")
    if not 1 <= least <= most:
        raise InvalidLnurl("The Lightning address's service names limits that make no sense.")
    return PayTerms(callback=callback, least=Msats(least), most=Msats(most), metadata=metadata)


def ask_url(terms: PayTerms, amount: Msats) -> str:
    """Where an invoice for this sum is asked. No comment is sent: whose words would it hold?

    Raises:
        InvalidLnurl: the sum is not within the terms, or the callback is no URL.
    """
    if not terms.least <= amount <= terms.most:
        least, most = -(-terms.least // MSATS_PER_SAT), terms.most // MSATS_PER_SAT
        raise InvalidLnurl(f"The Lightning address takes {least} to {most} sats at a time.")
    try:
        parts = urlsplit(terms.callback)
    except ValueError:
        raise InvalidLnurl("The Lightning address's service names a callback that is no URL.") from None
    query = "&".join(filter(None, (parts.query, urlencode({"amount": amount}))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def read_invoice(body: bytes, terms: PayTerms, amount: Msats, network: str) -> bolt11.Bolt11Invoice:
    """The invoice in a service's answer, exactly as it was asked for.

    Args:
        body: the answer.
        terms: as they were told; the invoice commits to their metadata.
        amount: asked for, in msat.
        network: our wallet's, as BOLT11 writes it: bc, tb, tbs or bcrt.

    Raises:
        InvalidLnurl: the service refuses, or sends another invoice than was asked for.
    """
    text = _object(body).get("pr")
    if not isinstance(text, str):
        raise InvalidLnurl("The Lightning address's service sent no invoice.")
    try:
        invoice = bolt11.decode(text)
    except InvalidInvoice as error:
        raise InvalidLnurl(
            f"The Lightning address's service sent an invoice that can't be read: {error}"
        ) from None
    if invoice.network != network:
        raise InvalidLnurl("The Lightning address's service sent an invoice for another network.")
    if invoice.amount_msat != amount:
        raise InvalidLnurl("The Lightning address's service sent an invoice for another sum.")
    if invoice.description_hash != hashlib.sha256(terms.metadata.encode()).hexdigest():
        raise InvalidLnurl("The Lightning address's service sent an invoice that is not its own.")
    return invoice


def metadata_of(description: str, address: str | None = None) -> str:
    """Our own metadata (LUD-06, LUD-16): its bytes are what the invoice's description hash is of."""
    lines = [["text/plain", description]]
    if address is not None:
        lines.append(["text/identifier", address])
    return json.dumps(lines, ensure_ascii=False, separators=(",", ":"))


def pay_terms(terms: PayTerms, *, comment_chars: int = 0, nostr_pubkey: str | None = None) -> dict[str, object]:
    """Our answer to the question what we take (LUD-06).

    Args:
        terms: the sums, and what invoices commit to.
        comment_chars: the longest comment that may come along (LUD-12); 0: none.
        nostr_pubkey: who signs receipts of zaps, hex (NIP-57); None: zaps are not taken.
    """
    zaps = {} if nostr_pubkey is None else {"allowsNostr": True, "nostrPubkey": nostr_pubkey}
    return {
        "tag": "payRequest",
        "callback": terms.callback,
        "minSendable": terms.least,
        "maxSendable": terms.most,
        "metadata": terms.metadata,
        "commentAllowed": comment_chars,
        **zaps,
    }


def pay_invoice(text: str) -> dict[str, object]:
    """Our answer with the invoice (LUD-06)."""
    return {"pr": text, "routes": []}


def withdraw_terms(*, callback: str, k1: str, amount: Msats, description: str) -> dict[str, object]:
    """Our answer that so much may be withdrawn, neither more nor less (LUD-03)."""
    return {
        "tag": "withdrawRequest",
        "callback": callback,
        "k1": k1,
        "defaultDescription": description,
        "minWithdrawable": amount,
        "maxWithdrawable": amount,
    }


def done() -> dict[str, object]:
    """Our answer that a withdrawal is on its way (LUD-03)."""
    return {"status": "OK"}


def refused(reason: str) -> dict[str, object]:
    """Our answer that it can't be done; it goes with HTTP's 200, as wallets expect (LUD-03, LUD-06)."""
    return {"status": "ERROR", "reason": reason}


_objects: Final = msgspec.json.Decoder(dict[str, Any])


def _object(body: bytes) -> dict[str, Any]:
    """An answer as an object that is no refusal. The reason of one is a stranger's text, so it isn't repeated."""
    if len(body) > MAX_ANSWER_BYTES:
        raise InvalidLnurl("The Lightning address's service answers far too much.")
    try:
        answer = _objects.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise InvalidLnurl("The Lightning address's service does not answer in JSON.") from None
    if str(answer.get("status", "")).upper() == "ERROR":
        raise InvalidLnurl("The Lightning address's service refuses the payment.")
    return answer


def _whole(value: object) -> int | None:
    """An amount in msat; some services write it as a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
