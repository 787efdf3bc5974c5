"""What another look at the same videos does to a detector's AUC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from dfbench.eval.delong import delong, paired_p_value
from dfbench.eval.videos import VideoScores


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference of two AUCs on the same videos; what is not defined is None."""

    value: float | None  # second minus first
    low: float | None = None
    high: float | None = None
    p: float | None = None  # of "both are equal", two-sided
    n: int = 0  # videos
    reason: str = ""  # why something is None


def auc_change(first: VideoScores, second: VideoScores, confidence: float = 0.95) -> Change:
    """Compare two sets of scores of the same videos by DeLong's covariance of their AUCs.

    The interval is normal, value +- z standard errors; it is not that of a bootstrap.

    Args:
      first: Scores, such as those of clean crops.
      second: Scores of the same videos, such as those of degraded ones.
      confidence: Of the interval.
    """
    if _names(first) != _names(second) or (first.label != second.label).any():
        return Change(value=None, reason="not the same videos")
    seen = ~np.isnan(first.p_fake) & ~np.isnan(second.p_fake)
    label, n = first.label[seen], int(seen.sum())
    if np.bincount(label, minlength=2).min() < 2:
        return Change(value=None, n=n, reason="fewer than 2 videos of a class")
    auc, covariance = delong(label, np.array([first.p_fake[seen], second.p_fake[seen]]))
    value = float(auc[1] - auc[0])
    p = paired_p_value(auc, covariance, 0, 1)
    if np.isnan(p):
        return Change(value=value, n=n, reason="the difference has no variance to test it by")
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    half = float(norm.ppf((1 + confidence) / 2) * np.sqrt(max(variance, 0.0)))
    return Change(value=value, low=value - half, high=value + half, p=p, n=n)


def _names(videos: VideoScores) -> list[tuple[str, str]]:
    return list(zip(videos.dataset.tolist(), videos.video.tolist(), strict=True))
