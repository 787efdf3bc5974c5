"""DeepfakeTIMIT, with the real videos of VidTIMIT; see README.md."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.raw import Index, Part, collect, scan
from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, Clip, Split
from dfbench.faces.folders import hash_place

QUALITIES = {"hq": "higher_quality", "lq": "lower_quality"}
# Whom those who publish a split of DeepfakeTIMIT test on (the csv lists that go around).
TESTED = frozenset({"fcmh0", "fedw0", "fjwb0", "mdbb0", "mmdb1", "mrgg0"})
_FAKE = r"([a-z0-9]+)/(s[aix]\d+)-video-([a-z0-9]+)\.avi"
_REAL = r"([a-z0-9]+)/video/(s[aix]\d+)"  # a folder of frames


class Builder(FaceBuilder):
    """320 fakes a quality of 32 people, and the 320 videos that they were made from."""

    VARIANTS = tuple(QUALITIES)

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name VidTIMIT and one quality of DeepfakeTIMIT."""
        return (
            Part(
                folder="VidTIMIT",
                also=("vidtimit", "VIDTIMIT", "."),
                pattern=_REAL,
                frames=True,
            ),
            Part(
                folder=QUALITIES[variant],
                also=(f"DeepfakeTIMIT/{QUALITIES[variant]}",),
                pattern=_FAKE,
                beside=r".+\.wav",
                count=320,
            ),
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips; two people whose faces were swapped are in one split."""
        parts = cls.parts(variant)
        partners = _partners(raw_dir, parts[1])
        # A fake's folder and sentence are those of the video that it was made from.
        used = {f"{m[1]}/video/{m[2]}" for m in _matches(raw_dir, parts[1])}
        describe = partial(_clip, variant=variant, used=used, split_of=_splits(partners))
        return collect(raw_dir, parts, describe, expected={parts[0].folder: sorted(used)})


def _matches(raw: Path, part: Part) -> list[re.Match[str]]:
    return [m for name in scan(raw, part).clips if (m := re.fullmatch(part.pattern, name))]


def _partners(raw: Path, part: Part) -> dict[str, str]:
    """Return with whom each person's face was swapped."""
    partner: dict[str, str] = {}
    for match in _matches(raw, part):
        for one, other in ((match[1], match[3]), (match[3], match[1])):
            if partner.setdefault(one, other) != other:
                raise UserError(
                    f"{raw / part.folder / one}: swapped with {partner[one]} and {other}; in "
                    "DeepfakeTIMIT each person has one partner"
                )
    return partner


def _splits(partners: dict[str, str]) -> dict[str, Split]:
    """Return each person's split: two whose faces were swapped are in one."""
    pairs = {tuple(sorted(pair)) for pair in partners.items()}
    test = {pair for pair in pairs if TESTED & set(pair)}
    # So few pairs that a hash of each might leave val empty: the lowest hashes make a fifth.
    rest = sorted(pairs - test, key=lambda pair: hash_place("+".join(pair)))
    val = set(rest[: max(1, len(rest) // 5)]) if len(rest) > 1 else set()
    return {
        person: "test" if pair in test else "val" if pair in val else "train"
        for pair in pairs
        for person in pair
    }


def _clip(
    part: Part,
    match: re.Match[str],
    path: Path,
    *,
    variant: str,
    used: set[str],
    split_of: dict[str, Split],
) -> Clip | None:
    fake, person = not part.frames, match[1]
    real = f"dftimit/real/{person}/{match[2]}"
    if not fake and match[0] not in used:
        return None  # VidTIMIT has people, and recordings of heads, that no fake was made from
    return Clip(
        path=path,
        label=FAKE if fake else REAL,
        split=split_of[person],
        video=f"dftimit/{variant}/{match[0].removesuffix('.avi')}" if fake else real,
        manipulation=variant if fake else "real",
        identity=f"vidtimit/{person}",
        source_identity=f"vidtimit/{match[3]}" if fake else "",
        original=real if fake else "",
    )
