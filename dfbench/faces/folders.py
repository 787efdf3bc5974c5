"""A person's own folder as a dataset: which files there are, and which split each belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, SPLITS, Clip, Split
from dfbench.faces.images import IMAGE_SUFFIXES
from dfbench.faces.video import VIDEO_SUFFIXES
from dfbench.faces.walk import walk_files

CLASSES = {"real": REAL, "fake": FAKE}
SELF_BLEND = "self_blend"


def index_folder(root: Path, dataset: str) -> list[Clip]:
    """List the images and videos of `root/real` and `root/fake`.

    A file belongs to the group (identity) of its subfolder, `real/alice/1.jpg`, or else to its own.
    Groups go to train, val and test (70, 15 and 15 %) by a hash of their name, so that a file's
    split stays when others are added, and a fake `fake/alice/..` goes where `real/alice/..` goes.
    Where `root` holds `train`, `val` or `test`, with `real` and `fake` in them, these decide.

    Raises:
      UserError: no such folder, or a class without an image or video.
    """
    _require_folder(root)
    clips = [
        _clip(file, folder / name, label, dataset, name, split)
        for folder, split in _split_folders(root)
        for name, label in CLASSES.items()
        for file in _media(folder / name)
    ]
    for name, label in CLASSES.items():
        if not any(clip.label == label for clip in clips):
            raise UserError(
                f"{root}: no image or video in {root / name}; it must hold real/ and fake/"
            )
    return clips


def index_real_folder(root: Path, dataset: str) -> list[Clip]:
    """List the images and videos below `root`, all of them real, each also as a self-blended fake.

    Raises:
      UserError: no such folder, or nothing in it.
    """
    _require_folder(root)
    real = [
        _clip(file, folder, REAL, dataset, "real", split)
        for folder, split in _split_folders(root)
        for file in _media(folder)
    ]
    if not real:
        raise UserError(f"{root}: no image or video of a real face in this folder")
    fake = [
        replace(
            clip,
            label=FAKE,
            video=clip.video.replace(f"{dataset}/real/", f"{dataset}/{SELF_BLEND}/", 1),
            manipulation=SELF_BLEND,
            source_identity=clip.identity,
            original=clip.video,
            self_blend=True,
        )
        for clip in real
    ]
    return real + fake


def split_of(group: str) -> Split:
    """Return the split of a group: 70 % train, 15 % val, 15 % test, by the hash of its name."""
    place = hash_place(group)
    return "train" if place < 0.70 else "val" if place < 0.85 else "test"


def hash_place(group: str) -> float:
    """Return a number in [0, 1) that depends on the name alone, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")


def _split_folders(root: Path) -> list[tuple[Path, Split | None]]:
    explicit = [(root / split, split) for split in SPLITS if (root / split).is_dir()]
    return list(explicit) or [(root, None)]


def _media(folder: Path) -> Iterator[Path]:
    """Yield the images and videos below a folder, sorted; also links to what is not there."""
    if folder.is_dir():
        for path in sorted(folder / name for name in walk_files(folder)):
            if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
                yield path


def _clip(
    file: Path, base: Path, label: int, dataset: str, manipulation: str, split: Split | None
) -> Clip:
    inside = file.relative_to(base)
    subfolder = inside.parts[0] if len(inside.parts) > 1 else ""
    prefix = f"{split}/" if split else ""
    return Clip(
        path=file,
        label=label,
        split=split or split_of(subfolder or inside.stem),
        video=f"{dataset}/{manipulation}/{prefix}{inside.as_posix()}",
        manipulation=manipulation,
        identity=subfolder,
    )
