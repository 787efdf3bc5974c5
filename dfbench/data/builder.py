"""The TFDS builder that every dataset shares: extracted crops to ArrayRecord files.

A dataset's own builder is declarative: a version, a crop recipe and `index()`, which names its
clips. Decoding, detecting and cropping are in `dfbench.faces`.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow_datasets as tfds

from dfbench.data.packing import Pack, crops_of, files_of
from dfbench.data.raw import Index, Part
from dfbench.data.records import write_split
from dfbench.data.spec import Spec
from dfbench.errors import UserError, nearest
from dfbench.faces.clip import SPLITS, CropRecipe
from dfbench.progress import Progress

Example = dict[str, Any]


@dataclasses.dataclass(kw_only=True)
class FaceConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """One recipe of a dataset, with the extracted clips to pack; each gave a crop."""

    recipe: CropRecipe = dataclasses.field(default_factory=CropRecipe)
    packs: tuple[Pack, ...] = dataclasses.field(default=(), repr=False)


# TFDS's own writers hold a split in memory, and beyond a gigabyte need TensorFlow.
class FaceBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[misc, call-arg]
    """Base of all datasets of face crops.

    Features of an example: `face` (encoded image, size x size x 3, uint8, RGB), where the recipe
    wants it `face_before` (likewise, the same place in the frame before), `label` (0 real,
    1 fake), `video`, `frame` (index in the clip), `time_s`, `manipulation`, `identity`,
    `source_identity`, `original`, `box` (x0, y0, x1, y1 of the crop in the frame, px) and
    `detector_score`.
    """

    VERSION: ClassVar[tfds.core.Version] = tfds.core.Version("1.0.0")
    RECIPE: ClassVar[CropRecipe] = CropRecipe()
    VARIANTS: ClassVar[tuple[str, ...]] = ()  # what may stand after the slash: `ffpp/c23`
    DEFAULT_VARIANT: ClassVar[str] = ""  # for a spec without one; empty: it must be named

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the parts of the official download; none for what is not downloaded."""
        del variant
        return ()

    @classmethod
    @abc.abstractmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips of the raw download in `raw_dir`, with their official splits.

        Raises:
          UserError: the folder is not what the dataset's README describes.
        """

    @classmethod
    def variant_of(cls, spec: Spec) -> str:
        """Return the variant that a spec means.

        Raises:
          UserError: there is no such variant, or it has to be named.
        """
        if spec.variant in cls.VARIANTS or (not spec.variant and not cls.VARIANTS):
            return spec.variant
        if not spec.variant and cls.DEFAULT_VARIANT:
            return cls.DEFAULT_VARIANT
        name = spec.name
        if not cls.VARIANTS:
            raise UserError(f"'{spec.text}': {name} has no variants; write {name}")
        known = ", ".join(f"{name}/{variant}" for variant in cls.VARIANTS)
        hint = nearest(spec.variant, cls.VARIANTS) if spec.variant else ""
        raise UserError(f"'{spec.text}': there are {known}{hint}")

    @classmethod
    def raw_dir(cls, spec: Spec, raw: Path | None, size: str, data_dir: Path) -> Path | None:
        """Return the folder of the raw clips, or None if the user has to name it."""
        del size, data_dir
        return spec.path or raw

    @classmethod
    def raw_key(cls, size: str) -> str:
        """Return what an embedded dataset's raw clips are made from; empty: not embedded."""
        del size
        return ""

    @classmethod
    def make_raw(
        cls, raw_dir: Path, size: Literal["tiny", "default"], progress: Progress | None
    ) -> bool:
        """Write the raw clips of an embedded dataset; False if there was nothing to do."""
        del raw_dir, size, progress
        return False

    def _info(self) -> tfds.core.DatasetInfo:
        recipe = self.builder_config.recipe
        image = tfds.features.Image(
            shape=(recipe.size, recipe.size, 3), encoding_format=recipe.format
        )
        features = {
            "face": image,
            **({"face_before": image} if recipe.before else {}),
            "label": tfds.features.ClassLabel(names=["real", "fake"]),
            "video": tfds.features.Text(),
            "frame": np.int32,
            "time_s": np.float32,
            "manipulation": tfds.features.Text(),
            "identity": tfds.features.Text(),
            "source_identity": tfds.features.Text(),
            "original": tfds.features.Text(),
            "box": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "detector_score": np.float32,
        }
        # In the order of the index: the frame table beside the files refers to it.
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        del download_config
        splits = [
            write_split(self.info.features, self._get_filename_template(split), files)
            for split, files in self._shard_iterators_per_split(dl_manager).items()
        ]
        self.info.set_splits(tfds.core.splits.SplitDict(splits))

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> dict[str, list[Callable[[], Iterator[Example]]]]:
        del dl_manager  # nothing is downloaded here
        found: dict[str, list[Callable[[], Iterator[Example]]]] = {}
        for split in SPLITS:
            if packs := [pack for pack in self.builder_config.packs if pack.clip.split == split]:
                found[split] = [functools.partial(_examples, file) for file in files_of(packs)]
        return found


def _examples(packs: Sequence[Pack]) -> Iterator[Example]:
    for pack in packs:
        clip = pack.clip
        for crop in crops_of(pack):
            yield {
                "face": crop.image,
                **({"face_before": crop.before} if crop.before else {}),
                "label": clip.label,
                "video": clip.video,
                "frame": crop.frame,
                "time_s": crop.time_s,
                "manipulation": clip.manipulation,
                "identity": clip.identity,
                "source_identity": clip.source_identity,
                "original": clip.original,
                "box": np.asarray(crop.box, np.float32),
                "detector_score": crop.score,
            }
