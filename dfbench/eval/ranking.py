"""Ranks of detectors by their mean AUC over several datasets, and how sure they are.

A detector's AUC on a dataset is the mean over its seeds, its mean AUC that over the datasets.
Intervals come from resampled videos: in each draw the videos of a dataset are drawn once, for all
detectors alike (with replacement, stratified by label), so what a hard video does to all of them
does not blur their order. Pairs are compared by DeLong's covariance of AUCs on the same videos,
added up over the datasets, which are taken as independent, with Holm's correction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64
from scipy.stats import rankdata

from dfbench.eval.delong import delong, paired_p_value
from dfbench.eval.holm import holm
from dfbench.eval.letters import compact_letters

RESAMPLES = 2000
CHUNK_ELEMENTS = 1 << 22  # weights held at once; arrays of it take 32 MiB


@dataclass(frozen=True, eq=False)
class Panel:
    """Scores of several runs on the same videos of one dataset.

    Every detector has at least one run (a seed), and every run scores both classes.
    """

    label: Int[np.ndarray, " videos"]  # 1 = fake
    scores: Float64[np.ndarray, "runs videos"]  # P(fake); NaN: no face detected, or not scored
    detector: Int[np.ndarray, " runs"]  # which detector a run is of


@dataclass(frozen=True, eq=False)
class Ranking:
    """Of each detector, by its number; `letters` is empty where pairs could not be compared."""

    mean: Float64[np.ndarray, " detectors"]
    low: Float64[np.ndarray, " detectors"]
    high: Float64[np.ndarray, " detectors"]
    rank_low: Int64[np.ndarray, " detectors"]  # interval of the rank; 1 is best
    rank_high: Int64[np.ndarray, " detectors"]
    letters: tuple[str, ...]
    p_values: dict[tuple[int, int], float]  # adjusted; NaN: no test of this pair


def rank(
    panels: Sequence[Panel],
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seeds: Sequence[int] = (),
) -> Ranking:
    """Rank detectors by their mean AUC over the panels.

    Args:
      panels: One a dataset; all of the same detectors, numbered from 0.
      resamples: Draws of videos.
      confidence: Of the intervals; pairs are separated at 1 - confidence.
      seeds: Of the draws, one a panel; default 0, 1 and so on.
    """
    mean = np.mean([_by_detector(panel, _aucs(panel)) for panel in panels], axis=0)
    drawn = np.zeros((resamples, len(mean)))
    for panel, seed in zip(panels, seeds or range(len(panels)), strict=True):
        drawn += _by_detector(panel, _drawn_aucs(panel, resamples, seed)) / len(panels)
    drawn = drawn[~np.isnan(drawn).any(axis=1)]
    if not len(drawn):  # no draw kept both classes of all detectors
        drawn = np.full((1, len(mean)), np.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    ranks = ranks_of(drawn)
    rank_low, rank_high = np.quantile(ranks, [tail, 1 - tail], axis=0, method="inverted_cdf")
    p_values = compare(panels)
    letters: tuple[str, ...] = ()
    if p_values and not all(np.isnan(p) for p in p_values.values()):
        order = np.argsort(-mean, kind="stable")
        place = {int(detector): i for i, detector in enumerate(order)}
        separated = {
            (min(place[i], place[j]), max(place[i], place[j]))
            for (i, j), p in p_values.items()
            if p < 1 - confidence
        }
        by_place = compact_letters(len(mean), separated)
        letters = tuple(by_place[place[i]] for i in range(len(mean)))
    return Ranking(
        mean=mean,
        low=low,
        high=high,
        rank_low=rank_low.astype(np.int64),
        rank_high=rank_high.astype(np.int64),
        letters=letters,
        p_values=p_values,
    )


def ranks_of(means: Float64[np.ndarray, "rows detectors"]) -> Int64[np.ndarray, "rows detectors"]:
    """Return ranks within each row, 1 for the highest; equal values share the better rank."""
    # Means that differ only by the order of a sum are equal.
    ranks: np.ndarray = rankdata(-np.round(means, 12), method="min", axis=1).astype(np.int64)
    return ranks


def compare(panels: Sequence[Panel]) -> dict[tuple[int, int], float]:
    """Return Holm-adjusted p values of "two detectors have the same mean AUC".

    On the videos that all runs of a dataset have scored. Empty where a dataset leaves fewer than
    two such videos of a class.
    """
    detectors = int(panels[0].detector.max()) + 1
    mean, covariance = np.zeros(detectors), np.zeros((detectors, detectors))
    for panel in panels:
        common = ~np.isnan(panel.scores).any(axis=0)
        label = panel.label[common]
        if min((label == 1).sum(), (label == 0).sum()) < 2:
            return {}
        auc, of_runs = delong(label, panel.scores[:, common])
        weights = _weights(panel)
        mean += weights @ auc / len(panels)
        covariance += weights @ of_runs @ weights.T / len(panels) ** 2
    pairs = list(itertools.combinations(range(detectors), 2))
    found = [paired_p_value(mean, covariance, i, j) for i, j in pairs]
    return dict(zip(pairs, holm(np.array(found)).tolist(), strict=True)) if pairs else {}


def _weights(panel: Panel) -> Float64[np.ndarray, "detectors runs"]:
    """Return what averages the runs of each detector."""
    of = panel.detector == np.arange(panel.detector.max() + 1)[:, None]
    weights: np.ndarray = of / of.sum(axis=1, keepdims=True)
    return weights


def _by_detector(
    panel: Panel, of_runs: Float64[np.ndarray, "*rows runs"]
) -> Float64[np.ndarray, "*rows detectors"]:
    # Not a product of matrices, whose order of summation is the library's.
    runs = [np.flatnonzero(panel.detector == d) for d in range(panel.detector.max() + 1)]
    return np.stack([of_runs[..., own].mean(axis=-1) for own in runs], axis=-1)


def _aucs(panel: Panel) -> Float64[np.ndarray, " runs"]:
    once = np.ones((len(panel.label), 1), np.int64)
    return np.concatenate([weighted_aucs(panel.label, run, once) for run in panel.scores])


def _drawn_aucs(panel: Panel, resamples: int, seed: int) -> Float64[np.ndarray, "resamples runs"]:
    chunks = [
        np.stack([weighted_aucs(panel.label, run, weights) for run in panel.scores], axis=1)
        for weights in _draws(panel.label, resamples, seed)
    ]
    return np.concatenate(chunks)


def _draws(
    label: Int[np.ndarray, " videos"], resamples: int, seed: int
) -> Iterator[Int[np.ndarray, "videos draws"]]:
    """Yield how often each video is drawn; each class keeps its number of videos."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    most = 2 * len(classes[0]) * len(classes[1])  # any sum of `weighted_aucs`
    kind = np.int32 if most < 2**31 else np.int64
    chunk = max(1, CHUNK_ELEMENTS // max(len(label), 1))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        weights = np.zeros((len(label), count), kind)
        for members in (m for m in classes if len(m)):
            drawn = rng.integers(len(members), size=(count, len(members)))
            drawn += len(members) * np.arange(count)[:, None]  # a place for each draw and video
            times = np.bincount(drawn.ravel(), minlength=count * len(members))
            weights[members] = times.reshape(count, len(members)).T
        yield weights


def weighted_aucs(
    label: Int[np.ndarray, " videos"],
    score: Float64[np.ndarray, " videos"],
    weights: Int[np.ndarray, "videos draws"],
) -> Float64[np.ndarray, " draws"]:
    """Return the AUC with each column of weights; NaN where a class has no weight.

    Videos without a score (NaN) do not count. Sums are of integers, and so the same everywhere.
    """
    seen = ~np.isnan(score)
    fake, real = np.flatnonzero(seen & (label == 1)), np.flatnonzero(seen & (label == 0))
    real = real[np.argsort(score[real], kind="stable")]
    below = np.searchsorted(score[real], score[fake], "left")
    up_to = np.searchsorted(score[real], score[fake], "right")
    fakes, reals = weights[fake], weights[real]
    weight_up_to = np.zeros((len(real) + 1, weights.shape[1]), weights.dtype)
    np.cumsum(reals, axis=0, out=weight_up_to[1:])
    twice_below = weight_up_to[below]
    # Equal scores are half a win.
    twice_below += twice_below if (below == up_to).all() else weight_up_to[up_to]
    wins = np.einsum("vd,vd->d", fakes, twice_below)
    pairs = 2 * fakes.sum(axis=0, dtype=np.int64) * reals.sum(axis=0, dtype=np.int64)
    auc: np.ndarray = np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0)
    return auc
