"""Simulated studies: how often the intervals hold the truth that they were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from dfbench.eval.metrics import Draws, Sample, metrics_of
from dfbench.eval.statistics import Clusters, person_clusters
from dfbench.results.card import Metric

FRAMES, SPREAD, GAP = 8, 1.0, 1.2  # of a video; of its frames around it; between the classes
REALS, FAKES = 60, 100


def _sample(label: np.ndarray, score: np.ndarray, video: np.ndarray) -> Sample:
    video_label = np.zeros(video[-1] + 1, int)
    video_label[video] = label
    loss = np.zeros(len(label), np.float32)
    return Sample(
        unit="", label=label, score=score, loss=loss, video=video, video_label=video_label
    )


def _study(rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Draw videos, and frames that resemble their video; return the frames and the videos."""
    label = np.repeat([0, 1], [REALS, FAKES])
    mean = rng.normal(size=len(label)) + GAP * label
    frames = mean[:, None] + SPREAD * rng.normal(size=(len(label), FRAMES))
    video = np.repeat(np.arange(len(label)), FRAMES)
    whole = _sample(label[video], frames.ravel(), video)
    return whole, _sample(label, frames.mean(axis=1), np.arange(len(label)))


def _holds(metric: Metric, truth: float) -> bool:
    assert metric.low is not None
    assert metric.high is not None
    return metric.low <= truth <= metric.high


def _coverage(studies: int, resamples: int) -> dict[str, float]:
    truth_frame = norm.cdf(GAP / np.sqrt(2 * (1 + SPREAD**2)))
    truth_video = norm.cdf(GAP / np.sqrt(2 * (1 + SPREAD**2 / FRAMES)))
    rng = np.random.default_rng(0)
    held = np.zeros((studies, 3))
    for number in range(studies):
        frames, videos = _study(rng)
        draws = Draws(resamples=resamples, confidence=0.95, seed=number)
        alone = Clusters(np.arange(len(frames)), frames.label)  # frames taken for independent
        wrong = _sample(frames.label, frames.score, np.arange(len(frames)))
        held[number] = [
            _holds(metrics_of(frames, ("auc",), draws)["auc"], truth_frame),
            _holds(metrics_of(videos, ("auc",), draws)["auc"], truth_video),
            _holds(metrics_of(wrong, ("auc",), draws, clusters=alone)["auc"], truth_frame),
        ]
    return dict(zip(("frame", "video", "frames alone"), held.mean(axis=0), strict=True))


def test_intervals_by_video_hold_the_truth_and_by_frame_do_not() -> None:
    found = _coverage(studies=150, resamples=200)
    assert 0.88 <= found["frame"] <= 0.99
    assert 0.88 <= found["video"] <= 0.99
    assert found["frames alone"] < 0.75


@pytest.mark.slow
def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent_of_1000_studies() -> None:
    found = _coverage(studies=1000, resamples=1000)
    assert 0.93 <= found["frame"] <= 0.97, found
    assert 0.93 <= found["video"] <= 0.97, found
    assert found["frames alone"] < 0.75, found  # as if there were eight times as many videos


def test_intervals_by_person_hold_the_truth_and_by_video_do_not() -> None:
    # 50 people; the three real videos of one resemble each other, and so do the three fake ones.
    people, each, own = 50, 6, 0.7
    truth = norm.cdf(GAP / np.sqrt(2 * (1 + own**2)))
    person = np.repeat(np.arange(people), each)
    label = np.tile([0, 1] * (each // 2), people)
    rng = np.random.default_rng(1)
    held = []
    for number in range(150):
        shown = rng.normal(size=(people, 2)).repeat(each // 2, axis=0).ravel()
        videos = _sample(
            label, shown + own * rng.normal(size=len(label)) + GAP * label, np.arange(len(label))
        )
        draws = Draws(resamples=200, confidence=0.95, seed=number)
        by_person = metrics_of(videos, ("auc",), draws, clusters=person_clusters(person, number))
        held.append(
            [
                _holds(by_person["auc"], truth),
                _holds(metrics_of(videos, ("auc",), draws)["auc"], truth),
            ]
        )
    by_person_share, by_video_share = np.mean(held, axis=0)
    assert 0.88 <= by_person_share <= 0.99
    assert by_video_share < 0.85
