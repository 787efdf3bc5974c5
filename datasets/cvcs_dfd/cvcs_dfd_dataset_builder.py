"""CVCS-DFD: the images of `catania` and the frames of `ffpp` together; see README.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.catalog import load_builder
from dfbench.data.raw import Index, Part
from dfbench.errors import UserError

MEMBERS = ("catania", "ffpp")


class Builder(FaceBuilder):
    """15,000 images and the frames of 5,000 videos or more."""

    VARIANTS = ("c23", "c40", "raw")
    DEFAULT_VARIANT = "c23"

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the parts of both, each below a folder of its name."""
        return tuple(
            replace(
                part,
                folder=f"{name}/{part.folder}",
                also=tuple(f"{name}/{folder}" for folder in part.also),
            )
            for name in MEMBERS
            for part in load_builder(name).parts(variant)
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips of both, with the splits of each; clips keep their names."""
        for name in MEMBERS:
            if not (raw_dir / name).is_dir():
                raise UserError(
                    f"{raw_dir / name}: no such folder; cvcs_dfd needs a folder (or a link) "
                    f"with the download of each of {' and '.join(MEMBERS)}"
                )
        both = [load_builder(name).index(raw_dir / name, variant) for name in MEMBERS]
        return Index(
            clips=tuple(clip for index in both for clip in index.clips),
            absent=tuple(clip for index in both for clip in index.absent),
            excluded={video: why for index in both for video, why in index.excluded.items()},
        )
