"""UADFV; see README.md."""

from __future__ import annotations

import re
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.lists import carve
from dfbench.data.raw import Index, Part, collect
from dfbench.faces.clip import FAKE, REAL, Clip

PAIRS = tuple(f"{number:04}" for number in range(49))
# The 14 pairs that those who publish a split of UADFV test on (the csv lists that go around).
_TESTED = (1, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 19, 21, 22)
TEST = frozenset(f"{number:04}" for number in _TESTED)


class Builder(FaceBuilder):
    """49 real videos, each with one fake."""

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the two folders."""
        del variant
        return (
            Part(
                folder="real",
                pattern=r"(\d{4})\.mp4",
                count=49,
                names=tuple(f"{pair}.mp4" for pair in PAIRS),
            ),
            Part(
                folder="fake",
                pattern=r"(\d{4})_fake\.mp4",
                count=49,
                names=tuple(f"{pair}_fake.mp4" for pair in PAIRS),
            ),
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips; a real video and its fake are in one split."""
        return collect(raw_dir, cls.parts(variant), _clip)


def _clip(part: Part, match: re.Match[str], path: Path) -> Clip:
    pair, fake = match[1], part.folder == "fake"
    return Clip(
        path=path,
        label=FAKE if fake else REAL,
        split="test" if pair in TEST else carve(pair),
        video=f"uadfv/{part.folder}/{pair}",
        manipulation="FakeApp" if fake else "real",
        identity=pair,
        original=f"uadfv/real/{pair}" if fake else "",
    )
