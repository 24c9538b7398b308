"""The configuration of one Timmy: one TOML file, overridden by the environment, checked before anything starts.

Files in the order a value meets them: `sources` reads it, `schema` says which key it is, `tables` and
`money_tables` say what it must be, `checks` how it fits the others, `model` is the result, and `example`
writes the file a newcomer starts from.
"""

from timmy_dvm.config.errors import ConfigError
from timmy_dvm.config.fields import host_of, is_loopback
from timmy_dvm.config.loading import find_config, home_folder, load
from timmy_dvm.config.model import Config
from timmy_dvm.config.secret import Secret, read_secret

__all__ = [
    "Config",
    "ConfigError",
    "Secret",
    "find_config",
    "home_folder",
    "host_of",
    "is_loopback",
    "load",
    "read_secret",
]
