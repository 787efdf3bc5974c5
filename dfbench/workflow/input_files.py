"""The files that a person names: which there are, and how what is written of them is called."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import UserError
from dfbench.faces.images import IMAGE_SUFFIXES
from dfbench.faces.video import VIDEO_SUFFIXES
from dfbench.faces.walk import walk_files
from dfbench.paths import slug


@dataclass(frozen=True)
class Input:
    """An image or video."""

    path: Path
    name: str  # that files drawn of it begin with; no other input has it, whatever the case


def list_inputs(paths: Sequence[Path], out: Path) -> list[Input]:
    """Return the files that are named, and the images and videos below the folders, each once.

    What an earlier call wrote into `out` is passed over below folders.

    Raises:
      UserError: A path does not exist, a folder holds no image or video, or a name is no text.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _below(path, out.resolve()) if path.is_dir() else [path]:
            _require_text(file)
            if not path.is_dir() and not path.is_file():
                raise UserError(f"{path}: no such file or folder")
            found.setdefault(file.resolve(), file)
    stems = Counter(slug(path.stem).casefold() for path in found.values())
    return [Input(path, _name(path, stems)) for path in found.values()]


def _below(folder: Path, out: Path) -> list[Path]:
    files = [
        path
        for path in (folder / name for name in walk_files(folder))
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        and not path.resolve().is_relative_to(out)
    ]
    if not files:
        raise UserError(f"{folder}: no image or video in this folder")
    return files


def _require_text(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: this name is not UTF-8; rename the file") from None


def _name(path: Path, stems: Counter[str]) -> str:
    """Return the file's own name where it is safe and the only one, else one with a hash."""
    name = slug(path.stem)
    if name == path.stem and stems[name.casefold()] == 1:
        return name
    return f"{name}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
