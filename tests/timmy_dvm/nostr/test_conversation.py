"""A private message goes on from the answer it replies to, else from one that was given just now, and no other."""

import types

import pytest

from ledger.records import JobState
from tests.timmy_dvm.nostr.kit import ALICE, MALLORY, NOW
from timmy_dvm.nostr.conversation import CLOCKS_DIFFER_S, LOOKED_BACK, WRITES_ON_S, Heard, goes_on_from
from timmy_dvm.nostr.targets import Configured, ToCustomer, ToInbox, write_targets

KEY = ALICE.public_key


class Books:
    """The jobs of keys, oldest first, and what was written about them."""

    def __init__(self):
        self.jobs, self.results, self.targets = [], {}, {}

    def private(self, number, **how):
        """A job that came in a message of id `q…` and was answered by those of ids `a…` and `b…`."""
        targets = [ToInbox(key=KEY, message=message(letter, number)) for letter in "ab"]
        return self.job(number, targets, **how)

    def job(self, number, targets, *, key=KEY, state=JobState.COMPLETE, result="so it is", ended_at=NOW):
        job_id = f"job {number}"
        self.jobs.append(
            types.SimpleNamespace(
                id=job_id, event_id=message("c", number), pubkey=key, state=state, ended_at=ended_at
            )
        )
        self.results[job_id] = result
        self.targets[job_id] = [each if isinstance(each, str) else write_targets(each) for each in targets]
        return job_id

    def newest_jobs_of(self, key, limit):
        return [job for job in reversed(self.jobs) if job.pubkey == key][:limit]

    def texts(self, job_id):
        return types.SimpleNamespace(result=self.results[job_id])

    def targets_of(self, job_id):
        return self.targets[job_id]


def message(letter, number):
    return f"{letter}{number:063x}"


@pytest.fixture
def books():
    return Books()


def goes_on(books, *replies, at=NOW, key=KEY):
    return goes_on_from(books, key, Heard(replies, at))


@pytest.mark.parametrize("letter", ["a", "b", "c"], ids=["answer", "receipt", "one's own question"])
def test_a_reply_goes_on_from_what_it_names_however_old_that_is(books, letter):
    books.private(1, ended_at=NOW - 30 * 86_400)
    books.private(2)
    assert goes_on(books, message(letter, 1)) == "job 1"


def test_the_likeliest_of_several_that_are_named_counts(books):
    books.private(1)
    books.private(2)
    assert goes_on(books, message("a", 9), message("b", 1), message("a", 2)) == "job 1"


@pytest.mark.parametrize(
    "replies", [(), (message("a", 9),)], ids=["a reply to nothing", "a reply to what is unknown"]
)
def test_who_writes_on_goes_on_from_the_newest_answer(books, replies):
    books.private(1)
    books.private(2)
    assert goes_on(books, *replies) == "job 2"


def test_who_writes_much_later_begins_anew(books):
    books.private(1)
    assert goes_on(books, at=NOW + WRITES_ON_S) == "job 1"
    assert goes_on(books, at=NOW + WRITES_ON_S + 1) is None


def test_what_was_written_before_the_answer_asks_something_else(books):
    books.private(1)
    assert goes_on(books, at=NOW - CLOCKS_DIFFER_S) == "job 1"
    assert goes_on(books, at=NOW - CLOCKS_DIFFER_S - 1) is None


def test_what_has_no_answer_is_passed_over(books):
    books.private(1)
    books.private(2, result=None)  # forgotten
    books.private(3, state=JobState.EXECUTING, result=None, ended_at=None)
    books.private(4, state=JobState.FAILED, result=None)
    assert goes_on(books) == "job 1"
    assert goes_on(books, message("c", 2)) == "job 1"


def test_what_was_said_in_the_open_is_gone_on_from_only_where_it_is_named(books):
    books.job(1, [ToCustomer(key=KEY), Configured(), "[]", "nonsense"])
    assert goes_on(books) is None
    assert goes_on(books, message("c", 1)) == "job 1"


def test_a_conversation_is_its_own_keys(books):
    books.private(1)
    assert goes_on(books, message("a", 1), key=MALLORY.public_key) is None


def test_messages_of_before_their_ids_were_kept_are_a_conversation_too(books):
    books.job(1, [ToInbox(key=KEY)])
    assert goes_on(books) == "job 1"


def test_only_so_far_is_looked_back(books):
    books.private(1)
    for number in range(LOOKED_BACK):
        books.job(2 + number, [ToCustomer(key=KEY)])
    assert goes_on(books) is None
