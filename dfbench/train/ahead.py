"""Batches on the devices before they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

AHEAD = 2  # batches


class BatchIterator(Protocol):
    """Endless training batches, as Grain's `DatasetIterator` gives them."""

    def __next__(self) -> Mapping[str, np.ndarray]:
        """Return the next batch: image, label, index, mask."""

    def get_state(self) -> Any:
        """Return the position, JSON-able or bytes."""

    def set_state(self, state: Any) -> None:
        """Go back to a position."""


class Ahead:
    """Sends batches to the devices while these work on the ones before.

    Args:
        batches: Where they come from.
        place: Sends a batch, without waiting.
    """

    def __init__(
        self,
        batches: BatchIterator,
        place: Callable[[Mapping[str, np.ndarray]], dict[str, jax.Array]],
    ) -> None:
        self._batches, self._place = batches, place
        self._state = batches.get_state()
        self._waiting: deque[tuple[dict[str, jax.Array], Any]] = deque()

    def __next__(self) -> dict[str, jax.Array]:
        """Return the next batch, whose data may still be on its way."""
        while len(self._waiting) <= AHEAD:
            placed = self._place(next(self._batches))
            self._waiting.append((placed, self._batches.get_state()))
        batch, self._state = self._waiting.popleft()
        return batch

    def get_state(self) -> Any:
        """Return the position after the last batch that was returned."""
        return self._state

    def set_state(self, state: Any) -> None:
        """Go back to a position."""
        self._waiting.clear()
        self._batches.set_state(state)
        self._state = state
