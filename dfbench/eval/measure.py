"""Everything a card says about a table of scores: a pure function of score files."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from dfbench.config import ScoringConfig
from dfbench.eval.calibrate import calibrate
from dfbench.eval.metrics import compute_metrics
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores, video_scores
from dfbench.results.card import Calibration, Confusion, Metric

THRESHOLD = 0.5  # fixed, of P(fake)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The numbers of a card."""

    metrics: dict[str, Metric]
    breakdown: dict[str, dict[str, Metric]] = field(default_factory=dict)
    confusion: dict[str, Confusion] = field(default_factory=dict)
    calibration: Calibration | None = None


def measure(
    table: ScoreTable, val: ScoreTable | None, scoring: ScoringConfig, *, seed: int
) -> Measured:
    """Return the numbers of a card.

    Args:
      table: Scores of the evaluated split.
      val: Scores of the *training* dataset's val split by the same detector, on which threshold
        and temperature are chosen; None: what needs them is null.
      scoring: Aggregation to videos, resamples and confidence.
      seed: Of the resamples.

    Raises:
      ValueError: a video with two labels.
    """
    videos = video_scores(table, scoring.aggregate, scoring.top_k)
    calibration = (
        None if val is None else calibrate(val, video_scores(val, scoring.aggregate, scoring.top_k))
    )
    confusion = {"fixed": confusion_at(videos, THRESHOLD)}
    if calibration is not None and calibration.threshold is not None:
        confusion["source_val"] = confusion_at(videos, calibration.threshold)
    metrics = compute_metrics(
        table, resamples=scoring.resamples, confidence=scoring.confidence, seed=seed
    )
    return Measured(metrics=metrics, confusion=confusion, calibration=calibration)


def confusion_at(videos: VideoScores, threshold: float) -> Confusion:
    """Count the videos with a detected face by class and what they are called."""
    seen = videos.frames > 0
    fake: Bool[np.ndarray, " videos"] = videos.label[seen] == 1
    called = videos.p_fake[seen] >= threshold
    return Confusion(
        threshold=threshold,
        fake_as_fake=int((fake & called).sum()),
        fake_as_real=int((fake & ~called).sum()),
        real_as_fake=int((~fake & called).sum()),
        real_as_real=int((~fake & ~called).sum()),
    )
