"""The samples of frames and of videos in a table of scores, for metrics to count."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from dfbench.config import ScoringConfig
from dfbench.eval.metrics import Sample, log_loss
from dfbench.eval.table import ScoreTable, in_order, sigmoid
from dfbench.eval.videos import VideoScores, aggregate_frames, frame_logits, video_scores


@dataclass(frozen=True, eq=False)
class Scores:
    """A table and its videos."""

    table: ScoreTable
    videos: VideoScores
    scoring: ScoringConfig

    @classmethod
    def of(cls, table: ScoreTable, scoring: ScoringConfig) -> Scores:
        """Reduce a table to videos.

        Raises:
          ValueError: a video with two labels.
        """
        ordered = in_order(table)
        return cls(ordered, video_scores(ordered, scoring.aggregate, scoring.top_k), scoring)

    @property
    def seen(self) -> Bool[np.ndarray, " videos"]:
        """Videos with a detected face."""
        return self.videos.frames > 0

    @functools.cached_property
    def logit(self) -> Float32[np.ndarray, " rows"]:
        """Logit of each row; NaN where no face was detected."""
        return frame_logits(self.table)

    def video_sample(self, kept: Bool[np.ndarray, " videos"] | None = None) -> Sample:
        """Return the videos with a detected face."""
        seen = self.seen if kept is None else self.seen & kept
        return _videos(
            self.videos.label[seen], self.videos.p_fake[seen], "videos with a detected face"
        )

    def all_sample(self, kept: Bool[np.ndarray, " videos"] | None = None) -> Sample:
        """Return all videos; one without a detected face is scored 0.5."""
        kept = np.ones(len(self.videos), bool) if kept is None else kept
        score = np.where(self.seen, self.videos.p_fake, 0.5)[kept]
        return _videos(self.videos.label[kept], score, "videos")

    def frame_sample(self, kept: Bool[np.ndarray, " videos"] | None = None) -> Sample:
        """Return the frames with a face."""
        seen = self.seen if kept is None else self.seen & kept
        rows = seen[self.videos.code] & ~np.isnan(self.table.p_fake)
        place = np.cumsum(seen, dtype=np.int32) - np.int32(1)
        label = self.table.label[rows]
        return Sample(
            unit="frames",
            label=label,
            score=self.table.p_fake[rows].astype(np.float64),
            loss=_loss_of_logits(label, self.logit[rows]),
            video=place[self.videos.code[rows]],
            video_label=self.videos.label[seen],
        )

    def calibrated(self, temperature: float) -> tuple[Sample, Sample]:
        """Return the videos with a detected face and the frames, all logits divided."""
        frames = self.frame_sample()
        scored = ~np.isnan(self.table.p_fake)
        logit = self.logit[scored] / np.float32(temperature)
        p_fake = sigmoid(logit).astype(np.float64)
        rule = self.scoring.aggregate
        values = logit if rule == "mean_logit" else p_fake
        count = len(frames.video_label)
        score, _ = aggregate_frames(frames.video, values, count, rule, self.scoring.top_k)
        return (
            _videos(frames.video_label, score, "videos with a detected face"),
            replace(frames, score=p_fake, loss=_loss_of_logits(frames.label, logit)),
        )


def _videos(
    label: Int[np.ndarray, " videos"], score: Float64[np.ndarray, " videos"], unit: str
) -> Sample:
    return Sample(
        unit=unit,
        label=label,
        score=score,
        loss=log_loss(label, score),
        video=np.arange(len(label)),
        video_label=label,
    )


def _loss_of_logits(
    label: Int[np.ndarray, " n"], logit: Float32[np.ndarray, " n"]
) -> Float32[np.ndarray, " n"]:
    """Return the log loss without the rounding of a probability."""
    loss: np.ndarray = np.logaddexp(0.0, np.where(label == 1, -logit, logit).astype(np.float64))
    return loss.astype(np.float32)
