"""What is chosen on the source's val split, and never on the evaluated data."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar

from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores, frame_logits
from dfbench.results.card import Calibration

TEMPERATURES = (0.05, 20.0)  # looked at


def calibrate(val: ScoreTable, videos: VideoScores) -> Calibration:
    """Choose the threshold and the temperature.

    Args:
      val: Scores of the training dataset's val split.
      videos: The same, reduced to videos.
    """
    seen = videos.frames > 0
    threshold = best_threshold(videos.label[seen], videos.p_fake[seen])
    scored = ~np.isnan(val.p_fake)
    temperature = best_temperature(val.label[scored], frame_logits(val)[scored])
    reason = ""
    if threshold is None:
        reason = "source val lacks a class with detected faces"
    elif temperature is None:
        reason = (
            "no temperature: log loss on source val has no minimum from "
            f"{TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}, as where scores separate it without error"
        )
    return Calibration(
        threshold=threshold, temperature=temperature, videos=len(videos), reason=reason
    )


def best_threshold(
    label: Int[np.ndarray, " videos"], p_fake: Float[np.ndarray, " videos"]
) -> float | None:
    """Return the threshold with the highest balanced accuracy; None where a class is missing.

    A video at the threshold is called fake. All thresholds between two neighbouring scores do the
    same: of the best such gaps the widest is taken, of equally wide ones the lowest, and of that
    its middle.
    """
    fakes, reals = int((label == 1).sum()), int((label == 0).sum())
    if not fakes or not reals:
        return None
    scores, group = np.unique(p_fake, return_inverse=True)
    fake = np.bincount(group[label == 1], minlength=len(scores))
    real = np.bincount(group[label == 0], minlength=len(scores))
    # Gap i lies below score i: what lies below the gap is called real. As whole numbers, so that
    # equal ones are equal.
    missed = np.cumsum(fake) - fake
    right = np.cumsum(real) - real
    quality = (fakes - missed) * reals + right * fakes
    below = np.r_[0.0, scores[:-1]]
    width = np.where(quality == quality.max(), scores - below, -1.0)
    best = int(np.argmax(width))
    middle = (below[best] + scores[best]) / 2
    return float(middle if middle > below[best] or best == 0 else scores[best])


def best_temperature(
    label: Int[np.ndarray, " frames"], logit: Float[np.ndarray, " frames"]
) -> float | None:
    """Return the divisor of the logits that makes their log loss least.

    None where a class is missing, or where the log loss falls up to an end of `TEMPERATURES`.
    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    if len(np.unique(label)) < 2:
        return None
    signed = np.where(label == 1, -logit, logit).astype(np.float64)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, signed * np.exp(-log_temperature)).mean())

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    if min(found.x - low, high - found.x) < 1e-3:
        return None
    return float(f"{np.exp(found.x):.4g}")  # the next digits are the optimizer's
