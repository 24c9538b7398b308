"""What was written in private while Timmy was away is all answered, from a relay that tells only a few at once."""

import time

import pytest

from relay_client.local_relay import LocalRelay, RelayLimits
from tests.flows.shop import TIMMY, Shifted, books, serving
from tests.peer_writer import Writer

pytestmark = pytest.mark.peer

AWAY_S = 600
LETTERS = 24
AT_ONCE = 5


async def test_a_relay_with_a_low_max_limit_keeps_no_letter_back(tmp_path):
    async with LocalRelay(limits=RelayLimits(limit=AT_ONCE)) as relay, Writer() as writer:
        async with serving(tmp_path, relay.url, clock=Shifted(-AWAY_S)) as shop:
            await shop.is_connected(relay.url)
        await writer.listen([relay.url])
        now = int(time.time())
        for number in range(LETTERS):
            await writer.write(TIMMY.public_key, f"price question number {number}?", at=now - AWAY_S // 2 + number)
        last = await writer.write(TIMMY.public_key, "Is there anybody?", at=now)
        async with serving(tmp_path, relay.url, more={"TIMMY_LIMITS__ERROR_ANSWERS_PER_SECOND": "100"}):
            await writer.hears(lambda text: "lightning:" in text)
            # Twelve an hour are answered without paying; all of them were read.
            await writer.hears(lambda _: len([text for text in writer.texts if "That would cost" in text]) == 12)
    (story,) = await books(tmp_path)
    assert story.job.event_id == last
