"""Metrics of ROC curves, for many weightings of the same examples at once.

Examples are in falling order of their score, equal scores as one group. A curve is the weight of
fakes and of reals in each group: with weights of 1 the curve of the data, with the numbers of times
that videos were drawn that of a resample. Weights are whole numbers, so that their sums are exact
and the same everywhere. Where a class has no weight, a metric is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int, Int64

Counts = Int64[np.ndarray, "curves groups"]
Values = Float64[np.ndarray, " curves"]


@dataclass(frozen=True, eq=False)
class Curve:
    """ROC curves, a row each; after each group the fakes found and the reals called fake."""

    fake: Counts
    real: Counts
    hits: Counts
    alarms: Counts

    @classmethod
    def of(cls, fake: Counts, real: Counts) -> Curve:
        """Add up the weights of fakes and of reals in each group."""
        return cls(fake, real, np.cumsum(fake, axis=1), np.cumsum(real, axis=1))

    @property
    def fakes(self) -> Values:
        """Weight of all fakes; NaN for none."""
        return _total(self.hits)

    @property
    def reals(self) -> Values:
        """Weight of all reals; NaN for none."""
        return _total(self.alarms)


def _total(sums: Counts) -> Values:
    total = sums[:, -1] if sums.shape[1] else np.zeros(len(sums))
    return np.where(total > 0, total, np.nan)


def auc(curve: Curve) -> Values:
    """Return the area under the curve; pairs of equal scores count one half."""
    pairs = np.einsum("cg,cg->c", curve.hits, curve.real)
    ties = np.einsum("cg,cg->c", curve.fake, curve.real)
    area: Values = (pairs - 0.5 * ties) / (curve.fakes * curve.reals)
    return area


def ap(curve: Curve) -> Values:
    """Return average precision, the sum of precision times gain in recall (as scikit-learn)."""
    # Where nothing was drawn yet, nothing is found either.
    precision = curve.hits / np.maximum(curve.hits + curve.alarms, 1)
    gain = np.einsum("cg,cg->c", precision, curve.fake)
    found: Values = gain / (curve.fakes + 0 * curve.reals)  # without reals all is precise
    return found


def eer(curve: Curve) -> Values:
    """Return the rate at which false alarms and misses meet, linear between groups."""
    row = np.arange(len(curve.hits))
    fakes, reals = curve.fakes, curve.reals

    def beyond(group: Int[np.ndarray, " curves"]) -> Values:
        """Return the alarm rate less the miss rate, in whole numbers; it rises from group on."""
        hits, alarms = curve.hits[row, group], curve.alarms[row, group]
        rise: Values = np.where(group < 0, 0, hits * reals + alarms * fakes) - fakes * reals
        return rise

    low, high = np.zeros(len(row), np.int64), np.full(len(row), curve.hits.shape[1] - 1)
    while (low < high).any():  # bisection
        middle = (low + high) // 2
        there = beyond(middle) >= 0
        low, high = (
            np.where(there, low, np.minimum(middle + 1, high)),
            np.where(there, middle, high),
        )
    part = beyond(low - 1) / (beyond(low - 1) - beyond(low))
    alarm: Values = (curve.alarms[row, low] - (1 - part) * curve.real[row, low]) / reals
    return alarm


def partial_auc(curve: Curve, limit: float) -> Values:
    """Return the area at false-positive rates up to `limit`, standardised (McClish 1989).

    0.5 is chance and 1 perfect, as of scikit-learn's `roc_auc_score(max_fpr=limit)`.
    """
    bound = limit * curve.reals
    end = int(_first(curve.alarms, np.ceil(bound)).max(initial=-1)) + 1
    fake, real = curve.fake[:, :end], curve.real[:, :end]
    hits, alarms = curve.hits[:, :end], curve.alarms[:, :end]
    width = np.clip(bound[:, None] - (alarms - real), 0, real)
    share = width / np.maximum(real, 1)
    area: Values = np.einsum("cg,cg->c", width, hits - fake * (1 - 0.5 * share))
    area /= curve.fakes * curve.reals
    least, most = limit**2 / 2, limit
    return 0.5 * (1 + (area - least) / (most - least))


def tpr_at_fpr(curve: Curve, limit: float) -> Values:
    """Return the highest true-positive rate of a threshold with at most this false-positive rate.

    Not interpolated: a threshold that does it exists.
    """
    bound = limit * curve.reals * (1 + 1e-12)  # 0.01 of 700 is 7
    beyond = _first(curve.alarms, np.floor(bound) + 1)
    found = [row[at - 1] if at else 0 for row, at in zip(curve.hits, beyond, strict=True)]
    rate: Values = np.array(found) / (curve.fakes + 0 * curve.reals)
    return rate


def _first(sums: Counts, least: Values) -> Int[np.ndarray, " curves"]:
    """Return the first group of each curve at which its sum is `least` or more; else the last."""
    whole = np.nan_to_num(least).astype(np.int64)  # NaN: a class is missing
    found = [row.searchsorted(value) for row, value in zip(sums, whole, strict=True)]
    last: Int[np.ndarray, " curves"] = np.minimum(np.array(found, np.int64), sums.shape[1] - 1)
    return last


RANKED: dict[str, Callable[[Curve], Values]] = {
    "auc": auc,
    "partial_auc": partial(partial_auc, limit=0.1),
    "ap": ap,
    "eer": eer,
    "tpr_at_fpr_1pct": partial(tpr_at_fpr, limit=0.01),
    "tpr_at_fpr_5pct": partial(tpr_at_fpr, limit=0.05),
}
