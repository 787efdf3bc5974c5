"""FaceForensics++; see README.md."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.lists import OfficialList, find_list, read_json, read_object, require_count
from dfbench.data.raw import Excluded, Index, Part, collect, require_folders
from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, SPLITS, Clip, Split

MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
PAIRS: dict[Split, int] = {"train": 360, "val": 70, "test": 70}
_URL = "https://raw.githubusercontent.com/ondyari/FaceForensics/master/dataset"
_PLACES = ("", "splits", "dataset/splits", "dataset")
_SHA256: dict[Split, str] = {
    "train": "e59386911255e6fb0a79a7808ec2210536b8c0474268342694c4bca766d1b347",
    "val": "b48cc511f66938e05356aaa9c67e150b1e3638c355db3d745225b0022884b36e",
    "test": "886f5a0da623c25820692e0d8dc33d197ddb1db527a7f1cfcb9bcbca60fe4f40",
}
FOOTAGE = OfficialList(  # the YouTube video that each clip was cut from
    name="conversion_dict.json",
    url=f"{_URL}/conversion_dict.json",
    sha256="2d5e03a3d4bd47ef0e8c84881f595ca1e1ba191928fa50dcd30a470a7173612f",
    places=_PLACES,
)


class Builder(FaceBuilder):
    """1,000 videos of YouTube, each manipulated in five ways."""

    VARIANTS = ("c23", "c40", "raw")

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the folders of one compression."""
        return (
            Part(
                folder=f"original_sequences/youtube/{variant}/videos",
                pattern=r"(\d{3})\.mp4",
                count=1000,
            ),
            *(
                Part(
                    folder=f"manipulated_sequences/{name}/{variant}/videos",
                    pattern=r"(\d{3})_(\d{3})\.mp4",
                    count=1000,
                    optional=True,
                )
                for name in MANIPULATIONS
            ),
        )

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips; a fake is in the split of both its videos."""
        parts = cls.parts(variant)
        require_folders(raw_dir, parts)
        split_of, pairs = _splits(raw_dir)
        footage = _footage(raw_dir)
        expected = {parts[0].folder: [f"{video}.mp4" for video in split_of]} | {
            part.folder: [f"{a}_{b}.mp4" for a, b in pairs] for part in parts[1:]
        }
        describe = partial(_clip, split_of=split_of, footage=footage)
        return collect(raw_dir, parts, describe, expected=expected)


def _splits(raw: Path) -> tuple[dict[str, Split], list[tuple[str, str]]]:
    """Read the three lists of pairs; return each video's split, and the fakes there are."""
    split_of: dict[str, Split] = {}
    fakes: list[tuple[str, str]] = []
    for split in SPLITS:
        name = f"{split}.json"
        wanted = OfficialList(
            name=name, url=f"{_URL}/splits/{name}", sha256=_SHA256[split], places=_PLACES
        )
        path = find_list(raw, wanted, "ffpp")
        pairs = read_json(path)
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list) and [type(video) for video in pair] == [str, str]
            for pair in pairs
        ):
            raise UserError(f"{path}: not a list of pairs of videos")
        require_count(path, len(pairs), PAIRS[split], "pairs")
        for a, b in pairs:
            for video in (a, b):
                if split_of.setdefault(video, split) != split:
                    raise UserError(f"{path}: '{video}' is in the {split_of[video]} list too")
            fakes += [(a, b), (b, a)]
    return split_of, fakes


def _footage(raw: Path) -> dict[str, str]:
    """Read which YouTube video each clip is from: `"000": "--b1Ua-kWJE 0"`."""
    path = find_list(raw, FOOTAGE, "ffpp")
    return {video: str(source).split(" ")[0] for video, source in read_object(path).items()}


def _clip(
    part: Part,
    match: re.Match[str],
    path: Path,
    *,
    split_of: dict[str, Split],
    footage: dict[str, str],
) -> Clip | Excluded:
    target, source = match[1], match[2] if match.re.groups > 1 else ""
    manipulation = part.folder.split("/")[1] if source else "real"
    video = f"ffpp/{manipulation}/{match[0].removesuffix('.mp4')}"
    splits = {split_of.get(name) for name in (target, source) if name}
    split = splits.pop()
    if split is None or splits:
        return Excluded(video, "not in one of the official splits")
    return Clip(
        path=path,
        label=FAKE if source else REAL,
        split=split,
        video=video,
        manipulation=manipulation,
        identity=f"ffpp/{target}",
        source_identity=f"ffpp/{source}" if source else "",
        original=f"ffpp/real/{target}" if source else "",
        footage=tuple(footage[name] for name in (target, source) if name in footage),
    )
