"""`Config`: all tables together, where each value came from, and what its owner should know."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from timmy_dvm.config.fields import Table, host_of, is_loopback, mentions, public
from timmy_dvm.config.money_tables import FreeTierTable, LimitsTable, PricingTable, TrustTable
from timmy_dvm.config.secret import Secret
from timmy_dvm.config.tables import (
    AgentTable,
    BootstrapTable,
    DevTable,
    HttpTable,
    LedgerTable,
    LightningTable,
    NostrTable,
)


class Config(BaseModel):
    """One instance of Timmy, read and checked. Immutable; made by `load`.

    Paths are absolute or as the owner wrote them, relative ones already joined to the right folder.
    Secrets given in the environment are `Secret` values; those in files stay there until a table's
    `read_…` method is called.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    nostr: NostrTable = NostrTable()
    http: HttpTable = HttpTable()
    ledger: LedgerTable = LedgerTable()
    agent: AgentTable = AgentTable()
    lightning: LightningTable = LightningTable()
    pricing: PricingTable = PricingTable()
    free_tier: FreeTierTable = FreeTierTable()
    trust: TrustTable = TrustTable()
    limits: LimitsTable = LimitsTable()
    bootstrap: BootstrapTable = BootstrapTable()
    dev: DevTable = DevTable()

    data_dir: Path
    """Where the ledger and the keys lie, unless they are named otherwise."""
    file: Path | None = None
    """The configuration file; None: all defaults and the environment."""
    notes: tuple[str, ...] = ()
    """Warnings and hints, one line each, for the log and for `check-config`."""
    origins: Mapping[str, str] = {}
    """`http.port` → `TIMMY_HTTP__PORT` or `timmy.toml`, for each key that is not at its default."""

    @property
    def is_public(self) -> bool:
        """Whether the HTTP port can be reached from other machines, as far as the configuration says (D17)."""
        url = self.http.public_url
        return not is_loopback(self.http.host) or (url is not None and not is_loopback(host_of(url)))

    @property
    def pay_route(self) -> bool:
        """Whether `POST /api/dev/stub/pay/{hash}` exists: never with a public address."""
        if self.dev.pay_route is None:
            return self.lightning.backend == "simulated" and not self.is_public
        return self.dev.pay_route and not self.is_public

    @property
    def presence(self) -> bool:
        """Whether relays are told of the Workshop: strangers' relays only where the operator wants it."""
        return not self.nostr.relays if self.nostr.presence is None else self.nostr.presence

    def loaded_secrets(self) -> Iterator[Secret]:
        """Every secret that came from the environment, to be registered with the log before the first line."""
        for _, value in _leaves(self):
            if isinstance(value, Secret):
                yield value

    def as_public_dict(self) -> dict[str, Any]:
        """Everything but the secrets, fit for JSON: an object per table, `config_file`, `data_dir`, `origins`.

        Secret values are left out, passwords in addresses are masked.
        """
        answer = _public_tree(self)
        answer["config_file"] = None if self.file is None else str(self.file)
        answer["data_dir"] = str(self.data_dir)
        answer["origins"] = dict(self.origins)
        return answer

    def __repr__(self) -> str:
        return f"Config(file={self.file}, data_dir={self.data_dir})"


def _tables(model: BaseModel) -> Iterator[tuple[str, Table]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Table):
            yield name, value


def _leaves(model: BaseModel) -> Iterator[tuple[str, object]]:
    for name, value in model:
        if isinstance(value, Table):
            yield from _leaves(value)
        else:
            yield name, value


def _public_tree(model: BaseModel) -> dict[str, Any]:
    tree: dict[str, Any] = {name: _public_tree(table) for name, table in _tables(model)}
    if isinstance(model, Table):
        for name, field in type(model).model_fields.items():
            value = getattr(model, name)
            if name not in tree and not is_secret(field.annotation):
                tree[name] = _as_json(public(value))
    return tree


def is_secret(annotation: object) -> bool:
    """Whether a key of this type holds a secret: then it is never read from a file and never shown."""
    return mentions(annotation, Secret)


def _as_json(value: Any) -> Any:
    match value:
        case tuple():
            return [_as_json(item) for item in value]
        case Path():
            return str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case _:
            return value
