"""Bootstrap over videos or identities: metrics of many resamples at once.

A resample is a row of whole weights, one a cluster (a video, or all videos of a person): how often
it was drawn. Frames take the weight of their video, so intervals of frame metrics account for the
likeness of a video's frames. Videos are drawn with replacement and stratified by label: every
resample has as many real and as many fake videos as the data, so no resample lacks a class, and
the intervals are conditional on the class counts, which a dataset's authors chose.

Two roundings make large tables possible; neither touches the metric itself.
- Of a class with more than `CLUSTERS` videos, videos are put together at random into that many
  groups of equal size, which are drawn as wholes. Such groups are as independent as videos are;
  the interval's length is then uncertain by 1.6 % (1 / sqrt(2 CLUSTERS)), less than drawing 1,000
  times makes it.
- Of more than `GROUPS` different scores, neighbours share one of `BINS` bins of equal mass. The
  resampled values are shifted by what that does to the metric of all data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Int32, Int64, Num

from dfbench.eval.roc import RANKED, Curve

CHUNK_ELEMENTS = 1 << 18  # weights held at once; arrays of it take 2 MiB and stay in the cache
CLUSTERS = 1 << 11
GROUPS = 1 << 15
BINS = 1 << 12


@dataclass(frozen=True, eq=False)
class Clusters:
    """What is drawn: the cluster of each video, and the stratum of each cluster."""

    of: Int[np.ndarray, " videos"]
    stratum: Int[np.ndarray, " clusters"]


def video_clusters(label: Int[np.ndarray, " videos"], seed: int) -> Clusters:
    """Return videos, or groups of them, stratified by label."""
    return _clusters(np.arange(len(label)), label, seed)


def person_clusters(person: Int[np.ndarray, " videos"], seed: int) -> Clusters:
    """Return people by their videos' numbers; not stratified, since one is in both classes."""
    people = np.zeros(int(person.max(initial=-1)) + 1, np.int64)
    return _clusters(person, people, seed)


def _clusters(
    of: Int[np.ndarray, " videos"], stratum: Int[np.ndarray, " units"], seed: int
) -> Clusters:
    """Put the units of a large stratum together at random."""
    cluster = np.empty(len(stratum), np.int64)
    kept: list[int] = []
    rng = np.random.default_rng(seed % 2**64)
    for value in np.unique(stratum):
        units = np.flatnonzero(stratum == value)
        size = min(len(units), CLUSTERS)
        place = np.arange(len(units)) if size == len(units) else rng.permutation(len(units)) % size
        cluster[units] = sum(kept) + place
        kept.append(size)
    return Clusters(cluster[of], np.repeat(np.unique(stratum), kept))


def resample_weights(
    stratum: Int[np.ndarray, " clusters"], resamples: int, seed: int, rows: int
) -> Iterator[Int64[np.ndarray, "chunk clusters"]]:
    """Yield the weights of `resamples` bootstrap resamples in chunks.

    Args:
      stratum: Of each cluster; each keeps its number of clusters. For videos their label.
      resamples: How many in all.
      seed: Equal seeds give equal weights, whatever the size of the chunks.
      rows: Elements that a caller will hold for each resample; bounds the size of a chunk.
    """
    values = np.unique(stratum)
    strata = [np.flatnonzero(stratum == value) for value in values]
    # A generator each: the draws of a stratum do not depend on the others, nor on the chunks.
    generators = [np.random.default_rng([seed % 2**64, int(value)]) for value in values]
    chunk = max(1, CHUNK_ELEMENTS // max(rows, len(stratum), 1))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        weights = np.zeros((count, len(stratum)), np.int64)
        for members, rng in zip(strata, generators, strict=True):
            size = len(members)
            drawn = rng.integers(size, size=(count, size))
            drawn += np.arange(0, count * size, size)[:, None]
            weights[:, members] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(
                count, size
            )
        yield weights


class Ranking:
    """Examples in falling order of their score, equal scores as one group.

    Made once for a sample and used for every resample.
    """

    def __init__(
        self,
        label: Int[np.ndarray, " n"],
        score: Float[np.ndarray, " n"],
        cluster: Int[np.ndarray, " n"],
    ) -> None:
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        last = np.r_[ordered[1:] != ordered[:-1], True][: len(order)]
        self._ends = np.flatnonzero(last)  # of the groups
        self._cluster = cluster[order]
        self._fake: Int64[np.ndarray, " n"] = (label[order] == 1).astype(np.int64)

    @property
    def rows(self) -> int:
        """Number of examples."""
        return len(self._cluster)

    @property
    def size(self) -> int:
        """Number of groups."""
        return len(self._ends)

    def whole(self) -> Curve:
        """Return the curve of the data."""
        return self._curve(np.ones((1, self.rows), np.int64))

    def curve(self, weights: Int[np.ndarray, "chunk clusters"]) -> Curve:
        """Return the curves of resamples."""
        return self._curve(np.take(weights.astype(np.int64, copy=False), self._cluster, axis=1))

    def _curve(self, drawn: Int64[np.ndarray, "chunk n"]) -> Curve:
        fake = drawn * self._fake
        drawn -= fake
        if self.size == self.rows:
            return Curve.of(fake, drawn)
        hits, alarms = (np.cumsum(part, axis=1)[:, self._ends] for part in (fake, drawn))
        return Curve(np.diff(hits, prepend=0), np.diff(alarms, prepend=0), hits, alarms)

    def groups(
        self, weights: Int[np.ndarray, "chunk clusters"]
    ) -> tuple[Int64[np.ndarray, "chunk groups"], Int64[np.ndarray, "chunk groups"]]:
        """Return the weight of fakes and of reals in each group of equal scores."""
        curve = self.curve(weights)
        return curve.fake, curve.real

    def binned(self, clusters: int) -> Binned:
        """Return the same in `BINS` bins of about equal mass; equal scores stay together."""
        ends = self._ends + 1
        sizes = np.diff(ends, prepend=0)
        of_group = (2 * ends - sizes) * BINS // (2 * self.rows)  # by their middle
        cell = np.repeat(of_group.astype(np.int32), sizes)
        cell += self._cluster.astype(np.int32) * np.int32(BINS)
        return Binned(*(_table(cell[self._fake == label], clusters) for label in (1, 0)))


def _table(
    cell: Int32[np.ndarray, " n"], clusters: int
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows bins"]]:
    """Return the clusters that have examples, and how many each has in each bin."""
    table = np.bincount(cell, minlength=clusters * BINS).reshape(clusters, BINS)
    rows = np.flatnonzero(table.any(axis=1))
    # In float32 sums are exact up to 2**24; no cluster is drawn 16 times.
    small = table.sum(axis=0).max(initial=0) < 1 << 20
    return rows, table[rows].astype(np.float32 if small else np.float64)


@dataclass(frozen=True, eq=False)
class Binned:
    """Of each class the clusters that have it, and how many of its examples are in each bin."""

    fake: tuple[Int[np.ndarray, " f"], Float[np.ndarray, "f bins"]]
    real: tuple[Int[np.ndarray, " r"], Float[np.ndarray, "r bins"]]
    rows = BINS // 16  # counted as less, since products of matrices like large chunks

    def curve(self, weights: Int[np.ndarray, "chunk clusters"]) -> Curve:
        """Return the curves of resamples."""
        fake, real = (
            (weights[:, rows].astype(table.dtype) @ table).astype(np.int64)
            for rows, table in (self.fake, self.real)
        )
        return Curve.of(fake, real)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Values over the resamples."""

    ranked: dict[str, Float64[np.ndarray, " resamples"]]
    sums: dict[str, Float64[np.ndarray, "resamples cells"]]


def bootstrap(
    ranking: Ranking | None,
    stratum: Int[np.ndarray, " clusters"],
    names: Sequence[str],
    sums: dict[str, Num[np.ndarray, "clusters cells"]],
    *,
    resamples: int,
    seed: int,
) -> Resampled:
    """Return metrics, and sums over clusters, of resampled clusters.

    Args:
      ranking: The examples; None: no metric of the ROC curve is wanted.
      stratum: Of each cluster.
      names: Of `RANKED`.
      sums: Tables of what each cluster adds.
      resamples: How many.
      seed: Of the draws.
    """
    _keep_memory()
    shift = dict.fromkeys(names, 0.0)
    source: Ranking | Binned | None = ranking if names else None
    if isinstance(source, Ranking) and source.size > GROUPS:
        binned = source.binned(len(stratum))
        exact, rough = source.whole(), binned.curve(np.ones((1, len(stratum)), np.int64))
        shift = {name: float((RANKED[name](exact) - RANKED[name](rough))[0]) for name in names}
        source = binned
        del exact, rough
    ranked: dict[str, list[np.ndarray]] = {name: [] for name in names}
    added: dict[str, list[np.ndarray]] = {name: [] for name in sums}
    rows = source.rows if source is not None else 1
    for weights in resample_weights(stratum, resamples, seed, rows):
        if source is not None:
            curve = source.curve(weights)
            for name in names:
                ranked[name].append(np.clip(RANKED[name](curve) + shift[name], 0, 1))
        for name, table in sums.items():
            # Not a product of matrices, whose order of summation is the library's.
            added[name].append(np.einsum("dc,cs->ds", weights, table))
    return Resampled(
        {name: np.concatenate(v) for name, v in ranked.items()},
        {name: np.concatenate(v) for name, v in added.items()},
    )


def _keep_memory() -> None:
    """Let the C library keep the memory of freed arrays; asking for it anew takes half the time.

    glibc returns what is larger than the largest block that was freed so far, up to 32 MiB.
    """
    np.empty(4_000_000)


def percentile_interval(
    values: Float64[np.ndarray, " resamples"], confidence: float
) -> tuple[float, float]:
    """Return the central interval that holds `confidence` of the values (Efron 1979)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
