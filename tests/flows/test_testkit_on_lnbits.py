"""The testkit on a real LNbits: real invoices, which the developers' route pays out of their own wallet."""

import asyncio
import re
import shutil

import pytest

from tests.flows.shop import serving
from timmy_dvm.http.testkit import script_of

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("lnbits")]


async def test_the_testkit_fails_at_nothing_on_a_real_wallet(lnbits, tmp_path):
    """TST-16."""
    wallet = lnbits.new_wallet(20_000, "timmy")
    real = {
        "TIMMY_AGENT__BACKEND": "offline",
        "TIMMY_LIGHTNING__BACKEND": "lnbits",
        "TIMMY_LIGHTNING__LNBITS__URL": lnbits.url,
        "TIMMY_LIGHTNING__LNBITS__KEY": wallet.adminkey,
        "TIMMY_DEV__PAY_ROUTE": "true",
    }
    async with serving(tmp_path, more=real) as shop:
        child = await asyncio.create_subprocess_exec(
            shutil.which("bash"), "-s", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(child.communicate(script_of(shop.ready.http).encode()), 120)
    *lines, last = out.decode().splitlines()
    assert re.fullmatch(r"PASS=\d+ FAIL=0 SKIP=\d+", last), lines
    assert child.returncode == 0
    told = {line.split()[1]: line for line in lines}
    assert told["T6a"] == "PASS T6a state=complete"
    assert told["T24a"].startswith("PASS")
