"""Who ranks where, and how surely: plain values between the statistics and the pages."""

from __future__ import annotations

from dataclasses import dataclass

from dfbench.results.comparable import ColumnKey, RowKey


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One detector among those of the same training set."""

    row: RowKey
    rank: int | None = None  # 1 is best; None: not ranked
    rank_low: int | None = None  # interval of the rank; None: no scores to resample
    rank_high: int | None = None
    mean: float | None = None  # of the video AUCs over the counted datasets
    low: float | None = None  # interval of the mean
    high: float | None = None
    seeds: int = 1  # most seeds on a dataset
    seed_means: tuple[float, ...] = ()  # of each seed that has all datasets, if there are several
    letters: str = ""  # who shares one cannot be told apart; empty: not tested
    missing: tuple[ColumnKey, ...] = ()  # datasets that keep it from being ranked


@dataclass(frozen=True, kw_only=True)
class StandingGroup:
    """Detectors that may be compared: one protocol, one training set."""

    protocol: str  # empty: none
    train: str  # spec; empty: not known
    handed_in: bool  # the training set is what their authors say
    columns: tuple[ColumnKey, ...]  # counted in the mean
    left_out: tuple[ColumnKey, ...]  # that only some detectors have
    standings: tuple[Standing, ...]  # by rank, then those without one
    confidence: float
    resamples: int  # draws of the videos behind intervals
    tests: int = 0  # pairs compared
    note: str = ""  # why something is missing
