import contextlib
import dataclasses
import hashlib
import json
import random
from pathlib import Path

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import MAX_MSATS
from lightning import bech32, bolt11
from lightning.bolt11 import InvalidInvoice

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bolt11.json").read_text())
VALID, INVALID = VECTORS["valid"], VECTORS["invalid"]
KEY = PrivateKey(bytes.fromhex(VECTORS["private_key"]))
PAYEE = KEY.public_key.format().hex()
COFFEE = VALID[1]["invoice"]
TERMS = {
    "network": "bcrt",
    "payment_hash": b"\x01" * 32,
    "payment_secret": b"\x02" * 32,
    "timestamp": 1_700_000_000,
    "amount_msat": 21_000,
    "description": "Timmy 0a1b2c3d",
}
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def made(**changes):
    return bolt11.encode(KEY, **{**TERMS, **changes})


def field(letter, words):
    tag = "qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter)
    return bytes([tag, len(words) >> 5, len(words) & 31]) + words


HASH = field("p", bech32.words_from_bytes(b"\x01" * 32))
SECRET = field("s", bech32.words_from_bytes(b"\x02" * 32))
TEXT = field("d", bech32.words_from_bytes(b"tea"))
NAMED = field("n", bech32.words_from_bytes(KEY.public_key.format()))


def signed(*fields, prefix="lnbcrt210n", high_s=False, recovery_id=None, broken_off=b""):
    """An invoice of raw fields with a true signature: what `encode` refuses to write."""
    data = bech32.words_from_int(1_700_000_000, 7) + b"".join(fields) + broken_off
    digest = hashlib.sha256(prefix.encode() + bech32.bytes_from_words(data, pad=True)).digest()
    signature = KEY.sign_recoverable(digest, hasher=None)
    if high_s:
        s = ORDER - int.from_bytes(signature[32:64], "big")
        signature = signature[:32] + s.to_bytes(32, "big") + bytes([signature[64] ^ 1])
    if recovery_id is not None:
        signature = signature[:64] + bytes([recovery_id])
    return bech32.encode(prefix, data + bech32.words_from_bytes(signature))


class TestTheSpecificationsExamples:
    @pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["name"][:40])
    def test_valid_ones_decode_to_every_field(self, vector):
        read = dataclasses.asdict(bolt11.decode(vector["invoice"]))
        assert {**read, "features": list(read["features"])} == vector["expect"]

    @pytest.mark.parametrize("vector", INVALID, ids=lambda vector: vector["why"])
    def test_invalid_ones_are_refused(self, vector):
        with pytest.raises(InvalidInvoice):
            bolt11.decode(vector["invoice"])

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_the_plain_ones_encode_to_the_same_text(self, index):
        """Signing is deterministic, so with the example key every character must match."""
        vector = VALID[index]["expect"]
        text = bolt11.encode(
            KEY,
            network=vector["network"],
            payment_hash=bytes.fromhex(vector["payment_hash"]),
            payment_secret=bytes.fromhex(vector["payment_secret"]),
            timestamp=vector["timestamp"],
            amount_msat=vector["amount_msat"],
            description=vector["description"],
            expiry=vector["expiry"],
            min_final_cltv=None,
            features=vector["features"],
        )
        assert text == VALID[index]["invoice"]


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            COFFEE.upper(),
            f"lightning:{COFFEE}",
            f"LIGHTNING:{COFFEE.upper()}",
            f"Lightning:{COFFEE}",
            f"  {COFFEE}\n",
        ],
    )
    def test_prefix_case_and_white_space_do_not_matter(self, text):
        assert bolt11.decode(text) == bolt11.decode(COFFEE)

    @pytest.mark.parametrize(
        "text", [None, 7, b"lnbc1", "", "lightning:", "lightning:lightning:" + COFFEE, "x" * 4_097]
    )
    def test_what_is_no_invoice_at_all(self, text):
        with pytest.raises(InvalidInvoice):
            bolt11.decode(text)

    def test_the_length_cap_is_tight(self):
        with pytest.raises(InvalidInvoice, match="4096 characters"):
            bolt11.decode(COFFEE + " " * (4_097 - len(COFFEE)))
        assert bolt11.decode(COFFEE + " " * (4_096 - len(COFFEE)))

    @pytest.mark.parametrize(
        ("prefix", "msat"),
        [
            ("lnbc", None),
            ("lntb1", 100_000_000_000),
            ("lntbs1m", 100_000_000),
            ("lnbcrt1u", 100_000),
            ("lnbc1n", 100),
            ("lnbc10p", 1),
            ("lnbc20999999", 20_999_999 * 10**11),
            ("lnbc21000000", MAX_MSATS),
            ("lnbc20999999999999999990p", MAX_MSATS - 1),
        ],
    )
    def test_amounts(self, prefix, msat):
        assert bolt11.decode(signed(HASH, SECRET, TEXT, prefix=prefix)).amount_msat == msat

    @pytest.mark.parametrize(
        ("prefix", "why"),
        [
            ("lnbc0", "amount"),
            ("lnbc01u", "amount"),
            ("lnbcu", "amount"),
            ("lnbc-1u", "amount"),
            ("lnbc1.5u", "amount"),
            ("lnbc1k", "amount"),
            ("lnbc1um", "amount"),
            ("lnsb1u", "network"),
            ("lnbcrtx1u", "network"),
            ("bc", "network"),
            ("lnurl", "network"),
            ("lnbc1p", "fraction"),
            ("lnbc21000001", "all bitcoin"),
            ("lnbc99999999999999999999", "all bitcoin"),
            ("lnbc100000000000000000000p", "amount"),
        ],
    )
    def test_refused_networks_and_amounts(self, prefix, why):
        with pytest.raises(InvalidInvoice, match=why):
            bolt11.decode(signed(HASH, SECRET, TEXT, prefix=prefix))

    def test_an_invoice_for_another_network_still_reads(self):
        assert bolt11.decode(made(network="tbs")).network == "tbs"

    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ([SECRET, TEXT], "payment hash"),
            ([HASH, TEXT], "payment secret"),
            ([HASH, SECRET], "description"),
            ([HASH, SECRET, TEXT, field("h", bech32.words_from_bytes(b"\x03" * 32))], "description"),
            ([HASH, SECRET, field("h", bytes(51))], "description"),
            ([HASH, HASH, SECRET, TEXT], "twice"),
            ([HASH, SECRET, TEXT, TEXT], "twice"),
            ([HASH, SECRET, SECRET, TEXT], "twice"),
            ([HASH, SECRET, TEXT, field("x", b"\x01"), field("x", b"\x02")], "twice"),
            ([HASH, SECRET, TEXT, NAMED, NAMED], "twice"),
            ([field("p", bytes(53)), SECRET, TEXT], "payment hash"),
            ([HASH, SECRET, field("d", bech32.words_from_bytes(b"\xff\xfe"))], "UTF-8"),
            ([HASH, SECRET, TEXT, field("x", b"\x1f" * 1_023)], "long time"),
            ([HASH, SECRET, TEXT, field("x", bytes([1]) + bytes(7))], "long time"),
            ([HASH, SECRET, TEXT, field("c", b"\x1f" * 9)], "long time"),
            ([HASH, SECRET, TEXT, field("9", bech32.words_from_int(1 << 100))], "feature 100"),
            ([HASH, SECRET, TEXT, field("9", bech32.words_from_int(1))], "feature 0"),
        ],
    )
    def test_refused_fields(self, fields, why):
        with pytest.raises(InvalidInvoice, match=why):
            bolt11.decode(signed(*fields))

    def test_fields_of_another_length_or_kind_are_skipped(self):
        """A later BOLT may define them; see the example "fields which must be ignored"."""
        strange = [field(letter, bytes(50)) for letter in "pshn"] + [field("l", b"\x05" * 9), field("q", b"")]
        read = bolt11.decode(signed(*strange, HASH, SECRET, TEXT))
        assert (read.payment_hash, read.payee, read.description) == ("01" * 32, PAYEE, "tea")

    @pytest.mark.parametrize("rest", [b"\x01", b"\x01\x02", b"\x01\x01\x14" + bytes(51), b"\x01\x1f\x1f"])
    def test_a_field_that_breaks_off_is_refused(self, rest):
        with pytest.raises(InvalidInvoice, match="breaks off"):
            bolt11.decode(signed(HASH, SECRET, TEXT, broken_off=rest))

    def test_too_short_for_a_signature(self):
        with pytest.raises(InvalidInvoice, match="too short"):
            bolt11.decode(bech32.encode("lnbc", bytes(110)))
        with pytest.raises(InvalidInvoice, match="payment hash"):
            bolt11.decode(bech32.encode("lnbc", bytes(111)))

    def test_odd_features_and_the_ones_we_know_are_fine(self):
        bits = {8, 14, 16, 17, 24, 25, 36, 48, 49, 99, 149}
        read = bolt11.decode(
            signed(HASH, SECRET, TEXT, field("9", bech32.words_from_int(sum(1 << b for b in bits))))
        )
        assert read.features == tuple(sorted(bits))

    def test_route_hints_are_counted(self):
        hint = field("r", bech32.words_from_bytes(bytes(51)))
        assert bolt11.decode(signed(HASH, hint, SECRET, TEXT, hint)).route_hints == 2

    def test_an_expiry_of_nothing_is_no_time_at_all(self):
        read = bolt11.decode(signed(HASH, SECRET, TEXT, field("x", b"")))
        assert (read.expiry, read.expires_at) == (0, 1_700_000_000)


class TestSignatures:
    def test_the_named_node_must_have_signed(self):
        assert bolt11.decode(signed(HASH, SECRET, TEXT, NAMED)).payee == PAYEE
        other = field("n", bech32.words_from_bytes(PrivateKey(b"\x09" * 32).public_key.format()))
        with pytest.raises(InvalidInvoice, match="not signed by"):
            bolt11.decode(signed(HASH, SECRET, TEXT, other))

    def test_a_named_node_that_is_no_key_is_refused(self):
        with pytest.raises(InvalidInvoice, match="not signed by"):
            bolt11.decode(signed(HASH, SECRET, TEXT, field("n", b"\x1f" * 53)))

    @pytest.mark.parametrize("recovery_id", [0, 1, 2, 3, 4, 255])
    def test_with_the_node_named_the_recovery_id_has_no_say(self, recovery_id):
        assert bolt11.decode(signed(HASH, SECRET, TEXT, NAMED, recovery_id=recovery_id)).payee == PAYEE

    def test_high_s_is_refused_with_a_named_node_and_only_then(self):
        with pytest.raises(InvalidInvoice, match="canonical"):
            bolt11.decode(signed(HASH, SECRET, TEXT, NAMED, high_s=True))
        assert bolt11.decode(signed(HASH, SECRET, TEXT, high_s=True)).payee == PAYEE

    @pytest.mark.parametrize("recovery_id", [4, 255])
    def test_an_impossible_recovery_id_is_refused(self, recovery_id):
        with pytest.raises(InvalidInvoice, match="no key"):
            bolt11.decode(signed(HASH, SECRET, TEXT, recovery_id=recovery_id))


class TestWriting:
    def test_what_is_written_reads_back(self):
        read = bolt11.decode(made(expiry=600, metadata=b"\x01\xfa", features=(8, 14, 48)))
        assert dataclasses.asdict(read) == {
            "network": "bcrt",
            "amount_msat": 21_000,
            "timestamp": 1_700_000_000,
            "payment_hash": "01" * 32,
            "payment_secret": "02" * 32,
            "description": "Timmy 0a1b2c3d",
            "description_hash": None,
            "expiry": 600,
            "min_final_cltv": 18,
            "features": (8, 14, 48),
            "metadata": "01fa",
            "payee": PAYEE,
            "route_hints": 0,
        }
        assert read.expires_at == 1_700_000_600

    def test_a_description_hash_instead_of_a_description(self):
        read = bolt11.decode(made(description=None, description_hash=b"\x07" * 32))
        assert (read.description, read.description_hash) == (None, "07" * 32)

    def test_no_features_at_all_are_no_field(self):
        assert bolt11.decode(made(features=())).features == ()

    def test_the_shortest_amount_is_written(self):
        amounts = {
            None: "ln",
            10**11: "1",
            10**8: "1m",
            10**5: "1u",
            100: "1n",
            1: "10p",
            21_000: "210n",
            1_501: "15010p",
        }
        for msat, written in amounts.items():
            wanted = f"lnbcrt{written}1" if msat is not None else "lnbcrt1"
            assert made(amount_msat=msat).startswith(wanted)

    @given(
        amount=st.none() | st.integers(1, MAX_MSATS),
        description=st.text(max_size=159),
        expiry=st.integers(0, 2**35 - 1),
        timestamp=st.integers(0, 2**35 - 1),
        secret=st.binary(min_size=32, max_size=32),
    )
    def test_any_invoice_reads_back_as_it_was_written(self, amount, description, expiry, timestamp, secret):
        text = made(
            amount_msat=amount, description=description, expiry=expiry, timestamp=timestamp, payment_secret=secret
        )
        read = bolt11.decode(text)
        assert (read.amount_msat, read.description, read.expiry) == (amount, description, expiry)
        assert (read.timestamp, read.payment_secret, read.payee) == (timestamp, secret.hex(), PAYEE)

    def test_a_description_ends_at_639_bytes(self):
        assert bolt11.decode(made(description="é" * 319 + "x")).description == "é" * 319 + "x"
        with pytest.raises(ValueError, match="639"):
            made(description="é" * 320)

    @pytest.mark.parametrize(
        "changes",
        [
            {"description": None},
            {"description_hash": b"\x07" * 32},
            {"payment_hash": b"\x01" * 31},
            {"payment_secret": b"\x01" * 33},
            {"description": None, "description_hash": b""},
            {"amount_msat": 0},
            {"amount_msat": -1},
            {"amount_msat": MAX_MSATS + 1},
            {"timestamp": -1},
            {"timestamp": 2**35},
        ],
    )
    def test_what_no_invoice_can_hold_is_refused(self, changes):
        with pytest.raises(ValueError):
            made(**changes)


class TestHostileText:
    """Whatever comes in, the answer is an invoice or `InvalidInvoice`."""

    @staticmethod
    def reads_or_refuses(text):
        with contextlib.suppress(InvalidInvoice):
            bolt11.decode(text)

    @settings(max_examples=300)
    @given(st.text() | st.text("lnbcrt1pq0u ", max_size=40))
    def test_any_text(self, text):
        self.reads_or_refuses(text)

    @settings(max_examples=500)
    @given(st.sampled_from([vector["invoice"] for vector in VALID]), st.data())
    def test_an_invoice_with_characters_changed(self, text, data):
        place = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 3))
        self.reads_or_refuses(text[:place] + data.draw(st.text(max_size=4)) + text[place + cut :])

    @settings(max_examples=1_000)
    @given(
        st.sampled_from(["lnbc", "lnbc1p", "lnbcrt210n", "lntb20m", "lntbs", "lnbc18446744073709551616n"]),
        st.lists(st.integers(0, 31), max_size=320).map(bytes),
    )
    def test_any_words_under_a_true_checksum(self, prefix, words):
        """The checksum is no lock: anybody can compute it."""
        self.reads_or_refuses(bech32.encode(prefix, words))

    def test_mutated_words_under_a_true_checksum(self):
        dice = random.Random(11)
        for _ in range(3_000):
            prefix, words = bech32.decode(dice.choice(VALID)["invoice"])
            changed = bytearray(words)
            for _ in range(dice.randint(1, 4)):
                changed[dice.randrange(len(changed))] = dice.randrange(32)
            if dice.random() < 0.2:
                del changed[dice.randrange(len(changed)) :]
            self.reads_or_refuses(bech32.encode(prefix, bytes(changed)))

    def test_a_fields_only_words_below_a_true_signature(self):
        dice = random.Random(7)
        for _ in range(500):
            size = dice.randint(0, 90)
            junk = bytes(dice.choices(range(32), weights=[3] * 6 + [1] * 26, k=size))
            self.reads_or_refuses(signed(HASH, SECRET, TEXT, broken_off=junk))
