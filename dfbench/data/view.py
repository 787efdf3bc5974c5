"""One split of prepared datasets, as one list of crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jaxtyping as jt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbench.data.prepared import Prepared, column
from dfbench.data.spec import PATH_DATASETS
from dfbench.errors import UserError
from dfbench.faces.clip import Split


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
    def video_codes(self) -> jt.Int32[np.ndarray, " n"]:
        """Number of each crop's video, 0 to videos - 1; of each dataset others."""
        codes: list[np.ndarray] = []
        videos = 0
        for table in self.tables:
            found = table["video"].combine_chunks().dictionary_encode()
            codes.append(found.indices.to_numpy() + np.int32(videos))
            videos += len(found.dictionary)
        return np.concatenate(codes)

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
      UserError: the split holds no crop, or crops of several sizes.
    """
    sizes = {d.manifest.recipe.size: d.name for d in reversed(datasets)}
    if len(sizes) > 1:
        found = ", ".join(f"of {name} {size} px" for size, name in sorted(sizes.items()))
        raise UserError(
            f"the crops of a union have several sizes ({found}): set one, --set data.crop_size=256"
        )
    tables = tuple(d.frames(split) for d in datasets)
    view = SplitView(tuple(datasets), split, tables)
    if not len(view):
        names = ", ".join(d.name for d in datasets)
        raise UserError(f"{names}: the split '{split}' holds no face crop")
    return view


def _first_part(videos: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.list_element(pc.split_pattern(videos, "/", max_splits=1), 0)
