"""The crops of a dataset one by one, for a detector that is no part of this project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench.config import DataConfig
from dfbench.data.keys import clip_key
from dfbench.data.prepared import column
from dfbench.data.records import EncodedFaces
from dfbench.faces.clip import Split
from dfbench.faces.crop import decode
from dfbench.faces.images import RGB
from dfbench.paths import default_data_dir
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec


@dataclass(frozen=True, kw_only=True, eq=False)
class CropImage:
    """A crop, named as `dfbench score` wants it."""

    video: str  # key of its clip
    frame: int  # its number in the clip
    label: int  # 1 = fake
    image: RGB  # height x width x 3, uint8


def read_crops(
    spec: str, split: Split = "test", *, data_dir: Path | None = None, **data: Any
) -> Iterator[CropImage]:
    """Yield the crops of a split, clip by clip.

    Args:
      spec: dataset, as on the command line; prepared first where it is not.
      split: of it.
      data_dir: of prepared data; None: the user's cache.
      data: settings of the section `data`: `size="tiny"`.

    Raises:
      UserError: a wrong spec, or data that cannot be used.
    """
    places = Places(data_dir=data_dir or default_data_dir(), runs_dir=Path("runs"))
    for dataset in prepare_spec(spec, DataConfig(**data), places):
        table = dataset.frames(split)
        if not len(table):
            continue
        records = EncodedFaces(dataset.folder, split)
        names = ("position", "video", "frame", "label")
        for position, video, frame, label in zip(*(column(table, n) for n in names), strict=True):
            yield CropImage(
                video=clip_key(dataset.name, str(video)),
                frame=int(frame),
                label=int(label),
                image=decode(records.face(int(position))),
            )
