from __future__ import annotations

import numpy as np
import pytest

from dfbench.classical.folds import make_folds
from dfbench.classical.search import search
from dfbench.errors import UserError


def _videos(videos: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels that alternate by video, and the videos."""
    groups = np.repeat(np.arange(videos), frames)
    return (groups % 2).astype(np.int32), groups.astype(str)


def test_a_video_is_in_one_fold_and_every_crop_is_tested_once() -> None:
    labels, groups = _videos(20, 5)
    folds = make_folds(labels, groups, folds=5, seed=0)
    assert len(folds) == 5
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[test]) == {0, 1}
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), range(100))


def test_the_seed_decides() -> None:
    labels, groups = _videos(20, 5)
    one, same, other = (make_folds(labels, groups, folds=5, seed=s)[0][1] for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_folds_by_crop_leak_and_folds_by_video_do_not() -> None:
    """Every video has a look of its own that says nothing of its label."""
    labels, groups = _videos(40, 6)
    rng = np.random.default_rng(0)
    looks = np.repeat(rng.normal(size=(40, 8)), 6, axis=0)
    values = (looks + 0.05 * rng.normal(size=looks.shape)).astype(np.float32)
    aucs = {
        name: search(
            ("svm_rbf",),
            values,
            labels,
            make_folds(labels, by, folds=5, seed=0),
            coarse=True,
            pca=False,
            jobs=1,
        ).best.mean
        for name, by in (("video", groups), ("crop", None))
    }
    assert aucs["crop"] > 0.95
    assert aucs["video"] < 0.75


def test_too_few_videos() -> None:
    labels, groups = _videos(6, 50)
    with pytest.raises(UserError, match="there are 3 of one; fewer folds: --set"):
        make_folds(labels, groups, folds=5, seed=0)
    make_folds(labels, None, folds=5, seed=0)
