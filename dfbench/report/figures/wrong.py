"""Which videos and frames are worth a look: the most wrong, and the most usual."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores

FACES = 12  # of a class, each of another video
WORST, TYPICAL = 4, 2  # videos of a class


def wrongness(
    label: Int[np.ndarray, " n"], p_fake: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return how far probabilities are from their labels, 0 to 1; NaN stays NaN."""
    wrong: np.ndarray = np.abs(label - p_fake)
    return wrong


def wrong_frames(table: ScoreTable, videos: VideoScores, label: int) -> list[int]:
    """Return the rows of the most wrong faces of a class, the worst first, one a video."""
    wrong = wrongness(table.label, table.p_fake)
    rows = np.flatnonzero((table.label == label) & ~np.isnan(table.p_fake))
    # Equals by video and frame, so that the order of the rows does not matter.
    rows = rows[np.lexsort((table.frame[rows], videos.code[rows], -wrong[rows]))]
    _, first = np.unique(videos.code[rows], return_index=True)
    return [int(row) for row in rows[np.sort(first)][:FACES]]


def wrong_videos(videos: VideoScores, label: int) -> list[int]:
    """Return the positions of the most wrong videos of a class, the worst first."""
    return _nearest(videos, label, 1.0 - label)[:WORST]


def typical_videos(videos: VideoScores, label: int) -> list[int]:
    """Return the positions of the videos whose scores are nearest to the median of their class."""
    there = (videos.label == label) & (videos.frames > 0)
    if not there.any():
        return []
    return _nearest(videos, label, float(np.median(videos.p_fake[there])))[:TYPICAL]


def _nearest(videos: VideoScores, label: int, score: float) -> list[int]:
    there = np.flatnonzero((videos.label == label) & (videos.frames > 0))
    order = np.argsort(np.abs(videos.p_fake[there] - score), kind="stable")
    return [int(position) for position in there[order]]


def timeline_rows(videos: VideoScores) -> Int[np.ndarray, " rows"]:
    """Return the rows of all videos that are shown over time."""
    shown = [p for k in (0, 1) for p in (*wrong_videos(videos, k), *typical_videos(videos, k))]
    return np.flatnonzero(np.isin(videos.code, shown))
