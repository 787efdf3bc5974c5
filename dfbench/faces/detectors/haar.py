"""The Haar cascade that OpenCV carries: no model file, no eyes, no score."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB


def load() -> Detector:
    """Viola-Jones cascade `frontalface_alt`."""
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
