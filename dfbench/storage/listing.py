"""The list of a folder's files in object storage: what there is, and where its bytes lie.

It is one small object, written last. What it does not name is not there, so that a folder is seen
as it was before a push or as it is after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfbench.errors import UserError
from dfbench.files import decode_json, json_bytes

NAME = ".dfbench-files.json"
VERSION = 1
MOST_BYTES = 64 * 2**20
_LONGEST = 1000  # characters of a name; object storage has 1024 bytes


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file."""

    key: str  # of the object, below the folder
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All files of a folder, by path."""

    version: int = VERSION
    finished: bool  # the folder's own marker is among them
    files: Mapping[str, Entry] = field(default_factory=dict)


def encode(listing: Listing) -> bytes:
    """Return the bytes of the object."""
    files = dict(sorted(listing.files.items()))
    plain = {"version": listing.version, "finished": listing.finished, "files": files}
    return json_bytes(plain)


def decode(data: bytes, where: object) -> Listing:
    """Read the object of the place `where`.

    Raises:
      UserError: damaged, of a later version, or with names that lead out of the folder.
    """
    try:
        listing = decode_json(data, Listing)
    except ValueError as error:
        raise UserError(f"{where}: not a list of files: {error}; delete it, and push again") from (
            error
        )
    if listing.version != VERSION:
        raise UserError(f"{where}: of version {listing.version}; this dfbench knows {VERSION}")
    for path, entry in listing.files.items():
        if not (is_safe(path) and is_safe(entry.key)):
            raise UserError(f"{where}: '{path}' is no name of a file in this folder")
    return listing


def is_safe(path: str) -> bool:
    """Tell whether a relative path stays in its folder, on any system."""
    parts = path.split("/")
    return (
        0 < len(path) <= _LONGEST
        and all(parts)
        and not {".", ".."} & set(parts)
        and not {"\\", ":"} & set(path)  # Windows
        and path.isprintable()
    )
