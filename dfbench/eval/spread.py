"""Repeated trainings taken together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over seeds. None: no seed has a value, or, of `sd`, only one."""

    mean: float | None
    sd: float | None  # of a single training, estimated: with n - 1
    low: float | None  # smallest
    high: float | None  # largest
    seeds: int  # that have a value
    undefined: int  # that have none


def spread(values: Iterable[float | None]) -> Spread:
    """Return mean, standard deviation and range of a metric's values, one a seed."""
    listed = list(values)
    known = [value for value in listed if value is not None and not math.isnan(value)]
    return Spread(
        mean=statistics.fmean(known) if known else None,
        sd=statistics.stdev(known) if len(known) > 1 else None,
        low=min(known, default=None),
        high=max(known, default=None),
        seeds=len(known),
        undefined=len(listed) - len(known),
    )
