"""What a reader has to know of handed-in scores: how much was scored, and what looks wrong."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import mannwhitneyu

from dfbench.data.prepared import CLASS_NAMES
from dfbench.eval.submission import Kind
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import video_scores
from dfbench.results.card import ClassName, Coverage
from dfbench.results.coverage import TOLERANCE

SURE = 0.01  # a video AUC below 0.5 is worth a word where chance would do this less often
SUSPECT_ROWS = 20  # that many logits within [0, 1] are hardly logits


def coverage_of(table: ScoreTable) -> dict[ClassName, Coverage]:
    """Return how many videos and frames of each class have a score."""
    videos = video_scores(table)
    scored = ~np.isnan(table.p_fake)
    found: dict[ClassName, Coverage] = {}
    for label, name in enumerate(CLASS_NAMES):
        frames = videos.frames[videos.label == label]
        without = int((frames == 0).sum())
        found[name] = Coverage(
            clips=len(frames),
            clips_with_crops=len(frames) - without,
            frames_wanted=int((table.label == label).sum()),
            frames=int((scored & (table.label == label)).sum()),
            reasons={"no score handed in": without} if without else {},
        )
    return found


def warnings_of(table: ScoreTable, kind: Kind) -> tuple[str, ...]:
    """Say what a reader of the numbers has to know of these scores."""
    found = []
    coverage = coverage_of(table)
    share = {k: c.clips_with_crops / c.clips for k, c in coverage.items() if c.clips}
    if len(share) == 2 and abs(share["real"] - share["fake"]) > TOLERANCE:
        found.append(
            f"{100 * share['real']:.1f} % of the real videos have a score and "
            f"{100 * share['fake']:.1f} % of the fake"
        )
    auc, below = below_chance(table)
    if below:
        found.append(
            f"video AUC {auc:.3f} is below 0.5 by more than chance: if these are scores of real, "
            "hand in 1 - p or -logit"
        )
    p = table.p_fake[~np.isnan(table.p_fake)]
    if len(p) and np.isin(p, (0, 1)).all():
        found.append("all scores are 0 or 1: decisions, not scores; areas and error rates suffer")
    logit = table.logit[~np.isnan(table.p_fake)]
    if kind == "logit" and len(logit) >= SUSPECT_ROWS and ((logit >= 0) & (logit <= 1)).all():
        found.append(
            "all logits lie in [0, 1]: if they are probabilities, call the column 'p_fake'"
        )
    return tuple(found)


def below_chance(table: ScoreTable) -> tuple[float, bool]:
    """Return the video AUC, and whether it is below 0.5 by more than chance.

    The sign of the scores is never turned: to choose it on the evaluated data would be to train on
    them. Mann and Whitney's test of the videos, one-sided (1947).
    """
    videos = video_scores(table)
    seen = videos.frames > 0
    fake, real = (videos.p_fake[seen & (videos.label == label)] for label in (1, 0))
    if not len(fake) or not len(real):
        return math.nan, False
    test = mannwhitneyu(fake, real, alternative="less")
    return float(test.statistic) / (len(fake) * len(real)), bool(test.pvalue < SURE)
