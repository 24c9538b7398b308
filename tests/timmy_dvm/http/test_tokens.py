"""Identity tokens and challenges: ours alone, for one address, for a while (IDN-10, 11, 14, 15)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timmy_dvm.http.tokens import CHALLENGE_LIFE_S, TOKEN_LIFE_S, InvalidToken, SigningKey, Tokens

NOW = 1_700_000_000
ALICE = "a1" * 32
HERE, THERE = "https://timmy.example", "https://other.example"
KEY, OLD = SigningKey(b"k" * 32), SigningKey(b"o" * 32)
TOKENS = Tokens([KEY], HERE)


def test_a_token_stands_for_its_key_until_it_ends():
    token = TOKENS.issue(ALICE, NOW)
    assert token.expires_at == NOW + TOKEN_LIFE_S
    assert TOKENS.read(token.text, NOW) == TOKENS.read(token.text, token.expires_at - 1) == ALICE
    with pytest.raises(InvalidToken, match="ended"):
        TOKENS.read(token.text, token.expires_at)
    with pytest.raises(InvalidToken, match="ended"):
        TOKENS.read(token.text, NOW - 1)


def test_a_token_outlives_a_restart_with_the_same_secret_and_not_with_another():
    token = TOKENS.issue(ALICE, NOW).text
    assert Tokens([SigningKey(b"k" * 32)], HERE).read(token, NOW) == ALICE
    with pytest.raises(InvalidToken, match="not signed here"):
        Tokens([SigningKey(b"x" * 32)], HERE).read(token, NOW)


def test_a_token_is_for_one_address():
    with pytest.raises(InvalidToken, match="another address"):
        Tokens([KEY], THERE).read(TOKENS.issue(ALICE, NOW).text, NOW)


def test_a_secret_can_be_replaced_without_ending_what_was_given_out():
    token = Tokens([OLD], HERE).issue(ALICE, NOW).text
    both = Tokens([KEY, OLD], HERE)
    assert both.read(token, NOW) == ALICE
    assert Tokens([KEY], HERE).read(both.issue(ALICE, NOW).text, NOW) == ALICE


def test_all_that_a_key_gave_out_can_be_ended_at_once():
    token = TOKENS.issue(ALICE, NOW).text
    ended = Tokens([SigningKey(b"k" * 32, not_before=NOW + 1)], HERE)
    with pytest.raises(InvalidToken, match="ended"):
        ended.read(token, NOW + 2)
    assert ended.read(ended.issue(ALICE, NOW + 1).text, NOW + 2) == ALICE


def test_ten_thousand_changed_tokens_are_all_refused():
    dice = random.Random(3)
    token = TOKENS.issue(ALICE, NOW).text
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=é\x00"
    for _ in range(10_000):
        place = dice.randrange(len(token))
        wrong = dice.choice([c for c in alphabet if c != token[place]])
        how = dice.randrange(3)
        changed = token[:place] + ("", wrong, wrong + token[place])[how] + token[place + 1 :]
        with pytest.raises(InvalidToken):
            TOKENS.read(changed, NOW)


@given(st.text(max_size=300) | st.from_regex(r"v1\.[a-z0-9]{8}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{43}"))
def test_no_text_breaks_a_reader(text):
    with pytest.raises(InvalidToken):
        TOKENS.read(text, NOW)
    with pytest.raises(InvalidToken):
        TOKENS.check_challenge("login", text, NOW)


def test_a_challenge_is_good_for_two_minutes_one_purpose_and_one_address():
    challenge = TOKENS.challenge("login", b"r" * 32, NOW)
    assert challenge.expires_at == NOW + CHALLENGE_LIFE_S
    assert TOKENS.check_challenge("login", challenge.text, NOW + 119) == challenge.expires_at
    with pytest.raises(InvalidToken, match="ended"):
        TOKENS.check_challenge("login", challenge.text, NOW + 120)
    with pytest.raises(InvalidToken, match="no challenge of ours"):
        TOKENS.check_challenge("other", challenge.text, NOW)
    with pytest.raises(InvalidToken, match="no challenge of ours"):
        Tokens([KEY], THERE).check_challenge("login", challenge.text, NOW)


def test_a_challenge_is_no_token():
    with pytest.raises(InvalidToken):
        TOKENS.read(TOKENS.challenge("login", b"r" * 32, NOW).text, NOW)


def test_each_challenge_is_another():
    assert TOKENS.challenge("login", b"r" * 32, NOW).text != TOKENS.challenge("login", b"s" * 32, NOW).text


def test_a_short_secret_is_refused_and_none_is_shown():
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(b"short")
    with pytest.raises(ValueError, match="need a key"):
        Tokens([], HERE)
    assert "kkk" not in repr(KEY)
    assert TOKENS.issue(ALICE, NOW).text not in repr(TOKENS.issue(ALICE, NOW))
