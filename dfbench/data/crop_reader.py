"""Rows of a split to decoded crops."""

from __future__ import annotations

import math
from typing import Any

import jaxtyping as jt
import numpy as np

from dfbench.data.degrade import degrade, noise_of
from dfbench.data.prepared import column
from dfbench.data.records import EncodedFaces
from dfbench.data.view import SplitView
from dfbench.degradations import Degradation
from dfbench.errors import UserError
from dfbench.faces.crop import decode, decode_into

_ALIGNMENT = 64  # bytes

Image = jt.UInt8[np.ndarray, "side side frames_times_3"]


class CropReader:
    """Reads and decodes crops, degraded if asked for; may be sent to other processes."""

    def __init__(self, view: SplitView, degradation: Degradation | None = None) -> None:
        self._folders = tuple(str(d.folder) for d in view.datasets)
        self._split = view.split
        starts = np.cumsum([0, *(len(t) for t in view.tables)])
        self._starts: jt.Int[np.ndarray, " datasets+1"] = starts
        recipe = view.datasets[0].manifest.recipe
        self._shape = (recipe.size, recipe.size, 6 if recipe.before else 3)
        self._positions = np.concatenate([column(t, "position") for t in view.tables])
        self._faces: list[EncodedFaces] = []
        self._degradation = degradation
        if degradation is not None:
            self._names = tuple(d.name for d in view.datasets)
            self._videos, self._frames = view.text("video"), view.numbers("frame")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_faces": []}  # file handles stay in their process

    def image(self, row: int) -> Image:
        """Return one crop: RGB, with the frame before behind, where that was prepared.

        Raises:
          UserError: its record is damaged.
        """
        image: np.ndarray = self.images(np.array([row]))[0]
        return image

    def images(
        self, rows: jt.Int[np.ndarray, " n"], size: int | None = None
    ) -> jt.UInt8[np.ndarray, "n_or_size side side frames_times_3"]:
        """Return crops; with a `size` beyond their number what is left over is 0.

        Raises:
          UserError: a record is damaged.
        """
        if not self._faces:
            # In one step: several threads may come here at the same time.
            self._faces = [EncodedFaces(folder, self._split) for folder in self._folders]
        images = _aligned((size or len(rows), *self._shape))
        images[len(rows) :] = 0
        of = np.searchsorted(self._starts, rows, side="right") - 1
        for dataset in np.unique(of):
            places = np.flatnonzero(of == dataset)
            positions = [int(self._positions[rows[place]]) for place in places]
            found = self._faces[dataset].frames(positions)
            for place, encoded in zip(places, found, strict=True):
                self._fill(images[place], int(dataset), int(rows[place]), encoded)
        return images

    def _fill(self, image: Image, dataset: int, row: int, encoded: tuple[bytes, ...]) -> None:
        try:
            if len(encoded) == 1 and self._degradation is None:
                decode_into(image, encoded[0])
                return
            frames = [decode(data) for data in encoded]
        except ValueError as error:
            raise UserError(
                f"{self._folders[dataset]}: crop {self._positions[row]} of {self._split} is "
                f"damaged ({error}); delete the folder and prepare it again"
            ) from error
        if self._degradation is not None:
            rng = noise_of(self._names[dataset], str(self._videos[row]), int(self._frames[row]))
            frames = [degrade(frame, self._degradation, rng) for frame in frames]
        np.concatenate(frames, axis=2, out=image)


def _aligned(shape: tuple[int, ...]) -> jt.UInt8[np.ndarray, ...]:
    """Return memory for pixels, which JAX takes as it is on a CPU; else it copies them."""
    size = math.prod(shape)
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].reshape(shape)
