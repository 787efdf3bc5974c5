from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.evals import make_scores

from dfbench.eval.change import auc_change
from dfbench.eval.scores import score_table
from dfbench.eval.videos import VideoScores, video_scores


def scores(apart: float = 2.0, seed: int = 0, **options: int) -> VideoScores:
    return video_scores(make_scores(apart=apart, seed=seed, **options))


def test_it_is_the_difference_and_its_sign_says_which_is_worse() -> None:
    clean = scores(undetected=2)
    noise = np.random.default_rng(1).normal(0, 0.4, len(clean))
    worse = dataclasses.replace(clean, p_fake=clean.p_fake + noise)
    down, up = auc_change(clean, worse), auc_change(worse, clean)
    assert down.value is not None
    assert up.value == -down.value > 0
    assert down.n == len(clean) - 2  # those with a face
    assert (down.low, down.high) == pytest.approx((-(up.high or 0), -(up.low or 0)))
    assert down.p == up.p


def test_the_interval_and_the_p_value_agree() -> None:
    """An interval at 1 - p ends at 0."""
    clean, other = scores(apart=1.5), scores(apart=1.0, seed=3)
    p = auc_change(clean, other).p
    assert p is not None
    assert 0.001 < p < 0.9
    change = auc_change(clean, other, confidence=1 - p)
    assert change.high == pytest.approx(0, abs=1e-9)


def test_the_interval_covers_what_resampling_finds() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 150)
    hidden = rng.normal(label * 1.5, 1.0)
    looks = [hidden + rng.normal(0, spread, 300) for spread in (0.5, 1.2)]
    tables = [
        score_table(
            dataset=["d"] * 300,
            split=["test"] * 300,
            manipulation=["m"] * 300,
            video=[f"{i:03d}" for i in range(300)],
            frame=[0] * 300,
            label=label,
            logit=look,
        )
        for look in looks
    ]
    change = auc_change(*(video_scores(table) for table in tables))

    def auc(look: np.ndarray, rows: np.ndarray) -> float:
        fake, real = look[rows][label[rows] == 1], look[rows][label[rows] == 0]
        return float((fake[:, None] > real[None]).mean())

    drawn = []
    for _ in range(400):
        rows = np.r_[rng.integers(0, 150, 150), rng.integers(150, 300, 150)]
        drawn.append(auc(looks[1], rows) - auc(looks[0], rows))
    assert (change.low, change.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.012)


def test_what_cannot_be_compared_says_why() -> None:
    one = scores()
    assert auc_change(one, scores(reals=21)).reason == "not the same videos"
    few = scores(reals=1)
    assert auc_change(few, few).reason == "fewer than 2 videos of a class"
    same = auc_change(one, one)
    assert (same.value, same.p) == (0.0, 1.0)
    apart = video_scores(make_scores(apart=100.0))
    turned = dataclasses.replace(apart, p_fake=1 - apart.p_fake)
    change = auc_change(apart, turned)
    assert (change.value, change.low, change.p) == (-1.0, None, None)
    assert "no variance" in change.reason
