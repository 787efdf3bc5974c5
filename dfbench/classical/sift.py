"""SIFT descriptors (Lowe 2004) of a crop, and their bag of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils.validation import check_is_fitted

from dfbench.faces.images import RGB

LENGTH = 128  # of a descriptor
Descriptors = UInt8[np.ndarray, "keypoints 128"]


def descriptors(image: RGB, most: int) -> Descriptors:
    """Return the descriptors of the strongest keypoints, at most `most` of them."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, found = cv2.SIFT.create(nfeatures=most).detectAndCompute(grey, None)
    if found is None:
        return np.zeros((0, LENGTH), np.uint8)
    return np.asarray(found[:most], np.uint8)  # whole numbers to 255, which OpenCV has as floats


class BagOfWords(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Descriptors to the shares of the words of a vocabulary (Sivic & Zisserman 2003).

    Args:
      words: of the vocabulary, which k-means finds.
      sample: descriptors that it looks at, at most, drawn at random.
      random_state: of both.
    """

    def __init__(
        self, words: int = 256, sample: int = 100_000, random_state: int | None = None
    ) -> None:
        self.words = words
        self.sample = sample
        self.random_state = random_state

    def fit(self, crops: Sequence[Descriptors], y: Any = None) -> BagOfWords:
        """Find the vocabulary.

        Raises:
          ValueError: fewer descriptors than words.
        """
        del y
        every = np.concatenate(list(crops)).astype(np.float32)
        if len(every) < self.words:
            raise ValueError(f"{len(every)} descriptors for a vocabulary of {self.words} words")
        if len(every) > self.sample:
            rng = np.random.default_rng(self.random_state)
            every = every[np.sort(rng.choice(len(every), self.sample, replace=False))]
        self.vocabulary_ = MiniBatchKMeans(
            self.words, batch_size=4096, n_init=3, random_state=self.random_state
        ).fit(every)
        return self

    def transform(self, crops: Sequence[Descriptors]) -> Float32[np.ndarray, "crops words"]:
        """Return the share of each word among the keypoints of each crop; zeros without any."""
        check_is_fitted(self)
        shares = np.zeros((len(crops), self.words), np.float32)
        for share, one in zip(shares, crops, strict=True):
            if len(one):
                words = self.vocabulary_.predict(one.astype(np.float32))
                share += np.bincount(words, minlength=self.words) / np.float32(len(one))
        return shares
