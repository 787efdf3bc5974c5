"""What goes into and comes out of face extraction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
REAL, FAKE = 0, 1


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One raw video or image of a dataset.

    `video` is unique in the dataset and has the form `dataset/manipulation/name`: a file name
    alone is not (FaceForensics++ has `000_003` under five manipulations).
    """

    path: Path
    label: int  # 0 real, 1 fake
    split: Split
    video: str
    manipulation: str  # "real" for real clips
    identity: str = ""  # whose face is seen
    source_identity: str = ""  # whose face was swapped in
    original: str = ""  # `video` of the real clip that a fake was made from
    self_blend: bool = False  # a fake made here from this real clip's own crops


@dataclass(frozen=True, kw_only=True)
class CropRecipe:
    """Everything that decides the pixels of a crop; it is part of a dataset's fingerprint."""

    detector: Literal["mediapipe_full", "mediapipe_short", "haar", "none"] = "mediapipe_full"
    frames: int = 32  # frames of a clip, at most
    policy: Literal["even", "first"] = "even"
    margin: float = 1.3  # side of the square crop over the longer side of the face box
    size: int = 256  # px, of the stored crop
    format: Literal["jpeg", "png"] = "jpeg"
    quality: int = 95  # of JPEG


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One encoded face crop."""

    frame: int  # index in the clip
    time_s: float
    box: tuple[float, float, float, float]  # x0 y0 x1 y1 of the crop in the frame, px
    score: float  # of the detector, in [0, 1]
    image: bytes  # JPEG or PNG, RGB, size x size


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """What extraction made of one clip: crops, or the reason why there are none."""

    video: str
    wanted: int  # frames asked for
    crops: tuple[Crop, ...]
    # frame index -> reason, for the frames that gave no crop ("no face found", "cannot decode")
    misses: tuple[tuple[int, str], ...] = ()
    reason: str = ""  # why the clip gave no crop at all; empty when it gave one
