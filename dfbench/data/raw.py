"""A raw download on disk: its official parts and the clips in them, present and absent.

A builder names the parts of its download; walking them, telling clips from strangers and noticing
what is missing is shared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfbench.errors import UserError
from dfbench.faces.clip import Clip
from dfbench.faces.walk import walk_files
from dfbench.storage.listing import is_safe

NOT_THERE = "not in the raw download"  # why an official clip gave no crop


@dataclass(frozen=True, kw_only=True)
class Part:
    """A folder of the official download, with what lies in it."""

    folder: str  # below the raw folder
    pattern: str  # regular expression that a clip's path below `folder` matches as a whole
    count: int = 0  # clips there are officially; 0: not known
    names: tuple[str, ...] = ()  # paths below `folder` that are there officially, where known
    also: tuple[str, ...] = ()  # other names under which people have the folder
    optional: bool = False  # the dataset can be used without it
    frames: bool = False  # a clip is a folder of frames, not a file
    beside: str = ""  # regular expression of the names of other files that belong there


@dataclass(frozen=True)
class PartFiles:
    """What of a part is there; paths are below the raw folder's part."""

    part: Part
    folder: Path | None  # None: the part is not there
    clips: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()  # files that do not belong there


@dataclass(frozen=True)
class Index:
    """The clips of a download.

    `absent` are official clips that the download lacks, in parts of which it has others; they
    count as clips without a crop. `excluded` says why clips that are there are in no split.
    """

    clips: tuple[Clip, ...]
    absent: tuple[Clip, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)  # `video` -> reason


@dataclass(frozen=True)
class Excluded:
    """A clip that is in no split, and why."""

    video: str
    reason: str


Describe = Callable[[Part, "re.Match[str]", Path], Clip | Excluded | None]


def find_part(raw: Path, part: Part) -> Path | None:
    """Return where a part lies; None: nowhere."""
    return next((raw / f for f in (part.folder, *part.also) if (raw / f).is_dir()), None)


def scan(raw: Path, part: Part) -> PartFiles:
    """Look through one part of a download, without opening a file.

    Raises:
      UserError: a folder cannot be read.
    """
    folder = find_part(raw, part)
    if folder is None:
        return PartFiles(part, None)
    clips, strangers = dict[str, None](), []
    for file in walk_files(folder):
        name = str(file.parent if part.frames else file)
        if re.fullmatch(part.pattern, name):
            clips[name] = None
        elif not re.fullmatch(part.beside, file.name):
            strangers.append(str(file))
    return PartFiles(part, folder, tuple(clips), tuple(strangers))


def collect(
    raw: Path,
    parts: Sequence[Part],
    describe: Describe,
    *,
    expected: Mapping[str, Iterable[str]] | None = None,
) -> Index:
    """Make the clips of a download.

    Args:
      raw: folder of the download.
      parts: of the dataset.
      describe: makes the clip of a part, a match of the part's pattern and a path; or says why it
        is in no split; or None for what is no clip after all.
      expected: of a part's folder, the paths below it that must be there, where the parts' own
        `names` do not say so.

    Raises:
      UserError: a part that the dataset needs is not there, or no clip is.
    """
    require_folders(raw, parts)
    found = [scan(raw, part) for part in parts]
    _require(raw, found)
    clips: list[Clip] = []
    absent: list[Clip] = []
    excluded: dict[str, str] = {}

    def add(files: PartFiles, name: str, there: list[Clip]) -> None:
        match = re.fullmatch(files.part.pattern, name)
        if match is None or files.folder is None:
            raise UserError(
                f"{files.folder}: the official list names '{name}', which is no clip of this folder"
            )
        made = describe(files.part, match, files.folder / name)
        if isinstance(made, Clip):
            there.append(made)
        elif made is not None and there is clips:
            excluded[made.video] = made.reason

    for files in found:
        if not files.clips:
            continue
        for name in files.clips:
            add(files, name, clips)
        wanted = (expected or {}).get(files.part.folder, files.part.names)
        for name in sorted(set(wanted) - set(files.clips)):
            if not is_safe(name):
                raise UserError(f"{files.folder}: the official list names {name!r}: no clip here")
            add(files, name, absent)
    return Index(tuple(clips), tuple(absent), excluded)


def require_folders(raw: Path, parts: Sequence[Part]) -> None:
    """Raise UserError where the download is not there, or lacks a part that is needed."""
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder")
    for part in parts:
        if not part.optional and find_part(raw, part) is None:
            raise UserError(f"{raw / part.folder}: no such folder{_deeper(raw, part)}")


def _require(raw: Path, found: Sequence[PartFiles]) -> None:
    for files in found:
        if not files.clips and not files.part.optional:
            raise UserError(f"{files.folder}: no clip in this folder{_deeper(raw, files.part)}")
    if not any(files.clips for files in found):
        names = ", ".join(files.part.folder for files in found)
        raise UserError(
            f"{raw}: no clip in any of {names}{''.join(_deeper(raw, f.part) for f in found[:1])}"
        )


def _deeper(raw: Path, part: Part) -> str:
    """Say where the part may lie instead: one folder further down, or up."""
    for folder in (*(f for f in sorted(raw.iterdir()) if f.is_dir()), raw.parent):
        if (folder / part.folder).is_dir():
            return f"; did you mean --raw {folder}?"
    return ""
