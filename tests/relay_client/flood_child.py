"""A pool in a process of its own, so that its memory can be weighed: reads relays until it has heard enough.

python -m tests.relay_client.flood_child COUNT URL…
→ {"peak_mib": 12.3, "received": 200, "faults": {URL: {…}}}
"""

import asyncio
import json
import sys
import tracemalloc

from relay_client.dial import Outside
from relay_client.pool import RelayPool
from tests.relay_client.kit import JOBS, KEYS, hurry


async def main(count: int, urls: list[str]) -> None:
    """Read until that many events of our own key have come."""
    received = set()
    tracemalloc.start()
    async with RelayPool(urls, keys=KEYS, outside=Outside(sleep=hurry)) as pool:
        pool.subscribe("jobs", [JOBS])
        async for item in pool.events():
            if item.event.pubkey == KEYS.public_key:
                received.add(item.event.id)
            if len(received) >= count:
                break
        peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
        faults = {relay.url: dict(relay.faults) for relay in pool.status()}
    sys.stdout.write(json.dumps({"peak_mib": round(peak_mib, 1), "received": len(received), "faults": faults}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
