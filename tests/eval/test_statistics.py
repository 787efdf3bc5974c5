from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from dfbench.eval import statistics
from dfbench.eval.roc import RANKED, Curve, auc, eer, partial_auc, tpr_at_fpr
from dfbench.eval.statistics import (
    Ranking,
    bootstrap,
    percentile_interval,
    person_clusters,
    resample_weights,
    video_clusters,
)


def _case(seed: int, ties: bool, videos: int = 12, frames: int = 5):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    video_label = np.arange(videos) % 3 % 2
    video = rng.permutation(np.repeat(np.arange(videos), frames))
    label = video_label[video]
    score = rng.normal(size=len(video)) + label
    if ties:
        score = np.round(score)  # about six distinct values: groups hold both classes
    weights = rng.integers(0, 4, (7, videos))
    weights[:, :2] += 1  # both classes stay
    return label, score, video, video_label, weights


def _plain(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Return the metrics of a curve by other means."""
    alarm, hit, _ = roc_curve(label, score, drop_intermediate=False)
    position = np.arange(len(alarm))
    low, high = 0.0, float(len(alarm) - 1)
    for _ in range(80):
        middle = (low + high) / 2
        a, h = np.interp(middle, position, alarm), np.interp(middle, position, hit)
        low, high = (middle, high) if 1 - h > a else (low, middle)
    return {
        "auc": roc_auc_score(label, score),
        "partial_auc": roc_auc_score(label, score, max_fpr=0.1),
        "ap": average_precision_score(label, score),
        "eer": float(np.interp(low, position, alarm)),
        "tpr_at_fpr_1pct": hit[alarm <= 0.01].max(),
        "tpr_at_fpr_5pct": hit[alarm <= 0.05].max(),
    }


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weighted_metrics_equal_those_of_repeated_rows(seed: int, ties: bool) -> None:
    label, score, video, _, weights = _case(seed, ties)
    curve = Ranking(label, score, video).curve(weights)
    found = {name: metric(curve) for name, metric in RANKED.items()}
    for row, weight in enumerate(weights):
        times = np.repeat(np.arange(len(label)), weight[video])
        plain = _plain(label[times], score[times])
        assert {k: v[row] for k, v in found.items()} == pytest.approx(plain, abs=1e-12)


def test_groups_are_the_steps_of_the_curve() -> None:
    label, score, video, _, weights = _case(0, True)
    fake, real = Ranking(label, score, video).groups(weights)
    assert fake.shape == real.shape == (7, len(np.unique(score)))
    np.testing.assert_array_equal((fake + real).sum(axis=1), weights[:, video].sum(axis=1))
    best = score == score.max()
    np.testing.assert_array_equal(fake[:, 0], weights[:, video[best & (label == 1)]].sum(axis=1))


@pytest.mark.parametrize(
    ("label", "score", "area", "rate"),
    [
        ([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], 0.5, 0.5),  # one group
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 1.0, 0.0),
        ([0, 0, 1, 1], [0.8, 0.9, 0.1, 0.2], 0.0, 1.0),
        ([0, 1, 0, 1], [0.1, 0.5, 0.5, 0.9], 0.875, 0.25),  # interpolated inside the tie
    ],
)
def test_known_values(label: list[int], score: list[float], area: float, rate: float) -> None:
    curve = Ranking(np.array(label), np.array(score), np.arange(4)).whole()
    assert auc(curve)[0] == pytest.approx(area)
    assert eer(curve)[0] == pytest.approx(rate, abs=1e-12)


def test_partial_area_and_rate_at_a_limit() -> None:
    # Ten reals; after the first of them half of the fakes are found, after the second all.
    fake, real = np.zeros((1, 12), int), np.zeros((1, 12), int)
    fake[0, [0, 2]], real[0, [1, *range(3, 12)]] = 5, 1
    curve = Curve.of(fake, real)
    assert tpr_at_fpr(curve, 0.05) == 0.5
    assert tpr_at_fpr(curve, 0.1) == 1.0
    # Up to 0.1 the area is 0.05, of at most 0.1 and at least 0.005.
    assert partial_auc(curve, 0.1) == pytest.approx(0.5 * (1 + 0.045 / 0.095))


def test_a_curve_without_a_class_is_undefined() -> None:
    curve = Curve.of(np.array([[1, 2], [1, 2], [0, 0]]), np.array([[0, 0], [3, 1], [1, 1]]))
    for metric in RANKED.values():
        values = metric(curve)
        assert np.isnan(values[[0, 2]]).all()
        assert 0 <= values[1] <= 1


def test_resamples_are_stratified_seeded_and_independent_of_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label = np.array([0, 1, 1, 0, 1, 1, 1])
    whole = np.concatenate(list(resample_weights(label, 50, 3, 7)))
    assert (whole[:, label == 0].sum(1) == 2).all()
    assert (whole[:, label == 1].sum(1) == 5).all()
    assert whole[:, label == 1].var() == pytest.approx(0.8, abs=0.15)  # (n - 1) / n
    monkeypatch.setattr(statistics, "CHUNK_ELEMENTS", 30)
    chunks = list(resample_weights(label, 50, 3, 7))
    assert {len(c) for c in chunks} == {4, 2}
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    assert (np.concatenate(list(resample_weights(label, 50, 4, 7))) != whole).any()


def test_bootstrap_equals_a_plain_loop() -> None:
    label, score, video, video_label, _ = _case(5, True)
    counts = {"fakes": np.bincount(video, label)[:, None]}
    found = bootstrap(
        Ranking(label, score, video), video_label, tuple(RANKED), counts, resamples=20, seed=1
    )
    draws = np.concatenate(list(resample_weights(video_label, 20, 1, 1)))
    for row, weight in enumerate(draws):
        # Draw the videos' rows one after the other.
        times = [np.tile(np.flatnonzero(video == v), int(w)) for v, w in enumerate(weight)]
        rows = np.concatenate(times).astype(int)
        plain = _plain(label[rows], score[rows])
        assert {k: v[row] for k, v in found.ranked.items()} == pytest.approx(plain, abs=1e-12)
        assert found.sums["fakes"][row, 0] == label[rows].sum()


def test_people_are_drawn_with_all_their_videos() -> None:
    clusters = person_clusters(np.array([0, 0, 1, 2, 2, 2]), seed=0)
    assert clusters.of.tolist() == [0, 0, 1, 2, 2, 2]
    assert clusters.stratum.tolist() == [0, 0, 0]


def test_many_videos_of_a_class_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CLUSTERS", 8)
    label = np.repeat([0, 1], [5, 50])
    clusters = video_clusters(label, seed=0)
    assert clusters.stratum.tolist() == [0] * 5 + [1] * 8
    assert len(set(clusters.of[:5])) == 5
    sizes = np.bincount(clusters.of[5:])[5:]
    assert (sizes.min(), sizes.max(), sizes.sum()) == (6, 7, 50)
    np.testing.assert_array_equal(video_clusters(label, seed=0).of, clusters.of)
    assert (video_clusters(label, seed=1).of != clusters.of).any()


def test_groups_of_videos_give_intervals_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 3000)
    score = rng.normal(size=6000) + label

    def length() -> float:
        clusters = video_clusters(label, seed=0)
        ranking = Ranking(label, score, clusters.of)
        found = bootstrap(ranking, clusters.stratum, ("auc",), {}, resamples=600, seed=0)
        low, high = percentile_interval(found.ranked["auc"], 0.95)
        return high - low

    single = length()
    monkeypatch.setattr(statistics, "CLUSTERS", 500)
    assert length() == pytest.approx(single, rel=0.12)


def test_bins_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    label, score, video, video_label, _ = _case(7, False, videos=60, frames=40)

    def values() -> dict[str, np.ndarray]:
        ranking = Ranking(label, score, video)
        return bootstrap(ranking, video_label, tuple(RANKED), {}, resamples=50, seed=0).ranked

    exact = values()
    monkeypatch.setattr(statistics, "GROUPS", 1000)  # of 2,400 different scores
    monkeypatch.setattr(statistics, "BINS", 800)
    binned = values()
    assert all((binned[name] != exact[name]).any() for name in ("auc", "ap"))
    for name, limit in (("auc", 1e-4), ("ap", 2e-3), ("eer", 3e-3), ("partial_auc", 1e-3)):
        np.testing.assert_allclose(binned[name], exact[name], atol=limit)


def test_equal_scores_share_a_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    label = np.tile([0, 1], 500)
    score = np.concatenate([np.full(400, 2.0), np.linspace(0, 1, 600)])
    ranking = Ranking(label, score, np.arange(1000))
    exact = ranking.whole()
    monkeypatch.setattr(statistics, "BINS", 50)
    binned = ranking.binned(1000).curve(np.ones((1, 1000), np.int64))
    assert (binned.fake.max(), binned.real.max()) == (200, 200)
    assert binned.fakes == exact.fakes == 500
    assert auc(binned) == pytest.approx(auc(exact), abs=1e-3)


def test_percentile_interval() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
    assert percentile_interval(np.arange(101.0), 1.0) == (0.0, 100.0)
