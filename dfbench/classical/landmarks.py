"""68 face landmarks by dlib (King 2009), and the grey values there."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32

from dfbench.errors import UserError
from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import HEAD_MARGIN, HEAD_RAISE, Box
from dfbench.faces.images import RGB

LANDMARKS = 68
# Side of dlib's face boxes over those of the detectors that crops are cut around: 0.907 to 0.913
# for MediaPipe's full-range model and the Haar cascade on 222 portraits.
_OF_BOX = 0.91

Points = Float[np.ndarray, "68 2"]  # x y, px


@dataclass(frozen=True)
class Found:
    """The landmarks of a crop."""

    points: Points
    seen: bool  # dlib's own detector sees a face there


def face_box(recipe: CropRecipe, side: int) -> Box:
    """Return where dlib would put the box of the face that a crop of `side` px was cut around."""
    head = recipe.crop == "head"
    face = side / (recipe.margin * (HEAD_MARGIN if head else 1))
    x, y = side / 2, side / 2 + (HEAD_RAISE * face if head else 0)
    half = _OF_BOX * face / 2
    return (x - half, y - half, x + half, y + half)


class LandmarkFinder:
    """Finds the landmarks of the biggest face of a crop, by the scheme of iBUG 300-W.

    Where dlib's detector sees no face, such as one in profile, they are fitted from where another
    detector saw it when the crop was cut.
    """

    def __init__(self, model: Path) -> None:
        """Load a shape predictor.

        Raises:
          UserError: the file is no shape predictor of dlib's, or has other than 68 landmarks.
        """
        import dlib

        try:
            self._predict = dlib.shape_predictor(str(model))
        except RuntimeError as error:
            raise UserError(f"{model}: not a shape predictor of dlib's: {error}") from error
        self._detect, self._rectangle = dlib.get_frontal_face_detector(), dlib.rectangle
        parts = self._predict(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
        if parts != LANDMARKS:
            raise UserError(f"{model}: a shape predictor of {parts} landmarks, not {LANDMARKS}")

    def __call__(self, image: RGB, box: Box) -> Found:
        """Return the landmarks; `box` is where the face is, if dlib does not see it itself."""
        faces = self._detect(image, 0)
        if faces:
            place = max(faces, key=lambda face: face.area())
        else:
            place = self._rectangle(*(round(value) for value in box))
        shape: Any = self._predict(image, place)
        points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
        return Found(points, bool(faces))


@functools.lru_cache(maxsize=2)
def landmark_finder(model: Path) -> LandmarkFinder:
    """Return the finder of a model file, which takes a second to load, once a process."""
    return LandmarkFinder(model)


def centred_intensities(image: RGB, points: Points) -> Float32[np.ndarray, " 68"]:
    """Return the grey values at landmarks, in [0, 1], minus their mean.

    A landmark outside of the crop has the value of the nearest pixel.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    x = np.clip(np.rint(points[:, 0]).astype(int), 0, width - 1)
    y = np.clip(np.rint(points[:, 1]).astype(int), 0, height - 1)
    values = grey[y, x].astype(np.float32) / 255
    return np.asarray(values - values.mean(), np.float32)
