from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from dfbench.eval.metrics import (
    AVERAGED,
    COUNTED,
    Draws,
    Sample,
    log_loss,
    metrics_of,
    prevalence,
    video_auc_of,
)
from dfbench.eval.roc import RANKED
from dfbench.results.card import Metric

DRAWS = Draws(resamples=60, confidence=0.9, seed=0)
POINT = Draws(resamples=0, confidence=0.9, seed=0)
EVERY = (*RANKED, *COUNTED, *AVERAGED)


def sample(label: Any, score: Any, video: Any = None) -> Sample:
    label, score = np.asarray(label, np.int64), np.asarray(score, np.float64)
    video = np.arange(len(label)) if video is None else np.asarray(video)
    first = [int(np.flatnonzero(video == v)[0]) for v in range(int(video.max(initial=-1)) + 1)]
    loss = log_loss(label, score)
    return Sample(
        unit="frames", label=label, score=score, loss=loss, video=video, video_label=label[first]
    )


def noisy(seed: int, reals: int = 150, fakes: int = 250, decimals: int = 9) -> Sample:
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], [reals, fakes])
    logit = rng.normal(size=len(label)) + 1.5 * label - 1
    return sample(label, np.round(1 / (1 + np.exp(-logit)), decimals))


@pytest.mark.parametrize("decimals", [9, 1])  # 1: many equal scores
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_values_are_those_of_scikit_learn(decimals: int, threshold: float) -> None:
    one = noisy(3, decimals=decimals)
    y, p = one.label, one.score
    called = p >= threshold
    found = {k: m.value for k, m in metrics_of(one, EVERY, POINT, threshold=threshold).items()}
    alarm, hit, _ = sk.roc_curve(y, p, drop_intermediate=False)
    assert found == {
        "auc": pytest.approx(sk.roc_auc_score(y, p), abs=1e-12),
        "partial_auc": pytest.approx(sk.roc_auc_score(y, p, max_fpr=0.1), abs=1e-12),
        "ap": pytest.approx(sk.average_precision_score(y, p), abs=1e-12),
        "eer": pytest.approx(_eer(alarm, 1 - hit), abs=1e-9),
        "tpr_at_fpr_1pct": pytest.approx(hit[alarm <= 0.01].max()),
        "tpr_at_fpr_5pct": pytest.approx(hit[alarm <= 0.05].max()),
        "accuracy": pytest.approx(sk.accuracy_score(y, called)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(y, called)),
        "precision_fake": pytest.approx(sk.precision_score(y, called)),
        "recall_fake": pytest.approx(sk.recall_score(y, called)),
        "precision_real": pytest.approx(sk.precision_score(y, called, pos_label=0)),
        "recall_real": pytest.approx(sk.recall_score(y, called, pos_label=0)),
        "f1": pytest.approx(sk.f1_score(y, called)),
        "log_loss": pytest.approx(sk.log_loss(y, p), rel=1e-6),
        "brier": pytest.approx(sk.brier_score_loss(y, p), abs=1e-12),
        "ece": pytest.approx(_ece(y, p), abs=1e-9) if decimals == 9 else found["ece"],
    }


def _eer(alarm: np.ndarray, miss: np.ndarray) -> float:
    """Bisect for the crossing on the piecewise linear curve: another way to the same number."""
    position = np.arange(len(alarm))
    low, high = 0.0, float(len(alarm) - 1)
    for _ in range(80):
        middle = (low + high) / 2
        past = np.interp(middle, position, alarm) >= np.interp(middle, position, miss)
        low, high = (low, middle) if past else (middle, high)
    return float(np.interp(low, position, alarm))


def _ece(y: np.ndarray, p: np.ndarray) -> float:
    bins = np.split(np.argsort(p), [b * len(p) // 15 for b in range(1, 15)])
    return float(sum(len(b) / len(p) * abs(p[b].mean() - y[b].mean()) for b in bins))


def test_intervals_hold_the_value_and_lie_in_range() -> None:
    for seed in range(3):
        for name, metric in metrics_of(noisy(seed), EVERY, DRAWS).items():
            assert metric.value is not None, name
            assert metric.low is not None, name
            assert metric.high is not None, name
            assert metric.low <= metric.value <= metric.high, name
            assert metric.low < metric.high, name
            assert metric.low >= 0, name
            assert metric.high <= 1 or name == "log_loss", name
            assert (metric.n, metric.reason) == (400, "")


def test_a_wider_confidence_is_a_wider_interval_and_a_seed_another_one() -> None:
    one = noisy(0)

    def width(**changes: Any) -> Metric:
        draws = Draws(**{"resamples": 200, "confidence": 0.9, "seed": 0} | changes)
        return metrics_of(one, ("auc",), draws)["auc"]

    base, wide = width(), width(confidence=0.99)
    assert wide.low is not None
    assert base.low is not None
    assert wide.low < base.low
    assert width(seed=1) != base
    assert width() == base


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_class_gives_null_with_a_reason(missing: int) -> None:
    one = noisy(0)
    kept = one.label != missing
    found = metrics_of(sample(one.label[kept], one.score[kept]), EVERY, DRAWS)
    word = ("real", "fake")[missing]
    own = {"recall_real"} if missing == 0 else {"recall_fake", "f1"}
    for name in own | {*RANKED, "balanced_accuracy"}:
        assert (found[name].value, found[name].low) == (None, None)
        assert found[name].reason == f"no {word} frames"
        assert found[name].n == kept.sum()
    for name in ("accuracy", "log_loss", "brier", "ece"):
        assert found[name].value is not None
        assert found[name].low is not None


def test_nothing_called_fake_has_no_precision() -> None:
    found = metrics_of(sample([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.2]), EVERY, DRAWS)
    assert found["precision_fake"] == Metric(value=None, n=4, reason="nothing was called fake")
    assert found["f1"].value == found["recall_fake"].value == 0.0
    assert found["precision_real"].value == 0.5


def test_a_rate_needs_enough_reals() -> None:
    few = metrics_of(noisy(0, reals=19), EVERY, POINT)
    assert few["tpr_at_fpr_5pct"].reason == "19 real frames; this false-positive rate needs 20"
    assert few["tpr_at_fpr_5pct"].value is None
    some = metrics_of(noisy(0, reals=99), EVERY, POINT)
    assert some["tpr_at_fpr_5pct"].value is not None
    assert some["tpr_at_fpr_1pct"].value is None
    assert metrics_of(noisy(0, reals=100), EVERY, POINT)["tpr_at_fpr_1pct"].value is not None


def test_no_example_gives_null_everywhere() -> None:
    for metric in metrics_of(sample([], []), EVERY, DRAWS).values():
        assert metric == Metric(value=None, n=0, reason="no real and no fake frames")


def test_one_video_of_a_class_gives_no_interval() -> None:
    one = noisy(0, reals=1)
    found = metrics_of(one, EVERY, DRAWS)
    for name in ("auc", "ap", "accuracy", "brier", "recall_real"):
        assert found[name].value is not None
        assert (found[name].low, found[name].high) == (None, None)
        assert found[name].reason == "no interval: only 1 real video"
    assert found["recall_fake"].low is not None  # no real counts there
    single = metrics_of(sample([1], [0.7]), EVERY, DRAWS)
    assert single["accuracy"].value == 1.0
    assert single["accuracy"].reason == "no interval: only 1 fake video"
    assert metrics_of(one, ("auc",), POINT)["auc"].reason.startswith("no interval: no resampling")


@pytest.mark.parametrize(
    ("scores", "auc", "eer"),
    [([0.5] * 20, 0.5, 0.5), ([0.1] * 10 + [0.9] * 10, 1.0, 0.0), ([0.9] * 10 + [0.1] * 10, 0, 1)],
)
def test_extremes(scores: list[float], auc: float, eer: float) -> None:
    found = metrics_of(sample([0] * 10 + [1] * 10, scores), EVERY, DRAWS)
    assert (found["auc"].value, found["eer"].value) == (auc, eer)
    assert found["eer"].reason == "no interval: the same in every resample"
    for metric in found.values():
        if metric.low is not None:
            assert metric.high is not None
            assert 0 <= metric.low <= metric.high
    # 10 pairs that share no video all came out alike: Clopper and Pearson's 90 % interval.
    least = 0.05**0.1
    ends = {1.0: (least, 1.0), 0.0: (0.0, 1 - least), 0.5: (None, None)}[auc]
    assert (found["auc"].low, found["auc"].high) == pytest.approx(ends)


def test_perfect_counts_are_not_certain() -> None:
    right = [0.1] * 5 + [0.9] * 20
    found = metrics_of(sample([0] * 5 + [1] * 20, right), EVERY, DRAWS)
    assert found["accuracy"].low == pytest.approx(0.05 ** (1 / 25))
    assert found["recall_fake"].low == pytest.approx(0.05 ** (1 / 20))
    assert found["recall_real"].low == pytest.approx(0.05 ** (1 / 5))
    assert found["balanced_accuracy"].low == pytest.approx(0.05 ** (1 / 5))


def test_frames_of_a_video_are_drawn_together() -> None:
    # The same frames, once as one video each and once ten a video that are all alike.
    one = noisy(1, reals=40, fakes=40)
    ten = sample(np.repeat(one.label, 10), np.repeat(one.score, 10), np.repeat(np.arange(80), 10))
    alone, together = (metrics_of(s, EVERY, DRAWS) for s in (one, ten))
    for name in set(EVERY) - {"tpr_at_fpr_1pct", "ece"}:  # which depend on the number of frames
        assert (together[name].low, together[name].high) == pytest.approx(
            (alone[name].low, alone[name].high)
        ), name
        assert together[name].n == 10 * alone[name].n


def test_probabilities_of_0_and_1_have_a_finite_loss() -> None:
    found = metrics_of(sample([0, 1], [1.0, 0.0]), ("log_loss",), POINT)["log_loss"]
    assert found.value == pytest.approx(23 * np.log(2))


def test_prevalence() -> None:
    assert prevalence(sample([0, 1, 1, 1], [0.5] * 4)).value == 0.75
    assert prevalence(sample([], [])) == Metric(value=None, reason="no frames")


def test_video_auc_of_frames() -> None:
    label = np.repeat([0, 0, 1, 1], 3)
    p = np.array([0.1, 0.2, np.nan, 0.6, 0.6, 0.6, 0.5, 0.5, 0.5, 0.9, 0.8, 0.7], np.float32)
    video = np.repeat(["a", "b", "c", "d"], 3)
    assert video_auc_of(label, p, video) == 0.75
    assert video_auc_of(label, np.where(label == 0, p, np.nan), video) is None
    assert video_auc_of(label[:6], p[:6], video[:6]) is None
    assert video_auc_of(np.zeros(0, int), np.zeros(0, np.float32), np.zeros(0, str)) is None
