"""Keys that are read and checked, but have no effect in this version. Whoever sets one is told."""

from typing import TYPE_CHECKING, Final

from timmy_dvm.config.schema import all_keys

if TYPE_CHECKING:
    from timmy_dvm.config.model import Config

NOT_YET: Final = (
    "lightning.cln.",
    "lightning.lnd.",
    "lightning.nwc.",
    "lightning.phoenixd.",
)
"""Keys, or how their names begin."""


def has_no_effect(name: str) -> bool:
    """Whether a key, ``limits.model_usd_per_day``, is one of them."""
    return name.startswith(NOT_YET)


def notes(config: "Config") -> tuple[str, ...]:
    """A note for each such key that was set to something else than its default."""
    return tuple(
        f"{name} has no effect in this version yet"
        for name in sorted(config.origins)
        if has_no_effect(name) and _value(config, name) != all_keys()[name].field.default
    )


def _value(config: "Config", name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
