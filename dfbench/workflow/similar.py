"""`dfbench similar`: the crops of a dataset that are most like a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt8

from dfbench.config import DataConfig
from dfbench.data.clips import middle_crops
from dfbench.data.nearest import Metric, Vectors, most_similar
from dfbench.data.prepared import Prepared
from dfbench.data.records import EncodedFaces
from dfbench.data.view import SplitView
from dfbench.errors import UserError, system_errors
from dfbench.faces.clip import SPLITS, Split
from dfbench.progress import SILENT, Reporter
from dfbench.workflow.describe import HARRIS, Describer, find_describer
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec

Picture = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A crop that is like a query; of each clip the most similar one is found."""

    rank: int  # 1 is the most similar
    similarity: float  # 1: no difference
    dataset: str
    split: Split
    label: int  # 1 = fake
    manipulation: str  # "real" of real clips
    video: str
    frame: int  # index in the clip


@dataclass(frozen=True, kw_only=True)
class Match(Place):
    """The same, to be looked at."""

    face: bytes  # the encoded crop


def find_similar(
    queries: Sequence[Picture],
    spec: str,
    *,
    by: str = HARRIS,
    metric: Metric = "cosine",
    top: int = 10,
    config: DataConfig,
    places: Places,
    init: str | None = None,
    run_dir: Path | None = None,
    middle: bool = False,
    reporter: Reporter = SILENT,
) -> list[list[Match]]:
    """Return for each query the crops of a dataset that are most like it, best first.

    Args:
      queries: face crops, cut as the dataset's are; of what is no square the middle is taken.
      spec: dataset, prepared first where it is not; all its splits are searched.
      by: "harris", or the name of a network.
      metric: "cosine", or "euclidean": 1 / (1 + distance).
      top: how many are found, of as many clips; fewer where there are no more.
      config: how the dataset is prepared.
      places: where data lie.
      init: weights of the network; None: "imagenet".
      run_dir: a finished training, whose network is taken; then `by` means nothing.
      middle: search the middle crop of each clip alone, not every crop.
      reporter: where progress is told.

    Raises:
      UserError: a wrong spec, network or number, data that cannot be used, or no crop in them.
    """
    check_top(top)
    describer = find_describer(by, init, run_dir, jobs=places.jobs, reporter=reporter)
    datasets = prepare_spec(spec, config, places, reporter)
    pool = open_pool(datasets, describer, places, middle=middle, reporter=reporter)
    return pool.find(queries, metric, top)


def check_top(top: int) -> None:
    """Raise UserError where no match is asked for."""
    if top < 1:
        raise UserError(f"top {top}: ask for at least 1 match")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The crops that are searched, and their vectors."""

    datasets: tuple[Prepared, ...]
    crops: pa.Table  # dataset, split, position, video, frame, label, manipulation
    clip: Int[np.ndarray, " crops"]  # number of each crop's clip, from 0
    vectors: Vectors
    describer: Describer

    @property
    def clips(self) -> int:
        """How many clips there are."""
        return int(self.clip.max()) + 1

    def find(self, queries: Sequence[Picture], metric: Metric, top: int) -> list[list[Match]]:
        """Return the matches of each query, best first; arguments as for `find_similar`."""
        if not queries:
            return []
        side = self.datasets[0].manifest.recipe.size
        asked = self.describer.of_images(queries, side)
        at, similarity = most_similar(self.vectors, asked, metric, top=top, groups=self.clip)
        sources: dict[tuple[str, Split], EncodedFaces] = {}
        return [
            [
                self._match(place + 1, int(row), float(value), sources)
                for place, (row, value) in enumerate(zip(rows, values, strict=True))
                if np.isfinite(value)
            ]
            for rows, values in zip(at, similarity, strict=True)
        ]

    def _match(
        self, rank: int, row: int, similarity: float, sources: dict[tuple[str, Split], EncodedFaces]
    ) -> Match:
        (crop,) = self.crops.slice(row, 1).to_pylist()
        position, where = crop.pop("position"), (crop["dataset"], crop["split"])
        if where not in sources:
            (folder,) = [d.folder for d in self.datasets if d.name == crop["dataset"]]
            sources[where] = EncodedFaces(folder, crop["split"])
        face = sources[where].face(position)
        return Match(rank=rank, similarity=similarity, face=face, **crop)


def open_pool(
    datasets: Sequence[Prepared],
    describer: Describer,
    places: Places,
    *,
    middle: bool = False,
    reporter: Reporter = SILENT,
) -> Pool:
    """Return the crops of prepared datasets with their vectors, which are made once.

    Raises:
      UserError: there is no crop, or the vectors cannot be kept.
    """
    tables, vectors = [], []
    for split in SPLITS:
        found = [middle_crops(d, split) if middle else d.frames(split) for d in datasets]
        view = SplitView(tuple(datasets), split, tuple(found))
        if not len(view):
            continue
        tables += [_crops(d, split, table) for d, table in zip(datasets, found, strict=True)]
        with system_errors(places.data_dir):
            vectors.append(describer.of_view(view, places.data_dir, reporter))
    if not vectors:
        raise UserError(f"{', '.join(d.name for d in datasets)}: no face crop to compare with")
    crops = pa.concat_tables(tables)
    return Pool(
        datasets=tuple(datasets),
        crops=crops,
        clip=_clip_numbers(crops),
        vectors=np.concatenate(vectors),
        describer=describer,
    )


def _crops(dataset: Prepared, split: Split, table: pa.Table) -> pa.Table:
    names = ("position", "video", "frame", "label", "manipulation")
    text = pa.string()
    return pa.table(
        {
            "dataset": pa.array([dataset.name] * len(table), text),
            "split": pa.array([split] * len(table), text),
            **{name: table[name] for name in names},
        }
    )


def _clip_numbers(crops: pa.Table) -> Int[np.ndarray, " crops"]:
    keys = zip(crops["dataset"].to_pylist(), crops["video"].to_pylist(), strict=True)
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys])
