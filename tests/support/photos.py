"""A small prepared dataset of pictures without faces: fakes are redder than reals."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dfbench.config import DataConfig
from dfbench.data.prepare import prepare
from dfbench.data.prepared import Prepared
from dfbench.data.spec import parse_spec

CROP = 32  # px
AS_THEY_ARE = DataConfig(detector="none", crop_size=CROP)


def write_photos(
    root: Path, *, real: int = 30, fake: int = 20, people: int = 0, seed: int = 0
) -> Path:
    """Write `root/real/*.png` and `root/fake/*.png`; with `people`, in a subfolder each."""
    rng = np.random.default_rng(seed)
    for name, count in (("real", real), ("fake", fake)):
        for number in range(count):
            folder = root / name / (f"person{number % people}" if people else "")
            folder.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 200, (CROP, CROP, 3), dtype=np.uint8)
            if name == "fake":
                image[..., 2] += 55  # OpenCV's order is blue, green, red
            assert cv2.imwrite(str(folder / f"{name}{number:03d}.png"), image)
    return root


def prepare_photos(root: Path, data_dir: Path, data: DataConfig = AS_THEY_ARE) -> Prepared:
    """Prepare `folder:root` without a face detector, in this process."""
    (spec,) = parse_spec(f"folder:{root}")
    return prepare(spec, data, data_dir=data_dir, jobs=1)
