from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from dfbench.eval import statistics
from dfbench.eval.metrics import compute_metrics
from dfbench.eval.scores import score_table
from dfbench.eval.statistics import (
    Ranking,
    bootstrap,
    percentile_interval,
    resample_weights,
    weighted_ap,
    weighted_auc,
    weighted_eer,
)


def _case(seed: int, ties: bool, videos: int = 12, frames: int = 5):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    video_label = np.arange(videos) % 3 % 2
    video = rng.permutation(np.repeat(np.arange(videos), frames))
    label = video_label[video]
    score = rng.normal(size=len(video)) + label
    if ties:
        score = np.round(score)  # about six distinct values: groups hold both classes
    weights = rng.integers(0, 4, (7, videos)).astype(float)
    weights[:, :2] += 1  # both classes stay
    return label, score, video, video_label, weights


def _eer(label: np.ndarray, score: np.ndarray) -> float:
    """Bisect for the crossing on the piecewise linear curve: another way to the same number."""
    alarm, hit, _ = roc_curve(label, score, drop_intermediate=False)
    position = np.arange(len(alarm))
    low, high = 0.0, float(len(alarm) - 1)
    for _ in range(80):
        middle = (low + high) / 2
        a, h = np.interp(middle, position, alarm), np.interp(middle, position, hit)
        low, high = (middle, high) if 1 - h > a else (low, middle)
    return float(np.interp(low, position, alarm))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weighted_metrics_equal_those_of_repeated_rows(seed: int, ties: bool) -> None:
    label, score, video, _, weights = _case(seed, ties)
    fake, real = Ranking(label, score, video).groups(weights)
    auc, ap, eer = weighted_auc(fake, real), weighted_ap(fake, real), weighted_eer(fake, real)
    for row, weight in enumerate(weights):
        of_frame = weight[video]
        times = np.repeat(np.arange(len(label)), of_frame.astype(int))
        repeated = label[times], score[times]
        assert auc[row] == pytest.approx(roc_auc_score(*repeated), abs=1e-12)
        assert auc[row] == pytest.approx(roc_auc_score(label, score, sample_weight=of_frame))
        assert ap[row] == pytest.approx(average_precision_score(*repeated), abs=1e-12)
        assert eer[row] == pytest.approx(_eer(*repeated), abs=1e-12)


@pytest.mark.parametrize(
    ("label", "score", "auc", "eer"),
    [
        ([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], 0.5, 0.5),  # one group
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1.0, 0.0),
        ([0, 0, 1, 1], [0.8, 0.9, 0.1, 0.2], 0.0, 1.0),
        ([0, 1, 0, 1], [0.1, 0.5, 0.5, 0.9], 0.875, 0.25),  # interpolated inside the tie
    ],
)
def test_known_values(label: list[int], score: list[float], auc: float, eer: float) -> None:
    own = np.arange(4)
    fake, real = Ranking(np.array(label), np.array(score), own).groups(np.ones((1, 4)))
    assert weighted_auc(fake, real)[0] == pytest.approx(auc)
    assert weighted_eer(fake, real)[0] == pytest.approx(eer, abs=1e-12)


def test_resamples_are_stratified_seeded_and_independent_of_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label = np.array([0, 1, 1, 0, 1, 1, 1])
    whole = np.concatenate(list(resample_weights(label, 50, 3, 7)))
    assert (whole[:, label == 0].sum(1) == 2).all()
    assert (whole[:, label == 1].sum(1) == 5).all()
    monkeypatch.setattr(statistics, "CHUNK_ELEMENTS", 30)
    chunks = list(resample_weights(label, 50, 3, 7))
    assert {len(c) for c in chunks} == {4, 2}
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    assert (np.concatenate(list(resample_weights(label, 50, 4, 7))) != whole).any()


def test_bootstrap_equals_a_plain_loop() -> None:
    label, score, video, video_label, _ = _case(5, True)
    names = ("auc", "ap", "eer", "accuracy")
    values = bootstrap(label, score, video, video_label, names, resamples=20, seed=1)
    draws = np.concatenate(list(resample_weights(video_label, 20, 1, 1)))
    for row, weight in enumerate(draws):
        # Draw the videos' rows one after the other.
        times = np.concatenate(
            [np.tile(np.flatnonzero(video == v), int(w)) for v, w in enumerate(weight)]
        )
        y, s = label[times.astype(int)], score[times.astype(int)]
        assert values["auc"][row] == pytest.approx(roc_auc_score(y, s))
        assert values["ap"][row] == pytest.approx(average_precision_score(y, s))
        assert values["eer"][row] == pytest.approx(_eer(y, s), abs=1e-12)
        assert values["accuracy"][row] == pytest.approx(np.mean((s >= 0.5) == (y == 1)))


def test_percentile_interval() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
    assert percentile_interval(np.arange(101.0), 1.0) == (0.0, 100.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    # Video scores N(label, 1): the true AUC is Phi(1 / sqrt 2). Frames repeat their video's score
    # exactly, so an interval that took frames for independent would be 3 times too narrow.
    truth, hits, rounds = 0.76025, 0, 60
    rng = np.random.default_rng(0)
    for number in range(rounds):
        label = np.repeat([0, 1], 40)
        logit = np.repeat(rng.normal(size=80) + label, 9)
        table = score_table(
            dataset=["d"] * 720,
            split=["test"] * 720,
            manipulation=["m"] * 720,
            video=np.repeat(np.arange(80), 9),
            frame=np.tile(np.arange(9), 80),
            label=np.repeat(label, 9),
            logit=logit,
        )
        found = compute_metrics(table, resamples=200, confidence=0.95, seed=number)["frame_auc"]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert 0.85 <= hits / rounds <= 1.0
