"""The files below a folder of raw clips, whatever else people and systems leave there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from dfbench.errors import UserError

_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def walk_files(folder: Path) -> Iterator[PurePosixPath]:
    """Yield the files below a folder, sorted, relative to it.

    Links are followed, but into no folder twice. Hidden files and what operating systems leave
    behind are passed over.

    Raises:
      UserError: a folder cannot be read, a link leads back to a folder above it, or a name is no
        text.
    """

    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror or error}")

    seen = set()
    for root, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        _require_no_loop(Path(root), folders, folder)
        relative = PurePosixPath(Path(root).relative_to(folder))
        for name in sorted(files):
            if not _hidden(name):
                _require_text(Path(root) / name)
                yield relative / name


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _require_no_loop(root: Path, names: Sequence[str], top: Path) -> None:
    """Refuse links to a folder above: files of another class would be found below this one."""
    for path in (root / name for name in names):
        if path.is_symlink():
            target = path.resolve()
            if any(above.resolve().is_relative_to(target) for above in (root, top)):
                raise UserError(f"{path}: a link to a folder above it; remove the link")


def _require_text(path: Path) -> None:
    """Refuse names that are not UTF-8: they cannot be written into tables."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: this name is not UTF-8; rename the file") from None
