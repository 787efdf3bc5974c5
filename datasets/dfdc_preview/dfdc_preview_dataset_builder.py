"""Preview of the Deepfake Detection Challenge; see README.md."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from dfbench.data.builder import FaceBuilder
from dfbench.data.lists import OfficialList, carve, find_list, only_in, read_object, require_count
from dfbench.data.raw import Excluded, Index, Part, collect, require_folders
from dfbench.faces.clip import FAKE, REAL, Clip, Split

LIST = OfficialList(name="dataset.json", places=("",))
TEST_CLIPS = 276 + 501  # real and fake
_LABELS = {"real": REAL, "fake": FAKE}


class Builder(FaceBuilder):
    """1,131 real and 4,119 fake videos, by two methods."""

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the three folders."""
        del variant
        return (
            Part(folder="original_videos", pattern=r"(.+)\.mp4", count=1131),
            Part(folder="method_A", pattern=r"(.+)\.mp4", optional=True),
            Part(folder="method_B", pattern=r"(.+)\.mp4", optional=True),
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips; `dataset.json` says which are test clips."""
        parts = cls.parts(variant)
        require_folders(raw_dir, parts)
        path = find_list(raw_dir, LIST, "dfdc_preview")
        facts = read_object(path)
        test = sum(only_in(about, "set", path) == "test" for about in facts.values())
        require_count(path, test, TEST_CLIPS, "test clips")
        expected = {
            part.folder: [
                name.removeprefix(f"{part.folder}/")
                for name in facts
                if name.startswith(f"{part.folder}/")
            ]
            for part in parts
        }
        return collect(raw_dir, parts, partial(_clip, facts=facts, listed=path), expected=expected)


def _clip(
    part: Part, match: re.Match[str], path: Path, *, facts: dict[str, Any], listed: Path
) -> Clip | Excluded:
    video = f"dfdc_preview/{part.folder}/{match[1]}"
    about = facts.get(f"{part.folder}/{match[0]}")
    if about is None:
        return Excluded(video, f"not in {LIST.name}")
    label = only_in(_LABELS, only_in(about, "label", listed), listed)
    person = _person(about, "target_id") or re.split("[/_]", match[1])[0]
    other = _person(about, "swapped_id")
    split: Split = "test" if only_in(about, "set", listed) == "test" else carve(person)
    if split != "test" and other and carve(other) != split:
        return Excluded(video, "shows people of both the training and the val split")
    return Clip(
        path=path,
        label=label,
        split=split,
        video=video,
        manipulation=part.folder if label else "real",
        identity=f"dfdc_preview/{person}",
        source_identity=f"dfdc_preview/{other}" if other else "",
    )


def _person(about: dict[str, Any], key: str) -> str:
    number = about.get(key)
    return "" if number is None else str(number)
