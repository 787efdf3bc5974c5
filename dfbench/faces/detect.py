"""Face detectors behind one call: an RGB frame in, the faces in it out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfbench.config import DetectorName
from dfbench.download import Checksum, DownloadError, download
from dfbench.errors import UserError
from dfbench.faces.images import RGB

MODEL_VARIABLE = "DFBENCH_DETECTOR_MODEL"
MIN_SCORE = 0.5  # MediaPipe's own default
_LARGEST = 16_000_000  # bytes of a model file


@dataclass(frozen=True)
class Face:
    """A face found in a frame; coordinates in px, x to the right, y down."""

    box: tuple[float, float, float, float]  # x0 y0 x1 y1
    score: float  # in [0, 1]; 1 from Haar cascades, which give none
    # right eye, left eye, nose tip, mouth, right ear, left ear; empty where the detector has none
    keypoints: tuple[tuple[float, float], ...] = ()

    @property
    def area(self) -> float:
        """Area of the box, px^2."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


Detector = Callable[[RGB], list[Face]]


@dataclass(frozen=True)
class DetectorChoice:
    """The detector that will be used; `note` says why it is not the one asked for."""

    name: DetectorName
    model: Path | None = None
    note: str = ""


@dataclass(frozen=True)
class _ModelFile:
    file: str
    sha256: str


# Apache-2.0, Google. The hashes are those of MediaPipe's own build files.
_STORE = "https://storage.googleapis.com/mediapipe-assets"
_MODEL_FILES = {
    "mediapipe_full": _ModelFile(
        "face_detection_full_range_sparse.tflite",
        "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
    ),
    "mediapipe_short": _ModelFile(
        "face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    ),
}


def resolve_detector(
    name: DetectorName, model: Path | None = None, *, cache_dir: Path
) -> DetectorChoice:
    """Decide which detector runs, and find its model file.

    The file is `model`, else the one that the environment variable `DFBENCH_DETECTOR_MODEL` names
    (a file, or a folder that holds it), else the cached one, else one download with a short
    time-out and a checksum. Without it the choice is Haar, with a note.

    Raises:
      UserError: the file that was named does not exist or is no TensorFlow Lite model.
    """
    wanted = _MODEL_FILES.get(name)
    if wanted is None:
        return DetectorChoice(name)
    given = model or _from_environment()
    if given is not None:
        return DetectorChoice(name, _checked(given / wanted.file if given.is_dir() else given))
    cached = cache_dir / wanted.file
    checksum = Checksum("sha256", wanted.sha256)
    if not checksum.matches(cached):
        problem = _download(f"{_STORE}/{wanted.file}", cached, checksum)
        if problem:
            return DetectorChoice(
                "haar",
                note=f"{name} is not available ({problem}): the Haar cascade, which misses more "
                f"faces, is used instead; give --detector-model FILE or set {MODEL_VARIABLE}",
            )
    return DetectorChoice(name, cached)


def _from_environment() -> Path | None:
    value = os.environ.get(MODEL_VARIABLE)
    return Path(value).expanduser() if value else None


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"{path}: no such face detection model (--detector-model, {MODEL_VARIABLE})"
        )
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise UserError(f"{path}: not a TensorFlow Lite model")
    return path


def _download(url: str, path: Path, checksum: Checksum) -> str:
    """Fetch a file; return what went wrong, or an empty string."""
    try:
        download(url, path, checksum, largest=_LARGEST)
    except DownloadError as error:
        return str(error)
    return ""


def load_detector(choice: DetectorChoice) -> Detector:
    """Return the function that finds faces."""
    if choice.name == "none":
        return _whole_frame
    if choice.name == "haar":
        return _haar()
    if choice.model is None:
        raise ValueError(f"{choice.name} needs a model file: use resolve_detector")
    return _mediapipe(choice.model)


def _whole_frame(image: RGB) -> list[Face]:
    height, width = image.shape[:2]
    return [Face((0.0, 0.0, float(width), float(height)), 1.0)]


def _haar() -> Detector:
    """Viola-Jones cascade `frontalface_alt`, which OpenCV carries."""
    path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt.xml"
    cascade = cv2.CascadeClassifier(str(path))

    def detect(image: RGB) -> list[Face]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        shorter = min(grey.shape)
        scale = min(1.0, 480 / shorter)  # a large frame gains nothing and costs seconds
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        least = max(24, int(shorter * scale / 8))
        boxes = cascade.detectMultiScale(
            grey, scaleFactor=1.1, minNeighbors=3, minSize=(least, least)
        )
        return [
            Face((x / scale, y / scale, (x + w) / scale, (y + h) / scale), 1.0)
            for x, y, w, h in np.asarray(boxes, float).reshape(-1, 4).tolist()
        ]

    return detect


def _mediapipe(model: Path) -> Detector:
    """BlazeFace (Bazarevsky et al. 2019) through MediaPipe's Tasks API."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(model)), min_detection_confidence=MIN_SCORE
    )
    detector = vision.FaceDetector.create_from_options(options)

    def detect(image: RGB) -> list[Face]:
        height, width = image.shape[:2]
        picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        faces = []
        for found in detector.detect(picture).detections:
            box = found.bounding_box
            x0, y0 = float(box.origin_x), float(box.origin_y)
            faces.append(
                Face(
                    (x0, y0, x0 + box.width, y0 + box.height),
                    min(1.0, float(found.categories[0].score)),
                    tuple((float(k.x) * width, float(k.y) * height) for k in found.keypoints or ()),
                )
            )
        return faces

    return detect
