"""Crops of files that nobody labelled, scored as an evaluation scores those of a dataset."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float32

from dfbench.classical.catalog import is_classical
from dfbench.classical.detector import Detector
from dfbench.classical.features import Features, Models, crop_features
from dfbench.config import needs_before
from dfbench.data.pipeline import Batch, pad_batch
from dfbench.eval.predict import evidence_maps, predict
from dfbench.faces.crop import decode
from dfbench.faces.hashing import content_hash
from dfbench.progress import SILENT, Reporter
from dfbench.train import checkpoint
from dfbench.train.state import Networks, TrainState, abstract_state, build_networks
from dfbench.workflow.classical import load_classical
from dfbench.workflow.predict_model import TrainedDetector


@dataclass(frozen=True)
class Encoded:
    """A crop as it would be stored in a dataset."""

    image: bytes
    before: bytes = b""  # the same place in the frame before


class CropScorer:
    """The checkpoint of a detector, loaded when the first crop is scored."""

    def __init__(self, detector: TrainedDetector, reporter: Reporter = SILENT) -> None:
        self.detector, self._reporter = detector, reporter

    @property
    def classical(self) -> bool:
        """Tell whether it is no network."""
        return is_classical(self.detector.config.model.name)

    @property
    def wants_before(self) -> bool:
        """Tell whether it sees the frame before."""
        return needs_before(self.detector.config.model)

    def logits(self, crops: Sequence[Encoded], title: str) -> Float32[np.ndarray, " n"]:
        """Return the logit of P(fake) of each crop.

        Raises:
          UserError: A checkpoint that cannot be read, or logits that are not finite.
        """
        if not crops:
            return np.zeros(0, np.float32)
        with self._reporter.bar(title, "crop") as progress:
            if not self.classical:
                state, networks = self._network
                return predict(state, networks, self._batches(crops), len(crops), progress=progress)
            fitted, models = self._fitted
            found = []
            for done, crop in enumerate(crops, 1):
                found.append(self._features(crop, fitted, models))
                progress(done, len(crops))
            return fitted.logits(Features.joined(found))

    def evidence(self, crops: Sequence[Encoded]) -> Float32[np.ndarray, "n map_height map_width"]:
        """Return for each crop what its places add to the logit (`dfbench.models.cam`).

        Raises:
          UserError: The network shows no feature map.
        """
        state, networks = self._network
        return evidence_maps(state, networks, self._batches(crops), len(crops))

    @functools.cached_property
    def _network(self) -> tuple[TrainState, Networks]:
        config = self.detector.config
        like = abstract_state(config, optimizer=False)
        state = checkpoint.restore(self.detector.run, checkpoint.BEST, like).state
        return state, build_networks(config)

    @functools.cached_property
    def _fitted(self) -> tuple[Detector, Models]:
        return load_classical(self.detector.run, self._reporter)

    def _features(self, crop: Encoded, fitted: Detector, models: Models) -> Features:
        recipe, how = fitted.facts.recipe, self.detector.recipe
        content = content_hash(crop.image)
        return crop_features(decode(crop.image), recipe, models, how, content)

    def _batches(self, crops: Sequence[Encoded]) -> Iterator[Batch]:
        """Yield crops as an evaluation does; a few of them in a smaller batch."""
        # Few sizes, so that few programs are compiled and most calls find theirs in the cache.
        enough = max(1 << (len(crops) - 1).bit_length(), jax.local_device_count())
        size = min(self.detector.config.scoring.batch_size, enough)
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            batch = {
                "image": np.stack([_pixels(crop) for crop in part]),
                "label": np.zeros(len(part), np.int32),
                "index": np.arange(start, start + len(part), dtype=np.int32),
                "mask": np.ones(len(part), np.float32),
            }
            yield pad_batch(batch, size)


def _pixels(crop: Encoded) -> np.ndarray:
    """Return a crop as batches hold it: with the frame before behind, where there is one."""
    frames = [decode(data) for data in (crop.image, crop.before) if data]
    return frames[0] if len(frames) == 1 else np.concatenate(frames, axis=2)
