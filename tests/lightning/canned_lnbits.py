"""An LNbits that answers what a real one cannot be made to say, and the rows of its record."""

import hashlib
import json
import time

import httpx
from coincurve import PrivateKey

from ledger.money import Msats
from lightning import bolt11
from lightning.backend import PayStatus
from lightning.lnbits import LnbitsWallet
from tests.lightning.canned import Answers

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0
OURS, THEIRS = "0a" * 16, "0b" * 16
PREIMAGE = b"\x03" * 32  # fixed: its hash is part of tests' names, which all workers of the runner must share
HASH = hashlib.sha256(PREIMAGE).hexdigest()
NO_PAYMENT = httpx.Response(404, json={"detail": "Payment does not exist."})
NO_WALLET = httpx.Response(404, json={"detail": "Wallet not found."})


def invoice(amount_msat: int | None = 21_000, **changes) -> str:
    terms = {"network": "bc", "timestamp": int(NOW), "description": "Timmy", "expiry": 600, **changes}
    return bolt11.encode(
        PrivateKey(b"\x01" * 32),
        payment_hash=bytes.fromhex(HASH),
        payment_secret=b"\x02" * 32,
        amount_msat=None if amount_msat is None else Msats(amount_msat),
        **terms,
    )


INVOICE = invoice()


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))


def row(amount: int = -21_000, status: str = "success", *, age: float = 3_600.0, **changes) -> dict:
    return {
        "checking_id": HASH, "payment_hash": HASH, "wallet_id": OURS, "amount": amount, "fee": -1_000,
        "bolt11": INVOICE, "status": status, "created_at": stamp(NOW - age), "updated_at": stamp(NOW - age),
        "expiry": stamp(NOW + 600), "preimage": PREIMAGE.hex(), "labels": [], "extra": {}, "external_id": None,
        **changes,
    }  # fmt: skip


def found(**changes) -> httpx.Response:
    made = row(**changes)
    return httpx.Response(200, json={"paid": made["status"] == "success", "details": made})


def created(body: dict) -> httpx.Response:
    return httpx.Response(201, json=body)


def refused(code: int, detail: str, status: str | None = None) -> httpx.Response:
    return httpx.Response(code, json={"detail": detail} | ({} if status is None else {"status": status}))


def page(*rows: dict, total: int | None = None) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows), "total": len(rows) if total is None else total})


class Lnbits:
    """Answers by what is asked: paying or creating, a look-up, a listing, the wallet."""

    def __init__(self, *, post=None, look_up=NO_PAYMENT, listing=None, wallet=None) -> None:
        self.post, self.look_up = post, look_up
        self.listing = page() if listing is None else listing
        self.wallet = httpx.Response(200, json={"id": OURS, "balance": 50_000}) if wallet is None else wallet
        self.http = Answers(self.answer)

    def answer(self, request: httpx.Request):
        asked = request.url.path.removeprefix("/api/v1/")
        if request.method == "POST":
            return self.post(request) if callable(self.post) else self.post
        match asked:
            case "wallet":
                return self.wallet
            case "payments/paginated":
                return self.listing(request) if callable(self.listing) else self.listing
            case _:
                return self.look_up

    def open(self, **changes) -> LnbitsWallet:
        return LnbitsWallet(
            "http://127.0.0.1:1", KEY,
            **{"clock": lambda: NOW, "transport": self.http, "backoff_s": 0.001, "poll_s": 0.001, **changes},
        )  # fmt: skip

    @property
    def posts(self) -> list[dict]:
        return [json.loads(request.content) for request in self.http.requests if request.method == "POST"]


async def pay(lnbits: Lnbits, text: str = INVOICE, **changes) -> PayStatus:
    wallet = lnbits.open()
    try:
        return await wallet.pay(text, **{"max_fee_msat": Msats(5_000), "key": "refund-1", **changes})
    finally:
        await wallet.aclose()
