"""What is known of a relay's limits is read anew at a reconnect, but seldom."""

from relay_client.dial import DialOptions, Outside
from relay_client.errors import NotConnected
from relay_client.information import REFETCH_S, Information
from relay_client.nip11 import Limitation
from relay_client.subscriptions import MAX_SUBSCRIPTIONS


class Documents:
    """A `Fetch` that gives what it is told to, and writes down who was asked."""

    def __init__(self, *documents):
        self.documents = list(documents)
        self.asked = []

    async def __call__(self, url, options):
        self.asked.append(url)
        document = self.documents.pop(0)
        if document is None:
            raise NotConnected("not today")
        return document


def information(fetch, now):
    return Information("wss://relay.example", fetch, Outside(monotonic=lambda: now[0]), DialOptions())


async def test_it_is_read_at_most_once_an_hour_and_stays_known_when_it_can_not_be_read():
    fetch = Documents(b'{"limitation":{"max_event_tags":5}}', None, b"{}")
    now = [1_000.0]
    known = information(fetch, now)
    assert known.limitation == Limitation()
    for _ in range(3):
        await known.refresh()
    assert fetch.asked == ["https://relay.example"]
    assert known.limitation.max_event_tags == 5
    now[0] += REFETCH_S
    for _ in range(3):
        await known.refresh()
    assert len(fetch.asked) == 2
    assert known.limitation.max_event_tags == 5
    now[0] += REFETCH_S
    await known.refresh()
    assert known.limitation == Limitation()


async def test_without_a_way_to_fetch_nothing_is_known():
    known = information(None, [0.0])
    await known.refresh()
    assert known.limitation == Limitation()


async def test_a_relay_may_lower_the_number_of_subscriptions_and_not_raise_it():
    now = [0.0]
    for stated, most in ((5, 5), (1_000, MAX_SUBSCRIPTIONS), (0, MAX_SUBSCRIPTIONS)):
        known = information(Documents(b'{"limitation":{"max_subscriptions":%d}}' % stated), now)
        assert known.max_subscriptions == MAX_SUBSCRIPTIONS
        await known.refresh()
        assert known.max_subscriptions == most
