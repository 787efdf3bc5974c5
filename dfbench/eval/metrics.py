"""Metrics of a sample of frames or videos, each with its interval, number and reason.

Fake (1) is the positive class; what lies at a threshold is called fake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Shaped

from dfbench.eval.roc import RANKED, auc
from dfbench.eval.statistics import (
    Clusters,
    Ranking,
    bootstrap,
    percentile_interval,
    video_clusters,
)
from dfbench.eval.videos import aggregate_frames
from dfbench.results.card import Metric

ECE_BINS = 15
NEAR = 2.0**-23  # log loss holds a probability this far from 0 and 1; float32 tells no more
LEAST_DEFINED = 0.9  # of the resamples, for an interval
CLASSES = ("real", "fake")

Sums = Float64[np.ndarray, "draws cells"]
Values = Float64[np.ndarray, " draws"]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How intervals are made."""

    resamples: int  # 0: no intervals
    confidence: float  # share of the resampled values inside, for example 0.95
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What metrics count: frames, or videos."""

    unit: str  # in words
    label: Int[np.ndarray, " n"]
    score: Float64[np.ndarray, " n"]  # P(fake)
    loss: Float32[np.ndarray, " n"]  # log loss
    video: Int[np.ndarray, " n"]  # position of the example's video in `video_label`
    video_label: Int[np.ndarray, " videos"]

    def __len__(self) -> int:
        return len(self.label)


def log_loss(
    label: Int[np.ndarray, " n"], p_fake: Float[np.ndarray, " n"]
) -> Float32[np.ndarray, " n"]:
    """Return -log of the probability of each example's own class.

    In float32, as scores are: the last digits of logarithms, which processors round in their own
    ways, stay out of results.
    """
    own = np.where(label == 1, p_fake, 1 - p_fake)
    loss: np.ndarray = -np.log(np.clip(own, NEAR, 1 - NEAR))
    return loss.astype(np.float32)


# --- what metrics are made of ---------------------------------------------------------------------
# Of counts: 0 reals called real, 1 reals called fake, 2 fakes called real, 3 fakes called fake.


def _share(part: Values, rest: Values) -> Values:
    shares: np.ndarray = part / (part + rest)
    return shares


def _recall_fake(s: Sums) -> Values:
    return _share(s[:, 3], s[:, 2])


def _recall_real(s: Sums) -> Values:
    return _share(s[:, 0], s[:, 1])


COUNTED: dict[str, Callable[[Sums], Values]] = {
    "accuracy": lambda s: _share(s[:, 0] + s[:, 3], s[:, 1] + s[:, 2]),
    "balanced_accuracy": lambda s: (_recall_fake(s) + _recall_real(s)) / 2,
    "precision_fake": lambda s: _share(s[:, 3], s[:, 1]),
    "recall_fake": _recall_fake,
    "precision_real": lambda s: _share(s[:, 0], s[:, 2]),
    "recall_real": _recall_real,
    "f1": lambda s: _share(2 * s[:, 3], s[:, 1] + s[:, 2]),  # of fakes
}
AVERAGED: dict[str, Callable[[Sums], Values]] = {  # still to be divided by the number
    "log_loss": lambda s: s[:, 0],
    "brier": lambda s: s[:, 0],
    "ece": lambda s: np.abs(s).sum(axis=1),
}
# Classes that must be there.
NEEDS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys((*RANKED, "balanced_accuracy"), (0, 1)),
    "recall_fake": (1,),
    "recall_real": (0,),
    "f1": (1,),
}
LEAST_REALS = {"tpr_at_fpr_1pct": 100, "tpr_at_fpr_5pct": 20}  # 1 / FPR
UNDEFINED = {
    "precision_fake": "nothing was called fake",
    "precision_real": "nothing was called real",
}
# Trials that all came out alike when the value is 0 or 1, from the numbers of reals and fakes.
TRIALS: dict[str, Callable[[int, int], int]] = {
    "auc": min,  # as many pairs that share no video
    "balanced_accuracy": min,
    "accuracy": lambda reals, fakes: reals + fakes,
    "recall_fake": lambda reals, fakes: fakes,
    "recall_real": lambda reals, fakes: reals,
}


def equal_mass_bins(score: Float64[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return each score's bin for ECE: of about equal mass, equal scores together."""
    starts = np.arange(1, ECE_BINS) * len(score) // ECE_BINS
    edges = np.partition(score, starts)[starts]
    bins: np.ndarray = np.searchsorted(edges, score, side="right")
    return bins


def _tables(
    sample: Sample, names: Iterable[str], threshold: float, clusters: Clusters
) -> dict[str, Shaped[np.ndarray, "clusters cells"]]:
    """Return what each cluster adds to the sums that metrics are made of."""
    of, count = clusters.of[sample.video], len(clusters.stratum)
    found: dict[str, np.ndarray] = {}

    def add(name: str, cell: np.ndarray | int, cells: int, weight: np.ndarray | None) -> None:
        flat = np.bincount(of * cells + cell, weight, minlength=count * cells)
        found[name] = flat.reshape(count, cells)

    for name in names:
        if name in COUNTED and "called" not in found:
            add("called", 2 * sample.label + (sample.score >= threshold), 4, None)
        if name in AVERAGED and "n" not in found:
            add("n", 0, 1, None)
        if name == "log_loss":
            add(name, 0, 1, sample.loss)
        elif name == "brier":
            add(name, 0, 1, (sample.score - sample.label) ** 2)
        elif name == "ece":
            add(name, equal_mass_bins(sample.score), ECE_BINS, sample.score - sample.label)
    return found


def _value(name: str, sums: dict[str, Sums]) -> Values:
    """Return a metric that is made of sums; NaN where it is undefined."""
    with np.errstate(invalid="ignore"):
        if name in COUNTED:
            return COUNTED[name](sums["called"])
        mean: Values = AVERAGED[name](sums[name]) / sums["n"][:, 0]
        return mean


# --- values and intervals -------------------------------------------------------------------------


def metrics_of(
    sample: Sample,
    names: Sequence[str],
    draws: Draws,
    *,
    threshold: float = 0.5,
    clusters: Clusters | None = None,
) -> dict[str, Metric]:
    """Return metrics with percentile intervals over resampled clusters.

    What is undefined is None with a reason. ECE's bins are those of the whole sample in every
    resample. Of few examples it is too high, and so is its interval.

    Args:
      sample: What is counted.
      names: Of `RANKED`, `COUNTED` and `AVERAGED`.
      draws: How intervals are made.
      threshold: Of `COUNTED`.
      clusters: What is drawn; None: videos, stratified by label.
    """
    drawn = clusters or video_clusters(sample.video_label, draws.seed)
    independent = [
        int(np.count_nonzero(np.bincount(drawn.of[sample.video_label == label])))
        for label in (0, 1)
    ]
    counts = np.bincount(sample.label, minlength=2)
    why = {name: _why_undefined(name, counts, sample.unit) for name in names}
    defined = [name for name in names if not why[name]]
    ranked = [name for name in defined if name in RANKED]
    tables = _tables(sample, defined, threshold, drawn)
    sums = {name: table.sum(axis=0, keepdims=True) for name, table in tables.items()}
    points = {name: float(_value(name, sums)[0]) for name in defined if name not in RANKED}
    ranking = None
    if ranked:
        ranking = Ranking(sample.label, sample.score, drawn.of[sample.video])
        whole = ranking.whole()
        points |= {name: float(RANKED[name](whole)[0]) for name in ranked}
        del whole  # of ten million frames 320 MB
    why |= {name: UNDEFINED[name] for name, value in points.items() if np.isnan(value)}
    defined = [name for name in defined if not why[name]]
    noted = {name: _no_interval(name, independent, draws, clusters is None) for name in defined}
    values: dict[str, Values] = {}
    if any(not note for note in noted.values()):
        again = bootstrap(
            ranking, drawn.stratum, ranked, tables, resamples=draws.resamples, seed=draws.seed
        )
        values = again.ranked | {n: _value(n, again.sums) for n in defined if n not in ranked}
    found: dict[str, Metric] = {}
    for name in names:
        if why[name]:
            found[name] = Metric(value=None, n=len(sample), reason=why[name])
            continue
        low = high = None
        if not noted[name]:
            low, high, noted[name] = _interval(name, points[name], values[name], independent, draws)
        found[name] = Metric(
            value=points[name], low=low, high=high, n=len(sample), reason=noted[name]
        )
    return found


def _why_undefined(name: str, counts: Int[np.ndarray, " 2"], unit: str) -> str:
    needed = NEEDS.get(name, ()) if counts.any() else (0, 1)
    absent = [CLASSES[label] for label in needed if not counts[label]]
    if absent:
        return f"no {' and no '.join(absent)} {unit}"
    least = LEAST_REALS.get(name, 0)
    if counts[0] < least:
        return f"{counts[0]} real {unit}; this false-positive rate needs {least}"
    return ""


def _no_interval(name: str, independent: Sequence[int], draws: Draws, videos: bool) -> str:
    if draws.resamples <= 0:
        return "no interval: no resampling was asked for"
    needed = NEEDS.get(name, (0, 1))
    single = [CLASSES[label] for label in needed if independent[label] == 1]
    what = "video" if videos else "person"
    return f"no interval: only 1 {' and 1 '.join(single)} {what}" if single else ""


def _interval(
    name: str, value: float, values: Values, independent: Sequence[int], draws: Draws
) -> tuple[float | None, float | None, str]:
    """Return the ends of an interval and why there is none."""
    known = values[~np.isnan(values)]
    if len(known) < LEAST_DEFINED * len(values):
        return None, None, f"no interval: undefined in {len(values) - len(known)} of the resamples"
    if np.ptp(known) > 1e-12:
        low, high = percentile_interval(known, draws.confidence)
        # Chance alone makes ECE larger, and a resample has that of the data and its own.
        excess = float(np.mean(known)) - value if name == "ece" else 0.0
        return max(low - excess, 0.0), high - excess, ""
    # Every resample of perfect (or always wrong) scores is perfect, which is no certainty. The
    # interval of Clopper and Pearson (1934) has the values under which this was not too unlikely.
    if name in TRIALS and value in (0.0, 1.0):
        least = ((1 - draws.confidence) / 2) ** (1 / TRIALS[name](*independent))
        return (least, 1.0, "") if value else (0.0, 1 - least, "")
    return None, None, "no interval: the same in every resample"


def prevalence(sample: Sample) -> Metric:
    """Return the share of fakes, which is the average precision of chance."""
    if not len(sample):
        return Metric(value=None, reason=f"no {sample.unit}")
    share = float(np.mean(sample.label == 1))
    return Metric(value=share, n=len(sample), reason="no interval: the dataset's authors chose it")


def video_auc_of(
    label: Int[np.ndarray, " rows"],
    p_fake: Float[np.ndarray, " rows"],
    video: Shaped[np.ndarray, " rows"],
) -> float | None:
    """Return the video-level AUC of per-frame scores; None where a class is missing.

    `video` must name videos uniquely over all datasets. Rows with a NaN `p_fake` are left out.
    """
    _, first, code = np.unique(video, return_index=True, return_inverse=True)
    mean, frames = aggregate_frames(code, np.asarray(p_fake), len(first))
    seen = frames > 0
    labels = np.asarray(label)[first][seen]
    if len(np.unique(labels)) < 2:
        return None
    return float(auc(Ranking(labels, mean[seen], np.flatnonzero(seen)).whole())[0])
