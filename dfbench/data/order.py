"""Which crops a training sees when: shuffled anew in each epoch, classes and sources mixed.

The order depends on the seed alone. It is that of Grain's `shuffle` and `mix`, which find it a crop
at a time in a tenth of the time of decoding it; here the crops of a batch are found together.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import jaxtyping as jt
import numpy as np

from dfbench.config import Balance
from dfbench.data.view import SplitView
from dfbench.errors import UserError
from dfbench.processes import Share

Rows = jt.Int[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Part:
    """Crops that are drawn alike."""

    rows: Rows
    share: float  # of all draws
    fakes: float  # share of fakes among its draws


class Order(grain.MapDataset):  # type: ignore[misc]
    """The rows of each batch that one process reads, without an end."""

    def __init__(self, parts: Sequence[Part], seed: int, batch_size: int, share: Share) -> None:
        super().__init__()
        self._rows = [part.rows for part in parts]
        least = min(part.share for part in parts)
        self._weights = [int(part.share * (100 / least)) for part in parts]
        # What Grain makes of a seed for the shuffling right behind it.
        self._seeds = [
            int(np.random.SeedSequence((seed + offset, 1)).generate_state(1)[0])
            for offset in range(len(parts))
        ]
        self._batch_size, self._own = batch_size, share.size(batch_size)
        self._start = share.part * self._own

    def __len__(self) -> int:
        return sys.maxsize // self._batch_size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        first = index * self._batch_size + self._start
        part, place = dealt(np.arange(first, first + self._own), self._weights)
        found = np.empty(self._own, np.int64)
        for number, rows in enumerate(self._rows):
            mine = part == number
            found[mine] = rows[_shuffled(place[mine], len(rows), self._seeds[number])]
        return found


def dealt(draws: Rows, weights: Sequence[int]) -> tuple[Rows, Rows]:
    """Deal draws to parts, as evenly as their weights allow.

    Returns:
      the part of each draw, and which of the part's own draws it is.
    """
    part, place = np.zeros_like(draws), np.zeros_like(draws)
    before, after, left = draws, draws + 1, sum(weights)  # draws that the parts to come share
    for number, weight in enumerate(weights):
        left_over = [count * (left - weight) // left for count in (before, after)]
        mine = after - left_over[1] > before - left_over[0]
        part[mine], place[mine] = number, (before - left_over[0])[mine]
        (before, after), left = left_over, left - weight
    return part, place


def _shuffled(draws: Rows, size: int, seed: int) -> list[int]:
    """Return places in a list that is gone through again and again, each time in another order."""
    epochs, places = np.divmod(draws, size)
    return [
        grain.experimental.index_shuffle(
            place, max_index=size - 1, seed=(seed + epoch) % 2**32, rounds=4
        )
        for epoch, place in zip(epochs.tolist(), places.tolist(), strict=True)
    ]


def parts_of(view: SplitView, balance: Balance, mix: Mapping[str, float]) -> list[Part]:
    """Return what is mixed: classes, and sources where `mix` gives their shares.

    Raises:
      UserError: a class is missing in the split, or `mix` does not name its sources.
    """
    labels, names = view.labels, ", ".join(d.name for d in view.datasets)
    if len(np.unique(labels)) < 2:
        missing = "real" if labels.all() else "fake"
        raise UserError(f"{names}: the split '{view.split}' has no {missing} crop to train on")
    where: jt.Shaped[np.ndarray, " n"] = view.source if mix else np.zeros(len(labels), np.str_)
    shares = dict(mix) or {"": 1.0}
    if set(shares) != set(where.tolist()):
        raise UserError(
            f"training.mix names {', '.join(sorted(mix))}, and {names} is made of "
            f"{', '.join(sorted(set(where.tolist())))}: give each of these a share"
        )
    total = sum(shares.values())
    if balance != "sampling":
        rows = {name: np.flatnonzero(where == name) for name in sorted(shares)}
        return [Part(r, shares[n] / total, float(labels[r].mean())) for n, r in rows.items()]
    parts = []
    for label in (0, 1):
        found = {name: np.flatnonzero((where == name) & (labels == label)) for name in shares}
        # A source of fakes alone leaves its share of the reals to the others.
        there = sum(shares[name] for name, rows in found.items() if len(rows))
        parts += [
            Part(found[name], 0.5 * shares[name] / there, float(label))
            for name in sorted(found)
            if len(found[name])
        ]
    return parts
