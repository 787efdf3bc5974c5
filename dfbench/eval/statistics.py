"""Bootstrap over videos: weighted ranking metrics for many resamples at once.

A resample is a row of integer weights, one a video: how often it was drawn. Frames take the weight
of their video, so frame-level intervals account for the likeness of a video's frames. Drawing is
with replacement and stratified by label: every resample has as many real and as many fake videos
as the data, so no resample lacks a class. The intervals are thus conditional on the class counts.
Percentile intervals (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Num

CHUNK_ELEMENTS = 1 << 20  # weights held at once; arrays of it take 8 MiB


def resample_weights(
    label: Int[np.ndarray, " videos"], resamples: int, seed: int, rows: int
) -> Iterator[Float64[np.ndarray, "chunk videos"]]:
    """Yield the weights of `resamples` bootstrap resamples in chunks.

    Args:
      label: Of each video; strata.
      resamples: How many in all.
      seed: Equal seeds give equal weights, whatever the size of the chunks.
      rows: Elements that a caller will hold for each resample; bounds the size of a chunk.
    """
    rng = np.random.default_rng(seed)
    strata = [np.flatnonzero(label == value) for value in np.unique(label)]
    chunk = max(1, CHUNK_ELEMENTS // max(rows, len(label), 1))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        weights = np.zeros((count, len(label)))
        for row in weights:  # one by one: the draws do not depend on the chunks
            for members in strata:
                drawn = rng.integers(len(members), size=len(members))
                row[members] = np.bincount(drawn, minlength=len(members))
        yield weights


class Ranking:
    """Examples in falling order of their score, equal scores as one group.

    Made once for a metric and used for every resample.
    """

    def __init__(
        self,
        label: Int[np.ndarray, " n"],
        score: Float[np.ndarray, " n"],
        video: Int[np.ndarray, " n"],
    ) -> None:
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._video = video[order]
        self._fake: Bool[np.ndarray, " n"] = label[order] == 1

    def groups(
        self, weights: Num[np.ndarray, "chunk videos"]
    ) -> tuple[Float64[np.ndarray, "chunk groups"], Float64[np.ndarray, "chunk groups"]]:
        """Return the weight of fakes and of reals in each group of equal scores."""
        drawn = np.take(weights.astype(np.float64, copy=False), self._video, axis=1)
        fake = np.add.reduceat(drawn * self._fake, self._starts, axis=1)
        return fake, np.add.reduceat(drawn, self._starts, axis=1) - fake


def weighted_auc(
    fake: Float64[np.ndarray, "chunk groups"], real: Float64[np.ndarray, "chunk groups"]
) -> Float64[np.ndarray, " chunk"]:
    """Return the area under the ROC curve; pairs of equal scores count one half."""
    above = np.cumsum(fake, axis=1) - 0.5 * fake
    pairs = np.einsum("cg,cg->c", above, real)
    area: np.ndarray = pairs / (fake.sum(axis=1) * real.sum(axis=1))
    return area


def weighted_ap(
    fake: Float64[np.ndarray, "chunk groups"], real: Float64[np.ndarray, "chunk groups"]
) -> Float64[np.ndarray, " chunk"]:
    """Return average precision, the sum of precision times gain in recall (as scikit-learn)."""
    found = np.cumsum(fake, axis=1)
    called = np.cumsum(fake + real, axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    ap: np.ndarray = np.einsum("cg,cg->c", precision, fake) / found[:, -1]
    return ap


def weighted_eer(
    fake: Float64[np.ndarray, "chunk groups"], real: Float64[np.ndarray, "chunk groups"]
) -> Float64[np.ndarray, " chunk"]:
    """Return the equal error rate, linear between the points of the ROC curve."""
    miss = 1 - np.cumsum(fake, axis=1) / fake.sum(axis=1, keepdims=True)
    alarm = np.cumsum(real, axis=1) / real.sum(axis=1, keepdims=True)
    return crossing(alarm, miss)


def crossing(
    alarm: Float64[np.ndarray, "chunk points"], miss: Float64[np.ndarray, "chunk points"]
) -> Float64[np.ndarray, " chunk"]:
    """Return the rate at which rising false alarms meet falling misses.

    Each curve starts from the point (0 alarms, all missed), which is not among the arguments.
    """
    gap = miss - alarm
    gap[:, -1] = np.minimum(gap[:, -1], -1.0)  # all called fake; exact despite rounding
    after = np.argmax(gap <= 0, axis=1)
    row = np.arange(len(gap))
    first = after == 0
    gap_before = np.where(first, 1.0, gap[row, after - 1])
    alarm_before = np.where(first, 0.0, alarm[row, after - 1])
    part = gap_before / (gap_before - gap[row, after])
    rate: np.ndarray = alarm_before + part * (alarm[row, after] - alarm_before)
    return rate


RANKING_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "auc": weighted_auc,
    "ap": weighted_ap,
    "eer": weighted_eer,
}


def bootstrap(
    label: Int[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    video: Int[np.ndarray, " n"],
    video_label: Int[np.ndarray, " videos"],
    names: tuple[str, ...],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Float64[np.ndarray, " resamples"]]:
    """Return the values of metrics over resampled videos.

    Args:
      label: Of each example (a frame or a video), 1 = fake.
      score: Of each example, P(fake).
      video: Of each example, the position of its video in `video_label`.
      video_label: Of each video; each has at least one example.
      names: Of "auc", "ap", "eer" (both classes must be there) and "accuracy" (at 0.5).
      resamples: How many.
      seed: Of the draws.
    """
    values: dict[str, list[np.ndarray]] = {name: [] for name in names}
    ranking = Ranking(label, score, video)
    right = np.bincount(video, weights=(score >= 0.5) == (label == 1), minlength=len(video_label))
    total = np.bincount(video, minlength=len(video_label)).astype(np.float64)
    ranked = [name for name in names if name in RANKING_METRICS]
    for weights in resample_weights(video_label, resamples, seed, len(label)):
        if ranked:
            fake, real = ranking.groups(weights)
        for name in ranked:
            values[name].append(RANKING_METRICS[name](fake, real))
        if "accuracy" in names:
            values["accuracy"].append((weights @ right) / (weights @ total))
    return {name: np.concatenate(v) for name, v in values.items()}


def percentile_interval(
    values: Float64[np.ndarray, " resamples"], confidence: float
) -> tuple[float, float]:
    """Return the central interval that holds `confidence` of the values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
