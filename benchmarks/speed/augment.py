"""Augmentation on the device: `python benchmarks/speed/augment.py`.

Prints the time an image of each augmentation by itself and of all together, and of the same
operations in dm-pix where that is installed (`pip install dm-pix`; it is no dependency). dm-pix
mixes types, which is allowed for its side alone.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfbench.config import AugmentConfig
from dfbench.results.environment import machine_name
from dfbench.train.augment import augment, example_keys

NONE = AugmentConfig(flip=0.0, brightness=0.0, contrast=0.0)
WARP: dict[str, Any] = {"rotate": 20.0, "shift": 0.1, "shear": 10.0, "zoom": 0.2}
ONES: dict[str, AugmentConfig] = {
    "flip": replace(NONE, flip=0.5),
    "warp": replace(NONE, **WARP),
    "blur": replace(NONE, blur=1.0),
    "noise": replace(NONE, noise=1.0),
    "contrast, brightness": replace(NONE, contrast=0.1, brightness=0.1),
    "jpeg": replace(NONE, jpeg=1.0),
    "all": AugmentConfig(flip_vertical=0.5, blur=0.4, noise=0.4, jpeg=0.5, **WARP),
}
Operation = Callable[[Array, Array], Array]


def of_dm_pix(pix: Any) -> dict[str, Operation]:
    """Return dm-pix's operations on an image and a key, where it has the like."""

    def flip(image: Array, key: Array) -> Array:
        flipped: Array = pix.random_flip_left_right(key, image, probability=0.5)
        return flipped

    def warp(image: Array, key: Array) -> Array:
        angle = jax.random.uniform(key, minval=-0.35, maxval=0.35)
        matrix = (
            jnp.eye(3)
            .at[:2, :2]
            .set(jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]))
        )
        middle = jnp.array([(image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2, 0.0])
        offset = middle - matrix @ middle
        warped: Array = pix.affine_transform(image, matrix, offset=offset, order=1, mode="nearest")
        return warped

    def blur(image: Array, key: Array) -> Array:
        sigma = jax.random.uniform(key, minval=0.3, maxval=1.0)
        blurred: Array = pix.gaussian_blur(image, sigma, kernel_size=7)
        return blurred

    def colours(image: Array, key: Array) -> Array:
        first, second = jax.random.split(key)
        brighter = pix.random_brightness(first, image, max_delta=0.1)
        changed: Array = pix.random_contrast(second, brighter, lower=0.9, upper=1.1)
        return jnp.clip(changed, 0.0, 1.0)

    return {"flip": flip, "warp": warp, "blur": blur, "contrast, brightness": colours}


def measured(call: Callable[..., Array], images: Array, keys: Array, rounds: int) -> float:
    """Return the median time of a compiled call in ms an image."""
    run = jax.jit(call)
    run(images, keys).block_until_ready()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run(images, keys).block_until_ready()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times) / len(images)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--side", type=int, default=256, help="px")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    shape = (options.batch, options.side, options.side, 3)
    images = jnp.asarray(np.random.default_rng(0).uniform(size=shape), jnp.float32)
    keys = example_keys(0, jnp.int32(0), jnp.arange(options.batch, dtype=jnp.int32))
    theirs = of_dm_pix(importlib.import_module("dm_pix")) if find_spec("dm_pix") else {}
    print(f"{machine_name()}, {jax.default_backend()}; jax {jax.__version__}; {shape}, float32\n")
    print("| augmentation | dfbench, ms an image | dm-pix, ms an image |\n|---|---|---|")
    for name, config in ONES.items():
        own = measured(partial(augment, config=config), images, keys, options.rounds)
        other = "-"
        if name in theirs:
            with jax.numpy_dtype_promotion("standard"):
                other = f"{measured(jax.vmap(theirs[name]), images, keys, options.rounds):.2f}"
        print(f"| {name} | {own:.2f} | {other} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
