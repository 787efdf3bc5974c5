from __future__ import annotations

import grain
import numpy as np
import pytest

from dfbench.data.order import Order, Part, dealt
from dfbench.processes import Share

SIZES = [(1, 5), (40, 7), (700, 30)]
SHARES = [(0.5, 0.5), (0.1, 0.9), (1 / 3, 2 / 3), (0.25, 0.001)]


def made(sizes: tuple[int, ...], shares: tuple[float, ...]) -> list[Part]:
    starts = np.cumsum([0, *sizes])
    return [
        Part(np.arange(start, start + size), share, 0.0)
        for start, size, share in zip(starts[:-1], sizes, shares, strict=True)
    ]


def by_grain(parts: list[Part], seed: int) -> grain.MapDataset:
    shuffled = [
        grain.MapDataset.source(part.rows).seed(seed + n).shuffle().repeat(num_epochs=None)
        for n, part in enumerate(parts)
    ]
    weights = [part.share for part in parts]
    return grain.MapDataset.mix(shuffled, weights=weights) if len(parts) > 1 else shuffled[0]


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("sizes", SIZES)
def test_order_is_grains(sizes: tuple[int, ...], shares: tuple[float, ...], seed: int) -> None:
    for parts in (made(sizes, shares), made((*sizes, 9), (*shares, 0.4)), made(sizes[:1], (1.0,))):
        batches, wanted = Order(parts, seed, 8, Share(0, 1)), by_grain(parts, seed)
        for batch in (0, 1, 30, 12345):
            assert batches[batch].tolist() == [int(wanted[8 * batch + n]) for n in range(8)]


def test_processes_share_each_batch() -> None:
    parts = made((40, 7), (0.5, 0.5))
    whole = Order(parts, 3, 12, Share(0, 1))
    shares = [Order(parts, 3, 12, Share(part, 3)) for part in range(3)]
    for batch in (0, 5):
        np.testing.assert_array_equal(np.concatenate([own[batch] for own in shares]), whole[batch])


def test_draws_are_dealt_by_weight_and_none_is_left_out() -> None:
    part, place = dealt(np.arange(800), [100, 300])
    for number, count in enumerate((200, 600)):
        assert sorted(place[part == number]) == list(range(count))
    ahead = np.cumsum(part == 0) - np.arange(1, 801) / 4
    assert np.abs(ahead).max() <= 1  # never more than one draw before or behind
