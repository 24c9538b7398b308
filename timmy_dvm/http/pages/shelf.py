"""The files that pages are made of, read once from the package and ready to be sent.

All assets lie in one folder whose name is a digest of what is in it, so a browser may keep them for ever and an
upgrade is seen at once; modules name each other relatively and so stay within one version. The same files without
the digest are there for whoever can't know it, to be asked for again each time (their ETag makes that cheap).
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Final

_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        body: as it is.
        packed: the same, gzipped.
        media_type: for Content-Type.
        etag: quoted, of what is in it.
    """

    body: bytes
    packed: bytes
    media_type: str
    etag: str


class Shelf:
    """The assets and the sheets of a package's folders.

    Args:
        assets: a folder of styles, scripts and pictures. A file of another kind is not served.
        sheets: a folder of HTML; None where there is none.
    """

    def __init__(self, assets: Traversable, sheets: Traversable | None = None) -> None:
        files = sorted((file for file in assets.iterdir() if _kind(file) in _TYPES), key=lambda file: file.name)
        self._assets = {file.name: _asset(file) for file in files}
        names_and_etags = "\n".join(f"{name} {asset.etag}" for name, asset in self._assets.items())
        self._digest = _digest(names_and_etags.encode())
        pages = () if sheets is None else (file for file in sheets.iterdir() if _kind(file) == "html")
        self._sheets = {file.name.removesuffix(".html"): file.read_text(encoding="utf-8") for file in pages}

    @property
    def folder(self) -> str:
        """Where the assets of this version are: a path without a slash at its end."""
        return f"/assets/{self._digest}"

    def asset(self, name: str) -> Asset | None:
        """The asset of that name, or None."""
        return self._assets.get(name)

    def is_current(self, digest: str) -> bool:
        """Whether that folder is the one of this version, which never changes."""
        return digest == self._digest

    def sheet(self, name: str) -> str:
        """The text of a sheet.

        Raises:
            KeyError: there is none of that name.
        """
        return self._sheets[name]


def _kind(file: Traversable) -> str:
    return file.name.rpartition(".")[2]


def _asset(file: Traversable) -> Asset:
    body = file.read_bytes()
    return Asset(body, gzip.compress(body, mtime=0), _TYPES[_kind(file)], f'"{_digest(body)}"')


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
