from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.base import clone

from dfbench.classical.sift import BagOfWords, descriptors


def _picture(seed: int) -> np.ndarray:
    """Return blots, around which keypoints are."""
    small = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (160, 160), interpolation=cv2.INTER_CUBIC))


def test_at_most_so_many_keypoints() -> None:
    every = descriptors(_picture(0), 1000)
    assert every.shape[1] == 128
    assert len(every) > 20 == len(descriptors(_picture(0), 20))


def test_a_flat_crop_has_no_keypoint() -> None:
    assert descriptors(np.full((64, 64, 3), 99, np.uint8), 10).shape == (0, 128)


def test_shares_of_words() -> None:
    crops = [descriptors(_picture(seed), 50) for seed in range(6)] + [np.zeros((0, 128), np.uint8)]
    bag = BagOfWords(words=8, random_state=0)
    shares = bag.fit(crops).transform(crops)
    assert shares.shape == (7, 8)
    np.testing.assert_allclose(shares.sum(axis=1), [1] * 6 + [0], atol=1e-6)
    again = clone(bag).fit(crops).transform(crops)
    np.testing.assert_array_equal(again, shares)
    assert bag.get_params() == {"words": 8, "sample": 100_000, "random_state": 0}


def test_a_word_is_what_is_alike() -> None:
    one, other = np.zeros((4, 128), np.uint8), np.full((6, 128), 200, np.uint8)
    bag = BagOfWords(words=2, random_state=0).fit([one, other])
    mixed = bag.transform([np.concatenate([one, other]), one])
    assert sorted(mixed[0].tolist()) == pytest.approx([0.4, 0.6])
    assert sorted(mixed[1].tolist()) == [0.0, 1.0]


def test_more_words_than_descriptors() -> None:
    with pytest.raises(ValueError, match="3 descriptors for a vocabulary of 8 words"):
        BagOfWords(words=8).fit([np.zeros((3, 128), np.uint8)])
