"""What a person reads while a job is on its way, and what a stranger's text can't do to their terminal."""

import io

import pytest
from rich.console import Console

from ledger.money import Msats
from relay_client.keys import Keys
from timmy_dvm.nostr.customer import Answer, Said
from timmy_dvm.terminal import Narrator, ledger_line, printable, qr, read_ledger

KEYS = Keys.from_bytes(b"\x07" * 32)


def answer(said=Said.RECEIPT, text="", *tags, amount=None):
    event = KEYS.sign(kind=7000, created_at=1, tags=tags, content=text, aux=b"\x00" * 32)
    return Answer(event, said, text, tags, amount, None, "ws://relay")


def told(*answers, quiet=False):
    out = io.StringIO()
    narrator = Narrator(Console(file=out, highlight=False, soft_wrap=True), quiet=quiet)
    for one in answers:
        narrator.answer(one)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("heard", "line"),
    [
        (answer(Said.PRICE, amount=Msats(20_001)), "   price  21 sats"),
        (answer(Said.PRICE), "   price  "),
        (answer(Said.WORKING, "Working on it."), " working  Working on it."),
        (answer(Said.PARTIAL, "Half"), " partial  Half"),
        (answer(Said.RECEIPT, "Done."), " receipt  Done."),
        (answer(Said.ERROR, "No."), " refused  No."),
        (answer(Said.OTHER, "Hm."), "    says  Hm."),
    ],
)
def test_each_answer_is_one_labelled_line(heard, line):
    assert told(heard) == [line]


def test_a_result_is_named_and_not_shown_for_it_goes_to_stdout():
    result = answer(Said.RESULT, "the whole long answer")
    assert told(result) == [f"  result  event {result.event.id[:16]}… from ws://relay"]


def test_of_an_answer_that_grows_only_what_is_new_is_shown():
    grown = ["Once upon", "Once upon a time", "Once upon a time there", "Wholly other", "Wholly other words"]
    assert told(*(answer(Said.PARTIAL, text) for text in grown)) == [
        " partial  Once upon",
        " partial  … a time",
        " partial  … there",
        " partial  Wholly other",
        " partial  … words",
    ]


def test_a_quiet_narrator_says_nothing():
    assert told(answer(Said.RECEIPT, "Done."), quiet=True) == []


def test_markup_in_a_strangers_text_is_text():
    assert told(answer(Said.ERROR, "[red]paid[/red] [link=x]y[/link]")) == [
        " refused  [red]paid[/red] [link=x]y[/link]"
    ]


@pytest.mark.parametrize("bad", ["\x1b", "\r", "\b", "\x9b", "\u202e", "\x00", "\x7f"])
def test_a_strangers_text_moves_no_cursor_and_turns_no_line_around(bad):
    assert printable(f"a{bad}b") == "a\ufffdb"
    assert bad not in "".join(told(answer(Said.OTHER, f"a{bad}b")))


def test_lines_and_letters_of_all_scripts_stay_as_they_are():
    assert printable("Grüße\n世界 🙂") == "Grüße\n世界 🙂"


@pytest.mark.parametrize("tag", [(), ("{",), ("[1]",), ("",), ("[" * 20_000,)])
def test_a_ledger_that_can_t_be_read_is_none(tag):
    receipt = answer(Said.RECEIPT, "", ("ledger", *tag))
    assert read_ledger(answer(Said.RECEIPT)) == {}
    assert (read_ledger(receipt), ledger_line(receipt)) == ({}, "")


def test_the_cost_ledger_is_one_line():
    tag = ("ledger", '{"totalTokens":401,"actualAmountSats":5,"workAmountSats":19,"refundAmountSats":14}')
    assert ledger_line(answer(Said.RECEIPT, "", tag)) == ("401 tokens; work cost 5 of 19 sats, 14 sats come back")


def test_a_qr_code_has_a_quiet_zone_and_lines_of_one_width():
    lines = qr("lnbcrt210n1p4sxgsr")
    assert len({len(line) for line in lines}) == 1
    assert {lines[0].strip(), lines[-1].strip()} == {""}
    assert all(line.startswith("  ") and line.endswith("  ") for line in lines)
    assert len(lines) == (len(lines[0]) + 1) // 2


def test_an_invoice_is_the_same_code_in_either_case():
    assert qr("lnbc1abc") == qr("LNBC1ABC")
    assert qr("lnbc1abc") != qr("lnbc1abd")


def test_where_there_is_no_terminal_the_invoice_is_text_alone(capsys):
    out = io.StringIO()
    Narrator(Console(file=out, highlight=False, soft_wrap=True)).invoice("lnbc1abc")
    assert out.getvalue() == " invoice  lightning:lnbc1abc\n"
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_code_stands_below_it(capsys):
    out = io.StringIO()
    Narrator(Console(file=out, force_terminal=True, highlight=False, soft_wrap=True)).invoice("lnbc1abc")
    assert "lightning:lnbc1abc" in out.getvalue()
    assert len(capsys.readouterr().err.splitlines()) == len(qr("lnbc1abc"))
