"""The commands of `timmy`, a file each, imported only when used; the table of them is in `timmy_dvm.cli`.

Each file exposes a click command named `command`.
"""
