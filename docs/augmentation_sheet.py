"""Draws docs/augmentation.png: `python docs/augmentation_sheet.py [OUT.png]`, in some two minutes.

Each augmentation at its strongest on a rendered face, and what networks see of a real clip and of a
fake one. Nothing in it is anybody's photograph.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dfbench.config import AugmentConfig, DataConfig
from dfbench.data.crop_reader import CropReader
from dfbench.data.prepare import prepare
from dfbench.data.spec import parse_spec
from dfbench.data.view import split_view
from dfbench.models.inputs import SRM_LIMIT, srm_noise
from dfbench.report.picture import DPI, GREY, save
from dfbench.train.augment import augment, example_keys, to_unit

OUT = Path(__file__).with_name("augmentation.png")
SIDE = 112  # px, of the crops; shown as they are
SHOWN, DRAWN = 6, 48  # examples in a row: those of the draws that change most
INCH = SIDE / DPI
LABEL, GAP, HEAD = 2.05, 0.04, 0.42  # inches
AMPLIFIED = 4  # times, of the differences shown

NONE = AugmentConfig(flip=0.0, contrast=0.0, brightness=0.0)
OFF = {field: getattr(NONE, field) for field in NONE.__dataclass_fields__}
Settings = dict[str, Any]
FLIPS: tuple[Settings, ...] = (
    {"flip": 1.0},
    {"flip_vertical": 1.0},
    {"flip": 1.0, "flip_vertical": 1.0},
)
# Rows of one strength after the other.
STRENGTHS: dict[str, tuple[Settings, ...]] = {
    "blur_sigma = 0.5, 1, 2, 3, 4, 5": tuple(
        {"blur": 1.0, "blur_sigma": (sigma, sigma)} for sigma in (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
    ),
    "noise_std = 0.01, 0.02, 0.05,\n0.1, 0.2, 0.3": tuple(
        {"noise": 1.0, "noise_std": (std, std)} for std in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
    ),
    "jpeg_quality = 95, 75, 50, 30,\n10, 5": tuple(
        {"jpeg": 1.0, "jpeg_quality": (q, q)} for q in (95, 75, 50, 30, 10, 5)
    ),
}
# Rows of draws: each by itself, then some together, and what report 5 has.
DRAWS: tuple[Settings, ...] = (
    {"rotate": 30.0},
    {"shift": 0.2},
    {"shear": 20.0},
    {"zoom": 0.3},
    {"contrast": 0.3},
    {"brightness": 0.2},
    {"flip": 0.5, "rotate": 10.0, "shift": 0.05, "zoom": 0.1, "jpeg": 0.5, "brightness": 0.1},
    {
        **{"flip": 0.5, "flip_vertical": 0.5, "rotate": 120.0, "shift": 0.5},
        **{"shear": 120.0, "zoom": 0.9},
    },
)


@dataclass(frozen=True)
class Row:
    """A row of pictures in [0, 1], and what stands above and beside it."""

    title: str
    note: str
    images: list[np.ndarray]


def rendered_pairs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Prepare a few rendered clips; return a real and a fake crop with the frames before."""
    (spec,) = parse_spec("synth_swap")
    wanted = {"frames": 2, "crop_size": SIDE, "format": "png", "before": True, "margin": 1.4}
    data = DataConfig(size="tiny", detector="haar", **wanted)  # type: ignore[arg-type]
    view = split_view([prepare(spec, data, data_dir=folder)], "train")
    reader = CropReader(view)
    real, fake = (reader.image(int(np.flatnonzero(view.labels == n)[0])) for n in (0, 1))
    return real, fake


def augmented(crop: np.ndarray, settings: Settings, count: int) -> list[np.ndarray]:
    """Return the examples, of many draws, that are changed most."""
    config = AugmentConfig(**{**OFF, **settings})
    frames = jnp.broadcast_to(to_unit(jnp.asarray(crop[None]), SIDE), (DRAWN, *crop.shape))
    keys = example_keys(0, jnp.int32(0), jnp.arange(DRAWN, dtype=jnp.int32))
    found = np.asarray(jax.jit(lambda x, k: augment(x, k, config))(frames, keys))
    change = np.abs(found - np.asarray(frames)).mean((1, 2, 3))
    return [found[i] for i in np.sort(np.argsort(-change, kind="stable")[:count])]


def augmentation_rows(crop: np.ndarray) -> list[Row]:
    """Return a row an augmentation."""
    flips = [augmented(crop, settings, 1)[0] for settings in FLIPS]
    rows = [Row("augment.*", "as it is; flip;\nflip_vertical; both", [crop / 255, *flips])]
    for note, strengths in STRENGTHS.items():
        images = [augmented(crop, settings, 1)[0] for settings in strengths]
        rows.append(Row("", note, images))
    for settings in DRAWS:
        note = "\n".join(f"{name} = {value:g}" for name, value in settings.items())
        rows.append(Row("", note, augmented(crop, settings, SHOWN)))
    return rows


def input_rows(pairs: dict[str, np.ndarray]) -> list[Row]:
    """Return what networks see of each class."""
    rows = []
    for name, pair in pairs.items():
        frame, before = pair[..., :3] / 255, pair[..., 3:] / 255
        noise = np.asarray(srm_noise(jnp.asarray(frame[None], jnp.float32)))[0]
        maps = [np.repeat(noise[..., i : i + 1], 3, axis=2) for i in range(3)]
        diff = np.clip(0.5 + AMPLIFIED / 2 * (frame - before), 0, 1)
        shown = [0.5 + 0.5 * values / SRM_LIMIT for values in maps]
        note = f"the frame; the one before;\ntheir difference, {AMPLIFIED} times;\nsrm: three maps"
        rows.append(Row(name, note, [frame, before, diff, *shown]))
    return rows


def figure_of(rows: list[Row]) -> Figure:
    """Draw the rows below one another."""
    width = LABEL + SHOWN * (INCH + GAP)
    heights = [INCH + GAP + (HEAD if row.title else 0) for row in rows]
    figure = Figure(figsize=(width, sum(heights) + GAP), dpi=DPI)
    FigureCanvasAgg(figure)
    total, top = sum(heights) + GAP, 0.0
    for row, height in zip(rows, heights, strict=True):
        top += HEAD if row.title else 0
        if row.title:
            figure.text(0, 1 - (top - 0.16) / total, row.title, fontsize=9, fontweight="bold")
        style = {
            "va": "top",
            "fontsize": 7,
            "color": GREY,
            "family": "monospace",
            "linespacing": 1.3,
        }
        figure.text(0, 1 - (top + 0.04) / total, row.note, **style)
        for place, image in enumerate(row.images):
            left = LABEL + place * (INCH + GAP)
            box = (left / width, 1 - (top + INCH) / total, INCH / width, INCH / total)
            axes = figure.add_axes(box)
            axes.imshow(np.clip(image, 0, 1), interpolation="nearest")
            axes.set_axis_off()
        top += height - (HEAD if row.title else 0)
    return figure


def main(out: Path) -> None:
    """Render, augment, draw."""
    with tempfile.TemporaryDirectory() as folder:
        real, fake = rendered_pairs(Path(folder))
    rows = augmentation_rows(real[..., :3])
    inputs = input_rows({"model.input: a real clip": real, "a fake clip": fake})
    save(figure_of([*rows, *inputs]), out)
    Image.open(out).convert("RGB").quantize(256).save(out, optimize=True)  # a third of the bytes


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
