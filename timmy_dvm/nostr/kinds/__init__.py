"""The kinds of request we know how to serve, one small file each: input → prompt → limits.

To add one: a file here that holds its `KIND`, and a test beside the others. It is found by itself; `nostr.kinds`
in the configuration says which are served. A number without a file is served as text.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from timmy_dvm.nostr.job_kind import JobKind


def _found() -> dict[int, JobKind]:
    kinds: list[JobKind] = [import_module(f"{__name__}.{module.name}").KIND for module in iter_modules(__path__)]
    by_number = {kind.number: kind for kind in kinds}
    if len(by_number) < len(kinds):
        raise ValueError("two files in timmy_dvm/nostr/kinds claim one number; give each its own")
    return by_number


KINDS: Final[Mapping[int, JobKind]] = _found()


def kind_of(number: int) -> JobKind:
    """What is done for a kind."""
    if (known := KINDS.get(number)) is not None:
        return known
    return JobKind(number=number, trade=f"kind {number}", topic="text-generation", prompt=lambda _: "", talks=True)
