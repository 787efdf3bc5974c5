"""MTCNN (Zhang et al. 2016) by the package mtcnn-runtime, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfbench.errors import UserError
from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB

MIN_FACE = 20  # px, of MTCNN's authors ...
MIN_PART = 1 / 20  # ... and of the frame's shorter side: smaller faces cost most of the time


def require() -> None:
    """Raise UserError where the package is not installed."""
    try:
        import mtcnnruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"the detector mtcnn needs its package ({error}): pip install 'dfbench[mtcnn]'"
        ) from error


def load() -> Detector:
    """Return the detector; its weights come with the package.

    Raises:
      UserError: the package is not installed.
    """
    require()
    from mtcnnruntime import MTCNN

    network = MTCNN()

    def detect(image: RGB) -> list[Face]:
        least = max(MIN_FACE, MIN_PART * min(image.shape[:2]))
        try:
            boxes, points = network.detect(image, min_face_size=least)
        except ValueError:  # it stacks an empty list where its first network proposes nothing
            return []
        return [_face(box, at) for box, at in zip(np.asarray(boxes), np.asarray(points))]

    return detect


def _face(box: Sequence[float], points: Sequence[float]) -> Face:
    """Read x0 y0 x1 y1 score, and five x with their y: eyes, nose, corners of the mouth."""
    x0, y0, x1, y1, score = map(float, box)
    x, y = [float(value) for value in points[:5]], [float(value) for value in points[5:]]
    # What it calls left is left in the picture: the person's right.
    right, left, nose, *corners = zip(x, y, strict=True)
    mouth = tuple(sum(values) / 2 for values in zip(*corners, strict=True))
    return Face((x0, y0, x1 + 1, y1 + 1), min(1.0, score), (right, left, nose, mouth))
