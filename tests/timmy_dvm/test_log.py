"""The log: one line per record whatever comes, and no secret in any form it is written in."""

import base64
import io
import json
import logging

import pytest

from relay_client.keys import Keys, npub
from timmy_dvm.log import Redactor, get_logger, start_logging, stop_logging

SECRET = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
API_KEY = "sk-test-Q7wz/kX+uv8Nn0dE"


class Lines:
    """What the log wrote."""

    def __init__(self, log_format, verbosity=0):
        self.stream = io.StringIO()
        self.redactor = Redactor()
        self.handler = start_logging(log_format, verbosity, self.stream, self.redactor)

    @property
    def text(self):
        return self.stream.getvalue()

    @property
    def records(self):
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=["json", "text"])
def lines(request):
    lines = Lines(request.param)
    yield lines
    stop_logging(lines.handler)


@pytest.fixture
def json_lines():
    lines = Lines("json")
    yield lines
    stop_logging(lines.handler)


@pytest.fixture
def debug_lines():
    lines = Lines("json", verbosity=2)
    yield lines
    stop_logging(lines.handler)


def test_a_line_has_component_message_action_and_fields(json_lines):
    get_logger("engine").info("job started", action="start_job", job="ab12", stub=False, sats=42)
    (record,) = json_lines.records
    assert record["component"] == "engine"
    assert (record["message"], record["action"], record["level"]) == ("job started", "start_job", "info")
    assert record["fields"] == {"job": "ab12", "stub": False, "sats": 42}
    assert record["ts"].endswith("Z")
    assert len(record["ts"]) == len("2026-11-22T14:32:05.123Z")
    assert '"stub":false' in json_lines.text


def test_text_is_one_line_with_pairs():
    lines = Lines("text")
    get_logger("engine").warning("pool is low", action="pool_low", sats=3, why="two words")
    stop_logging(lines.handler)
    assert lines.text.endswith('warning engine: pool is low action=pool_low sats=3 why="two words"\n')


def hostile_texts():
    pieces = [
        "\n",
        "\r\n",
        "\x1b[2J",
        "\x00",
        "\x85",
        "\u2028",
        "\u202e",
        "\ud800",
        "\x9b31m",
        "\v\f",
        '"}\n{"',
        "\\n",
        "{}%s",
    ]
    for count in range(1_000):
        yield "".join(pieces[(count * 7 + step * step) % len(pieces)] for step in range(1 + count % 9)) + str(
            count
        )


def test_a_thousand_hostile_payloads_are_a_line_each(lines):
    log = get_logger("relay")
    for payload in hostile_texts():
        log.info("event refused", action="refuse", reason=payload, **{"k\n" + payload[:9]: 1})
        logging.getLogger("timmy.foreign").info(payload)
    assert lines.text.count("\n") == 2_000
    assert len(lines.text.splitlines()) == 2_000  # splitlines also ends at U+2028, NEL, FF and their like
    assert all(line.isprintable() for line in lines.text.splitlines())


def test_foreign_text_is_cut_at_200_characters(json_lines):
    get_logger("relay").info("said", text="x" * 100_000, nested={"a": ["y" * 500]}, many=list(range(10_000)))
    fields = json_lines.records[0]["fields"]
    assert fields["text"] == "x" * 200 + "…"
    assert fields["nested"]["a"][0] == "y" * 200 + "…"
    assert len(fields["many"]) == 32


def forms_of(secret):
    raw = bytes.fromhex(secret)
    keys = Keys.from_hex(secret)
    return {
        "hex": secret,
        "upper-case hex": secret.upper(),
        "nsec": keys.to_nsec(),
        "upper-case nsec": keys.to_nsec().upper(),
        "bech32 under a wrong name": npub(secret),
        "base64": base64.b64encode(raw).decode(),
        "base64url without padding": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "hex of its hex": secret.encode().hex(),
        "bytes": raw,
        "repr of bytes": repr(raw),
    }


@pytest.mark.parametrize("registered_as", ["hex", "nsec", "bytes"])
@pytest.mark.parametrize("form", forms_of(SECRET))
def test_a_registered_key_is_struck_out_in_every_form(lines, registered_as, form):
    lines.redactor.add(forms_of(SECRET)[registered_as])
    shown = forms_of(SECRET)[form]
    logging.getLogger("timmy.keys").info("loaded %s", shown)
    get_logger("keys").info("loaded", value=shown, deep={"list": [f"x{shown!s}y"]})
    plain = shown.hex() if isinstance(shown, bytes) else shown
    # The last symbols of a bech32 text are a checksum: the key itself is what must not show.
    assert plain[5:50] not in lines.text
    assert "(redacted)" in lines.text


def test_a_registered_api_key_is_struck_out_where_it_is_part_of_something(lines):
    lines.redactor.add(API_KEY)
    log = get_logger("agent")
    log.info("sent", url=f"https://api.example/x?k={API_KEY}", header={"X-Thing": API_KEY})
    log.info(API_KEY)
    log.info("as base64", body=base64.b64encode(API_KEY.encode()).decode())
    logging.getLogger("timmy.http").info("GET %s", API_KEY)
    assert API_KEY not in lines.text
    assert base64.b64encode(API_KEY.encode()).decode().rstrip("=") not in lines.text


SHAPES = {
    "nsec": "my key is nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5 ok",
    "bearer": "Authorization: Bearer AAAAsecretsecretsecret0000",
    "nip98": "header Nostr eyJraW5kIjoyNzIzNSwic2VjcmV0c2VjcmV0c2VjcmV0In0=",
    "l402": "L402 AgEEbHNhdAJCAACsecretsecret:" + "ab" * 32,
    "macaroon": "AgELbG9jYXRpb24CBnNlY3JldAAABiCsecretsecretsecretsecretsecret",
    "preimage": '{"paid":true,"preimage":"' + "5ec" * 21 + '5"}',
    "escaped preimage": '"{\\"preimage\\":\\"' + "5ec" * 21 + '5\\"}"',
    "lnbits query": "GET /api/v1/payments?api-key=5ecsecret5ecsecret",
    "anthropic": "x sk-ant-api03-secretsecretsecret y",
    "nwc": "nostr+walletconnect://ab?relay=wss://r&secret=" + "5ec" * 20,
    "password in address": "postgresql://timmy:secretsecret@db.example/timmy",
    "ssh": "-----BEGIN RSA PRIVATE KEY-----\nsecretsecret\nsecret\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_looks_like_a_secret_is_struck_out_unregistered(lines, shape):
    text = SHAPES[shape]
    get_logger("x").info(text, field=text, inner={"list": [text]})
    logging.getLogger("timmy.lib").info("said %s", text)
    for piece in ("secretsecret", "5ec5ec", "nsec1vl0", "abababab"):
        assert piece not in lines.text


@pytest.mark.parametrize(
    "name", ["preimage", "macaroon", "nsec", "token", "api_key", "Authorization", "claim_secret"]
)
def test_a_field_with_a_secret_name_is_never_shown(lines, name):
    get_logger("x").info("m", **{name: "plain"}, inner={name: "plain"})
    assert "plain" not in lines.text


def test_a_secret_across_the_cut_is_not_shown_in_half(lines):
    lines.redactor.add(SECRET)
    get_logger("x").info("m", text="p" * 180 + SECRET)
    assert SECRET[:12] not in lines.text


def test_ids_npubs_invoices_and_amounts_stay_readable(json_lines):
    json_lines.redactor.add(SECRET)
    fields = {
        "job": "0f" * 16,
        "event": "ab" * 32,
        "who": npub("ab" * 32),
        "msat": 21_000,
        "relay": "wss://r.example",
    }
    get_logger("x").info("the token count is 12, monkey business", **fields)
    (record,) = json_lines.records
    assert record["fields"] == fields
    assert record["message"] == "the token count is 12, monkey business"


def test_an_exception_is_one_line_without_secrets(lines):
    lines.redactor.add(SECRET)
    try:
        int(f"bad key {SECRET}\nsecond line")
    except ValueError:
        get_logger("x").exception("it broke", action="broke")
    assert lines.text.count("\n") == 1
    assert "ValueError" in lines.text
    assert SECRET not in lines.text


def test_no_other_handler_sees_more_than_ours(lines, caplog):
    lines.redactor.add(SECRET)
    later = io.StringIO()
    other = logging.StreamHandler(later)
    logging.getLogger().addHandler(other)
    get_logger("x").info("m %", value=SECRET)
    logging.getLogger().removeHandler(other)
    assert SECRET not in later.getvalue()


def test_what_cannot_be_logged_breaks_nothing(lines):
    class Hostile:
        def __str__(self):
            raise RuntimeError("no")

    get_logger("x").info("m", value=Hostile())
    logging.getLogger("timmy.x").info("%d", "not a number")
    assert lines.text.count("unloggable record") == 2


def test_numbers_json_does_not_know_are_text(json_lines):
    get_logger("x").info("m", nan=float("nan"), inf=float("inf"), huge=1 << 5_000, half=0.5, nothing=None)
    fields = json_lines.records[0]["fields"]
    assert fields == {"nan": "nan", "inf": "inf", "huge": "(integer of 5001 bits)", "half": 0.5, "nothing": None}


def test_a_closed_stream_loses_the_line_and_nothing_else(lines, capsys):
    lines.stream.close()
    get_logger("x").info("m")
    assert capsys.readouterr().err == ""
    lines.stream = io.StringIO()


def test_debug_of_libraries_is_off_unless_asked_for_twice(json_lines):
    logging.getLogger("httpx").info("GET https://example")
    get_logger("x").debug("step")
    assert json_lines.text == ""


def test_twice_verbose_shows_the_libraries_without_their_secrets(debug_lines):
    logging.getLogger("httpcore").debug(
        "send headers=%r", [(b"Authorization", b"Bearer 5ecret5ecret5ecret5ecret")]
    )
    logging.getLogger("httpcore").debug("send %r", {"x-api-key": "5ecret5ecret5ecret5ecret"})
    assert len(debug_lines.records) == 2
    assert "5ecret5ecret" not in debug_lines.text


def test_a_second_start_replaces_the_first(json_lines):
    second = Lines("json")
    get_logger("x").info("m")
    stop_logging(second.handler)
    assert json_lines.text == ""
    assert len(second.records) == 1
