"""DeepFakeDetection (Google and Jigsaw), in FaceForensics++'s tree; see README.md."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.raw import Excluded, Index, Part, collect
from dfbench.faces.clip import FAKE, REAL, Clip, Split
from dfbench.faces.folders import split_of

BY_ACTOR = "-by-actor"


class Builder(FaceBuilder):
    """363 videos of 28 actors, and 3,068 with swapped faces."""

    VARIANTS = ("c23", "c40", "raw", *(f"{c}{BY_ACTOR}" for c in ("c23", "c40", "raw")))
    DEFAULT_VARIANT = "c23"

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the two folders of one compression."""
        compression = variant.removesuffix(BY_ACTOR)
        return (
            Part(
                folder=f"original_sequences/actors/{compression}/videos",
                pattern=r"((\d\d)__.+)\.mp4",
                count=363,
            ),
            Part(
                folder=f"manipulated_sequences/DeepFakeDetection/{compression}/videos",
                pattern=r"((\d\d)_(\d\d)__(.+)__[^_]+)\.mp4",
                count=3068,
            ),
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips: all of them test clips, or split by actor."""
        describe = partial(_clip, by_actor=variant.endswith(BY_ACTOR))
        return collect(raw_dir, cls.parts(variant), describe)


def _clip(part: Part, match: re.Match[str], path: Path, *, by_actor: bool) -> Clip | Excluded:
    fake = part.folder.startswith("manipulated")
    people = [match[2], match[3]] if fake else [match[2]]
    video = f"dfd/{'DeepFakeDetection' if fake else 'real'}/{match[1]}"
    test: set[Split] = {"test"}
    splits = {split_of(f"dfd/{person}") for person in people} if by_actor else test
    if len(splits) > 1:
        return Excluded(video, "its two actors are in different splits")
    return Clip(
        path=path,
        label=FAKE if fake else REAL,
        split=splits.pop(),
        video=video,
        manipulation="DeepFakeDetection" if fake else "real",
        identity=f"dfd/{people[0]}",
        source_identity=f"dfd/{people[1]}" if fake else "",
        original=f"dfd/real/{match[2]}__{match[4]}" if fake else "",
    )
