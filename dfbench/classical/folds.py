"""Folds of the cross-validation, the same for every classifier."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Int32, Shaped
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from dfbench.data.view import SplitView
from dfbench.errors import UserError

Fold = tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]


def video_groups(view: SplitView) -> Shaped[np.ndarray, " n"]:
    """Return a name a crop: its video, or the real one that its video was made from."""
    original, video = view.text("original"), view.text("video")
    return np.char.add(np.char.add(view.dataset, " "), np.where(original != "", original, video))


def make_folds(
    labels: Int32[np.ndarray, " n"],
    groups: Shaped[np.ndarray, " n"] | None,
    *,
    folds: int,
    seed: int,
) -> list[Fold]:
    """Return the rows to train and to test on, of each fold; both classes are in each.

    Args:
      labels: Of the crops.
      groups: What stays in one fold; None: nothing but the crop, as in the report of the UADFV lab.
      folds: How many.
      seed: Of the order.

    Raises:
      UserError: too few groups of a class.
    """
    few = min(
        len(
            np.unique(
                np.arange(len(labels))[labels == k] if groups is None else groups[labels == k]
            )
        )
        for k in (0, 1)
    )
    message = (
        f"{folds} folds need as many training videos of each class, and there are {few} of one; "
        "fewer folds: --set classical.folds=N"
    )
    if few < folds:
        raise UserError(message)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    found: list[Fold] = list(splitter.split(np.zeros(len(labels)), labels, groups))
    for part in (part for fold in found for part in fold):
        if len(np.unique(labels[part])) < 2:
            raise UserError(message)
    return found
