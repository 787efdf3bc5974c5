from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from support.train import Batches

from dfbench.train.ahead import AHEAD, Ahead
from dfbench.train.parallel import place


class Counted(Batches):
    """Batches that tell how many were asked for, and how many were sent."""

    def __init__(self) -> None:
        super().__init__(8, side=8)
        self.sent = 0

    def place(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        self.sent += 1
        return place(batch)


def _images(batches: Any, count: int) -> list[np.ndarray]:
    return [np.asarray(next(batches)["image"]).reshape(8, 8, 8, 3) for _ in range(count)]


def test_batches_are_sent_before_they_are_wanted() -> None:
    batches = Counted()
    ahead = Ahead(batches, batches.place)
    assert batches.sent == 0
    next(ahead)
    assert batches.sent == 1 + AHEAD
    next(ahead)
    assert batches.sent == 2 + AHEAD


def test_order_and_position_are_those_of_the_batches() -> None:
    wanted = _images(Batches(8, side=8), 6)
    batches = Counted()
    ahead = Ahead(batches, batches.place)
    start = ahead.get_state()
    np.testing.assert_array_equal(_images(ahead, 3), wanted[:3])
    position = ahead.get_state()
    assert position == {"number": 3}
    np.testing.assert_array_equal(_images(ahead, 2), wanted[3:5])
    ahead.set_state(position)
    assert ahead.get_state() == position
    np.testing.assert_array_equal(_images(ahead, 3), wanted[3:])
    ahead.set_state(start)
    np.testing.assert_array_equal(_images(ahead, 1), wanted[:1])


def test_a_batch_has_a_share_on_each_device() -> None:
    batch = next(Ahead(Batches(16, side=8), place))
    devices = jax.local_device_count()
    assert batch["image"].shape == (devices, 16 // devices, 8, 8, 3)
    assert len(batch["image"].sharding.device_set) == devices
    assert place(batch)["image"] is batch["image"]
