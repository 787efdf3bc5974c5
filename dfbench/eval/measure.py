"""Everything a card says about a table of scores: a pure function of score files.

Metrics are named by what they count: `video_*` videos with a detected face, `video_*_all` every
video, where one without a detected face is scored 0.5, and `frame_*` frames. Thresholds are 0.5, or
with `_source_val` the one chosen on source val; `_calibrated` is after its temperature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
from jaxtyping import Bool

from dfbench.config import ScoringConfig
from dfbench.eval.calibrate import calibrate
from dfbench.eval.metrics import (
    AVERAGED,
    COUNTED,
    Draws,
    Sample,
    metrics_of,
    prevalence,
)
from dfbench.eval.roc import RANKED
from dfbench.eval.samples import Scores
from dfbench.eval.statistics import person_clusters
from dfbench.eval.table import ScoreTable, dense_codes
from dfbench.eval.videos import VideoScores, video_scores
from dfbench.results.card import Calibration, Confusion, Metric

THRESHOLD = 0.5  # fixed, of P(fake)
VIDEO = (*RANKED, *COUNTED, *AVERAGED)
ALL = ("auc", "ap", "eer", "accuracy", "balanced_accuracy")
FRAME = ("auc", "partial_auc", "ap", "eer", "accuracy", "balanced_accuracy", *AVERAGED)
PART = ("auc", "ap", "eer", "recall_fake", "balanced_accuracy")  # of a part, over videos
MOST_PARTS = 100
NO_VAL = "no scores of a source val split"

METRIC_NAMES = (
    *(f"video_{name}" for name in VIDEO),
    "video_auc_by_identity",  # with the interval over people instead of videos
    "prevalence",  # share of fakes among the videos: average precision of chance
    *(f"video_{name}_source_val" for name in COUNTED),
    *(f"video_{name}_calibrated" for name in AVERAGED),
    *(f"video_{name}_all" for name in ALL),
    *(f"frame_{name}" for name in FRAME),
    "frame_prevalence",
    *(f"frame_{name}_calibrated" for name in AVERAGED),
)


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
    """Return the numbers of a card; the order of the rows does not matter.

    Args:
      table: Scores of the evaluated split.
      val: Scores of the *training* dataset's val split by the same detector, on which threshold
        and temperature are chosen; None: what needs them is null.
      scoring: Aggregation to videos, resamples and confidence.
      seed: Of the resamples.

    Raises:
      ValueError: a video with two labels.
    """
    scores = Scores.of(table, scoring)
    calibration = None
    if val is not None:
        calibration = calibrate(val, video_scores(val, scoring.aggregate, scoring.top_k))
    draws = Draws(resamples=scoring.resamples, confidence=scoring.confidence, seed=seed)
    metrics = _whole(scores, calibration, draws)
    confusion = {"fixed": confusion_at(scores.videos, THRESHOLD)}
    if calibration is not None and calibration.threshold is not None:
        confusion["source_val"] = confusion_at(scores.videos, calibration.threshold)
    return Measured(
        metrics={name: metrics[name] for name in METRIC_NAMES},
        breakdown={name: _part(scores, kept, draws) for name, kept in _parts(scores.videos)},
        confusion=confusion,
        calibration=calibration,
    )


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


def _parts(videos: VideoScores) -> Iterator[tuple[str, Bool[np.ndarray, " videos"]]]:
    """Yield the parts of a breakdown by name, and the videos in them.

    Of more than `MOST_PARTS` manipulations or datasets, which are names of something else, none.
    """
    fake = videos.label == 1
    kinds = [name for name in videos.manipulation[fake].used() if name]
    for name in kinds if len(kinds) <= MOST_PARTS else ():
        own = fake & videos.manipulation.equal_to(name)
        there = np.bincount(videos.dataset.codes[own], minlength=len(videos.dataset.names)) > 0
        yield f"manipulation/{name}", own | (~fake & there[videos.dataset.codes])
    names = videos.dataset.used()
    for name in names if 1 < len(names) <= MOST_PARTS else ():
        yield f"dataset/{name}", videos.dataset.equal_to(name)


def _whole(scores: Scores, calibration: Calibration | None, draws: Draws) -> dict[str, Metric]:
    """Return all metrics of a table."""
    video, frame = scores.video_sample(), scores.frame_sample()
    seen = metrics_of(video, VIDEO, draws)
    found = _named("video", seen) | _named("video", _all(scores, None, ALL, seen, draws), "_all")
    found["video_auc_by_identity"] = _by_identity(scores, video, draws)
    found["prevalence"] = prevalence(video)
    found |= _named("frame", metrics_of(frame, FRAME, draws))
    found["frame_prevalence"] = prevalence(frame)
    threshold = calibration.threshold if calibration else None
    temperature = calibration.temperature if calibration else None
    why = calibration.reason if calibration else NO_VAL
    if threshold is None:
        called = _undefined(COUNTED, video, why)
    else:
        called = metrics_of(video, tuple(COUNTED), draws, threshold=threshold)
    found |= _named("video", called, "_source_val")
    cooled: tuple[Sample, ...] = scores.calibrated(temperature) if temperature else ()
    for level, sample, cool in zip_longest(("video", "frame"), (video, frame), cooled):
        after = (
            metrics_of(cool, tuple(AVERAGED), draws) if cool else _undefined(AVERAGED, sample, why)
        )
        found |= _named(level, after, "_calibrated")
    return found


def _part(scores: Scores, kept: Bool[np.ndarray, " videos"], draws: Draws) -> dict[str, Metric]:
    """Return the metrics of some videos."""
    video = scores.video_sample(kept)
    seen = metrics_of(video, PART, draws)
    found = _named("video", seen) | _named(
        "video", _all(scores, kept, ("auc",), seen, draws), "_all"
    )
    found["prevalence"] = prevalence(video)
    return found | _named("frame", metrics_of(scores.frame_sample(kept), ("auc",), draws))


def _all(
    scores: Scores,
    kept: Bool[np.ndarray, " videos"] | None,
    names: tuple[str, ...],
    seen: dict[str, Metric],
    draws: Draws,
) -> dict[str, Metric]:
    """Return metrics of all videos; where each has a face, they are those of the `seen`."""
    sample = scores.all_sample(kept)
    if len(sample) == seen[names[0]].n:
        return {name: seen[name] for name in names}
    return metrics_of(sample, names, draws)


def _by_identity(scores: Scores, video: Sample, draws: Draws) -> Metric:
    """Return the AUC with its interval over people; a video of nobody known is its own."""
    people = scores.videos.identity
    if people is None or not any(people[scores.seen].used()):
        return Metric(value=None, n=len(video), reason="who is seen is not known")
    people = people[scores.seen]
    own = np.where(people.equal_to(""), 1 + np.arange(len(people)), 0)
    clusters = person_clusters(dense_codes(people.codes, own), draws.seed)
    return metrics_of(video, ("auc",), draws, clusters=clusters)["auc"]


def _undefined(names: Iterable[str], sample: Sample, reason: str) -> dict[str, Metric]:
    return {name: Metric(value=None, n=len(sample), reason=reason) for name in names}


def _named(level: str, found: dict[str, Metric], end: str = "") -> dict[str, Metric]:
    return {f"{level}_{name}{end}": metric for name, metric in found.items()}
