"""The Haar cascade that OpenCV carries: no model file, no eyes, no score."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB


def load(least: int | None = None, neighbours: int = 3) -> Detector:
    """Viola-Jones cascade `frontalface_alt`.

    Args:
      least: side of the smallest face, px of the frame, which is then looked at in full size;
        None: an eighth of the frame's shorter side.
      neighbours: overlapping finds that make a face.
    """
    path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt.xml"
    cascade = cv2.CascadeClassifier(str(path))

    def detect(image: RGB) -> list[Face]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        shorter = min(grey.shape)
        # Without a size asked for, a large frame gains nothing and costs seconds.
        scale = min(1.0, 480 / shorter) if least is None else 1.0
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        side = least or max(24, int(shorter * scale / 8))
        boxes = cascade.detectMultiScale(
            grey, scaleFactor=1.1, minNeighbors=neighbours, minSize=(side, side)
        )
        return [
            Face((x / scale, y / scale, (x + w) / scale, (y + h) / scale), 1.0)
            for x, y, w, h in np.asarray(boxes, float).reshape(-1, 4).tolist()
        ]

    return detect
