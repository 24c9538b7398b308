"""docs/nostr.md names all that is read and said on relays, and nothing else: its tables are held to the code."""

import ast
import dataclasses
import json
import re
from pathlib import Path

import pytest

from ledger.money import Msats
from ledger.records import JobState
from relay_client import nip59
from relay_client.event import Event
from tests.timmy_dvm.core import builders, credit_builders
from tests.timmy_dvm.nostr.kit import ALICE, NOW, P_TIMMY, SCHEMES, TIMMY, opened, sealed, signed
from timmy_dvm import web
from timmy_dvm.clock import SeededRandomness
from timmy_dvm.config.schema import all_keys
from timmy_dvm.core import thread
from timmy_dvm.core.actions import (
    CreditAdded,
    Delivered,
    Ended,
    FreeUse,
    Introduced,
    OperationDone,
    PriceTold,
    RefundMoved,
    Refused,
    Working,
)
from timmy_dvm.core.case import Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.facts import Op
from timmy_dvm.core.settling import cost_ledger
from timmy_dvm.core.trust import Tier
from timmy_dvm.nostr import (
    announce,
    answering,
    asked_for,
    conversation,
    desk,
    gathering,
    inputs,
    mentions,
    nip17,
    nip90,
    notes,
    operations,
    presence,
    privacy,
    publishing,
    streaming,
    wishes,
    zaps,
)
from timmy_dvm.nostr.origin import write_origin
from timmy_dvm.nostr.privacy import Scheme
from timmy_dvm.nostr.speaker import NostrSpeaker

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/nostr.md").read_text()
KINDS = frozenset({5050, 5001, 5002})
CARD = announce.Card(
    name="Timmy",
    about="Answers.",
    kinds=(5050, 5001, 5002),
    direct_messages=True,
    models=("a", "b"),
    picture="https://timmy.example/p.png",
    lud16="timmy@timmy.example",
    nip05="timmy@timmy.example",
)


def section(heading):
    """The text under a heading."""
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table(heading):
    """The rows of the section's table, as lists of cells."""
    rows = [line for line in section(heading).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def named(heading, column=0):
    """What the table of the section names in a column, each in backticks."""
    return [name for row in table(heading) for name in re.findall(r"`([^`]+)`", row[column])]


def says_exactly(heading, names):
    shown = named(heading)
    assert len(shown) == len(set(shown)), "each once"
    assert set(shown) == {str(name) for name in names}


# What is said: each sort of message, in clear and encrypted, and all announcements.


def messages():
    invoice = {"amount": Msats(9_000), "bolt11": "lnbc1x", "payment_hash": "ab" * 32, "expires_at": NOW + 60}
    return [
        PriceTold(**invoice),
        *(Working(covered_by=source, credit=Msats(0)) for source in ("invoice", "credit", "begun")),
        CreditAdded(added=Msats(9_000), credit=Msats(9_000)),
        Working(
            covered_by="pool", credit=Msats(0), free=FreeUse(absorbed=Msats(9), used=Msats(9), budget=Msats(9))
        ),
        Delivered(text="x" * 100_000, truncated=False, ledger={}, money_back=""),
        Delivered(text="x", truncated=False, ledger={}, money_back=""),
        Ended(code="failed", sentence="x.", money_back=""),
        Refused(code="empty", sentence="x."),
        RefundMoved(state="sent", sats=9, status="complete", sentence="x."),
        OperationDone(body={"op": "me"}),
    ]


def told(request, scheme):
    """All events that answer a request, or a private message."""
    origin = write_origin(request, relay="wss://relay.example", relays=[], scheme=scheme, ignored=("top_k",))
    speaker = NostrSpeaker(TIMMY, SeededRandomness(1))
    new = [
        one
        for message in messages()
        for one in speaker.speak(message, origin=origin, job_id="j" * 32, tier=Tier.NEW, at=NOW, absorbed_sats=9)
    ]
    return [Event.from_wire(one.json) for one in new]


def written():
    """What answers a private message."""
    asked = nip59.Rumor.make(ALICE.public_key, kind=nip17.KIND_MESSAGE, created_at=NOW, content="Hi")
    return told(asked, Scheme.NIP59)


def said(kind=5050, scheme=Scheme.NONE):
    request = signed(("i", "Hi", "text"), P_TIMMY, kind=kind)
    if scheme is not Scheme.NONE:
        request = signed(P_TIMMY, ("encrypted",), kind=kind, content=sealed([["i", "Hi"]], scheme.value))
    return told(request, scheme)


def announced():
    ping = signed(P_TIMMY, kind=announce.KIND_PING)
    drafts = [
        *announce.announcements(CARD, ("wss://relay.example",)),
        announce.heartbeat(5050, NOW),
        announce.pong(ping, NOW, Tier.NEW),
        announce.retirement(TIMMY.public_key, (5050,)),
        presence.agent_state("{}"),
        presence.world_state("{}", NOW),
    ]
    return [draft.signed(TIMMY, SeededRandomness(3), NOW) for draft in drafts]


def introduced():
    mention = signed(P_TIMMY, ("e", "ab" * 32), kind=notes.KIND_NOTE, content="Who is Timmy?")
    origin = write_origin(mention, relay="wss://relay.example", relays=[], scheme=Scheme.NONE)
    speaker, message = NostrSpeaker(TIMMY, SeededRandomness(1)), Introduced(price=Msats(9_000))
    new = speaker.speak(message, origin=origin, job_id=None, tier=Tier.NEW, at=NOW)
    return [Event.from_wire(one.json) for one in new]


def thanked():
    """What a zap of everything that can be zapped is answered with."""
    about = [("e", "ab" * 32), ("k", "31990"), ("a", f"31990:{TIMMY.public_key}:timmy-5050")]
    asked = zaps.read_zap(signed(P_TIMMY, *about, kind=9734).to_json(), amount=1, public_key=TIMMY.public_key)
    return [Event.from_wire(zaps.receipt(asked, "lnbc1", keys=TIMMY, aux=bytes(32), at=NOW).json)]


def everything_said():
    answers = [event for kind in KINDS for scheme in SCHEMES for event in said(kind, scheme)]
    return [*answers, *written(), *announced(), *introduced(), *thanked()]


def tags_of(event):
    """Clear and hidden."""
    hidden = json.loads(opened(event.content)) if event.kind == 7000 and event.tag("encrypted") else []
    return [*event.tags, *hidden]


def test_every_kind_that_is_read():
    terms = nip90.Terms(kinds=KINDS)
    asked = {kind for one in asked_for.wanted(terms, TIMMY.public_key) for kind in one.kinds}
    others = {announce.KIND_PING, notes.KIND_NOTE, *nip59.WRAP_KINDS}
    says_exactly("Kinds that are read", (asked - nip90.OTHER_REQUESTS) | KINDS | others)
    assert "(5000 to 5970)" in section("Kinds that are read")
    assert (min(nip90.OTHER_REQUESTS), max(nip90.OTHER_REQUESTS)) == (5000, 5970)


def test_every_kind_that_is_sent():
    says_exactly("Kinds that are sent", {event.kind for event in everything_said()})
    assert f"every {announce.HEARTBEAT_S} seconds" in section("Kinds that are sent")
    assert f"every {presence.WORLD_EVERY_S} seconds at most" in section("Kinds that are sent")


def test_every_tag_that_is_read():
    names = set()
    for module in (nip90, inputs, wishes, privacy):
        names |= set(tags_read(ast.parse(Path(module.__file__).read_text())))
    says_exactly("Tags of a request", names)


def tags_read(tree):
    """Names that code asks events for: `.tag("x")`, `tag[0] == "x"`, `tag[0] in {"x"}`, `case ("x", …)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="tag" | "tag_values"), args=[ast.Constant(value=name)]):
                yield name
            case ast.Compare(
                left=ast.Subscript(slice=ast.Constant(value=0)), comparators=[ast.Constant(value=name)]
            ):
                yield name
            case ast.Compare(left=ast.Subscript(slice=ast.Constant(value=0)), comparators=[ast.Set(elts=names)]):
                yield from (name.value for name in names)
            case ast.MatchSequence(patterns=[ast.MatchValue(value=ast.Constant(value=name)), *_]):
                yield name
            case _:
                pass
    if "_FOREIGN_MARKS" in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
        yield from nip90._FOREIGN_MARKS


def test_every_param():
    says_exactly("Params", wishes.HONOURED)
    for name in ("frequency_penalty", "top_k", "top_p"):
        assert name in section("Params")
        assert name in wishes.ignored(5050, {name: "1"}, ())


def test_every_status_that_is_said():
    says_exactly("Statuses", {event.tag("status")[1] for event in everything_said() if event.kind == 7000})
    assert f"at most {answering.MAX_LINE_CHARS} characters" in section("Statuses")
    assert "payment_required" not in PAGE


def test_every_tag_that_is_sent():
    says_exactly("Tags of what is sent", {tag[0] for event in everything_said() for tag in tags_of(event)})


def test_each_tag_is_said_to_be_where_it_is():
    for names, where, _ in table("Tags of what is sent"):
        for name in re.findall(r"`([^`]+)`", names):
            kinds = {event.kind for event in everything_said() if name in {tag[0] for tag in tags_of(event)}}
            assert ("result" in where) is bool(kinds & {6050, 6001, 6002}), name
            assert all(str(kind) in where for kind in kinds - {7000, 6050, 6001, 6002}), name


def test_what_stays_in_clear_of_an_encrypted_answer():
    clear = {
        tag[0] for scheme in (Scheme.NIP04, Scheme.NIP44) for event in said(scheme=scheme) for tag in event.tags
    }
    line = next(line for line in section("Encryption").splitlines() if line.startswith("In clear stay"))
    assert set(re.findall(r"`([^`]+)`", line)) == clear


def test_every_name_in_the_ledger_tag():
    job = builders.job(JobState.COMPLETE)
    says_exactly("The ledger tag", cost_ledger(job, ()))


def test_every_operation_and_what_it_answers():
    says_exactly("Operations", {*operations._QUESTIONS, "topup", "refund", "forget"})
    for name, answers in table("Operations"):
        op = name.strip("`")
        if op == "refund":
            continue
        body = answer_to(op).body
        assert body["op"] == op
        assert set(re.findall(r"`([^`]+)`", answers)) == set(body) - {"op"}, op
        assert f"{op}," in operations._OFFERED or f"{op} (" in operations._OFFERED


def answer_to(op):
    """What the operation is answered with once all went well."""
    case = Case(topup=credit_builders.topup())
    match op:
        case "topup":
            fact = dataclasses.replace(builders.made(), topup_id=credit_builders.TOPUP)
        case "forget":
            fact = credit_builders.forget()
        case _:
            fact = builders.question(Op(op), text="Hi")
    return decide(case, fact, builders.POLICY).tells[-1].message


def test_every_word_that_is_a_command_in_private():
    commands = {*nip17._QUESTIONS, "help", "price"}
    says_exactly("Private messages", {*commands, "new:"})
    assert {"price", "new", "balance", "me"} <= set(re.findall(r"\w+", nip17.HELP))
    for command in commands:
        text = f"{command} Hi there" if command == "price" else command
        rumor = nip59.Rumor.make(ALICE.public_key, kind=nip17.KIND_MESSAGE, created_at=NOW, content=text)
        asked = nip17.read(rumor, TIMMY.public_key, now=NOW, not_before=0)
        assert not isinstance(asked, nip90.JobAsked), command


def test_what_a_claim_answers():
    told = set()
    for name in ("claiming", "payouts"):
        source = (ROOT / f"timmy_dvm/core/{name}.py").read_text()
        body = re.search(r'"op": "refund",(.*?)\}', source, re.DOTALL)[1]
        told |= set(re.findall(r'"([A-Za-z]+)":', body))
    (row,) = (row for row in table("Operations") if row[0] == "`refund`")
    assert set(re.findall(r"`([A-Za-z]+)`", row[1])) == told


def test_every_error_code():
    source = "".join(path.read_text() for path in sorted((ROOT / "timmy_dvm").glob("core/*.py")))
    source += "".join(path.read_text() for path in sorted((ROOT / "timmy_dvm").glob("nostr/*.py")))
    codes = set(re.findall(r'\bcode="([a-z_]+)"', source)) | set(re.findall(r'\bBad\(\s*"([a-z_]+)"', source))
    says_exactly("Error codes", codes)


@pytest.mark.parametrize("what", ["profile", "announcement"])
def test_every_name_in_a_profile_and_an_announcement(what):
    draft = announce.profile(CARD) if what == "profile" else announce.handler(CARD, 5050)
    start = {"profile": "The profile holds", "announcement": "An announcement holds"}[what]
    line = next(line for line in section("Being found").splitlines() if line.startswith(start))
    assert set(re.findall(r"`([^`]+)`", line.partition(";")[0])) - {"flexible"} == set(json.loads(draft.content))


NUMBERS = {
    "bytes of an event of ours, at most": answering.MAX_EVENT_BYTES,
    "bytes of an answer in one encrypted event": privacy.MAX_SEALED_BYTES,
    "bytes of a one-letter tag's value": answering.MAX_TAG_BYTES,
    "characters of a request, by default": all_keys()["limits.relay_request_chars"].field.default,
    "relays kept of a request's `relays`": nip90.MAX_REPLY_RELAYS,
    "requests one deletion may cancel": nip90.MAX_CANCELS,
    "seconds a request may be dated ahead": nip90.MAX_AHEAD_S,
    "errors and questions a key is answered in a minute": desk.ERRORS_PER_KEY_MINUTE,
    "private messages a key is answered in an hour without paying": desk.LETTERS_PER_KEY_HOUR,
    "bytes of a private message of ours, as JSON, at most": nip59.MAX_RUMOR_BYTES,
    "relays in kind 10050": announce.MAX_INBOX_RELAYS,
    "seconds after an answer within which a private message goes on from it unasked": conversation.WRITES_ON_S,
    "newest jobs of a key among which that answer is looked for": conversation.LOOKED_BACK,
    "seconds a heartbeat lives": announce.HEARTBEAT_LIFE_S,
    "seconds between two pongs to one key": announce.PONG_PAUSE_S,
    "ignored params that are named": wishes.MAX_IGNORED,
    "partials of an answer that is being written, at most": len(streaming.GAPS_S),
    "seconds relays should keep one": answering.PARTIAL_KEPT_S,
    "relays that are not Timmy's own, dialled for one event": publishing.MAX_OTHERS,
    "inputs that are looked up for one request": inputs.MAX_NAMED,
    "of them pages": inputs.MAX_PAGES,
    "other relays asked for them": inputs.MAX_HINTS,
    "dials of other relays in a minute, for all requests": gathering.DIALS_A_MINUTE,
    "seconds our relays may take, and then the others": gathering.RELAYS_S,
    "bytes of a page": web.MAX_BYTES,
    "earlier turns that go with a request": thread.MAX_TURNS,
    "their characters": thread.MAX_CHARS,
    "answers to mentions in a minute, to all keys": mentions.ANSWERS_PER_MINUTE,
}


def test_every_number():
    assert {what: int(number.replace(",", "")) for what, number in table("Numbers")} == NUMBERS


def test_the_readme_leads_to_the_page():
    assert "(docs/nostr.md)" in (ROOT / "README.md").read_text()
