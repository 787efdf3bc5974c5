"""Deepfake Detection Challenge; see README.md."""

from __future__ import annotations

import re
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.lists import carve, only_in, read_object, read_rows, require_count
from dfbench.data.raw import Excluded, Index, Part, collect, find_part
from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, Clip

METADATA, LABELS = "metadata.json", "labels.csv"
_IN_METADATA, _IN_LABELS = {"REAL": REAL, "FAKE": FAKE}, {"0": REAL, "1": FAKE}
TEST_CLIPS = 5000
_VIDEO = r"([a-z]+)\.mp4"
Facts = dict[str, tuple[int, str]]  # of a file: its label, and the file it was made from


class Builder(FaceBuilder):
    """19,154 real and 100,000 fake videos in 50 parts, and 5,000 test videos."""

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the parts of the training set, any of which will do, and the test set."""
        del variant
        return (
            *(
                Part(
                    folder=f"dfdc_train_part_{n}",
                    also=(f"dfdc_train_part_{n:02}/dfdc_train_part_{n}", f"dfdc_train_part_{n:02}"),
                    pattern=_VIDEO,
                    beside=re.escape(METADATA),
                    optional=True,
                )
                for n in range(50)
            ),
            Part(
                folder="test",
                pattern=_VIDEO,
                beside=re.escape(LABELS),
                count=TEST_CLIPS,
                optional=True,
            ),
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips of the parts that are there."""
        parts = cls.parts(variant)
        facts = {
            part.folder: _facts(folder, part)
            for part in parts
            if (folder := find_part(raw_dir, part)) is not None
        }

        def clip(part: Part, match: re.Match[str], path: Path) -> Clip | Excluded:
            return _clip(part, match, path, facts[part.folder])

        return collect(raw_dir, parts, clip, expected=facts)


def _facts(folder: Path, part: Part) -> Facts:
    """Read what a part says of its files."""
    if part.folder == "test":
        path = next((p for p in (folder / LABELS, folder.parent / LABELS) if p.is_file()), None)
        if path is None:
            raise UserError(f"{folder / LABELS}: no such file; the test clips need their labels")
        rows = read_rows(path, ("filename", "label"))
        require_count(path, len(rows), TEST_CLIPS, "labels")
        return {row["filename"]: (only_in(_IN_LABELS, row["label"], path), "") for row in rows}
    path = folder / METADATA
    return {
        name: (
            only_in(_IN_METADATA, only_in(about, "label", path), path),
            str(about.get("original") or ""),
        )
        for name, about in read_object(path).items()
    }


def _clip(part: Part, match: re.Match[str], path: Path, facts: Facts) -> Clip | Excluded:
    test = part.folder == "test"
    if match[0] not in facts:
        return Excluded(
            f"dfdc/{part.folder}/{match[1]}", f"not in its {LABELS if test else METADATA}"
        )
    label, original = facts[match[0]]
    stem = original.removesuffix(".mp4")
    return Clip(
        path=path,
        label=label,
        # A fake stays with the video it was made from; who is seen is not published.
        split="test" if test else carve(stem or match[1]),
        video=f"dfdc/{part.folder}/{match[1]}",
        manipulation="DFDC" if label else "real",
        original=f"dfdc/{part.folder}/{stem}" if stem else "",
    )
