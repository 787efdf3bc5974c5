"""The files of this machine that stand for a place in object storage.

Below its folder: `files`, which other code reads and writes; `bases`, what was there when both were
last in step; `incoming`, what is being fetched; `locks`.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dfbench.errors import UserError
from dfbench.files import write_bytes
from dfbench.paths import cache_dir, folder_name, slug
from dfbench.storage import listing
from dfbench.storage.kinds import Kind
from dfbench.storage.listing import Entry, Listing
from dfbench.storage.url import Url, stands_for


def stage_of(url: Url, use: str = "work") -> Stage:
    """Return the files of a place, in the cache folder; each use has its own."""
    digest = hashlib.sha256(str(url).encode()).hexdigest()[:12]
    stage = Stage(cache_dir().absolute() / "remote" / f"{slug(str(url))}-{digest}" / use)
    stands_for(stage.files, url)
    return stage


class Stage:
    """The folder of one place. A *unit* is a mirrored folder's path below `files`."""

    def __init__(self, home: Path, files: Path | None = None) -> None:
        self.home, self.files = home, files or home / "files"

    def unit(self, folder: Path) -> str:
        """Return the unit that is kept in a folder below `files`."""
        name = folder.relative_to(self.files).as_posix()
        return "" if name == "." else name

    def path(self, unit: str, name: str = "") -> Path:
        """Return where a file or a piece of a unit lies."""
        return self.files / unit / name

    def names(self, unit: str, kind: Kind) -> list[str]:
        """Return the files of a unit that are here."""
        root = self.path(unit)
        found = (path for path in sorted(root.rglob("*")) if path.is_file())
        return [name for p in found if kind.has(name := p.relative_to(root).as_posix())]

    def lock(self, unit: str) -> Path:
        """Return the lock of a unit."""
        return self.home / "locks" / _flat(unit)

    def same(self, unit: str, kind: Kind, piece: str, files: Mapping[str, Entry]) -> bool:
        """Tell whether a piece has these files and no others."""
        own = {name for name in self.names(unit, kind) if kind.piece(name) == piece}
        return own == set(files) and all(
            holds(self.path(unit, name), entry) for name, entry in files.items()
        )

    def remove(self, unit: str, pieces: Iterable[str]) -> None:
        """Delete pieces."""
        for piece in pieces:
            path = self.path(unit, piece)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # --- what was fetched -------------------------------------------------------------------------

    def incoming(self, unit: str) -> Path:
        """Return the folder of what is being fetched."""
        return self.home / "incoming" / _flat(unit)

    def place(self, unit: str, piece: str, files: Iterable[str]) -> None:
        """Put a piece that was fetched in its place."""
        source, target = self.incoming(unit), self.path(unit, piece)
        wanted = {source / name for name in files}
        source /= piece
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            source.replace(target)
            return
        for path in list(source.rglob("*")):  # of a list that has changed since
            if path.is_file() and path not in wanted:
                path.unlink()
        old = target.with_name(f"{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        source.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    # --- what was in step -------------------------------------------------------------------------

    def base(self, unit: str) -> Listing | None:
        """Return what was there when it was last fetched or sent."""
        path = self._base(unit)
        with contextlib.suppress(OSError, UserError):
            return listing.decode(path.read_bytes(), path)
        return None

    def set_base(self, unit: str, value: Listing | None) -> None:
        """Keep what is there now."""
        path = self._base(unit)
        if value is None:
            path.unlink(missing_ok=True)
            return
        write_bytes(path, listing.encode(value))

    def bases(self) -> Iterator[str]:
        """Yield the units that were once in step."""
        root = self.home / "bases"
        for path in sorted(root.rglob(listing.NAME)):
            name = path.parent.relative_to(root).as_posix()
            yield "" if name == "." else name

    def _base(self, unit: str) -> Path:
        return self.home / "bases" / unit / listing.NAME


def entry_of(path: Path, key: str) -> Entry:
    """Describe a file."""
    return Entry(key=key, bytes=path.stat().st_size, sha256=_sha256(path))


def holds(path: Path, entry: Entry) -> bool:
    """Tell whether a file has the content of an entry."""
    return path.is_file() and path.stat().st_size == entry.bytes and _sha256(path) == entry.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flat(unit: str) -> str:
    return folder_name(unit) if unit else "all"
