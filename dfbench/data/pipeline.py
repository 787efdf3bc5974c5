"""Prepared crops to batches, by Grain: deterministic order, class balance, masked padding.

A batch is a dictionary of NumPy arrays: `image` uint8 [batch, size, size, 3] (RGB; 6 channels, with
the frame before behind, where that was prepared), `label` int32 [batch] (1 fake), `index` int32
[batch] (row of the split's frame table) and `mask` float32 [batch] (0 for padding). Images stay
uint8 until they are on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import grain
import jaxtyping as jt
import joblib
import numpy as np

from dfbench.config import Balance
from dfbench.data.crop_reader import CropReader
from dfbench.data.order import Order, parts_of
from dfbench.data.view import SplitView
from dfbench.degradations import Degradation
from dfbench.processes import Share, own_share
from dfbench.signals import follow_parent

MOST_AHEAD = 2**30  # bytes of batches that are made ahead, about

Batch = dict[str, np.ndarray]


class _Load(grain.transforms.Map):  # type: ignore[misc]
    """Rows of a split -> a batch of them, filled up to `size` by rows of mask 0."""

    def __init__(self, view: SplitView, size: int, degradation: Degradation | None = None) -> None:
        self._reader, self._labels = CropReader(view, degradation), view.labels
        self._size = size

    def map(self, rows: jt.Int[np.ndarray, " n"]) -> Batch:
        """Read and decode."""
        batch = {
            "label": self._labels[rows],
            "index": rows.astype(np.int32),
            "mask": np.ones(len(rows), np.float32),
        }
        return {
            "image": self._reader.images(rows, self._size),
            **{name: _filled(values, self._size) for name, values in batch.items()},
        }


def train_batches(
    view: SplitView,
    *,
    batch_size: int,
    seed: int,
    balance: Balance,
    mix: Mapping[str, float] | None = None,
    workers: int = 0,
    share: Share | None = None,
) -> TrainBatches:
    """Return an endless iterator of shuffled batches; `get_state` and `set_state` resume it.

    The order depends on the seed alone, not on threads, workers or processes. With
    `balance="sampling"` half of the crops are real, whatever the classes' sizes; `mix` gives the
    shares of the sources. Of each batch only `share`, by default this process's, is read.

    Raises:
      UserError: a class is missing in the split, `mix` does not name its sources, or the batch
        cannot be split over the processes.
    """
    share = share or own_share()
    own = share.size(batch_size)
    order = Order(parts_of(view, balance, mix or {}), seed, batch_size, share)
    return TrainBatches(order.map(_Load(view, own)), _bytes(view, own), workers)


class TrainBatches:
    """Endless batches, resumed at any of them.

    Their position is the number of batches before, and not Grain's own, which depends on workers.
    """

    def __init__(self, dataset: grain.MapDataset, size: int, workers: int) -> None:
        self._dataset, self._size, self._workers = dataset, size, workers
        self._taken = 0
        self._batches: Iterator[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._batches is None:
            left = self._dataset[self._taken :]
            self._batches = iter(_iterable(left, self._size, self._workers))
        batch = next(self._batches)
        self._taken += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """Return the position."""
        return {"next_index": self._taken}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Go to a position."""
        self._taken, self._batches = state["next_index"], None


def _iterable(dataset: grain.MapDataset, size: int, workers: int) -> grain.IterDataset:
    """Make batches of `size` bytes ahead: by two threads a core, or by processes with some each."""
    parts = max(workers, 1)  # two, since one may wait for Python's lock
    threads = max(1, min(-(-2 * joblib.cpu_count() // parts), MOST_AHEAD // size // parts))
    iterable = dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1)
    )
    if workers:
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers want absl's flags, we use none
        options = grain.MultiprocessingOptions(num_workers=workers)
        iterable = iterable.mp_prefetch(options, worker_init_fn=follow_parent)
    return iterable


def _bytes(view: SplitView, batch_size: int) -> int:
    recipe = view.datasets[0].manifest.recipe
    return batch_size * recipe.size**2 * (6 if recipe.before else 3)


def eval_batches(
    view: SplitView,
    *,
    batch_size: int,
    degradation: Degradation | None = None,
    share: Share | None = None,
) -> Iterator[Batch]:
    """Yield every crop of the split once, in order; the last batch is padded with mask 0.

    Of each batch only `share`, by default this process's, is read and yielded. Threads decode: to
    start processes takes longer than most splits, and a training would do it in each epoch.

    Raises:
      UserError: the batch cannot be split over the processes.
    """
    share = share or own_share()
    own = share.size(batch_size)
    rows = np.arange(len(view))
    rows = rows[rows % batch_size // own == share.part]
    if not len(rows):
        return
    batches = [rows[start : start + own] for start in range(0, len(rows), own)]
    dataset = grain.MapDataset.source(batches).map(_Load(view, own, degradation))
    yield from _iterable(dataset, _bytes(view, own), workers=0)


def pad_batch(batch: Batch, batch_size: int) -> Batch:
    """Fill a batch up to `batch_size` with rows of mask 0."""
    return {name: _filled(values, batch_size) for name, values in batch.items()}


def _filled(values: np.ndarray, size: int) -> np.ndarray:
    if len(values) == size:
        return values
    missing = np.zeros((size - len(values), *values.shape[1:]), values.dtype)
    return np.concatenate([values, missing])


def class_weights(
    view: SplitView, balance: Balance, mix: Mapping[str, float] | None = None
) -> tuple[float, float]:
    """Return the loss weights of (real, fake); with "loss", inverse to how often each is drawn."""
    if balance != "loss":
        return (1.0, 1.0)
    fakes = sum(part.share * part.fakes for part in parts_of(view, balance, mix or {}))
    return (1 / (2 * (1 - fakes)), 1 / (2 * fakes))
