"""What the two versions of Celeb-DF have in common (Li et al., CVPR 2020, arXiv:1909.12962)."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path

from dfbench.data.lists import OfficialList, carve, find_list, read_lines, require_count
from dfbench.data.raw import Excluded, Index, Part, collect, require_folders
from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, Clip, Split

TEST_LIST = OfficialList(name="List_of_testing_videos.txt")
# Faces are swapped within groups of people only; these are such groups, so that carving the val
# split by identity loses no fake. Version 1 has fewer people.
VAL_PEOPLE = {
    "celebdf": frozenset(f"id{number}" for number in range(49, 59)),
    "celebdf_v1": frozenset(f"id{number}" for number in (7, 10, 11, 12, 13)),
}


def celebdf_parts(real: int, youtube: int, fake: int) -> tuple[Part, ...]:
    """Name the three folders, with their official numbers of clips."""
    return (
        Part(folder="Celeb-real", pattern=r"((id\d+)_\d{4})\.mp4", count=real),
        Part(folder="YouTube-real", pattern=r"(\d{5})\.mp4", count=youtube),
        Part(folder="Celeb-synthesis", pattern=r"((id\d+)_(id\d+)_\d{4})\.mp4", count=fake),
    )


def index_celebdf(
    raw: Path, dataset: str, parts: tuple[Part, ...], test_real: int, test_fake: int
) -> Index:
    """List the clips: test as the official list says, val by identity.

    Raises:
      UserError: a folder or the list is not there, or the list is not whole.
    """
    require_folders(raw, parts)
    path = find_list(raw, TEST_LIST, dataset)
    test = read_test_list(path, test_real, test_fake)
    expected = {
        part.folder: [
            name.removeprefix(f"{part.folder}/") for name in test if name.startswith(part.folder)
        ]
        for part in parts
    }
    return collect(raw, parts, partial(_clip, dataset=dataset, test=test), expected=expected)


def read_test_list(path: Path, real: int, fake: int) -> frozenset[str]:
    """Read the official list, in which 1 means real; return the names of its clips.

    Raises:
      UserError: a line is not `1 Celeb-real/..` and the like, or lines are missing.
    """
    names: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        mark, _, name = line.partition(" ")
        genuine = name.startswith(("Celeb-real/", "YouTube-real/"))
        if mark not in ("0", "1") or not (genuine or name.startswith("Celeb-synthesis/")):
            raise UserError(f"{path}, line {number}: '{line}' is no mark and clip")
        if (mark == "1") != genuine:
            raise UserError(
                f"{path}, line {number}: '{line}' contradicts its folder; in the official list 1 "
                "means real"
            )
        names[name] = REAL if genuine else FAKE
    require_count(path, len(names), real + fake, "clips")
    kinds = Counter(names.values())
    require_count(path, kinds[REAL], real, "real clips")
    return frozenset(names)


def _clip(
    part: Part, match: re.Match[str], path: Path, *, dataset: str, test: frozenset[str]
) -> Clip | Excluded:
    fake, youtube = part.folder == "Celeb-synthesis", part.folder == "YouTube-real"
    stem = match[1]
    people = [] if youtube else [match[2], match[3]] if fake else [match[2]]
    video = f"{dataset}/{part.folder}/{stem}"
    split: Split | None
    if f"{part.folder}/{match[0]}" in test:
        split = "test"
    elif youtube:
        split = carve(stem)
    else:
        inside = {person in VAL_PEOPLE[dataset] for person in people}
        split = None if len(inside) > 1 else "val" if inside == {True} else "train"
    if split is None:
        return Excluded(video, "shows people of both the training and the val split")
    named = [f"celebdf/{person}" for person in people]
    return Clip(
        path=path,
        label=FAKE if fake else REAL,
        split=split,
        video=video,
        manipulation="Celeb-synthesis" if fake else "real",
        identity=named[0] if named else f"celebdf/YouTube-{stem}",
        source_identity=named[1] if fake else "",
        # id0_id1_0000 is id0_0000 with the face of id1
        original=f"{dataset}/Celeb-real/{match[2]}_{stem[-4:]}" if fake else "",
    )
