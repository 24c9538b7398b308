"""What a person sees while a job is on its way: on stderr, plain lines where there is no terminal."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import segno
from rich.console import Console

from ledger.money import sats_up
from timmy_dvm.nostr.customer import Answer, Said

_BLACK_ON_WHITE = "\x1b[30;107m"
_RESET = "\x1b[0m"


class Narrator:
    """Tells a job's steps. Texts of others are printed without markup and without control characters."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._partial = ""

    def say(self, label: str, text: str) -> None:
        """One labelled line."""
        if not self._quiet:
            self._console.print(f"{label:>8}  {printable(text)}", markup=False)

    def answer(self, answer: Answer) -> None:
        """What an answering event says, in one line; the result itself goes to stdout elsewhere."""
        match answer.said:
            case Said.PRICE:
                sats = "" if answer.amount is None else f"{sats_up(answer.amount)} sats"
                self.say("price", sats)
            case Said.WORKING:
                self.say("working", answer.text)
            case Said.PARTIAL:
                self.say("partial", self._beyond_last(answer.text))
            case Said.RESULT:
                self.say("result", f"event {answer.event.id[:16]}… from {answer.relay}")
            case Said.RECEIPT:
                self.say("receipt", answer.text)
            case Said.ERROR:
                self.say("refused", answer.text)
            case Said.OTHER:
                self.say("says", answer.text)

    def _beyond_last(self, partial: str) -> str:
        """What an answer that is being written has gained, where it goes on from what was shown before."""
        shown, self._partial = self._partial, partial
        return f"…{partial.removeprefix(shown)}" if shown and partial.startswith(shown) else partial

    def invoice(self, bolt11: str) -> None:
        """The invoice as text and, on a terminal that is wide enough, as a QR code below it."""
        self.say("invoice", f"lightning:{bolt11}")
        if self._console.is_terminal and not self._quiet:
            for line in qr(bolt11):
                sys.stderr.write(f"{_BLACK_ON_WHITE}{line}{_RESET}\n")


def qr(bolt11: str) -> Sequence[str]:
    """A QR code as lines of half blocks, dark on light: upper case, for the smaller code of that alphabet."""
    matrix = [list(row) for row in segno.make(f"LIGHTNING:{bolt11.upper()}", error="l", boost_error=False).matrix]
    width = len(matrix[0])
    blank = [0] * (width + 4)
    rows = [blank, blank, *([0, 0, *row, 0, 0] for row in matrix), blank, blank]
    if len(rows) % 2:
        rows.append(blank)
    blocks = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
    return [
        "".join(blocks[(1 if up else 0, 1 if low else 0)] for up, low in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def printable(text: str) -> str:
    """Text of others without what could move a cursor or break a line into our own voice."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def read_ledger(answer: Answer) -> dict[str, Any]:
    """The cost ledger of a receipt, empty where there is none that can be read."""
    tag = answer.tag("ledger")
    if tag is None or len(tag) < 2:  # noqa: PLR2004 - name and JSON
        return {}
    try:
        ledger = json.loads(tag[1])
    except (ValueError, RecursionError):
        return {}
    return ledger if isinstance(ledger, dict) else {}


def ledger_line(answer: Answer) -> str:
    """The cost ledger of a receipt in one line, empty where there is none."""
    ledger = read_ledger(answer)
    if not ledger:
        return ""
    return (
        f"{ledger.get('totalTokens')} tokens; work cost {ledger.get('actualAmountSats')} "
        f"of {ledger.get('workAmountSats')} sats, {ledger.get('refundAmountSats')} sats come back"
    )


def held_sats(answer: Answer) -> int:
    """What a receipt's cost ledger says is held for the customer, in whole sats."""
    refunds = read_ledger(answer).get("refunds")
    rows = [row for row in refunds if isinstance(row, dict)] if isinstance(refunds, list) else []
    held = [row.get("amountSats") for row in rows if row.get("state") == "held"]
    return sum(sats for sats in held if isinstance(sats, int) and sats > 0)
