"""Variance of AUCs and of their differences, without resampling.

The areas of several detectors on the same examples are correlated. DeLong, DeLong and
Clarke-Pearson, Biometrics 44 (1988), give their covariance; by Sun and Xu, "Fast implementation of
DeLong's algorithm", IEEE Signal Processing Letters 21 (2014), it takes a sort instead of all pairs.
Examples must be independent: videos, never frames.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int, Num
from scipy.stats import norm, rankdata


def delong(
    label: Int[np.ndarray, " n"], scores: Num[np.ndarray, "k n"]
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "k k"]]:
    """Return the AUCs of `k` detectors on the same `n` examples, and their covariance.

    Args:
      label: 1 = fake (the class that scores high).
      scores: One row a detector; none NaN.

    Raises:
      ValueError: a class has fewer than two examples, or a score is NaN.
    """
    fake = label == 1
    m, n = int(fake.sum()), int((~fake).sum())
    if m < 2 or n < 2:
        raise ValueError(f"DeLong's variance needs 2 examples of each class; there are {m} and {n}")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    # Rank among all minus rank among its own class: how many of the other class lie below.
    overall = rankdata(scores, axis=1)
    above = (overall[:, fake] - rankdata(scores[:, fake], axis=1)) / n  # of each fake
    below = 1 - (overall[:, ~fake] - rankdata(scores[:, ~fake], axis=1)) / m  # of each real
    return above.mean(axis=1), _covariance(above) / m + _covariance(below) / n


def _covariance(values: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, "k k"]:
    apart = values - values.mean(axis=1, keepdims=True)
    # Not a product of matrices, whose order of summation is the library's.
    covariance: np.ndarray = np.einsum("in,jn->ij", apart, apart) / (values.shape[1] - 1)
    return covariance


def paired_p_value(
    auc: Float[np.ndarray, " k"], covariance: Float[np.ndarray, "k k"], i: int, j: int
) -> float:
    """Return the two-sided p value of "detectors `i` and `j` have the same AUC".

    Where the difference has no variance (equal rankings, or both separate perfectly), equal AUCs
    give 1; different ones cannot then be told from chance by this test either, and give NaN.
    """
    variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
    difference = float(auc[i] - auc[j])
    if variance <= 1e-15:
        return 1.0 if abs(difference) < 1e-12 else float("nan")
    return float(2 * norm.sf(abs(difference) / np.sqrt(variance)))
