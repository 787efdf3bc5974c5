"""What a detector says of files that nobody labelled, as plain frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dfbench.results.card import FileHash

FORMAT = 1  # of the JSON file

Box = tuple[float, float, float, float]  # x0 y0 x1 y1, px


@dataclass(frozen=True, kw_only=True)
class FaceScore:
    """One face in one frame."""

    frame: int  # index in the clip; of an image 0
    time_s: float
    track: int  # from 1; of one file
    box: Box  # of the crop that was scored, in the frame
    detector_score: float  # of the face detector
    logit: float
    p_fake: float
    p_calibrated: float | None  # by the temperature; None without one


@dataclass(frozen=True, kw_only=True)
class TrackScore:
    """One person's faces over the frames of a file."""

    track: int
    frames: int  # with this face
    first_s: float
    last_s: float
    p_fake: float  # of its frames together
    p_calibrated: float | None
    fake: bool  # at the threshold or above it


@dataclass(frozen=True, kw_only=True)
class SimilarClip:
    """A clip of a dataset that looks like a face, and the detector's score of it."""

    track: int  # the face that it is like
    rank: int
    similarity: float
    dataset: str
    split: str
    label: int  # 1 = fake, as the dataset says
    manipulation: str
    video: str
    frame: int
    p_fake: float | None  # None: the detector cannot score a crop without the frame before it
    fake: bool | None


@dataclass(frozen=True, kw_only=True)
class FilePrediction:
    """One image or video."""

    file: str
    kind: Literal["image", "video"]
    reason: str = ""  # why it has no score; empty where it has one
    frames: int = 0  # that were looked at
    frames_with_faces: int = 0
    p_fake: float | None = None  # of the track with the highest one
    p_calibrated: float | None = None
    fake: bool | None = None
    track: int | None = None  # that track
    tracks: tuple[TrackScore, ...] = ()
    faces: tuple[FaceScore, ...] = ()
    similar: tuple[SimilarClip, ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)  # what was drawn -> name of the file


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """What scored the files."""

    model: str
    train: str  # what it was trained on
    run: str  # its folder
    checkpoint: FileHash
    config_hash: str
    recipe: dict[str, Any]  # of the face crops
    aggregate: str  # frames to a track
    threshold: float  # of P(fake)
    threshold_from: str
    temperature: float | None


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """All that one call found."""

    scorer: Scorer
    files: tuple[FilePrediction, ...]
    notes: tuple[str, ...] = ()  # what a reader has to know
    dfbench: str = ""  # version
    created: str = ""  # UTC, ISO 8601
    format: int = FORMAT
