from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfbench.eval.ranking import Panel, compare, rank, ranks_of, weighted_aucs


def panel(shifts: list[float], *, n: int = 100, seed: int = 0, runs: int = 1) -> Panel:
    """Scores of detectors that differ by how far they move fakes, with videos hard for all."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n // 2)
    hard = rng.normal(size=n)
    scores = [
        shift * label + hard + 0.5 * rng.normal(size=n) for shift in shifts for _ in range(runs)
    ]
    return Panel(label, np.array(scores), np.repeat(np.arange(len(shifts)), runs))


def test_weighted_auc_is_that_of_repeated_videos() -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(2, size=40)
    score = np.round(rng.random(40), 1)  # with ties
    score[[3, 7]] = np.nan
    weights = rng.integers(4, size=(40, 5))
    kept = ~np.isnan(score)
    for found, weight in zip(weighted_aucs(label, score, weights), weights.T, strict=True):
        times = weight[kept]
        expected = roc_auc_score(np.repeat(label[kept], times), np.repeat(score[kept], times))
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_without_weight_has_no_auc() -> None:
    label, score = np.array([0, 0, 1]), np.array([0.1, 0.2, 0.9])
    weights = np.array([[1, 1], [1, 1], [1, 0]])
    one, none = weighted_aucs(label, score, weights)
    assert one == 1.0
    assert np.isnan(none)


def test_means_are_over_seeds_then_datasets() -> None:
    panels = [panel([1.0, 2.0], runs=2, seed=1), panel([1.0, 2.0], runs=3, seed=2)]
    found = rank(panels, resamples=50)
    for detector in range(2):
        of_datasets = [
            np.mean([roc_auc_score(p.label, s) for s in p.scores[p.detector == detector]])
            for p in panels
        ]
        assert found.mean[detector] == pytest.approx(np.mean(of_datasets), abs=1e-12)


def test_clear_winner_has_the_first_rank_in_every_draw() -> None:
    found = rank([panel([0.2, 4.0, 0.1])], resamples=500)
    assert (found.rank_low[1], found.rank_high[1]) == (1, 1)
    assert (found.rank_low[0], found.rank_high[0]) == (2, 3)
    assert found.letters[1] == "a"
    assert found.letters[0] == found.letters[2] == "b"


def test_equal_detectors_share_letters_and_ranks() -> None:
    twin = panel([1.0])
    both = Panel(twin.label, np.repeat(twin.scores, 2, axis=0), np.array([0, 1]))
    found = rank([both], resamples=100)
    assert found.p_values == {(0, 1): 1.0}
    assert found.letters == ("a", "a")
    assert found.rank_high.tolist() == [1, 1]


def test_the_same_draw_for_all_tells_paired_detectors_apart() -> None:
    """What is hard for both moves both: the order is surer than the intervals look."""
    found = rank([panel([1.0, 1.6], n=200)], resamples=1000)
    assert found.low[1] < found.high[0]  # the intervals of the means overlap
    assert (found.rank_low.tolist(), found.rank_high.tolist()) == ([2, 1], [2, 1])
    assert found.letters == ("b", "a")


def test_intervals_cover_the_mean_over_datasets() -> None:
    """Of the bootstrap: in 200 studies, about 95 % hold the true mean AUC."""
    from scipy.stats import norm

    truth = norm.cdf(np.array([1.0, 0.5]) / np.sqrt(2 * 1.25))
    inside = np.zeros(2)
    for study in range(200):
        panels = [panel([1.0, 0.5], n=80, seed=1000 + 2 * study + k) for k in range(2)]
        found = rank(panels, resamples=200, seeds=[study, study + 1])
        inside += (found.low <= truth) & (truth <= found.high)
    assert (inside / 200 > 0.9).all()
    assert (inside / 200 < 0.99).all()


def test_false_separations_are_rare() -> None:
    """Of five equal detectors any pair is separated in about 5 % of the studies at most."""
    wrong = 0
    for study in range(200):
        p_values = compare([panel([1.0] * 5, n=60, seed=study)])
        wrong += any(p < 0.05 for p in p_values.values())
    assert wrong / 200 < 0.1


def test_too_few_videos_give_no_test() -> None:
    one = Panel(np.array([0, 1, 1]), np.array([[0.1, 0.5, 0.9], [0.3, 0.2, 0.8]]), np.arange(2))
    found = rank([one], resamples=20)
    assert found.p_values == {}
    assert found.letters == ()
    assert found.mean.tolist() == [1.0, 0.5]


def test_videos_that_a_run_lacks_count_for_the_others() -> None:
    whole = panel([1.0, 2.0])
    scores = whole.scores.copy()
    scores[0, :20] = np.nan
    found = rank([Panel(whole.label, scores, whole.detector)], resamples=50)
    assert found.mean[0] == pytest.approx(roc_auc_score(whole.label[20:], scores[0, 20:]))
    assert found.mean[1] == pytest.approx(roc_auc_score(whole.label, scores[1]))


def test_ranks() -> None:
    means = np.array([[0.9, 0.7, 0.9 + 1e-15, 0.8]])
    assert ranks_of(means).tolist() == [[1, 4, 1, 3]]


def test_equal_seeds_give_equal_draws_whatever_else_is_ranked() -> None:
    two, three = panel([1.0, 2.0, 3.0]), panel([1.0, 2.0, 3.0])
    two = Panel(two.label, two.scores[:2], two.detector[:2])
    one, other = (rank([p], resamples=100, seeds=[7]) for p in (two, three))
    assert one.low.tolist() == other.low[:2].tolist()
