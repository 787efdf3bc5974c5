"""What goes into and comes out of face extraction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dfbench.config import DetectorName

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
REAL, FAKE = 0, 1
# Evenly over the whole clip; the first ones; one a second; the ones in the middle.
FramePolicy = Literal["even", "first", "second", "centre"]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One raw video or image of a dataset.

    `video` is unique in the dataset and has the form `dataset/manipulation/name`: a file name
    alone is not (FaceForensics++ has `000_003` under five manipulations).
    """

    path: Path  # a video, an image, or a folder that holds a video's frames
    label: int  # 0 real, 1 fake
    split: Split
    video: str
    manipulation: str  # "real" for real clips
    # Who is seen, and whose face was swapped in. With the family of datasets before it where two
    # of them show the same people: `celebdf/id0`.
    identity: str = ""
    source_identity: str = ""
    original: str = ""  # `video` of the real clip that a fake was made from
    footage: tuple[str, ...] = ()  # longer videos that the clip was made from: YouTube ids
    self_blend: bool = False  # a fake made here from this real clip's own crops
    every_face: bool = False  # a crop of each face of a frame, and not of the biggest alone


@dataclass(frozen=True, kw_only=True)
class CropRecipe:
    """Everything that decides the pixels of a crop; it is part of a dataset's fingerprint."""

    detector: DetectorName = "mediapipe_full"
    frames: int = 32  # frames of a clip, at most
    policy: FramePolicy = "even"
    real_oversample: int = 1  # times as many frames of real clips
    crop: Literal["face", "head"] = "face"  # "head" is raised, to keep the hair
    margin: float = 1.3  # side of the square crop over the longer side of the face box
    # "original": a fake is cut where the clip it was made from was, if that is in the dataset.
    boxes: Literal["own", "original"] = "own"
    align: bool = False  # turn the frame so that the eyes are level
    size: int = 256  # px, of the stored crop
    format: Literal["jpeg", "png"] = "jpeg"
    quality: int = 95  # of JPEG
    before: bool = False  # with each crop, the same place in the frame before
    # "crop": whatever the official split, each crop is drawn into one. It puts frames of one video
    # on both sides, as some published numbers did; audits find that.
    split_by: Literal["clip", "crop"] = "clip"
    split_shares: tuple[float, float, float] = (0.7, 0.15, 0.15)  # of "crop": train, val, test


def recipe_values(recipe: CropRecipe) -> dict[str, Any]:
    """Return a recipe as what names a dataset has it: without what came later and is off."""
    values = asdict(recipe)
    if not recipe.before:
        del values["before"]
    if recipe.split_by == "clip":
        del values["split_by"], values["split_shares"]
    else:
        values["split_shares"] = list(recipe.split_shares)  # as JSON has it
    return values


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One encoded face crop."""

    frame: int  # index in the clip
    time_s: float
    # x0 y0 x1 y1 of the crop, px: in the frame, or, aligned, in the frame turned about the middle
    # of the face box.
    box: tuple[float, float, float, float]
    score: float  # of the detector, in [0, 1]
    image: bytes  # JPEG or PNG, RGB, size x size
    content: int  # `content_hash` of `image`
    phash: bytes  # `difference_hash` of the pixels, before they were encoded
    before: bytes = b""  # the same box in the frame before, if the recipe wants it


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What extraction made of one clip: crops, or the reason why there are none."""

    video: str
    wanted: int  # frames asked for
    crops: tuple[Crop, ...]
    # frame index -> reason, for the frames that gave no crop ("no face found", "cannot decode")
    misses: tuple[tuple[int, str], ...] = ()
    reason: str = ""  # why the clip gave no crop at all; empty when it gave one
    frame_shape: tuple[int, int] = (0, 0)  # height and width, px
