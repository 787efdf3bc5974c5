"""Correction of p values for their number."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64


def holm(p: Float[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """Return p values adjusted for a family of `m` tests.

    The chance of one or more false rejections in the family stays below the level that the
    adjusted values are compared with. Holm, Scandinavian Journal of Statistics 6 (1979). A NaN, of
    a test that could not be made, stays NaN and does not count as a member.

    Raises:
      ValueError: a value outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    made = ~np.isnan(values)
    if ((values[made] < 0) | (values[made] > 1)).any():
        raise ValueError("p values lie in [0, 1]")
    order = np.argsort(values[made], kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(values), np.nan)
    rising = np.minimum(np.maximum.accumulate(values[made][order] * factors), 1.0)
    adjusted[np.flatnonzero(made)[order]] = rising
    return adjusted
