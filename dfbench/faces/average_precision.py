"""How well boxes are found: recall, precision and average precision as in Pascal VOC 2010.

scikit-learn's `average_precision_score` is not this one: it ranks what was found, and a box that
nobody found is in no ranking; nor does it take the best precision at or above a recall.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Boxes = Float[np.ndarray, "boxes 4"]  # x0 y0 x1 y1, px
Scores = Float[np.ndarray, "boxes"]
Flags = Bool[np.ndarray, "boxes"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a detector found in one image, beside what there is."""

    boxes: Boxes
    scores: Scores
    truth: Boxes
    difficult: Flags  # of `truth`: whether found or not, it counts for nothing


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Counts and rates over images; a rate without a denominator is None."""

    truths: int  # annotated boxes but the difficult ones
    detections: int  # but those of difficult boxes
    hits: int
    average_precision: float | None

    @property
    def recall(self) -> float | None:
        """Part of the annotated boxes that was found, at whatever score."""
        return self.hits / self.truths if self.truths else None

    @property
    def precision(self) -> float | None:
        """Part of what was found that is annotated."""
        return self.hits / self.detections if self.detections else None


def overlaps(one: Boxes, other: Boxes) -> Float[np.ndarray, "one other"]:
    """Return the intersection over the union of each box of `one` with each of `other`."""
    corner = np.maximum(one[:, None, :2], other[None, :, :2])
    opposite = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.prod(np.clip(opposite - corner, 0, None), axis=-1)
    total = _areas(one)[:, None] + _areas(other)[None] - shared
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=total > 0))


def _areas(boxes: Boxes) -> Scores:
    return np.asarray(np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=-1))


def hits_of(found: Found, threshold: float) -> tuple[Flags, Flags]:
    """Match the boxes of one image, best scores first, as VOC's development kit does.

    A box belongs to the annotated one that it overlaps most. It is a hit where that is by
    `threshold` at least and no better-scored box took it before.

    Returns:
      Of each found box: whether it is a hit, and whether it counts (a difficult one does not).
    """
    hits = np.zeros(len(found.boxes), bool)
    counts = np.ones(len(found.boxes), bool)
    if not len(found.truth):
        return hits, counts
    shared = overlaps(found.boxes, found.truth)
    taken: set[int] = set()
    for box in np.argsort(-found.scores, kind="stable"):
        truth = int(shared[box].argmax())
        if shared[box, truth] < threshold:
            continue
        if found.difficult[truth]:
            counts[box] = False
        elif truth not in taken:
            taken.add(truth)
            hits[box] = True
    return hits, counts


def quality(images: Iterable[Found], threshold: float = 0.5) -> Quality:
    """Return counts and average precision over all images together.

    Args:
      images: an entry an image; also those without boxes, where all that is found is wrong.
      threshold: least overlap of a hit.
    """
    scores, hits, truths = [np.zeros(0)], [np.zeros(0, bool)], 0
    for found in images:
        hit, counts = hits_of(found, threshold)
        scores.append(found.scores[counts])
        hits.append(hit[counts])
        truths += int((~found.difficult).sum())
    hit = np.concatenate(hits)
    return Quality(
        truths=truths,
        detections=len(hit),
        hits=int(hit.sum()),
        average_precision=average_precision(np.concatenate(scores), hit, truths),
    )


def average_precision(scores: Scores, hits: Flags, truths: int) -> float | None:
    """Return the area under the curve of the best precision at each recall or above it.

    Boxes of one score come in together, so that their order changes nothing.

    Args:
      scores: of the boxes found.
      hits: which of them are right.
      truths: boxes that there are to find; without one the result is None.
    """
    if not truths:
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    right = np.cumsum(hits[order])[last]
    best = np.maximum.accumulate((right / (last + 1))[::-1])[::-1]
    gained = np.diff(right / truths, prepend=0.0)
    return float(gained @ best)
