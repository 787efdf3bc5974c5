"""Prepared crops to batches, by Grain: deterministic order, class balance, masked padding.

A batch is a dictionary of NumPy arrays: `image` uint8 [batch, size, size, 3] (RGB; 6 channels, with
the frame before behind, where that was prepared), `label` int32 [batch] (1 fake), `index` int32
[batch] (row of the split's frame table) and `mask` float32 [batch] (0 for padding). Images stay
uint8 until they are on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import jaxtyping as jt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbench.config import Balance
from dfbench.data.degrade import degrade, noise_of
from dfbench.data.prepared import Prepared, column
from dfbench.data.records import open_split
from dfbench.data.spec import PATH_DATASETS
from dfbench.degradations import Degradation
from dfbench.errors import UserError
from dfbench.faces.clip import Split
from dfbench.faces.crop import decode
from dfbench.processes import Share, own_share

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class SplitView:
    """One split of one or more prepared datasets (a union), as one list of crops."""

    datasets: tuple[Prepared, ...]
    split: Split
    tables: tuple[pa.Table, ...]

    def __len__(self) -> int:
        return sum(len(table) for table in self.tables)

    @property
    def labels(self) -> jt.Int32[np.ndarray, " n"]:
        """Label of each crop."""
        return np.concatenate([column(t, "label") for t in self.tables]).astype(np.int32)

    @property
    def dataset(self) -> jt.Shaped[np.ndarray, " n"]:
        """Name of each crop's dataset."""
        sizes = [len(table) for table in self.tables]
        return np.repeat([dataset.name for dataset in self.datasets], sizes)

    @property
    def video_keys(self) -> jt.Shaped[np.ndarray, " n"]:
        """Dataset and video of each crop, as one text."""
        return np.char.add(np.char.add(self.dataset, " "), self.text("video"))

    @property
    def source(self) -> jt.Shaped[np.ndarray, " n"]:
        """Name of the download that each crop is from: a dataset may be made of several."""
        names = []
        for dataset, table in zip(self.datasets, self.tables, strict=True):
            if dataset.manifest.name in PATH_DATASETS:
                names.append(np.full(len(table), dataset.name))
            else:
                names.append(column(pa.table({"v": _first_part(table["video"])}), "v"))
        return np.concatenate(names)

    def text(self, name: str) -> jt.Shaped[np.ndarray, " n"]:
        """Return a text column of each crop."""
        return np.concatenate([column(t, name) for t in self.tables])

    def numbers(self, name: str) -> jt.Num[np.ndarray, " n"]:
        """Return a numeric column of each crop."""
        return np.concatenate([column(t, name) for t in self.tables])


def split_view(datasets: Sequence[Prepared], split: Split) -> SplitView:
    """Open a split of the union of `datasets`.

    Raises:
      UserError: the split holds no crop.
    """
    tables = tuple(d.frames(split) for d in datasets)
    view = SplitView(tuple(datasets), split, tables)
    if not len(view):
        names = ", ".join(d.name for d in datasets)
        raise UserError(f"{names}: the split '{split}' holds no face crop")
    return view


class LoadCrop(grain.transforms.Map):  # type: ignore[misc]
    """Row of a split -> decoded crop, degraded if asked for, with its label and row."""

    def __init__(self, view: SplitView, degradation: Degradation | None = None) -> None:
        self._folders = tuple(str(d.folder) for d in view.datasets)
        self._split = view.split
        starts = np.cumsum([0, *(len(t) for t in view.tables)])
        self._starts: jt.Int[np.ndarray, " datasets+1"] = starts
        self._positions = np.concatenate([column(t, "position") for t in view.tables])
        self._labels = view.labels
        self._sources: list[Any] = []
        self._degradation = degradation
        if degradation is not None:
            self._names = tuple(d.name for d in view.datasets)
            self._videos, self._frames = view.text("video"), view.numbers("frame")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sources": []}  # file handles stay in their process

    def map(self, row: int) -> Batch:
        """Read and decode one crop."""
        if not self._sources:
            self._sources = [open_split(folder, self._split) for folder in self._folders]
        dataset = int(np.searchsorted(self._starts, row, side="right")) - 1
        record = self._sources[dataset][int(self._positions[row])]
        frames = [decode(record[name]) for name in ("face", "face_before") if name in record]
        if self._degradation is not None:
            rng = noise_of(self._names[dataset], str(self._videos[row]), int(self._frames[row]))
            frames = [degrade(frame, self._degradation, rng) for frame in frames]
        return {
            "image": frames[0] if len(frames) == 1 else np.concatenate(frames, axis=2),
            "label": self._labels[row],
            "index": np.int32(row),
            "mask": np.float32(1),
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
) -> grain.DatasetIterator:
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
    parts = _parts(view, balance, mix or {})
    shuffled = [_shuffled(part.rows, seed + offset) for offset, part in enumerate(parts)]
    weights = [part.share for part in parts]
    dataset = grain.MapDataset.mix(shuffled, weights=weights) if len(parts) > 1 else shuffled[0]
    if share.parts > 1:
        dataset = _Share(dataset, batch_size, share)
    dataset = dataset.map(LoadCrop(view)).batch(own, drop_remainder=True)
    return iter(_iterable(dataset, workers))


class _Share(grain.MapDataset):  # type: ignore[misc]
    """The consecutive examples of each batch that one process reads."""

    def __init__(self, parent: grain.MapDataset, batch_size: int, share: Share) -> None:
        super().__init__(parent)
        self._batch_size, self._part, self._own = batch_size, share.part, share.size(batch_size)

    def __len__(self) -> int:
        return len(self._parent) // self._batch_size * self._own

    def __getitem__(self, index: Any) -> Any:
        batch, place = divmod(index, self._own)
        return self._parent[batch * self._batch_size + self._part * self._own + place]


@dataclass(frozen=True, eq=False)
class _Part:
    """Crops that are drawn alike."""

    rows: jt.Int[np.ndarray, " n"]
    share: float  # of all draws
    fakes: float  # share of fakes among its draws


def _parts(view: SplitView, balance: Balance, mix: Mapping[str, float]) -> list[_Part]:
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
        return [_Part(r, shares[n] / total, float(labels[r].mean())) for n, r in rows.items()]
    parts = []
    for label in (0, 1):
        found = {name: np.flatnonzero((where == name) & (labels == label)) for name in shares}
        # A source of fakes alone leaves its share of the reals to the others.
        there = sum(shares[name] for name, rows in found.items() if len(rows))
        parts += [
            _Part(found[name], 0.5 * shares[name] / there, float(label))
            for name in sorted(found)
            if len(found[name])
        ]
    return parts


def _first_part(videos: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.list_element(pc.split_pattern(videos, "/", max_splits=1), 0)


def _shuffled(rows: jt.Int[np.ndarray, " n"], seed: int) -> grain.MapDataset:
    # Every epoch has its own order.
    source = grain.MapDataset.source([int(row) for row in rows])
    return source.seed(seed).shuffle().repeat(num_epochs=None)


def _iterable(dataset: grain.MapDataset, workers: int) -> grain.IterDataset:
    iterable = dataset.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=4))
    if workers:
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers want absl's flags, we use none
        iterable = iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iterable


def eval_batches(
    view: SplitView,
    *,
    batch_size: int,
    workers: int = 0,
    degradation: Degradation | None = None,
    share: Share | None = None,
) -> Iterator[Batch]:
    """Yield every crop of the split once, in order; the last batch is padded with mask 0.

    Of each batch only `share`, by default this process's, is read and yielded.

    Raises:
      UserError: the batch cannot be split over the processes.
    """
    share = share or own_share()
    own = share.size(batch_size)
    rows = [n for n in range(len(view)) if n % batch_size // own == share.part]
    if not rows:
        return
    dataset = grain.MapDataset.source(rows).map(LoadCrop(view, degradation))
    for batch in _iterable(dataset.batch(own, drop_remainder=False), workers):
        yield pad_batch(batch, own)


def pad_batch(batch: Batch, batch_size: int) -> Batch:
    """Fill a batch up to `batch_size` with rows of mask 0."""
    lacking = batch_size - len(batch["label"])
    if not lacking:
        return batch

    def fill(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros((lacking, *values.shape[1:]), values.dtype)])

    return {name: fill(values) for name, values in batch.items()}


def class_weights(
    view: SplitView, balance: Balance, mix: Mapping[str, float] | None = None
) -> tuple[float, float]:
    """Return the loss weights of (real, fake); with "loss", inverse to how often each is drawn."""
    if balance != "loss":
        return (1.0, 1.0)
    fakes = sum(part.share * part.fakes for part in _parts(view, balance, mix or {}))
    return (1 / (2 * (1 - fakes)), 1 / (2 * fakes))
