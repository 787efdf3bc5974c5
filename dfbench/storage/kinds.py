"""What a folder that is mirrored consists of."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A sort of folder. Its *pieces* are fetched and replaced as wholes.

    Attributes:
      marker: Pattern of the file that says that the folder is finished.
      whole: Folder in it each of whose folders is a piece, every other file being one too. Empty:
        all of the folder is one piece.
      besides: Patterns of what lies in it and is not part of it.
    """

    marker: str
    whole: str = ""
    besides: tuple[str, ...] = ()

    def piece(self, path: str) -> str:
        """Return the piece that a file belongs to."""
        if not self.whole:
            return ""
        parts = path.split("/")
        return "/".join(parts[:2]) if parts[0] == self.whole and len(parts) > 2 else path

    def has(self, path: str) -> bool:
        """Tell whether a file is part of such a folder."""
        return not path.startswith(".") and not any(
            fnmatch.fnmatchcase(path, pattern) for pattern in self.besides
        )

    def finished(self, paths: Iterable[str]) -> bool:
        """Tell whether the marker is among the files."""
        return any(fnmatch.fnmatchcase(path, self.marker) for path in paths)
