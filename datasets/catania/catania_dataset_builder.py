"""Images of the challenge of the University of Catania, ICIAP 2022; see README.md."""

from __future__ import annotations

import re
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.raw import Index, Part, collect
from dfbench.faces.clip import FAKE, REAL, Clip
from dfbench.faces.folders import split_of

SOURCES = {
    "CelebA": REAL,
    "FFHQ": REAL,
    "AttGAN": FAKE,
    "GDWCT": FAKE,
    "StarGAN": FAKE,
    "StyleGAN": FAKE,
    "StyleGAN2": FAKE,
}
_IMAGE = r"((?:.+/)?[^/]+)\.(?:[jJ][pP][eE]?[gG]|[pP][nN][gG])"


class Builder(FaceBuilder):
    """10,000 real and 5,000 generated images of faces."""

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name a folder for each source of images."""
        del variant
        return tuple(
            Part(
                folder=name,
                also=(name.upper(), name.lower(), *(f"{c}/{name}" for c in _above(label))),
                pattern=_IMAGE,
                optional=True,
            )
            for name, label in SOURCES.items()
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the images, split by a hash of their names."""
        return collect(raw_dir, cls.parts(variant), describe)


def _above(label: int) -> tuple[str, ...]:
    return ("fake", "Fake", "FAKE", "0-FAKE") if label else ("real", "Real", "REAL", "1-REAL")


def describe(part: Part, match: re.Match[str], path: Path) -> Clip:
    """Make the clip of one image."""
    label = SOURCES[part.folder]
    return Clip(
        path=path,
        label=label,
        split=split_of(f"{part.folder}/{match[1]}"),
        video=f"catania/{part.folder}/{match[0]}",
        manipulation=part.folder if label else "real",
    )
