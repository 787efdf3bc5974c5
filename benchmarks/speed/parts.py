"""What single changes are worth: `python benchmarks/speed/parts.py [--data SPEC]`.

Each line is a part of training as it was before a change and as it is now, in turns in one process;
docs/speed.md says what was expected of each. Writes a table to benchmarks/speed/results; the exit
status is 1 where a part is no faster than before.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import gc
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import grain
import jax
import numpy as np
import tensorflow_datasets as tfds
from flax import nnx
from page import RESULTS, page, table, write

from dfbench.config import DataConfig, ModelConfig, RunConfig
from dfbench.data.crop_reader import CropReader
from dfbench.data.order import Order, Part
from dfbench.data.prepared import Prepared
from dfbench.data.records import EncodedFaces
from dfbench.data.view import split_view
from dfbench.faces.crop import decode_into
from dfbench.models.describe import abstract_model
from dfbench.models.registry import get_model
from dfbench.paths import default_data_dir
from dfbench.processes import Share
from dfbench.progress import SILENT
from dfbench.train.parallel import enable_compile_cache, place, replicate, use_cpu_cores
from dfbench.train.state import create_state
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec

CROPS = 256  # of a turn
BATCH = 32
THREADS = 2
ROWS = 20_000  # of a split

Turn = Callable[[], object]


@dataclass(frozen=True)
class Compared:
    """Something that is done in two ways."""

    name: str
    before: Turn
    now: Turn
    unit: str
    times: int  # that a turn does it


# --- the parts ------------------------------------------------------------------------------------


def ordering() -> Compared:
    """Find the rows of the batches of two shuffled classes."""
    halves = np.arange(ROWS).reshape(2, -1)
    whole = [
        grain.MapDataset.source(half).seed(number).shuffle().repeat(num_epochs=None)
        for number, half in enumerate(halves)
    ]
    mixed = grain.MapDataset.mix(whole, weights=[0.5, 0.5]).batch(BATCH, drop_remainder=True)
    order = Order([Part(half, 0.5, 0.0) for half in halves], 0, BATCH, Share())
    batches = range(CROPS // BATCH)
    return Compared(
        "rows of batches: a crop at a time by Grain's transformations, a batch at a time",
        lambda: [mixed[number] for number in batches],
        lambda: [order[number] for number in batches],
        "crop",
        CROPS,
    )


def record(dataset: Prepared) -> Compared:
    """Take the encoded crop out of a record."""
    builder = tfds.builder_from_directory(str(dataset.folder))
    skip = tfds.decode.SkipDecoding()
    decoders: dict[str, Any] = {"face": skip}
    all_features, image = (
        builder.as_data_source("train", decoders=decoders),
        EncodedFaces(dataset.folder, "train"),
    )
    rows = range(min(CROPS, len(image)))
    return Compared(
        "record to encoded crop: all features by TFDS, the image alone",
        lambda: [all_features[row]["face"] for row in rows],
        lambda: [image.face(row) for row in rows],
        "crop",
        len(rows),
    )


def decoding(dataset: Prepared) -> Compared:
    """Decode crops into a batch, in threads."""
    faces = EncodedFaces(dataset.folder, "train")
    encoded = [faces.face(row % len(faces)) for row in range(CROPS)]
    side = dataset.manifest.recipe.size
    images = np.empty((CROPS, side, side, 3), np.uint8)
    threads = ThreadPoolExecutor(THREADS)

    def by_opencv(number: int) -> None:
        pixels = cv2.imdecode(np.frombuffer(encoded[number], np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        images[number] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def in_place(number: int) -> None:
        decode_into(images[number], encoded[number])

    return Compared(
        f"JPEG to pixels of a batch, {THREADS} threads: by OpenCV, by simplejpeg in place",
        lambda: list(threads.map(by_opencv, range(CROPS))),
        lambda: list(threads.map(in_place, range(CROPS))),
        "crop",
        CROPS,
    )


def placing(dataset: Prepared) -> Compared:
    """Send a batch to the devices."""
    view = split_view([dataset], "train")
    aligned = CropReader(view).images(np.arange(BATCH) % len(view))
    memory = np.empty(aligned.size + 64, np.uint8)
    start = -memory.ctypes.data % 64 + 1
    odd = memory[start : start + aligned.size].reshape(aligned.shape)
    odd[...] = aligned

    def send(images: Any) -> object:
        return jax.block_until_ready(place({"image": images}))

    return Compared(
        f"batch of {BATCH} to the devices: from any memory, from aligned memory",
        lambda: send(odd),
        lambda: send(aligned),
        "batch",
        1,
    )


def looking(model: str) -> Compared:
    """See that a state is on the devices already."""
    state, _ = create_state(RunConfig(model=ModelConfig(name=model)))
    there = replicate(state)
    places = jax.tree.leaves(there)[0].sharding
    return Compared(
        f"state of {model} that is on the devices: put there again, looked at",
        lambda: jax.device_put(there, places),
        lambda: replicate(there),
        "step",
        1,
    )


def building(model: str) -> Compared:
    """Trace the making of a network."""
    spec, config = get_model(model), ModelConfig(name=model)
    return Compared(
        f"{model} of shapes alone: with nnx's random streams, with those counted in Python",
        lambda: nnx.eval_shape(lambda: spec.build(config, nnx.Rngs(0))),
        lambda: abstract_model(spec, config),
        "network",
        1,
    )


def beginning(model: str) -> Compared:
    """Make the first state of a seed that is new, with a compile cache that knows others."""
    config = RunConfig(model=ModelConfig(name=model))
    seeds = itertools.count()

    def written_in() -> object:
        """The seed is a constant of the program, as it was."""
        state = jax.jit(lambda: create_state(config, seed=next(seeds))[0])()
        return jax.block_until_ready(state)

    def given() -> object:
        return jax.block_until_ready(create_state(config, seed=next(seeds))[0])

    return Compared(
        f"first state of {model}, another seed: a program each, one for all seeds",
        written_in,
        given,
        "training",
        1,
    )


def collecting() -> Compared:
    """Look for garbage, with all that was imported among it or not; the last of the parts."""

    def frozen() -> None:
        gc.freeze()
        gc.collect()

    def all_of_it() -> None:
        gc.unfreeze()
        gc.collect()

    return Compared("full collection: with what is imported, without", all_of_it, frozen, "look", 1)


# --- measuring ------------------------------------------------------------------------------------


def seconds(turn: Turn) -> float:
    """Time a turn."""
    start = time.perf_counter()
    turn()
    return time.perf_counter() - start


def measure(part: Compared, rounds: int) -> tuple[list[str], bool]:
    """Return a row of the table, and whether it is faster now."""
    part.before(), part.now()
    pairs = [(seconds(part.before), seconds(part.now)) for _ in range(rounds)]
    ratios = [before / now for before, now in pairs]
    medians = [1e6 * statistics.median(side) / part.times for side in zip(*pairs, strict=True)]
    ratio = statistics.median(ratios)
    cells = [part.name, *(f"{median:,.1f}" for median in medians), part.unit]
    return [*cells, f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"], ratio > 1


def main() -> int:
    """Write and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="synth_blend", metavar="SPEC")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--model", default="xception", help="what is built and looked at")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--output", type=Path, help="folder of the table", default=RESULTS)
    options = parser.parse_args()
    use_cpu_cores(BATCH)
    places = Places(data_dir=options.data_dir, runs_dir=Path("runs"))
    (dataset,) = prepare_spec(options.data, DataConfig(crop_size=256), places, SILENT)
    makers = (
        ordering,
        lambda: record(dataset),
        lambda: decoding(dataset),
        lambda: placing(dataset),
        lambda: looking(options.model),
        lambda: building(options.model),
        lambda: beginning(options.model),
        collecting,
    )
    with tempfile.TemporaryDirectory() as cache:
        enable_compile_cache(Path(cache))
        found = [measure(make(), options.rounds) for make in makers]
    heads = ["part: before, now", "before, us", "now, us", "for each", "before / now"]
    notes = [
        f"median of {options.rounds} rounds in which both take turns; ratios are of neighbours: "
        "median (lowest-highest)",
        f"crops of {options.data}, 256x256, JPEG",
    ]
    packages = [
        "dfbench",
        "jax",
        "grain",
        "opencv-contrib-python",
        "simplejpeg",
        "tensorflow-datasets",
    ]
    rows = table(heads, [row for row, _ in found])
    text = page("Parts of training", "parts.py", sys.argv[1:], packages, notes, [rows])
    write(text, "parts", options.output)
    return 0 if all(faster for _, faster in found) else 1


if __name__ == "__main__":
    sys.exit(main())
