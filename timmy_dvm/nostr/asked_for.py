"""What relays are asked for: the filters of our subscription. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from relay_client.filter import Filter
from timmy_dvm.nostr.nip90 import KIND_DELETION, OTHER_REQUESTS, Terms

KINDS_PER_FILTER: Final = 20
"""Some relays refuse a filter with more kinds, and with it the whole subscription."""


def wanted(terms: Terms, public_key: str) -> tuple[Filter, ...]:
    """Requests that name us, of whatever kind; open ones of the kinds we serve; and cancellations.

    NIP-90 asks only for an ``e`` tag in a cancellation, so all deletions are listened to; those that name a kind
    or us are asked for apart, for relays that keep fewer of the others.
    """
    kinds, me = terms.kinds, {"p": frozenset({public_key})}
    deletions = frozenset({KIND_DELETION})
    return (
        *_filters_of(kinds, me),
        *_filters_of(OTHER_REQUESTS - kinds, me),
        *(_filters_of(kinds, {}) if terms.open_jobs else ()),
        Filter(kinds=deletions, tags={"k": frozenset(map(str, kinds))}),
        Filter(kinds=deletions, tags=me),
        Filter(kinds=deletions),
    )


def _filters_of(kinds: frozenset[int], tags: Mapping[str, frozenset[str]]) -> Iterator[Filter]:
    ordered = sorted(kinds)
    for start in range(0, len(ordered), KINDS_PER_FILTER):
        yield Filter(kinds=frozenset(ordered[start : start + KINDS_PER_FILTER]), tags=tags)
