"""`lightning.lnbits` reading the settled payments of an LNbits whose record changes as it is told."""

import asyncio

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning.lnbits import PAGE_ROWS, REWIND_US, LnbitsWallet
from tests.lightning.canned_lnbits import (
    HASH,
    NO_WALLET,
    NOW,
    Lnbits,
    page,
    refused,
    row,
    stamp,
)
from tests.lightning.contract import eventually


class Record:
    """LNbits' settled payments, in the order they were last changed."""

    def __init__(self, count: int) -> None:
        self.times = {f"{number:064x}": NOW + 60 * number for number in range(count)}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        rows = sorted(self.times, key=self.times.__getitem__, reverse=asked["direction"] == "desc")
        start = int(asked.get("offset", 0))
        shown = [
            row(amount=21_000, payment_hash=name, updated_at=stamp(self.times[name]))
            for name in rows[start : start + int(asked["limit"])]
        ]
        return page(*shown, total=len(rows))


async def read_all(wallet: LnbitsWallet, cursor: str | None) -> tuple[list[str], str | None]:
    names: list[str] = []
    for _ in range(100):
        rows, after = await wallet.list_settled(cursor)
        names += [settled.payment_hash for settled in rows]
        if after == cursor:
            return names, cursor
        cursor = after
    raise AssertionError("the listing has no end")


class TestListing:
    async def test_every_row_once_in_order_over_many_pages(self):
        record = Record(3 * PAGE_ROWS + 7)
        wallet = Lnbits(listing=record).open()
        names, cursor = await read_all(wallet, None)
        assert names == sorted(record.times, key=record.times.__getitem__)
        assert await read_all(wallet, cursor) == ([], cursor)
        await wallet.aclose()

    async def test_an_empty_record_has_an_end(self):
        wallet = Lnbits().open()
        assert await read_all(wallet, None) == ([], "0:0:")
        await wallet.aclose()

    @settings(deadline=None)
    @given(st.data())
    def test_rows_that_move_or_come_late_hide_nothing_new(self, data):
        """Rows go to the end when LNbits touches them; a slow write may come in before the last one read."""

        async def play() -> None:
            record = Record(data.draw(st.integers(0, 130)))
            wallet = Lnbits(listing=record).open()
            _, cursor = await read_all(wallet, None)
            for _ in range(data.draw(st.integers(1, 4))):
                newest = max(record.times.values(), default=NOW)
                for moved in (
                    data.draw(st.sets(st.sampled_from(sorted(record.times)), max_size=3)) if record.times else ()
                ):
                    newest += 1
                    record.times[moved] = newest
                fresh = {f"{len(record.times) + count:064x}" for count in range(data.draw(st.integers(0, 3)))}
                late = data.draw(st.integers(0, REWIND_US // 1_000_000 - 60))
                # One late write at a time: together with as many moves it could leave every place as it was.
                for name in fresh:
                    newest += 1
                    record.times[name] = newest
                names, cursor = await read_all(wallet, cursor)
                assert fresh <= set(names)
                slow = f"{len(record.times):064x}"
                record.times[slow] = newest - late
                names, cursor = await read_all(wallet, cursor)
                assert slow in names
            await wallet.aclose()

        asyncio.run(play())

    async def test_a_record_that_was_wiped_is_read_from_the_beginning(self):
        record = Record(PAGE_ROWS + 5)
        wallet = Lnbits(listing=record).open()
        _, cursor = await read_all(wallet, None)
        record.times.clear()
        assert await read_all(wallet, cursor) == ([], "0:0:")
        record.times["ab" * 32] = NOW
        names, _ = await read_all(wallet, cursor)
        assert names == ["ab" * 32]
        await wallet.aclose()


class TestHints:
    """The push is refused here: nobody listens on that port."""

    async def hints(self, wallet: LnbitsWallet, cursor: str | None, count: int) -> list[tuple[str, str | None]]:
        got: list[tuple[str, str | None]] = []
        async with asyncio.timeout(10):
            async for hint in wallet.settled(cursor):
                got.append(hint)
                if len(got) == count:
                    break
        return got

    async def test_from_a_cursor_each_hint_says_where_to_go_on(self):
        record = Record(2 * PAGE_ROWS + 3)
        wallet = Lnbits(listing=record).open()
        hints = await self.hints(wallet, "0:0:", len(record.times))
        assert [name for name, _ in hints] == list(record.times)
        _, middle = hints[150]
        assert (await self.hints(wallet, middle, 1))[0] == hints[151]
        await wallet.aclose()

    async def test_from_none_only_what_comes_from_now_on(self):
        record = Record(5)
        lnbits = Lnbits(listing=record)
        wallet = lnbits.open()
        first = asyncio.create_task(self.hints(wallet, None, 1))

        async def the_end_is_known() -> bool:
            return len(lnbits.http.requests) >= 2

        await eventually(the_end_is_known)
        record.times["ab" * 32] = NOW + 10_000
        assert [name for name, _ in await first] == ["ab" * 32]
        await wallet.aclose()

    async def test_what_moved_is_no_settlement_twice_and_an_operators_share_none(self):
        rows = [row(500, checking_id=f"service_fee_{HASH}"), row(21_000)]
        wallet = Lnbits(listing=lambda asked: page(*rows[int(asked.url.params["offset"]) :])).open()
        assert [name for name, _ in await self.hints(wallet, "0:0:", 1)] == [HASH]
        await wallet.aclose()

    async def test_an_lnbits_out_of_order_is_outlasted_and_told_of_once(self, caplog):
        record = Record(1)
        trouble = [httpx.ReadError("reset"), refused(500, "x"), httpx.Response(200, content=b"<html>"), NO_WALLET]

        def listing(request: httpx.Request):
            return trouble.pop() if trouble else record(request)

        wallet = Lnbits(listing=listing).open()
        assert len(await self.hints(wallet, "0:0:", 1)) == 1
        assert len([one for one in caplog.records if "tried again" in one.getMessage()]) == 1
        await wallet.aclose()

    async def test_a_closed_wallet_gives_no_hints(self):
        wallet = Lnbits(listing=Record(3)).open()
        await wallet.aclose()
        assert [hint async for hint in wallet.settled(None)] == []

    async def test_closing_the_wallet_ends_them(self):
        lnbits = Lnbits()
        wallet = lnbits.open(poll_s=600)
        first = asyncio.create_task(anext(aiter(wallet.settled(None)), "the end"))

        async def it_waits() -> bool:
            return len(lnbits.http.requests) >= 2

        await eventually(it_waits)
        await wallet.aclose()
        assert await first == "the end"
