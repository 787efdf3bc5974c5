"""Metrics of a table of scores: pure functions, every video counts once.

The probability of a video is the mean of its frames' probabilities. A video is named by
(dataset, video), never by `video` alone. Fake (1) is the positive class; the threshold of accuracy
is 0.5, fixed and never fitted to the evaluated data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from dfbench.eval.statistics import bootstrap, crossing, percentile_interval
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores, aggregate_frames, video_scores
from dfbench.results.card import Metric

METRIC_NAMES = (
    "video_auc",  # videos with a detected face
    "video_auc_all",  # all videos; one without a detected face is scored 0.5
    "frame_auc",
    "video_ap",
    "frame_ap",
    "video_eer",
    "video_accuracy",
    "frame_accuracy",
)

__all__ = [
    "METRIC_NAMES",
    "Metric",
    "VideoScores",
    "compute_metrics",
    "video_auc_of",
    "video_scores",
]


def video_auc_of(
    label: Int[np.ndarray, " rows"],
    p_fake: Float[np.ndarray, " rows"],
    video: Shaped[np.ndarray, " rows"],
) -> float | None:
    """Return the video-level AUC of per-frame scores; None where a class is missing.

    `video` must name videos uniquely over all datasets. Rows with a NaN `p_fake` are left out.
    """
    _, first, code = np.unique(video, return_index=True, return_inverse=True)
    mean, frames = aggregate_frames(code, np.asarray(p_fake), len(first))
    kept = frames > 0
    labels = np.asarray(label)[first][kept]
    if len(np.unique(labels)) < 2:
        return None
    return float(roc_auc_score(labels, mean[kept]))


@dataclass(frozen=True)
class _Draws:
    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True, eq=False)
class _Examples:
    """What a metric counts: frames, or videos."""

    label: Int[np.ndarray, " n"]
    score: Float64[np.ndarray, " n"]
    video: Int[np.ndarray, " n"]  # position of the example's video in `video_label`
    video_label: Int[np.ndarray, " videos"]
    unit: str


def compute_metrics(
    table: ScoreTable, *, resamples: int, confidence: float, seed: int = 0
) -> dict[str, Metric]:
    """Return the metrics of `METRIC_NAMES` with percentile intervals over resampled videos.

    The result does not depend on the order of the rows. Where a class is missing, metrics that
    need both are None with a reason; where a class has a single video, there is no interval.

    Args:
      table: The scores.
      resamples: How many times the videos are drawn; 0: no intervals.
      confidence: Share of the resampled values inside the interval, for example 0.95.
      seed: Of the draws.

    Raises:
      ValueError: a video with two labels.
    """
    videos = video_scores(table)
    seen = videos.frames > 0
    whole = np.arange(len(videos.label))
    detected = _Examples(
        videos.label[seen],
        videos.p_fake[seen],
        whole[: seen.sum()],
        videos.label[seen],
        "videos with a detected face",
    )
    everyone = _Examples(
        videos.label, np.where(seen, videos.p_fake, 0.5), whole, videos.label, "videos"
    )
    draws = _Draws(resamples, confidence, seed)
    found = {
        "video": _measure(detected, ("auc", "ap", "eer", "accuracy"), draws),
        "all": _measure(everyone, ("auc",), draws),
        "frame": _measure(_frames(table, videos, seen), ("auc", "ap", "accuracy"), draws),
    }
    metrics = {f"{k}_{name}": m for k in ("video", "frame") for name, m in found[k].items()}
    metrics["video_auc_all"] = found["all"]["auc"]
    return {name: metrics[name] for name in METRIC_NAMES}


def _frames(
    table: ScoreTable, videos: VideoScores, seen: Shaped[np.ndarray, " videos"]
) -> _Examples:
    code = videos.code
    scored = ~np.isnan(table.p_fake)
    position = np.cumsum(seen) - 1  # among the videos with a detected face
    return _Examples(
        table.label[scored],
        table.p_fake[scored].astype(np.float64),
        position[code[scored]],
        videos.label[seen],
        "frames",
    )


def _measure(examples: _Examples, names: tuple[str, ...], draws: _Draws) -> dict[str, Metric]:
    n = len(examples.label)
    counts = np.bincount(examples.video_label, minlength=2)
    missing = _missing(counts, examples.unit)
    defined = tuple(name for name in names if n and (name == "accuracy" or not missing))
    reason = _no_interval(counts, draws.resamples)
    values = {name: _point(name, examples) for name in defined}
    if reason:
        metrics = {k: Metric(value=v, n=n, reason=reason) for k, v in values.items()}
    else:
        resampled = bootstrap(
            examples.label,
            examples.score,
            examples.video,
            examples.video_label,
            defined,
            resamples=draws.resamples,
            seed=draws.seed,
        )
        metrics = {}
        for name, value in values.items():
            low, high = percentile_interval(resampled[name], draws.confidence)
            metrics[name] = Metric(value=value, low=low, high=high, n=n)
    return {k: metrics.get(k, Metric(value=None, n=n, reason=missing)) for k in names}


def _missing(counts: Int[np.ndarray, " 2"], unit: str) -> str:
    absent = [word for word, count in zip(("real", "fake"), counts, strict=True) if not count]
    return f"no {' and no '.join(absent)} {unit}" if absent else ""


def _no_interval(counts: Int[np.ndarray, " 2"], resamples: int) -> str:
    if resamples <= 0:
        return "no interval: no resampling was asked for"
    single = [word for word, count in zip(("real", "fake"), counts, strict=True) if count == 1]
    return f"no interval: only 1 {' and 1 '.join(single)} video" if single else ""


def _point(name: str, examples: _Examples) -> float:
    label, score = examples.label, examples.score
    if name == "auc":
        return float(roc_auc_score(label, score))
    if name == "ap":
        return float(average_precision_score(label, score))
    if name == "eer":
        alarm, hit, _ = roc_curve(label, score)
        return float(crossing(alarm[None, 1:], 1 - hit[None, 1:])[0])
    return float(np.mean((score >= 0.5) == (label == 1)))
