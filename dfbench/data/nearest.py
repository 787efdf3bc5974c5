"""The nearest of many vectors: what an audit compares clips by, and `similar` finds pictures by."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float32, Int, Shaped

Metric = Literal["cosine", "euclidean"]
_BLOCK = 2**24  # products at a time: 64 MiB

Vectors = Float32[np.ndarray, "n f"]


def nearest(
    known: Float32[np.ndarray, "known f"],
    asked: Float32[np.ndarray, "asked f"],
    *,
    top: int = 1,
    groups: Shaped[np.ndarray, " known"] | None = None,
) -> tuple[Int[np.ndarray, "asked top"], Float32[np.ndarray, "asked top"]]:
    """Return for each row of `asked` the rows of `known` with the largest products, and these.

    Of equal ones the first. Where nothing more is known the products are -inf.

    Args:
      known: what is searched.
      asked: what is searched for.
      top: rows to find.
      groups: of `known`; of each group only the best row is found.
    """
    at = np.zeros((len(asked), top), np.int64)
    product = np.full((len(asked), top), -np.inf, np.float32)
    block = max(1, _BLOCK // max(1, len(known)))
    for start in range(0, len(asked) if len(known) else 0, block):
        products = asked[start : start + block] @ known.T
        here = slice(start, start + len(products))
        for place in range(top):
            best = products.argmax(axis=1)
            at[here, place] = best
            product[here, place] = np.take_along_axis(products, best[:, None], axis=1)[:, 0]
            if place + 1 == top:
                break
            if groups is None:
                np.put_along_axis(products, best[:, None], -np.inf, axis=1)
            else:
                products[groups[best][:, None] == groups] = -np.inf
    return at, product


def most_similar(
    known: Float32[np.ndarray, "known f"],
    asked: Float32[np.ndarray, "asked f"],
    metric: Metric,
    *,
    top: int,
    groups: Shaped[np.ndarray, " known"] | None = None,
) -> tuple[Int[np.ndarray, "asked top"], Float32[np.ndarray, "asked top"]]:
    """Return for each row of `asked` the rows of `known` that are most similar, best first.

    The similarity is the cosine, or 1 / (1 + Euclidean distance): 1 of equal vectors either way.
    Where nothing more is known it is -inf. Arguments as for `nearest`.
    """
    if metric == "cosine":
        at, found = nearest(unit(known), unit(asked), top=top, groups=groups)
        return at, np.minimum(found, 1)  # rounding
    if not len(known):
        return nearest(known, asked, top=top)
    # |k - a| is smallest where k a - |k|^2 / 2 is largest. About the mean less is lost to rounding,
    # and the distances of what is found are taken anew.
    middle = known.mean(axis=0)
    moved, half = known - middle, np.float32(-0.5)
    lengths = half * np.square(moved).sum(axis=1, keepdims=True)
    ones = np.ones((len(asked), 1), np.float32)
    at, found = nearest(
        np.concatenate([moved, lengths], axis=1),
        np.concatenate([asked - middle, ones], axis=1),
        top=top,
        groups=groups,
    )
    distances = np.linalg.norm(known[at] - asked[:, None], axis=2)
    similarity = np.where(np.isneginf(found), found, 1 / (1 + distances)).astype(np.float32)
    order = np.argsort(-similarity, axis=1, kind="stable")
    return np.take_along_axis(at, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def unit(rows: Vectors) -> Vectors:
    """Return rows scaled to length 1; zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
