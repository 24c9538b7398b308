"""An agent without a model: fixed rules, no key, no network, the same answer every time.

It makes the demo, the tests and a first `timmy run` work, and never passes for a language model. Three
openings of a request choose its end, so that every path can be shown:

- ``[reject]``: the evaluation rejects it;
- ``[fail]``: the work ends in ``Unavailable``;
- ``[refuse]``: the work ends in ``Refused``.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from timmy_dvm.agent import prompts
from timmy_dvm.agent.runner import Answer, OnText, Refused, Task, Turn, Unavailable, Usage, Verdict
from timmy_dvm.core.pricing import BYTES_PER_TOKEN, estimate_input_tokens, estimate_tokens

OFFLINE_MODEL = "offline"
REJECT, FAIL, REFUSE = "[reject]", "[fail]", "[refuse]"

TALK_DELAY_S = 0.4
SMALL_TALK = (
    "Welcome to my workshop! Mind the sparks; gamma is forging an answer.",
    "Ah, a visitor! Ask me anything at the counter: a few sats buy an answer, and you get the change back.",
    "My wand is resting today: I run without a language model. The books balance all the same.",
    "Hm, a fine thought. Even a wizard must look that up, and delta would want it paid to the last sat.",
)
"""What is said to visitors without a model."""

_REJECTED = "Requests that begin with [reject] are rejected by the offline agent. Remove it to get an answer."
_REFUSED = "Requests that begin with [refuse] are refused by the offline agent. Remove it to get an answer."

# The first topic that the request mentions answers it.
_TOPICS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\b(refunds?|overpaid|overpay)\b", re.IGNORECASE),
        """\
You are charged what the work really cost, never more than you were quoted. What you paid beyond that stays \
yours: a little becomes credit for your next request, the rest is held until you claim it with an invoice of \
your own. If the work fails, all of the work fee goes back the same way.""",
    ),
    (
        re.compile(r"\b(generosity|pool|free tier)\b", re.IGNORECASE),
        """\
A part of what customers pay goes into a public generosity pool, meant for free answers to keys that have \
paid before. It can never be overdrawn.""",
    ),
    (
        re.compile(r"\b(lightning|invoices?|sats?|satoshis?|bolt11)\b", re.IGNORECASE),
        """\
The Lightning network moves bitcoin in seconds for very small fees. A provider asks with an invoice, which \
holds an amount and the hash of a secret; paying it reveals the secret, and that proves the payment. One \
bitcoin is 100,000,000 sats.""",
    ),
    (
        re.compile(r"\b(nip-?90|dvms?|vending machines?)\b", re.IGNORECASE),
        """\
NIP-90 describes data vending machines on Nostr. A customer publishes a job request (kinds 5000 to 5999); \
providers answer with feedback (kind 7000), often an invoice, and then with a result, whose kind is the \
request's plus 1000. Text generation is kind 5050.""",
    ),
    (
        re.compile(r"\b(nostr|relays?|npub)\b", re.IGNORECASE),
        """\
Nostr is a protocol of signed events that travel over simple servers called relays. A public key is an \
identity that nobody can take away; clients publish to several relays and read from several.""",
    ),
    (
        re.compile(r"\b(bitcoin|btc)\b", re.IGNORECASE),
        """\
Bitcoin is money on the internet without an issuer: a public ledger, kept by everyone who runs a node and \
ordered by proof of work, with never more than 21 million coins.""",
    ),
    (
        re.compile(r"\b(timmy|(who|what) are you|about yourself)\b", re.IGNORECASE),
        """\
I am Timmy, an agent that sells answers for sats on Nostr. You ask, I name a price, you pay it or the \
generosity pool does, I answer, and I give back the change.""",
    ),
    (
        re.compile(r"\A(hello|hi|hey|gm|ping)\b", re.IGNORECASE),
        "Hello! Timmy is here and working. Ask me something about Lightning, Nostr or NIP-90.",
    ),
)
_FOOTNOTE = "(Answered by fixed rules: this Timmy runs without a language model.)"

_SUMMARISE = re.compile(r"(?:please )?(?:summari[sz]e|tl;?dr)\b[^:\n]*[:\n](.+)", re.IGNORECASE | re.DOTALL)
_COUNT = re.compile(r"(?:please )?count (?:the )?words\b[^:\n]*[:\n](.+)", re.IGNORECASE | re.DOTALL)
_REVERSE = re.compile(r"(?:please )?reverse\b[^:\n]*[:\n](.+)", re.IGNORECASE | re.DOTALL)
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|$)", re.DOTALL)
_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"\S+\s*|\s+")
_MIN_TELLING_WORD = 5
_REMEMBERED_CHARS = 80


class OfflineAgent:
    """An ``Agent`` (see ``runner``) that counts tokens as the price estimate does.

    So its work is never dearer than its quote, and a short answer leaves change to give back.

    Args:
        delay_s: how long each call takes, in seconds; spread over the words when they are streamed.
        sleep: waits that long.
        eval_model, work_model: the names its tokens are counted under.
    """

    def __init__(
        self,
        delay_s: float = 0,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        eval_model: str = OFFLINE_MODEL,
        work_model: str = OFFLINE_MODEL,
    ) -> None:
        self._delay_s = delay_s
        self._sleep = sleep
        self._eval_model = eval_model
        self._work_model = work_model
        self._closed = False
        self._talks = 0

    @property
    def eval_model(self) -> str:
        """Name its evaluations are counted under."""
        return self._eval_model

    @property
    def work_model(self) -> str:
        """Name its work is counted under when the task names none."""
        return self._work_model

    async def evaluate(self, task: Task, *, deadline_s: float) -> Verdict:
        """Accept anything but an empty request and the trigger ``[reject]``."""
        await self._within(deadline_s, lambda: self._pause(self._delay_s))
        text = task.text.strip()
        reason = ""
        if text.lower().startswith(REJECT):
            reason = _REJECTED
        elif not text:
            reason = "The request is empty. Please say what you want."
        reply = f"REJECT: {reason}" if reason else "ACCEPT"
        asked = estimate_tokens(prompts.EVAL_SYSTEM) + estimate_tokens(prompts.eval_message(task))
        return Verdict(not reason, reason, Usage(self._eval_model, asked, estimate_tokens(reply)))

    async def work(self, task: Task, *, deadline_s: float, on_text: OnText | None = None) -> Answer:
        """Answer by the rules of this file."""
        model = task.model or self._work_model
        asked = estimate_input_tokens(task.priced_text, task.turns)
        opening = task.text.strip().lower()
        text, truncated = _cut(compose(task.text, task.turns), task.max_output_tokens)
        said = "" if opening.startswith((FAIL, REFUSE)) else text
        await self._within(deadline_s, lambda: self._say(said, on_text))
        if opening.startswith(FAIL):
            raise Unavailable(f"the request began with {FAIL}", usage=Usage(model, asked, 0))
        if opening.startswith(REFUSE):
            raise Refused(_REFUSED, usage=Usage(model, asked, estimate_tokens(_REFUSED)))
        return Answer(text, Usage(model, asked, estimate_tokens(text)), truncated)

    async def small_talk(self, said: str, *, deadline_s: float) -> Answer:
        """One of four sentences, in turn, after 0.4 s."""
        await self._within(deadline_s, lambda: self._pause(TALK_DELAY_S))
        text = SMALL_TALK[self._talks % len(SMALL_TALK)]
        self._talks += 1
        asked = estimate_tokens(prompts.TALK_SYSTEM) + estimate_tokens(prompts.clean(said))
        return Answer(text, Usage(self._eval_model, asked, estimate_tokens(text)), truncated=False)

    async def aclose(self) -> None:
        """Later calls end in ``Unavailable``; there is nothing to close."""
        self._closed = True

    async def _within(self, deadline_s: float, act: Callable[[], Awaitable[None]]) -> None:
        if self._closed:
            raise Unavailable("the agent is closed")
        if not self._delay_s:
            await act()
            return
        try:
            async with asyncio.timeout(deadline_s):
                await act()
        except TimeoutError:
            raise Unavailable(f"no answer within {deadline_s:g} s") from None

    async def _say(self, text: str, on_text: OnText | None) -> None:
        """Hand out the text word by word, taking ``delay_s`` for all of it."""
        if on_text is None:
            await self._pause(self._delay_s)
            return
        pieces = _PIECE.findall(text)
        for piece in pieces:
            await self._pause(self._delay_s / len(pieces))
            on_text(piece)

    async def _pause(self, seconds: float) -> None:
        if seconds:
            await self._sleep(seconds)


def compose(request: str, turns: Sequence[Turn] = ()) -> str:
    """The answer to a request, before any output limit. With turns before it, it says that it was shown them."""
    answer = _answer(prompts.unfenced(prompts.clean(request).strip()))
    return f"{answer}\n\n{_remembered(turns)}" if turns else answer


def _remembered(turns: Sequence[Turn]) -> str:
    count = f"{len(turns)} question{'s' if len(turns) > 1 else ''}"
    last = " ".join(prompts.clean(turns[-1].request).split())
    return f"(Before this you asked {count}; the last was: “{last[:_REMEMBERED_CHARS]}”.)"


def _answer(text: str) -> str:
    if found := _COUNT.match(text):
        count = len(_WORD.findall(found[1]))
        return f"{count} {'word' if count == 1 else 'words'}.\n\n{_FOOTNOTE}"
    if found := _REVERSE.match(text):
        return found[1].strip()[::-1]
    if found := _SUMMARISE.match(text):
        return f"{_summary(found[1].strip())}\n\n{_FOOTNOTE}"
    words = _WORD.findall(text.lower())
    for mention, answer in _TOPICS:
        if mention.search(text):
            return f"{answer}\n\n{_FOOTNOTE}"
    telling = [word for word, _ in Counter(w for w in words if len(w) >= _MIN_TELLING_WORD).most_common(3)]
    about = f" It seems to be about {', '.join(telling)}." if telling else ""
    return (
        f"I have read your request of {len(words)} {'word' if len(words) == 1 else 'words'}.{about} "
        "To answer it I would need a language model; without one I know about Timmy, Lightning, Nostr, NIP-90 "
        f"and Bitcoin, and I can summarise, count words and reverse a text given after a colon.\n\n{_FOOTNOTE}"
    )


def _summary(text: str) -> str:
    """The first and the last sentence: crude, but often where the point is."""
    sentences = [" ".join(found[0].split()) for found in _SENTENCE.finditer(text) if found[0].strip()]
    return sentences[0] if len(sentences) == 1 else f"{sentences[0]} … {sentences[-1]}"


def _cut(text: str, max_tokens: int) -> tuple[str, bool]:
    """The text within a token limit, and whether it had to be cut."""
    raw = text.encode()
    limit = max_tokens * BYTES_PER_TOKEN
    return raw[:limit].decode("utf-8", "ignore"), len(raw) > limit
