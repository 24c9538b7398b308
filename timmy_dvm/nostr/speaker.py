"""Decisions as signed events, by the table of NIP-90's statuses. Called inside the ledger's commit; never raises.

money due      feedback `payment-required`: the invoice, words first
work begins    feedback `processing`
done           the result, then feedback `success`: the receipt, with the cost ledger for programs
no answer      feedback `error`: why, what comes back, what to do next; never an invoice
refund moved   feedback with the job's last status again
an operation   a result with JSON
a top-up       feedback and a result with its invoice; once paid, feedback `success` with the new balance
a mention      a note in its thread: who we are
a gift         the receipt of a zap, where it was one (NIP-57); never before our wallet says that it is paid

Who wrote a private message is answered with private messages instead (`letters`).
"""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from ledger.money import sats_down
from ledger.records import EventRole, JobState, NewEvent
from relay_client.keys import Keys
from timmy_dvm.clock import Randomness
from timmy_dvm.core.actions import (
    CreditAdded,
    Delivered,
    Donated,
    Ended,
    Introduced,
    Message,
    OperationDone,
    PriceTold,
    RefundMoved,
    Refused,
    Reply,
    Working,
)
from timmy_dvm.core.trust import Tier
from timmy_dvm.log import get_logger
from timmy_dvm.nostr import words
from timmy_dvm.nostr.answering import Answer, Tag
from timmy_dvm.nostr.letters import Letter
from timmy_dvm.nostr.origin import read_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.nostr.zaps import read_note, receipt

_LAST_STATUS: Final[dict[str, str]] = {
    JobState.COMPLETE: "success",
    JobState.REJECTED: "error",
    JobState.FAILED: "error",
    JobState.EXPIRED: "error",
    JobState.CANCELLED: "error",
}
_TOLD_BEFORE: Final = frozenset({"invoice", "begun"})
"""Ways to cover a job in which a request for money went before."""
# Dollars are Decimals; programs want numbers. What JSON has no form for is written as text, for a message must
# never stop the commit it belongs to.
_json: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
log = get_logger("speaker")


class NostrSpeaker:
    """The relay door's voice (`engine.Speaker`).

    Args:
        keys: Timmy's.
        randomness: for signatures and encryption.
        pay_page_base: address under which each job has its pay page, without a slash at its end; None: no pages.
        name: what we call ourselves.
    """

    def __init__(
        self, keys: Keys, randomness: Randomness, pay_page_base: str | None = None, *, name: str = "Timmy"
    ) -> None:
        self._keys = keys
        self._randomness = randomness
        self._pay_page_base = pay_page_base
        self._name = name

    def speak(
        self,
        message: Message,
        *,
        origin: str,
        job_id: str | None,
        tier: Tier,
        at: int,
        absorbed_sats: int | None = None,
    ) -> Sequence[NewEvent]:
        """The events that say it, in the order in which to publish them; none for a job of another door."""
        if isinstance(message, Donated):
            return self._thanks(message, origin, at)
        try:
            came = read_origin(origin)
        except ValueError as error:
            log.warning(
                "a customer can't be answered",
                action="origin_unreadable",
                job=(job_id or "")[:8],
                error=str(error),
            )
            return ()
        if came is None:
            return ()
        if came[0].scheme is Scheme.NIP59:
            letter = Letter(
                keys=self._keys,
                entropy=self._randomness.token,
                origin=came[0],
                request=came[1],
                job_id=job_id,
                at=at,
                pay_page=self._pay_page(job_id),
            )
            return letter.say(message)
        answer = Answer(
            keys=self._keys,
            entropy=self._randomness.token,
            origin=came[0],
            request=came[1],
            job_id=job_id,
            tier=tier,
            at=at,
            absorbed_sats=absorbed_sats,
        )
        return self._say(message, answer)

    def _thanks(self, gift: Donated, note: str, at: int) -> Sequence[NewEvent]:
        """The receipt of a zap (NIP-57): our wallet's record says it is paid, and its invoice says how much."""
        zap = read_note(note)
        if zap is None or gift.received < gift.amount:
            return ()
        return (receipt(zap, gift.bolt11, keys=self._keys, aux=self._randomness.token(32), at=at),)

    def _pay_page(self, job_id: str | None) -> str | None:
        return f"{self._pay_page_base}/{job_id}" if self._pay_page_base and job_id else None

    def _say(self, message: Reply, answer: Answer) -> Sequence[NewEvent]:
        match message:
            case PriceTold():
                return (self._money_due(message, answer),)
            case CreditAdded():
                return (_credit_added(message, answer),)
            case Working():
                return (_working(message, answer),)
            case Delivered():
                return (*answer.result(message.text, EventRole.RESULT), _receipt(message, answer))
            case Ended():
                return (answer.feedback("error", words.ended(message), tags=[("code", message.code)]),)
            case Refused():
                sentence = words.shortened(message.sentence)
                return (answer.feedback("error", sentence, tags=[("code", message.code)]),)
            case RefundMoved():
                status = _LAST_STATUS.get(message.status, "processing")
                refund = ("refund", message.state, str(message.sats))
                return (answer.feedback(status, words.shortened(message.sentence), tags=[refund]),)
            case OperationDone():
                # One RESULT a job, and that is the answer to its request, not to a question about it. What was
                # asked is not repeated: it belongs to no job, so it could not be forgotten with one.
                return answer.result(_text(message.body), EventRole.FEEDBACK, repeats_request=False)
            case Introduced():
                return (answer.note(words.introduction(message, answer.origin, self._name, self._keys.npub)),)
            case _:
                assert_never(message)

    def _money_due(self, told: PriceTold, answer: Answer) -> NewEvent:
        return answer.feedback(
            "payment-required",
            words.money_due(told, answer.origin, self._pay_page(answer.job_id)),
            line=words.money_due_line(told, answer.origin),
            amount=("amount", str(told.amount), told.bolt11),
            tags=[
                ("payment_hash", told.payment_hash),
                ("expiration", str(told.expires_at)),
                *_ignored(answer),
            ],
        )


def _working(message: Working, answer: Answer) -> NewEvent:
    said = words.working(message)
    if message.covered_by in _TOLD_BEFORE:
        return answer.feedback("processing", said)
    return answer.feedback("processing", said + words.not_used(answer.origin), tags=_ignored(answer))


def _ignored(answer: Answer) -> tuple[Tag, ...]:
    """What of the customer's params changes nothing, for programs."""
    return (("ignored", *answer.origin.ignored),) if answer.origin.ignored else ()


def _receipt(message: Delivered, answer: Answer) -> NewEvent:
    return answer.feedback("success", words.receipt(message), tags=[("ledger", _text(message.ledger))])


def _credit_added(message: CreditAdded, answer: Answer) -> NewEvent:
    credit = ("credit", str(sats_down(message.added)), str(sats_down(message.credit)))
    return answer.feedback("success", words.credit_added(message), tags=[credit])


def _text(body: dict[str, object]) -> str:
    return _json.encode(body).decode()
