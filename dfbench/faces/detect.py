"""Face detectors behind one call: an RGB frame in, the faces in it out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dfbench.config import DetectorName
from dfbench.download import Checksum, DownloadError, download
from dfbench.errors import UserError
from dfbench.faces.detectors import haar, mediapipe, mtcnn
from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB

MODEL_VARIABLE = "DFBENCH_DETECTOR_MODEL"
_LARGEST = 16_000_000  # bytes of a model file


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

    MediaPipe's is `model`, else the one that the environment variable `DFBENCH_DETECTOR_MODEL`
    names (a file, or a folder that holds it), else the cached one, else one download with a short
    time-out and a checksum. Without it the choice is Haar, with a note.

    Raises:
      UserError: the file that was named does not exist or is no TensorFlow Lite model, or the
        package of a detector is not installed.
    """
    if name == "mtcnn":
        mtcnn.require()
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


def has_eyes(name: DetectorName) -> bool:
    """Tell whether a detector's faces come with the places of the eyes."""
    return name not in ("haar", "haar_128", "none")


def load_detector(choice: DetectorChoice) -> Detector:
    """Return the function that finds faces."""
    if choice.name == "none":
        return _whole_frame
    if choice.name == "haar":
        return haar.load()
    if choice.name == "haar_128":
        return haar.load(least=128, neighbours=5)  # of Varma's report on Celeb-DF, 2020
    if choice.name == "mtcnn":
        return mtcnn.load()
    if choice.model is None:
        raise ValueError(f"{choice.name} needs a model file: use resolve_detector")
    return mediapipe.load(choice.model)


def _whole_frame(image: RGB) -> list[Face]:
    height, width = image.shape[:2]
    return [Face((0.0, 0.0, float(width), float(height)), 1.0)]
