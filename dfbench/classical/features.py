"""What is taken from a crop."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

from dfbench.classical.catalog import FeatureName
from dfbench.classical.embedding import face_embedder
from dfbench.classical.landmarks import centred_intensities, face_box, landmark_finder
from dfbench.classical.perturb import perturbed
from dfbench.classical.sift import descriptors
from dfbench.config import AugmentConfig
from dfbench.faces.clip import CropRecipe
from dfbench.faces.images import RGB


@dataclass(frozen=True, kw_only=True)
class FeatureRecipe:
    """Everything that decides the features of a crop."""

    name: FeatureName
    keypoints: int = 0  # of SIFT, at most
    landmark_model: str = ""  # SHA-256 of its file
    embedding_model: str = ""  # likewise
    augment: AugmentConfig | None = None  # its blur and noise; None: crops as they are
    seed: int = 0  # of these


@dataclass(frozen=True, kw_only=True)
class Models:
    """Model files that a recipe needs, on this machine."""

    landmarks: Path | None = None
    embedding: Path | None = None


@dataclass(frozen=True, eq=False)
class Features:
    """Features of crops, one below the other; of a crop `counts` rows."""

    values: Shaped[np.ndarray, "rows features"]
    counts: Int[np.ndarray, " n"]
    seen: Bool[np.ndarray, " n"]  # dlib saw the face; there are keypoints

    def __len__(self) -> int:
        return len(self.counts)

    def matrix(self) -> Float32[np.ndarray, "n features"]:
        """Return the features of crops with one row each."""
        if (self.counts != 1).any():
            raise ValueError("not one row of features for each crop")
        return self.values.astype(np.float32, copy=False)

    def ragged(self) -> list[Shaped[np.ndarray, "_ features"]]:
        """Return the rows of each crop."""
        return np.split(self.values, np.cumsum(self.counts)[:-1])

    @staticmethod
    def joined(parts: Sequence[Features]) -> Features:
        """Return the features of several parts, in order."""
        return Features(
            *(
                np.concatenate([getattr(p, f.name) for p in parts])
                for f in dataclasses.fields(Features)
            )
        )


def crop_features(
    image: RGB, recipe: FeatureRecipe, models: Models, crop: CropRecipe, content: int
) -> Features:
    """Return the features of one crop.

    Args:
      image: The crop.
      recipe: What is taken from it.
      models: Files that this needs.
      crop: How it was cut.
      content: Hash of its bytes: with the recipe's seed it decides blur and noise.
    """
    if recipe.name == "nothing":
        return Features(np.zeros((1, 1), np.float32), np.array([1]), np.array([True]))
    if recipe.augment is not None:
        image = perturbed(image, recipe.augment, np.random.default_rng([recipe.seed, content]))
    if recipe.name == "sift":
        values: Shaped[np.ndarray, "rows features"] = descriptors(image, recipe.keypoints)
        return Features(values, np.array([len(values)]), np.array([len(values) > 0]))
    if models.landmarks is None:
        raise ValueError("no model file of landmarks")
    found = landmark_finder(models.landmarks)(image, face_box(crop, len(image)))
    values = centred_intensities(image, found.points)
    if models.embedding is not None:
        values = np.concatenate([values, face_embedder(models.embedding)(image, found.points)])
    return Features(values[None], np.array([1]), np.array([found.seen]))
