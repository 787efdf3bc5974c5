from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from dfbench.eval.calibrate import best_temperature, best_threshold, calibrate
from dfbench.eval.table import ScoreTable, score_table
from dfbench.eval.videos import video_scores
from dfbench.results.card import Calibration


def _val(label: list[int], logit: list[float]) -> ScoreTable:
    n = len(label)
    frame = [-1 if np.isnan(z) else 0 for z in logit]
    return score_table(
        dataset=["d"] * n, split=["val"] * n, manipulation=["m"] * n,
        video=[f"v{i}" for i in range(n)], frame=frame, label=label, logit=logit,
    )  # fmt: skip


@pytest.mark.parametrize("decimals", [9, 1])
@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_does_better(seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat([0, 1], [30, 50]))
    p = np.round(1 / (1 + np.exp(-rng.normal(size=80) - label)), decimals)
    threshold = best_threshold(label, p)
    assert threshold is not None
    best = max(balanced_accuracy_score(label, p >= t) for t in [*np.unique(p), 2.0])
    assert balanced_accuracy_score(label, p >= threshold) == pytest.approx(best)
    gap = np.sort([*p, 0.0, 1.0])
    below, above = gap[gap < threshold].max(), gap[gap >= threshold].min()
    assert threshold == pytest.approx((below + above) / 2)


@pytest.mark.parametrize(
    ("label", "p", "threshold"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], 0.4),  # the middle of the gap that separates
        ([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.7], 0.5),  # two gaps are as good: the wider one
        ([1, 0, 1, 0], [0.1, 0.3, 0.5, 0.7], 0.4),  # above the lowest fake nothing gets worse
        ([1, 1, 0, 0], [0.1, 0.2, 0.6, 0.9], 0.05),  # the wrong way round: all are called fake
        ([0, 1], [0.5, 0.5], 0.25),  # constant
        ([0, 1], [0.0, 0.0], 0.0),
        ([0, 1], [0.3, np.nextafter(0.3, 1)], np.nextafter(0.3, 1)),  # no number lies between
    ],
)
def test_ties(label: list[int], p: list[float], threshold: float) -> None:
    found = best_threshold(np.array(label), np.array(p))
    assert found == pytest.approx(threshold, abs=1e-15)


def test_temperature_is_that_of_the_lowest_log_loss() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=4000) * 2
    label = (rng.uniform(size=4000) < 1 / (1 + np.exp(-true))).astype(int)
    for factor in (0.2, 1.0, 3.0):
        found = best_temperature(label, factor * true)
        assert found == pytest.approx(factor, rel=0.08)

        def loss(temperature: float, factor: float = factor) -> float:
            return float(log_loss(label, 1 / (1 + np.exp(-factor * true / temperature))))

        assert found is not None
        assert loss(found) <= min(loss(found * 1.02), loss(found / 1.02))


def test_what_cannot_be_chosen_is_null_with_a_reason() -> None:
    def chosen(label: list[int], logit: list[float]) -> Calibration:
        val = _val(label, logit)
        return calibrate(val, video_scores(val))

    fakes = chosen([1, 1], [1.0, -1.0])
    assert (fakes.threshold, fakes.temperature, fakes.videos) == (None, None, 2)
    assert fakes.reason == "source val lacks a class with detected faces"
    unseen = chosen([0, 1], [np.nan, 1.0])
    assert (unseen.threshold, unseen.reason) == (None, fakes.reason)
    assert unseen.videos == 2
    perfect = chosen([0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0])
    assert perfect.threshold == pytest.approx(0.5)
    assert perfect.temperature is None
    assert perfect.reason.startswith("no temperature: log loss on source val has no minimum")
    inverted = chosen([1, 1, 0, 0], [-2.0, -1.0, 1.0, 2.0])
    assert inverted.temperature is None
    good = chosen([0, 1, 0, 1], [-1.0, -0.5, 0.5, 1.0])
    assert good.threshold is not None
    assert good.temperature is not None
    assert good.reason == ""
