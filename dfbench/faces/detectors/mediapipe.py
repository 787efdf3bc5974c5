"""BlazeFace (Bazarevsky et al. 2019) through MediaPipe's Tasks API."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from dfbench.faces.face import Detector, Face
from dfbench.faces.images import RGB

MIN_SCORE = 0.5  # MediaPipe's own default


def load(model: Path) -> Detector:
    """Return a detector of a model file (.tflite)."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(model)), min_detection_confidence=MIN_SCORE
    )
    detector = vision.FaceDetector.create_from_options(options)
    # Never collected: its finalizer waits for a thread of its own, which may be gone by then. It
    # waits forever in a cycle of garbage, and fails when the interpreter ends.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(detector))

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
