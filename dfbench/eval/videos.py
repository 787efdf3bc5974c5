"""Frames to videos: one score a video, whatever its number of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32

from dfbench.config import Aggregate
from dfbench.eval.table import ScoreTable, Text, video_codes

LARGEST_LOGIT = 16.0  # about as far as a probability in float32 tells from 0 and 1


@dataclass(frozen=True, eq=False)
class VideoScores:
    """One entry a video, in the order of (dataset, video)."""

    dataset: Text
    video: Text
    label: Int32[np.ndarray, " videos"]
    manipulation: Text
    identity: Text | None
    p_fake: Float64[np.ndarray, " videos"]  # NaN: no face detected
    frames: Int[np.ndarray, " videos"]  # scored ones
    code: Int32[np.ndarray, " rows"]  # of each row of the table: the position of its video

    def __len__(self) -> int:
        return len(self.label)


def video_scores(table: ScoreTable, aggregate: Aggregate = "mean", top_k: int = 5) -> VideoScores:
    """Reduce a table to its videos; the order of its rows does not matter.

    Args:
      table: The scores.
      aggregate: How the scores of a video's frames become one.
      top_k: How many of the highest count in "top_k".

    Raises:
      ValueError: a video with two labels.
    """
    code = video_codes(table)
    videos = int(code.max(initial=-1)) + 1
    first = np.full(videos, len(code), np.int64)
    np.minimum.at(first, code, np.arange(len(code)))
    label = table.label[first]
    if (label[code] != table.label).any():
        row = int(np.flatnonzero(label[code] != table.label)[0])
        raise ValueError(f"video '{table.video[row]}' has two labels")
    values = frame_logits(table) if aggregate == "mean_logit" else table.p_fake
    scores, frames = aggregate_frames(code, values, videos, aggregate, top_k)
    return VideoScores(
        dataset=table.dataset[first],
        video=table.video[first],
        label=label,
        manipulation=table.manipulation[first],
        identity=None if table.identity is None else table.identity[first],
        p_fake=scores,
        frames=frames,
        code=code,
    )


def frame_logits(table: ScoreTable) -> Float32[np.ndarray, " rows"]:
    """Return the logits; of a score that came as a probability its log-odds, within +-16."""
    missing = np.isnan(table.logit)
    if not missing.any():
        return table.logit
    p = table.p_fake[missing].astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.log(p) - np.log1p(-p)
    logit = table.logit.copy()
    logit[missing] = np.clip(odds, -LARGEST_LOGIT, LARGEST_LOGIT)
    return logit


def aggregate_frames(
    code: Int[np.ndarray, " rows"],
    values: Float[np.ndarray, " rows"],
    videos: int,
    aggregate: Aggregate = "mean",
    top_k: int = 5,
) -> tuple[Float64[np.ndarray, " videos"], Int[np.ndarray, " videos"]]:
    """Return each video's score (NaN: none of its frames has one), and its number of scored frames.

    Args:
      code: Of each row, the number of its video.
      values: Probabilities; for "mean_logit" logits. NaN: not scored.
      videos: How many there are.
      aggregate: How they become one.
      top_k: How many of the highest count in "top_k".
    """
    kept = ~np.isnan(values)
    code, wide = code[kept], values[kept].astype(np.float64)
    frames = np.bincount(code, minlength=videos)
    # Each video's frames in rising order: sums must not depend on the order of the rows, which
    # would decide ties.
    order = np.argsort(wide)
    if aggregate not in ("mean", "mean_logit"):
        order = order[np.argsort(code[order], kind="stable")]
    code, wide = code[order], wide[order]
    seen = frames > 0
    ends = np.cumsum(frames)[seen]
    scores = np.full(videos, np.nan)
    if aggregate == "max":
        scores[seen] = wide[ends - 1]
    elif aggregate == "median":
        size = frames[seen]
        scores[seen] = (wide[ends - 1 - size // 2] + wide[ends - 1 - (size - 1) // 2]) / 2
    else:
        if aggregate == "top_k":
            rank = np.repeat(np.cumsum(frames), frames) - np.arange(len(code))  # 1: the highest
            code, wide = code[rank <= top_k], wide[rank <= top_k]
        total = np.bincount(code, weights=wide, minlength=videos)
        counted = np.minimum(frames, top_k) if aggregate == "top_k" else frames
        scores[seen] = total[seen] / counted[seen]
        if aggregate == "mean_logit":
            scores = 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
    return scores, frames
