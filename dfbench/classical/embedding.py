"""A face as 128 numbers, by SFace (Zhong et al. 2021) in OpenCV."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from dfbench.classical.landmarks import Points
from dfbench.errors import UserError
from dfbench.faces.images import RGB

# What the network's alignment wants, in the order of the picture: eyes, nose tip, mouth corners.
_FIVE = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))


class FaceEmbedder:
    """Aligns a face by its landmarks and embeds it."""

    def __init__(self, model: Path) -> None:
        """Load a network that takes aligned faces of 112 px, such as SFace.

        Raises:
          UserError: OpenCV cannot load the file.
        """
        try:
            self._network = cv2.FaceRecognizerSF.create(str(model), "")
        except cv2.error as error:
            raise UserError(
                f"{model}: OpenCV cannot load it: {' '.join(str(error).split())}"
            ) from error

    def __call__(self, image: RGB, points: Points) -> Float32[np.ndarray, " features"]:
        """Return the embedding, scaled to length 1."""
        five = np.array([points[part].mean(axis=0) for part in _FIVE])
        face = np.concatenate([[0, 0, *image.shape[1::-1]], five.ravel(), [1]])[None]
        aligned = self._network.alignCrop(
            cv2.cvtColor(image, cv2.COLOR_RGB2BGR), face.astype(np.float32)
        )
        features = self._network.feature(aligned).ravel()
        return np.asarray(features / max(float(np.linalg.norm(features)), 1e-12), np.float32)


@functools.lru_cache(maxsize=2)
def face_embedder(model: Path) -> FaceEmbedder:
    """Return the embedder of a model file, once a process."""
    return FaceEmbedder(model)
